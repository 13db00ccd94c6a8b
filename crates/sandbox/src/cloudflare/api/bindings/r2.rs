//! An R2 bucket, as workerd's binding asks for it: what is wanted comes as JSON, in the header `cf-r2-request` (GET) or
//! before the body (PUT, `cf-r2-metadata-size` bytes of it). The answer has the same form.

use super::r2_object::{Wanted, described};
use super::{Answered, Asked, plain};
use crate::r2::condition::Conditions;
use crate::r2::listing::{self, After, MAX_KEYS, Query};
use crate::r2::name::LONGEST_KEY;
use crate::r2::object::{Checksums, Object};
use crate::r2::refusal::Refusal;
use crate::r2::store::{Body, Found, Receiving, Store, Upload};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use std::ops::Range;

const SIZE: &str = "cf-r2-metadata-size";

/// Keys of one page, when it says more than their names.
const MOST_DESCRIBED: usize = 100;

/// What goes wrong, and what is there all the same.
struct Failed {
    refusal: Refusal,
    object: Option<Box<Object>>,
}

impl<E: Into<Refusal>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { refusal: error.into(), object: None }
    }
}

/// Answers a request.
pub fn answer(store: &Store, bucket: &str, asked: &Asked) -> Answered {
    let done = match asked.method {
        Method::GET => header_of(asked).and_then(|wanted| read(store, bucket, &wanted)),
        Method::PUT => body_of(asked).and_then(|(wanted, body)| write(store, bucket, &wanted, body)),
        _ => Err(Refusal::InvalidRequest("GET or PUT".into()).into()),
    };
    done.unwrap_or_else(|error| failed(&error))
}

fn invalid() -> Failed {
    Refusal::InvalidArgument("Metadata missing or invalid".into()).into()
}

fn header_of(asked: &Asked) -> Result<Wanted, Failed> {
    let header = asked.headers.get("cf-r2-request").ok_or_else(invalid)?;
    serde_json::from_slice(header.as_bytes()).map_err(|_| invalid())
}

fn body_of(asked: &Asked) -> Result<(Wanted, &[u8]), Failed> {
    let size = asked.headers.get(SIZE).and_then(|size| size.to_str().ok()?.parse().ok());
    let (said, body) = asked.body.split_at_checked(size.ok_or_else(invalid)?).ok_or_else(invalid)?;
    Ok((serde_json::from_slice(said).map_err(|_| invalid())?, body))
}

fn failed(failed: &Failed) -> Answered {
    let (code, status) = codes(&failed.refusal);
    let error = json!({ "version": 1, "v4code": code, "message": failed.refusal.to_string() });
    let mut answer = match &failed.object {
        Some(object) => said(&described(object, Some(0..object.size), true, true), &[]),
        None => plain(StatusCode::OK, ""),
    };
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(&error.to_string()) {
        answer.headers_mut().insert("cf-r2-error", value);
    }
    answer
}

/// R2's codes of the Workers API.
fn codes(refusal: &Refusal) -> (u32, u16) {
    match refusal {
        Refusal::NoSuchKey => (10_007, 404),
        Refusal::NoSuchBucket => (10_006, 404),
        Refusal::InvalidObjectName => (10_020, 400),
        Refusal::InvalidMaxKeys => (10_022, 400),
        Refusal::NoSuchUpload => (10_024, 400),
        Refusal::InvalidPart => (10_025, 400),
        Refusal::EntityTooSmall => (10_011, 400),
        Refusal::MetadataTooLarge => (10_012, 400),
        Refusal::PreconditionFailed => (10_031, 412),
        Refusal::BadDigest(_) => (10_037, 400),
        Refusal::InvalidRange => (10_039, 416),
        Refusal::UnequalParts => (10_048, 400),
        Refusal::TooManyRequests => (10_058, 429),
        Refusal::InvalidArgument(_) | Refusal::InvalidRequest(_) => (10_029, 400),
        _ => (10_001, 500),
    }
}

/// What is said, and the bytes behind it.
fn said(value: &Value, bytes: &[u8]) -> Answered {
    let mut text = value.to_string().into_bytes();
    let size = text.len();
    text.extend_from_slice(bytes);
    let mut answer = plain(StatusCode::OK, text);
    answer.headers_mut().insert(SIZE, HeaderValue::from(size));
    answer.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn key(wanted: &Wanted) -> Result<&str, Failed> {
    let key = wanted.object.as_deref().filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY);
    key.ok_or_else(|| Refusal::InvalidObjectName.into())
}

