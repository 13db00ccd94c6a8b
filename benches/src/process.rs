//! Child processes and what the kernel knows about them.
//!
//! Every process that a benchmark starts is owned by a [`Process`], whose drop ends it by its own id, so that no
//! way out of the program (an error, Ctrl-C) leaves one behind.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);

/// A child process that ends with its owner.
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command` with its output in the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{name} did not start: {error}"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, as a power cut is for the process.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then SIGKILL for a process that does not listen.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(pid) = Pid::from_raw(i32::try_from(self.child.id())?) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let started = Instant::now();
        while started.elapsed() < GRACE {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        crate::progress(&format!("{} did not end within {} s and was killed", self.name, GRACE.as_secs()));
        self.kill()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Processor time and memory of one process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu: Duration,
    /// Resident memory now, in KiB.
    pub resident_kib: u64,
    /// The most that it ever had resident, in KiB.
    pub peak_kib: u64,
}

/// Reads the usage of a process from `/proc`; zero for one that is gone.
pub fn usage(pid: u32) -> Usage {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    Usage {
        cpu: cpu_time(&read("stat")).unwrap_or_default(),
        resident_kib: status_field(&status, "VmRSS:").unwrap_or_default(),
        peak_kib: status_field(&status, "VmHWM:").unwrap_or_default(),
    }
}

/// `utime` and `stime` of `/proc/<pid>/stat`. Linux shows them to user space in hundredths of a second everywhere.
fn cpu_time(stat: &str) -> Option<Duration> {
    // The name of the program stands in parentheses and may itself hold spaces and parentheses.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_skips_a_name_with_parentheses() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 150 25 0 0 20 0 4 0 100 1000 200";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(1750)));
        assert_eq!(cpu_time(""), None);
    }

    #[test]
    fn status_fields_are_in_kib() {
        let status = "Name:\tx\nVmHWM:\t   12345 kB\nVmRSS:\t   12000 kB\n";
        assert_eq!(status_field(status, "VmHWM:"), Some(12345));
        assert_eq!(status_field(status, "VmSwap:"), None);
    }
}
