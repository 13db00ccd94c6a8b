//! What can go wrong with an edge, apart from what Cloudflare refuses.

use windlass_engine::Trouble;

/// Why something at the edge was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The account or the token is not known.
    #[error("{what} is not known: its source gives nothing")]
    NoAccess {
        /// Which: `platforms.cloudflare.api_token`.
        what: &'static str,
    },
    /// Something that the Worker is told of is not made yet.
    #[error("{what} is not made yet, and the Worker is told of it")]
    NotYet {
        /// What.
        what: String,
    },
    /// A bucket holds objects that were not to be lost.
    #[error("the bucket {bucket} holds {objects} objects, which would be lost")]
    NotEmpty {
        /// The bucket.
        bucket: String,
        /// How many, at least.
        objects: u64,
    },
    /// The Worker holds events that are not in the hub's stream yet.
    #[error("the Worker holds {events} events that the hub has not acknowledged, which would be lost")]
    Undelivered {
        /// How many.
        events: u64,
    },
    /// The Worker does not answer.
    #[error("the Worker at {url} does not answer: {cause}")]
    Silent {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
    /// The nodes do not run as they should.
    #[error("the edge does not run as it should: {what}")]
    NotRunning {
        /// What is wrong, in the nodes' own words.
        what: String,
    },
    /// Cloudflare takes no variable of that size.
    #[error("the Worker's settings have {size} bytes, and Cloudflare takes {most}")]
    TooLarge {
        /// How many.
        size: usize,
        /// How many it takes.
        most: usize,
    },
    /// Something was deleted, and is still there.
    #[error("{what} is still there after it was deleted")]
    LeftBehind {
        /// What.
        what: String,
    },
    /// A file on this machine cannot be used.
    #[error("cannot {action} {path}: {cause}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// Why not.
        cause: String,
    },
    /// Nobody can say where the Worker answers.
    #[error("the account has no domain below workers.dev, so the Worker has no address")]
    NoAddress,
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAccess { .. } => "WL0650",
            Self::NotYet { .. } => "WL0651",
            Self::NotEmpty { .. } => "WL0652",
            Self::Undelivered { .. } => "WL0653",
            Self::Silent { .. } => "WL0654",
            Self::NotRunning { .. } => "WL0655",
            Self::TooLarge { .. } => "WL0656",
            Self::LeftBehind { .. } => "WL0657",
            Self::File { .. } => "WL0658",
            Self::NoAddress => "WL0659",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NoAccess { .. } => {
                "set the variable or the file that [platforms.cloudflare] names; the token needs: Workers Scripts, Workers KV \
                 Storage, Workers R2 Storage and Containers, each Edit"
            }
            Self::NotYet { .. } => "apply all of it: accounts and the hub come before the edge",
            Self::NotEmpty { .. } => "copy what is needed; if it is meant, run it again with --allow-data-loss",
            Self::Undelivered { .. } => {
                "start the hub and run it again: they are delivered first; if losing them is meant, --allow-data-loss"
            }
            Self::Silent { .. } => "see the Worker's logs in the dashboard, and run it again",
            Self::NotRunning { .. } => {
                "is the image in the registry? `windlass image push` puts it there; then run it again"
            }
            Self::TooLarge { .. } => "let the edge's account import from fewer others, or shorten names and regions",
            Self::LeftBehind { .. } => "run it again; if it stays, delete it in Cloudflare's dashboard",
            Self::File { .. } => "check the disk and the permissions",
            Self::NoAddress => {
                "choose a subdomain in the dashboard (Workers & Pages), or set CLOUDFLARE_WORKER_URL to where it answers"
            }
        }
        .to_owned()
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}
