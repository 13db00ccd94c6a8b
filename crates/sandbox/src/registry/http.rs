//! Requests and answers.

use super::credentials::{Permission, Verdict};
use super::refusal::{Refusal, range};
use super::route::{self, Reference, Route};
use super::store::Manifest;
use super::{Inner, Registry};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD: HeaderName = HeaderName::from_static("docker-upload-uuid");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// As Docker's registry has it.
const LARGEST_MANIFEST: usize = 4 << 20;
const PIECE: u64 = 256 * 1024;

type Answer = Result<Response, Refusal>;

pub(super) fn router(registry: Registry) -> Router {
    Router::new()
        .route("/v2", axum::routing::any(answer))
        .route("/v2/", axum::routing::any(answer))
        .route("/v2/{*rest}", axum::routing::any(answer))
        // Layers are as large as they are; manifests have their own limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(registry)
}

async fn answer(State(registry): State<Registry>, request: Request) -> Response {
    let mut response = decide(&registry.inner, request).await.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn decide(inner: &Arc<Inner>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let wanted = if reads { Permission::Pull } else { Permission::Push };
    if let Some(desk) = &inner.desk {
        let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let wanted = (parts.uri.path().trim_end_matches('/') != "/v2").then_some(wanted);
        match desk.judge(header, wanted, Instant::now()) {
            Verdict::Allowed => {}
            Verdict::Unknown => return Err(Refusal::Unauthorized),
            Verdict::Denied => return Err(Refusal::Denied("these credentials may not do that")),
        }
    }
    let route = route::parse(parts.uri.path())?;
    if let (Some(name), Some(namespace)) = (route.name(), &inner.namespace)
        && !name.strip_prefix(namespace.as_str()).is_some_and(|rest| rest.starts_with('/'))
    {
        return Err(Refusal::Denied("this repository belongs to another account"));
    }
    let query: Vec<(String, String)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let query = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (&parts.method, route) {
        (&Method::GET | &Method::HEAD, Route::Base) => Ok(axum::Json(json!({})).into_response()),
        (&Method::GET, Route::Catalog) => {
            Ok(axum::Json(json!({ "repositories": inner.store.names()? })).into_response())
        }
        (&Method::GET, Route::Tags { name }) => tags(inner, name, query("n"), query("last")),
        (&Method::GET | &Method::HEAD, Route::Blob { name, digest }) => {
            blob(inner, name, digest, parts.method == Method::GET).await
        }
        (&Method::DELETE, Route::Blob { name, digest }) => {
            inner.store.unlink(name, digest)?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        (&Method::POST, Route::Uploads { name }) => {
            if let (Some(digest), Some(from)) = (query("mount"), query("from")) {
                let hex = route::hex_of(digest).ok_or(Refusal::DigestInvalid)?;
                let is_ours = |from: &str| {
                    let namespace = inner.namespace.as_ref();
                    namespace.is_none_or(|own| {
                        from.strip_prefix(own.as_str()).is_some_and(|rest| rest.starts_with('/'))
                    })
                };
                if route::is_name(from) && is_ours(from) && inner.store.mount(name, from, hex)? {
                    return Ok(made(name, hex));
                }
            }
            let id = inner.store.begin(name)?;
            match query("digest") {
                None => Ok(going_on(StatusCode::ACCEPTED, name, &id, 0)),
                Some(digest) => finish(inner, name, &id, digest, &parts.headers, body).await,
            }
        }
        (&Method::GET, Route::Upload { name, id }) => {
            let (_, length) = inner.store.upload(name, id)?;
            Ok(going_on(StatusCode::NO_CONTENT, name, id, length))
        }
        (&Method::PATCH, Route::Upload { name, id }) => {
            let length = add(inner, name, id, &parts.headers, body).await?;
            Ok(going_on(StatusCode::ACCEPTED, name, id, length))
        }
        (&Method::PUT, Route::Upload { name, id }) => {
            let digest = query("digest").ok_or(Refusal::DigestInvalid)?;
            finish(inner, name, id, digest, &parts.headers, body).await
        }
        (&Method::DELETE, Route::Upload { name, id }) => {
            inner.store.cancel(name, id)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        (&Method::GET | &Method::HEAD, Route::Manifest { name, reference }) => {
            Ok(shown(inner.store.manifest(name, reference)?))
        }
        (&Method::PUT, Route::Manifest { name, reference }) => {
            put(inner, name, reference, &parts.headers, body).await
        }
        (&Method::DELETE, Route::Manifest { name, reference }) => {
            inner.store.delete(name, reference)?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        _ => Err(Refusal::Unsupported),
    }
}

fn tags(inner: &Inner, name: &str, count: Option<&str>, last: Option<&str>) -> Answer {
    let tags = inner.store.tags(name)?;
    let from = last.map_or(0, |last| tags.partition_point(|tag| tag.as_str() <= last));
    let rest = &tags[from..];
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(rest.len());
    let page = &rest[..count.min(rest.len())];
    let mut response = axum::Json(json!({ "name": name, "tags": page })).into_response();
    if let (Some(last), true) = (page.last(), page.len() < rest.len()) {
        let link = format!("</v2/{name}/tags/list?last={last}&n={count}>; rel=\"next\"");
        response.headers_mut().extend(value(&link).map(|link| (header::LINK, link)));
    }
    Ok(response)
}

async fn blob(inner: &Inner, name: &str, hex: &str, whole: bool) -> Answer {
    let path = inner.store.blob(name, hex).ok_or(Refusal::BlobUnknown)?;
    let file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    let body = if whole {
        Body::from_stream(stream::try_unfold(file, |mut file| async move {
            let mut piece = Vec::new();
            (&mut file).take(PIECE).read_to_end(&mut piece).await?;
            Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
        }))
    } else {
        Body::empty()
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.extend(value(&format!("sha256:{hex}")).map(|digest| (DIGEST, digest)));
    Ok(response)
}

/// Adds a body to an upload, and says how much is there. What arrived of a body that breaks off stays.
async fn add(inner: &Inner, name: &str, id: &str, headers: &HeaderMap, body: Body) -> Result<u64, Refusal> {
    let (file, mut length) = inner.store.upload(name, id)?;
    if let Some(range) = headers.get(header::CONTENT_RANGE) {
        let start = range.to_str().ok().and_then(|range| range.trim_start_matches("bytes ").split_once('-'));
        let start = start.and_then(|(start, _)| start.parse::<u64>().ok());
        if start != Some(length) {
            return Err(Refusal::RangeInvalid(length));
        }
    }
    let mut file = tokio::fs::File::from_std(file);
    let mut pieces = body.into_data_stream();
    loop {
        match pieces.try_next().await {
            Ok(Some(piece)) => {
                file.write_all(&piece).await?;
                length += piece.len() as u64;
            }
            Ok(None) => break,
            Err(_) => {
                file.flush().await?;
                return Err(Refusal::BlobUploadInvalid("the request broke off"));
            }
        }
    }
    file.flush().await?;
    Ok(length)
}

async fn finish(
    inner: &Arc<Inner>,
    name: &str,
    id: &str,
    digest: &str,
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    let hex = route::hex_of(digest).ok_or(Refusal::DigestInvalid)?.to_owned();
    add(inner, name, id, headers, body).await?;
    let (inner, owned, id, wanted) = (Arc::clone(inner), name.to_owned(), id.to_owned(), hex.clone());
    // Digesting a large layer is no work for a thread that others wait on.
    tokio::task::spawn_blocking(move || inner.store.finish(&owned, &id, &wanted))
        .await
        .map_err(|error| Refusal::Io(std::io::Error::other(error)))??;
    Ok(made(name, &hex))
}

async fn put(inner: &Inner, name: &str, reference: Reference<'_>, headers: &HeaderMap, body: Body) -> Answer {
    let invalid = |why: &str| Refusal::ManifestInvalid(why.to_owned());
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.ok_or_else(|| invalid("it has no Content-Type"))?;
    let bytes = Limited::new(body, LARGEST_MANIFEST).collect().await;
    let bytes = bytes.map_err(|_| invalid("it is too large, or broke off"))?.to_bytes();
    let hex = inner.store.put(name, reference, media_type, &bytes)?;
    let mut response = StatusCode::CREATED.into_response();
    response.headers_mut().extend(
        value(&format!("/v2/{name}/manifests/sha256:{hex}"))
            .map(|location| (header::LOCATION, location))
            .into_iter()
            .chain(value(&format!("sha256:{hex}")).map(|digest| (DIGEST, digest))),
    );
    Ok(response)
}

/// A manifest. The server leaves the body out where HEAD asked, and keeps its length.
fn shown(manifest: Manifest) -> Response {
    let mut response = Response::new(Body::from(manifest.bytes));
    let headers = response.headers_mut();
    headers.extend(value(&manifest.media_type).map(|media_type| (header::CONTENT_TYPE, media_type)));
    headers.extend(value(&format!("sha256:{}", manifest.hex)).map(|digest| (DIGEST, digest)));
    response
}

/// A blob is there.
fn made(name: &str, hex: &str) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    let location = value(&format!("/v2/{name}/blobs/sha256:{hex}"));
    headers.extend(location.map(|location| (header::LOCATION, location)));
    headers.extend(value(&format!("sha256:{hex}")).map(|digest| (DIGEST, digest)));
    response
}

/// An upload is there, this far.
fn going_on(status: StatusCode, name: &str, id: &str, length: u64) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    let location = value(&format!("/v2/{name}/blobs/uploads/{id}"));
    headers.extend(location.map(|location| (header::LOCATION, location)));
    headers.extend(value(id).map(|id| (UPLOAD, id)));
    headers.insert(header::RANGE, range(length));
    response
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}
