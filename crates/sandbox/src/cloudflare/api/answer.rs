//! Cloudflare's envelope: `{result, success, errors, messages}`. Pure.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

/// An answer that is not a refusal.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    content: Content,
    headers: Vec<(HeaderName, String)>,
}

#[derive(Clone, Debug)]
enum Content {
    Envelope { result: Value, info: Option<Value>, messages: Vec<Value> },
    Raw { bytes: Bytes, content_type: String },
}

/// A request that is not done, in Cloudflare's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} [code: {code}]")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Cloudflare's code.
    pub code: u32,
    /// Cloudflare's message.
    pub message: String,
    /// What stands behind it, where Cloudflare says so.
    pub chain: Option<(u32, &'static str)>,
    /// When to come again, in seconds.
    pub retry_after: Option<u64>,
}

/// What every operation gives.
pub type Outcome = Result<Answer, Refusal>;

impl Answer {
    /// 200, with a result.
    pub fn ok(result: Value) -> Outcome {
        Ok(Self::new(result))
    }

    /// 200, with a result.
    pub fn new(result: Value) -> Self {
        Self {
            status: 200,
            content: Content::Envelope { result, info: None, messages: Vec::new() },
            headers: Vec::new(),
        }
    }

    /// 200, with bytes as they are.
    pub fn raw(bytes: impl Into<Bytes>, content_type: impl Into<String>) -> Self {
        let content = Content::Raw { bytes: bytes.into(), content_type: content_type.into() };
        Self { status: 200, content, headers: Vec::new() }
    }

    /// The same, with another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same, with `result_info`.
    pub fn info(mut self, value: Value) -> Self {
        if let Content::Envelope { info, .. } = &mut self.content {
            *info = Some(value);
        }
        self
    }

    /// The same, with a message.
    pub fn message(mut self, code: u32, text: &str) -> Self {
        if let Content::Envelope { messages, .. } = &mut self.content {
            messages.push(json!({ "code": code, "message": text, "type": null }));
        }
        self
    }

    /// The same, with a header.
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The HTTP answer.
    pub fn into_http(self) -> http::Response<Full<Bytes>> {
        let (bytes, content_type) = match self.content {
            Content::Raw { bytes, content_type } => (bytes, content_type),
            Content::Envelope { result, info, messages } => {
                let mut body =
                    json!({ "success": true, "errors": [], "messages": messages, "result": result });
                if let Some(info) = info {
                    body["result_info"] = info;
                }
                (Bytes::from(body.to_string()), "application/json".to_owned())
            }
        };
        http_answer(self.status, bytes, &content_type, self.headers)
    }
}

fn http_answer(
    status: u16,
    bytes: Bytes,
    content_type: &str,
    headers: Vec<(HeaderName, String)>,
) -> http::Response<Full<Bytes>> {
    let mut answer = http::Response::new(Full::new(bytes));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let all = [(header::CONTENT_TYPE, content_type.to_owned())].into_iter().chain(headers);
    for (name, value) in all {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

impl Refusal {
    /// A refusal with this status, code and message.
    pub fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), chain: None, retry_after: None }
    }

    /// What Cloudflare says when a token may not do this, and when the account is another's.
    pub fn authentication() -> Self {
        Self::new(403, 10000, "Authentication error")
    }

    /// What Cloudflare says of a path that it does not know.
    pub fn no_route(path: &str) -> Self {
        let message = format!("Could not route to {path}, perhaps your object identifier is invalid?");
        Self { chain: Some((7000, "No route for that URI")), ..Self::new(404, 7003, message) }
    }

    /// What Cloudflare says of a body that it cannot read.
    pub fn malformed(why: impl std::fmt::Display) -> Self {
        Self::new(400, 10001, format!("Could not parse the request body: {why}"))
    }

    /// The HTTP answer.
    pub fn into_http(self) -> http::Response<Full<Bytes>> {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some((code, message)) = self.chain {
            error["error_chain"] = json!([{ "code": code, "message": message }]);
        }
        let body = json!({ "success": false, "errors": [error], "messages": [], "result": null });
        let headers = self.retry_after.map(|seconds| (header::RETRY_AFTER, seconds.to_string()));
        let bytes = Bytes::from(body.to_string());
        http_answer(self.status, bytes, "application/json", headers.into_iter().collect())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        tracing::error!(%error, "the stand-in failed");
        Self::new(500, 10001, format!("internal error: {error}"))
    }
}

impl From<crate::r2::refusal::Refusal> for Refusal {
    fn from(refusal: crate::r2::refusal::Refusal) -> Self {
        use crate::r2::refusal::Refusal as R2;
        let text = refusal.to_string();
        match refusal {
            R2::BucketExists => Self::new(409, 10004, text),
            R2::InvalidBucketName => Self::new(400, 10005, text),
            R2::NoSuchBucket => Self::new(404, 10006, text),
            R2::NoSuchKey => Self::new(404, 10007, text),
            R2::BucketNotEmpty => Self::new(409, 10008, text),
            _ => Self::new(500, 10001, text),
        }
    }
}
