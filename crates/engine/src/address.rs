//! What a resource is called: `stream.GITHUB`, `server.hub-0`, `user.GITHUB/receiver`.
//!
//! An address is stable: it comes from the names in the fleet file and from nothing else, so that a plan of today and
//! the state of last month speak of the same thing.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What kind of thing a resource is, in the order in which people think of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who signs the accounts: one for each fleet.
    Operator,
    /// One nats-server.
    Server,
    /// Servers that act as one.
    Cluster,
    /// An account.
    Account,
    /// A user of an account.
    User,
    /// A stream.
    Stream,
    /// A key-value bucket.
    Kv,
    /// An object bucket.
    Objects,
    /// A consumer of a stream.
    Consumer,
    /// The HTTP endpoint for webhooks.
    Receiver,
    /// An R2 bucket.
    Bucket,
    /// A namespace of Workers KV.
    Namespace,
    /// A Worker with its Durable Objects.
    Worker,
    /// A secret of a Worker.
    Secret,
    /// An application of Cloudflare's containers.
    Container,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Operator,
        Self::Server,
        Self::Cluster,
        Self::Account,
        Self::User,
        Self::Stream,
        Self::Kv,
        Self::Objects,
        Self::Consumer,
        Self::Receiver,
        Self::Bucket,
        Self::Namespace,
        Self::Worker,
        Self::Secret,
        Self::Container,
    ];

    /// As it stands in an address.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Account => "account",
            Self::User => "user",
            Self::Stream => "stream",
            Self::Kv => "kv",
            Self::Objects => "objects",
            Self::Consumer => "consumer",
            Self::Receiver => "receiver",
            Self::Bucket => "bucket",
            Self::Namespace => "namespace",
            Self::Worker => "worker",
            Self::Secret => "secret",
            Self::Container => "container",
        }
    }

    /// Whether one of these is inside what it needs of that kind, and goes when that is deleted.
    #[must_use]
    pub const fn is_inside(self, other: Self) -> bool {
        matches!((self, other), (Self::Consumer, Self::Stream) | (Self::Secret, Self::Worker))
    }

    /// Whether deleting one deletes what users have stored in it. A Worker holds events that are on their way.
    #[must_use]
    pub const fn holds_data(self) -> bool {
        matches!(self, Self::Stream | Self::Kv | Self::Objects | Self::Bucket | Self::Worker)
    }

    /// What it holds, one of them.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Bucket => "object",
            Self::Worker => "event",
            _ => "message",
        }
    }
}

/// A resource's name in plans, in the state and on the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub name: String,
}

impl Address {
    /// The address of the `kind` called `name`.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind.as_str(), self.name)
    }
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address: one looks like stream.GITHUB or server.hub-0")]
pub struct NoAddress(pub String);

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NoAddress(text.to_owned());
        let (kind, name) = text.split_once('.').filter(|(_, name)| !name.is_empty()).ok_or_else(wrong)?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or_else(wrong)?;
        Ok(Self::new(kind, name))
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            for name in ["hub-0", "GITHUB/receiver", "a.b"] {
                let address = Address::new(kind, name);
                assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
        for text in ["", "stream", "stream.", ".x", "streams.X"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
