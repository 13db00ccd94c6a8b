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
        /// What names the lock, where it outlives its process.
        id: Option<String>,
    },
    /// The store that holds the state cannot be used, or refuses.
    #[error("{trouble}")]
    Store {
        /// Why, with the store's own code.
        trouble: Trouble,
        /// Whether what was given, not the world, is what must change.
        bad_input: bool,
    },
    /// The state is kept elsewhere by now.
    #[error("the state is no longer in {from}: it was moved to {to} on {at}")]
    MovedAway {
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
        /// Since when, RFC 3339.
        at: String,
    },
    /// There is another state where this one is to be.
    #[error("{place} holds a state of another history (lineage {found}), and this one is {wanted}")]
    OtherLineage {
        /// Where.
        place: String,
        /// What is there.
        found: String,
        /// What was to be there.
        wanted: String,
    },
    /// What is there is newer.
    #[error("{place} holds serial {found} already, and this is {wanted}")]
    Newer {
        /// Where.
        place: String,
        /// What is there.
        found: u64,
        /// What was to be there.
        wanted: u64,
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
            Self::Store { trouble, .. } => &trouble.code,
            Self::MovedAway { .. } => "WL0745",
            Self::OtherLineage { .. } => "WL0746",
            Self::Newer { .. } => "WL0747",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Locked { id: None, .. } => {
                "wait until it is done, or say how long to wait with --lock-timeout".into()
            }
            Self::Locked { id: Some(id), .. } => format!(
                "wait until it is done, or say how long to wait with --lock-timeout; when its owner is surely gone: windlass state unlock {id}"
            ),
            Self::Store { trouble, .. } => trouble.help.clone(),
            Self::MovedAway { to, .. } => format!(
                "take the current fleet file, or write store = \"{to}\" under [state]; to bring it back: windlass state move"
            ),
            Self::OtherLineage { .. } => {
                "nothing was changed. Write another prefix under [state] store; `windlass state history` shows what is there"
                    .into()
            }
            Self::Newer { .. } => {
                "nothing was changed: the newer one is the one to go on with, and the other can be put aside".into()
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

impl From<windlass_state::Error> for Error {
    fn from(error: windlass_state::Error) -> Self {
        let (code, message, help) = (error.code(), error.to_string(), error.help());
        match error {
            windlass_state::Error::Locked { who, operation, since, id, .. } => {
                Self::Locked { who, purpose: operation, since, id: Some(id) }
            }
            error => {
                Self::Store { trouble: Trouble::new(code, message, help), bad_input: error.is_bad_input() }
            }
        }
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
