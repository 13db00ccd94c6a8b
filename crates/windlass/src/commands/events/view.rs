//! An event with its payload, as a line of JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bytes::Bytes;
use serde::Serialize;
use windlass_events::consume::{Error, Outline, Payloads, StoredEvent, json};

use super::json_text;

/// An event and its payload, or why there is none.
pub struct View {
    /// The event.
    pub event: StoredEvent,
    /// The exact bytes of its payload.
    pub body: Result<Bytes, Error>,
}

/// The fields of a JSON line, in their order; `payload` follows.
#[derive(Serialize)]
struct Fields<'a> {
    sequence: u64,
    time: String,
    delivery: Option<&'a str>,
    event: &'a str,
    action: Option<&'a str>,
    owner: Option<&'a str>,
    repository: Option<&'a str>,
    sender: Option<&'a str>,
    subject: &'a str,
    headers: BTreeMap<&'a str, &'a str>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// Why `payload` is null.
#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
}

impl View {
    /// Fetches the payload. That it cannot be fetched is part of the view: one event's trouble is not the others'.
    pub async fn of(event: StoredEvent, payloads: &Payloads) -> Self {
        let body = payloads.body(&event).await;
        Self { event, body }
    }

    /// Writes the event as one line of JSON. The payload is as GitHub wrote it but for white space.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let body = self.body.as_ref();
        let decoded =
            body.map_err(problem).and_then(|body| json(&self.event, body).map_err(|error| problem(&error)));
        let (payload, problem) = match decoded {
            Ok(payload) => (Some(payload), None),
            Err(problem) => (None, Some(problem)),
        };
        let outline = payload.as_deref().and_then(Outline::of).unwrap_or_default();
        let event = &self.event;
        let fields = Fields {
            sequence: event.sequence,
            time: event.time.to_string(),
            delivery: event.delivery(),
            event: &event.names.event,
            action: event.names.action.as_deref(),
            owner: event.names.owner.as_deref(),
            repository: event.names.repository.as_deref(),
            sender: outline.sender(),
            subject: &event.subject,
            headers: event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            size: event.size(),
            problem,
        };
        let mut line = serde_json::to_vec(&fields)?;
        // The payload is no member that serde writes: it stays the text that it is.
        line.pop();
        line.extend_from_slice(b",\"payload\":");
        out.write_all(&line)?;
        match &payload {
            Some(payload) => json_text::compact(payload, out)?,
            None => out.write_all(b"null")?,
        }
        out.write_all(b"}\n")
    }
}

fn problem(error: &Error) -> Problem {
    Problem { code: error.code(), message: error.to_string() }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use async_nats::HeaderMap;
    use jiff::Timestamp;

    /// An event made by hand.
    pub fn view(subject: &str, content_type: &str, body: &'static str) -> View {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("X-GitHub-Event", subject.rsplit('.').nth(1).unwrap()),
            ("X-GitHub-Delivery", "72d3162e"),
            ("Nats-Msg-Id", "72d3162e"),
            ("Content-Type", content_type),
            ("ce-specversion", "1.0"),
        ] {
            headers.insert(name, value);
        }
        let time: Timestamp = "2026-01-31T18:00:00.25Z".parse().unwrap();
        let body = Bytes::from_static(body.as_bytes());
        let event = StoredEvent::new(7, time, subject, Some(&headers), body.clone()).unwrap();
        View { event, body: Ok(body) }
    }

    fn line(view: &View) -> String {
        let mut out = Vec::new();
        view.write_json(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_every_field_in_order() {
        let push = view(
            "github.acme.api%2Ev2.push.-",
            "application/json",
            "{\n  \"ref\": \"refs/heads/main\", \"id\": 12345678901234567890123,\n \"sender\": {\"login\": \"octocat\"}\n}\n",
        );
        let expected = concat!(
            r#"{"sequence":7,"time":"2026-01-31T18:00:00.25Z","delivery":"72d3162e","event":"push","action":null,"#,
            r#""owner":"acme","repository":"api.v2","sender":"octocat","subject":"github.acme.api%2Ev2.push.-","#,
            r#""headers":{"Content-Type":"application/json","Nats-Msg-Id":"72d3162e","X-GitHub-Delivery":"72d3162e","#,
            r#""X-GitHub-Event":"push","ce-specversion":"1.0"},"size":95,"#,
            r#""payload":{"ref":"refs/heads/main","id":12345678901234567890123,"sender":{"login":"octocat"}}}"#,
            "\n"
        );
        assert_eq!(line(&push), expected);
    }

    #[test]
    fn forms_are_decoded() {
        let form = "payload=%7B%22action%22%3A%22created%22%7D";
        let star = view("github.acme.api.star.created", "application/x-www-form-urlencoded", form);
        assert!(line(&star).ends_with("\"size\":42,\"payload\":{\"action\":\"created\"}}\n"));
    }

    #[test]
    fn without_a_payload_the_line_says_why() {
        let mut broken = view("github.acme.api.star.created", "application/json", "<html>");
        let value: serde_json::Value = serde_json::from_str(&line(&broken)).unwrap();
        assert_eq!(
            (&value["payload"], value["problem"]["code"].as_str()),
            (&serde_json::Value::Null, Some("WL0355"))
        );
        broken.body = Err(Error::PayloadMissing {
            delivery: "72d3162e".into(),
            reference: "nats-object://B/72d3162e".into(),
            cause: "object not found".into(),
        });
        assert!(line(&broken).contains(r#""problem":{"code":"WL0353","message":"#));
    }
}
