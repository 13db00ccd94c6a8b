//! The run directory (`.windlass/`): everything that a run keeps on disk, and who may run in it.
//!
//! ```text
//! agent/        which processes are wanted, and what runs; the agent's
//! state/        what was made: the state, and the journal of an apply
//! state-at.json where the state was last, to miss it when the fleet file names another place
//! r2/           the local R2: its objects and its keys
//! run.json      where everything is
//! ports.json    the ports of the last run
//! nats/         nats-server: configuration, JetStream's data
//! keys/ creds/  identities of the fleet, credentials of its users
//! spool/        deliveries that wait for NATS
//! secrets/      the webhook secret
//! log/          one file a process
//! ```
//!
//! Files that others read are replaced by rename: a reader sees the old one or the new one. They are not fsynced, since
//! they describe processes, which do not outlive the machine either.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Error;

/// A log that has grown beyond this is put aside when its process is started anew by `up`.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// Paths in the run directory. It may not exist.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    root: PathBuf,
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

    /// That the edge of this run is the local Cloudflare, and where it answers.
    pub fn edge_file(&self) -> PathBuf {
        self.root.join("edge.json")
    }

    /// The objects of the local R2.
    pub fn r2(&self) -> PathBuf {
        self.root.join("r2")
    }

    /// Where the fleet's state was when it was last used from here.
    pub fn state_place_file(&self) -> PathBuf {
        self.root.join("state-at.json")
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

#[cfg(test)]
mod tests {
    use super::*;

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