fn bytes_of(found: Found, range: Range<u64>) -> Result<Vec<u8>, Failed> {
    let mut body = Body::new(found.file, &found.object.segments, None, range)?;
    let mut bytes = Vec::new();
    while let Some(piece) = body.next_bytes()? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn read(store: &Store, bucket: &str, wanted: &Wanted) -> Result<Answered, Failed> {
    match wanted.method.as_str() {
        "head" => {
            let object = store.find(bucket, key(wanted)?)?.object;
            Ok(said(&described(&object, Some(0..object.size), true, true), &[]))
        }
        "get" => {
            let found = store.find(bucket, key(wanted)?)?;
            if wanted.only_if.as_ref().is_some_and(|only| !only.holds(&found.object)) {
                return Err(Failed {
                    refusal: Refusal::PreconditionFailed,
                    object: Some(Box::new(found.object)),
                });
            }
            let range = wanted.bytes(found.object.size)?;
            let value = described(&found.object, Some(range.clone()), true, true);
            Ok(said(&value, &bytes_of(found, range)?))
        }
        "list" => list(store, bucket, wanted),
        _ => Err(invalid()),
    }
}

fn list(store: &Store, bucket: &str, wanted: &Wanted) -> Result<Answered, Failed> {
    let limit = wanted.limit.unwrap_or(MAX_KEYS);
    if !(1..=MAX_KEYS).contains(&limit) {
        return Err(Refusal::InvalidMaxKeys.into());
    }
    let include = wanted.include.clone().unwrap_or_default();
    let after = match &wanted.cursor {
        Some(cursor) => Some(After::from_token(cursor).ok_or_else(invalid)?),
        None => wanted.start_after.clone().map(After::Key),
    };
    let query = Query {
        prefix: wanted.prefix.clone().unwrap_or_default(),
        delimiter: wanted.delimiter.clone(),
        after,
        max_keys: if include.is_empty() { limit } else { limit.min(MOST_DESCRIBED) },
    };
    let page = listing::page(&store.keys(bucket, &query.prefix)?, &query);
    let mut objects = Vec::with_capacity(page.keys.len());
    for key in &page.keys {
        match store.find(bucket, key) {
            Ok(found) => {
                objects.push(described(&found.object, None, include.contains(&0), include.contains(&1)));
            }
            Err(Refusal::NoSuchKey) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let mut value =
        json!({ "objects": objects, "truncated": page.truncated, "delimitedPrefixes": page.prefixes });
    if let Some(next) = page.next {
        value["cursor"] = json!(next.to_token());
    }
    Ok(said(&value, &[]))
}

fn received(store: &Store, body: &[u8]) -> Result<crate::r2::store::Received, Failed> {
    let mut receiving = Receiving::new(store.draft()?, Default::default(), None)?;
    receiving.write(body)?;
    Ok(receiving.finish()?)
}

fn write(store: &Store, bucket: &str, wanted: &Wanted, body: &[u8]) -> Result<Answered, Failed> {
    let id = || wanted.upload_id.as_deref().ok_or(Refusal::NoSuchUpload);
    match wanted.method.as_str() {
        "put" => put(store, bucket, wanted, body),
        "delete" => {
            let keys = wanted.objects.clone().or_else(|| Some(vec![wanted.object.clone()?]));
            for key in keys.ok_or_else(invalid)? {
                store.delete(bucket, &key)?;
            }
            Ok(plain(StatusCode::OK, ""))
        }
        "createMultipartUpload" => {
            let upload = Upload::new(key(wanted)?.to_owned(), wanted.headers(), wanted.metadata(), None);
            let upload = store.create_upload(bucket, upload)?;
            Ok(said(&json!({ "uploadId": upload.id }), &[]))
        }
        "uploadPart" => {
            let upload = store.upload(bucket, key(wanted)?, id()?)?;
            let number =
                wanted.part_number.filter(|number| (1..=10_000).contains(number)).ok_or_else(invalid)?;
            let part = store.put_part(bucket, &upload, number, received(store, body)?)?;
            Ok(said(&json!({ "etag": part.etag }), &[]))
        }
        "completeMultipartUpload" => {
            let named: Vec<_> = wanted.parts.iter().map(|part| (part.part, part.etag.clone())).collect();
            let object =
                store.complete_upload(bucket, key(wanted)?, id()?, &named, &Conditions::default())?;
            Ok(said(&described(&object, None, true, true), &[]))
        }
        "abortMultipartUpload" => {
            store.abort_upload(bucket, key(wanted)?, id()?)?;
            Ok(plain(StatusCode::OK, ""))
        }
        _ => Err(invalid()),
    }
}

fn put(store: &Store, bucket: &str, wanted: &Wanted, body: &[u8]) -> Result<Answered, Failed> {
    store.check_bucket(bucket)?;
    let key = key(wanted)?;
    let metadata = wanted.metadata();
    if metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > 8192 {
        return Err(Refusal::MetadataTooLarge.into());
    }
    let current = || store.find(bucket, key).ok().map(|found| found.object);
    let received = received(store, body)?;
    wanted.check_hashes(&received.md5, body)?;
    let conditions = match &wanted.only_if {
        Some(only) => only.for_write(current().map(|object| object.etag).as_deref()),
        None => Conditions::default(),
    };
    let object = Object {
        key: key.to_owned(),
        size: received.segment.size,
        etag: received.etag,
        modified: 0,
        headers: wanted.headers(),
        metadata,
        checksums: Checksums::default(),
        customer_key_md5: None,
        segments: vec![received.segment],
    };
    match store.commit(bucket, received.draft, object, &conditions) {
        Ok(object) => Ok(said(&described(&object, None, true, true), &[])),
        Err(refusal @ Refusal::PreconditionFailed) => {
            Err(Failed { refusal, object: current().map(Box::new) })
        }
        Err(refusal) => Err(refusal.into()),
    }
}
