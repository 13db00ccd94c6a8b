//! `windlass down`: ends exactly what `up` began.
//!
//! A supervisor that lives is asked to end and stops its parts itself. One that was killed has left its parts behind;
//! they are found through `run.json` and stopped here. The data stays.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::output;
use crate::run_directory::{Attempt, Holder, Lock, RunDirectory};
use crate::run_record::{RunRecord, SUPERVISOR};
use crate::supervisor::{self, STOP_WITHIN};

const LOOK: Duration = Duration::from_millis(5);

const EXAMPLES: &str = "\
Examples:
  windlass down
  windlass down --directory /srv/windlass

Data, secrets and logs stay in the directory; the next `windlass up` goes on with them.";

/// Arguments of `windlass down`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let stopped = if directory.exists() { end(&directory).await? } else { Vec::new() };
    if context.json() {
        let pids: serde_json::Map<String, serde_json::Value> =
            stopped.into_iter().map(|(part, pid)| (part, pid.into())).collect();
        output::json(&serde_json::json!({ "stopped": pids }))?;
    } else if !context.quiet() {
        let mut out = output::out();
        if stopped.is_empty() {
            writeln!(out, "nothing is running in {}", directory.root().display())?;
        } else {
            let parts: Vec<String> =
                stopped.iter().map(|(part, pid)| format!("{part} (pid {pid})")).collect();
            writeln!(out, "stopped {}", parts.join(", "))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends the run of a directory, and says which processes it stopped.
async fn end(directory: &RunDirectory) -> Result<Vec<(String, u32)>, Error> {
    let (_lock, mut stopped) = take_over(directory).await?;
    if let Some(record) = RunRecord::read(directory) {
        for (part, pid) in supervisor::stop_leftovers(&record).await? {
            // A supervisor that had to be killed left them; it was said already that they end.
            if !stopped.iter().any(|(_, known)| *known == pid) {
                stopped.push((part, pid));
            }
        }
        let _ = std::fs::remove_file(directory.run_file());
    }
    Ok(stopped)
}

/// Ends the supervisor, if there is one, and takes its lock, so that nobody starts anything meanwhile.
async fn take_over(directory: &RunDirectory) -> Result<(Lock, Vec<(String, u32)>), Error> {
    let deadline = Instant::now() + STOP_WITHIN;
    let mut asked: Option<Holder> = None;
    let mut stopped = Vec::new();
    loop {
        match directory.lock(&Timestamp::now().to_string())? {
            Attempt::Locked(lock) => return Ok((lock, stopped)),
            Attempt::Held(None) => {}
            Attempt::Held(Some(holder)) => {
                let is_new = asked.as_ref().is_none_or(|asked| asked.process != holder.process);
                if is_new {
                    stopped = processes(directory, &holder);
                    holder.process.ask_to_end();
                    asked = Some(holder);
                }
            }
        }
        if Instant::now() >= deadline {
            let Some(holder) = asked.take() else {
                let lock = directory.root().join("lock");
                let cause = std::io::ErrorKind::WouldBlock.into();
                return Err(Error::Directory { action: "lock", path: lock, cause });
            };
            holder.process.signal(Signal::KILL);
            if !holder.process.wait(Duration::from_secs(5)).await {
                return Err(Error::NotStopped { part: SUPERVISOR.into(), pid: holder.process.pid });
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What the holder of the lock runs: it and its parts.
fn processes(directory: &RunDirectory, holder: &Holder) -> Vec<(String, u32)> {
    let record = RunRecord::read(directory)
        .filter(|record| record.processes.get(SUPERVISOR).is_some_and(|process| *process == holder.process));
    match record {
        Some(record) => record.alive().into_iter().map(|(part, process)| (part, process.pid)).collect(),
        None => vec![(SUPERVISOR.to_owned(), holder.process.pid)],
    }
}
