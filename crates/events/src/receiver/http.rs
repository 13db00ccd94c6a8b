//! Requests and answers: what is a delivery, and what is said to its sender.

use super::store::Kept;
use super::{MAX_BODY, Shared, Timeline};
use crate::event::Event;
use crate::headers::{self, Delivery, Encoding, KEPT};
use crate::metrics::Outcome;
use crate::refusal::Refusal;
use crate::signature::Signature;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

/// All bodies together may take this much for their first [`SMALL_BODY`] bytes.
pub(super) const SMALL_BODIES_KIB: usize = 16 * 1024;
/// How many bodies may be larger than [`SMALL_BODY`] at once.
pub(super) const LARGE_BODIES: usize = 2;
const SMALL_BODY: usize = 1024 * 1024;

/// What bounds memory. A body is counted as it arrives and not as it is announced, so that nobody can reserve room by
/// a header.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) in_flight: Semaphore,
    pub(super) small_bodies: Semaphore,
    pub(super) large_bodies: Semaphore,
}

/// What answers requests: deliveries at once, everything else through a router.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    shared: Arc<Shared>,
    others: Router,
}

impl Answers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let others = Router::new()
            .route("/github", post(|| async { refuse(Refusal::MethodNotAllowed) }))
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .fallback(|| async { refuse(Refusal::NotFound) })
            .method_not_allowed_fallback(|| async { refuse(Refusal::MethodNotAllowed) })
            .with_state(Arc::clone(&shared));
        Self { shared, others }
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Answers {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        if request.method() == Method::POST && request.uri().path() == "/github" {
            let shared = Arc::clone(&self.shared);
            return Box::pin(async move { Ok(deliver(&shared, request).await) });
        }
        Box::pin(self.others.clone().oneshot(request.map(Body::new)))
    }
}

async fn deliver(shared: &Shared, request: hyper::Request<Incoming>) -> Response {
    let begun = Instant::now();
    let _in_flight = InFlight::begin(shared);
    let result = receive(shared, request, Timeline::begin(begun)).await;
    let (outcome, response) = match result {
        Ok((delivery, kept)) => accept(&delivery, &kept),
        Err(refusal) => {
            shared.metrics.refused(refusal.code());
            tracing::debug!(code = refusal.code(), "refused a delivery");
            (Outcome::Refused, refuse(refusal))
        }
    };
    shared.metrics.answered(outcome, begun.elapsed().as_secs_f64());
    response
}

async fn receive(
    shared: &Shared,
    request: hyper::Request<Incoming>,
    timeline: Timeline,
) -> Result<(String, Kept), Refusal> {
    let (head, body) = request.into_parts();
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let encoding = text("content-type").and_then(Encoding::parse).ok_or(Refusal::ContentType)?;
    let event = text(headers::EVENT).filter(|name| is_event(name)).ok_or(Refusal::Event)?;
    let id = text(headers::DELIVERY).filter(|id| is_delivery(id)).ok_or(Refusal::Delivery)?;
    let signature = Signature::parse(head.headers.get(headers::SIGNATURE).map(HeaderValue::as_bytes))?;
    if content_length(&head.headers).is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Refusal::TooLarge);
    }
    let _room = timeout_at(timeline.room, shared.limits.in_flight.acquire())
        .await
        .map_err(|_| Refusal::Overloaded)?;
    let (body, _memory) = read(&shared.limits, body, timeline).await?;
    shared.metrics.received_bytes.inc_by(body.len() as u64);
    shared.keys.verify(&signature, &body)?;
    let delivery = Delivery { id, event, encoding, kept: KEPT.map(text) };
    let event = Event::new(&shared.subject_prefix, &delivery, body, Timestamp::now())?;
    let kept = shared.store.keep(&event, timeline).await?;
    Ok((event.delivery, kept))
}

