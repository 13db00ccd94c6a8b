//! What a registry answers when it does not do what was asked: a status, and a code of the distribution specification.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use std::io;

/// Why not.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody knows who asks.
    Unauthorized,
    /// Whoever asks may not do it.
    Denied(&'static str),
    /// No such page, or a name that is none.
    NameInvalid,
    NameUnknown,
    BlobUnknown,
    BlobUploadUnknown,
    BlobUploadInvalid(&'static str),
    /// A part that does not follow on what is there: this much is.
    RangeInvalid(u64),
    DigestInvalid,
    ManifestUnknown,
    ManifestInvalid(String),
    ManifestBlobUnknown(String),
    TagInvalid,
    /// The way is not one for this place.
    Unsupported,
    /// The disk.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match &self {
            Self::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required".to_owned())
            }
            Self::Denied(why) => (StatusCode::FORBIDDEN, "DENIED", (*why).to_owned()),
            Self::NameInvalid => {
                (StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid repository name".to_owned())
            }
            Self::NameUnknown => {
                (StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry".to_owned())
            }
            Self::BlobUnknown => {
                (StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry".to_owned())
            }
            Self::BlobUploadUnknown => {
                (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry".to_owned())
            }
            Self::BlobUploadInvalid(why) => {
                (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", (*why).to_owned())
            }
            Self::RangeInvalid(_) => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                "the part does not begin where the upload ends".to_owned(),
            ),
            Self::DigestInvalid => (
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content".to_owned(),
            ),
            Self::ManifestUnknown => {
                (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown".to_owned())
            }
            Self::ManifestInvalid(why) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID", why.clone()),
            Self::ManifestBlobUnknown(digest) => (
                StatusCode::BAD_REQUEST,
                "MANIFEST_BLOB_UNKNOWN",
                format!("blob unknown to registry: {digest}"),
            ),
            Self::TagInvalid => {
                (StatusCode::BAD_REQUEST, "TAG_INVALID", "manifest tag did not match".to_owned())
            }
            Self::Unsupported => {
                (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the operation is unsupported".to_owned())
            }
            Self::Io(error) => {
                tracing::warn!(%error, "the registry's disk");
                (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "unknown error".to_owned())
            }
        };
        let body = Json(json!({ "errors": [{ "code": code, "message": message }] }));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Unauthorized => {
                headers.insert(
                    http::header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Basic realm=\"registry\""),
                );
            }
            Self::RangeInvalid(length) => {
                headers.insert(HeaderName::from_static("range"), range(length));
            }
            _ => {}
        }
        response
    }
}

/// The header that says how much of an upload is there.
pub(super) fn range(length: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("0-{}", length.saturating_sub(1)))
        .unwrap_or(HeaderValue::from_static("0-0"))
}
