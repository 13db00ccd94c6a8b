//! What NATS itself needs: identities, tokens, server configuration, the server process, streams.
//!
//! The crate is a set of small modules that know nothing of fleets or plans, so that `windlass up` and the engine
//! drive the same code. Whatever can be decided without a socket is a pure function with golden files: claims
//! ([`jwt`]), configuration text ([`config`]), what to do about a stream ([`stream`]). I/O sits at the edges:
//! [`keys`] and [`authority`] own files, [`server`] owns the binary and its monitoring port, [`connect`] the client.

pub mod authority;
pub mod certificates;
pub mod config;
pub mod connect;
pub mod consumer;
pub mod creds;
mod error;
mod files;
pub mod jwt;
pub mod keys;
mod names;
pub mod permissions;
pub mod rights;
pub mod server;
pub mod stream;

pub use async_nats;
pub use error::{CODES, Error};
