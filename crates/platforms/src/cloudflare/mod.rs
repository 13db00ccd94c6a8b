//! Cloudflare.

pub mod client;
