//! A container: its state, and the process behind it.

use super::fault::Effect;
use super::image::{Image, Overrides, Start};
use super::lifecycle::{Condition, State, Step};
use super::side_car::{Network, SideCar};
use crate::cloudflare::left::Record;
use crate::cloudflare::log_file;
use crate::cloudflare::process;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What a container was created with.
pub(super) struct Spec {
    pub(super) image: String,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
}

/// A container, as tests and status pages look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct View {
    /// Its name.
    pub name: String,
    /// The image that was asked for.
    pub image: String,
    /// The root file system of the image that it runs: another one than asked for, with [`Effect::KeepOldImage`].
    pub root: Option<PathBuf>,
    /// As Docker names it: `created`, `running` or `exited`.
    pub status: &'static str,
    /// The status with which it ended.
    pub exit_code: Option<i64>,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// Its address.
    pub address: std::net::Ipv4Addr,
    /// What it writes. A file of all its starts.
    pub log: PathBuf,
}

/// What a start has become.
enum Run {
    Nothing,
    /// The process is still to be started: this run's number.
    Waiting(u64),
    Process {
        run: u64,
        pid: u32,
        env: BTreeMap<String, String>,
    },
}

pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) spec: Spec,
    pub(super) network: Arc<Network>,
    /// For a side-car: itself, while it runs.
    pub(super) side_car: Option<Mutex<Option<SideCar>>>,
    /// The engine's directory.
    pub(super) directory: PathBuf,
    pub(super) state: watch::Sender<State>,
    run: Mutex<(u64, Run)>,
    image: Mutex<Option<Image>>,
}

/// Why a call cannot be done.
#[derive(Debug)]
pub(super) enum Refused {
    Gone,
    Failed(String),
}

/// Starts a process in a group of its own, which writes into this file.
pub(super) fn command(start: &Start, record: &Record, root: &Path) -> Command {
    let mut command = Command::new(&start.program);
    let (variable, mark) = record.variable();
    command.args(&start.arguments).env_clear().envs(&start.env).env(variable, mark);
    command.current_dir(root).stdin(Stdio::null()).process_group(0);
    command
}

/// Waits for the end of a process, ends what it started, and only then gives its pid back to the system: until that,
/// neither its pid nor its group can be somebody else's. `before` runs while the pid is still its own.
pub(super) fn collect(mut child: Child, before: impl FnOnce()) -> i64 {
    if let Some(pid) = process::raw(child.id()) {
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        let _ = kill_process_group(pid, Signal::KILL);
    }
    before();
    match child.wait() {
        Ok(status) => i64::from(status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1)),
        Err(_) => 1,
    }
}

