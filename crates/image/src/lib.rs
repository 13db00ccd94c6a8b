//! The container image of an edge node: made without Docker, the same to the byte on every machine, and pushed to a
//! registry.
//!
//! ```text
//! program, certificates, environment    what goes in, checked
//! layer, recipe                          ─► two layers and a configuration: pure, the same input gives the same digest
//! layout                                 an OCI layout in a directory: written by rename, verified, looked into
//! unpack                                 a layout's image ─► a root file system, and nothing outside of it
//! push, cloudflare                       a layout's image ─► a registry, and Cloudflare's keys for its own
//! ```
//!
//! The image is `FROM scratch`: one static program, one configuration file, certificates, an empty `/data`. There is no shell
//! in it, and no script: what differs between nodes comes from the environment, which nats-server reads by itself
//! (`docs/decisions/0008-an-image-without-a-shell.md`).

pub mod certificates;
pub mod cloudflare;
mod digest;
mod environment;
mod error;
mod layer;
mod layout;
mod program;
pub mod push;
mod recipe;
mod unpack;

pub use certificates::Certificates;
pub use environment::Environment;
pub use error::Error;
pub use layout::{Described, Image, Layout, Verified, find};
pub use program::{Architecture, Program};
pub use recipe::{CONFIGURATION, Recipe};
pub use unpack::{unpack, unpack_once};

/// Every code of this crate, in order. Each has a page in `docs/errors/`.
pub const CODES: &[&str] = &[
    "WL1030", "WL1031", "WL1032", "WL1033", "WL1034", "WL1035", "WL1036", "WL1037", "WL1038", "WL1039",
    "WL1040", "WL1041", "WL1042", "WL1043", "WL1044", "WL1045",
];
