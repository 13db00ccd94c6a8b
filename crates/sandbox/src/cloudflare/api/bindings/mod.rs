//! What a Worker's bindings reach: KV namespaces, R2 buckets and other Workers, in the protocols that workerd speaks.
//!
//! workerd tells by a header which binding asks ([`BINDING`]) and that it is a Worker of ours ([`PASS`]).

mod kv;
mod r2;
mod r2_object;

use super::Api;
use super::running::{BINDING, PASS};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::Full;
use std::sync::Arc;

/// A request of a binding.
#[derive(Debug)]
pub struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// What is answered.
pub type Answered = Response<Full<Bytes>>;

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answered {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer
}

/// The script that a request goes to, when it is one to another Worker.
pub fn service_of(api: &Api, headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    (text(PASS) == Some(api.workers.pass()))
        .then(|| text(BINDING)?.strip_prefix("service/").map(str::to_owned))?
}

/// Answers a request of a binding.
pub async fn answer(api: Arc<Api>, head: http::request::Parts, body: Bytes) -> Answered {
    let asked = Asked { method: head.method, uri: head.uri, headers: head.headers, body };
    let done = tokio::task::spawn_blocking(move || route(&api, &asked)).await;
    done.unwrap_or_else(|panic| plain(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()))
}

fn route(api: &Api, asked: &Asked) -> Answered {
    let text = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
    if text(PASS) != Some(api.workers.pass()) {
        return plain(StatusCode::FORBIDDEN, "this is for Workers alone");
    }
    let parts: Vec<_> = text(BINDING).unwrap_or_default().splitn(3, '/').collect();
    match parts.as_slice() {
        ["kv", namespace] => kv::answer(api, namespace, asked),
        ["r2", jurisdiction, bucket] => match api.buckets(jurisdiction) {
            Some(store) => r2::answer(store, bucket, asked),
            None => plain(StatusCode::NOT_FOUND, "no such jurisdiction"),
        },
        _ => plain(StatusCode::NOT_FOUND, "no such binding"),
    }
}
