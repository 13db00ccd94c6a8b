//! What was seen of the parts that run: what a platform found out by asking them.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does its work.
    Healthy,
    /// It runs, but does not do its work fully.
    Impaired(String),
    /// It does not run.
    Down(String),
}

impl Health {
    /// In one word: `healthy`, `impaired` or `down`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Impaired(_) => "impaired",
            Self::Down(_) => "down",
        }
    }

    /// Why it is not healthy.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Impaired(why) | Self::Down(why) => Some(why),
        }
    }
}

/// What a server is among those of its cluster, for JetStream's metadata: which streams there are, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It is alone.
    Standalone,
    /// It decides.
    Leader,
    /// It follows.
    Follower,
}

impl Role {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
        }
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name within the fleet: `hub-0`.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// How it is.
    pub health: Health,
    /// Its process.
    pub pid: Option<u32>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u64,
    /// Where clients reach it.
    pub url: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it is among those of its cluster, if it says so.
    pub role: Option<Role>,
    /// Servers that it has routes to.
    pub routes: BTreeSet<String>,
    /// Servers that it is joined with by leaf nodes, in either direction.
    pub leaf_nodes: BTreeSet<String>,
    /// Clusters that it has a gateway to.
    pub gateways: BTreeSet<String>,
    /// Streams that it holds a copy of.
    pub streams: Vec<Held>,
}

/// One server's copy of a stream, as that server says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The account's name.
    pub account: String,
    /// The stream's name.
    pub stream: String,
    /// Messages in it.
    pub messages: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// The server that leads it; `None` while none does.
    pub leader: Option<String>,
    /// The other copies, by server, with how many messages each lacks. Only the leader knows it.
    pub lags: BTreeMap<String, Lag>,
    /// How many messages it lacks of what it mirrors or takes over from other streams.
    pub source_lag: Option<u64>,
}

/// How far behind a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// Whether it takes part, and is close behind.
    pub current: bool,
    /// Messages that it lacks.
    pub lag: u64,
    /// Whether its server is away.
    pub offline: bool,
}

/// The receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// How it is.
    pub health: Health,
    /// Its process.
    pub pid: Option<u32>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u64,
    /// Where GitHub posts to.
    pub url: Option<String>,
    /// Events that wait for NATS, and their bytes.
    pub backlog: Option<(u64, u64)>,
}

/// A stream, put together from what its servers say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// The account's name.
    pub account: String,
    /// Its name.
    pub stream: String,
    /// The cluster that it is on.
    pub cluster: String,
    /// Messages in it.
    pub messages: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// The server that leads it.
    pub leader: Option<String>,
    /// Every other copy, by server.
    pub replicas: BTreeMap<String, Lag>,
    /// How many messages it lacks of what it mirrors or takes over from other streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_lag: Option<u64>,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The servers, by name.
    pub servers: Vec<Server>,
    /// The receiver, if there is one.
    pub receiver: Option<Receiver>,
}

impl Seen {
    /// Every stream once: as its leader says it, else as whichever server holds it.
    #[must_use]
    pub fn streams(&self) -> Vec<Stream> {
        let mut streams: BTreeMap<(&str, &str, &str), (bool, Stream)> = BTreeMap::new();
        for server in &self.servers {
            for held in &server.streams {
                let leads = held.leader.as_deref() == Some(server.name.as_str());
                let key = (held.account.as_str(), held.stream.as_str(), server.cluster.as_str());
                if streams.get(&key).is_some_and(|(known, _)| *known || !leads) {
                    continue;
                }
                let stream = Stream {
                    account: held.account.clone(),
                    stream: held.stream.clone(),
                    cluster: server.cluster.clone(),
                    messages: held.messages,
                    bytes: held.bytes,
                    leader: held.leader.clone(),
                    replicas: if leads { held.lags.clone() } else { BTreeMap::new() },
                    source_lag: held.source_lag,
                };
                streams.insert(key, (leads, stream));
            }
        }
        streams.into_values().map(|(_, stream)| stream).collect()
    }
}
