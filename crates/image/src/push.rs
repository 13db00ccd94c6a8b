//! An image of a layout goes to a registry, by `oci-client`: what is there already is not sent, what fails on the way is
//! tried again, and the registry is asked in the end what it has under the name.
//!
//! Blobs go first and the manifest last, so that nobody who pulls meets half an image. A push that was killed is done again
//! and sends what is missing. A blob is sent in one request: the parts of it that a broken connection brought over are not
//! used, since an image of ours is some megabytes.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use http::HeaderValue;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError as Cause, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use oci_spec::image::{Descriptor, MediaType};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tokio::io::AsyncReadExt as _;

use crate::{Error, Image, Layout};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A registry may look at a large blob for a while before it says yes.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
const PIECE: usize = 256 * 1024;

/// What a registry lets in.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Anybody.
    #[default]
    Anonymous,
    /// A user; the registry may give a token for it, and that is used then.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A token of the registry's own.
    Token(SecretString),
}

/// How to push.
#[derive(Clone)]
pub struct Options {
    /// Who pushes.
    pub credentials: Credentials,
    /// How often each request is tried before the push fails, at least once.
    pub tries: u32,
    /// How long to wait after the first failure; it doubles with each.
    pub pause: Duration,
    /// Is told how many of the image's bytes are there. It can go back, when something is sent again.
    pub progress: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Credentials::Anonymous,
            tries: 5,
            pause: Duration::from_millis(500),
            progress: Arc::new(|_| {}),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("tries", &self.tries).finish_non_exhaustive()
    }
}

/// What a push did.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// What was pushed, by its name.
    pub reference: String,
    /// The digest that the registry has under it, which is the image's.
    pub digest: String,
    /// The name that never means anything else: the repository and the digest.
    pub pinned: String,
    /// Bytes that were sent.
    pub sent: u64,
    /// Blobs that were there already.
    pub present: usize,
}

/// Reads a reference that can be pushed to: it names a registry and a tag.
///
/// # Errors
/// When it does not.
pub fn parse(text: &str) -> Result<Reference, Error> {
    let wrong = |why: &str| Error::Reference { text: text.to_owned(), why: why.to_owned() };
    let reference: Reference =
        text.parse().map_err(|error: oci_client::ParseError| wrong(&error.to_string()))?;
    let first = text.split('/').next().unwrap_or_default();
    // Without this, `nats:2` would go to somebody else's registry.
    if !text.contains('/') || !(first.contains(['.', ':']) || first == "localhost") {
        return Err(wrong("it names no registry"));
    }
    if reference.digest().is_some() {
        return Err(wrong("a digest is what a push results in"));
    }
    // The crate would say `latest`, which is no name for something that is rolled out and back.
    if !text.rsplit('/').next().unwrap_or_default().contains(':') {
        return Err(wrong("it has no tag"));
    }
    Ok(reference)
}

/// Pushes an image.
///
/// # Errors
/// When it is damaged, or the registry does not take it, or has something else under the name afterwards.
pub async fn push(
    layout: &Layout,
    image: &Image,
    reference: &str,
    options: &Options,
) -> Result<Pushed, Error> {
    let target = parse(reference)?;
    layout.verify(image)?;
    let push = Push { target, options };
    let (mut sent, mut present, mut done) = (0, 0, 0);
    for blob in image.manifest.layers().iter().chain([image.manifest.config()]) {
        if push.blob(blob, &layout.blob(blob)?, done).await? {
            sent += blob.size();
        } else {
            present += 1;
        }
        done += blob.size();
        (options.progress)(done);
    }
    if push.digest().await?.as_deref() != Some(&image.digest) {
        push.manifest(image).await?;
        sent += image.bytes.len() as u64;
    }
    (options.progress)(done + image.bytes.len() as u64);
    let answered = push.digest().await?.unwrap_or_else(|| "nothing".to_owned());
    if answered != image.digest {
        return Err(Error::Mismatch {
            registry: push.registry(),
            reference: reference.to_owned(),
            wanted: image.digest.clone(),
            answered,
        });
    }
    let pinned = format!("{}/{}@{}", push.target.registry(), push.target.repository(), image.digest);
    Ok(Pushed { reference: reference.to_owned(), digest: image.digest.clone(), pinned, sent, present })
}

