//! The headers of a stored event: GitHub's own, CloudEvents' (binary mode of its NATS binding, where every attribute
//! is a header named `ce-…`), and what NATS needs to recognize a redelivery.

use crate::payload::Names;
use crate::subject::push_encoded;
use jiff::Timestamp;

/// The header by which JetStream recognizes what it has seen within the stream's duplicate window.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// GitHub's event name.
pub const EVENT: &str = "X-GitHub-Event";
/// GitHub's delivery GUID, the same for a redelivery.
pub const DELIVERY: &str = "X-GitHub-Delivery";
/// GitHub's signature. It is verified and never stored.
pub const SIGNATURE: &str = "X-Hub-Signature-256";
/// The appliance's host name, where the sender is GitHub Enterprise Server.
pub const ENTERPRISE_HOST: &str = "X-GitHub-Enterprise-Host";
/// The media type of the body.
pub const CONTENT_TYPE: &str = "Content-Type";
/// The reference to a payload that is not in the message itself (CloudEvents' `dataref` extension).
pub const DATAREF: &str = "ce-dataref";
/// The size in bytes of a payload that is not in the message itself.
pub const PAYLOAD_SIZE: &str = "Windlass-Payload-Size";
/// The digest of a payload that is not in the message itself, `SHA-256=<base64url>`.
pub const PAYLOAD_DIGEST: &str = "Windlass-Payload-Digest";

/// GitHub's headers that are kept where they were sent, besides [`EVENT`] and [`DELIVERY`].
pub const KEPT: [&str; 5] = [
    "X-GitHub-Hook-ID",
    "X-GitHub-Hook-Installation-Target-ID",
    "X-GitHub-Hook-Installation-Target-Type",
    ENTERPRISE_HOST,
    "X-GitHub-Enterprise-Version",
];

/// How the body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The body is the JSON payload.
    Json,
    /// The JSON payload is the form field `payload`.
    Form,
}

impl Encoding {
    /// Reads a `Content-Type`; parameters such as a charset are ignored. `None` for any other type.
    pub fn parse(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Form]
            .into_iter()
            .find(|encoding| media_type.eq_ignore_ascii_case(encoding.media_type()))
    }

    /// The media type, without parameters.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }
}

/// A header's name and value, in the order in which they are stored.
pub type Header = (&'static str, String);

/// What came with a delivery, besides its payload.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// The delivery GUID.
    pub id: &'a str,
    /// The event name.
    pub event: &'a str,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// The values of [`KEPT`], where they were sent, in that order.
    pub kept: [Option<&'a str>; KEPT.len()],
}

/// The headers of a stored event, without those of a claim check.
pub fn headers(delivery: &Delivery<'_>, names: &Names<'_>, received: Timestamp) -> Vec<Header> {
    let media_type = delivery.encoding.media_type();
    let mut headers = Vec::with_capacity(16);
    headers.push((MESSAGE_ID, delivery.id.to_owned()));
    headers.push((EVENT, delivery.event.to_owned()));
    headers.push((DELIVERY, delivery.id.to_owned()));
    for (name, value) in KEPT.into_iter().zip(delivery.kept) {
        if let Some(value) = value {
            headers.push((name, value.to_owned()));
        }
    }
    headers.push((CONTENT_TYPE, media_type.to_owned()));
    headers.push(("ce-specversion", "1.0".to_owned()));
    headers.push(("ce-id", delivery.id.to_owned()));
    headers.push(("ce-type", ce_type(delivery.event, names.action.as_deref())));
    headers.push(("ce-source", ce_source(delivery, names)));
    headers.push(("ce-time", format!("{received:.3}")));
    headers.push(("ce-datacontenttype", media_type.to_owned()));
    headers
}

fn ce_type(event: &str, action: Option<&str>) -> String {
    let mut value = format!("com.github.{event}");
    if let Some(action) = action {
        value.push('.');
        // A header cannot hold a line break; actions have none, but a payload may say anything.
        push_encoded(&mut value, action, |character| character.is_ascii_control());
    }
    value
}

fn ce_source(delivery: &Delivery<'_>, names: &Names<'_>) -> String {
    let enterprise = KEPT.iter().position(|name| *name == ENTERPRISE_HOST).and_then(|at| delivery.kept[at]);
    let mut source = format!("https://{}", enterprise.unwrap_or("github.com"));
    for segment in [names.owner.as_deref(), names.repository.as_deref()].into_iter().flatten() {
        source.push('/');
        push_encoded(&mut source, segment, |character| !is_path_character(character));
    }
    source
}

/// What RFC 3986 allows in a path segment without encoding (`pchar`).
fn is_path_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_read_without_their_parameters() {
        assert_eq!(Encoding::parse("Application/JSON; charset=utf-8"), Some(Encoding::Json));
        assert_eq!(Encoding::parse("application/x-www-form-urlencoded"), Some(Encoding::Form));
        assert_eq!(Encoding::parse("application/jsonx"), None);
        assert_eq!(Encoding::parse(""), None);
    }

    #[test]
    fn no_value_can_break_out_of_its_line() {
        let names = Names {
            action: Some("a\r\nEvil: 1".into()),
            owner: Some("o\n".into()),
            repository: Some("r\r/x".into()),
        };
        let delivery =
            Delivery { id: "id", event: "push", encoding: Encoding::Json, kept: [None; KEPT.len()] };
        let received = Timestamp::UNIX_EPOCH;
        for (name, value) in headers(&delivery, &names, received) {
            assert!(!value.contains(['\r', '\n']), "{name}: {value}");
        }
    }
}
