//! What can go wrong with the endpoint itself. What goes wrong with a state is [`crate::Error`].

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the endpoint does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would be reachable from other machines.
    #[error("{0} is not an address of this machine alone")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The audit cannot be written.
    #[error("cannot open the audit {path}: {source}", path = path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotLoopback(_) => "WL0735",
            Self::Listen { .. } => "WL0736",
            Self::Audit { .. } => "WL0737",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::NotLoopback(_) => {
                "listen on 127.0.0.1 or [::1]: whoever reaches it reads the state decrypted"
            }
            Self::Listen { .. } => {
                "choose another port, or port 0 for any that is free. A project whose backend names an endpoint has one \
                 port: wait until the other `windlass state exec` in it has ended"
            }
            Self::Audit { .. } => {
                "check that the path is yours, writable and has room; --audit puts it elsewhere"
            }
        }
    }

    /// Whether what was given, not the world, is what must change.
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        matches!(self, Self::NotLoopback(_))
    }
}
