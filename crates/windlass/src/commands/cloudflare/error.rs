//! What can go wrong beside what Cloudflare itself says.

use std::path::PathBuf;

use crate::failure::Failure;

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No edge was applied from this directory.
    #[error("no edge was deployed from {directory}", directory = directory.display())]
    NoEdge {
        /// The run directory.
        directory: PathBuf,
    },
    /// The token cannot do all that is needed.
    #[error("the token may not do all that the edge needs: {missing} is missing")]
    Permissions {
        /// The permissions, as the dashboard shows them.
        missing: String,
    },
    /// The token is known, and not good any more.
    #[error("the token is {status}")]
    Token {
        /// What Cloudflare says of it.
        status: String,
    },
    /// There is no version to go back to.
    #[error("the Worker {script} was uploaded once, so there is no version to go back to")]
    NothingBefore {
        /// The Worker.
        script: String,
    },
    /// There is no such version to go back to.
    #[error("the Worker {script} has no version {version}")]
    NoSuchVersion {
        /// The Worker.
        script: String,
        /// What was asked for.
        version: String,
    },
    /// A version could not answer.
    #[error("version {version} of the Worker {script} has not the secrets that it needs: {missing}")]
    Unready {
        /// The Worker.
        script: String,
        /// The version.
        version: String,
        /// Their names.
        missing: String,
    },
    /// The Worker would have no address.
    #[error("the account has no domain below workers.dev, so the Worker would have no address")]
    NoSubdomain,
    /// After a rollback the Worker did not say that it is the other version.
    #[error("the Worker was told to be version {wanted}, and answers as {found} after {seconds} s")]
    Unproven {
        /// The version that it should be.
        wanted: String,
        /// What it says.
        found: String,
        /// For how long it was asked.
        seconds: u64,
    },
    /// The fleet file does not say where in R2.
    #[error("the fleet file does not keep its state in R2")]
    NoStore,
}

impl Error {
    const fn code(&self) -> &'static str {
        match self {
            Self::NoEdge { .. } => "WL0450",
            Self::Permissions { .. } => "WL0451",
            Self::Token { .. } => "WL0452",
            Self::NothingBefore { .. } => "WL0453",
            Self::Unproven { .. } => "WL0454",
            Self::NoStore => "WL0455",
            Self::NoSuchVersion { .. } => "WL0458",
            Self::Unready { .. } => "WL0459",
            Self::NoSubdomain => "WL0460",
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Self::NoEdge { .. } => {
                "`windlass cloudflare deploy` makes it; on this machine, `windlass up --edge` does"
            }
            Self::Permissions { .. } => {
                "edit the token in the dashboard, add what is missing, and run it again"
            }
            Self::Token { .. } => "make a new one at https://dash.cloudflare.com/profile/api-tokens",
            Self::NothingBefore { .. } => "`windlass cloudflare deploy` deploys what the fleet file says",
            Self::NoSuchVersion { .. } => {
                "take one that the dashboard lists under Deployments, or leave --to away for the one before"
            }
            Self::Unready { .. } => {
                "it was uploaded before they were set; take a later one, or leave --to away for the one before"
            }
            Self::NoSubdomain => {
                "take one, for good: `windlass cloudflare setup --subdomain NAME`; or set CLOUDFLARE_WORKER_URL to where the \
                 Worker answers"
            }
            Self::Unproven { .. } => {
                "ask again with `windlass cloudflare test`; Cloudflare may take a minute to be everywhere"
            }
            Self::NoStore => {
                "write `store = \"r2://BUCKET/PREFIX\"` in [state], or say --to r2://BUCKET/PREFIX"
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let bad = matches!(error, Error::NoStore | Error::NoSuchVersion { .. } | Error::Unready { .. });
        let failure = Self::new(error.code(), error.to_string(), error.help());
        if bad { failure.bad_input() } else { failure }
    }
}
