//! S3's operations on the [`Store`]: what `s3s` has made of a request becomes a call, and the outcome an answer.
//!
//! `s3s` parses, checks the signature and writes XML. Here is only what an operation means on R2. What R2 does not have
//! is refused in [`access`] before an operation begins; `s3s` itself refuses what has no function here.

pub mod access;
mod convert;
mod transfer;

use super::condition::{Conditions, Read};
use super::listing::{self, After, MAX_KEYS, Page, Query};
use super::name::LONGEST_KEY;
use super::object::{Checksums, Object};
use super::refusal::Refusal;
use super::sealing::CustomerKey;
use super::store::{Draft, Found, Store, Upload};
use convert::{
    Encoding, entity_tag, etag_output, headers_of, key_of, parts_range, read_conditions, timestamp,
    write_conditions,
};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use std::collections::BTreeMap;
use std::ops::Range as Bytes;
use std::sync::Arc;

/// The most bytes of an object's metadata.
const LONGEST_METADATA: usize = 8192;

/// The operations, on a store.
#[derive(Clone, Debug)]
pub struct Api {
    store: Arc<Store>,
}

impl Api {
    /// The operations on this store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Calls the store where blocking is allowed.
    async fn call<T, F>(&self, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> Result<T, Refusal> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|panic| Err(Refusal::Internal(panic.to_string())))
    }

    async fn find(&self, bucket: &str, key: &str) -> Result<Found, Refusal> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.call(move |store| store.find(&bucket, &key)).await
    }

    /// A page of keys, each with what is known of it. What vanishes meanwhile is left out.
    async fn page(&self, bucket: String, query: Query) -> Result<(Page, Vec<Object>), Refusal> {
        self.call(move |store| {
            let page = listing::page(&store.keys(&bucket, &query.prefix)?, &query);
            let mut objects = Vec::with_capacity(page.keys.len());
            for key in &page.keys {
                match store.find(&bucket, key) {
                    Ok(found) => objects.push(found.object),
                    Err(Refusal::NoSuchKey) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
            Ok((page, objects))
        })
        .await
    }

    /// A draft with a copy of a range of an object, opened with one key and sealed with the other.
    async fn copy(
        &self,
        found: Found,
        range: Bytes<u64>,
        open: Option<CustomerKey>,
        seal: Option<CustomerKey>,
    ) -> Result<super::store::Received, Refusal> {
        self.call(move |store| {
            let mut body = super::store::Body::new(found.file, &found.object.segments, open.as_ref(), range)?;
            let mut receiving =
                super::store::Receiving::new(store.draft()?, Default::default(), seal.as_ref())?;
            while let Some(bytes) = body.next_bytes()? {
                receiving.write(&bytes)?;
            }
            Ok(receiving.finish()?)
        })
        .await
    }
}

/// Keys and metadata that R2 takes.
fn check_names(key: &str, metadata: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Refusal::InvalidObjectName);
    }
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > LONGEST_METADATA { Err(Refusal::MetadataTooLarge) } else { Ok(()) }
}

/// The object that a request finds, after its conditions and its key were checked.
fn admit_read(object: &Object, conditions: &Conditions, key: Option<&CustomerKey>) -> S3Result<()> {
    match conditions.read(object) {
        Read::Proceed => {}
        Read::NotModified => return Err(convert::not_modified(object)),
        Read::Failed => return Err(Refusal::PreconditionFailed.into()),
    }
    Ok(CustomerKey::check(key, object.customer_key_md5.as_deref()).map(drop)?)
}

/// The checksums, for a client that asked for them.
fn wanted_checksums(object: &Object, mode: Option<&ChecksumMode>) -> Checksums {
    if mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) {
        object.checksums.clone()
    } else {
        Checksums::default()
    }
}

/// The bytes that a read is about: all, a range, or a part. The second value says whether it is partial.
fn wanted_range(
    object: &Object,
    range: Option<Range>,
    part: Option<i32>,
) -> Result<(Bytes<u64>, bool), Refusal> {
    match (range, part) {
        (None, None) => Ok((0..object.size, false)),
        (None, Some(number)) => Ok((parts_range(object, number)?, true)),
        (Some(range), _) => Ok((range.check(object.size).map_err(|_| Refusal::InvalidRange)?, true)),
    }
}

