//! A store of states: each with its lock, its history and, where there are keys, its encryption.
//!
//! ```text
//! KEY                                   the state
//! KEY.tflock                            its lock, while somebody holds it
//! history/KEY/<serial>-<SHA-256>        every version that was written, create-only
//! ```
//!
//! The digest is of the content before encryption. All history is below one prefix, so that one rule of the bucket can
//! protect all of it and never touches a live state or a lock.
//!
//! It holds anything small enough for memory that has a number which goes up: Terraform's states, a fleet's own state. What
//! has no versions (a journal) goes through [`Store::put`] and [`Store::read`] alone.

use crate::blobs::{Blobs, Condition, Meta, Put, Tag};
use crate::error::Error;
use crate::keys::{Keys, is_sealed};
use crate::local_lock::{self, LocalLock};
use crate::lock::{LockInfo, SUFFIX};
use bytes::Bytes;
use futures::TryStreamExt;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Below this prefix is the history of every key.
pub const HISTORY: &str = "history/";
/// How often a lock that is held is tried again.
const LOOK: Duration = Duration::from_millis(500);

/// How long old versions are kept. What either rule keeps is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many.
    pub count: Option<usize>,
    /// Those that are younger.
    pub age: Option<Duration>,
}

/// A state as it was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its content, decrypted.
    pub content: Bytes,
    /// The digest of its content, in hexadecimal.
    pub sha256: String,
    /// Identifies it in the store, for a conditional write.
    pub tag: Tag,
    /// Whether it was encrypted.
    pub sealed: bool,
    /// When it was written.
    pub modified: Timestamp,
}

/// One version of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The key of the copy.
    pub key: String,
    /// Its serial.
    pub serial: u64,
    /// The digest of its content, in hexadecimal.
    pub sha256: String,
    /// Its length as it is stored.
    pub size: u64,
    /// When it was written.
    pub written: Timestamp,
}

/// A version that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Identifies it in the store.
    pub tag: Tag,
    /// The digest of what was read back.
    pub sha256: String,
}

/// A lock that is held. It ends with [`Store::unlock`]; after the death of its process, the next taker on this machine
/// takes it over.
#[derive(Debug)]
#[must_use]
pub struct Held {
    /// What is locked.
    pub key: String,
    /// The lock.
    pub info: LockInfo,
    /// The lock that was taken over, because its owner is gone.
    pub took_over: Option<LockInfo>,
    local: Option<LocalLock>,
}

impl Held {
    /// Whether it is the lock of a file, which the kernel keeps.
    pub(crate) const fn is_local(&self) -> bool {
        self.local.is_some()
    }
}

/// A store of states.
#[derive(Clone, Debug)]
pub struct Store {
    blobs: Arc<dyn Blobs>,
    keys: Keys,
    retention: Option<Retention>,
    /// The directory whose states Terraform's local backend locks.
    local: Option<PathBuf>,
}

/// The digest of some content, as it stands in names and reports.
#[must_use]
pub fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

