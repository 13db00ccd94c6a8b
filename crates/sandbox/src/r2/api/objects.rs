//! Objects: written, read, copied, deleted.

use super::*;

impl Api {
    pub(super) async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
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

    pub(super) async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
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
        let body = crate::r2::store::Body::new(found.file, &object.segments, key.as_ref(), range)
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

    pub(super) async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
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

    pub(super) async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        self.call(move |store| store.delete(&input.bucket, &input.key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn delete_objects(
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

    pub(super) async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
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
}
