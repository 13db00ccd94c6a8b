//! AWS Signature Version 4 for single requests, in the forms that SDKs send, and in forms that must be refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::Url;
use ring::digest::{SHA256, digest};
use ring::hmac;
use s3s::crypto::{Checksum, Crc32};
use serde::Deserialize;
use std::fmt::Write;

/// Who signs.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key id.
    pub id: String,
    /// The secret.
    pub secret: String,
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// With the hash of the body: what most clients do.
    #[default]
    Payload,
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// In chunks, each with its signature.
    Chunks,
    /// In chunks without signatures, and a CRC-32 behind them: what SDKs do since 2025.
    Trailer,
    /// The same, with a wrong CRC-32.
    WrongTrailer,
    /// In the query.
    Presigned,
    /// With another secret.
    WrongSecret,
    /// With an access key that nobody has.
    WrongId,
    /// With the hash of another body.
    WrongPayload,
    /// In chunks, the last of which was changed after it was signed.
    WrongChunk,
    /// Not at all.
    None,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub struct Signed {
    /// Where to.
    pub url: Url,
    /// Its headers, without `Host`.
    pub headers: Vec<(String, String)>,
    /// Its body, in the form that was signed.
    pub body: Vec<u8>,
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Percent-encodes as the signature wants it.
pub fn encode(text: &str, keep_slash: bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let kept = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/');
        if kept {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string");
        }
        encoded
    })
}

struct Scope {
    date: String,
    text: String,
    key: Vec<u8>,
}

impl Scope {
    fn new(keys: &Keys, date: &str) -> Self {
        let day = &date[..8];
        let mut key = format!("AWS4{}", keys.secret).into_bytes();
        for part in [day, "auto", "s3", "aws4_request"] {
            key = hmac_sha256(&key, part);
        }
        Self { date: date.to_owned(), text: format!("{day}/auto/s3/aws4_request"), key }
    }

    fn sign(&self, what: &str, text: &str) -> String {
        let to_sign = format!("{what}\n{}\n{}\n{text}", self.date, self.text);
        hex(&hmac_sha256(&self.key, &to_sign))
    }
}

/// Signs a request. `path` is decoded, `query` is pairs that are not encoded.
///
/// # Panics
/// When the endpoint is no URL.
pub fn sign(
    form: Form,
    keys: &Keys,
    endpoint: &str,
    (method, path): (&str, &str),
    query: &[(String, String)],
    headers: &[(String, String)],
    body: &[u8],
) -> Signed {
    let endpoint = Url::parse(endpoint).expect("the endpoint is a URL");
    let host = match endpoint.port() {
        Some(port) => format!("{}:{port}", endpoint.host_str().expect("a host")),
        None => endpoint.host_str().expect("a host").to_owned(),
    };
    let path = format!("{}{}", endpoint.path().trim_end_matches('/'), encode(path, true));
    let mut keys = keys.clone();
    match form {
        Form::WrongSecret => keys.secret = "another".into(),
        Form::WrongId => keys.id = "f".repeat(keys.id.len()),
        _ => {}
    }
    let date = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let scope = Scope::new(&keys, &date);
    let mut headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let mut query = query.to_vec();
    let crc = |body: &[u8]| STANDARD.encode(Crc32::checksum(body));
    let payload = match form {
        Form::Payload | Form::WrongSecret | Form::WrongId => sha256(body),
        Form::WrongPayload => sha256(b"another body"),
        Form::Unsigned | Form::Presigned | Form::None => "UNSIGNED-PAYLOAD".to_owned(),
        Form::Chunks | Form::WrongChunk => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
        Form::Trailer | Form::WrongTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
    };
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    if matches!(form, Form::Chunks | Form::WrongChunk | Form::Trailer | Form::WrongTrailer) {
        add("content-encoding", "aws-chunked".into());
        add("x-amz-decoded-content-length", body.len().to_string());
    }
    if matches!(form, Form::Trailer | Form::WrongTrailer) {
        add("x-amz-trailer", "x-amz-checksum-crc32".into());
    }
    if form == Form::Presigned {
        query.extend([
            ("X-Amz-Algorithm".into(), "AWS4-HMAC-SHA256".into()),
            ("X-Amz-Credential".into(), format!("{}/{}", keys.id, scope.text)),
            ("X-Amz-Date".into(), date.clone()),
            ("X-Amz-Expires".into(), "60".into()),
            ("X-Amz-SignedHeaders".into(), "host".into()),
        ]);
    } else if form != Form::None {
        add("x-amz-date", date.clone());
        add("x-amz-content-sha256", payload.clone());
    }
    let mut pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)))
        .collect();
    pairs.sort();
    let mut query = pairs.join("&");
    let mut signed: Vec<(String, String)> =
        if form == Form::Presigned { Vec::new() } else { headers.clone() };
    signed.push(("host".into(), host));
    signed.sort();
    let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let lines: String = signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}");
    let signature = scope.sign("AWS4-HMAC-SHA256", &sha256(canonical.as_bytes()));
    match form {
        Form::None => {}
        Form::Presigned => write!(query, "&X-Amz-Signature={signature}").expect("writing to a string"),
        _ => headers.push((
            "authorization".into(),
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={signature}",
                keys.id, scope.text
            ),
        )),
    }
    let body = match form {
        Form::Chunks | Form::WrongChunk => chunks(&scope, &signature, body, form == Form::WrongChunk),
        Form::Trailer => trailer(body, &crc(body)),
        Form::WrongTrailer => trailer(body, &crc(b"another body")),
        _ => body.to_vec(),
    };
    let mut url = endpoint;
    url.set_path(&path);
    url.set_query((!query.is_empty()).then_some(query.as_str()));
    Signed { url, headers, body }
}

fn chunks(scope: &Scope, seed: &str, body: &[u8], wrong: bool) -> Vec<u8> {
    let empty = sha256(b"");
    let mut previous = seed.to_owned();
    let mut sent = Vec::new();
    for chunk in body.chunks(64 * 1024).chain([&[][..]]) {
        let text = format!("{previous}\n{empty}\n{}", sha256(chunk));
        previous = scope.sign("AWS4-HMAC-SHA256-PAYLOAD", &text);
        sent.extend(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).bytes());
        sent.extend(chunk);
        if wrong && let Some(last) = sent.last_mut().filter(|_| !chunk.is_empty()) {
            *last ^= 1;
        }
        sent.extend(b"\r\n");
    }
    sent
}

fn trailer(body: &[u8], crc: &str) -> Vec<u8> {
    let mut sent = Vec::new();
    for chunk in body.chunks(64 * 1024) {
        sent.extend(format!("{:x}\r\n", chunk.len()).bytes());
        sent.extend(chunk);
        sent.extend(b"\r\n");
    }
    sent.extend(format!("0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n").bytes());
    sent
}