fn is_event(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn is_delivery(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the body, and holds room for it as long as the permits live.
async fn read<'a>(
    limits: &'a Limits,
    mut body: Incoming,
    timeline: Timeline,
) -> Result<(Bytes, Vec<SemaphorePermit<'a>>), Refusal> {
    let expected = body.size_hint().exact().unwrap_or(0).min(SMALL_BODY as u64) as usize;
    let mut permits = Vec::with_capacity(2);
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    let mut length = 0;
    let mut counted = 0;
    loop {
        let frame = match timeout_at(timeline.body, body.frame()).await {
            Err(_) => return Err(Refusal::BodyTimeout),
            Ok(None) => break,
            // The client has gone; nobody reads the answer.
            Ok(Some(Err(_))) => return Err(Refusal::BodyTimeout),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        if length <= SMALL_BODY {
            let kib = length.div_ceil(1024) - counted;
            if kib > 0 {
                permits.push(room(&limits.small_bodies, kib, timeline).await?);
                counted += kib;
            }
        } else if length - data.len() <= SMALL_BODY {
            permits.push(room(&limits.large_bodies, 1, timeline).await?);
        }
        // The usual delivery comes in one piece or two; one piece is used as it is.
        if whole.is_empty() && parts.is_empty() {
            whole = data;
        } else {
            if parts.is_empty() {
                parts.reserve(expected.max(whole.len() + data.len()));
                parts.extend_from_slice(&whole);
                whole = Bytes::new();
            }
            parts.extend_from_slice(&data);
        }
    }
    Ok((if parts.is_empty() { whole } else { parts.freeze() }, permits))
}

async fn room(
    semaphore: &Semaphore,
    permits: usize,
    timeline: Timeline,
) -> Result<SemaphorePermit<'_>, Refusal> {
    timeout_at(timeline.body, semaphore.acquire_many(permits as u32))
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or(Refusal::Overloaded)
}

fn accept(delivery: &str, kept: &Kept) -> (Outcome, Response) {
    // The identifier has been checked to hold nothing that JSON would have to escape.
    match kept {
        Kept::Stored(stored) => {
            let body = format!(
                r#"{{"status":"stored","delivery":"{delivery}","stream":"{}","sequence":{},"duplicate":{}}}"#,
                stored.stream, stored.sequence, stored.duplicate
            );
            let outcome = if stored.duplicate { Outcome::Duplicate } else { Outcome::Stored };
            (outcome, answer(StatusCode::OK, "application/json", body))
        }
        Kept::Spooled => {
            let body = format!(r#"{{"status":"spooled","delivery":"{delivery}"}}"#);
            (Outcome::Spooled, answer(StatusCode::ACCEPTED, "application/json", body))
        }
    }
}

fn refuse(refusal: Refusal) -> Response {
    let mut response = answer(refusal.status(), "application/json", refusal.to_json().to_string());
    match refusal {
        // The rest of the body is not read, so the connection cannot go on.
        Refusal::TooLarge | Refusal::BodyTimeout => insert(&mut response, header::CONNECTION, "close"),
        Refusal::NotStored | Refusal::Overloaded => insert(&mut response, header::RETRY_AFTER, "5"),
        _ => {}
    }
    response
}

async fn health() -> Response {
    answer(StatusCode::OK, "application/json", r#"{"status":"ok"}"#)
}

/// Ready as long as an event could be made durable, be it in the spool.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let store = &shared.store;
    let ready = store.is_ready();
    let levels = store.spool.levels();
    let body = serde_json::json!({
        "status": if ready { "ready" } else { "unavailable" },
        "nats": if store.publisher.is_connected() { "connected" } else { "disconnected" },
        "spool": { "events": levels.events(), "bytes": levels.bytes() },
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, "application/json", body.to_string())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let store = &shared.store;
    let text = shared.metrics.render(store.publisher.is_connected(), store.spool.levels());
    answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    insert(&mut response, header::CONTENT_TYPE, content_type);
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// Counts a delivery as in flight for as long as it lives, also when its connection breaks.
struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.metrics.in_flight.inc();
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}
