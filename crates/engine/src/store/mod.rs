//! Where the state is kept, behind a trait: a directory here, an object store elsewhere.

mod directory;

use crate::error::Error;
use crate::journal::{self, Entry, Journal, Probe};
use crate::state::State;
pub use directory::Directory;
use futures::future::BoxFuture;
use std::time::Duration;

/// Held while a fleet is changed; released when dropped, also by the death of its holder.
pub trait Lock: Send + std::fmt::Debug {}

/// A place for one fleet's state.
pub trait Store: Send + Sync {
    /// For people: where it is.
    fn place(&self) -> String;

    /// Takes the lock, and waits up to `wait` for whoever has it.
    fn lock<'a>(&'a self, purpose: &'a str, wait: Duration) -> BoxFuture<'a, Result<Box<dyn Lock>, Error>>;

    /// The state; `None` when there is none yet.
    fn load(&self) -> BoxFuture<'_, Result<Option<State>, Error>>;

    /// Writes the state as a whole. It is the old one or the new one, whenever the machine dies.
    fn save<'a>(&'a self, state: &'a State) -> BoxFuture<'a, Result<(), Error>>;

    /// The lines that a killed apply has left behind.
    ///
    /// # Errors
    /// When they cannot be read.
    fn left_behind(&self) -> Result<Vec<Entry>, Error>;

    /// Begins a journal.
    ///
    /// # Errors
    /// When it cannot be written.
    fn begin_journal(&self, probe: Option<Probe>) -> Result<Journal, Error>;

    /// Ends it: what it says is in the state.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn end_journal(&self) -> Result<(), Error>;
}

/// A state that nobody else changes meanwhile.
#[derive(Debug)]
pub struct Locked {
    /// The state.
    pub state: State,
    /// How many lines a killed apply had left behind; they are in the state now.
    pub recovered: usize,
    _lock: Box<dyn Lock>,
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
        store.end_journal()?;
    }
    Ok(Locked { state, recovered, _lock: lock })
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
    let entries = store.left_behind()?;
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
