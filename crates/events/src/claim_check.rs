//! The claim check: a payload too large for a message goes into an object bucket, and the message says where.
//!
//! The object is put before the message, under the delivery GUID, so that a message never points at nothing; putting
//! it twice is the same as once.

use crate::event::Event;
use crate::headers::{DATAREF, PAYLOAD_DIGEST, PAYLOAD_SIZE};
use async_nats::jetstream::object_store::{ObjectMetadata, ObjectStore};
use bytes::Bytes;
use ring::digest;
use std::borrow::Cow;

/// The bucket in which large payloads are kept.
pub const BUCKET: &str = "GITHUB_PAYLOADS";

/// What a message must leave free below the server's `max_payload` for its headers.
pub const HEADER_ROOM: usize = 16 * 1024;

/// The digest of a payload, as NATS object stores write it.
pub fn digest(payload: &[u8]) -> String {
    use base64::Engine;
    let hash = digest::digest(&digest::SHA256, payload);
    format!("SHA-256={}", base64::engine::general_purpose::URL_SAFE.encode(hash))
}

/// Where a payload is: the value of `ce-dataref`.
pub fn reference(bucket: &str, object: &str) -> String {
    format!("nats-object://{bucket}/{object}")
}

/// The bucket and the object of a `ce-dataref`.
pub fn parse_reference(reference: &str) -> Option<(&str, &str)> {
    reference.strip_prefix("nats-object://")?.split_once('/')
}

/// The same event with its payload left at the cloakroom.
pub fn ticket(event: &Event, bucket: &str) -> Event {
    let mut ticket = event.clone();
    ticket.body = Bytes::new();
    ticket.headers.extend([
        (Cow::Borrowed(DATAREF), reference(bucket, &event.delivery)),
        (Cow::Borrowed(PAYLOAD_SIZE), event.body.len().to_string()),
        (Cow::Borrowed(PAYLOAD_DIGEST), digest(&event.body)),
    ]);
    ticket
}

/// Puts an event's payload into the bucket, unless the same bytes are there already.
///
/// # Errors
/// Whatever the object store answers; the caller treats it as "not stored".
pub async fn deposit(store: &ObjectStore, event: &Event) -> Result<(), async_nats::Error> {
    let expected = digest(&event.body);
    if let Ok(found) = store.info(&event.delivery).await
        && found.digest.as_deref() == Some(expected.as_str())
        && !found.deleted
    {
        return Ok(());
    }
    let metadata = ObjectMetadata { name: event.delivery.clone(), ..ObjectMetadata::default() };
    store.put(metadata, &mut event.body.as_ref()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_says_where_how_large_and_which_bytes() {
        let event = Event {
            delivery: "guid".into(),
            subject: "github.o.r.push.-".into(),
            headers: vec![],
            body: Bytes::from_static(b"{}"),
        };
        let ticket = ticket(&event, "B");
        assert!(ticket.body.is_empty());
        let value = |name: &str| ticket.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(parse_reference(value(DATAREF).unwrap()), Some(("B", "guid")));
        assert_eq!(value(PAYLOAD_SIZE), Some("2"));
        assert_eq!(value(PAYLOAD_DIGEST), Some("SHA-256=RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o="));
    }
}
