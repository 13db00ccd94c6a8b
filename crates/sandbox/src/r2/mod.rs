//! A local R2: the part of S3 that Cloudflare R2 has, on loopback, on a directory.
//!
//! ```text
//! server       HTTP: faults, the log of requests, and everything else to ─► s3s (signature, parsing, XML)
//! api          the operations, on ─► store (files, locks)
//! condition, listing, limits, fault, name, object, refusal, sealing        what they decide, as pure functions
//! ```
//!
//! Conditional writes are linearizable for each key, also between processes that share the directory: see [`store`].
//! What R2 does not implement is refused as R2 refuses it: see [`api::access`]. Where this and the real R2 differ, as far
//! as is known, is in `docs/r2-differences.md`.

pub mod api;
pub mod condition;
mod credentials;
pub mod fault;
pub mod limits;
pub mod listing;
pub mod name;
pub mod object;
pub mod refusal;
pub mod sealing;
mod server;
pub mod store;

pub use fault::{Effect, Fault};
pub use server::{Handle, Request, Service, start};

use secrecy::SecretString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Every code of this module, in order. Each has a page in `docs/errors/`.
pub const CODES: &[&str] = &["WL0801", "WL0802", "WL0803", "WL0804"];

/// R2's own limit: one write to one key in this time.
pub const R2_WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// What a local R2 needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the objects are. Several processes may use one directory at once.
    pub directory: PathBuf,
    /// The address to listen on, of loopback; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address of the admin endpoint (faults, limits, the log of requests), if there is to be one.
    pub admin: Option<SocketAddr>,
    /// The keys that requests are signed with. Without them, those of the directory are used, and made where there are
    /// none.
    pub keys: Option<Keys>,
    /// A bucket to make where it is missing.
    pub bucket: Option<String>,
    /// How often one key may be written: `None` for as often as one likes.
    pub write_interval: Option<Duration>,
    /// Who knows of temporary credentials, if there are any.
    pub sessions: Option<Arc<dyn Sessions>>,
}

/// Temporary credentials: what a session token, which comes with each request, says.
pub trait Sessions: std::fmt::Debug + Send + Sync {
    /// The credentials of a session token; `None` for one that is none, or has ended.
    fn keys(&self, token: &str) -> Option<Keys>;

    /// Whether a request may be made with it.
    fn allows(&self, token: &str, asked: &Asked<'_>) -> bool;
}

/// What a request with temporary credentials is about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whether it changes something.
    pub writes: bool,
    /// The bucket; empty for none.
    pub bucket: &'a str,
    /// The key, or the prefix of a listing.
    pub key: Option<&'a str>,
}

/// A pair of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// 32 hexadecimal digits, as R2's are.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
}

/// The keys of a data directory, which are made where there are none: for whoever starts the server as a process and
/// wants to know them beforehand. It blocks.
///
/// # Errors
/// [`Error::Directory`] when the directory cannot be used.
pub fn keys_of(directory: &Path) -> Result<Keys, Error> {
    let made = std::fs::create_dir_all(directory).and_then(|()| credentials::of_directory(directory));
    made.map_err(|source| Error::Directory { directory: directory.to_owned(), source })
}

impl Options {
    /// A server on a port that the system chooses, without limits and without an admin endpoint.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            admin: None,
            keys: None,
            bucket: None,
            write_interval: None,
            sessions: None,
        }
    }
}

/// Why a local R2 could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not to be had.
    #[error("the local R2's directory {} cannot be used: {source}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address is not to be had.
    #[error("the local R2 cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Others than this machine would reach it.
    #[error("the local R2 listens on loopback only, and {0} is another address")]
    NotLoopback(SocketAddr),
    /// A key or a bucket that R2 would not take.
    #[error("{0}")]
    Option(String),
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "WL0801",
            Self::Listen { .. } => "WL0802",
            Self::NotLoopback(_) => "WL0803",
            Self::Option(_) => "WL0804",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Directory { .. } => {
                "make the directory writable for this user, or name another with --data-directory"
            }
            Self::Listen { .. } => {
                "choose another address with --listen (port 0: any), or stop what uses this one"
            }
            Self::NotLoopback(_) => {
                "choose an address of 127.0.0.0/8 or [::1]: this is a stand-in, with no TLS"
            }
            Self::Option(_) => "give keys and a bucket name as R2 has them, or none of them",
        }
    }

    /// Whether the options were wrong, as opposed to the world.
    pub const fn is_bad_input(&self) -> bool {
        matches!(self, Self::NotLoopback(_) | Self::Option(_))
    }
}
