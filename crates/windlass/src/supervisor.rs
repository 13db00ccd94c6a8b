//! Keeps a run alive: owns its processes, starts a dead one again, and stops all of them in order.
//!
//! Each part is a process of its own in a process group of its own: each can die and come back alone, and a Ctrl-C at
//! the terminal reaches the supervisor only, which then stops the receiver (which finishes what it has begun to
//! take) before nats-server. A part is never restarted for being slow: a paused server is waited for, since
//! killing it would be one more failure.
//!
//! Whenever a process changes, `run.json` is rewritten, so that a supervisor that is killed leaves a true record behind
//! for the next `up` or `down`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::failure::Error;
use crate::jetstream_watch::{self, JetStreamWatch};
use crate::process::Identity;
use crate::run_directory::RunDirectory;
use crate::run_record::{RECEIVER, RunRecord, State};

/// How long the receiver may take to finish what it has begun: GitHub waits ten seconds for its answer.
const RECEIVER_GRACE: Duration = Duration::from_secs(12);
/// How long nats-server may take to write what it holds.
const NATS_GRACE: Duration = Duration::from_secs(15);

/// How long a part may take to end when asked to.
pub fn grace(part: &str) -> Duration {
    if part == RECEIVER { RECEIVER_GRACE } else { NATS_GRACE }
}

/// The longest that stopping a whole run can take.
pub const STOP_WITHIN: Duration = Duration::from_secs(12 + 15 + 10);

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM (as `down` sends), or the terminal went away.
    Terminated,
}

/// The signals that end a run.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    /// Takes over the signals; from here on they no longer end the process by themselves.
    pub fn take() -> Result<Self, Error> {
        let take = |kind| {
            signal(kind)
                .map_err(|cause| Error::Environment { what: "signal handling", cause: cause.to_string() })
        };
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Interrupted,
            _ = self.terminate.recv() => End::Terminated,
            _ = self.hangup.recv() => End::Terminated,
        }
    }
}

/// What to run as a part.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The part's name.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments. They name files with secrets, never secrets.
    pub arguments: Vec<OsString>,
    /// Where it logs by itself, if not to what it is given as standard output and error.
    pub log: Option<PathBuf>,
    /// Whether it still stores, where it is a nats-server.
    pub jetstream: Option<JetStreamWatch>,
}

impl Spec {
    /// The log to look into when something is wrong with it.
    pub fn log(&self, directory: &RunDirectory) -> PathBuf {
        self.log.clone().unwrap_or_else(|| directory.log(self.name))
    }
}

/// A part of the run: a process that is wanted, whether it runs right now or not.
#[derive(Debug)]
pub struct Part {
    spec: Spec,
    child: Option<Child>,
    began: Instant,
    backoff: Backoff,
    restart_at: Instant,
}

/// What happened to a part.
#[derive(Debug)]
enum Turn {
    Ended(Option<ExitStatus>),
    RestartDue,
}

impl Part {
    /// Starts the part's process.
    pub fn start(directory: &RunDirectory, spec: Spec) -> Result<(Self, Option<Identity>), Error> {
        let (child, identity) = spawn(directory, &spec, true)?;
        let now = Instant::now();
        let part =
            Self { spec, child: Some(child), began: now, backoff: Backoff::default(), restart_at: now };
        Ok((part, identity))
    }

    /// Waits until the process ends, and says how. For the time before the supervisor watches.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        match self.child.as_mut() {
            Some(child) => child.wait().await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Waits for what happens next. May be dropped and called again without loss.
    async fn turn(&mut self) -> Turn {
        match self.child.as_mut() {
            Some(child) => Turn::Ended(child.wait().await.ok()),
            None => {
                sleep_until(self.restart_at).await;
                Turn::RestartDue
            }
        }
    }
}

/// A run: its directory, its record and its parts, in the order in which they were started.
#[derive(Debug)]
pub struct Run {
    /// Where it runs.
    pub directory: RunDirectory,
    /// What is written to `run.json`.
    pub record: RunRecord,
    /// Its parts.
    pub parts: Vec<Part>,
}

impl Run {
    /// Starts a part and records its process.
    pub fn start(&mut self, spec: Spec) -> Result<&mut Part, Error> {
        let name = spec.name;
        let (part, identity) = Part::start(&self.directory, spec)?;
        let position = self.parts.len();
        self.parts.push(part);
        self.record_process(name, identity);
        self.record.write(&self.directory)?;
        Ok(&mut self.parts[position])
    }

    fn record_process(&mut self, name: &str, identity: Option<Identity>) {
        match identity {
            Some(identity) => self.record.processes.insert(name.to_owned(), identity),
            None => self.record.processes.remove(name),
        };
    }

    /// A record that cannot be written (the disk is full) is no reason to stop: the run goes on, and says so.
    fn write_record(&self) {
        if let Err(error) = self.record.write(&self.directory) {
            tracing::warn!(%error, "run.json is out of date");
        }
    }

