//! Reading events back from the stream.
//!
//! [`filter`] says which events are wanted, and as much of it as a subject can express is left to the server.
//! [`Reader`] finds where to begin and reads on from there in the stream's order, over reconnects without a gap or a
//! repetition. [`Payloads`] fetches what a claim check points at, and proves that it is what was stored. [`resign`]
//! makes of a stored event the request that GitHub would send. Nothing here changes the stream.

mod error;
mod feed;
pub mod filter;
pub mod outline;
pub mod pattern;
mod payloads;
mod reader;
pub mod resign;
mod search;
mod stored;

pub use error::{CODES, Error};
pub use filter::Filter;
pub use outline::Outline;
pub use payloads::{Payloads, json};
pub use reader::{Events, Query, Reader, Start};
pub use stored::{Names, StoredEvent};
