//! The other side of the agent: wanting parts, and waiting until they run.

use super::agent::{END_ORDER, grace};
use super::part::{self, Part, Places, Running, Status};
use super::process::Identity;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(3);
/// How long an agent may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// How to start an agent: a program and its arguments.
#[derive(Clone, Debug)]
pub struct AgentCommand {
    /// The program, as a rule this one.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// What is wanted on this machine.
#[derive(Clone, Debug)]
pub struct Control {
    places: Places,
    agent: AgentCommand,
}

impl Control {
    /// The control of the parts in `root`.
    #[must_use]
    pub fn new(root: &Path, agent: AgentCommand) -> Self {
        Self { places: Places::at(root), agent }
    }

    /// The places on disk.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What runs; an empty status when no agent does.
    #[must_use]
    pub fn status(&self) -> Status {
        part::read(&self.places.status()).unwrap_or_default()
    }

    /// A part that runs right now.
    #[must_use]
    pub fn running(&self, name: &str) -> Option<Running> {
        let running = self.status().parts.remove(name)?;
        running.process.as_ref().is_some_and(Identity::is_alive).then_some(running)
    }

    /// The agent's process, if it runs.
    #[must_use]
    pub fn agent(&self) -> Option<Identity> {
        self.status().agent.filter(Identity::is_alive)
    }

    /// Starts an agent in a session of its own, unless one runs.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn ensure_agent(&self) -> io::Result<()> {
        if self.agent().is_some() {
            return Ok(());
        }
        self.places.create()?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(self.places.log("agent"))?;
        let mut child = Command::new(&self.agent.program)
            .args(&self.agent.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let deadline = Instant::now() + BEGINS_WITHIN;
        // Another command may start one at the same moment: whichever holds the lock is the agent.
        while self.agent().is_none() {
            let ended = child.try_wait()?;
            if ended.is_some_and(|status| !status.success())
                && self.agent().is_none()
                && Instant::now() >= deadline
            {
                return Err(io::Error::other(format!(
                    "the agent ended: {}",
                    self.places.log("agent").display()
                )));
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep(LOOK).await;
        }
        // Whoever is not waited for stays behind as a zombie until this process ends; a thread waits.
        std::thread::spawn(move || child.wait());
        Ok(())
    }

    /// Wants a part, and sees that an agent knows.
    ///
    /// # Errors
    /// When it cannot be written down, or there is no agent to be had.
    pub async fn want(&self, part: &Part) -> io::Result<()> {
        self.places.create()?;
        part::write(&self.places.part(&part.name), part)?;
        self.ensure_agent().await?;
        self.knock();
        Ok(())
    }

    /// No longer wants a part, and waits until its process is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn unwant(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.places.part(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.knock(),
        }
        let running = self.status().parts.remove(name);
        let Some((kind, process)) = running.and_then(|running| Some((running.part.kind, running.process?)))
        else {
            return Ok(());
        };
        if self.agent().is_none() {
            process.stop(grace(kind)).await;
            return Ok(());
        }
        if process.wait(grace(kind) + Duration::from_secs(6)).await {
            Ok(())
        } else {
            Err(io::Error::other(format!("{name} (pid {}) does not end", process.pid)))
        }
    }

    /// Waits until the part runs as it is wanted, and gives its process; `None` when it does not in time.
    pub async fn wait(&self, part: &Part, within: Duration) -> Option<Identity> {
        let deadline = Instant::now() + within;
        loop {
            let is_it = |running: &Running| running.part.runs_as(part) && running.part.loaded == part.loaded;
            if let Some(running) = self.running(&part.name).filter(is_it) {
                return running.process;
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the agent and every part, and says what ran. Parts are no longer wanted afterwards; their data stays.
    ///
    /// # Errors
    /// When something does not end.
    pub async fn stop_all(&self) -> io::Result<Vec<(String, u32)>> {
        let status = self.status();
        let mut stopped = Vec::new();
        let _ = fs::remove_dir_all(self.places.parts());
        if let Some(agent) = status.agent.filter(Identity::is_alive) {
            let within = END_ORDER.into_iter().map(grace).sum::<Duration>() + Duration::from_secs(10);
            agent.ask_to_end();
            if !agent.wait(within).await {
                agent.signal(Signal::KILL);
            }
            stopped.push(("supervisor".to_owned(), agent.pid));
        }
        // An agent that was killed leaves its parts behind.
        let mut left: Vec<_> = status.parts.into_values().collect();
        left.sort_by_key(|running| END_ORDER.iter().position(|kind| *kind == running.part.kind));
        for running in left {
            let Some(process) = running.process else { continue };
            stopped.push((running.part.name.clone(), process.pid));
            if process.stop(grace(running.part.kind)).await.is_none() {
                return Err(io::Error::other(format!(
                    "{} (pid {}) does not end",
                    running.part.name, process.pid
                )));
            }
        }
        let _ = fs::remove_file(self.places.status());
        Ok(stopped)
    }

    fn knock(&self) {
        if let Some(agent) = self.agent() {
            agent.signal(Signal::USR1);
        }
    }
}
