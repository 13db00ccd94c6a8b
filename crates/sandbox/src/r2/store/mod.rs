//! Objects in a directory, which several processes may use at once.
//!
//! ```text
//! DIRECTORY/
//! ├── buckets/BUCKET/objects/KEY    an object: its bytes, and behind them what is known of it
//! ├── buckets/BUCKET/uploads/ID/    a multipart upload: what it will be, and its parts
//! ├── drafts/                       what is being written
//! └── locks/                        a lock for each 256th of the keys
//! ```
//!
//! **A write is a rename.** The bytes and their description are one file, complete and on disk before it gets its name,
//! so whoever reads sees the former object or the new one, and whatever is killed, wherever, leaves one of them.
//!
//! **A condition is checked under the key's lock**, which the kernel gives to one process at a time and takes back when
//! that process dies. Between the check and the rename nobody else writes this key: of fifty writers who create a key
//! only if it is not there, one does.
//!
//! Everything here blocks: it is called from threads that may.

mod body;
mod draft;
mod lock;
mod multipart;

pub use body::Body;
pub use draft::{Draft, Received, Receiving};
pub use multipart::{PartRecord, Upload};

use super::condition::Conditions;
use super::limits::Writes;
use super::name;
use super::object::{self, Object};
use super::refusal::Refusal;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The store of one directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Milliseconds; 0 is no limit.
    write_interval: AtomicU64,
    writes: Mutex<Writes>,
}