impl Store {
    /// A store on these objects: without encryption, and with a history that is never cut.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, keys: Keys::none(), retention: None, local: None }
    }

    /// Encrypts with these keys.
    #[must_use]
    pub fn with_keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// Cuts the history after each write.
    #[must_use]
    pub const fn with_retention(mut self, retention: Option<Retention>) -> Self {
        self.retention = retention;
        self
    }

    /// Locks as Terraform's local backend does, for states that are files in this directory.
    #[must_use]
    pub fn with_local_locks(mut self, directory: PathBuf) -> Self {
        self.local = Some(directory);
        self
    }

    /// The objects below.
    #[must_use]
    pub fn blobs(&self) -> &Arc<dyn Blobs> {
        &self.blobs
    }

    /// The keys.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// For people: where a state is.
    #[must_use]
    pub fn place(&self, key: &str) -> String {
        self.blobs.place(key)
    }

    /// A state, decrypted; `None` when there is none.
    ///
    /// # Errors
    /// When the store fails or no key fits.
    pub async fn read(&self, key: &str) -> Result<Option<Stored>, Error> {
        let Some((meta, stored)) = self.blobs.get(key).await? else { return Ok(None) };
        let (sealed, modified) = (is_sealed(&stored), meta.modified);
        let content = self.keys.open(&self.place(key), &stored)?;
        drop(stored);
        let tag = meta.tag.ok_or_else(|| Error::Answer {
            place: self.place(key),
            reason: "it names no ETag, so nothing can be written conditionally".to_owned(),
        })?;
        Ok(Some(Stored { sha256: digest(&content), content, tag, sealed, modified }))
    }

    /// Writes an object, encrypted where there are keys, without a history.
    ///
    /// # Errors
    /// When the store fails; [`Error::Changed`] when the condition does not hold.
    pub async fn put(&self, key: &str, content: &Bytes, condition: &Condition) -> Result<Tag, Error> {
        let sealed = self.keys.seal(&self.place(key), content)?;
        self.put_sealed(key, sealed, condition).await
    }

    async fn put_sealed(&self, key: &str, sealed: Bytes, condition: &Condition) -> Result<Tag, Error> {
        match self.blobs.put(key, sealed, condition).await? {
            Put::Done(tag) => Ok(tag),
            Put::Refused => Err(Error::Changed { place: self.place(key) }),
        }
    }

    /// Writes a version: first its copy in the history, then the state itself, then reads it back, decrypts it and
    /// compares. What is given back is the digest of what was read.
    ///
    /// # Errors
    /// When the store fails; [`Error::Changed`] when the condition does not hold; [`Error::Damaged`] when what is there
    /// afterwards is not what was sent.
    pub async fn write(
        &self,
        key: &str,
        serial: u64,
        content: &Bytes,
        condition: &Condition,
    ) -> Result<Written, Error> {
        let sha256 = digest(content);
        let sealed = self.keys.seal(&self.place(key), content)?;
        self.keep_sealed(key, serial, &sha256, content, sealed.clone()).await?;
        let tag = self.put_sealed(key, sealed, condition).await?;
        let found = self.read_back(key).await?;
        if found != sha256 {
            return Err(Error::Damaged { place: self.place(key), found, wanted: sha256 });
        }
        self.cut(key).await;
        Ok(Written { tag, sha256: found })
    }

    /// Puts a version into the history, if it is not there.
    ///
    /// # Errors
    /// When the store fails, or what is there is not what its name says.
    pub async fn keep(&self, key: &str, serial: u64, content: &Bytes) -> Result<(), Error> {
        let sha256 = digest(content);
        let name = past_key(key, serial, &sha256);
        if self.blobs.head(&name).await?.is_some() {
            return Ok(());
        }
        let sealed = self.keys.seal(&self.place(&name), content)?;
        self.keep_sealed(key, serial, &sha256, content, sealed).await
    }

    async fn keep_sealed(
        &self,
        key: &str,
        serial: u64,
        sha256: &str,
        content: &Bytes,
        sealed: Bytes,
    ) -> Result<(), Error> {
        let name = past_key(key, serial, sha256);
        if let Put::Done(_) = self.blobs.put(&name, sealed, &Condition::Absent).await? {
            return Ok(());
        }
        // It is there already: of an earlier try, or of a version that was written twice.
        match self.read(&name).await? {
            Some(there) if there.content == *content => Ok(()),
            there => Err(Error::Damaged {
                place: self.place(&name),
                found: there.map_or_else(|| "of nothing".to_owned(), |there| there.sha256),
                wanted: sha256.to_owned(),
            }),
        }
    }

    /// The digest of a state as a reader gets it; without keys, without a second copy in memory.
    async fn read_back(&self, key: &str) -> Result<String, Error> {
        if !self.keys.is_empty() {
            let there = self.read(key).await?;
            return Ok(there.map_or_else(|| "of nothing".to_owned(), |there| there.sha256));
        }
        let mut digest = Sha256::new();
        if let Some(mut reading) = self.blobs.read(key).await? {
            while let Some(piece) = reading.content.try_next().await? {
                digest.update(&piece);
            }
        }
        Ok(hex::encode(digest.finalize()))
    }

    /// Every version of a state, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn history(&self, key: &str) -> Result<Vec<Past>, Error> {
        let prefix = format!("{HISTORY}{key}/");
        let copies = self.blobs.list(&prefix).await?;
        let mut past: Vec<Past> = copies.into_iter().filter_map(|meta| past(&prefix, meta)).collect();
        past.sort_by(|one, other| {
            (other.serial, other.written, &other.sha256).cmp(&(one.serial, one.written, &one.sha256))
        });
        Ok(past)
    }

    /// A version of the history, decrypted and compared with its name.
    ///
    /// # Errors
    /// When the store fails, no key fits, or the content is not what the name says.
    pub async fn past(&self, past: &Past) -> Result<Stored, Error> {
        let place = self.place(&past.key);
        let stored = self.read(&past.key).await?.ok_or_else(|| Error::Absent { place: place.clone() })?;
        if stored.sha256 != past.sha256 {
            return Err(Error::Damaged { place, found: stored.sha256, wanted: past.sha256.clone() });
        }
        Ok(stored)
    }

    /// The version that somebody means by `SERIAL` or `SERIAL-DIGEST`, where the digest may be cut short.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn find(&self, key: &str, wanted: &str) -> Result<Past, Error> {
        let place = self.place(key);
        let (serial, start) = wanted.split_once('-').unwrap_or((wanted, ""));
        let number: Option<u64> = serial.parse().ok();
        let mut found: Vec<Past> = self.history(key).await?;
        found.retain(|past| Some(past.serial) == number && past.sha256.starts_with(start));
        match (found.len(), found.pop()) {
            (1, Some(past)) => Ok(past),
            (count, Some(last)) => {
                let mut digests: Vec<&str> =
                    found.iter().chain([&last]).map(|past| past.sha256.get(..12).unwrap_or("")).collect();
                digests.sort_unstable();
                Err(Error::Ambiguous { place, serial: last.serial, count, digests: digests.join(", ") })
            }
            (_, None) => Err(Error::NoVersion { place, serial: wanted.to_owned() }),
        }
    }

    /// Deletes the versions that the retention does not keep, and says which. The newest is always kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn prune(&self, key: &str, retention: Retention, now: Timestamp) -> Result<Vec<Past>, Error> {
        let mut gone = too_old(self.history(key).await?, retention, now);
        // The oldest first: when it ends half-way, what is left has no gaps.
        gone.reverse();
        for past in &gone {
            self.blobs.delete(&past.key, None).await?;
        }
        Ok(gone)
    }

    async fn cut(&self, key: &str) {
        let Some(retention) = self.retention else { return };
        // The write is done; old versions that cannot be removed now are removed after the next one.
        if let Err(error) = self.prune(key, retention, Timestamp::now()).await {
            tracing::warn!(%error, "old versions were not removed");
        }
    }

    /// Takes the lock of a state, and waits up to `wait` for whoever has it.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody has it who may be alive; when the store fails.
    pub async fn lock(&self, key: &str, operation: &str, wait: Duration) -> Result<Held, Error> {
        let info = LockInfo::new(operation, &self.place(key));
        let deadline = Instant::now() + wait;
        loop {
            let holder = match self.take(key, &info).await? {
                Ok(held) => return Ok(held),
                Err(holder) => holder,
            };
            if Instant::now() >= deadline {
                return Err(Error::Locked {
                    place: self.place(key),
                    who: holder.who,
                    operation: holder.operation,
                    since: holder.created,
                    id: holder.id,
                });
            }
            tokio::time::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Tries once to take a lock with this content, such as one that Terraform has sent. `Ok(Err(…))` says who has it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take(&self, key: &str, info: &LockInfo) -> Result<Result<Held, LockInfo>, Error> {
        let held = |local, took_over| Held { key: key.to_owned(), info: info.clone(), took_over, local };
        if let Some(directory) = &self.local {
            let taken = local_lock::take(&directory.join(key), info)?;
            return Ok(taken.map(|lock| held(Some(lock), None)));
        }
        let name = lock_key(key);
        let content = Bytes::from(info.to_json());
        if let Put::Done(_) = self.blobs.put(&name, content.clone(), &Condition::Absent).await? {
            return Ok(Ok(held(None, None)));
        }
        let Some((meta, there)) = self.blobs.get(&name).await? else {
            // Released this moment: the next try will tell.
            return Ok(match self.blobs.put(&name, content, &Condition::Absent).await? {
                Put::Done(_) => Ok(held(None, None)),
                Put::Refused => Err(self.holder(key).await?.unwrap_or_else(|| LockInfo::parse(b""))),
            });
        };
        let holder = LockInfo::parse(&there);
        if holder.id == info.id {
            return Ok(Ok(held(None, None)));
        }
        let Some(tag) = meta.tag.filter(|_| holder.is_orphaned()) else { return Ok(Err(holder)) };
        // Replaced, not deleted: of several who see the same orphan, one gets it.
        Ok(match self.blobs.put(&name, content, &Condition::Is(tag)).await? {
            Put::Done(_) => {
                tracing::warn!(
                    lock = holder.id,
                    who = holder.who,
                    "took over the lock of a process that is gone"
                );
                Ok(held(None, Some(holder)))
            }
            Put::Refused => Err(self.holder(key).await?.unwrap_or(holder)),
        })
    }

    /// Who holds the lock of a state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn holder(&self, key: &str) -> Result<Option<LockInfo>, Error> {
        if let Some(directory) = &self.local {
            return local_lock::holder(&directory.join(key));
        }
        Ok(self.blobs.get(&lock_key(key)).await?.map(|(_, content)| LockInfo::parse(&content)))
    }

    /// Releases a lock.
    ///
    /// # Errors
    /// When the store fails, or somebody has broken the lock meanwhile.
    pub async fn unlock(&self, held: Held) -> Result<(), Error> {
        match held.local {
            Some(lock) => {
                drop(lock);
                Ok(())
            }
            None => self.release(&held.key, &held.info.id).await.map(drop),
        }
    }

    /// Releases the lock of this ID, whoever took it, and gives it.
    ///
    /// # Errors
    /// When there is no such lock, or the store fails.
    pub async fn release(&self, key: &str, id: &str) -> Result<LockInfo, Error> {
        let place = self.place(key);
        let none =
            |found: &str| Error::NoLock { place: place.clone(), id: id.to_owned(), found: found.to_owned() };
        if self.local.is_some() {
            return Err(none("the lock of a file ends with its process"));
        }
        let name = lock_key(key);
        let Some((meta, content)) = self.blobs.get(&name).await? else {
            return Err(none("it is not locked"));
        };
        let holder = LockInfo::parse(&content);
        if holder.id != id {
            return Err(none(&format!("it is locked by {} (lock {})", holder.who, holder.id)));
        }
        self.blobs.delete(&name, meta.tag.as_ref()).await?;
        Ok(holder)
    }
}

