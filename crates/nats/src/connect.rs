//! A client of a server, as Windlass wants it: named, quick to come back, and told apart by its credentials.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use secrecy::{ExposeSecret as _, SecretString};

use crate::Error;

/// Retries that do not wait: a restarted server is usually back, or another one is there.
const AT_ONCE: usize = 2;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(1);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server, such as `nats://127.0.0.1:4222`.
    pub url: String,
    /// The credentials file.
    pub creds: PathBuf,
    /// Who has signed the server's certificate, where it has one of its own authority; PEM.
    pub authority: Option<PathBuf>,
    /// What the server's connection list shows.
    pub name: String,
    /// Whether to answer at once and go on trying when the server is not there yet.
    pub retry_on_initial_connect: bool,
    /// Whether operations that need a connection give up after this long; `None` waits.
    pub request_timeout: Option<Duration>,
}

impl Options {
    /// Connect to `url` as `creds`, shown as `name`; fail when the server is not there.
    #[must_use]
    pub fn new(url: &str, creds: &Path, name: &str) -> Self {
        Self {
            url: url.to_owned(),
            creds: creds.to_owned(),
            authority: None,
            name: name.to_owned(),
            retry_on_initial_connect: false,
            request_timeout: Some(Duration::from_secs(5)),
        }
    }
}

/// Connects. The client comes back by itself whenever the server does.
///
/// # Errors
/// When the credentials cannot be read, or (without `retry_on_initial_connect`) the server does not let us in.
pub async fn connect(options: &Options) -> Result<Client, Error> {
    let mut connect = client_options(&options.creds)
        .await?
        .name(&options.name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECTION_TIMEOUT)
        .request_timeout(options.request_timeout)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(observe(options.name.clone()));
    if let Some(authority) = &options.authority {
        connect = connect.add_root_certificates(authority.clone());
    }
    if options.retry_on_initial_connect {
        connect = connect.retry_on_initial_connect();
    }
    connect.connect(&options.url).await.map_err(|source| Error::Connect { url: options.url.clone(), source })
}

/// Options that carry the credentials and nothing else, for those who need other settings than [`connect`]'s.
///
/// # Errors
/// When the file cannot be read or holds no credentials.
pub async fn client_options(creds: &Path) -> Result<ConnectOptions, Error> {
    let refused = |reason: String| Error::Creds { path: creds.to_owned(), reason };
    let text = tokio::fs::read_to_string(creds).await.map_err(|error| refused(error.to_string()))?;
    let text = SecretString::from(text);
    // The client's own message may quote the file.
    ConnectOptions::with_credentials(text.expose_secret())
        .map_err(|_| refused("it does not hold a user's token and seed".to_owned()))
}

/// How long to wait before an attempt; the first has number 1. Two at once, then 50 ms, doubling up to a second.
#[must_use]
pub fn reconnect_delay(attempt: usize) -> Duration {
    match attempt.checked_sub(AT_ONCE + 1) {
        None => Duration::ZERO,
        Some(waited) => FIRST_DELAY
            .saturating_mul(2_u32.saturating_pow(u32::try_from(waited).unwrap_or(u32::MAX)))
            .min(LONGEST_DELAY),
    }
}

fn observe(name: String) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static {
    move |event| {
        match &event {
            Event::Connected | Event::Draining | Event::Closed => {
                tracing::debug!(client = %name, %event, "nats");
            }
            // A connection that breaks comes back; while servers are restarted that is what happens.
            Event::Disconnected | Event::LameDuckMode | Event::ClientError(_) => {
                tracing::info!(client = %name, %event, "nats");
            }
            Event::SlowConsumer(_) | Event::ServerError(_) => {
                tracing::warn!(client = %name, %event, "nats");
            }
        }
        std::future::ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_are_bounded() {
        let milliseconds: Vec<u128> = (0..10).map(|attempt| reconnect_delay(attempt).as_millis()).collect();
        assert_eq!(milliseconds, [0, 0, 0, 50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(reconnect_delay(usize::MAX), LONGEST_DELAY);
    }

    #[tokio::test]
    async fn bad_credentials_are_named_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.creds");
        let missing = client_options(&path).await.err().unwrap();
        std::fs::write(&path, "not-a-secret-but-still").unwrap();
        let damaged = client_options(&path).await.err().unwrap();
        for error in [missing, damaged] {
            assert_eq!(error.code(), "WL0215");
            assert!(!format!("{error} {error:?}").contains("still"));
        }
    }
}
