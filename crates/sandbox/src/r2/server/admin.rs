//! The admin endpoint, for tests in other processes:
//!
//! | request | |
//! | --- | --- |
//! | `POST /faults` | orders a [`Fault`] |
//! | `GET /faults`, `DELETE /faults` | those that are still to come |
//! | `GET /requests`, `DELETE /requests` | what was asked and answered |
//! | `GET /write-interval`, `PUT /write-interval` | R2's limit: milliseconds between two writes to one key; 0 for none |

use super::{Request, Shared};
use crate::r2::fault::Fault;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Answers until it is told to stop.
pub async fn run(listener: TcpListener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/requests", get(requests).delete(clear_requests))
        .route("/write-interval", get(write_interval).put(set_write_interval))
        .with_state(shared);
    let stop = async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::warn!(%error, "the admin endpoint ended");
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.faults.lock().waiting())
}

async fn add_fault(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => {
            shared.faults.lock().add(fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.faults.lock().clear();
    StatusCode::NO_CONTENT
}

async fn requests(State(shared): State<Arc<Shared>>) -> Response {
    let requests: Vec<Request> = shared.requests.lock().iter().cloned().collect();
    json(&requests)
}

async fn clear_requests(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.requests.lock().clear();
    StatusCode::NO_CONTENT
}

async fn write_interval(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.store.write_interval().unwrap_or(0))
}

async fn set_write_interval(State(shared): State<Arc<Shared>>, body: String) -> Response {
    match body.trim().parse() {
        Ok(millis) => {
            shared.store.limit_writes(Some(Duration::from_millis(millis)));
            StatusCode::NO_CONTENT.into_response()
        }
        Err(_) => (StatusCode::BAD_REQUEST, "a number of milliseconds is needed").into_response(),
    }
}
