//! Terraform's S3 backend: the operations that it uses. `s3s` parses, checks the signature and writes XML.

use super::gate::Gate;
use super::http::{LARGEST, status};
use crate::blobs::Meta;
use crate::error::Error;
use crate::room::Room;
use crate::store::{Stored, digest};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use parking_lot::Mutex;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

const PROTOCOL: &str = "s3";
/// Uploads that are open at once. Terraform has one, of a state above 5 MB.
const UPLOADS: usize = 16;

/// The throw-away keys.
#[derive(Debug)]
pub(super) struct Account {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
}

#[async_trait::async_trait]
impl S3Auth for Account {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key != self.access_key_id {
            return Err(s3_error!(InvalidAccessKeyId, "these are not the keys of this endpoint"));
        }
        Ok(SecretKey::from(self.secret_access_key.expose_secret()))
    }
}

#[derive(Debug)]
struct Upload {
    key: String,
    parts: BTreeMap<i32, Bytes>,
}

/// The operations.
#[derive(Debug)]
pub(super) struct Dialect {
    pub gate: Arc<Gate>,
    uploads: Mutex<HashMap<String, Upload>>,
}

impl Dialect {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, uploads: Mutex::default() }
    }

    /// What is there under a key: a state, or a lock.
    async fn find(&self, key: &str) -> S3Result<(Bytes, String, SystemTime)> {
        let whole = self.gate.key(key).map_err(refused)?;
        if let Some(state) = Gate::locked(&whole) {
            let holder = self.gate.holder(state).await.map_err(refused)?;
            let content = Bytes::from(holder.ok_or_else(|| s3_error!(NoSuchKey))?.to_json());
            return Ok((content.clone(), digest(&content), SystemTime::now()));
        }
        let found = self.gate.read(PROTOCOL, &whole).await.map_err(refused)?;
        let Stored { content, sha256, modified, .. } = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        Ok((content, sha256, system(modified)))
    }

    /// Writes a state or takes a lock, and gives the ETag.
    async fn put(&self, key: &str, content: &Bytes) -> S3Result<ETag> {
        let whole = self.gate.key(key).map_err(refused)?;
        if let Some(state) = Gate::locked(&whole) {
            return match self.gate.lock(PROTOCOL, state, content).await.map_err(refused)? {
                Ok(lock) => Ok(ETag::Strong(digest(&lock.to_json()))),
                Err(holder) => {
                    Err(s3_error!(PreconditionFailed, "locked by {} (lock {})", holder.who, holder.id))
                }
            };
        }
        self.gate.write(PROTOCOL, &whole, content, None).await.map(ETag::Strong).map_err(refused)
    }
}

/// The answer for an error: its code and text stand in what Terraform prints.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn refused(error: Error) -> S3Error {
    let status = status(&error);
    let code = match error {
        Error::Busy { .. } | Error::Unreachable { .. } => S3ErrorCode::ServiceUnavailable,
        Error::Denied { .. } => S3ErrorCode::AccessDenied,
        _ => S3ErrorCode::Custom(error.code().into()),
    };
    let text = format!("{} {error}; {}", error.code(), error.help());
    let mut refusal = S3Error::with_message(code, text);
    refusal.set_status_code(status);
    refusal
}