/// The page size that a client asks for.
fn max_keys(wanted: Option<i32>) -> Result<usize, Refusal> {
    let wanted = wanted.map_or(Ok(MAX_KEYS), usize::try_from);
    Ok(wanted.map_err(|_| Refusal::InvalidMaxKeys)?.min(MAX_KEYS))
}

fn to_i32(count: usize) -> Option<i32> {
    i32::try_from(count).ok()
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let found = self.call(|store| Ok(store.buckets()?)).await?;
        let prefix = req.input.prefix.clone().unwrap_or_default();
        let buckets = found.into_iter().filter(|(name, _)| name.starts_with(&prefix));
        let buckets = buckets.map(|(name, made)| Bucket {
            name: Some(name),
            creation_date: Some(Timestamp::from(made)),
            bucket_region: None,
        });
        let output = ListBucketsOutput {
            buckets: Some(buckets.collect()),
            prefix: req.input.prefix,
            ..ListBucketsOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        let location = Some(format!("/{bucket}"));
        self.call(move |store| store.create_bucket(&bucket)).await?;
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.call(move |store| store.delete_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        let location = BucketLocationConstraint::from("auto".to_owned());
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint: Some(location) }))
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    async fn get_bucket_encryption(
        &self,
        req: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        let always = ServerSideEncryptionByDefault {
            sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
            kms_master_key_id: None,
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(always),
            bucket_key_enabled: Some(true),
        };
        let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(configuration),
        }))
    }

    async fn get_bucket_tagging(
        &self,
        req: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Err(Refusal::NoSuchTagSet.into())
    }

    async fn get_object_lock_configuration(
        &self,
        req: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Err(Refusal::NoObjectLockConfiguration.into())
    }

    async fn get_bucket_replication(
        &self,
        req: S3Request<GetBucketReplicationInput>,
    ) -> S3Result<S3Response<GetBucketReplicationOutput>> {
        self.call(move |store| store.check_bucket(&req.input.bucket)).await?;
        Err(Refusal::NoReplicationConfiguration.into())
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let conditions = write_conditions(&req.headers, "if-")?;
        let create_bucket =
            req.headers.get("cf-create-bucket-if-missing").is_some_and(|value| value == "true");
        let declared = transfer::Declared::new(&req.headers, req.trailing_headers.clone());
        let input = req.input;
        let (headers, metadata) = headers_of!(input);
        check_names(&input.key, &metadata)?;
        let key = key_of!(input)?;
        let bucket = input.bucket.clone();
        self.call(move |store| match store.check_bucket(&bucket) {
            Err(Refusal::NoSuchBucket) if create_bucket => match store.create_bucket(&bucket) {
                Err(Refusal::BucketExists) => Ok(()),
                other => other,
            },
            other => other,
        })
        .await?;
        let received = self.receive(input.body, &declared, key.as_ref()).await?;
        let object = Object {
            key: input.key,
            size: received.segment.size,
            etag: received.etag,
            modified: 0,
            headers,
            metadata,
            checksums: received.checksums,
            customer_key_md5: key.as_ref().map(|key| key.md5().to_owned()),
            segments: vec![received.segment],
        };
        let (draft, bucket): (Draft, String) = (received.draft, input.bucket);
        let object = self.call(move |store| store.commit(&bucket, draft, object, &conditions)).await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: etag_output(&object.etag),
            checksum_crc32: object.checksums.crc32,
            checksum_crc32c: object.checksums.crc32c,
            checksum_crc64nvme: object.checksums.crc64nvme,
            checksum_sha1: object.checksums.sha1,
            checksum_sha256: object.checksums.sha256,
            sse_customer_algorithm: object.customer_key_md5.as_ref().map(|_| "AES256".to_owned()),
            sse_customer_key_md5: object.customer_key_md5,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let conditions = read_conditions(&req.headers)?;
        let input = req.input;
        let key = key_of!(input)?;
        let found = self.find(&input.bucket, &input.key).await?;
        admit_read(&found.object, &conditions, key.as_ref())?;
        let (range, partial) = wanted_range(&found.object, input.range, input.part_number)?;
        let object = found.object;
        let checksums = if partial {
            Checksums::default()
        } else {
            wanted_checksums(&object, input.checksum_mode.as_ref())
        };
        let length = range.end - range.start;
        let content_range =
            partial.then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), object.size));
        let body = super::store::Body::new(found.file, &object.segments, key.as_ref(), range)
            .map_err(Refusal::from)?;
        let body = transfer::stream(body).await?;
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body),
            content_length: i64::try_from(length).ok(),
            content_range,
            e_tag: etag_output(&object.etag),
            last_modified: Some(timestamp(object.modified)),
            cache_control: object.headers.cache_control,
            content_disposition: object.headers.content_disposition,
            content_encoding: object.headers.content_encoding,
            content_language: object.headers.content_language,
            content_type: object.headers.content_type,
            expires: object.headers.expires.map(timestamp),
            metadata: Some(object.metadata.into_iter().collect()),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            parts_count: input.part_number.and_then(|_| to_i32(object.segments.len())),
            sse_customer_algorithm: object.customer_key_md5.as_ref().map(|_| "AES256".to_owned()),
            sse_customer_key_md5: object.customer_key_md5,
            storage_class: object.headers.storage_class.map(StorageClass::from),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let conditions = read_conditions(&req.headers)?;
        let input = req.input;
        let key = key_of!(input)?;
        let object = self.find(&input.bucket, &input.key).await?.object;
        admit_read(&object, &conditions, key.as_ref())?;
        // R2: a range has no effect here, a part number has.
        let (range, _) = wanted_range(&object, None, input.part_number)?;
        let checksums = wanted_checksums(&object, input.checksum_mode.as_ref());
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(range.end - range.start).ok(),
            e_tag: etag_output(&object.etag),
            last_modified: Some(timestamp(object.modified)),
            cache_control: object.headers.cache_control,
            content_disposition: object.headers.content_disposition,
            content_encoding: object.headers.content_encoding,
            content_language: object.headers.content_language,
            content_type: object.headers.content_type,
            expires: object.headers.expires.map(timestamp),
            metadata: Some(object.metadata.into_iter().collect()),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            parts_count: input.part_number.and_then(|_| to_i32(object.segments.len())),
            sse_customer_algorithm: object.customer_key_md5.as_ref().map(|_| "AES256".to_owned()),
            sse_customer_key_md5: object.customer_key_md5,
            storage_class: object.headers.storage_class.map(StorageClass::from),
            ..HeadObjectOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        self.call(move |store| store.delete(&input.bucket, &input.key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        if delete.objects.len() > MAX_KEYS {
            return Err(Refusal::InvalidRequest("At most 1000 keys can be deleted at once.".into()).into());
        }
        let quiet = delete.quiet.unwrap_or(false);
        let (deleted, errors) = self
            .call(move |store| {
                store.check_bucket(&bucket)?;
                let (mut deleted, mut errors) = (Vec::new(), Vec::new());
                for ObjectIdentifier { key, .. } in delete.objects {
                    match store.delete(&bucket, &key) {
                        Ok(()) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
                        Err(refusal) => errors.push(Error {
                            code: Some(refusal.code().0.to_owned()),
                            message: Some(refusal.to_string()),
                            key: Some(key),
                            version_id: None,
                        }),
                    }
                }
                Ok((deleted, errors))
            })
            .await?;
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            request_charged: None,
        }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let unknown = || Refusal::InvalidArgument("The continuation token provided is incorrect".into());
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(After::from_token(token).ok_or_else(unknown)?),
            (None, Some(key)) => Some(After::Key(key.clone())),
            (None, None) => None,
        };
        let max_keys = max_keys(input.max_keys)?;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let name = |name: String| encoding.name(name);
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after,
            max_keys,
        };
        let (page, objects) = self.page(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(name),
            max_keys: to_i32(max_keys),
            key_count: to_i32(page.entries()),
            is_truncated: Some(page.truncated),
            next_continuation_token: page.next.map(|next| next.to_token()),
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(name),
            delimiter: input.delimiter.map(name),
            encoding_type: input.encoding_type,
            contents: Some(objects.into_iter().map(|object| encoding.entry(object)).collect()),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = req.input;
        let max_keys = max_keys(input.max_keys)?;
        let encoding = Encoding::new(input.encoding_type.as_ref())?;
        let name = |name: String| encoding.name(name);
        let marker = input.marker.as_deref().filter(|marker| !marker.is_empty());
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: marker.map(|marker| After::from_marker(marker, input.delimiter.as_deref())),
            max_keys,
        };
        let (page, objects) = self.page(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix.map(name),
            marker: Some(name(input.marker.unwrap_or_default())),
            max_keys: to_i32(max_keys),
            is_truncated: Some(page.truncated),
            next_marker: page.next.map(|next| name(next.name().to_owned())),
            delimiter: input.delimiter.map(name),
            encoding_type: input.encoding_type,
            contents: Some(objects.into_iter().map(|object| encoding.entry(object)).collect()),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            ..ListObjectsOutput::default()
        }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let of_target = write_conditions(&req.headers, "cf-copy-destination-if-")?;
        let of_source = write_conditions(&req.headers, "x-amz-copy-source-if-")?;
        let input = req.input;
        let (source_bucket, source_key) = convert::source(&input.copy_source)?;
        let open = CustomerKey::from_headers(
            input.copy_source_sse_customer_algorithm.as_deref(),
            input.copy_source_sse_customer_key.as_deref(),
            input.copy_source_sse_customer_key_md5.as_deref(),
        )?;
        let seal = key_of!(input)?;
        let found = self.find(&source_bucket, &source_key).await?;
        let source = found.object.clone();
        if of_source.read(&source) != Read::Proceed {
            return Err(Refusal::PreconditionFailed.into());
        }
        CustomerKey::check(open.as_ref(), source.customer_key_md5.as_deref())?;
        let (new_headers, new_metadata) = headers_of!(input);
        let directive = input.metadata_directive.as_ref().map_or("COPY", MetadataDirective::as_str);
        let (headers, metadata) =
            convert::merge(directive, (source.headers, source.metadata), (new_headers, new_metadata))?;
        check_names(&input.key, &metadata)?;
        let received = self.copy(found, 0..source.size, open, seal.clone()).await?;
        let object = Object {
            key: input.key,
            size: source.size,
            etag: received.etag,
            modified: 0,
            headers,
            metadata,
            checksums: source.checksums,
            customer_key_md5: seal.map(|key| key.md5().to_owned()),
            segments: vec![received.segment],
        };
        let bucket = input.bucket;
        let object =
            self.call(move |store| store.commit(&bucket, received.draft, object, &of_target)).await?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: etag_output(&object.etag),
                last_modified: Some(timestamp(object.modified)),
                ..CopyObjectResult::default()
            }),
            sse_customer_algorithm: object.customer_key_md5.as_ref().map(|_| "AES256".to_owned()),
            sse_customer_key_md5: object.customer_key_md5,
            ..CopyObjectOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let (headers, metadata) = headers_of!(input);
        check_names(&input.key, &metadata)?;
        let key = key_of!(input)?;
        let upload = Upload::new(input.key, headers, metadata, key.as_ref());
        let bucket = input.bucket.clone();
        let upload = self.call(move |store| store.create_upload(&bucket, upload)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(upload.key),
            upload_id: Some(upload.id),
            sse_customer_algorithm: upload.customer_key_md5.as_ref().map(|_| "AES256".to_owned()),
            sse_customer_key_md5: upload.customer_key_md5,
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let declared = transfer::Declared::new(&req.headers, req.trailing_headers.clone());
        let input = req.input;
        let number = convert::part_number(input.part_number)?;
        let key = key_of!(input)?;
        let bucket = input.bucket.clone();
        let upload = self.call(move |store| store.upload(&bucket, &input.key, &input.upload_id)).await?;
        CustomerKey::check(key.as_ref(), upload.customer_key_md5.as_deref())?;
        let received = self.receive(input.body, &declared, key.as_ref()).await?;
        let bucket = input.bucket;
        let part = self.call(move |store| store.put_part(&bucket, &upload, number, received)).await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: etag_output(&part.etag),
            checksum_crc32: part.checksums.crc32,
            checksum_crc32c: part.checksums.crc32c,
            checksum_crc64nvme: part.checksums.crc64nvme,
            checksum_sha1: part.checksums.sha1,
            checksum_sha256: part.checksums.sha256,
            sse_customer_algorithm: part.customer_key_md5.as_ref().map(|_| "AES256".to_owned()),
            sse_customer_key_md5: part.customer_key_md5,
            ..UploadPartOutput::default()
        }))
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let number = convert::part_number(input.part_number)?;
        let (source_bucket, source_key) = convert::source(&input.copy_source)?;
        let open = CustomerKey::from_headers(
            input.copy_source_sse_customer_algorithm.as_deref(),
            input.copy_source_sse_customer_key.as_deref(),
            input.copy_source_sse_customer_key_md5.as_deref(),
        )?;
        let seal = key_of!(input)?;
        let bucket = input.bucket.clone();
        let upload = self.call(move |store| store.upload(&bucket, &input.key, &input.upload_id)).await?;
        CustomerKey::check(seal.as_ref(), upload.customer_key_md5.as_deref())?;
        let found = self.find(&source_bucket, &source_key).await?;
        CustomerKey::check(open.as_ref(), found.object.customer_key_md5.as_deref())?;
        let range = match &input.copy_source_range {
            None => None,
            Some(text) => Some(Range::parse(text).map_err(|_| Refusal::InvalidRange)?),
        };
        let (range, _) = wanted_range(&found.object, range, None)?;
        let received = self.copy(found, range, open, seal).await?;
        let bucket = input.bucket;
        let part = self.call(move |store| store.put_part(&bucket, &upload, number, received)).await?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: etag_output(&part.etag),
                last_modified: Some(timestamp(part.modified)),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let conditions = write_conditions(&req.headers, "if-")?;
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = req.input;
        let parts = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let named = parts.into_iter().map(|part| match (part.part_number, part.e_tag) {
            (Some(number), Some(etag)) => Ok((number, entity_tag(&etag))),
            _ => Err(Refusal::InvalidPart),
        });
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let of = bucket.clone();
        let object =
            self.call(move |store| store.complete_upload(&of, &key, &upload_id, &named, &conditions)).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{}", object.key)),
            bucket: Some(bucket),
            e_tag: etag_output(&object.etag),
            key: Some(object.key),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = req.input;
        self.call(move |store| store.abort_upload(&bucket, &key, &upload_id)).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let ListPartsInput { bucket, key, upload_id, max_parts, part_number_marker, .. } = req.input;
        let max_parts = max_keys(max_parts)?;
        let marker = part_number_marker.unwrap_or(0);
        let (of, id) = (bucket.clone(), upload_id.clone());
        let (upload, parts) = self
            .call(move |store| {
                let upload = store.upload(&of, &key, &id)?;
                let parts = store.parts(&of, &upload)?;
                Ok((upload, parts))
            })
            .await?;
        let mut parts: Vec<_> = parts.into_iter().filter(|part| part.number > marker).collect();
        let is_truncated = parts.len() > max_parts;
        parts.truncate(max_parts);
        let next = parts.last().map(|part| part.number).filter(|_| is_truncated);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(bucket),
            key: Some(upload.key),
            upload_id: Some(upload_id),
            max_parts: to_i32(max_parts),
            part_number_marker: Some(marker),
            next_part_number_marker: next,
            is_truncated: Some(is_truncated),
            parts: Some(parts.iter().map(convert::part).collect()),
            ..ListPartsOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        let max_uploads = max_keys(input.max_uploads)?;
        let bucket = input.bucket.clone();
        let uploads = self.call(move |store| store.list_uploads(&bucket)).await?;
        let page = convert::uploads(
            uploads,
            input.prefix.as_deref().unwrap_or_default(),
            input.key_marker.as_deref(),
            input.upload_id_marker.as_deref(),
            max_uploads,
        );
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            max_uploads: to_i32(max_uploads),
            is_truncated: Some(page.next.is_some()),
            next_key_marker: page.next.as_ref().map(|(key, _)| key.clone()),
            next_upload_id_marker: page.next.map(|(_, id)| id),
            uploads: Some(page.uploads),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
