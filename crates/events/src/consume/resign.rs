//! The request that GitHub would send for a stored event: its headers, and a signature made with another secret.

use secrecy::{ExposeSecret, SecretString};

use super::stored::StoredEvent;
use crate::headers::{CONTENT_TYPE, DELIVERY, EVENT, Encoding, KEPT, SIGNATURE};
use crate::signature::sign;

/// Signs a body as GitHub does: the value of `X-Hub-Signature-256`.
pub fn signature(secret: &SecretString, body: &[u8]) -> String {
    sign(secret.expose_secret().as_bytes(), body)
}

/// The headers of a request with this body. `delivery` replaces the event's own GUID.
pub fn headers(
    event: &StoredEvent,
    body: &[u8],
    secret: &SecretString,
    delivery: Option<&str>,
) -> Vec<(&'static str, String)> {
    let name = event.header(EVENT).unwrap_or(&event.names.event);
    let delivery = delivery.map_or_else(|| event.id(), str::to_owned);
    let mut headers = new_headers(name, &delivery, event.encoding(), body, secret);
    for name in KEPT {
        if let Some(value) = event.header(name) {
            headers.push((name, value.to_owned()));
        }
    }
    headers
}

/// The headers of a delivery that is made up here.
pub fn new_headers(
    event: &str,
    delivery: &str,
    encoding: Encoding,
    body: &[u8],
    secret: &SecretString,
) -> Vec<(&'static str, String)> {
    vec![
        (CONTENT_TYPE, encoding.media_type().to_owned()),
        (EVENT, event.to_owned()),
        (DELIVERY, delivery.to_owned()),
        (SIGNATURE, signature(secret, body)),
    ]
}

/// A JSON payload as the form that GitHub sends where a webhook's content type is a form.
pub fn form(json: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("payload", json).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::form_payload;
    use crate::signature::{Keys, Signature};
    use async_nats::HeaderMap;
    use bytes::Bytes;
    use jiff::Timestamp;

    #[test]
    fn a_stored_event_becomes_githubs_request() {
        let mut stored = HeaderMap::new();
        for (name, value) in [
            ("Nats-Msg-Id", "guid"),
            ("X-GitHub-Delivery", "guid"),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Hook-ID", "7"),
            ("Content-Type", "application/json"),
            ("ce-id", "guid"),
        ] {
            stored.insert(name, value);
        }
        let body = Bytes::from_static(b"{}");
        let event =
            StoredEvent::new(1, Timestamp::UNIX_EPOCH, "github.o.r.push.-", Some(&stored), body.clone())
                .unwrap();
        let secret = SecretString::from("new");
        let made = headers(&event, &body, &secret, None);
        let signature = made.iter().find(|(name, _)| *name == SIGNATURE).map(|(_, value)| value.as_bytes());
        assert!(Keys::new([&secret]).verify(&Signature::parse(signature).unwrap(), &body).is_ok());
        let rest: Vec<_> = made.iter().filter(|(name, _)| *name != SIGNATURE).cloned().collect();
        assert_eq!(
            rest,
            [
                ("Content-Type", "application/json".to_owned()),
                ("X-GitHub-Event", "push".to_owned()),
                ("X-GitHub-Delivery", "guid".to_owned()),
                ("X-GitHub-Hook-ID", "7".to_owned()),
            ]
        );
        let renamed = headers(&event, &body, &secret, Some("other"));
        assert!(renamed.contains(&(DELIVERY, "other".to_owned())));
    }

    #[test]
    fn a_form_holds_the_payload() {
        let json = r#"{"a": "é & = +"}"#;
        assert_eq!(form_payload(form(json).as_bytes()).unwrap(), json.as_bytes());
    }
}
