//! Hands events to JetStream and says what JetStream said.
//!
//! A publish is a request whose answer is the acknowledgement. It is given up at once when the connection is lost,
//! and after a while when no answer comes; in both cases nobody knows whether the event was stored, and that
//! is fine: it goes to the spool and is handed over again under the same `Nats-Msg-Id`.

mod link;
mod tls;
mod wire;

use crate::claim_check::{self, HEADER_ROOM};
use crate::event::Event;
use async_nats::jetstream::{self, object_store::ObjectStore};
use link::{Credentials, Entry, Link, Server};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::PathBuf;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

/// How to reach NATS, and where events go.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers' URLs, separated by commas.
    pub url: String,
    /// The credentials file of the user to connect as.
    pub credentials: Option<PathBuf>,
    /// Who signs the servers' certificates, if it is not one of the system's authorities; PEM.
    pub authority: Option<PathBuf>,
    /// The stream that is expected to take the events.
    pub stream: String,
    /// The object bucket for payloads above the threshold.
    pub bucket: String,
    /// Payloads of more bytes than this go to the bucket. The server's `max_payload` may lower it.
    pub claim_check_above: usize,
}

/// Why the connection could not be set up. An unreachable server is not among the reasons: it is waited for.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The credentials file cannot be read.
    #[error("the credentials file {path} cannot be read: {source}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A URL is not one, or not of a kind that the receiver can use.
    #[error("'{url}' is no URL of a NATS server (nats://host:port or tls://host:port)")]
    Url {
        /// The URL as given.
        url: String,
    },
}

/// What JetStream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The stream that has the event.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Whether the stream had it already.
    pub duplicate: bool,
}

/// Why nobody can say that the event is stored.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// There is no connection, or it was lost meanwhile.
    #[error("NATS is not connected")]
    Disconnected,
    /// No answer came in time.
    #[error("JetStream did not acknowledge in time")]
    Timeout,
    /// No stream takes this subject (yet).
    #[error("no stream takes the subject")]
    NoStream,
    /// JetStream refused, as it does when its disk is full.
    #[error("JetStream refused: {0}")]
    Refused(String),
    /// The payload could not be put into the object bucket.
    #[error("the object bucket did not take the payload: {0}")]
    Bucket(async_nats::Error),
}

/// The connection to JetStream.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
    /// Opened with the first payload that needs it.
    bucket: OnceCell<Bucket>,
    options: Options,
}

impl Publisher {
    /// Begins to connect and goes on doing so in the background for as long as it lives.
    ///
    /// # Errors
    /// [`ConnectError`] for what waiting cannot mend.
    pub fn start(options: Options) -> Result<Self, ConnectError> {
        let mut servers = Vec::new();
        for url in options.url.split(',').map(str::trim) {
            let server = Server::parse(url).ok_or_else(|| ConnectError::Url { url: url.to_owned() })?;
            servers.push(server);
        }
        let read = |path: &PathBuf| {
            Credentials::read(path).map_err(|source| ConnectError::Credentials { path: path.clone(), source })
        };
        let credentials = options.credentials.as_ref().map(read).transpose()?;
        let entry = Entry { credentials, authority: options.authority.clone() };
        Ok(Self { link: Link::start(servers, entry), bucket: OnceCell::new(), options })
    }

    /// Whether NATS is connected now.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// Waits until NATS is connected.
    pub async fn wait_until_connected(&self) {
        self.link.wait_until_connected().await;
    }

    /// Whether the payload is too large for a message.
    pub fn needs_claim_check(&self, event: &Event) -> bool {
        let limit = self.link.max_payload().saturating_sub(HEADER_ROOM);
        event.body.len() > self.options.claim_check_above.min(limit)
    }

    /// Publishes an event and waits for the acknowledgement, until `deadline` at the most.
    ///
    /// # Errors
    /// [`Unavailable`] when nobody can say that it is stored.
    pub async fn publish(&self, event: &Event, deadline: Instant) -> Result<Stored, Unavailable> {
        timeout_at(deadline, self.store(event)).await.unwrap_or(Err(Unavailable::Timeout))
    }

    async fn store(&self, event: &Event) -> Result<Stored, Unavailable> {
        let answer = if self.needs_claim_check(event) {
            // Boxed, so that the rare path does not make every publish's state larger.
            Box::pin(self.store_with_claim_check(event)).await?
        } else {
            self.link.request(event).await?
        };
        Ok(Stored { stream: answer.stream, sequence: answer.sequence, duplicate: answer.duplicate })
    }

    async fn store_with_claim_check(&self, event: &Event) -> Result<Answer, Unavailable> {
        if !self.is_connected() {
            return Err(Unavailable::Disconnected);
        }
        let bucket = self.bucket.get_or_try_init(|| self.open_bucket()).await.map_err(Unavailable::Bucket)?;
        claim_check::deposit(&bucket.0, event).await.map_err(Unavailable::Bucket)?;
        self.link.request(&claim_check::ticket(event, &self.options.bucket)).await
    }

    async fn open_bucket(&self) -> Result<Bucket, async_nats::Error> {
        let mut connect = async_nats::ConnectOptions::new().name("windlass receiver, large payloads");
        if let Some(path) = &self.options.credentials {
            connect = connect.credentials_file(path).await?;
        }
        if let Some(authority) = &self.options.authority {
            connect = connect.add_root_certificates(authority.clone());
        }
        let servers: Vec<&str> = self.options.url.split(',').map(str::trim).collect();
        let jetstream = jetstream::new(connect.connect(servers).await?);
        Ok(Bucket(jetstream.get_object_store(&self.options.bucket).await?))
    }
}

struct Bucket(ObjectStore);

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bucket")
    }
}

/// JetStream's acknowledgement.
struct Answer {
    stream: String,
    sequence: u64,
    duplicate: bool,
}

impl Answer {
    fn parse(json: &[u8]) -> Result<Self, Unavailable> {
        let reply: Reply<'_> = serde_json::from_slice(json).map_err(|error| {
            Unavailable::Refused(format!("an answer that is no acknowledgement: {error}"))
        })?;
        match (reply.error, reply.stream) {
            (Some(error), _) => {
                Err(Unavailable::Refused(format!("{} (code {})", error.description, error.err_code)))
            }
            (None, Some(stream)) => {
                Ok(Self { stream: stream.into_owned(), sequence: reply.seq, duplicate: reply.duplicate })
            }
            (None, None) => Err(Unavailable::Refused("an acknowledgement without a stream".into())),
        }
    }
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}
