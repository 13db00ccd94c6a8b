//! What can go wrong while reading, each with a stable code.

/// Every code of this module, in order. Each has a page in `docs/errors/`.
pub const CODES: &[&str] = &["WL0350", "WL0351", "WL0352", "WL0353", "WL0354", "WL0355"];

/// Why an event could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no stream of this name, or this user may not see it.
    #[error("there is no stream {stream} here: {cause}")]
    NoStream {
        /// Its name.
        stream: String,
        /// What JetStream says.
        cause: String,
    },
    /// JetStream does not give what is in the stream.
    #[error("the stream {stream} cannot be read: {cause}")]
    Read {
        /// Its name.
        stream: String,
        /// What JetStream says.
        cause: String,
    },
    /// No event in the stream is the one that was asked for.
    #[error("there is no event {wanted} in the stream {stream}")]
    NotFound {
        /// The delivery GUID, or the sequence.
        wanted: String,
        /// The stream.
        stream: String,
    },
    /// The payload that a claim check points at is not there.
    #[error("the payload of delivery {delivery} is not at {reference}: {cause}")]
    PayloadMissing {
        /// The delivery GUID.
        delivery: String,
        /// The claim check.
        reference: String,
        /// What the object store says.
        cause: String,
    },
    /// The payload that a claim check points at is not the one that was stored.
    #[error("the payload of delivery {delivery} at {reference} is not what was stored: {difference}")]
    PayloadDamaged {
        /// The delivery GUID.
        delivery: String,
        /// The claim check.
        reference: String,
        /// What differs.
        difference: String,
    },
    /// The body is not JSON, nor a form with JSON in it.
    #[error("the payload of delivery {delivery} cannot be read: {cause}")]
    Unreadable {
        /// The delivery GUID.
        delivery: String,
        /// Why.
        cause: String,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoStream { .. } => "WL0350",
            Self::Read { .. } => "WL0351",
            Self::NotFound { .. } => "WL0352",
            Self::PayloadMissing { .. } => "WL0353",
            Self::PayloadDamaged { .. } => "WL0354",
            Self::Unreadable { .. } => "WL0355",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::NoStream { .. } => {
                "name it with --stream; check that the credentials belong to the account that has it"
            }
            Self::Read { .. } => {
                "check that NATS is well (`windlass status`) and that this user may read the stream"
            }
            Self::NotFound { .. } => {
                "check the GUID; the event may be older than the stream keeps, or still in the receiver's spool"
            }
            Self::PayloadMissing { .. } => {
                "the bucket may keep objects for a shorter time than the stream keeps messages; redeliver it from GitHub"
            }
            Self::PayloadDamaged { .. } => "someone wrote to the bucket; redeliver the event from GitHub",
            Self::Unreadable { .. } => "its exact bytes are printed by `windlass events show GUID --body`",
        }
    }
}
