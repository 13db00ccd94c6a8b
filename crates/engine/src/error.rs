//! What can go wrong, with stable codes.

use crate::Address;
use std::path::PathBuf;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else changes the same fleet.
    #[error("the state is locked by {who}, to {purpose}, since {since}")]
    Locked {
        /// Who, as `user@host (pid 123)`.
        who: String,
        /// What for, such as `apply`.
        purpose: String,
        /// Since when, RFC 3339.
        since: String,
    },
    /// The state is there and makes no sense.
    #[error("the state in {path} cannot be read: {reason}")]
    StateUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The state belongs to another fleet.
    #[error("the state in {path} is of the fleet {found:?}, and this is {wanted:?}")]
    OtherFleet {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// Between plan and apply something changed.
    #[error("what the plan was made for has changed since: {what}")]
    Moved {
        /// What is different.
        what: String,
    },
    /// A plan file that cannot be used.
    #[error("the plan in {path} cannot be used: {reason}")]
    PlanUnusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The plan would lose data, and nobody allowed it.
    #[error("this would lose data: {what}")]
    LosesData {
        /// What is lost, with counts.
        what: String,
    },
    /// Some actions failed; others were skipped because of it.
    #[error("{failed} of {total} actions failed, {skipped} were not begun because of it")]
    Incomplete {
        /// How many failed.
        failed: usize,
        /// How many were skipped.
        skipped: usize,
        /// How many there were.
        total: usize,
    },
    /// The file wants what no platform here can do.
    #[error("{address} cannot be made: {reason}")]
    Blocked {
        /// What.
        address: Address,
        /// Why.
        reason: String,
    },
    /// There is no such resource.
    #[error("there is no {address} {place}")]
    Unknown {
        /// Which.
        address: String,
        /// Where it was looked for.
        place: &'static str,
    },
    /// Resources depend on each other in a circle.
    #[error("{address} depends on itself")]
    Circle {
        /// One of them.
        address: Address,
    },
    /// The disk (or whatever holds the state) refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A platform could not say what is there.
    #[error("cannot see what is on {platform}: {trouble}")]
    Find {
        /// The platform.
        platform: String,
        /// Why.
        trouble: Trouble,
    },
    /// The name is taken in the state.
    #[error("{address} is in the state already")]
    Taken {
        /// Which.
        address: Address,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Locked { .. } => "WL0501",
            Self::StateUnreadable { .. } => "WL0502",
            Self::OtherFleet { .. } => "WL0503",
            Self::Moved { .. } => "WL0504",
            Self::PlanUnusable { .. } => "WL0505",
            Self::LosesData { .. } => "WL0506",
            Self::Incomplete { .. } => "WL0507",
            Self::Blocked { .. } => "WL0508",
            Self::Unknown { .. } => "WL0509",
            Self::Circle { .. } => "WL0510",
            Self::Io { .. } => "WL0511",
            Self::Find { trouble, .. } => &trouble.code,
            Self::Taken { .. } => "WL0512",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Locked { .. } => {
                "wait until it is done, or say how long to wait with --lock-timeout".into()
            }
            Self::StateUnreadable { .. } => {
                "put back a copy of the file; without one, move it away and `windlass import` what runs"
                    .into()
            }
            Self::OtherFleet { .. } => {
                "name this fleet's directory with --directory, or the fleet file with --file".into()
            }
            Self::Moved { .. } => "look at a new plan: windlass plan".into(),
            Self::PlanUnusable { .. } => "make a new one: windlass plan --out FILE".into(),
            Self::LosesData { .. } => "if that is meant, run it again with --allow-data-loss".into(),
            Self::Incomplete { .. } => {
                "when what failed is mended, run it again: it goes on where it stopped".into()
            }
            Self::Blocked { .. } => "change the fleet file, or leave it out with --target".into(),
            Self::Unknown { .. } => "windlass show --resources lists them".into(),
            Self::Circle { .. } => "break the circle in the fleet file".into(),
            Self::Io { .. } => "check the disk and the permissions".into(),
            Self::Find { trouble, .. } => trouble.help.clone(),
            Self::Taken { .. } => "choose another name, or `windlass forget` that one first".into(),
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// What a platform reports: its own code, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// The stable code.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Trouble {
    /// A trouble by its parts.
    pub fn new(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), help: help.into() }
    }
}
