//! An event as it is in the stream.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use jiff::Timestamp;

use crate::claim_check::parse_reference;
use crate::headers::{
    CONTENT_TYPE, DATAREF, DELIVERY, EVENT, Encoding, MESSAGE_ID, PAYLOAD_DIGEST, PAYLOAD_SIZE,
};
use crate::subject::decode_token;

/// The names in a subject, as GitHub wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The owner of the repository, or the organization.
    pub owner: Option<String>,
    /// The repository.
    pub repository: Option<String>,
    /// The event.
    pub event: String,
    /// The action.
    pub action: Option<String>,
}

impl Names {
    /// Reads the names from the last four tokens of a subject, and what stands before them.
    pub fn parse(subject: &str) -> Option<(&str, Self)> {
        let mut tokens = subject.rsplitn(5, '.');
        let (action, event) = (tokens.next()?, tokens.next()?);
        let (repository, owner, prefix) = (tokens.next()?, tokens.next()?, tokens.next()?);
        let names = Self {
            owner: decode_token(owner),
            repository: decode_token(repository),
            event: decode_token(event)?,
            action: decode_token(action),
        };
        Some((prefix, names))
    }

    /// `owner/repository`, as far as they are named.
    pub fn full_name(&self) -> Option<String> {
        match (&self.owner, &self.repository) {
            (Some(owner), Some(repository)) => Some(format!("{owner}/{repository}")),
            (Some(name), None) | (None, Some(name)) => Some(name.clone()),
            (None, None) => None,
        }
    }
}

/// An event in the stream. Its payload may be elsewhere: see [`super::Payloads`].
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream took it.
    pub time: Timestamp,
    /// Its subject.
    pub subject: String,
    /// What the subject says.
    pub names: Names,
    /// Its headers, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// The message's body: the payload's exact bytes, or nothing where there is a claim check.
    pub body: Bytes,
}

/// Where the payload of an event is, if not in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The reference as it was written.
    pub reference: &'a str,
    /// The object bucket.
    pub bucket: &'a str,
    /// The object in it.
    pub object: &'a str,
    /// How many bytes it has.
    pub size: Option<u64>,
    /// The digest of its bytes.
    pub digest: Option<&'a str>,
}

impl StoredEvent {
    /// Reads a message; `None` for one that is no event.
    pub fn new(
        sequence: u64,
        time: Timestamp,
        subject: &str,
        headers: Option<&HeaderMap>,
        body: Bytes,
    ) -> Option<Self> {
        let mut headers: Vec<(String, String)> = headers
            .into_iter()
            .flat_map(HeaderMap::iter)
            .flat_map(|(name, values)| {
                values.iter().map(|value| (name.to_string(), value.as_str().to_owned()))
            })
            .collect();
        headers.sort_by_cached_key(|(name, _)| name.to_ascii_lowercase());
        let (_, names) = Names::parse(subject)?;
        let event = Self { sequence, time, subject: subject.to_owned(), names, headers, body };
        event.header(EVENT)?;
        event.delivery()?;
        Some(event)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The delivery GUID.
    pub fn delivery(&self) -> Option<&str> {
        self.header(DELIVERY).or_else(|| self.header(MESSAGE_ID))
    }

    /// The delivery GUID, or the sequence where there is none.
    pub fn id(&self) -> String {
        self.delivery().map_or_else(|| format!("#{}", self.sequence), str::to_owned)
    }

    /// How the payload is encoded. What is not said is JSON.
    pub fn encoding(&self) -> Encoding {
        self.header(CONTENT_TYPE).and_then(Encoding::parse).unwrap_or(Encoding::Json)
    }

    /// The claim check, if the payload is not in the message.
    pub fn claim(&self) -> Option<Claim<'_>> {
        let reference = self.header(DATAREF)?;
        let (bucket, object) = parse_reference(reference)?;
        let size = self.header(PAYLOAD_SIZE).and_then(|size| size.parse().ok());
        Some(Claim { reference, bucket, object, size, digest: self.header(PAYLOAD_DIGEST) })
    }

    /// The size of the payload in bytes.
    pub fn size(&self) -> u64 {
        self.claim().and_then(|claim| claim.size).unwrap_or(self.body.len() as u64)
    }
}

/// The delivery GUID among the headers of a message.
pub(super) fn delivery_of(headers: &HeaderMap) -> Option<&str> {
    [DELIVERY, MESSAGE_ID].into_iter().find_map(|name| headers.get(name)).map(HeaderValue::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_from_their_end() {
        let (prefix, names) = Names::parse("github.acme.api%2Ev2.pull_request.opened").unwrap();
        assert_eq!((prefix, names.full_name().as_deref()), ("github", Some("acme/api.v2")));
        assert_eq!((names.event.as_str(), names.action.as_deref()), ("pull_request", Some("opened")));
        let (prefix, names) = Names::parse("a.b.acme.-.organization.-").unwrap();
        assert_eq!((prefix, names.full_name().as_deref(), names.action), ("a.b", Some("acme"), None));
        assert_eq!(Names::parse("o.r.push.-"), None);
        assert_eq!(Names::parse("x.o.r.-.-"), None);
    }

    #[test]
    fn what_is_no_event_is_told_apart() {
        let mut headers = HeaderMap::new();
        headers.insert("X-GitHub-Event", "push");
        let read = |headers: &HeaderMap| {
            StoredEvent::new(1, Timestamp::UNIX_EPOCH, "github.o.r.push.-", Some(headers), Bytes::new())
        };
        assert!(read(&headers).is_none());
        headers.insert("Nats-Msg-Id", "guid");
        let event = read(&headers).unwrap();
        assert_eq!((event.delivery(), event.claim(), event.size()), (Some("guid"), None, 0));
        headers.insert("ce-dataref", "nats-object://B/guid");
        headers.insert("Windlass-Payload-Size", "9");
        let event = read(&headers).unwrap();
        let claim = event.claim().unwrap();
        assert_eq!((claim.bucket, claim.object, event.size()), ("B", "guid", 9));
        assert!(
            StoredEvent::new(1, Timestamp::UNIX_EPOCH, "github.o.r.push.-", None, Bytes::new()).is_none()
        );
    }
}
