//! S3's operations on the [`Store`]: what `s3s` has made of a request becomes a call, and the outcome an answer.
//!
//! `s3s` parses, checks the signature and writes XML. Here is only what an operation means on R2. What R2 does not have
//! is refused in [`access`] before an operation begins; `s3s` itself refuses what has no function here.

pub mod access;
mod buckets;
mod convert;
mod listings;
mod objects;
mod transfer;
mod uploads;

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

/// The operations that there are: the one list of them. Each is a function of [`Api`] in the module of its kind.
macro_rules! operations {
    ($($name:ident: $input:ident => $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(async fn $name(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                Self::$name(self, req).await
            })*
        }

        /// What their inputs are called: an operation's name, and `Input`.
        const INPUTS: &[&str] = &[$(stringify!($input)),*];
    };
}

operations! {
    list_buckets: ListBucketsInput => ListBucketsOutput;
    create_bucket: CreateBucketInput => CreateBucketOutput;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput;
    head_bucket: HeadBucketInput => HeadBucketOutput;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput;
    get_bucket_encryption: GetBucketEncryptionInput => GetBucketEncryptionOutput;
    get_bucket_tagging: GetBucketTaggingInput => GetBucketTaggingOutput;
    get_object_lock_configuration: GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput;
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput;
    put_object: PutObjectInput => PutObjectOutput;
    get_object: GetObjectInput => GetObjectOutput;
    head_object: HeadObjectInput => HeadObjectOutput;
    delete_object: DeleteObjectInput => DeleteObjectOutput;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput;
    copy_object: CopyObjectInput => CopyObjectOutput;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output;
    list_objects: ListObjectsInput => ListObjectsOutput;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput;
    upload_part: UploadPartInput => UploadPartOutput;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput;
    list_parts: ListPartsInput => ListPartsOutput;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput;
}

/// Whether there is an operation with this name, such as `GetObject`.
fn is_operation(name: &str) -> bool {
    INPUTS.iter().any(|input| input.strip_suffix("Input") == Some(name))
}
