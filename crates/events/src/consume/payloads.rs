//! Payloads: in the message, or behind its claim check.

use std::borrow::Cow;
use std::collections::HashMap;

use async_nats::jetstream::{self, object_store::ObjectStore};
use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;

use super::error::Error;
use super::stored::{Claim, StoredEvent};
use crate::claim_check;
use crate::headers::Encoding;
use crate::payload::form_payload;

/// A size in a header is a hint for the buffer, not a promise.
const MOST_RESERVED: u64 = 64 * 1024 * 1024;

/// Fetches payloads. Cheap to share by reference between tasks.
pub struct Payloads {
    context: jetstream::Context,
    buckets: Mutex<HashMap<String, ObjectStore>>,
}

impl std::fmt::Debug for Payloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payloads").finish_non_exhaustive()
    }
}

impl Payloads {
    /// Fetches from the buckets of this account.
    pub fn new(context: jetstream::Context) -> Self {
        Self { context, buckets: Mutex::default() }
    }

    /// The exact bytes that GitHub sent.
    ///
    /// # Errors
    /// [`Error::PayloadMissing`] and [`Error::PayloadDamaged`] where a claim check does not hold.
    pub async fn body(&self, event: &StoredEvent) -> Result<Bytes, Error> {
        match event.claim() {
            None => Ok(event.body.clone()),
            Some(claim) => {
                let bytes = self.fetch(&claim).await.map_err(|cause| Error::PayloadMissing {
                    delivery: event.id(),
                    reference: claim.reference.to_owned(),
                    cause,
                })?;
                check(&claim, &bytes).map_err(|difference| Error::PayloadDamaged {
                    delivery: event.id(),
                    reference: claim.reference.to_owned(),
                    difference,
                })?;
                Ok(bytes)
            }
        }
    }

    async fn fetch(&self, claim: &Claim<'_>) -> Result<Bytes, String> {
        let bucket = self.bucket(claim.bucket).await?;
        let mut object = bucket.get(claim.object).await.map_err(|error| error.to_string())?;
        let size = claim.size.unwrap_or_default().min(MOST_RESERVED);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        object.read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
        Ok(bytes.into())
    }

    async fn bucket(&self, name: &str) -> Result<ObjectStore, String> {
        let mut buckets = self.buckets.lock().await;
        if let Some(bucket) = buckets.get(name) {
            return Ok(bucket.clone());
        }
        let bucket = self.context.get_object_store(name).await.map_err(|error| error.to_string())?;
        buckets.insert(name.to_owned(), bucket.clone());
        Ok(bucket)
    }
}

fn check(claim: &Claim<'_>, bytes: &[u8]) -> Result<(), String> {
    if let Some(size) = claim.size
        && size != bytes.len() as u64
    {
        return Err(format!("it has {} bytes, not {size}", bytes.len()));
    }
    match claim.digest {
        Some(digest) if claim_check::digest(bytes) != digest => Err("its digest differs".to_owned()),
        _ => Ok(()),
    }
}

/// The JSON in a body: the body itself, or the form's field `payload`. It is checked to be JSON.
///
/// # Errors
/// [`Error::Unreadable`] when there is none.
pub fn json<'a>(event: &StoredEvent, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
    let unreadable = |cause: String| Error::Unreadable { delivery: event.id(), cause };
    let json = match event.encoding() {
        Encoding::Json => Cow::Borrowed(body),
        Encoding::Form => Cow::Owned(form_payload(body).map_err(|refusal| unreadable(refusal.to_string()))?),
    };
    serde_json::from_slice::<IgnoredAny>(&json)
        .map_err(|error| unreadable(format!("it is not JSON: {error}")))?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::HeaderMap;
    use jiff::Timestamp;

    #[test]
    fn a_payload_must_be_what_was_stored() {
        let digest = claim_check::digest(b"{}");
        let claim = Claim { reference: "", bucket: "", object: "", size: Some(2), digest: Some(&digest) };
        assert_eq!(check(&claim, b"{}"), Ok(()));
        assert!(check(&claim, b"{ }").unwrap_err().contains("3 bytes, not 2"));
        assert!(check(&claim, b"[]").unwrap_err().contains("digest"));
    }

    #[test]
    fn forms_are_decoded() {
        let mut headers = HeaderMap::new();
        headers.insert("X-GitHub-Event", "push");
        headers.insert("X-GitHub-Delivery", "guid");
        headers.insert("Content-Type", "application/x-www-form-urlencoded");
        let event = |headers: &HeaderMap| {
            StoredEvent::new(1, Timestamp::UNIX_EPOCH, "github.o.r.push.-", Some(headers), Bytes::new())
                .unwrap()
        };
        let form = event(&headers);
        assert_eq!(json(&form, b"payload=%7B%7D").unwrap().as_ref(), b"{}");
        assert_eq!(json(&form, b"x=1").unwrap_err().code(), "WL0355");
        headers.insert("Content-Type", "application/json");
        let plain = event(&headers);
        assert!(matches!(json(&plain, b"{}").unwrap(), Cow::Borrowed(_)));
        assert_eq!(json(&plain, b"payload=%7B%7D").unwrap_err().code(), "WL0355");
    }
}