impl Container {
    pub(super) fn new(
        name: String,
        spec: Spec,
        network: Arc<Network>,
        is_side_car: bool,
        directory: PathBuf,
    ) -> Self {
        let id = || uuid::Uuid::new_v4().simple().to_string();
        Self {
            id: format!("{}{}", id(), id()),
            name,
            spec,
            network,
            side_car: is_side_car.then(Mutex::default),
            directory,
            state: watch::Sender::new(State::Created),
            run: Mutex::new((0, Run::Nothing)),
            image: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    pub(super) fn log(&self) -> PathBuf {
        self.directory.join("log").join(format!("{}.log", self.name))
    }

    pub(super) fn view(&self) -> View {
        let state = self.state();
        View {
            name: self.name.clone(),
            image: self.spec.image.clone(),
            root: self.image.lock().as_ref().map(|image| image.root.clone()),
            status: state.name(),
            exit_code: state.exit_code(),
            pid: match self.run.lock().1 {
                Run::Process { pid, .. } => Some(pid),
                _ => None,
            },
            address: self.network.address.ip,
            log: self.log(),
        }
    }

    /// Starts it. A failure leaves it as it was.
    pub(super) async fn start(
        self: Arc<Self>,
        image: Option<Image>,
        effects: &[Effect],
    ) -> Result<(), Refused> {
        match self.state().start() {
            Step::Do => {}
            Step::Nothing => return Ok(()),
            Step::Conflict | Step::Gone => return Err(Refused::Gone),
        }
        if let Some(side_car) = &self.side_car {
            let started = SideCar::start(Arc::clone(&self.network)).await;
            *side_car.lock() = Some(started.map_err(|error| Refused::Failed(error.to_string()))?);
            self.state.send_replace(State::Running);
            return Ok(());
        }
        let image = image.ok_or(Refused::Gone)?;
        *self.image.lock() = Some(image.clone());
        self.network.close(effects.contains(&Effect::NeverHealthy));
        let run = {
            let mut of = self.run.lock();
            // Somebody else has just started it.
            if !matches!(of.1, Run::Nothing) {
                return Ok(());
            }
            of.0 += 1;
            of.1 = Run::Waiting(of.0);
            of.0
        };
        let slow = effects.iter().find_map(|effect| match effect {
            Effect::SlowStart(millis) => Some(Duration::from_millis(*millis)),
            _ => None,
        });
        if effects.contains(&Effect::CrashAtStart) {
            self.run.lock().1 = Run::Nothing;
            self.state.send_replace(State::Running);
            self.state.send_replace(State::Exited(1));
            return Ok(());
        }
        if let Some(delay) = slow {
            self.state.send_replace(State::Running);
            let this = Arc::clone(&self);
            // If this were cut off, the container would stay without a process, until whoever waits for it gives up.
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                if let Err(error) = Arc::clone(&this).spawn(run, &image) {
                    tracing::warn!(container = this.name, %error, "the container did not start");
                    this.ended(run, 127);
                }
            });
        } else {
            let failed = |error: io::Error| {
                self.run.lock().1 = Run::Nothing;
                Refused::Failed(error.to_string())
            };
            Arc::clone(&self).spawn(run, &image).map_err(failed)?;
        }
        for effect in effects {
            if let Effect::CrashAfter(millis) = effect {
                let (this, delay) = (Arc::clone(&self), Duration::from_millis(*millis));
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    this.signal_run(Some(run), Signal::KILL);
                });
            }
        }
        Ok(())
    }

    /// Starts the process of a run, if that is still what is wanted.
    fn spawn(self: Arc<Self>, run: u64, image: &Image) -> io::Result<()> {
        let mut of = self.run.lock();
        if !matches!(of.1, Run::Waiting(waiting) if waiting == run) {
            return Ok(());
        }
        let record = Record::before(&self.directory)?;
        let disk = self.directory.join("disks").join(record.mark());
        fs::create_dir(&disk)?;
        let disk = Disk(disk);
        let host = self.network.address.ip.to_string();
        let overrides = Overrides { host: &host, store: &disk.0 };
        let start = image.start(&self.spec.command, &self.spec.env, &overrides, Path::exists);
        let start = start.map_err(io::Error::other)?;
        let log = log_file(&self.log())?;
        let child =
            command(&start, &record, &image.root).stdout(log.try_clone()?).stderr(log).spawn().map_err(
                |error| io::Error::new(error.kind(), format!("exec: {}: {error}", start.program.display())),
            )?;
        let pid = child.id();
        of.1 = Run::Process { run, pid, env: start.env };
        // Inside the lock, so that the end, which takes it too, comes later.
        self.state.send_replace(State::Running);
        drop(of);
        if let Err(error) = record.started(pid) {
            // Its mark still finds it.
            tracing::warn!(%error, "a container's process could not be written down");
        }
        let this = Arc::clone(&self);
        std::thread::spawn(move || {
            let code = collect(child, || this.run.lock().1 = Run::Nothing);
            drop((disk, record));
            this.ended(run, code);
        });
        Ok(())
    }

    fn ended(&self, run: u64, code: i64) {
        let mut of = self.run.lock();
        if of.0 == run {
            of.1 = Run::Nothing;
            self.state.send_modify(|state| *state = state.ended(code));
        }
    }

    /// Sends a signal to the process. False if there is none.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        self.signal_run(None, signal)
    }

    fn signal_run(&self, only: Option<u64>, signal: Signal) -> bool {
        let mut of = self.run.lock();
        match of.1 {
            Run::Nothing => false,
            Run::Waiting(run) | Run::Process { run, .. } if only.is_some_and(|only| only != run) => false,
            // There is no process to tell yet, and one that is to end will not be started.
            Run::Waiting(_) => {
                if matches!(signal, Signal::TERM | Signal::KILL | Signal::INT) {
                    of.1 = Run::Nothing;
                    self.state.send_modify(|state| *state = state.ended(128 + i64::from(signal.as_raw())));
                }
                true
            }
            // While this is held, the process has not been collected, so the pid is its own.
            Run::Process { pid, .. } => {
                process::raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
            }
        }
    }

    /// Kills the process and all that it started, at once.
    pub(super) fn kill_all(&self) {
        let of = self.run.lock();
        if let Run::Process { pid, .. } = of.1 {
            let _ = process::raw(pid).map(|pid: Pid| kill_process_group(pid, Signal::KILL));
        }
        drop(of);
        self.signal(Signal::KILL);
    }

    /// The image and the environment of what runs.
    pub(super) fn running(&self) -> Option<(Image, BTreeMap<String, String>)> {
        let env = match &self.run.lock().1 {
            Run::Process { env, .. } => env.clone(),
            _ => return None,
        };
        Some((self.image.lock().clone()?, env))
    }

    /// Asks it to end, and kills it after the grace.
    pub(super) async fn stop(&self, grace: Duration) {
        if let Some(side_car) = &self.side_car {
            self.end_side_car(side_car, 0);
            return;
        }
        self.signal(Signal::TERM);
        if tokio::time::timeout(grace, self.wait(Condition::NotRunning)).await.is_err() {
            self.kill().await;
        }
    }

    fn end_side_car(&self, side_car: &Mutex<Option<SideCar>>, code: i64) {
        *side_car.lock() = None;
        self.state.send_if_modified(|state| {
            let runs = *state == State::Running;
            if runs {
                *state = State::Exited(code);
            }
            runs
        });
    }

    /// Kills it, and waits until it has ended.
    pub(super) async fn kill(&self) {
        if let Some(side_car) = &self.side_car {
            self.end_side_car(side_car, 137);
            return;
        }
        self.signal(Signal::KILL);
        self.wait(Condition::NotRunning).await;
    }

    /// Waits, and gives the status.
    pub(super) async fn wait(&self, condition: Condition) -> i64 {
        let mut states = self.state.subscribe();
        let mut was_running = false;
        let met = states.wait_for(|state| {
            let is_met = condition.is_met(*state, was_running);
            was_running |= *state == State::Running;
            is_met
        });
        met.await.map(|state| *state).ok().and_then(State::exit_code).unwrap_or(0)
    }
}

/// A container's disk, for as long as it runs.
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
