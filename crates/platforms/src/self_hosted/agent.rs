//! The agent: keeps the wanted parts of this machine running, and outlives the command that wanted them.
//!
//! Whoever wants a process writes a file ([`Part`]) and knocks (SIGUSR1); the agent makes what runs what the files say
//! and writes down what that is. A part that ends is started again, with growing pauses; one that is slow is left
//! alone, since killing it would be one more failure. Each part is a process in a group of its own: a Ctrl-C at a
//! terminal does not reach it. If the agent itself is killed, its parts go on; the next agent takes them over by
//! their recorded identity, without a restart.

use super::backoff::Backoff;
use super::jetstream_watch::{self, JetStreamWatch};
use super::part::{self, Kind, Part, Places, Running, Status};
use super::process::Identity;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};
use windlass_nats::server::Monitor;

/// How often parts that are no children are looked at, and files that nobody knocked for.
const LOOK: Duration = Duration::from_millis(250);
/// A log that has grown beyond this is put aside when its process is started.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// What is ended before what: who sends first, who stores last.
pub(super) const END_ORDER: [Kind; 4] = [Kind::Receiver, Kind::Cloudflare, Kind::Server, Kind::R2];

/// How long a part may take to end when asked to. The receiver finishes what GitHub waits for; nats-server writes what it
/// holds.
#[must_use]
pub fn grace(kind: Kind) -> Duration {
    match kind {
        Kind::Receiver => Duration::from_secs(12),
        Kind::Server | Kind::Cloudflare => Duration::from_secs(15),
        Kind::R2 => Duration::from_secs(8),
    }
}

/// What told the agent to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM, or the terminal went away.
    Terminated,
}

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one runs in this directory.
    #[error("an agent runs here already")]
    Held,
    /// The directory cannot be used.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One part and its process.
struct Kept {
    part: Part,
    child: Option<Child>,
    process: Option<Identity>,
    began: Instant,
    backoff: Backoff,
    start_at: Option<Instant>,
    restarts: u64,
    ended: Option<String>,
    /// What takes its place as soon as it has sent its clients away, or this instant has come.
    next: Option<(Part, Instant)>,
    jetstream: Option<JetStreamWatch>,
}

impl Kept {
    fn new(part: Part) -> Self {
        let jetstream = part
            .monitor
            .zip(part.store.clone())
            .map(|(monitor, store)| JetStreamWatch::new(Monitor::new(monitor), store));
        Self {
            part,
            child: None,
            process: None,
            began: Instant::now(),
            backoff: Backoff::default(),
            start_at: Some(Instant::now()),
            restarts: 0,
            ended: None,
            next: None,
            jetstream,
        }
    }

    /// What is to run: this, or what is about to take its place.
    fn wanted(&self) -> &Part {
        self.next.as_ref().map_or(&self.part, |(part, _)| part)
    }

    /// Lets it send its clients away, and the other one take its place then. False when it cannot.
    fn hand_over(&mut self, part: &Part) -> bool {
        let Some((drain, process)) = self.part.drain.zip(self.process.as_ref()) else { return false };
        if self.next.is_none() && !process.signal(Signal::USR2) {
            return false;
        }
        tracing::info!(part = self.part.name, seconds = drain, "sends its clients away");
        let until = Instant::now() + Duration::from_secs(drain) + grace(self.part.kind);
        self.next = Some((part.clone(), until));
        true
    }

    fn start(&mut self, places: &Places) {
        self.began = Instant::now();
        self.start_at = None;
        if let Some(watch) = &mut self.jetstream {
            watch.started();
        }
        match spawn(places, &self.part) {
            Ok(child) => {
                self.process = child.id().and_then(Identity::of);
                self.child = Some(child);
                tracing::info!(
                    part = self.part.name,
                    pid = self.process.as_ref().map(|one| one.pid),
                    "started"
                );
            }
            Err(error) => {
                tracing::error!(part = self.part.name, %error, "could not be started");
                self.note_end(error.to_string());
            }
        }
    }