/// An object that was found, and its open file.
#[derive(Debug)]
pub struct Found {
    /// What is known of it.
    pub object: Object,
    /// Its file, which stays what it is when the key is written anew.
    pub file: File,
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `None` where the file is missing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Store {
    /// Opens a directory, which is made where it is missing.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        for directory in ["buckets", "drafts", "locks"] {
            fs::create_dir_all(root.join(directory))?;
        }
        // Objects are their owner's, whatever the directory above says.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
        let store = Self { root, write_interval: AtomicU64::new(0), writes: Mutex::default() };
        draft::sweep(&store.root.join("drafts"), &store.sweep_lock())?;
        Ok(store)
    }

    /// Keeps R2's limit from now on: one write to one key in this time. `None`: no limit.
    pub fn limit_writes(&self, interval: Option<Duration>) {
        self.write_interval.store(interval.map_or(0, millis), Ordering::Relaxed);
    }

    /// The limit that is kept, in milliseconds.
    pub fn write_interval(&self) -> Option<u64> {
        Some(self.write_interval.load(Ordering::Relaxed)).filter(|interval| *interval > 0)
    }

    fn sweep_lock(&self) -> PathBuf {
        self.root.join("locks/drafts")
    }

    fn bucket(&self, bucket: &str) -> PathBuf {
        self.root.join("buckets").join(bucket)
    }

    fn objects(&self, bucket: &str) -> PathBuf {
        self.bucket(bucket).join("objects")
    }

    fn place(&self, bucket: &str, key: &str) -> PathBuf {
        self.objects(bucket).join(name::file_name(key))
    }

    /// Takes the lock that guards a key.
    fn lock(&self, bucket: &str, key: &str) -> io::Result<lock::Guard> {
        let path = self.root.join("locks").join(format!("{:02x}", name::lock_of(bucket, key)));
        lock::wait(&path, lock::Kind::Exclusive)
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        if !name::is_bucket_name(bucket) {
            return Err(Refusal::InvalidBucketName);
        }
        fs::create_dir_all(self.bucket(bucket).join("uploads"))?;
        match fs::create_dir(self.objects(bucket)) {
            Ok(()) => Ok(draft::sync_directory(&self.objects(bucket))?),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Refusal::BucketExists),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an empty bucket, and the uploads that were begun in it.
    pub fn delete_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        self.check_bucket(bucket)?;
        match fs::remove_dir(self.objects(bucket)) {
            Ok(()) => Ok(fs::remove_dir_all(self.bucket(bucket))?),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(Refusal::BucketNotEmpty),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Refusal::NoSuchBucket),
            Err(error) => Err(error.into()),
        }
    }

    /// Fails where there is no such bucket.
    pub fn check_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        // A name that a bucket cannot have never becomes part of a path.
        if name::is_bucket_name(bucket) && self.objects(bucket).is_dir() {
            return Ok(());
        }
        Err(Refusal::NoSuchBucket)
    }

    /// All buckets by name, with the time of their making.
    pub fn buckets(&self) -> io::Result<Vec<(String, SystemTime)>> {
        let mut buckets = Vec::new();
        for entry in fs::read_dir(self.root.join("buckets"))? {
            let entry = entry?;
            let Ok(bucket) = entry.file_name().into_string() else {
                continue;
            };
            if self.check_bucket(&bucket).is_ok()
                && let Some(metadata) = if_there(entry.metadata())?
            {
                buckets.push((bucket, metadata.modified()?));
            }
        }
        buckets.sort();
        Ok(buckets)
    }

    /// A new draft.
    pub fn draft(&self) -> io::Result<Draft> {
        Draft::new(&self.root.join("drafts"), &self.sweep_lock())
    }

    /// The object with this key.
    pub fn find(&self, bucket: &str, key: &str) -> Result<Found, Refusal> {
        self.check_bucket(bucket)?;
        read(&self.place(bucket, key))?.ok_or(Refusal::NoSuchKey)
    }

    /// Puts a draft in place as an object, if what is there now meets the conditions.
    pub fn commit(
        &self,
        bucket: &str,
        draft: Draft,
        object: Object,
        conditions: &Conditions,
    ) -> Result<Object, Refusal> {
        let guard = self.lock(bucket, &object.key)?;
        self.commit_under(&guard, bucket, draft, object, conditions)
    }

    fn commit_under(
        &self,
        _guard: &lock::Guard,
        bucket: &str,
        draft: Draft,
        mut object: Object,
        conditions: &Conditions,
    ) -> Result<Object, Refusal> {
        self.check_bucket(bucket)?;
        let place = self.place(bucket, &object.key);
        let current = read(&place)?.map(|found| found.object);
        let now = now();
        self.check_limit(bucket, &object.key, current.as_ref(), now)?;
        if !conditions.allow_write(current.as_ref()) {
            return Err(Refusal::PreconditionFailed);
        }
        object.modified = now;
        draft.place(&object, &place)?;
        if let Some(interval) = self.write_interval() {
            self.writes.lock().record(&format!("{bucket}/{}", object.key), now, interval);
        }
        Ok(object)
    }

    /// The limit counts what this process wrote, and what is there from any.
    fn check_limit(
        &self,
        bucket: &str,
        key: &str,
        current: Option<&Object>,
        now: u64,
    ) -> Result<(), Refusal> {
        let Some(interval) = self.write_interval() else {
            return Ok(());
        };
        let fresh = current.is_some_and(|object| now < object.modified.saturating_add(interval));
        if fresh || !self.writes.lock().may(&format!("{bucket}/{key}"), now, interval) {
            return Err(Refusal::TooManyRequests);
        }
        Ok(())
    }

    /// Removes an object. One that is not there is no mistake.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<(), Refusal> {
        self.check_bucket(bucket)?;
        let _guard = self.lock(bucket, key)?;
        let place = self.place(bucket, key);
        match if_there(fs::remove_file(&place))? {
            Some(()) => Ok(draft::sync_directory(&place)?),
            None => Ok(()),
        }
    }

    /// All keys that begin with `prefix`.
    pub fn keys(&self, bucket: &str, prefix: &str) -> Result<BTreeSet<String>, Refusal> {
        self.check_bucket(bucket)?;
        let mut keys = BTreeSet::new();
        for entry in fs::read_dir(self.objects(bucket))? {
            let entry = entry?;
            let known = entry.file_name().to_str().and_then(name::key_of);
            let key = match known {
                Some(key) => Some(key),
                None => read(&entry.path())?.map(|found| found.object.key),
            };
            keys.extend(key.filter(|key| key.starts_with(prefix)));
        }
        Ok(keys)
    }
}

fn millis(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
}

/// The object in this file; `None` when there is none.
fn read(path: &Path) -> io::Result<Option<Found>> {
    let Some(file) = if_there(File::open(path))? else {
        return Ok(None);
    };
    let damaged = || io::Error::other(format!("{} is not an object file", path.display()));
    let length = file.metadata()?.len();
    let trailer_at = length.checked_sub(object::TRAILER).ok_or_else(damaged)?;
    let mut trailer = [0; object::TRAILER as usize];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let described = object::description_length(trailer).ok_or_else(damaged)?;
    let at = trailer_at.checked_sub(described).ok_or_else(damaged)?;
    let mut description = vec![0; usize::try_from(described).map_err(io::Error::other)?];
    file.read_exact_at(&mut description, at)?;
    let object = serde_json::from_slice(&description)?;
    Ok(Some(Found { object, file }))
}
