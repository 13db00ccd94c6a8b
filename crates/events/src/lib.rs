//! GitHub's webhooks into JetStream: each event exactly once, none lost.
//!
//! The way of an event: [`signature`] proves who sent it, [`payload`] finds the few names in it, [`subject`] and
//! [`headers`] say how it is stored, [`publish`] hands it to JetStream, [`spool`] keeps it on disk while JetStream
//! cannot take it, and [`receiver`] is the HTTP service around them. What is written down in `docs/events.md`
//! and in `tests/vectors/` is decided by the first four, which are pure.

pub mod claim_check;
pub mod consume;
pub mod event;
pub mod headers;
pub mod metrics;
pub mod payload;
pub mod publish;
pub mod receiver;
pub mod refusal;
pub mod signature;
pub mod spool;
pub mod subject;
