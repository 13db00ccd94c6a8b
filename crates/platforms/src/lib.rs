//! What is there, and how to change it: one module a platform, each a [`Platform`](windlass_engine::Platform).

pub mod cloudflare;
pub mod self_hosted;
