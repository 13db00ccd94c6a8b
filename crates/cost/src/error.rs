//! What can go wrong, with stable codes.

use crate::Currency;

/// Why there is no figure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Amounts of two currencies met in a sum.
    #[error("{place}{one} and {other} cannot be added up")]
    Mixed {
        /// One of them.
        one: Currency,
        /// The other.
        other: Currency,
        /// Where, with a colon behind it: the entry and its list; nothing where that is not known.
        place: String,
    },
    /// A number beyond 28 digits.
    #[error("the figure is too large to be counted exactly")]
    TooLarge,
    /// A price list that cannot be read.
    #[error("{name} cannot be read as a price list: {reason}")]
    List {
        /// The list's name: a file, or the built-in one.
        name: String,
        /// Why not.
        reason: String,
    },
    /// An entry of a price list that says too little, or what cannot be.
    #[error("{name}: {id}: {reason}")]
    Entry {
        /// The list's name.
        name: String,
        /// The entry.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A calculation needs a price that the list does not have.
    #[error("the price list has no {id}")]
    NoPrice {
        /// The entry.
        id: String,
    },
    /// Two currencies are to be compared, and the list has no rate for them.
    #[error("the price list has no rate from {from} to {to}")]
    NoRate {
        /// From which.
        from: Currency,
        /// To which.
        to: Currency,
    },
    /// A usage that cannot be.
    #[error("{what} cannot be {value}")]
    Usage {
        /// Of what.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// An amount of money that cannot be read.
    #[error("`{text}` is no amount of money")]
    Amount {
        /// What was given.
        text: String,
    },
    /// A currency that is not known here.
    #[error("`{text}` is no currency that is known here")]
    Currency {
        /// What was given.
        text: String,
    },
}

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Mixed { .. } => "WL0901",
            Self::TooLarge => "WL0902",
            Self::List { .. } => "WL0903",
            Self::Entry { .. } => "WL0904",
            Self::NoPrice { .. } => "WL0905",
            Self::NoRate { .. } => "WL0906",
            Self::Usage { .. } => "WL0907",
            Self::Amount { .. } => "WL0908",
            Self::Currency { .. } => "WL0909",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Mixed { .. } => {
                "let every amount be of one currency; a list's rate converts one to the other".into()
            }
            Self::TooLarge => "check the usage: it is beyond what any bill could be".into(),
            Self::List { .. } => {
                "`windlass cost prices --format json` shows the form; docs/cost.md explains it".into()
            }
            Self::Entry { .. } => "correct the entry; numbers are strings, such as price = \"0.015\"".into(),
            Self::NoPrice { id } => format!("add a [[price]] with id = \"{id}\" to your price list"),
            Self::NoRate { from, to } => {
                format!("add a [[rate]] from = \"{from}\", to = \"{to}\" to your price list")
            }
            Self::Usage { .. } => "give a number from 0 up; a share is at most 100 percent".into(),
            Self::Amount { .. } => "write it as 50USD or 12.50EUR".into(),
            Self::Currency { .. } => "write USD or EUR".into(),
        }
    }
}
