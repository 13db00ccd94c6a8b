//! A server's configuration as a value, and as the text that nats-server reads.
//!
//! Only what Windlass sets is here; what is absent is left to the server's own default. Strings are always quoted and
//! escaped, so that no name or path can become syntax. Everything listens on loopback unless told otherwise.

mod render;
#[cfg(test)]
pub(crate) mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Error;
use crate::server::Binary;

/// One server's configuration.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Comment lines at the top of the file.
    pub comment: Vec<String>,
    /// Name of the server; unique in the whole system, without spaces.
    pub server_name: String,
    /// Tags that streams can be placed by, such as `region:weur`.
    pub tags: Vec<String>,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// TLS for clients.
    pub tls: Option<Tls>,
    /// Where the monitoring endpoint listens. It asks nobody who they are, so keep it on loopback.
    pub monitor: Option<SocketAddr>,
    /// Clients and leaf nodes over WebSocket.
    pub websocket: Option<Websocket>,
    /// Streams.
    pub jetstream: Option<JetStream>,
    /// Servers joined by routes.
    pub cluster: Option<Cluster>,
    /// Clusters joined by gateways.
    pub gateway: Option<Gateway>,
    /// Leaf nodes: those that may join, and those that this server joins.
    pub leafnodes: Option<LeafNodes>,
    /// Operator mode: who is trusted and which accounts exist.
    pub trust: Option<Trust>,
    /// Largest message in bytes.
    pub max_payload: Option<u64>,
    /// Bytes that may wait for one slow client.
    pub max_pending: Option<u64>,
    /// Client connections at once.
    pub max_connections: Option<u64>,
    /// How long a write to a client may block.
    pub write_deadline: Option<Duration>,
    /// How often an idle client is asked whether it is there.
    pub ping_interval: Option<Duration>,
    /// Over how long clients are sent away before a planned stop; the server's minimum is 30 s.
    pub lame_duck_duration: Option<Duration>,
    /// How long the server waits before it starts sending them away.
    pub lame_duck_grace_period: Option<Duration>,
    /// Where the server writes its process id.
    pub pid_file: Option<PathBuf>,
    /// Where the server logs; standard error without.
    pub log: Option<Log>,
}

impl ServerConfig {
    /// A server on loopback's port 4222 and nothing else.
    #[must_use]
    pub fn new(server_name: &str) -> Self {
        Self {
            comment: Vec::new(),
            server_name: server_name.to_owned(),
            tags: Vec::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4222)),
            tls: None,
            monitor: None,
            websocket: None,
            jetstream: None,
            cluster: None,
            gateway: None,
            leafnodes: None,
            trust: None,
            max_payload: None,
            max_pending: None,
            max_connections: None,
            write_deadline: None,
            ping_interval: None,
            lame_duck_duration: None,
            lame_duck_grace_period: None,
            pid_file: None,
            log: None,
        }
    }

    /// The text for nats-server. The same value gives the same text.
    #[must_use]
    pub fn render(&self) -> String {
        render::render(self)
    }
}

/// Certificates.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the other side's certificates.
    pub authority: Option<PathBuf>,
    /// Whether the other side must show one.
    pub verify: bool,
}

/// The WebSocket listener.
#[derive(Debug, Clone)]
pub struct Websocket {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Certificates; without, the listener is plain, for loopback or behind something that ends TLS.
    pub tls: Option<Tls>,
    /// Whether a browser's origin must be the server's own.
    pub same_origin: bool,
    /// Origins that browsers may come from.
    pub allowed_origins: Vec<String>,
    /// Whether messages may be compressed.
    pub compression: bool,
}

/// JetStream's storage.
#[derive(Debug, Clone)]
pub struct JetStream {
    /// The directory; the server keeps everything in a directory `jetstream` below it.
    pub store_dir: PathBuf,
    /// Bytes on disk.
    pub max_file_store: u64,
    /// Bytes in memory.
    pub max_memory_store: u64,
    /// Its name among other JetStream systems that leaf nodes join.
    pub domain: Option<String>,
    /// When the disk is asked to make written messages durable.
    pub sync: Option<Sync>,
}

/// When the disk is asked to make written messages durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Every so often: an acknowledged message survives the server's death, not the machine's.
    Every(Duration),
    /// Before each acknowledgement: it survives the machine's death too, and is slower.
    Always,
}

