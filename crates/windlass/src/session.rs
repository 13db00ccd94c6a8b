//! One run from its lock to its end: what `up` does in the foreground and `supervise` in the background.
//!
//! lock → stop what a killed supervisor left behind → start the parts → say that all is ready → keep them running until
//! a signal → stop them in order. A signal is honoured at every one of these moments.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::failure::{Error, Failure};
use crate::fleet_file::Loaded;
use crate::process::Identity;
use crate::run_directory::{Attempt, Holder, Lock, RunDirectory};
use crate::run_record::{Endpoints, RunRecord, SUPERVISOR, State};
use crate::supervisor::{self, End, Run, Signals};
use crate::{ports, start};

/// How long the holder of a lock may take to write who it is.
const NAMED_WITHIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// Why there was no run.
#[derive(Debug)]
pub enum Refused {
    /// Someone else runs in this directory.
    Held(Option<Holder>),
    /// Something failed. Nothing is left running.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs `loaded` in `directory` until a signal ends it. `ready` is called once, when every part is ready, with notes
/// for the person.
pub async fn run(
    directory: &RunDirectory,
    loaded: &Loaded,
    ready: impl FnOnce(&RunRecord, &[String]),
) -> Result<End, Refused> {
    let mut signals = Signals::take()?;
    directory.create()?;
    let since = Timestamp::now();
    let since = since.round(jiff::Unit::Second).unwrap_or(since).to_string();
    let _lock = lock(directory, &since).await?;
    let mut notes = Vec::new();
    if let Some(left) = RunRecord::read(directory) {
        for (part, pid) in supervisor::stop_leftovers(&left).await? {
            tracing::warn!(part, pid, "stopped what an earlier run had left behind");
            notes.push(format!("stopped {part} (pid {pid}), left behind by an earlier run"));
        }
    }
    let mut run = Run { directory: directory.clone(), record: record(loaded, since), parts: Vec::new() };
    // Held until the end, so that a part that is being restarted finds its port free.
    let mut reservations = ports::Reservations::default();
    let started = tokio::select! {
        started = start::start(&mut run, &loaded.wanted, &mut reservations) => started,
        end = signals.next() => {
            tracing::info!("stopped while starting");
            Err(match end {
                End::Interrupted => Failure::from(Error::Interrupted).exit_with(crate::failure::INTERRUPTED),
                End::Terminated => Error::Interrupted.into(),
            })
        }
    };
    let end = match started {
        Ok(more) => {
            notes.extend(more);
            run.record.state = State::Running;
            run.record.write(directory)?;
            tracing::info!(fleet = run.record.fleet, "everything is ready");
            ready(&run.record, &notes);
            let end = run.watch(&mut signals).await;
            tracing::info!(?end, "stopping");
            Ok(end)
        }
        Err(failure) => Err(Refused::Failed(failure)),
    };
    run.stop(&mut signals).await;
    let _ = std::fs::remove_file(directory.run_file());
    tracing::info!("stopped");
    end
}

async fn lock(directory: &RunDirectory, since: &str) -> Result<Lock, Refused> {
    let deadline = Instant::now() + NAMED_WITHIN;
    loop {
        match directory.lock(since)? {
            Attempt::Locked(lock) => return Ok(lock),
            Attempt::Held(None) if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
            Attempt::Held(holder) => return Err(Refused::Held(holder)),
        }
    }
}

fn record(loaded: &Loaded, since: String) -> RunRecord {
    let supervisor = Identity::of(std::process::id());
    RunRecord {
        windlass: env!("CARGO_PKG_VERSION").to_owned(),
        state: State::Starting,
        since,
        fleet: loaded.wanted.fleet.clone(),
        file: loaded.path.as_ref().map(|path| path.display().to_string()),
        digest: loaded.digest.clone(),
        stream: loaded.wanted.receiver.as_ref().map(|receiver| receiver.stream.clone()),
        endpoints: Endpoints::default(),
        processes: supervisor.into_iter().map(|process| (SUPERVISOR.to_owned(), process)).collect(),
    }
}
