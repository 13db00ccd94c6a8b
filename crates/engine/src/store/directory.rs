//! The state in a directory: `state.json`, `journal.jsonl`, `lock`.

use super::{Lock, Store};
use crate::error::Error;
use crate::journal::{self, Entry, Journal, Probe};
use crate::state::State;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a lock that is held is tried again.
const LOOK: Duration = Duration::from_millis(50);

/// A directory of this machine.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// Who holds the lock, for whoever waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who, as `user@host (pid 123)`.
    pub who: String,
    /// What for, such as `apply`.
    pub purpose: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// The kernel releases the lock when the file is closed.
#[derive(Debug)]
struct Held(Mutex<Option<File>>);

impl Lock for Held {
    fn release(&self) {
        drop(self.0.lock().take());
    }
}

impl Directory {
    /// The state in `path`; the directory is made when something is written.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn create(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.path).map_err(Error::io("make", &self.path))
    }

    /// Who holds the lock now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn holder(&self) -> Result<Option<Holder>, Error> {
        let path = self.file("lock");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                Ok(Some(named(&text)))
            }
            Err(error) => Err(Error::io("lock", path)(error.into())),
        }
    }

    async fn take_lock(&self, purpose: &str, wait: Duration) -> Result<Arc<dyn Lock>, Error> {
        self.create()?;
        let path = self.file("lock");
        let deadline = Instant::now() + wait;
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open.map_err(Error::io("open", &path))?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(held_by(&mut file)),
                Err(error) => return Err(Error::io("lock", &path)(error.into())),
            }
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
        let holder = Holder {
            who: format!("{user}@{host} (pid {})", std::process::id()),
            purpose: purpose.to_owned(),
            since: jiff::Timestamp::now().to_string(),
        };
        name(&mut file, &holder).map_err(Error::io("write", &path))?;
        Ok(Arc::new(Held(Mutex::new(Some(file)))))
    }
}

fn name(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())
}

fn held_by(file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let holder = named(&text);
    Error::Locked { who: holder.who, purpose: holder.purpose, since: holder.since, id: None }
}

fn named(text: &str) -> Holder {
    serde_json::from_str(text).unwrap_or_else(|_| Holder {
        who: "somebody".to_owned(),
        purpose: "change it".to_owned(),
        since: "a moment ago".to_owned(),
    })
}

impl Store for Directory {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn lock<'a>(&'a self, purpose: &'a str, wait: Duration) -> BoxFuture<'a, Result<Arc<dyn Lock>, Error>> {
        self.take_lock(purpose, wait).boxed()
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<State>, Error>> {
        let path = self.file("state.json");
        let read = move || {
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io("read", path)(error)),
            };
            super::parse(&path, &text).map(Some)
        };
        futures::future::ready(read()).boxed()
    }

    fn save<'a>(&'a self, state: &'a State) -> BoxFuture<'a, Result<(), Error>> {
        let write = || {
            self.create()?;
            let path = self.file("state.json");
            let mut text = serde_json::to_vec(state)
                .map_err(|error| Error::io("write", &path)(io::Error::other(error)))?;
            text.push(b'\n');
            replace(&path, &text).map_err(Error::io("write", &path))
        };
        futures::future::ready(write()).boxed()
    }

    fn left_behind(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        futures::future::ready(journal::read(&self.file("journal.jsonl"))).boxed()
    }

    fn begin_journal(&self, probe: Option<Probe>) -> BoxFuture<'_, Result<Journal, Error>> {
        let begin = || {
            self.create()?;
            let journal = Journal::create(&self.file("journal.jsonl"), probe)?;
            sync_directory(&self.path).map_err(Error::io("sync", &self.path))?;
            Ok(journal)
        };
        futures::future::ready(begin()).boxed()
    }

    fn end_journal(&self) -> BoxFuture<'_, Result<(), Error>> {
        let end = || {
            let path = self.file("journal.jsonl");
            match fs::remove_file(&path) {
                Ok(()) => sync_directory(&self.path).map_err(Error::io("sync", &self.path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(Error::io("remove", path)(error)),
            }
        };
        futures::future::ready(end()).boxed()
    }
}

/// Writes a file so that it is the old one or the new one, whenever the machine dies.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let next = path.with_extension("json.next");
    let mut file = File::create(&next)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    sync_directory(path.parent().unwrap_or_else(|| Path::new(".")))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
