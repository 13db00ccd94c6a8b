//! S3 servers and what they must do: the conformance suite that the local R2, Cloudflare's own local R2 and SeaweedFS run.
//!
//! The cases are data: `tests/vectors/r2.json`. They say what R2 does, as far as its documents and Cloudflare's own local
//! implementation say it. [`cases`] runs one against a server, [`race`] lets many writers meet at one key, [`servers`]
//! starts the servers, and [`sigv4`] signs, apart from any SDK, also wrongly.

pub mod cases;
pub mod race;
pub mod servers;
pub mod sigv4;
