//! Terraform's `http` backend: GET, POST and DELETE a state, LOCK and UNLOCK it.
//!
//! The state is the path behind [`PATH`]; user and password are the keys.

use super::gate::Gate;
use crate::error::Error;
use crate::lock::LockInfo;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

/// Before the key. No bucket is called like this.
pub(super) const PATH: &str = "/-/http/";
const PROTOCOL: &str = "http";
/// More is no state: it must fit into memory several times.
pub(super) const LARGEST: usize = 1 << 30;

/// What `Authorization` must say, as a digest: comparing it tells nothing about how far a guess is right.
#[derive(Debug)]
pub(super) struct Password([u8; 32]);

impl Password {
    pub(super) fn new(user: &str, password: &str) -> Self {
        let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Self(Sha256::digest(format!("Basic {basic}")).into())
    }

    fn admits(&self, request: &Request<Incoming>) -> bool {
        let given = request.headers().get(header::AUTHORIZATION);
        given.is_some_and(|given| <[u8; 32]>::from(Sha256::digest(given.as_bytes())) == self.0)
    }
}

/// Answers one request.
pub(super) async fn answer(
    gate: &Gate,
    password: &Password,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    if !password.admits(&request) {
        let mut answer = with(StatusCode::UNAUTHORIZED, Bytes::new());
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"windlass\""));
        return answer;
    }
    match answered(gate, request).await {
        Ok(answer) => answer,
        Err(error) => {
            let status = status(&error);
            let text = format!("{} {error}\n{}\n", error.code(), error.help());
            with(status, text.into())
        }
    }
}

/// The status of an error. Terraform asks again after one of 500 and above.
pub(super) const fn status(error: &Error) -> StatusCode {
    match error {
        Error::Unreachable { .. } | Error::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Error::Denied { .. } => StatusCode::FORBIDDEN,
        Error::Address { .. } | Error::Empty { .. } | Error::Corrupt { .. } => StatusCode::BAD_REQUEST,
        _ => StatusCode::CONFLICT,
    }
}

async fn answered(gate: &Gate, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Error> {
    let path = request.uri().path().strip_prefix(PATH).unwrap_or_default();
    let key = gate.key(path)?;
    let id = request.uri().query().and_then(|query| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("ID="))
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
    });
    let method = request.method().clone();
    let Ok(body) = Limited::new(request.into_body(), LARGEST).collect().await else {
        return Ok(with(StatusCode::BAD_REQUEST, Bytes::new()));
    };
    let body = body.to_bytes();
    match method {
        Method::GET => Ok(match gate.read(PROTOCOL, &key).await? {
            Some(stored) => with(StatusCode::OK, stored.content),
            None => with(StatusCode::NOT_FOUND, Bytes::new()),
        }),
        Method::POST | Method::DELETE => {
            // A lock that was broken and taken by another protects nothing any more.
            let holder = gate.holder(&key).await?;
            if let Some(holder) = holder.filter(|holder| Some(&holder.id) != id.as_ref()) {
                return Ok(locked(&holder));
            }
            if method == Method::POST {
                gate.write(PROTOCOL, &key, &body, id.as_deref()).await?;
            } else {
                gate.delete(PROTOCOL, &key).await?;
            }
            Ok(with(StatusCode::OK, Bytes::new()))
        }
        method if method.as_str() == "LOCK" => Ok(match gate.lock(PROTOCOL, &key, &body).await? {
            Ok(_) => with(StatusCode::OK, Bytes::new()),
            Err(holder) => locked(&holder),
        }),
        method if method.as_str() == "UNLOCK" => {
            // `terraform force-unlock` names no lock.
            let id = LockInfo::parse(&body).id;
            let id = (!body.is_empty()).then_some(id.as_str());
            gate.unlock(PROTOCOL, &key, id).await?;
            Ok(with(StatusCode::OK, Bytes::new()))
        }
        _ => Ok(with(StatusCode::METHOD_NOT_ALLOWED, Bytes::new())),
    }
}

fn locked(holder: &LockInfo) -> Response<Full<Bytes>> {
    with(StatusCode::LOCKED, holder.to_json().into())
}

/// An answer.
pub(super) fn with(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
}
