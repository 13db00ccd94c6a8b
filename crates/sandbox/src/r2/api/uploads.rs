//! Multipart uploads.

use super::*;

impl Api {
    pub(super) async fn create_multipart_upload(
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

    pub(super) async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
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

    pub(super) async fn upload_part_copy(
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

    pub(super) async fn complete_multipart_upload(
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

    pub(super) async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = req.input;
        self.call(move |store| store.abort_upload(&bucket, &key, &upload_id)).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn list_parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
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

    pub(super) async fn list_multipart_uploads(
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
