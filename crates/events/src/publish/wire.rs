//! The few words of NATS's client protocol that a publisher needs, as bytes in and bytes out.
//!
//! Source: the NATS client protocol (INFO, CONNECT, PUB/HPUB, SUB, MSG/HMSG, PING/PONG, +OK/-ERR), version 1 with
//! headers and "no responders".

use crate::event::Event;
use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use std::io::{self, Write as _};

/// No control line of a server is longer than this; a longer one is no NATS.
const LONGEST_LINE: usize = 1024 * 1024;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// About itself, as JSON.
    Info(Bytes),
    /// An answer to one of our publishes: the last token of its reply subject, and the answer.
    Answer { token: u64, status: Option<u16>, payload: Bytes },
    /// Are you there?
    Ping,
    /// I am here.
    Pong,
    /// Something is wrong, in the server's words.
    Error(String),
    /// Nothing that matters here.
    Other,
}

/// What the server says of itself, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    pub(super) max_payload: usize,
    pub(super) nonce: String,
    pub(super) tls_required: bool,
    pub(super) headers: bool,
    pub(super) version: String,
}

/// Takes the next thing that the server has said in full out of the buffer.
///
/// # Errors
/// When it is not NATS: the connection is of no use then.
pub(super) fn parse(buffer: &mut BytesMut) -> io::Result<Option<Said>> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        return if buffer.len() > LONGEST_LINE { Err(not_nats("an endless line")) } else { Ok(None) };
    };
    let line = &buffer[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (verb, rest) = match memchr::memchr2(b' ', b'\t', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &line[line.len()..]),
    };
    let is = |name: &str| verb.eq_ignore_ascii_case(name.as_bytes());
    if is("MSG") || is("HMSG") {
        let has_headers = is("HMSG");
        let header = MessageLine::parse(rest, has_headers)?;
        let whole = end + 1 + header.total + 2;
        if buffer.len() < whole {
            buffer.reserve(whole - buffer.len());
            return Ok(None);
        }
        buffer.advance(end + 1);
        let mut body = buffer.split_to(header.total).freeze();
        buffer.advance(2);
        let status = status(&body[..header.headers]);
        body.advance(header.headers);
        return Ok(Some(match header.token {
            Some(token) => Said::Answer { token, status, payload: body },
            None => Said::Other,
        }));
    }
    let said = if is("PING") {
        Said::Ping
    } else if is("PONG") {
        Said::Pong
    } else if is("INFO") {
        Said::Info(Bytes::copy_from_slice(rest))
    } else if is("-ERR") {
        Said::Error(String::from_utf8_lossy(rest).trim_matches(['\'', ' ']).to_owned())
    } else if is("+OK") {
        Said::Other
    } else {
        return Err(not_nats("an unknown word"));
    };
    buffer.advance(end + 1);
    Ok(Some(said))
}

/// `<subject> <sid> [reply] [headers] <total>`.
struct MessageLine {
    token: Option<u64>,
    headers: usize,
    total: usize,
}

impl MessageLine {
    fn parse(line: &[u8], has_headers: bool) -> io::Result<Self> {
        let text = std::str::from_utf8(line).map_err(|_| not_nats("a message line that is no text"))?;
        let mut words = text.split_ascii_whitespace();
        let token = words.next().and_then(|subject| subject.rsplit('.').next()?.parse().ok());
        let mut sizes = words.rev();
        let mut size = || sizes.next()?.parse::<usize>().ok().filter(|size| *size <= 64 << 20);
        let bad = || not_nats("a message line without sizes");
        let total = size().ok_or_else(bad)?;
        let headers = if has_headers { size().filter(|size| *size <= total).ok_or_else(bad)? } else { 0 };
        Ok(Self { token, headers, total })
    }
}

/// The status in a header block's first line, such as 503 in `NATS/1.0 503`.
fn status(headers: &[u8]) -> Option<u16> {
    let line = headers.strip_prefix(b"NATS/1.0 ")?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

fn not_nats(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}"))
}

/// Appends an event as one HPUB whose answer goes to `<inbox>.<token>`.
pub(super) fn publish(out: &mut Vec<u8>, event: &Event, inbox: &str, token: u32) {
    const FIRST: &str = "NATS/1.0\r\n";
    let lines: usize = event.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let headers = FIRST.len() + lines + 2;
    let total = headers + event.body.len();
    out.reserve(event.subject.len() + inbox.len() + total + 64);
    // Writing into a vector cannot fail.
    let _ = write!(out, "HPUB {} {inbox}.{token} {headers} {total}\r\n{FIRST}", event.subject);
    for (name, value) in &event.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&event.body);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<Said> {
        let mut buffer = BytesMut::from(text);
        let mut said = Vec::new();
        while let Some(next) = parse(&mut buffer).unwrap() {
            said.push(next);
        }
        said
    }

    #[test]
    fn what_a_server_says_is_understood_wherever_it_is_cut() {
        let text = b"INFO {\"max_payload\":7}\r\nPING\r\nMSG _I.a.3 1 5\r\nhello\r\n+OK\r\n\
            HMSG _I.a.18 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nmsg _I.a.4 1 r.s 2\r\n{}\r\n-ERR 'Stale Connection'\r\nPONG\r\n";
        let expected = all(text);
        assert_eq!(expected.len(), 8);
        assert_eq!(
            expected[2],
            Said::Answer { token: 3, status: None, payload: Bytes::from_static(b"hello") }
        );
        assert_eq!(expected[4], Said::Answer { token: 18, status: Some(503), payload: Bytes::new() });
        assert_eq!(expected[5], Said::Answer { token: 4, status: None, payload: Bytes::from_static(b"{}") });
        assert_eq!(expected[6], Said::Error("Stale Connection".into()));
        for cut in 0..text.len() {
            let mut buffer = BytesMut::from(&text[..cut]);
            let mut said = Vec::new();
            while let Some(next) = parse(&mut buffer).unwrap() {
                said.push(next);
            }
            buffer.extend_from_slice(&text[cut..]);
            while let Some(next) = parse(&mut buffer).unwrap() {
                said.push(next);
            }
            assert_eq!(said, expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_nats_is_an_error() {
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "MSG a\r\n",
            "MSG a 1 x\r\n",
            "HMSG a 1 9 5\r\n",
            "MSG a 1 99999999999\r\n",
        ] {
            assert!(parse(&mut BytesMut::from(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_is_one_publish_with_its_headers_in_order() {
        let event = Event {
            delivery: "d".into(),
            subject: "github.o.r.push.-".into(),
            headers: vec![("Nats-Msg-Id".into(), "d".into()), ("A".into(), "b".into())],
            body: Bytes::from_static(b"{}"),
        };
        let mut out = Vec::new();
        publish(&mut out, &event, "_INBOX.x", 5);
        let expected =
            "HPUB github.o.r.push.- _INBOX.x.5 34 36\r\nNATS/1.0\r\nNats-Msg-Id: d\r\nA: b\r\n\r\n{}\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
