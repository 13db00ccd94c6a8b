//! What any store must do, as a check that runs against it: plan and apply rely on all of this.

use super::{Store, open, read, save};
use crate::error::Error;
use crate::journal::Entry;
use crate::plan::Do;
use crate::state::{Recorded, State};
use crate::{Address, Kind};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Whose state it is.
const FLEET: &str = "acme";
/// Lines that are written at once.
const AT_ONCE: i64 = 40;

/// Runs the suite. Each call of `another` opens the same place anew, as another process would; it must be empty.
///
/// # Errors
/// The first thing that is not as it must be, in words.
pub async fn check(another: &dyn Fn() -> Result<Box<dyn Store>, Error>) -> Result<(), String> {
    empty(&*said(another())?).await?;
    written_as_a_whole(another).await?;
    locked_by_one(another).await?;
    continued_after_a_kill(another).await?;
    many_lines_at_once(another).await
}

fn said<T>(result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {error}", error.code()))
}

fn expect(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

async fn empty(store: &dyn Store) -> Result<(), String> {
    expect(said(store.load().await)?.is_none(), "there is a state before one was written")?;
    expect(said(store.left_behind().await)?.is_empty(), "there is a journal before one was begun")?;
    said(store.end_journal().await)?;
    expect(!store.place().is_empty(), "it does not say where it is")
}

fn recorded(value: i64, uncertain: bool) -> Recorded {
    Recorded {
        platform: "memory".to_owned(),
        body: json!({ "value": value }),
        depends_on: BTreeSet::new(),
        uncertain,
    }
}

fn stream(name: &str) -> Address {
    Address::new(Kind::Stream, name)
}

async fn written_as_a_whole(another: &dyn Fn() -> Result<Box<dyn Store>, Error>) -> Result<(), String> {
    let store = said(another())?;
    let mut state = State::new(FLEET, "a-lineage".to_owned());
    for value in 1..=3 {
        state.resources.insert(stream("ORDERS"), recorded(value, false));
        said(save(&*store, &mut state).await)?;
        let (there, left) = said(read(&*said(another())?, FLEET).await)?;
        expect(there == state && left == 0, "what was written is not what another reads")?;
    }
    expect(state.serial == 3, "the serial does not grow by one with each write")?;
    let other = read(&*said(another())?, "other").await;
    expect(matches!(other, Err(Error::OtherFleet { .. })), "another fleet gets this one's state")
}

async fn locked_by_one(another: &dyn Fn() -> Result<Box<dyn Store>, Error>) -> Result<(), String> {
    let (one, other) = (said(another())?, said(another())?);
    let refused = |result: Result<_, Error>| match result {
        Err(Error::Locked { purpose, .. }) => {
            expect(purpose == "apply", "whoever waits is not told what the lock is held for")
        }
        Err(error) => Err(format!("a lock that is held gives another error: {error}")),
        Ok(_) => Err("two hold the lock at once".to_owned()),
    };
    let held = said(one.lock("apply", Duration::ZERO).await)?;
    refused(other.lock("destroy", Duration::ZERO).await)?;
    refused(open(&*other, FLEET, "destroy", Duration::from_millis(60)).await.map(|locked| locked.lock))?;
    // Whoever waits gets it when it is free.
    let (waited, ()) = tokio::join!(other.lock("destroy", Duration::from_secs(20)), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(held);
    });
    let waited = said(waited)?;
    waited.release();
    waited.release();
    let again = said(one.lock("apply", Duration::from_secs(5)).await)?;
    drop(waited);
    refused(other.lock("destroy", Duration::ZERO).await)?;
    drop(again);
    Ok(())
}

async fn continued_after_a_kill(another: &dyn Fn() -> Result<Box<dyn Store>, Error>) -> Result<(), String> {
    let begun = |name: &str, value: i64| Entry::Begun {
        address: stream(name),
        what: Do::Create,
        recorded: Some(recorded(value, true)),
    };
    let lines =
        [begun("DONE", 7), Entry::Done { address: stream("DONE") }, begun("BEGUN", 8), begun("ORDERS", 9)];
    {
        let store = said(another())?;
        let _locked = said(open(&*store, FLEET, "apply", Duration::from_secs(5)).await)?;
        let journal = said(store.begin_journal(None).await)?;
        for line in &lines {
            said(journal.write(line).await)?;
        }
        // Here it is killed.
    }
    let wanted = [("DONE", recorded(7, false)), ("BEGUN", recorded(8, true)), ("ORDERS", recorded(9, true))];
    let agrees =
        |state: &State| wanted.iter().all(|(name, one)| state.resources.get(&stream(name)) == Some(one));
    let looker = said(another())?;
    let (state, recovered) = said(read(&*looker, FLEET).await)?;
    expect(agrees(&state) && recovered == lines.len(), "whoever looks does not see what was written down")?;
    let left = said(looker.left_behind().await)?.len();
    expect(left == lines.len(), "looking takes the journal away")?;
    let locked = said(open(&*said(another())?, FLEET, "apply", Duration::from_secs(5)).await)?;
    expect(agrees(&locked.state) && locked.recovered > 0, "the next one does not go on from there")?;
    let serial = locked.state.serial;
    drop(locked);
    let locked = said(open(&*said(another())?, FLEET, "apply", Duration::from_secs(5)).await)?;
    expect(locked.recovered == 0, "what is in the state is gone on from twice")?;
    expect(agrees(&locked.state) && locked.state.serial == serial, "it is not in the state")
}

/// Killed after the state was written and before the journal is gone: nothing changes by that.
async fn many_lines_at_once(another: &dyn Fn() -> Result<Box<dyn Store>, Error>) -> Result<(), String> {
    let (state, names) = {
        let store = said(another())?;
        let mut locked = said(open(&*store, FLEET, "apply", Duration::from_secs(5)).await)?;
        let journal = said(store.begin_journal(None).await)?;
        let names: Vec<String> = (0..AT_ONCE).map(|number| format!("S{number}")).collect();
        let steps = names.iter().zip(0..).map(|(name, value)| {
            let journal = journal.clone();
            let address = stream(name);
            async move {
                let recorded = Some(recorded(value, true));
                let begun = Entry::Begun { address: address.clone(), what: Do::Create, recorded };
                journal.write(&begun).await?;
                journal.write(&Entry::Done { address }).await
            }
        });
        for written in futures::future::join_all(steps).await {
            said(written)?;
        }
        let entries = said(said(another())?.left_behind().await);
        // Who has not loaded the state knows of no journal that is in it, and sees all lines.
        expect(entries?.len() == 2 * names.len(), "lines are missing, or there twice")?;
        let (seen, _) = said(read(&*said(another())?, FLEET).await)?;
        locked.state.resources = seen.resources;
        said(save(&*store, &mut locked.state).await)?;
        (locked.state.clone(), names)
    };
    let certain =
        names.iter().all(|name| state.resources.get(&stream(name)).is_some_and(|one| !one.uncertain));
    expect(certain, "what was done is not known to be done")?;
    let store = said(another())?;
    let locked = said(open(&*store, FLEET, "apply", Duration::from_secs(5)).await)?;
    expect(locked.state.resources == state.resources, "what is in the state already changes it")?;
    said(store.end_journal().await)?;
    said(store.end_journal().await)
}
