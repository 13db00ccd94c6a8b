//! Cloudflare on a laptop: Workers in the real workerd, and containers as processes.
//!
//! ```text
//! workerd    a Worker, described in Rust ─► configuration ─► the real workerd, supervised
//! engine     the container engine that it talks to: Docker's calls, on processes
//! api        Cloudflare's REST API, which runs in them what is uploaded to it
//! ```
//!
//! Both can be stopped at any moment and killed at any moment. Whatever one of them started is ended with it, or by the
//! next one in the same directory.

pub mod api;
mod backoff;
pub mod engine;
mod left;
pub mod process;
pub mod workerd;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Every code of this module, in order. Each has a page in `docs/errors/`.
pub const CODES: &[&str] = &["WL0805", "WL0806", "WL0807", "WL0808", "WL0809", "WL0810", "WL0811", "WL0812"];

/// Why a part of the local Cloudflare could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not to be had.
    #[error("the local Cloudflare's directory {} cannot be used: {source}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address is not to be had.
    #[error("the local Cloudflare cannot listen on {address}: {source}")]
    Listen {
        /// The address, or the socket's path.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Another one runs in the directory.
    #[error("another local Cloudflare runs in {}", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// This machine has no addresses for containers.
    #[error("containers need addresses of 127.77.0.0/16, and this machine has none: {0}")]
    Addresses(io::Error),
    /// There is no workerd.
    #[error("workerd is not here: {0}")]
    NoWorkerd(String),
    /// workerd does not take the Worker.
    #[error("workerd does not run the Worker {worker}: {said}")]
    Worker {
        /// The Worker's name.
        worker: String,
        /// What workerd said.
        said: String,
    },
    /// workerd did not get ready.
    #[error("workerd was not ready within {seconds} s: {said}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// What it said until then.
        said: String,
    },
    /// The description of the Worker is wrong.
    #[error("the Worker {worker} cannot be run: {wrong}")]
    Description {
        /// The Worker's name.
        worker: String,
        /// What is wrong.
        wrong: String,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "WL0805",
            Self::Listen { .. } => "WL0806",
            Self::InUse { .. } => "WL0807",
            Self::Addresses(_) => "WL0808",
            Self::NoWorkerd(_) => "WL0809",
            Self::Worker { .. } => "WL0810",
            Self::NotReady { .. } => "WL0811",
            Self::Description { .. } => "WL0812",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Directory { .. } => {
                "make the directory writable for this user, or name another with --directory"
            }
            Self::Listen { .. } => {
                "choose another address (port 0: any), or a directory with a shorter path (a socket's has 107 bytes at most)"
            }
            Self::InUse { .. } => "stop the other one, or name another directory with --directory",
            Self::Addresses(_) => {
                "on macOS, add them: sudo ifconfig lo0 alias 127.77.0.1 up, one for each container"
            }
            Self::NoWorkerd(_) => {
                "install npm's workerd, and set WINDLASS_WORKERD to it or put it on the path; ./taskw tools brings it"
            }
            Self::Worker { .. } => "correct the Worker's code or its bindings; what runs was left as it is",
            Self::NotReady { .. } => "see workerd.log in its directory; on a slow machine, try again",
            Self::Description { .. } => "correct the Worker's description",
        }
    }

    /// Whether what was given is wrong, as opposed to the world.
    pub const fn is_bad_input(&self) -> bool {
        matches!(self, Self::Worker { .. } | Self::Description { .. })
    }
}

/// Makes a directory that only its owner reads, and takes its lock.
fn own(directory: &Path) -> Result<File, Error> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.and_then(|()| lock(directory)).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => Error::InUse { directory: directory.to_owned() },
        _ => Error::Directory { directory: directory.to_owned(), source },
    })
}

/// A log to write on at its end. Only its owner reads it.
fn log_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// Takes the lock of a directory, which the kernel undoes when the file is closed or this process ends.
fn lock(directory: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = directory.join("lock");
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Ends the processes of a stand-in that was killed, of which nobody else would know: its workerd and its containers. Says how
/// many there were. One that lives is left alone.
///
/// # Errors
/// When the directory cannot be used, or a process does not end.
pub async fn end_what_was_left(directory: &std::path::Path) -> std::io::Result<usize> {
    let Ok(lock) = std::fs::File::open(directory.join("lock")) else { return Ok(0) };
    if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(0);
    }
    let mut ended = 0;
    for place in left::places(directory) {
        ended += left::end(&place).await?;
    }
    Ok(ended)
}