    fn note_end(&mut self, how: String) {
        if let Some((part, _)) = self.next.take() {
            tracing::info!(part = part.name, "ended, and another takes its place");
            let restarts = self.restarts;
            *self = Self::new(part);
            self.restarts = restarts;
            return;
        }
        let lived = self.began.elapsed();
        let wait = self.backoff.after(lived);
        tracing::warn!(part = self.part.name, how, ?lived, restart_in = ?wait, "ended");
        self.child = None;
        self.process = None;
        self.ended = Some(how);
        self.restarts += 1;
        self.start_at = Some(Instant::now() + wait);
    }

    /// Notices an end; true when something changed.
    fn look(&mut self) -> bool {
        if let Some(process) = self.process.as_ref()
            && let Some((_, until)) = &mut self.next
            && Instant::now() >= *until
        {
            // First asked, then made to.
            tracing::warn!(part = self.part.name, "has not sent its clients away in time");
            if self.ended.replace("it is overdue".to_owned()).is_none() {
                process.ask_to_end();
            } else {
                process.signal(Signal::KILL);
            }
            *until = Instant::now() + grace(self.part.kind);
        }
        if let Some(child) = &mut self.child {
            return match child.try_wait() {
                Ok(None) => false,
                Ok(Some(status)) => {
                    self.note_end(status.to_string());
                    true
                }
                Err(error) => {
                    self.note_end(error.to_string());
                    true
                }
            };
        }
        let gone = self.process.as_ref().is_some_and(|process| !process.is_alive());
        if gone {
            self.note_end("it ended".to_owned());
        }
        gone
    }

    async fn stop(&mut self) {
        self.start_at = None;
        let Some(process) = self.process.take() else { return };
        let name = &self.part.name;
        process.ask_to_end();
        let ended = match &mut self.child {
            Some(child) => tokio::time::timeout(grace(self.part.kind), child.wait()).await.is_ok(),
            None => process.wait(grace(self.part.kind)).await,
        };
        if !ended {
            tracing::warn!(part = name, "did not end in time, killing it");
            process.signal(Signal::KILL);
            match &mut self.child {
                Some(child) => drop(child.wait().await),
                None => drop(process.wait(Duration::from_secs(5)).await),
            }
        }
        self.child = None;
        tracing::info!(part = name, "stopped");
    }

    fn running(&self) -> Running {
        Running {
            part: self.part.clone(),
            process: self.process.clone(),
            restarts: self.restarts,
            ended: self.ended.clone(),
        }
    }
}

struct Agent {
    places: Places,
    since: String,
    kept: BTreeMap<String, Kept>,
}

/// Runs until it is told to end; then stops every part, the receiver first and the local R2 last. `ready` is called when it has begun.
///
/// # Errors
/// When another agent runs here, or the directory cannot be used.
pub async fn run(root: &Path, ready: impl FnOnce()) -> Result<End, Error> {
    let places = Places::at(root);
    places.create()?;
    let _lock = lock(&places)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut knock = signal(SignalKind::user_defined1())?;
    let mut child_ended = signal(SignalKind::child())?;
    let since = jiff::Timestamp::now();
    let since = since.round(jiff::Unit::Second).unwrap_or(since).to_string();
    let mut agent = Agent { places, since, kept: BTreeMap::new() };
    agent.take_over();
    agent.reconcile().await;
    ready();
    let mut looks = tokio::time::interval(LOOK);
    let mut stores = tokio::time::interval(jetstream_watch::INTERVAL);
    for timer in [&mut looks, &mut stores] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let end = loop {
        tokio::select! {
            _ = terminate.recv() => break End::Terminated,
            _ = hangup.recv() => break End::Terminated,
            _ = interrupt.recv() => break End::Interrupted,
            _ = knock.recv() => agent.reconcile().await,
            _ = child_ended.recv() => agent.look().await,
            _ = looks.tick() => agent.look().await,
            _ = stores.tick() => agent.look_after_jetstream().await,
            () = agent.next_start() => agent.look().await,
        }
    };
    agent.stop_all().await;
    Ok(end)
}

