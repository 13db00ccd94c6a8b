//! What Windlass knows of what it has made.
//!
//! The state is a memory, not the truth: the truth is asked of the servers. It is needed for what no server can say:
//! what was made by us and is no longer in the file, and whether a difference is the file's or somebody else's.

use crate::Address;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The format's version.
pub const FORMAT: u32 = 1;

/// Everything that is known of a fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The format's version.
    pub format: u32,
    /// The fleet.
    pub fleet: String,
    /// Tells one history of states from another.
    pub lineage: String,
    /// Grows by one with each write.
    pub serial: u64,
    /// What was made.
    pub resources: BTreeMap<Address, Recorded>,
}

/// One thing that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Where it lives.
    pub platform: String,
    /// What was wanted when it was last made or changed.
    pub body: Value,
    /// What it needs, so that it is deleted before that.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub depends_on: BTreeSet<Address>,
    /// It was begun, and nobody knows how far it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
}

impl State {
    /// The state of a fleet of which nothing is known.
    #[must_use]
    pub fn new(fleet: &str, lineage: String) -> Self {
        Self { format: FORMAT, fleet: fleet.to_owned(), lineage, serial: 0, resources: BTreeMap::new() }
    }
}
