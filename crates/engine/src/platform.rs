//! What every platform can do: see, judge, act.
//!
//! The engine decides nothing about NATS or about anybody's API; it asks. A platform in turn decides nothing about order,
//! journals or people. [`Platform::compare`] and [`Platform::supports`] are pure, so that a plan is the same whenever
//! the world is the same.

use crate::{Address, Resource, error::Trouble};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Something that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which resource it is.
    pub address: Address,
    /// What it is, in the platform's own words. Whether it is what is wanted only the platform can say.
    pub body: Value,
    /// What it holds, if it holds anything.
    pub data: Data,
    /// What is wrong with it right now, if something is: it is down, it lags.
    pub trouble: Option<String>,
    /// It cannot be seen right now, and the state's record stands in for it. Nobody knows what it holds.
    pub unseen: bool,
}

/// How much data a resource holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What an action would lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Messages.
    pub messages: u64,
    /// Their bytes, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// There may be fewer; how many exactly, nobody can say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_most: bool,
}

impl From<Data> for Loss {
    /// All of it.
    fn from(data: Data) -> Self {
        Self { messages: data.messages, bytes: Some(data.bytes), at_most: false }
    }
}

/// A field that is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// What it is, for a person.
    pub from: String,
    /// What it is to be.
    pub to: String,
}

impl FieldChange {
    /// A field's change.
    pub fn new(field: &str, from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { field: field.to_owned(), from: from.into(), to: to.into() }
    }
}

/// What an action puts at risk, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Nothing.
    #[default]
    None,
    /// Clients are interrupted and come back.
    Interrupts,
    /// Data is gone afterwards.
    LosesData,
    /// It cannot be undone: an identity or a place in a stream is gone.
    Irreversible,
}

impl Risk {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interrupts => "interrupts",
            Self::LosesData => "loses data",
            Self::Irreversible => "irreversible",
        }
    }
}

/// How a difference can be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// While it goes on.
    InPlace,
    /// It has to be started again.
    Restart,
    /// It has to be deleted and made anew.
    Replace,
}

/// A difference between what is wanted and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How it can be mended.
    pub how: How,
    /// What differs.
    pub fields: Vec<FieldChange>,
    /// What mending it puts at risk.
    pub risk: Risk,
    /// Why, in words, where the fields do not say it all: `it is not running`.
    pub why: Option<String>,
}

/// What is to be done to one resource.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Make it.
    Create(&'a Resource),
    /// Make it what is wanted. What it is now was found.
    Change {
        /// What is wanted.
        wanted: &'a Resource,
        /// What is there.
        found: &'a Found,
        /// How.
        how: How,
        /// It was planned with a loss of data, and that was allowed. Else what would lose any is refused, also when
        /// it arrived only after the plan was made.
        allow_data_loss: bool,
    },
    /// Delete it, with what it holds.
    Delete {
        /// What it is called.
        address: &'a Address,
        /// What it was when it was last recorded, or what was found.
        body: &'a Value,
        /// As with a change: without it only what holds nothing is deleted.
        allow_data_loss: bool,
    },
}

/// What a platform is asked to look at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Everything that is wanted on this platform.
    pub wanted: &'a [&'a Resource],
    /// What the state says is there besides: addresses and their recorded bodies.
    pub recorded: &'a [(&'a Address, &'a Value)],
    /// What the state says of everything, also of what is wanted: for what cannot be seen right now.
    pub memory: &'a [(&'a Address, &'a Value)],
}

impl<'a> Scope<'a> {
    /// The recorded bodies by address.
    #[must_use]
    pub fn known(&self) -> BTreeMap<&'a Address, &'a Value> {
        self.memory.iter().chain(self.recorded).copied().collect()
    }
}

/// A platform.
pub trait Platform: Send + Sync {
    /// Its name in the fleet file.
    fn name(&self) -> &'static str;

    /// Whether it can make this at all, asked at plan time.
    ///
    /// # Errors
    /// Why not, for a person.
    fn supports(&self, resource: &Resource) -> Result<(), String>;

    /// What a person should know of something that can be made as it is wanted. Pure.
    fn warnings(&self, _resource: &Resource) -> Vec<String> {
        Vec::new()
    }

    /// Everything of the scope that is there; what is not in the answer is not there.
    fn find<'a>(&'a self, scope: Scope<'a>) -> BoxFuture<'a, Result<Vec<Found>, Trouble>>;

    /// What differs; `None` when it is as wanted. Pure.
    ///
    /// # Errors
    /// When it must not be touched, such as when it belongs to somebody else.
    fn compare(&self, wanted: &Resource, found: &Found) -> Result<Option<Difference>, String>;

    /// What mending the difference loses, where it loses data: all that is there, or less where the platform knows
    /// better. Pure.
    fn loss(&self, _wanted: &Resource, found: &Found) -> Loss {
        found.data.into()
    }

    /// What happens when it is deleted, for the plan.
    ///
    /// # Errors
    /// Why it must not be deleted while the rest stays.
    fn deletion(&self, address: &Address, found: &Found) -> Result<Risk, String> {
        let holds = address.kind.holds_data() && found.data.messages > 0;
        Ok(if holds { Risk::LosesData } else { Risk::None })
    }

    /// Does one step, and returns when it is done and seen to be done. Doing it twice is the same as doing it once.
    fn apply<'a>(&'a self, step: Step<'a>) -> BoxFuture<'a, Result<(), Trouble>>;
}
