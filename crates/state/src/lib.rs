//! Versioned, locked, optionally encrypted state in a directory, on S3 and on R2; and Terraform's state in particular.
//!
//! ```text
//! migrate, restore, rekey, verify      Terraform's state: what a person asks for
//!         │
//! store                                a state with its lock, its history and its encryption
//!         │
//! blobs                                named objects with conditional writes: Directory, Bucket
//! ```
//!
//! [`blobs::Blobs`] is the trait to implement for another place; [`store::Store`] is what the rest works with.

pub mod blobs;
pub mod connections;
pub mod error;
pub mod keys;
mod local_lock;
pub mod location;
pub mod lock;
mod locks;
pub mod migrate;
pub mod rekey;
pub mod restore;
mod room;
pub mod serve;
pub mod store;
pub mod terraform;
pub mod verify;

pub use error::Error;
