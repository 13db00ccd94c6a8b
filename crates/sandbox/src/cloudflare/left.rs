//! What a part of the local Cloudflare left behind when it was killed.
//!
//! Before a process is started, a record with the mark that it will carry in its environment is written; when it runs,
//! its pid and start time are added. So whatever the moment at which the part dies, the next one finds the process: by
//! the pid, or by the mark (where the system shows environments: on Linux).

use super::process::{Identity, with_variable};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The variable with the mark.
const VARIABLE: &str = "WINDLASS_SANDBOX_RUN";

/// More than there ever are: images and disks are not searched for ever.
const MOST_PLACES: usize = 1_000;

/// How long the kernel may take to remove what was killed.
const GRACE: Duration = Duration::from_secs(5);

/// The record of one process that was started. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    mark: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    mark: String,
    process: Option<Identity>,
}

fn directory(of: &Path) -> PathBuf {
    of.join("running")
}

impl Record {
    /// Says that a process is about to be started.
    pub(super) fn before(of: &Path) -> io::Result<Self> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let record = Self { path: directory(of).join(format!("{mark}.json")), mark };
        record.write(None)?;
        Ok(record)
    }

    /// The variable that the process carries.
    pub(super) fn variable(&self) -> (&'static str, &str) {
        (VARIABLE, &self.mark)
    }

    /// A name that no other start has.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Says which process it became.
    pub(super) fn started(&self, pid: u32) -> io::Result<()> {
        self.write(Identity::of(pid))
    }

    fn write(&self, process: Option<Identity>) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&Written { mark: self.mark.clone(), process })?)?;
        fs::rename(new, &self.path)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Every directory below this one that has records.
pub(super) fn places(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![below.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name() == "running" {
                found.push(place.clone());
            } else if found.len() < MOST_PLACES {
                open.push(entry.path());
            }
        }
    }
    found
}

/// Makes the directory of the records, ends every process that one of them names, and says how many there were.
///
/// # Errors
/// When the directory cannot be used, or a process does not end.
pub(super) async fn end(of: &Path) -> io::Result<usize> {
    let directory = directory(of);
    fs::create_dir_all(&directory)?;
    let mut ended = 0;
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        // One that was cut off in the middle of a write has its mark in the file's name.
        let written = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Written>(&text).ok());
        let mark = written.as_ref().map(|written| written.mark.clone());
        let mark = mark.or_else(|| Some(path.file_stem()?.to_str()?.to_owned()));
        let mut found =
            Vec::from_iter(written.and_then(|written| written.process).filter(Identity::is_alive));
        found.extend(mark.map(|mark| with_variable(&format!("{VARIABLE}={mark}"))).unwrap_or_default());
        for process in found {
            let killed = process.kill_group() || process.signal(Signal::KILL);
            if !process.wait(GRACE).await {
                return Err(io::Error::other(format!("process {} does not end", process.pid)));
            }
            ended += usize::from(killed);
        }
        fs::remove_file(&path)?;
    }
    Ok(ended)
}