async fn received(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else { return Ok(Bytes::new()) };
    let mut all = BytesMut::new();
    while let Some(piece) = body.try_next().await.map_err(|_| s3_error!(IncompleteBody))? {
        if all.len() + piece.len() > LARGEST {
            return Err(s3_error!(EntityTooLarge));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// What was asked of this endpoint and would be ignored: better refused.
fn only_plain(customer_key: bool, kms_key: bool) -> S3Result<()> {
    if customer_key || kms_key {
        return Err(s3_error!(
            NotImplemented,
            "this endpoint encrypts with its own --key: take kms_key_id and sse_customer_key out of the backend"
        ));
    }
    Ok(())
}

fn system(time: jiff::Timestamp) -> SystemTime {
    let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(millis)
}

fn length(content: &Bytes) -> Option<i64> {
    i64::try_from(content.len()).ok()
}

#[async_trait::async_trait]
impl S3 for Dialect {
    async fn head_bucket(&self, _: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        only_plain(req.input.sse_customer_key.is_some(), false)?;
        let (content, etag, modified) = self.find(&req.input.key).await?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(&content),
            e_tag: Some(ETag::Strong(etag)),
            last_modified: Some(modified.into()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        only_plain(req.input.sse_customer_key.is_some(), false)?;
        let (content, etag, modified) = self.find(&req.input.key).await?;
        let size = content.len();
        let (content, content_range) = match req.input.range {
            None => (content, None),
            Some(range) => {
                let range = range.check(size as u64).map_err(|_| s3_error!(InvalidRange))?;
                let text = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
                let to = |at| usize::try_from(at).unwrap_or(size).min(size);
                (content.slice(to(range.start)..to(range.end)), Some(text))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: length(&content),
            content_range,
            body: Some(StreamingBlob::from(s3s::Body::from(content))),
            e_tag: Some(ETag::Strong(etag)),
            last_modified: Some(modified.into()),
            content_type: Some("application/json".to_owned()),
            ..GetObjectOutput::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        only_plain(input.sse_customer_key.is_some(), input.ssekms_key_id.is_some())?;
        let content = received(input.body).await?;
        let etag = self.put(&input.key, &content).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag), ..PutObjectOutput::default() }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let whole = self.gate.key(&req.input.key).map_err(refused)?;
        match Gate::locked(&whole) {
            Some(state) => self.gate.unlock(PROTOCOL, state, None).await,
            None => self.gate.delete(PROTOCOL, &whole).await,
        }
        .map_err(refused)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "a delimiter"));
        }
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.clone().or(input.start_after).unwrap_or_default();
        let page =
            input.max_keys.and_then(|count| usize::try_from(count).ok()).unwrap_or(1000).clamp(1, 1000);
        let mut found = self.gate.list(&prefix).await.map_err(refused)?;
        found.retain(|meta| meta.key > after);
        let is_truncated = found.len() > page;
        found.truncate(page);
        let next_continuation_token = found.last().filter(|_| is_truncated).map(|meta| meta.key.clone());
        let object = |meta: Meta| Object {
            key: Some(meta.key),
            size: i64::try_from(meta.size).ok(),
            last_modified: Some(system(meta.modified).into()),
            ..Object::default()
        };
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(found.len()).ok(),
            contents: Some(found.into_iter().map(object).collect()),
            is_truncated: Some(is_truncated),
            next_continuation_token,
            continuation_token: input.continuation_token,
            max_keys: i32::try_from(page).ok(),
            name: Some(input.bucket),
            prefix: Some(prefix),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        only_plain(input.sse_customer_key.is_some(), input.ssekms_key_id.is_some())?;
        self.gate.key(&input.key).map_err(refused)?;
        let id = uuid::Uuid::new_v4().to_string();
        let mut uploads = self.uploads.lock();
        if uploads.len() >= UPLOADS {
            return Err(s3_error!(SlowDown, "too many uploads are open"));
        }
        uploads.insert(id.clone(), Upload { key: input.key.clone(), parts: BTreeMap::new() });
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let content = received(input.body).await?;
        let etag = ETag::Strong(digest(&content));
        let mut uploads = self.uploads.lock();
        let upload = uploads.get_mut(&input.upload_id).filter(|upload| upload.key == input.key);
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        let others = upload.parts.iter().filter(|(number, _)| **number != input.part_number);
        if others.map(|(_, part)| part.len()).sum::<usize>() + content.len() > LARGEST {
            return Err(s3_error!(EntityTooLarge));
        }
        upload.parts.insert(input.part_number, content);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(etag), ..UploadPartOutput::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let content = {
            let uploads = self.uploads.lock();
            let upload = uploads.get(&input.upload_id).filter(|upload| upload.key == input.key);
            let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
            let mut content = Room::new(upload.parts.values().map(|part| part.len() as u64).sum());
            for part in wanted {
                let found = part.part_number.and_then(|number| upload.parts.get(&number));
                content.add(found.ok_or_else(|| s3_error!(InvalidPart))?);
            }
            content.freeze()
        };
        let etag = self.put(&input.key, &content).await?;
        // Only now: what failed can be completed again.
        self.uploads.lock().remove(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.uploads.lock().remove(&req.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
