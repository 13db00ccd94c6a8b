//! Dated prices × usage → bills, side by side.
//!
//! Pure, and of nothing of ours: a price list goes in as text, a usage as numbers, the day as an argument. What comes out
//! is exact ([`money`]), says where each figure comes from ([`bill`]), and what it leaves out.

pub mod bill;
pub mod curve;
mod error;
pub mod hub;
pub mod measured;
pub mod money;
pub mod platform;
pub mod prices;
mod profile;
pub mod storage;
pub mod svg;
pub mod terminal;
pub mod workload;

pub use bill::{Bill, Line, Provenance, Terms};
pub use error::Error;
pub use money::{Currency, Money};
pub use platform::Platform;
pub use prices::PriceList;
pub use profile::Profile;
pub use rust_decimal::Decimal;
pub use workload::Workload;
