//! The state in a directory, on S3 or on R2: every version kept, and encrypted where there are keys.
//!
//! ```text
//! state.json                                    the state
//! state.json.tflock                             the lock, in a bucket; in a directory the kernel's on the file `lock`
//! history/…/state.json/<serial>-<SHA-256>       every version that was written
//! journal/<serial>-<run>/<number>               lines of a journal, create-only
//! journal/<serial>-<run>/key                    what they are encrypted with, where there are keys
//! ```
//!
//! R2 takes one write a second to one key, so a journal is many small objects and never one that grows; what has gathered
//! while others were being written shares an object. The state names the journals that are in it: its write is the one
//! moment from which they count no more, and removing them is only tidying up. A directory without keys keeps its journal
//! in one file, which is faster there.
//!
//! Everything runs on a thread of its own. The lock can be released from wherever it is dropped, and a caller with one
//! thread that is busy or asks a question keeps nothing waiting.

use super::{Directory, Holder, Lock, Locked, Store, parse};
use crate::error::Error;
use crate::journal::{self, Entry, Journal, Probe, Waiting, gathered};
use crate::state::State;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, oneshot};
use windlass_state::blobs::{Condition, Tag};
use windlass_state::keys::{Keys, generate};
use windlass_state::store as kept;

/// The name of the state itself.
const STATE: &str = "state.json";
/// Objects of a journal that are written, read or removed at once.
const AT_ONCE: usize = 16;
/// How often a lock that is held is tried again.
const LOOK: Duration = Duration::from_millis(500);
/// How long a lock that nobody wants any more may take to go.
const GOES_WITHIN: Duration = Duration::from_secs(3);
/// The name of the thread.
const THREAD: &str = "state";
/// The name of what a journal is encrypted with.
const KEY: &str = "key";

/// A store with a history, in a directory or a bucket.
#[derive(Debug)]
pub struct Versioned {
    store: kept::Store,
    /// The key of the state.
    key: String,
    /// What stands before the keys of journals.
    journals: String,
    local: Option<Directory>,
    thread: Arc<Thread>,
    taking: Arc<AtomicUsize>,
    memory: Mutex<Memory>,
}

/// What is known since the state was loaded.
#[derive(Debug, Default)]
struct Memory {
    /// The version that was loaded or written, for the next write.
    tag: Option<Tag>,
    serial: u64,
    /// Journals that are in the state.
    included: BTreeSet<String>,
    /// Journals that the next write of the state includes.
    pending: BTreeSet<String>,
}

/// What is stored.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    state: &'a State,
    #[serde(flatten)]
    named: Named,
}

/// The journals that are in a state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Named {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    journals: BTreeSet<String>,
}

/// What stands in the place of a state that was moved.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    moved_to: String,
    moved_at: String,
    serial: u64,
}

/// A thread for what is done to the store.
#[derive(Debug)]
struct Thread(Option<Runtime>);