fn lock(places: &Places) -> Result<File, Error> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(places.lock())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Held),
        Err(fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

impl Agent {
    /// Parts of an agent that was killed go on; what is no longer wanted is stopped by the first reconciliation.
    fn take_over(&mut self) {
        let Some(left) = part::read::<Status>(&self.places.status()) else { return };
        for (name, running) in left.parts {
            let Some(process) = running.process.filter(Identity::is_alive) else { continue };
            tracing::info!(part = name, pid = process.pid, "goes on under this agent");
            let mut kept = Kept::new(running.part);
            kept.process = Some(process);
            kept.start_at = None;
            kept.restarts = running.restarts;
            self.kept.insert(name, kept);
        }
    }

    async fn reconcile(&mut self) {
        let wanted = self.places.wanted();
        let gone: Vec<String> = self
            .kept
            .iter()
            .filter(|(name, kept)| wanted.get(*name).is_none_or(|part| !part.runs_as(kept.wanted())))
            .map(|(name, _)| name.clone())
            .collect();
        let mut restarts = BTreeMap::new();
        for name in gone {
            let handed_over = match (wanted.get(&name), self.kept.get_mut(&name)) {
                (Some(part), Some(kept)) => kept.hand_over(part),
                _ => false,
            };
            if handed_over {
                continue;
            }
            if let Some(mut kept) = self.kept.remove(&name) {
                kept.stop().await;
                restarts.insert(name, kept.restarts);
            }
        }
        for (name, part) in wanted {
            match self.kept.get_mut(&name) {
                // What does not need a new process may still have changed.
                Some(kept) => match &mut kept.next {
                    Some((next, _)) => *next = part,
                    None => kept.part = part,
                },
                None => {
                    let mut kept = Kept::new(part);
                    kept.restarts = restarts.get(&name).copied().unwrap_or(0);
                    kept.start(&self.places);
                    self.kept.insert(name, kept);
                }
            }
        }
        self.write();
    }

    async fn look(&mut self) {
        let wanted = self.places.wanted();
        let differs = wanted.len() != self.kept.len()
            || wanted
                .iter()
                .any(|(name, part)| self.kept.get(name).is_none_or(|kept| !part.runs_as(kept.wanted())));
        if differs {
            self.reconcile().await;
        }
        let mut changed = false;
        let now = Instant::now();
        for kept in self.kept.values_mut() {
            changed |= kept.look();
            if kept.start_at.is_some_and(|at| at <= now) {
                kept.start(&self.places);
                changed = true;
            }
        }
        if changed {
            self.write();
        }
    }

    /// Ends a nats-server that stores nothing more; it is then started again as any part that ends.
    async fn look_after_jetstream(&mut self) {
        for kept in self.kept.values_mut() {
            let (Some(watch), Some(process)) = (&mut kept.jetstream, &kept.process) else { continue };
            if watch.is_restart_due().await {
                tracing::warn!(
                    part = kept.part.name,
                    "it has given up storing, as it does on a full disk; there is room now: starting it again"
                );
                watch.started();
                process.ask_to_end();
            }
        }
    }

    fn next_start(&self) -> impl Future<Output = ()> + use<> {
        let next = self.kept.values().filter_map(|kept| kept.start_at).min();
        async move {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn stop_all(&mut self) {
        for kind in END_ORDER {
            let these = self.kept.values_mut().filter(|kept| kept.part.kind == kind);
            futures::future::join_all(these.map(Kept::stop)).await;
        }
        self.kept.clear();
        let _ = fs::remove_file(self.places.status());
    }

    /// A status that cannot be written (the disk is full) is no reason to stop.
    fn write(&self) {
        let status = Status {
            agent: Identity::of(std::process::id()),
            since: self.since.clone(),
            parts: self.kept.iter().map(|(name, kept)| (name.clone(), kept.running())).collect(),
        };
        if let Err(error) = part::write(&self.places.status(), &status) {
            tracing::warn!(%error, "status.json is out of date");
        }
    }
}

fn spawn(places: &Places, part: &Part) -> io::Result<Child> {
    let path = places.log(&part.name);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        let _ = fs::rename(&path, path.with_extension("log.1"));
    }
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    Command::new(&part.program)
        .args(&part.arguments)
        // The secret is in a file that the part is told about.
        .env_remove("GITHUB_WEBHOOK_SECRET")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}
