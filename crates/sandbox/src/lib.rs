//! Local stand-ins for what Windlass talks to in the cloud, for `windlass up` on a laptop and for tests.
//!
//! Never in the way of production: nothing here is used unless somebody starts it. [`r2`] is Cloudflare R2, [`registry`] a
//! registry of container images, and [`cloudflare`] runs Workers and their containers.

pub mod cloudflare;
pub mod r2;
pub mod registry;
