//! What an account holds, as data, and where it is kept.
//!
//! It is one file: small, and replaced by rename once what was changed is on disk, so that whoever is killed at any
//! moment leaves the state before the request or the one after it. Modules are files of their own, named by their hash.

use super::answer::Refusal;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Everything that the account holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// 32 hexadecimal digits.
    pub account_id: String,
    /// The account's `workers.dev` subdomain.
    pub subdomain: Option<String>,
    /// API tokens by id.
    pub tokens: BTreeMap<String, Token>,
    /// Settings of R2 buckets by `jurisdiction/name`. Which buckets there are, the store of R2 knows.
    pub buckets: BTreeMap<String, Bucket>,
    /// KV namespaces by id.
    pub kv: BTreeMap<String, KvNamespace>,
    /// Workers by name.
    pub scripts: BTreeMap<String, Script>,
    /// Durable Object namespaces by id.
    pub objects: BTreeMap<String, ObjectNamespace>,
    /// Container applications by id.
    pub applications: BTreeMap<String, Application>,
    /// Zones by id.
    pub zones: BTreeMap<String, Zone>,
    /// Custom domains by id.
    pub domains: BTreeMap<String, Value>,
}

/// An API token. Its value is not kept: the hash of it is enough to know it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// SHA-256 of the value, in hex: also the secret of S3 requests that are signed with this token.
    pub hash: String,
    /// What it may do, by Cloudflare's names: `Workers Scripts Write`.
    pub permissions: Vec<String>,
    /// When it ends, in milliseconds since 1970.
    #[serde(default)]
    pub expires: Option<u64>,
    /// Whether it was switched off.
    #[serde(default)]
    pub disabled: bool,
}

/// What is known of a bucket beyond its objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bucket {
    /// `weur`, `enam`, …
    pub location: Option<String>,
    /// `Standard` or `InfrequentAccess`.
    pub storage_class: Option<String>,
    /// Rules by which objects end.
    pub lifecycle: Vec<Value>,
    /// Rules by which objects stay.
    pub lock: Vec<Value>,
    /// Rules for browsers.
    pub cors: Vec<Value>,
}

/// A KV namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KvNamespace {
    /// What it is called.
    pub title: String,
    /// `eu`, `us`, `fedramp`.
    #[serde(default)]
    pub jurisdiction: Option<String>,
}

/// A Worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Script {
    /// Its id, which stays when it is uploaded anew.
    pub tag: String,
    /// When it was first uploaded.
    pub created: String,
    /// When anything of it was last changed.
    pub modified: String,
    /// Oldest first.
    pub versions: Vec<Version>,
    /// Oldest first; the last one is in force.
    pub deployments: Vec<Deployment>,
    /// The tag of the last migration of Durable Objects.
    pub migration_tag: Option<String>,
    /// Whether it answers at `NAME.SUBDOMAIN.workers.dev`.
    pub workers_dev: bool,
    /// Whether its versions answer at addresses of their own.
    pub previews: bool,
    /// Cron expressions, as they were sent.
    pub schedules: Vec<Value>,
    /// What is set for all versions: `logpush`, `observability`, `tail_consumers`, `tags`.
    pub settings: serde_json::Map<String, Value>,
}

/// A version of a Worker, which never changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Version {
    /// A UUID.
    pub id: String,
    /// Counts from 1.
    pub number: u64,
    /// When it was made.
    pub created: String,
    /// Which kind of client made it.
    pub source: String,
    /// `workers/message`, `workers/tag`, `workers/triggered_by`.
    pub annotations: serde_json::Map<String, Value>,
    /// The name of the module that begins, or of the whole script.
    pub main: String,
    /// Whether it consists of ES modules.
    pub is_modules: bool,
    /// Its modules.
    pub modules: Vec<Module>,
    /// Its bindings, with the text of secrets.
    pub bindings: Vec<Value>,
    /// The date whose behaviour it wants.
    pub compatibility_date: Option<String>,
    /// What it wants beyond that.
    pub compatibility_flags: Vec<String>,
    /// Its classes that have a container.
    pub containers: Vec<Value>,
    /// What else was said of it: `limits`, `placement`, `usage_model`.
    pub others: serde_json::Map<String, Value>,
    /// The hash of all its modules.
    pub etag: String,
    /// How long it took to start, in milliseconds.
    pub startup_ms: u64,
}

