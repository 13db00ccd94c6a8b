//! Where the state is kept, behind a trait.
//!
//! [`Versioned`] is what fleets use: a directory, S3 or R2, with a history and, where there are keys, encrypted.
//! [`Directory`] is the part of it that a directory does by itself: the kernel's lock, and a journal in one file.

pub mod conformance;
mod directory;
mod versioned;

use crate::error::Error;
use crate::journal::{self, Entry, Journal, Probe};
use crate::state::{FORMAT, State};
pub use directory::{Directory, Holder};
use futures::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
pub use versioned::{Restored, Versioned};

/// Held while a fleet is changed; released when dropped. After the death of its holder the next taker on the same machine
/// takes it over.
pub trait Lock: Send + Sync + std::fmt::Debug {
    /// Releases it at once, for whoever ends the process without dropping anything. Twice is the same as once.
    fn release(&self);
}

/// A place for one fleet's state.
///
/// Everything may take a request over the network, so everything is asynchronous.
pub trait Store: Send + Sync {
    /// For people: where it is.
    fn place(&self) -> String;

    /// Takes the lock, and waits up to `wait` for whoever has it.
    fn lock<'a>(&'a self, purpose: &'a str, wait: Duration) -> BoxFuture<'a, Result<Arc<dyn Lock>, Error>>;

    /// The state; `None` when there is none yet.
    fn load(&self) -> BoxFuture<'_, Result<Option<State>, Error>>;

    /// Writes the state as a whole. It is the old one or the new one, whenever the machine dies.
    fn save<'a>(&'a self, state: &'a State) -> BoxFuture<'a, Result<(), Error>>;

    /// The lines that a killed apply has left behind, and that are not in the state that was loaded.
    fn left_behind(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>>;

    /// Begins a journal.
    fn begin_journal(&self, probe: Option<Probe>) -> BoxFuture<'_, Result<Journal, Error>>;

    /// Ends it: what it says is in the state.
    fn end_journal(&self) -> BoxFuture<'_, Result<(), Error>>;
}

/// A state that nobody else changes meanwhile.
#[derive(Debug)]
pub struct Locked {
    /// The state.
    pub state: State,
    /// How many lines a killed apply had left behind; they are in the state now.
    pub recovered: usize,
    /// What keeps the others out.
    pub lock: Arc<dyn Lock>,
}

/// The state in a text; `path` is where it was, for people.
pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<State, Error> {
    let unreadable = |reason: String| Error::StateUnreadable { path: path.to_owned(), reason };
    let state: State = serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))?;
    if state.format > FORMAT {
        return Err(unreadable(format!("its format {} is of a later version", state.format)));
    }
    Ok(state)
}

/// Locks the state of `fleet` and brings it up to what a killed apply has left behind.
///
/// # Errors
/// When it is locked, unreadable or another fleet's.
pub async fn open(store: &dyn Store, fleet: &str, purpose: &str, wait: Duration) -> Result<Locked, Error> {
    let lock = store.lock(purpose, wait).await?;
    let (state, recovered) = read(store, fleet).await?;
    let mut state = state;
    if recovered > 0 {
        save(store, &mut state).await?;
        store.end_journal().await?;
    }
    Ok(Locked { state, recovered, lock })
}

/// The state as it is, without a lock and without writing: for looking.
///
/// # Errors
/// When it is unreadable or another fleet's.
pub async fn read(store: &dyn Store, fleet: &str) -> Result<(State, usize), Error> {
    let mut state = match store.load().await? {
        Some(state) => state,
        None => State::new(fleet, uuid::Uuid::new_v4().to_string()),
    };
    if state.fleet != fleet {
        return Err(Error::OtherFleet {
            path: store.place().into(),
            found: state.fleet,
            wanted: fleet.to_owned(),
        });
    }
    let entries = store.left_behind().await?;
    let recovered = entries.len();
    journal::replay(&mut state, entries);
    Ok((state, recovered))
}

/// Saves a changed state under the next serial.
///
/// # Errors
/// When the store refuses.
pub async fn save(store: &dyn Store, state: &mut State) -> Result<(), Error> {
    state.serial += 1;
    store.save(state).await
}
