//! The harness of the end-to-end tests: a real fleet of the real binary, in a directory of its own, on free ports.
//!
//! A test starts a [`Fleet`], posts [`Delivery`]s to it as GitHub would, and reads the stream back with a client of its
//! own. [`engine`] plans and applies it, and the servers can be asked for what they are. Whatever a fleet started is ended when it is dropped, by process id. Tests run side by side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::panic)]

mod asked;
pub mod cloudflare;
mod delivery;
pub mod edge;
pub mod edge_fleet;
pub mod engine;
mod examples;
pub mod filestore;
mod fleet;
pub mod furniture;
mod load;
pub mod raw_http;
pub mod s3;
pub mod terraform;
pub mod tools;
pub mod vectors;
mod whole;

pub use asked::{claims, eventually};
pub use delivery::{Answer, Delivery, Github, get, http_client, status};
pub use examples::{assert_as_given, examples, large};
pub use fleet::{Builder, Fleet, Message, signal};
pub use load::{Load, Taken, assert_kept};
pub use rustix::process::Signal;
pub use tools::{free_port, nats_py, nats_server, processes_of, repository, webhook_examples, windlass};