/// A module of a Worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its name, as others import it.
    pub name: String,
    /// Its content type, as it was sent.
    pub content_type: String,
    /// SHA-256 of its bytes: the name of the file that holds them.
    pub hash: String,
}

/// Which versions answer, and how many of the requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// A UUID.
    pub id: String,
    /// When it was made.
    pub created: String,
    /// Which kind of client made it.
    pub source: String,
    /// Each version's share, in percent.
    pub shares: Vec<(String, f64)>,
    /// `workers/message`, `workers/triggered_by`.
    pub annotations: serde_json::Map<String, Value>,
}

/// The Durable Objects of one class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectNamespace {
    /// The Worker that has the class.
    pub script: String,
    /// The class.
    pub class: String,
    /// Whether its storage is SQLite.
    pub sqlite: bool,
}

/// A container application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Application {
    /// What was sent, and changed since: `name`, `configuration`, `constraints`, `durable_objects`, …
    pub fields: serde_json::Map<String, Value>,
    /// When it was made.
    pub created: String,
    /// When anything of it was last changed.
    pub updated: String,
    /// Counts up with each rollout.
    pub version: u64,
    /// The image that its instances really have: another than the configuration's, where a rollout only said that it
    /// was completed.
    pub running_image: String,
    /// Oldest first.
    pub rollouts: Vec<Value>,
}

/// A zone: a domain name whose requests Workers may answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// The domain name.
    pub name: String,
    /// Routes by id.
    #[serde(default)]
    pub routes: BTreeMap<String, Value>,
}

/// The state, and the directory where it is kept.
#[derive(Debug)]
pub struct Disk {
    directory: PathBuf,
    state: Mutex<State>,
}

/// SHA-256 in hex.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// 32 random hexadecimal digits, as most of Cloudflare's ids are.
pub fn new_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// A random UUID.
pub fn new_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The time now, as Cloudflare writes it.
pub fn timestamp() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

/// Writes a file so that it is there as a whole or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let work = path.with_extension(new_uuid());
    let written = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&work)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&work, path))
        .and_then(|()| path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all()));
    if written.is_err() {
        let _ = fs::remove_file(&work);
    }
    written
}

impl Disk {
    /// Opens a directory, which is made where it is missing.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory.join("modules"))?;
        let state = match fs::read(directory.join("state.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { directory: directory.to_owned(), state: Mutex::new(state) })
    }

    /// Looks at the state.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    /// Changes the state. What is refused, or cannot be written, changes nothing.
    pub fn change<T>(&self, work: impl FnOnce(&mut State) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut state = self.state.lock();
        let mut next = state.clone();
        let outcome = work(&mut next)?;
        if next != *state {
            let bytes = serde_json::to_vec_pretty(&next).map_err(io::Error::other)?;
            write_atomically(&self.directory.join("state.json"), &bytes)?;
            *state = next;
        }
        Ok(outcome)
    }

    /// Keeps a module, and says what its hash is.
    pub fn keep_module(&self, bytes: &[u8]) -> io::Result<String> {
        let name = hash(bytes);
        let path = self.module(&name);
        if !path.exists() {
            write_atomically(&path, bytes)?;
        }
        Ok(name)
    }

    /// Where the module with this hash is.
    pub fn module(&self, hash: &str) -> PathBuf {
        self.directory.join("modules").join(hash)
    }
}

impl Script {
    /// The deployment that is in force.
    pub fn deployment(&self) -> Option<&Deployment> {
        self.deployments.last()
    }

    /// The version with this id.
    pub fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The version that most requests get.
    pub fn current(&self) -> Option<&Version> {
        let shares = &self.deployment()?.shares;
        let most = shares.iter().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
        self.version(&most.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path()).unwrap();
        disk.change(|state| {
            state.subdomain = Some("acme".into());
            Ok(())
        })
        .unwrap();
        let refused: Result<(), _> = disk.change(|state| {
            state.subdomain = None;
            Err(Refusal::new(400, 1, "no"))
        });
        assert!(refused.is_err());
        let again = Disk::open(directory.path()).unwrap();
        assert_eq!(again.read(|state| state.subdomain.clone()).as_deref(), Some("acme"));
        assert_eq!(again.read(Clone::clone), disk.read(Clone::clone));
    }
}
