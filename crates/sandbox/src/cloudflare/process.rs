//! Processes by identity, so that a number that was given to someone else is never touched.
//!
//! A pid alone is not enough: pids are reused. An [`Identity`] is the pid with the time at which the kernel started the
//! process (on Linux with the boot's id as well). It is written down, and whoever reads it later checks it against the
//! live process before sending a signal.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How often a process that is no child is looked at while waiting for its end.
const LOOK: Duration = Duration::from_millis(5);

/// One process, told apart from every other that had or will have its pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// When it was started, in the system's own notation.
    pub started: String,
}

impl Identity {
    /// The identity of a running process.
    pub fn of(pid: u32) -> Option<Self> {
        system::look(pid).map(|found| Self { pid, started: found.started })
    }

    /// Whether that very process still runs. One that ended and was not collected by its parent does not.
    pub fn is_alive(&self) -> bool {
        system::look(self.pid).is_some_and(|found| !found.ended && found.started == self.started)
    }

    fn raw(&self) -> Option<Pid> {
        self.is_alive().then(|| raw(self.pid)).flatten()
    }

    /// Sends a signal, if it is still that process.
    pub fn signal(&self, signal: Signal) -> bool {
        self.raw().is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Kills the process and what it started, if it is still that process and leads a group of its own.
    pub fn kill_group(&self) -> bool {
        self.raw().is_some_and(|pid| kill_process_group(pid, Signal::KILL).is_ok())
    }

    /// Waits until the process has ended. False if it still runs after `within`.
    pub async fn wait(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

/// A process id as the system's calls take it.
pub(super) fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Every process that was started with this variable in its environment, as far as this user may look.
pub(super) fn with_variable(variable: &str) -> Vec<Identity> {
    system::with_variable(variable)
}

/// What the system knows of a process.
struct Found {
    started: String,
    ended: bool,
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Found, Identity};
    use std::fs;
    use std::sync::OnceLock;

    pub(super) fn look(pid: u32) -> Option<Found> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, ticks) = parse_stat(&stat)?;
        Some(Found { started: format!("{}/{ticks}", boot()), ended: matches!(state, 'Z' | 'X') })
    }

    /// The state and the start time in clock ticks since the boot: fields 3 and 22. The second field is the
    /// program's name in parentheses, and may itself hold spaces and parentheses.
    pub(super) fn parse_stat(stat: &str) -> Option<(char, u64)> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        Some((state, fields.nth(18)?.parse().ok()?))
    }

    fn boot() -> &'static str {
        static BOOT: OnceLock<String> = OnceLock::new();
        BOOT.get_or_init(|| {
            fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .map(|id| id.trim().to_owned())
                .unwrap_or_default()
        })
    }

    pub(super) fn with_variable(variable: &str) -> Vec<Identity> {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
        // The identity comes first: a process that takes the pid in between is not the one that was looked at.
        pids.filter_map(Identity::of)
            .filter(|process| {
                let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
            })
            .collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Found, Identity};
    use std::process::Command;

    pub(super) fn look(pid: u32) -> Option<Found> {
        let output = Command::new("ps")
            .args(["-o", "state=,lstart=", "-p", &pid.to_string()])
            .env("LC_ALL", "C")
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (state, started) = text.trim().split_once(char::is_whitespace)?;
        Some(Found { started: started.trim().to_owned(), ended: state.starts_with('Z') })
    }

    /// Not to be seen here: what was written down has to do.
    pub(super) fn with_variable(_: &str) -> Vec<Identity> {
        Vec::new()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn reads_state_and_start_behind_an_odd_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 9 0 8731 1000 10";
        assert_eq!(system::parse_stat(stat), Some(('S', 8731)));
        assert_eq!(system::parse_stat("42 (x"), None);
        assert_eq!(system::parse_stat("42 (x) S 1"), None);
    }
}
