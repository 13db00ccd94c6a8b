//! A registry for container images on loopback, on a directory: the distribution API as Docker, skopeo and `oci-client`
//! speak it, with short-lived credentials as Cloudflare's own registry has them.
//!
//! ```text
//! http           requests and answers: who may, streaming, headers
//! route          what a path means, and which names are names: pure
//! credentials    who may do what, until when
//! store          blobs, manifests and tags: written beside their place and renamed, compared with their digests
//! ```
//!
//! A client that nobody here wrote cannot tell it from Debian's `docker-registry`: `tests/tests/registries.rs` asks both the
//! same. What it has not: tokens, ranges of a blob, referrers.
//! Whoever runs containers takes images out of it without HTTP ([`Registry::image`]).

mod credentials;
mod http;
mod refusal;
mod route;
mod store;

pub use credentials::{Issued, Permission};

use credentials::Desk;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use windlass_image::{Image, Layout};

/// Every code of this module, in order. Each has a page in `docs/errors/`.
pub const CODES: &[&str] = &["WL0830", "WL0831", "WL0832"];

/// What a registry needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the images are.
    pub directory: PathBuf,
    /// Whether everybody may do everything. Otherwise only who was issued credentials is let in.
    pub open: bool,
    /// What every repository's name must begin with, such as an account's id.
    pub namespace: Option<String>,
}

impl Options {
    /// A registry that lets nobody in without credentials.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), open: false, namespace: None }
    }
}

/// A registry. A clone is the same registry.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    desk: Option<Desk>,
    namespace: Option<String>,
}

impl Registry {
    /// Opens a registry's directory, and makes it where it is missing. It blocks.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(options: Options) -> Result<Self, Error> {
        let directory = options.directory;
        let store = Store::open(&directory).map_err(|source| Error::Directory { directory, source })?;
        let desk = (!options.open).then(Desk::default);
        Ok(Self { inner: Arc::new(Inner { store, desk, namespace: options.namespace }) })
    }

    /// Gives credentials for a while. In an open registry nobody asks for them.
    pub fn issue(&self, permissions: &[Permission], lasts: Duration) -> Issued {
        match &self.inner.desk {
            Some(desk) => desk.issue(permissions, lasts),
            None => Desk::default().issue(permissions, lasts),
        }
    }

    /// An image that was pushed, as one that can be unpacked: `name` is its reference behind the registry's address. Of an
    /// image for several systems, it is the one for this machine. It blocks.
    ///
    /// # Errors
    /// When there is none, in words.
    pub fn image(&self, name: &str) -> Result<(Layout, Image), String> {
        let (name, reference) = route::parse_image(name).ok_or("it is no name of an image")?;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        self.inner.store.image(name, reference, architecture)
    }

    /// Everything below `/v2/`, to be served alone or merged into another router.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Serves the registry alone, until the handle is dropped.
    ///
    /// # Errors
    /// When the address is not one of loopback, or is not to be had.
    pub async fn serve(&self, listen: SocketAddr) -> Result<Handle, Error> {
        if !listen.ip().is_loopback() {
            return Err(Error::NotLoopback(listen));
        }
        let failed = |source| Error::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = self.router();
        // It ends with the handle; an error of it is one of a connection, which is the client's to see.
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Handle { address, task })
    }
}

/// A registry that is served. Dropping it ends that.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Handle {
    /// Where it is: an image there is `<address>/<name>:<tag>`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a registry could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not to be had.
    #[error("the registry's directory {} cannot be used: {source}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address is not to be had.
    #[error("the registry cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Others than this machine would reach it.
    #[error("the registry listens on loopback only, and {0} is another address")]
    NotLoopback(SocketAddr),
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "WL0830",
            Self::Listen { .. } => "WL0831",
            Self::NotLoopback(_) => "WL0832",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Directory { .. } => {
                "make the directory writable for this user, or name another with --directory"
            }
            Self::Listen { .. } => {
                "choose another address with --listen (port 0: any), or stop what uses this one"
            }
            Self::NotLoopback(_) => {
                "choose an address of 127.0.0.0/8 or [::1]: this is a stand-in, with no TLS"
            }
        }
    }

    /// Whether the options were wrong, as opposed to the world.
    pub const fn is_bad_input(&self) -> bool {
        matches!(self, Self::NotLoopback(_))
    }
}
