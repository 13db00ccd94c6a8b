//! The monitoring endpoint, over the smallest HTTP that will do.
//!
//! Two GETs to loopback do not need an HTTP library. The request says HTTP/1.0, so that the answer is neither chunked
//! nor followed by another one: it ends where the connection ends.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::Error;

/// No answer takes longer on loopback; a server that is paused is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
const LARGEST: u64 = 8 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What has to be in order for a server to count as healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It takes clients and JetStream is on.
    JetStreamEnabled,
    /// Also its part in the cluster's metadata is current.
    JetStreamServer,
    /// Also every stream and consumer on it is current.
    Everything,
}

impl Health {
    fn path(self) -> &'static str {
        match self {
            Self::JetStreamEnabled => "/healthz?js-enabled-only=true",
            Self::JetStreamServer => "/healthz?js-server-only=true",
            Self::Everything => "/healthz",
        }
    }
}

/// What a server says of itself. What nats-server adds to it later is ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Varz {
    /// Its identity: another one after each start.
    pub server_id: String,
    /// Its configured name.
    pub server_name: String,
    /// Its version, such as `2.15.1`.
    pub version: String,
    /// Digest of the configuration that it runs with; see [`crate::config::check`].
    #[serde(default)]
    pub config_digest: Option<String>,
    /// The system account's public key.
    #[serde(default)]
    pub system_account: Option<String>,
    /// Largest message in bytes.
    pub max_payload: u64,
    /// When it started, as it writes it.
    pub start: String,
    /// Memory in bytes.
    #[serde(default)]
    pub mem: u64,
    /// Client connections now.
    #[serde(default)]
    pub connections: u64,
    /// Subscriptions now.
    #[serde(default)]
    pub subscriptions: u64,
    /// Leaf nodes now.
    #[serde(default)]
    pub leafnodes: u64,
    /// Routes now.
    #[serde(default)]
    pub routes: u64,
    /// Messages taken in since the start.
    #[serde(default)]
    pub in_msgs: u64,
    /// Messages given out since the start.
    #[serde(default)]
    pub out_msgs: u64,
    /// Bytes of messages taken in since the start.
    #[serde(default)]
    pub in_bytes: u64,
    /// Bytes of messages given out since the start.
    #[serde(default)]
    pub out_bytes: u64,
    /// Clients that were too slow, since the start.
    #[serde(default)]
    pub slow_consumers: u64,
    /// JetStream.
    #[serde(default)]
    pub jetstream: JetStreamVarz,
}

/// What a server says of its JetStream; both are absent when it is off.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct JetStreamVarz {
    /// How it is configured.
    #[serde(default)]
    pub config: Option<JetStreamConfig>,
    /// What it uses.
    #[serde(default)]
    pub stats: Option<JetStreamStats>,
}

/// How JetStream is configured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct JetStreamConfig {
    /// Bytes in memory.
    #[serde(default)]
    pub max_memory: i64,
    /// Bytes on disk.
    #[serde(default)]
    pub max_storage: i64,
    /// Where.
    #[serde(default)]
    pub store_dir: String,
    /// Its domain.
    #[serde(default)]
    pub domain: String,
    /// Nanoseconds between syncs.
    #[serde(default)]
    pub sync_interval: u64,
    /// Whether each write is synced.
    #[serde(default)]
    pub sync_always: bool,
}

/// What JetStream uses.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct JetStreamStats {
    /// Bytes in memory.
    #[serde(default)]
    pub memory: u64,
    /// Bytes on disk.
    #[serde(default)]
    pub storage: u64,
    /// Accounts with JetStream.
    #[serde(default)]
    pub accounts: u64,
}

/// A server's monitoring endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitor {
    address: SocketAddr,
}

impl Monitor {
    /// The endpoint at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether the server is healthy: `Ok(Err(reason))` is a server that answers that it is not.
    ///
    /// # Errors
    /// When nothing answers there, or not as nats-server does.
    pub async fn health(&self, health: Health) -> Result<Result<(), String>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            status: String,
            #[serde(default)]
            error: String,
        }
        let (status, body) = self.get(health.path()).await?;
        let answer: Answer = self.parse(health.path(), &body)?;
        if status == 200 && answer.status == "ok" {
            return Ok(Ok(()));
        }
        Ok(Err(if answer.error.is_empty() { format!("it answers {status}") } else { answer.error }))
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// As [`Self::health`].
    pub async fn varz(&self) -> Result<Varz, Error> {
        let (status, body) = self.get("/varz").await?;
        if status != 200 {
            return Err(self.failed("/varz", format!("it answers {status}")));
        }
        self.parse("/varz", &body)
    }

    /// Waits until the server is healthy and `is_it` accepts what it says of itself (another server may hold the port).
    ///
    /// # Errors
    /// When that does not come to pass in time; the error says what the last look found.
    pub async fn wait_ready(
        &self,
        within: Duration,
        health: Health,
        is_it: impl Fn(&Varz) -> Result<(), String>,
    ) -> Result<Varz, Error> {
        let deadline = Instant::now() + within;
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match self.look(health, &is_it).await {
                Ok(varz) => return Ok(varz),
                Err(reason) => reason,
            };
            if Instant::now() + pause > deadline {
                return Err(Error::NotReady { within, reason, log: None });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn look(
        &self,
        health: Health,
        is_it: impl Fn(&Varz) -> Result<(), String>,
    ) -> Result<Varz, String> {
        self.health(health).await.map_err(|error| error.to_string())??;
        let varz = self.varz().await.map_err(|error| error.to_string())?;
        is_it(&varz)?;
        Ok(varz)
    }

    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), Error> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.take(LARGEST).read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = match timeout(PATIENCE, exchange).await {
            Ok(answer) => answer.map_err(|error| self.failed(path, error.to_string()))?,
            Err(_) => return Err(self.failed(path, "no answer in time".to_owned())),
        };
        split(&answer).ok_or_else(|| self.failed(path, "the answer is not HTTP".to_owned()))
    }

    fn parse<'a, T: Deserialize<'a>>(&self, path: &str, body: &'a [u8]) -> Result<T, Error> {
        serde_json::from_slice(body).map_err(|error| self.failed(path, error.to_string()))
    }

    fn failed(&self, path: &str, reason: String) -> Error {
        Error::Monitor { url: format!("{}{path}", self.url()), reason }
    }
}

/// Status and body of an HTTP answer that is complete.
fn split(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let body = &answer[end + 4..];
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, value)| value.trim().parse::<usize>())
        .transpose()
        .ok()?;
    length.is_none_or(|length| length == body.len()).then(|| (status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split() {
        let good = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(split(good), Some((503, b"{}".to_vec())));
        assert_eq!(split(b"HTTP/1.1 200 OK\r\n\r\n{}"), Some((200, b"{}".to_vec())));
        let bad: [&[u8]; 5] = [
            b"",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\n{}",
            b"HTTP/1.0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n",
        ];
        for answer in bad {
            assert_eq!(split(answer), None);
        }
    }
}
