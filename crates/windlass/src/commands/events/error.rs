//! What can go wrong here, besides what the library says.

use std::path::PathBuf;

use windlass_events::consume;

use crate::failure::Failure;

/// Every code of this module, in order.
#[cfg(test)]
const CODES: &[&str] = &["WL0360", "WL0361", "WL0362", "WL0363", "WL0364", "WL0365", "WL0366"];

/// Why a command of `windlass events` did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No run in the directory, and no URL on the command line.
    #[error("no NATS runs in {directory}", directory = directory.display())]
    NotRunning {
        /// The run directory.
        directory: PathBuf,
    },
    /// NATS does not let us in.
    #[error("NATS at {url} cannot be reached: {cause}")]
    Connect {
        /// Its URL.
        url: String,
        /// Why not.
        cause: String,
    },
    /// No run with a receiver in the directory, and none on the command line.
    #[error("no receiver runs in {directory}", directory = directory.display())]
    NoReceiver {
        /// The run directory.
        directory: PathBuf,
    },
    /// There is nothing to sign with.
    #[error("there is no secret to sign with")]
    NoSecret,
    /// The target can be neither a URL nor a subject.
    #[error("{target:?} cannot be delivered to: {reason}")]
    Target {
        /// As it was written.
        target: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer to a request.
    #[error("{url} did not answer: {cause}")]
    NoAnswer {
        /// The URL.
        url: String,
        /// Why not.
        cause: String,
    },
    /// Not everything could be delivered again.
    #[error("{missing} of {total} events were not taken{stopped}")]
    Incomplete {
        /// How many were not.
        missing: u64,
        /// How many were tried, or were to be.
        total: u64,
        /// That and why it was stopped before the end, with a leading separator, or nothing.
        stopped: &'static str,
        /// The time of the first that was not taken.
        since: String,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => "WL0360",
            Self::Connect { .. } => "WL0361",
            Self::NoReceiver { .. } => "WL0362",
            Self::NoSecret => "WL0363",
            Self::Target { .. } => "WL0364",
            Self::NoAnswer { .. } => "WL0365",
            Self::Incomplete { .. } => "WL0366",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NotRunning { .. } => {
                "start it with `windlass up --detach`, or name a server with --nats-url and --creds".into()
            }
            Self::Connect { .. } => {
                "check the URL and the credentials; `windlass status` shows what runs here".into()
            }
            Self::NoReceiver { .. } => "start it with `windlass up --detach`, or name a URL with --to".into(),
            Self::NoSecret => "name a file with --secret-file, or set GITHUB_WEBHOOK_SECRET".into(),
            Self::Target { .. } => {
                "write a URL such as http://127.0.0.1:3000/webhook, or a subject prefix such as replayed"
                    .into()
            }
            Self::NoAnswer { .. } => {
                "check that something listens there; `windlass status` shows what runs here".into()
            }
            Self::Incomplete { since, .. } => {
                format!(
                    "run it again with --since {since}: a receiver that has a delivery recognizes its GUID"
                )
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.code(), error.to_string(), error.help());
        if matches!(error, Error::Target { .. }) { failure.bad_input() } else { failure }
    }
}

impl From<consume::Error> for Failure {
    fn from(error: consume::Error) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_page() {
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        for code in CODES.iter().chain(consume::CODES) {
            let page = std::fs::read_to_string(format!("{pages}/{code}.md")).unwrap();
            assert!(page.starts_with(&format!("# {code}: ")) && page.contains("\n## What to do\n"), "{code}");
        }
    }
}