struct Push<'a> {
    target: Reference,
    options: &'a Options,
}

impl Push<'_> {
    fn registry(&self) -> String {
        self.target.resolve_registry().to_owned()
    }

    /// Sends a blob unless it is there. Whether it was sent.
    async fn blob(&self, blob: &Descriptor, path: &Path, before: u64) -> Result<bool, Error> {
        let digest = blob.digest().to_string();
        self.persist(&format!("blob {digest}"), async |client| {
            // Asked at each try: an answer that was lost may have been a yes.
            if client.blob_exists(&self.target, &digest).await? {
                return Ok(false);
            }
            let body = self.body(path, before).await?;
            client.push_blob_stream(&self.target, body, &digest, Some(blob.size())).await?;
            Ok(true)
        })
        .await
    }

    async fn body(
        &self,
        path: &Path,
        before: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, Cause>> + Send + use<>, Cause> {
        let file = tokio::fs::File::open(path).await?;
        let progress = Arc::clone(&self.options.progress);
        let pieces = stream::try_unfold((file, before), move |(mut file, position)| {
            let progress = Arc::clone(&progress);
            async move {
                let mut piece = Vec::with_capacity(PIECE);
                (&mut file).take(PIECE as u64).read_to_end(&mut piece).await?;
                if piece.is_empty() {
                    return Ok::<_, std::io::Error>(None);
                }
                let position = position + piece.len() as u64;
                progress(position);
                Ok(Some((Bytes::from(piece), (file, position))))
            }
        });
        Ok(pieces.map_err(Cause::from))
    }

    async fn manifest(&self, image: &Image) -> Result<(), Error> {
        let media = HeaderValue::from_static("application/vnd.oci.image.manifest.v1+json");
        debug_assert_eq!(media.as_bytes(), MediaType::ImageManifest.to_string().as_bytes());
        self.persist("the manifest", async |client| {
            client.push_manifest_raw(&self.target, image.bytes.clone(), media.clone()).await
        })
        .await
        .map(|_| ())
    }

    /// What the registry has under the name.
    async fn digest(&self) -> Result<Option<String>, Error> {
        self.persist("the tag", async |client| {
            match client.fetch_manifest_digest(&self.target, &self.authentication()).await {
                Ok(digest) => Ok(Some(digest)),
                Err(error) if is_unknown(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    fn authentication(&self) -> RegistryAuth {
        match &self.options.credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Password { username, password } => {
                RegistryAuth::Basic(username.clone(), password.expose_secret().to_owned())
            }
            Credentials::Token(token) => RegistryAuth::Bearer(token.expose_secret().to_owned()),
        }
    }

    /// Does something with a client that has just been let in; again, where the network or the registry was the reason.
    async fn persist<T, F>(&self, what: &str, mut attempt: impl FnMut(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let mut pause = self.options.pause;
        let mut tries = 1;
        loop {
            let result = async {
                let client = self.client()?;
                for operation in [RegistryOperation::Push, RegistryOperation::Pull] {
                    client.auth(&self.target, &self.authentication(), operation).await?;
                }
                attempt(client).await
            };
            let error = match result.await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let (registry, what) = (self.registry(), what.to_owned());
            let cause = text(&error);
            match kind(&error) {
                Kind::Refused => return Err(Error::Refused { registry, what, cause }),
                Kind::Answered => return Err(Error::Registry { registry, what, cause }),
                Kind::Passing if tries >= self.options.tries => {
                    return Err(Error::Unreachable { registry, what, tries, cause });
                }
                Kind::Passing => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            tries += 1;
        }
    }

    fn client(&self) -> Result<Client, Cause> {
        let plain = is_this_machine(self.target.resolve_registry());
        Client::try_from(ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            use_monolithic_push: true,
            connect_timeout: Some(CONNECT_WITHIN),
            read_timeout: Some(ANSWER_WITHIN),
            user_agent: concat!("windlass/", env!("CARGO_PKG_VERSION")),
            platform_resolver: None,
            ..ClientConfig::default()
        })
    }
}

/// Whether nobody else can listen in on the way to a registry, so that it needs no TLS.
fn is_this_machine(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Refused,
    Answered,
    Passing,
}

fn kind(error: &Cause) -> Kind {
    let of_status = |code: u16| match code {
        401 | 403 => Kind::Refused,
        408 | 429 | 500.. => Kind::Passing,
        _ => Kind::Answered,
    };
    match error {
        Cause::AuthenticationFailure(_) | Cause::UnauthorizedError { .. } => Kind::Refused,
        Cause::ServerError { code, .. } => of_status(*code),
        Cause::RequestError(error) => {
            error.status().map_or(Kind::Passing, |status| of_status(status.as_u16()))
        }
        Cause::RegistryError { envelope, .. } => {
            let any = |code: &OciErrorCode| envelope.errors.iter().any(|error| error.code == *code);
            if any(&OciErrorCode::Unauthorized) || any(&OciErrorCode::Denied) {
                Kind::Refused
            } else if any(&OciErrorCode::Toomanyrequests) {
                Kind::Passing
            } else {
                Kind::Answered
            }
        }
        _ => Kind::Answered,
    }
}

fn is_unknown(error: &Cause) -> bool {
    match error {
        Cause::ImageManifestNotFoundError(_) | Cause::ServerError { code: 404, .. } => true,
        Cause::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
            matches!(
                error.code,
                OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound
            )
        }),
        _ => false,
    }
}

/// The error with its causes, and no query of an address: registries put signatures there.
fn text(error: &Cause) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    let words: Vec<String> = text
        .split(' ')
        .map(|word| match word.split_once('?') {
            Some((address, _)) if address.contains("://") => format!("{address}?…"),
            _ => word.to_owned(),
        })
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registry_with_a_tag_is_pushed_to() {
        for right in
            ["r.example/acme/nats:2.15.1", "127.0.0.1:5000/nats:x", "localhost/nats:x", "[::1]:5000/nats:x"]
        {
            // The crate knows no address of IPv6, and says so.
            assert!(parse(right).is_ok() || right.starts_with('['), "{right}");
        }
        let why = |text: &str| match parse(text) {
            Err(Error::Reference { why, .. }) => why,
            other => format!("{other:?}"),
        };
        assert_eq!(why("nats:2"), "it names no registry");
        assert_eq!(why("acme/nats:2"), "it names no registry");
        assert_eq!(why("r.example/nats"), "it has no tag");
        assert_eq!(why("r.example:443/nats"), "it has no tag");
        let digest = format!("r.example/nats@sha256:{}", "a".repeat(64));
        assert_eq!(why(&digest), "a digest is what a push results in");
        assert!(!why("r.example/NATS:2").is_empty());
    }

    #[test]
    fn only_this_machine_goes_without_tls() {
        for here in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.77.0.1", "[::1]:5000"] {
            assert!(is_this_machine(here), "{here}");
        }
        for elsewhere in ["registry.cloudflare.com", "10.0.0.1:5000", "localhost.example", "0.0.0.0:5000", ""]
        {
            assert!(!is_this_machine(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let server = |code| Cause::ServerError { code, url: String::new(), message: String::new() };
        for (code, expected) in [
            (401, Kind::Refused),
            (403, Kind::Refused),
            (404, Kind::Answered),
            (429, Kind::Passing),
            (503, Kind::Passing),
        ] {
            assert_eq!(kind(&server(code)), expected, "{code}");
        }
        let envelope = |code: &str| Cause::RegistryError {
            envelope: serde_json::from_value(
                serde_json::json!({ "errors": [{ "code": code, "message": "" }] }),
            )
            .unwrap(),
            url: String::new(),
        };
        assert_eq!(kind(&envelope("DENIED")), Kind::Refused);
        assert_eq!(kind(&envelope("TOOMANYREQUESTS")), Kind::Passing);
        assert_eq!(kind(&envelope("MANIFEST_INVALID")), Kind::Answered);
        assert!(
            is_unknown(&envelope("MANIFEST_UNKNOWN"))
                && is_unknown(&server(404))
                && !is_unknown(&server(503))
        );
        let url = "https://r.example/upload?signature=x".to_owned();
        assert!(!text(&Cause::UnauthorizedError { url }).contains("signature"));
    }
}
