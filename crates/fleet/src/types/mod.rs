//! The types of single values: each knows how it is written, what it accepts, and what to say when it does not.

mod bytes;
mod names;
mod period;
mod places;
mod secret;
mod subject;
mod subject_set;

pub use bytes::Bytes;
pub use names::{EventName, FleetName, Host, Name, Organization};
pub use period::{Period, Sync};
pub use places::{Endpoint, HostName, StoreAddress, Version, WebSocketUrl};
pub use secret::SecretSource;
pub use subject::{Line, Subject, SubjectPattern};
pub(crate) use subject_set::SubjectSet;

use std::fmt;

/// Why a text is not a value of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The stable code.
    pub code: &'static str,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

impl Invalid {
    pub(crate) fn new(code: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Invalid {}

/// `Display` and `FromStr` as the file writes them.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&crate::value::Text::to_text(self))
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::types::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                <$name as crate::value::Text>::from_text(text)
            }
        }
    )*};
}
pub(crate) use as_text;
