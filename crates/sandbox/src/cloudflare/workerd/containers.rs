//! Ends the containers of a workerd that could not do it itself: one that had to be killed leaves them, and the next
//! workerd would take them over as they are.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// Ends every container of these keys' Durable Objects, with their side-cars: as Docker's client would.
pub(super) async fn end(engine: &Path, keys: &[String]) -> io::Result<()> {
    for key in keys {
        let filters = json!({ "name": [format!("workerd-{key}-")] }).to_string();
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("all", "1")
            .append_pair("filters", &filters)
            .finish();
        let (status, body) = call(engine, Method::GET, &format!("/containers/json?{query}")).await?;
        let rows: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
        if status != StatusCode::OK {
            return Err(io::Error::other(format!("the container engine answers {status}")));
        }
        for id in rows.iter().filter_map(|row| row["Id"].as_str()) {
            // First in its own time, so that its clients hear of it.
            call(engine, Method::POST, &format!("/containers/{id}/stop?t=2")).await?;
            call(engine, Method::DELETE, &format!("/containers/{id}?force=true")).await?;
        }
    }
    Ok(())
}

async fn call(engine: &Path, method: Method, target: &str) -> io::Result<(StatusCode, Bytes)> {
    let stream = UnixStream::connect(engine).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the answer.
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(target).header(http::header::HOST, "docker");
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?;
    Ok((status, body.to_bytes()))
}
