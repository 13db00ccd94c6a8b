//! Bodies on their way in and out: hashed while they arrive, never as a whole in memory.

use super::Api;
use crate::r2::object::Checksums;
use crate::r2::refusal::Refusal;
use crate::r2::sealing::CustomerKey;
use crate::r2::store::{Body, Received, Receiving};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::HeaderMap;
use s3s::TrailingHeaders;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::StreamingBlob;
use std::io;
use tokio::sync::mpsc;

/// Up to here, an answer is read at once instead of being streamed.
const SMALL: u64 = 1024 * 1024;

/// Pieces of a body that wait for the disk or for the network.
const WAITING: usize = 8;

const PREFIX: &str = "x-amz-checksum-";

/// What a client says of the body that it sends.
pub struct Declared {
    headers: HeaderMap,
    trailers: Option<TrailingHeaders>,
}

impl Declared {
    /// What these headers, and the trailers that come after the body, declare.
    pub fn new(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> Self {
        Self { headers: headers.clone(), trailers }
    }

    /// The algorithms that are named anywhere.
    fn hasher(&self) -> ChecksumHasher {
        let value =
            |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let trailer = value("x-amz-trailer").to_ascii_lowercase();
        let algorithm = value("x-amz-sdk-checksum-algorithm").to_ascii_lowercase();
        let named = |name: &str| {
            let header = format!("{PREFIX}{name}");
            self.headers.contains_key(&header) || trailer.contains(&header) || algorithm == name
        };
        ChecksumHasher {
            crc32: named("crc32").then(Crc32::new),
            crc32c: named("crc32c").then(Crc32c::new),
            sha1: named("sha1").then(Sha1::new),
            sha256: named("sha256").then(Sha256::new),
            crc64nvme: named("crc64nvme").then(Crc64Nvme::new),
        }
    }

    /// Fails when the body that arrived is not the one that was declared.
    fn check(&self, received: &Received) -> Result<(), Refusal> {
        if let Some(wanted) = self.headers.get("content-md5") {
            let wanted = STANDARD.decode(wanted.as_bytes()).ok().filter(|bytes| bytes.len() == 16);
            let wanted = wanted.ok_or(Refusal::InvalidDigest("Content-MD5".into()))?;
            if wanted != received.md5 {
                return Err(Refusal::BadDigest("Content-MD5".into()));
            }
        }
        let Checksums { crc32, crc32c, crc64nvme, sha1, sha256 } = &received.checksums;
        let trailers = self.trailers.as_ref().and_then(|trailers| trailers.read(HeaderMap::clone));
        for (name, found) in [
            ("crc32", crc32),
            ("crc32c", crc32c),
            ("crc64nvme", crc64nvme),
            ("sha1", sha1),
            ("sha256", sha256),
        ] {
            let header = format!("{PREFIX}{name}");
            let trailer = trailers.as_ref().and_then(|trailers| trailers.get(&header));
            for wanted in self.headers.get(&header).into_iter().chain(trailer) {
                if found.as_ref().map(String::as_bytes) != Some(wanted.as_bytes()) {
                    return Err(Refusal::BadDigest(name.to_uppercase().into()));
                }
            }
        }
        Ok(())
    }
}

impl Api {
    /// Takes a body into a draft and checks it against what the client declared.
    pub(super) async fn receive(
        &self,
        body: Option<StreamingBlob>,
        declared: &Declared,
        key: Option<&CustomerKey>,
    ) -> Result<Received, Refusal> {
        let (pieces, mut arriving) = mpsc::channel::<Bytes>(WAITING);
        let (hasher, key) = (declared.hasher(), key.cloned());
        let writing = self.call(move |store| {
            let mut receiving = Receiving::new(store.draft()?, hasher, key.as_ref())?;
            while let Some(bytes) = arriving.blocking_recv() {
                receiving.write(&bytes)?;
            }
            Ok(receiving.finish()?)
        });
        let reading = async move {
            let Some(mut body) = body else {
                return Ok::<(), Refusal>(());
            };
            while let Some(bytes) = body.next().await {
                // The writer ended early: its own failure says why.
                if pieces.send(bytes.map_err(|error| refused_body(error.as_ref()))?).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let (received, read) = futures::join!(writing, reading);
        read?;
        let received = received?;
        declared.check(&received)?;
        Ok(received)
    }
}

/// What a body that breaks off or does not fit its signature comes to.
fn refused_body(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let text = error.to_string();
    // The types of `s3s` for these are not public; their texts are.
    if text.contains("Sha256Mismatch") {
        return Refusal::ContentSha256Mismatch;
    }
    if text.contains("SignatureMismatch") {
        return Refusal::SignatureDoesNotMatch;
    }
    Refusal::IncompleteBody
}

/// A body as an answer streams it.
pub async fn stream(mut body: Body) -> Result<StreamingBlob, Refusal> {
    if body.remaining() <= SMALL {
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            while let Some(bytes) = body.next_bytes()? {
                all.push(bytes);
            }
            io::Result::Ok(all)
        });
        let pieces = read.await.map_err(io::Error::other)??;
        return Ok(StreamingBlob::wrap(futures::stream::iter(pieces.into_iter().map(io::Result::Ok))));
    }
    let (send, receive) = mpsc::channel::<io::Result<Bytes>>(WAITING);
    // It ends with the body, or when the client is gone.
    tokio::task::spawn_blocking(move || {
        while let Some(next) = body.next_bytes().transpose() {
            let failed = next.is_err();
            if send.blocking_send(next).is_err() || failed {
                break;
            }
        }
    });
    let stream = futures::stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|next| (next, receive))
    });
    Ok(StreamingBlob::wrap(stream))
}