/// The key of a state's lock.
#[must_use]
pub fn lock_key(key: &str) -> String {
    format!("{key}{SUFFIX}")
}

/// The key of a version's copy.
#[must_use]
pub fn past_key(key: &str, serial: u64, sha256: &str) -> String {
    format!("{HISTORY}{key}/{serial}-{sha256}")
}

fn past(prefix: &str, meta: Meta) -> Option<Past> {
    let (serial, sha256) = meta.key.strip_prefix(prefix)?.split_once('-')?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let serial = serial.parse().ok().filter(|_| is_digest)?;
    let sha256 = sha256.to_owned();
    Some(Past { serial, sha256, size: meta.size, written: meta.modified, key: meta.key })
}

/// Of a history with the newest first, what is not to be kept.
fn too_old(history: Vec<Past>, retention: Retention, now: Timestamp) -> Vec<Past> {
    if retention == Retention::default() {
        return Vec::new();
    }
    let kept = |at: usize, past: &Past| {
        let age = Duration::try_from(now.duration_since(past.written)).unwrap_or_default();
        at == 0
            || retention.count.is_some_and(|count| at < count)
            || retention.age.is_some_and(|limit| age < limit)
    };
    history.into_iter().enumerate().filter(|(at, past)| !kept(*at, past)).map(|(_, past)| past).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{Bucket, Directory};
    use crate::keys;
    use crate::lock::Owner;
    use secrecy::ExposeSecret;

    const KEY: &str = "nats/terraform.tfstate";

    fn memory() -> Store {
        Store::new(Arc::new(Bucket::in_memory()))
    }

    #[tokio::test]
    async fn every_version_is_kept_and_found_again() {
        let store = memory();
        let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
        let tag = store.write(KEY, 1, &one, &Condition::Absent).await.unwrap().tag;
        let refused = store.write(KEY, 2, &two, &Condition::Absent).await.unwrap_err();
        assert_eq!(refused.code(), "WL0711");
        store.write(KEY, 2, &two, &Condition::Is(tag)).await.unwrap();
        let history = store.history(KEY).await.unwrap();
        assert_eq!(history.iter().map(|past| past.serial).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(store.past(&history[1]).await.unwrap().content, one);
        assert_eq!(store.find(KEY, "1").await.unwrap(), history[1]);
        assert_eq!(store.find(KEY, "3").await.unwrap_err().code(), "WL0725");
        assert_eq!(store.find(KEY, "x").await.unwrap_err().code(), "WL0725");
        store.keep(KEY, 2, &one).await.unwrap();
        assert_eq!(store.find(KEY, "2").await.unwrap_err().code(), "WL0726");
        let named = format!("2-{}", &digest(&one)[..8]);
        assert_eq!(store.find(KEY, &named).await.unwrap().sha256, digest(&one));
    }

    #[tokio::test]
    async fn a_copy_that_was_tampered_with_is_noticed() {
        let store = memory();
        let content = Bytes::from_static(b"one");
        store.write(KEY, 1, &content, &Condition::Absent).await.unwrap();
        let past = store.find(KEY, "1").await.unwrap();
        let _ = store.blobs().put(&past.key, "other".into(), &Condition::Always).await.unwrap();
        assert_eq!(store.past(&past).await.unwrap_err().code(), "WL0712");
        assert_eq!(store.write(KEY, 1, &content, &Condition::Always).await.unwrap_err().code(), "WL0712");
    }

    #[tokio::test]
    async fn with_keys_nothing_readable_is_stored() {
        let mut keys = Keys::none();
        keys.add(keys::generate().1.expose_secret()).unwrap();
        let store = memory().with_keys(keys);
        let content = Bytes::from_static(b"a secret place");
        store.write(KEY, 1, &content, &Condition::Absent).await.unwrap();
        for meta in store.blobs().list("").await.unwrap() {
            let (_, stored) = store.blobs().get(&meta.key).await.unwrap().unwrap();
            assert!(is_sealed(&stored) && !stored.windows(6).any(|part| part == b"secret"), "{}", meta.key);
        }
        let read = store.read(KEY).await.unwrap().unwrap();
        assert_eq!((read.content, read.sealed), (content, true));
    }

    #[tokio::test]
    async fn a_lock_keeps_others_out_until_it_is_released() {
        let store = memory();
        let held = store.lock(KEY, "migrate", Duration::ZERO).await.unwrap();
        let error = store.lock(KEY, "restore", Duration::ZERO).await.unwrap_err();
        assert_eq!(error.code(), "WL0709");
        assert!(error.to_string().contains(&held.info.id), "{error}");
        assert_eq!(store.release(KEY, "other").await.unwrap_err().code(), "WL0710");
        store.unlock(held).await.unwrap();
        assert_eq!(store.holder(KEY).await.unwrap(), None);
        assert_eq!(store.release(KEY, "x").await.unwrap_err().code(), "WL0710");
    }

    #[tokio::test]
    async fn the_lock_of_a_process_that_is_gone_is_taken_over_by_one() {
        let Some(owner) = Owner::current() else { return };
        let store = memory();
        let gone = LockInfo {
            owner: Some(Owner { started: owner.started + 1, ..owner }),
            ..LockInfo::new("migrate", "x")
        };
        let _ = store.blobs().put(&lock_key(KEY), gone.to_json().into(), &Condition::Absent).await.unwrap();
        let takers = (0..20).map(|_| store.lock(KEY, "restore", Duration::ZERO));
        let taken = futures::future::join_all(takers).await;
        let mut held: Vec<Held> = taken.into_iter().filter_map(Result::ok).collect();
        assert_eq!(held.len(), 1);
        assert_eq!(held.pop().unwrap().took_over.unwrap().id, gone.id);
        // One of Terraform's may live.
        let alive = LockInfo { owner: None, ..gone };
        let _ = store.blobs().put(&lock_key(KEY), alive.to_json().into(), &Condition::Always).await.unwrap();
        assert_eq!(store.lock(KEY, "restore", Duration::ZERO).await.unwrap_err().code(), "WL0709");
    }

    #[tokio::test]
    async fn ones_own_lock_is_recognized_by_its_id() {
        let store = memory();
        let info = LockInfo::new("apply", "x");
        assert!(store.take(KEY, &info).await.unwrap().is_ok());
        assert!(store.take(KEY, &info).await.unwrap().is_ok(), "its answer had got lost");
        assert!(store.take(KEY, &LockInfo::new("apply", "x")).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_local_file_is_locked_as_terraform_locks_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        std::fs::write(root.join("terraform.tfstate"), "{}").unwrap();
        let store = Store::new(Arc::new(Directory::new(&root))).with_local_locks(root.clone());
        let held = store.lock("terraform.tfstate", "migrate", Duration::ZERO).await.unwrap();
        // Reading it closes a handle, which must not end the lock.
        store.read("terraform.tfstate").await.unwrap();
        let error = store.lock("terraform.tfstate", "x", Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains(&held.info.id), "{error}");
        assert!(root.join(".terraform.tfstate.lock.info").exists());
        store.unlock(held).await.unwrap();
        assert!(!root.join(".terraform.tfstate.lock.info").exists());
        assert_eq!(store.holder("terraform.tfstate").await.unwrap(), None);
    }

    #[test]
    fn the_history_is_cut_by_count_and_by_age() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        let past = |serial: u64, day: &str| Past {
            key: serial.to_string(),
            serial,
            sha256: String::new(),
            size: 1,
            written: format!("2026-01-{day}T00:00:00Z").parse().unwrap(),
        };
        let history = || vec![past(4, "02"), past(3, "30"), past(2, "20"), past(1, "01")];
        let gone = |count: Option<usize>, days: Option<u64>| {
            let age = days.map(|days| Duration::from_secs(days * 86_400));
            let gone = too_old(history(), Retention { count, age }, now);
            gone.into_iter().map(|past| past.serial).collect::<Vec<_>>()
        };
        assert_eq!(gone(None, None), Vec::<u64>::new());
        assert_eq!(gone(Some(2), None), [2, 1]);
        assert_eq!(gone(Some(0), None), [3, 2, 1], "the newest is always kept");
        assert_eq!(gone(None, Some(5)), [2, 1]);
        assert_eq!(gone(Some(1), Some(15)), [1]);
    }
}
