//! Hands events to JetStream and says what JetStream said.
//!
//! A publish is a request whose answer is the acknowledgement. It is given up at once when the connection is lost,
//! and after a while when no answer comes; in both cases nobody knows whether the event was stored, and that
//! is fine: it goes to the spool and is handed over again under the same `Nats-Msg-Id`.

use crate::claim_check::{self, HEADER_ROOM};
use crate::event::Event;
use async_nats::jetstream::{self, object_store::ObjectStore};
use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Request, RequestErrorKind};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio::time::{Instant, timeout_at};

/// How to reach NATS, and where events go.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers' URLs, separated by commas.
    pub url: String,
    /// The credentials file of the user to connect as.
    pub credentials: Option<PathBuf>,
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
    /// The URL or another option is wrong.
    #[error("NATS at {url}: {source}")]
    Options {
        /// The URL as given.
        url: String,
        /// Why.
        source: async_nats::ConnectError,
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
pub struct Publisher {
    client: Client,
    jetstream: jetstream::Context,
    connected: watch::Receiver<bool>,
    bucket: OnceCell<ObjectStore>,
    options: Options,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Begins to connect and goes on doing so in the background for as long as it lives.
    ///
    /// # Errors
    /// [`ConnectError`] for what waiting cannot mend.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let (link, connected) = watch::channel(false);
        let mut connect = async_nats::ConnectOptions::new()
            .name("windlass receiver")
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(3))
            .ping_interval(Duration::from_secs(5))
            .request_timeout(None)
            .client_capacity(8192)
            .reconnect_delay_callback(|attempts| Duration::from_millis((attempts as u64 * 20).min(500)))
            .event_callback(move |event| {
                let link = link.clone();
                async move {
                    tracing::info!(%event, "NATS connection");
                    match event {
                        async_nats::Event::Connected => link.send_replace(true),
                        async_nats::Event::Disconnected | async_nats::Event::Closed => link.send_replace(false),
                        _ => return,
                    };
                }
            });
        if let Some(path) = &options.credentials {
            connect = connect
                .credentials_file(path)
                .await
                .map_err(|source| ConnectError::Credentials { path: path.clone(), source })?;
        }
        let servers: Vec<&str> = options.url.split(',').map(str::trim).collect();
        let client = connect
            .connect(servers)
            .await
            .map_err(|source| ConnectError::Options { url: options.url.clone(), source })?;
        let jetstream = jetstream::new(client.clone());
        Ok(Self { client, jetstream, connected, bucket: OnceCell::new(), options })
    }

    /// Whether NATS is connected now.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Waits until NATS is connected.
    pub async fn wait_until_connected(&self) {
        // The sender lives as long as the client, which lives as long as we do.
        let _ = self.connected.clone().wait_for(|connected| *connected).await;
    }

    /// Whether the payload is too large for a message.
    pub fn needs_claim_check(&self, event: &Event) -> bool {
        // Before the first connection the limit is not known, and reads as 0.
        let limit = match self.client.server_info().max_payload {
            0 => usize::MAX,
            limit => limit.saturating_sub(HEADER_ROOM),
        };
        event.body.len() > self.options.claim_check_above.min(limit)
    }

    /// Publishes an event and waits for the acknowledgement, until `deadline` at the most.
    ///
    /// # Errors
    /// [`Unavailable`] when nobody can say that it is stored.
    pub async fn publish(&self, event: &Event, deadline: Instant) -> Result<Stored, Unavailable> {
        if !self.is_connected() {
            return Err(Unavailable::Disconnected);
        }
        let mut connected = self.connected.clone();
        tokio::select! {
            biased;
            result = timeout_at(deadline, self.store(event)) => result.unwrap_or(Err(Unavailable::Timeout)),
            _ = connected.wait_for(|connected| !*connected) => Err(Unavailable::Disconnected),
        }
    }

    async fn store(&self, event: &Event) -> Result<Stored, Unavailable> {
        if !self.needs_claim_check(event) {
            return self.send(event).await;
        }
        let name = &self.options.bucket;
        let open = || async { self.jetstream.get_object_store(name).await };
        let bucket = self.bucket.get_or_try_init(open).await.map_err(|error| Unavailable::Bucket(error.into()))?;
        claim_check::deposit(bucket, event).await.map_err(Unavailable::Bucket)?;
        // The ticket is a small clone made only for large payloads; it is boxed so that the common path stays small.
        Box::pin(async { self.send(&claim_check::ticket(event, name)).await }).await
    }

    async fn send(&self, event: &Event) -> Result<Stored, Unavailable> {
        let request = Request::new().headers(header_map(event)).payload(event.body.clone());
        let answer = self.client.send_request(event.subject.clone(), request).await.map_err(|error| {
            match error.kind() {
                RequestErrorKind::NoResponders => Unavailable::NoStream,
                RequestErrorKind::TimedOut => Unavailable::Timeout,
                _ => Unavailable::Refused(error.to_string()),
            }
        })?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Answer::Stored { stream, sequence, duplicate }) => {
                Ok(Stored { stream: stream.into_owned(), sequence, duplicate })
            }
            Ok(Answer::Error { error }) => {
                Err(Unavailable::Refused(format!("{} (code {})", error.description, error.err_code)))
            }
            Err(error) => Err(Unavailable::Refused(format!("an answer that is no acknowledgement: {error}"))),
        }
    }
}

/// JetStream's answer to a publish.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<'a> {
    Error {
        error: ApiError,
    },
    Stored {
        #[serde(borrow)]
        stream: Cow<'a, str>,
        #[serde(rename = "seq")]
        sequence: u64,
        #[serde(default)]
        duplicate: bool,
    },
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

fn header_map(event: &Event) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in &event.headers {
        let name = match name {
            Cow::Borrowed(name) => HeaderName::from_static(name),
            Cow::Owned(name) => match HeaderName::from_str(name) {
                Ok(name) => name,
                Err(_) => continue,
            },
        };
        // Values come from HTTP headers or are encoded by us, so none has a line break; one that had would be dropped
        // rather than forge a header.
        if let Ok(value) = HeaderValue::from_str(value) {
            map.insert(name, value);
        }
    }
    map
}
