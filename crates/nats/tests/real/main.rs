//! Tests against a real nats-server. Without one they fail, and say how to get it.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod config;
mod losses;
mod permissions;
mod process;
mod server;
mod streams;