/// Servers joined by routes.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The cluster's name.
    pub name: String,
    /// Where the other servers connect.
    pub listen: SocketAddr,
    /// What others are told to connect to, when it is not where it listens.
    pub advertise: Option<String>,
    /// The other servers, such as `nats://10.0.0.6:6222`.
    pub routes: Vec<String>,
    /// Certificates.
    pub tls: Option<Tls>,
}

/// Clusters joined by gateways.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// This cluster's name.
    pub name: String,
    /// Where other clusters connect.
    pub listen: SocketAddr,
    /// The other clusters: name and addresses.
    pub remotes: Vec<(String, Vec<String>)>,
    /// Certificates.
    pub tls: Option<Tls>,
}

/// Leaf nodes.
#[derive(Debug, Clone, Default)]
pub struct LeafNodes {
    /// Where leaf nodes connect to this server.
    pub listen: Option<SocketAddr>,
    /// Certificates for that listener.
    pub tls: Option<Tls>,
    /// The servers that this one joins.
    pub remotes: Vec<LeafRemote>,
    /// How long to wait before joining again.
    pub reconnect: Option<Duration>,
}

/// A server that this one joins as a leaf node.
#[derive(Debug, Clone)]
pub struct LeafRemote {
    /// Its addresses: either all `nats-leaf://`, or all `ws://` with a path.
    pub urls: Vec<String>,
    /// Public key of the local account.
    pub account: Option<String>,
    /// Who we are there.
    pub credentials: Option<PathBuf>,
    /// Certificates, where the other side wants TLS.
    pub tls: Option<Tls>,
}

/// Operator mode.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The operator's token.
    pub operator: Operator,
    /// Public key of the system account.
    pub system_account: String,
    /// Where account tokens come from.
    pub resolver: Resolver,
    /// Account tokens by the account's public key, with the name for a comment.
    pub preload: Vec<Preload>,
}

/// The operator's token.
#[derive(Debug, Clone)]
pub enum Operator {
    /// The token itself.
    Inline(String),
    /// A file that holds it.
    File(PathBuf),
}

/// Where account tokens come from.
#[derive(Debug, Clone)]
pub enum Resolver {
    /// Only from this file.
    Memory,
    /// A directory that is updated over the system account.
    Full {
        /// The directory.
        directory: PathBuf,
        /// Whether accounts may be deleted over the system account.
        allow_delete: bool,
        /// How often servers compare what they have.
        interval: Duration,
    },
}

/// An account token that the server knows from the start.
#[derive(Debug, Clone)]
pub struct Preload {
    /// The account's name, for the reader.
    pub name: String,
    /// The account's public key.
    pub public_key: String,
    /// The token.
    pub token: String,
}

/// A log file.
#[derive(Debug, Clone)]
pub struct Log {
    /// The file.
    pub file: PathBuf,
    /// Bytes after which a new file is begun.
    pub size_limit: Option<u64>,
    /// Old files to keep.
    pub keep: Option<u32>,
}

/// Lets nats-server read the file without starting, and answers the configuration's digest (`sha256:…`), which a
/// running server shows as `config_digest`.
///
/// # Errors
/// When nats-server refuses the file or cannot be run.
pub fn check(binary: &Binary, path: &Path) -> Result<String, Error> {
    let broken = |reason: String| Error::BinaryBroken { path: binary.path.clone(), reason };
    let output = Command::new(&binary.path)
        .arg("-t")
        .arg("-c")
        .arg(path)
        .output()
        .map_err(|error| broken(error.to_string()))?;
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    if !output.status.success() {
        let reason = text.trim().trim_start_matches("nats-server: ").to_owned();
        return Err(Error::ConfigRefused { path: path.to_owned(), reason });
    }
    digest(&text).map(str::to_owned).ok_or_else(|| broken(format!("-t printed no digest: {}", text.trim())))
}

/// The digest in what `-t` prints: `configuration file <path> is valid (sha256:…)`.
fn digest(text: &str) -> Option<&str> {
    let start = text.rfind("(sha256:")? + 1;
    let digest = &text[start..start + text[start..].find(')')?];
    let hash = digest.strip_prefix("sha256:")?;
    (hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digest)
}
