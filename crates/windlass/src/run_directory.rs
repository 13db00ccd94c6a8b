//! The run directory (`.windlass/`): everything that a run keeps on disk, and who may run in it.
//!
//! ```text
//! lock          locked by the supervisor for as long as it lives; names it for people
//! run.json      what runs: addresses and processes; rewritten whenever a process changes
//! ports.json    the ports of the last run
//! nats/         nats-server: configuration, JetStream's data
//! keys/ creds/  identities of the fleet, credentials of its users
//! spool/        deliveries that wait for NATS
//! secrets/      the webhook secret
//! log/          one file a process
//! ```
//!
//! The lock is the kernel's (`flock`), so it ends with its process however that ends. Files that others read are
//! replaced by rename: a reader sees the old one or the new one. They are not fsynced, since they describe processes,
//! which do not outlive the machine either.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Error;
use crate::process::Identity;

/// A log that has grown beyond this is put aside when its process is started anew by `up`.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// Paths in the run directory. It may not exist.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    root: PathBuf,
}

/// Who holds the lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    #[serde(flatten)]
    pub process: Identity,
    /// Since when, RFC 3339.
    pub since: String,
}

/// The lock of a run directory, held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What became of an attempt to lock.
#[derive(Debug)]
pub enum Attempt {
    /// The lock is ours.
    Locked(Lock),
    /// Someone else holds it; `None` while it has not yet written who it is.
    Held(Option<Holder>),
}

impl RunDirectory {
    /// The directory at an absolute path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Creates the directory and what is always in it; for the owner alone.
    pub fn create(&self) -> Result<(), Error> {
        for directory in [self.root.clone(), self.logs(), self.secrets(), self.spool()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(|cause| Error::Directory { action: "create", path: directory, cause })?;
        }
        // So that nobody commits credentials by accident.
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            replace(&ignore, b"*\n", 0o644)?;
        }
        Ok(())
    }

    /// The receiver's spool.
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Where secrets are kept.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Where logs are kept.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The log of one part.
    pub fn log(&self, part: &str) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }

    /// What runs.
    pub fn run_file(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// The ports of the last run.
    pub fn ports_file(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    /// Opens a part's log for appending; a large one is put aside first if `fresh`.
    pub fn open_log(&self, part: &str, fresh: bool) -> Result<File, Error> {
        let path = self.log(part);
        if fresh && fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
            let _ = fs::rename(&path, path.with_extension("log.1"));
        }
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(|cause| Error::Directory { action: "open", path, cause })
    }

    /// Tries to lock the directory, and if that succeeds writes into the lock who holds it.
    pub fn lock(&self, since: &str) -> Result<Attempt, Error> {
        let path = self.root.join("lock");
        let failed = |action| {
            let path = path.clone();
            move |cause| Error::Directory { action, path, cause }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                // What a former holder left there is not who holds it now.
                let holder = serde_json::from_str(&text).ok();
                return Ok(Attempt::Held(holder.filter(|holder: &Holder| holder.process.is_alive())));
            }
            Err(fs::TryLockError::Error(cause)) => return Err(failed("lock")(cause)),
        }
        if let Some(process) = Identity::of(std::process::id()) {
            let holder = Holder { process, since: since.to_owned() };
            let text = serde_json::to_vec(&holder).unwrap_or_default();
            file.set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .and_then(|_| file.write_all(&text))
                .map_err(failed("write"))?;
        }
        Ok(Attempt::Locked(Lock { _file: file }))
    }
}

/// Reads a JSON file of ours. `None` when it is not there or not readable as such: it is rewritten then.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces a JSON file of ours, for the owner alone.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|cause| Error::Directory {
        action: "write",
        path: path.to_owned(),
        cause: cause.into(),
    })?;
    bytes.push(b'\n');
    replace(path, &bytes, 0o600)
}

/// Replaces a file by rename, so that a reader sees the old content or the new one and never half of it.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        Error::Directory { action: "write", path: path.to_owned(), cause }
    })
}

/// The last lines of a log, from `since` bytes on, indented; nothing if it cannot be read.
pub fn log_tail(log: &Path, since: u64) -> String {
    File::open(log).and_then(|mut file| tail(&mut file, since)).unwrap_or_default()
}

/// The present length of a log.
pub fn log_length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |metadata| metadata.len())
}

/// The last dozen lines from `since` on.
fn tail(file: &mut (impl Read + Seek), since: u64) -> io::Result<String> {
    const BYTES: u64 = 8 * 1024;
    const LINES: usize = 12;
    let end = file.seek(SeekFrom::End(0))?;
    let start = since.min(end).max(end.saturating_sub(BYTES));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    Ok(last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_tail_is_the_last_lines_of_this_start() {
        let log: String = (0..40).map(|line| format!("line {line}\n")).collect();
        let text = tail(&mut Cursor::new(&log), 0).unwrap();
        assert!(text.starts_with("    line 28\n"));
        assert!(text.ends_with("    line 39"));
        let since = log.find("line 38").unwrap() as u64;
        assert_eq!(tail(&mut Cursor::new(&log), since).unwrap(), "    line 38\n    line 39");
        assert_eq!(tail(&mut Cursor::new(&log), 99_999).unwrap(), "");
    }

    #[test]
    fn a_second_lock_sees_the_holder() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::at(directory.path());
        run.create().unwrap();
        let first = run.lock("2026-01-02T03:04:05Z").unwrap();
        assert!(matches!(first, Attempt::Locked(_)));
        let Attempt::Held(Some(holder)) = run.lock("later").unwrap() else { panic!("not held") };
        assert_eq!(holder.process.pid, std::process::id());
        assert_eq!(holder.since, "2026-01-02T03:04:05Z");
        drop(first);
        assert!(matches!(run.lock("later").unwrap(), Attempt::Locked(_)));
    }

    #[test]
    fn files_are_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        write_json(&path, &[1, 2]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_json::<Vec<u8>>(&path), Some(vec![1, 2]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
