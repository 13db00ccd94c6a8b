//! Cloudflare: a Worker, its Durable Objects, and nats-server in containers that join a hub as leaf nodes.
//!
//! ```text
//! fleet ─► edge          what the Worker is uploaded with: bindings, settings, secrets. Pure
//!          identity      who the nodes are: the operator's and the accounts' tokens, as they are on this machine
//!          client        Cloudflare's REST API
//!          worker        the Worker's own API, which says what runs inside
//!          platform      seeing, comparing and making, resource by resource
//!          export        the same as files for wrangler and Terraform
//! ```
//!
//! Cloudflare says what it was told, the nodes say what runs: both are compared with what is wanted. Nothing has an
//! identifier of ours: everything is found again by its name, so an apply that was killed makes nothing twice.
//! Cloudflare never shows a secret, so what was set last is remembered as a digest in `cloudflare.json` beside the
//! secrets themselves.

pub mod client;
pub mod edge;
mod error;
pub mod export;
mod hub;
mod identity;
mod ledger;
mod platform;
pub mod worker;

pub use error::Error;
pub use platform::{Cloudflare, Options, Source};

/// The Worker, as it is uploaded: one ES module, made from `edge/src`.
pub const WORKER: &str = include_str!("../../../../edge/dist/worker.js");
/// Leads to the Worker where it does not answer on the account's domain below `workers.dev`.
pub const WORKER_URL_VARIABLE: &str = "CLOUDFLARE_WORKER_URL";