    /// Keeps every part running until a signal asks to end.
    pub async fn watch(&mut self, signals: &mut Signals) -> End {
        let mut looks = tokio::time::interval(jetstream_watch::INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (position, turn) = tokio::select! {
                end = signals.next() => return end,
                next = next_turn(&mut self.parts) => next,
                _ = looks.tick() => {
                    self.look_after_jetstream().await;
                    continue;
                }
            };
            match turn {
                Turn::Ended(status) => self.note_end(position, status),
                Turn::RestartDue => self.restart(position),
            }
        }
    }

    /// Asks a nats-server to end that stores nothing more; it is then started again as any part that ends.
    async fn look_after_jetstream(&mut self) {
        for part in &mut self.parts {
            let (Some(watch), Some(child)) = (&mut part.spec.jetstream, &part.child) else { continue };
            if watch.is_restart_due().await
                && let Some(identity) = child.id().and_then(Identity::of)
            {
                tracing::warn!(
                    part = part.spec.name,
                    "it has given up storing, as it does on a full disk; there is room now: starting it again"
                );
                watch.started();
                identity.ask_to_end();
            }
        }
    }

    fn note_end(&mut self, position: usize, status: Option<ExitStatus>) {
        let part = &mut self.parts[position];
        let lived = part.began.elapsed();
        let wait = part.backoff.after(lived);
        part.child = None;
        part.restart_at = Instant::now() + wait;
        let name = part.spec.name;
        tracing::warn!(part = name, status = %told(status), lived = ?lived, restart_in = ?wait, "ended, starting it again");
        if wait.is_zero() {
            // One record is written for the death and the restart together.
            self.restart(position);
        } else {
            self.record_process(name, None);
            self.write_record();
        }
    }

    fn restart(&mut self, position: usize) {
        let part = &mut self.parts[position];
        let name = part.spec.name;
        part.began = Instant::now();
        if let Some(watch) = &mut part.spec.jetstream {
            watch.started();
        }
        match spawn(&self.directory, &part.spec, false) {
            Ok((child, identity)) => {
                tracing::info!(part = name, pid = child.id(), "started again");
                part.child = Some(child);
                self.record_process(name, identity);
            }
            Err(error) => {
                let wait = part.backoff.after(Duration::ZERO);
                tracing::error!(part = name, %error, retry_in = ?wait, "could not be started again");
                part.restart_at = Instant::now() + wait;
                self.record_process(name, None);
            }
        }
        self.write_record();
    }

    /// Stops every part, the last started first. Another signal meanwhile kills what is left.
    pub async fn stop(&mut self, signals: &mut Signals) {
        self.record.state = State::Stopping;
        self.write_record();
        let mut forced = false;
        while let Some(mut part) = self.parts.pop() {
            let Some(mut child) = part.child.take() else { continue };
            let name = part.spec.name;
            let Some(identity) = child.id().and_then(Identity::of) else { continue };
            if !forced {
                identity.ask_to_end();
                tokio::select! {
                    ended = timeout(grace(name), child.wait()) => match ended {
                        Ok(status) => {
                            tracing::info!(part = name, status = %told(status.ok()), "stopped");
                            continue;
                        }
                        Err(_) => tracing::warn!(part = name, "did not end in time, killing it"),
                    },
                    _ = signals.next() => {
                        tracing::warn!(part = name, "asked a second time, killing it");
                        forced = true;
                    }
                }
            }
            identity.signal(Signal::KILL);
            let _ = child.wait().await;
        }
    }
}

/// How a process ended, in words.
pub fn told(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "it ended in an unknown way".to_owned(), |status| status.to_string())
}

async fn next_turn(parts: &mut [Part]) -> (usize, Turn) {
    let turns = parts.iter_mut().map(|part| Box::pin(part.turn()));
    let (turn, position, _) = futures::future::select_all(turns).await;
    (position, turn)
}

fn spawn(directory: &RunDirectory, spec: &Spec, fresh: bool) -> Result<(Child, Option<Identity>), Error> {
    let failed = |cause: std::io::Error| Error::NotStarted {
        part: spec.name,
        cause: format!("{}: {cause}", spec.program.display()),
        log: directory.log(spec.name),
    };
    let log = directory.open_log(spec.name, fresh)?;
    let errors = log.try_clone().map_err(failed)?;
    let child = Command::new(&spec.program)
        .args(&spec.arguments)
        // The secret is in a file that the part is told about.
        .env_remove(crate::secrets::VARIABLE)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let identity = child.id().and_then(Identity::of);
    Ok((child, identity))
}

/// Stops what a run left behind whose supervisor is gone, and says what it was.
pub async fn stop_leftovers(record: &RunRecord) -> Result<Vec<(String, u32)>, Error> {
    let mut stopped = Vec::new();
    for (part, process) in record.alive() {
        match process.stop(grace(&part)).await {
            Some(_) => stopped.push((part, process.pid)),
            None => return Err(Error::NotStopped { part, pid: process.pid }),
        }
    }
    Ok(stopped)
}
