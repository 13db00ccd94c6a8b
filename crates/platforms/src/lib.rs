//! What is there, and how to change it: one module a platform, each a [`Platform`](windlass_engine::Platform).

pub mod self_hosted;