impl Thread {
    fn new() -> Result<Self, Error> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name(THREAD).enable_all().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(Error::io("start a thread for", "the state"))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            drop(runtime.spawn(work));
        }
    }

    /// Does something there. It goes on when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, answer) = oneshot::channel();
        self.spawn(async move { drop(done.send(work.await)) });
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> Error {
    Error::io("use", "the state")(std::io::Error::other("the thread for it has ended"))
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Whoever drops it may be in a runtime itself, where waiting is not allowed.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The lock of a bucket.
#[derive(Debug)]
struct Held {
    store: kept::Store,
    held: Mutex<Option<kept::Held>>,
    thread: Arc<Thread>,
}

impl Lock for Held {
    fn release(&self) {
        let Some(held) = self.held.lock().take() else { return };
        let store = self.store.clone();
        let (done, answer) = std::sync::mpsc::channel();
        self.thread.spawn(async move {
            if let Err(error) = store.unlock(held).await {
                tracing::warn!(%error, "the state's lock could not be released");
            }
            let _ = done.send(());
        });
        // The thread that does it cannot wait for it.
        if std::thread::current().name() != Some(THREAD) {
            let _ = answer.recv();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The version whose content was put back.
    pub restored: u64,
    /// The serial that was there.
    pub before: u64,
    /// The serial that is there now.
    pub after: u64,
    /// How many resources it has.
    pub resources: usize,
    /// Whether it was there already, so that nothing was written.
    pub already: bool,
}

impl Versioned {
    /// The state in a directory of this machine.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn in_directory(path: &Path, keys: Keys, retention: Option<kept::Retention>) -> Result<Self, Error> {
        let blobs = Arc::new(windlass_state::blobs::Directory::new(path));
        let store = kept::Store::new(blobs).with_keys(keys).with_retention(retention);
        let mut versioned = Self::at(store, "")?;
        versioned.local = Some(Directory::new(path));
        Ok(versioned)
    }

    /// The state in a bucket, below a prefix that ends with `/` or is empty.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn at(store: kept::Store, prefix: &str) -> Result<Self, Error> {
        Ok(Self {
            store,
            key: format!("{prefix}{STATE}"),
            journals: format!("{prefix}journal/"),
            local: None,
            thread: Arc::new(Thread::new()?),
            taking: Arc::default(),
            memory: Mutex::default(),
        })
    }

    /// What it is kept in.
    #[must_use]
    pub fn kept(&self) -> &kept::Store {
        &self.store
    }

    /// The key of the state in it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Who holds the kernel's lock, where it is a directory.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn local_holder(&self) -> Result<Option<Holder>, Error> {
        self.local.as_ref().map_or(Ok(None), Directory::holder)
    }

    /// Whether it is a directory of this machine.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The state in a version, whether it is the current one or an old one.
    ///
    /// # Errors
    /// When it makes no sense, or was moved away.
    pub fn state_of(place: &str, content: &[u8]) -> Result<State, Error> {
        if let Ok(Moved { moved_to, moved_at, .. }) = serde_json::from_slice(content) {
            return Err(Error::MovedAway { from: place.to_owned(), to: moved_to, at: moved_at });
        }
        parse(Path::new(place), content)
    }

    async fn load_it(&self) -> Result<Option<State>, Error> {
        let (store, key) = (self.store.clone(), self.key.clone());
        let read = self.thread.run(async move { Ok(store.read(&key).await?) }).await?;
        let Some(stored) = read else {
            *self.memory.lock() = Memory::default();
            return Ok(None);
        };
        // Also what was moved away can be written over, by whoever moves it back.
        let moved: Option<Moved> = serde_json::from_slice(&stored.content).ok();
        let mut memory = self.memory.lock();
        *memory = Memory { tag: Some(stored.tag.clone()), ..Memory::default() };
        if let Some(moved) = moved {
            memory.serial = moved.serial;
            return Err(Error::MovedAway { from: self.place(), to: moved.moved_to, at: moved.moved_at });
        }
        let state = parse(Path::new(&self.place()), &stored.content)?;
        let named: Named = serde_json::from_slice(&stored.content).unwrap_or_default();
        memory.serial = state.serial;
        memory.included = named.journals;
        Ok(Some(state))
    }

    async fn write(&self, serial: u64, content: Bytes) -> Result<(), Error> {
        let (store, key) = (self.store.clone(), self.key.clone());
        let condition = match &self.memory.lock().tag {
            Some(tag) => Condition::Is(tag.clone()),
            None => Condition::Absent,
        };
        let written = self
            .thread
            .run(async move { Ok(store.write(&key, serial, &content, &condition).await?) })
            .await?;
        let mut memory = self.memory.lock();
        memory.tag = Some(written.tag);
        memory.serial = serial;
        Ok(())
    }

    async fn save_it(&self, state: &State) -> Result<(), Error> {
        let journals = self.memory.lock().pending.clone();
        let document = Document { state, named: Named { journals: journals.clone() } };
        let mut content = serde_json::to_vec(&document)
            .map_err(|error| Error::io("write", self.place())(std::io::Error::other(error)))?;
        content.push(b'\n');
        self.write(state.serial, content.into()).await?;
        self.memory.lock().included = journals;
        Ok(())
    }

    /// The objects of each journal.
    async fn journal_objects(&self) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let (store, prefix) = (self.store.clone(), self.journals.clone());
        self.thread
            .run(async move {
                let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for meta in store.blobs().list(&prefix).await? {
                    if let Some((run, _)) =
                        meta.key.strip_prefix(&prefix).and_then(|rest| rest.split_once('/'))
                    {
                        found.entry(run.to_owned()).or_default().push(meta.key);
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn left_behind_here(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = match &self.local {
            Some(local) => local.left_behind().await?,
            None => Vec::new(),
        };
        // Their names begin with a serial of fixed width: they come in the order in which they were written.
        for (run, objects) in self.journal_objects().await? {
            let included = {
                let mut memory = self.memory.lock();
                memory.pending.insert(run.clone());
                memory.included.contains(&run)
            };
            if !included {
                let (store, prefix) = (self.store.clone(), format!("{}{run}/", self.journals));
                entries.extend(self.thread.run(read_journal(store, prefix, objects)).await?);
            }
        }
        Ok(entries)
    }

    async fn begin(&self, probe: Option<Probe>) -> Result<Journal, Error> {
        if let Some(local) = self.local.as_ref().filter(|_| self.store.keys().is_empty()) {
            return local.begin_journal(probe).await;
        }
        let run = format!("{:010}-{}", self.memory.lock().serial, uuid::Uuid::new_v4());
        self.memory.lock().pending.insert(run.clone());
        let prefix = format!("{}{run}/", self.journals);
        let mut store = self.store.clone();
        if !store.keys().is_empty() {
            // A passphrase costs tenths of a second each time: the journal has a key of its own, which it opens once.
            let (_, secret) = generate();
            let mut keys = Keys::none();
            let unusable = |reason: String| Error::io("encrypt", &prefix)(std::io::Error::other(reason));
            keys.add(secret.expose_secret()).map_err(unusable)?;
            let content = Bytes::copy_from_slice(secret.expose_secret().as_bytes());
            let (outer, key) = (store.clone(), format!("{prefix}{KEY}"));
            let put = async move { Ok(outer.put(&key, &content, &Condition::Absent).await.map(drop)?) };
            self.thread.run(put).await?;
            store = store.with_keys(keys);
        }
        let (journal, waiting) = Journal::to(PathBuf::from(self.store.place(&prefix)), probe);
        self.thread.spawn(write_journal(store, prefix, waiting));
        Ok(journal)
    }

    async fn end(&self) -> Result<(), Error> {
        if let Some(local) = &self.local {
            local.end_journal().await?;
        }
        let included = self.memory.lock().included.clone();
        if included.is_empty() {
            return Ok(());
        }
        let objects = self.journal_objects().await?;
        let gone = objects.into_iter().filter(|(run, _)| included.contains(run));
        let keys: Vec<String> = gone.flat_map(|(_, keys)| keys).collect();
        let store = self.store.clone();
        let removed = self.thread.run(async move {
            let removals = keys.into_iter().map(|key| {
                let store = store.clone();
                async move { store.blobs().delete(&key, None).await.map(drop) }
            });
            futures::stream::iter(removals).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
            Ok(())
        });
        // They count no more; what could not be removed is removed after the next write.
        if let Err(error) = removed.await {
            tracing::warn!(%error, "what an apply had written down was not removed");
        }
        Ok(())
    }

    /// Locks the state for a restore: also one that cannot be read, which may be why somebody restores.
    ///
    /// # Errors
    /// When it is locked, or the store refuses.
    pub async fn open_to_restore(&self, fleet: &str, wait: Duration) -> Result<Locked, Error> {
        match super::open(self, fleet, "restore", wait).await {
            Err(Error::StateUnreadable { .. }) => {
                let lock = self.lock("restore", wait).await?;
                // What is there is remembered, to be written over.
                drop(self.load_it().await);
                let state = State::new(fleet, String::new());
                Ok(Locked { state, recovered: 0, lock })
            }
            opened => opened,
        }
    }

    /// Puts an older version back, under the next serial. What was there stays in the history.
    ///
    /// # Errors
    /// When there is no such version, it is of another history, or the store refuses.
    pub async fn restore(&self, locked: &mut Locked, wanted: &str) -> Result<Restored, Error> {
        let (store, key, name) = (self.store.clone(), self.key.clone(), wanted.to_owned());
        let find = async move {
            let past = store.find(&key, &name).await?;
            let newest = store.history(&key).await?.first().map_or(past.serial, |newest| newest.serial);
            let content = store.past(&past).await?.content;
            Ok((past, newest, content))
        };
        let (past, newest, content) = self.thread.run(find).await?;
        let place = self.store.place(&past.key);
        let old = Self::state_of(&place, &content)?;
        let current = &mut locked.state;
        if old.fleet != current.fleet {
            return Err(Error::OtherFleet {
                path: place.into(),
                found: old.fleet,
                wanted: current.fleet.clone(),
            });
        }
        // Of nothing, any history may be gone on with.
        if current.serial > 0 && old.lineage != current.lineage {
            return Err(Error::OtherLineage { place, found: old.lineage, wanted: current.lineage.clone() });
        }
        let before = current.serial;
        let done =
            |after, resources, already| Restored { restored: past.serial, before, after, resources, already };
        if before > 0 && old.resources == current.resources {
            return Ok(done(before, old.resources.len(), true));
        }
        *current = State { serial: newest.max(before), ..old };
        super::save(self, current).await?;
        Ok(done(current.serial, current.resources.len(), false))
    }

    /// Moves the state of `fleet` with its history from another store to this one, and leaves a note there of where it is.
    /// Killed at any moment, the same call again goes on. Both are locked meanwhile.
    ///
    /// # Errors
    /// When one of them is locked or refuses, or what is here is another state or a newer one.
    pub async fn take_from(
        &self,
        from: &Self,
        fleet: &str,
        wait: Duration,
        tell: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<(State, usize), Error> {
        let theirs = super::open(from, fleet, "move", wait).await?;
        if theirs.state.serial == 0 && theirs.recovered == 0 {
            return Err(windlass_state::Error::Absent { place: from.place() }.into());
        }
        let _ours = self.lock("move", wait).await?;
        let state = theirs.state.clone();
        let there = match self.load_it().await {
            Ok(there) => there,
            Err(Error::MovedAway { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(there) = &there {
            if there.lineage != state.lineage {
                let (found, wanted) = (there.lineage.clone(), state.lineage.clone());
                return Err(Error::OtherLineage { place: self.place(), found, wanted });
            }
            if there.serial > state.serial {
                return Err(Error::Newer { place: self.place(), found: there.serial, wanted: state.serial });
            }
        }
        let (source, source_key) = (from.store.clone(), from.key.clone());
        let history = self.thread.run(async move { Ok(source.history(&source_key).await?) }).await?;
        for (at, past) in history.iter().rev().enumerate() {
            let (source, past) = (from.store.clone(), past.clone());
            let (store, key) = (self.store.clone(), self.key.clone());
            self.thread
                .run(async move {
                    let content = source.past(&past).await?.content;
                    // A note of an earlier move is no version of the state.
                    if serde_json::from_slice::<Moved>(&content).is_err() {
                        store.keep(&key, past.serial, &content).await?;
                    }
                    Ok(())
                })
                .await?;
            tell(at + 1, history.len());
        }
        if there.as_ref() != Some(&state) {
            self.save_it(&state).await?;
        }
        let note = Moved {
            moved_to: self.place(),
            moved_at: jiff::Timestamp::now().to_string(),
            serial: state.serial,
        };
        let content = serde_json::to_vec_pretty(&note)
            .map_err(|error| Error::io("write", from.place())(std::io::Error::other(error)))?;
        from.note(content.into()).await?;
        Ok((state, history.len()))
    }

    /// Replaces the state by a note, in one write.
    async fn note(&self, content: Bytes) -> Result<(), Error> {
        let (store, key) = (self.store.clone(), self.key.clone());
        let tag = self.memory.lock().tag.clone();
        let Some(tag) = tag else { return Ok(()) };
        let put = async move { Ok(store.put(&key, &content, &Condition::Is(tag)).await?) };
        let tag = self.thread.run(put).await?;
        self.memory.lock().tag = Some(tag);
        Ok(())
    }
}

/// Takes the lock for somebody. Where nobody waits for it any more, it is not tried again, and not kept.
async fn take(
    store: &kept::Store,
    key: &str,
    purpose: &str,
    wait: Duration,
    mut done: oneshot::Sender<Result<kept::Held, Error>>,
) {
    let deadline = Instant::now() + wait;
    let taken = loop {
        match store.lock(key, purpose, Duration::ZERO).await {
            Err(windlass_state::Error::Locked { .. }) if Instant::now() < deadline => {
                tokio::select! {
                    () = tokio::time::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))) => {}
                    () = done.closed() => return,
                }
            }
            taken => break taken,
        }
    };
    if let Err(Ok(held)) = done.send(taken.map_err(Error::from))
        && let Err(error) = store.unlock(held).await
    {
        tracing::warn!(%error, "the state's lock could not be released");
    }
}

/// Counts locks that are being taken.
struct Taking(Arc<AtomicUsize>);

impl Taking {
    fn one_more(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Versioned {
    fn drop(&mut self) {
        // Whoever was stopped while it took the lock does not leave it behind.
        let deadline = Instant::now() + GOES_WITHIN;
        while self.taking.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn read_journal(
    store: kept::Store,
    prefix: String,
    mut objects: Vec<String>,
) -> Result<Vec<Entry>, Error> {
    let key = format!("{prefix}{KEY}");
    objects.retain(|object| *object != key);
    let mut inner = store.clone();
    if let Some(stored) = store.read(&key).await? {
        let mut keys = Keys::none();
        let unusable = |reason: String| Error::StateUnreadable { path: key.clone().into(), reason };
        let text = std::str::from_utf8(&stored.content).map_err(|error| unusable(error.to_string()))?;
        keys.add(text).map_err(unusable)?;
        inner = inner.with_keys(keys);
    }
    objects.sort();
    let reads = objects.into_iter().map(|object| {
        let store = inner.clone();
        async move {
            let stored = store.read(&object).await?;
            let content = stored.map(|stored| stored.content).unwrap_or_default();
            journal::parse(Path::new(&store.place(&object)), &content)
        }
    });
    let lines: Vec<Vec<Entry>> = futures::stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
    Ok(lines.into_iter().flatten().collect())
}

/// Writes what comes: each object create-only and under a key of its own, several at once. A line is answered when its own
/// object is durable; in which order they become so does not matter, since who waits for one has not gone on.
async fn write_journal(store: kept::Store, prefix: String, mut waiting: mpsc::UnboundedReceiver<Waiting>) {
    let free = Arc::new(Semaphore::new(AT_ONCE));
    let mut number = 0_u64;
    loop {
        let Ok(slot) = Arc::clone(&free).acquire_owned().await else { return };
        let Some(first) = waiting.recv().await else { return };
        let group = gathered(first, &mut waiting);
        number += 1;
        let (store, key) = (store.clone(), format!("{prefix}{number:08}"));
        tokio::spawn(async move {
            let text: Vec<u8> = group.iter().flat_map(|waiting| &waiting.line).copied().collect();
            let result = store.put(&key, &text.into(), &Condition::Absent).await;
            let refused = result.err().map(Error::from);
            for waiting in group {
                waiting.answer(match &refused {
                    None => Ok(()),
                    Some(error) => Err(Error::Store {
                        trouble: crate::Trouble::new(error.code(), error.to_string(), error.help()),
                        bad_input: false,
                    }),
                });
            }
            drop(slot);
        });
    }
}

impl Store for Versioned {
    fn place(&self) -> String {
        self.store.place(&self.key)
    }

    fn lock<'a>(&'a self, purpose: &'a str, wait: Duration) -> BoxFuture<'a, Result<Arc<dyn Lock>, Error>> {
        async move {
            if let Some(local) = &self.local {
                return local.lock(purpose, wait).await;
            }
            let (done, answer) = oneshot::channel();
            let taking = Taking::one_more(&self.taking);
            let (store, key, purpose) = (self.store.clone(), self.key.clone(), purpose.to_owned());
            self.thread.spawn(async move {
                take(&store, &key, &purpose, wait, done).await;
                drop(taking);
            });
            let held = answer.await.unwrap_or_else(|_| Err(ended()))?;
            let (store, held) = (self.store.clone(), Mutex::new(Some(held)));
            Ok(Arc::new(Held { store, held, thread: Arc::clone(&self.thread) }) as Arc<dyn Lock>)
        }
        .boxed()
    }

    fn load(&self) -> BoxFuture<'_, Result<Option<State>, Error>> {
        self.load_it().boxed()
    }

    fn save<'a>(&'a self, state: &'a State) -> BoxFuture<'a, Result<(), Error>> {
        self.save_it(state).boxed()
    }

    fn left_behind(&self) -> BoxFuture<'_, Result<Vec<Entry>, Error>> {
        self.left_behind_here().boxed()
    }

    fn begin_journal(&self, probe: Option<Probe>) -> BoxFuture<'_, Result<Journal, Error>> {
        self.begin(probe).boxed()
    }

    fn end_journal(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.end().boxed()
    }
}

#[cfg(test)]
mod tests;
