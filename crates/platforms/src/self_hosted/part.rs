//! A process that is wanted on this machine, and what is known of it.
//!
//! ```text
//! <directory>/agent/parts/<name>.json   what is wanted, one file a part; written by whoever wants it
//! <directory>/agent/status.json         what runs; written by the agent alone
//! ```

use super::process::Identity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What kind of program a part is: how it is told to end, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A nats-server.
    Server,
    /// The webhook receiver: it finishes what it has begun to take, before the servers go.
    Receiver,
    /// The local Cloudflare: its Workers and nodes have the servers' clients, and publish to them.
    Cloudflare,
    /// The local R2: others write to it until they have ended.
    R2,
}

/// A process that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name, such as `hub-0` or `receiver`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
    /// Its arguments. They name files with secrets, never secrets.
    pub arguments: Vec<String>,
    /// Where it logs by itself, if not to what it is given as standard output and error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// A server's monitoring endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<SocketAddr>,
    /// A server's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// The addresses that it listens on.
    #[serde(default)]
    pub listens: Vec<SocketAddr>,
    /// Over how many seconds it sends its clients away when another process is to take its place (`SIGUSR2`, which is lame
    /// duck mode to a nats-server). Without it, it is just ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<u64>,
    /// When this changes, the process is ended and started again, although its arguments are the same.
    #[serde(default)]
    pub token: String,
    /// What a server has read, and reads again when it is told to (`SIGHUP`), without a new process.
    #[serde(default)]
    pub loaded: Loaded,
}

/// What a server has read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// The digest of its configuration, as nats-server computes it.
    pub config: String,
    /// A digest of its certificate and of the authorities that it trusts.
    pub certificates: String,
    /// Whether clients come in with TLS.
    pub tls: bool,
}

impl Part {
    /// Whether a process of `running` can go on as one of this by reading its configuration again. What was added to its
    /// token (that it was started again) does not count.
    #[must_use]
    pub fn succeeds(&self, running: &Self) -> bool {
        (&self.program, &self.arguments) == (&running.program, &running.arguments)
            && running.token.starts_with(&self.token)
    }

    /// Whether a process of `other` can go on as one of this.
    #[must_use]
    pub fn runs_as(&self, other: &Self) -> bool {
        (&self.program, &self.arguments, &self.token) == (&other.program, &other.arguments, &other.token)
    }
}

/// What is known of a part's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The part as it was started.
    pub part: Part,
    /// Its process; `None` while it waits to be started again.
    pub process: Option<Identity>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u64,
    /// How it last ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's own process.
    pub agent: Option<Identity>,
    /// Since when it runs, RFC 3339.
    pub since: String,
    /// The parts by name.
    pub parts: BTreeMap<String, Running>,
}

/// Paths below the directory of a fleet.
#[derive(Clone, Debug)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// The places in `root`, usually `.windlass`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory of everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where parts are wanted.
    #[must_use]
    pub fn parts(&self) -> PathBuf {
        self.root.join("agent").join("parts")
    }

    /// A part's file.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.parts().join(format!("{name}.json"))
    }

    /// What runs.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.root.join("agent").join("status.json")
    }

    /// The agent's lock.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("agent").join("lock")
    }

    /// A part's log, for what it writes to standard output and error.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// Makes the directories, for the owner alone.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        for directory in [self.parts(), self.root.join("log")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok(())
    }

    /// Every part that is wanted. A file that makes no sense is left out, and said in the log.
    #[must_use]
    pub fn wanted(&self) -> BTreeMap<String, Part> {
        let mut parts = BTreeMap::new();
        for entry in fs::read_dir(self.parts()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read::<Part>(&path) {
                Some(part) => drop(parts.insert(part.name.clone(), part)),
                None => tracing::error!(path = %path.display(), "a wanted part cannot be read"),
            }
        }
        parts
    }
}

/// Reads a JSON file of ours; `None` when it is not there or makes no sense.
#[must_use]
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces a JSON file of ours by rename, for the owner alone.
///
/// # Errors
/// When the disk refuses.
pub fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let next = path.with_extension(format!("{}.next", std::process::id()));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    file.write_all(&text)?;
    fs::rename(&next, path)
}
