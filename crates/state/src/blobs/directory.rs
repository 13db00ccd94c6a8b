//! Objects in a directory: a file each, replaced by rename, synced with their directory.
//!
//! Writers exclude each other through a lock of the kernel on the directory itself, so that nothing is left behind when one
//! dies; readers need none. A half-written file has a name of its own, which no listing shows and the next write takes.

use super::{Blobs, Condition, Meta, Probe, Put, Reading, Tag};
use crate::error::Error;
use crate::room::Room;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// What is being written; see the module.
const HALF_WRITTEN: &str = ".next";
/// Pieces in which a large file is read.
const PIECE: usize = 1 << 20;

/// A directory of this machine. It is made when something is written.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    probe: Option<Probe>,
}

impl Directory {
    /// The objects below `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), probe: None }
    }

    /// For tests: calls the probe between the single steps of a write.
    #[must_use]
    pub fn with_probe(mut self, probe: Option<Probe>) -> Self {
        self.probe = probe;
        self
    }

    /// The file of an object.
    ///
    /// # Errors
    /// When the key would lead out of the directory.
    pub fn path(&self, key: &str) -> Result<PathBuf, Error> {
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        if key.is_empty()
            || key.contains('\0')
            || key.ends_with('/')
            || !Path::new(key).components().all(inside)
        {
            let reason = "a key is a path below the directory".to_owned();
            return Err(Error::Address { address: key.to_owned(), reason });
        }
        Ok(self.root.join(key))
    }

    fn step(&self) {
        if let Some(probe) = &self.probe {
            probe.step();
        }
    }

    /// Keeps every other writer out until it is dropped.
    fn exclusive(&self) -> Result<File, Error> {
        create_directory(&self.root)?;
        let directory = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        flock(&directory, FlockOperation::LockExclusive)
            .map_err(|error| Error::io("lock", &self.root)(error.into()))?;
        Ok(directory)
    }

    fn put_now(&self, key: &str, content: &[u8], condition: &Condition) -> Result<Put, Error> {
        let path = self.path(key)?;
        let _exclusive = self.exclusive()?;
        match condition {
            Condition::Always => {}
            Condition::Absent if path.symlink_metadata().is_ok() => return Ok(Put::Refused),
            Condition::Absent => {}
            Condition::Is(tag) => {
                if tag_of(&path)?.as_ref() != Some(tag) {
                    return Ok(Put::Refused);
                }
            }
        }
        let parent = path.parent().unwrap_or(&self.root);
        create_directory(parent)?;
        self.step();
        let next = half_written(&path);
        // A state is for its owner alone, unless somebody has decided otherwise.
        let mode = fs::metadata(&path).map_or(0o600, |there| there.permissions().mode() & 0o7777);
        let write = || {
            let mut file = File::options().create(true).write(true).truncate(true).mode(mode).open(&next)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            self.step();
            file.write_all(content)?;
            self.step();
            file.sync_all()
        };
        write().map_err(Error::io("write", &next))?;
        self.step();
        fs::rename(&next, &path).map_err(Error::io("rename", &path))?;
        self.step();
        sync_directory(parent)?;
        Ok(Put::Done(Tag::new(hex::encode(Sha256::digest(content)))))
    }

    fn delete_now(&self, key: &str, tag: Option<&Tag>) -> Result<bool, Error> {
        let path = self.path(key)?;
        if !self.root.is_dir() {
            return Ok(false);
        }
        let _exclusive = self.exclusive()?;
        if tag.is_some() && tag_of(&path)?.as_ref() != tag {
            return Ok(false);
        }
        match fs::remove_file(&path) {
            Ok(()) => {
                self.step();
                sync_directory(path.parent().unwrap_or(&self.root))?;
                Ok(true)
            }
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(Error::io("remove", path)(error)),
        }
    }

    fn list_now(&self, prefix: &str) -> Result<Vec<Meta>, Error> {
        let below = prefix.rsplit_once('/').map_or("", |(directory, _)| directory);
        let start = if below.is_empty() { self.root.clone() } else { self.path(below)? };
        let mut found = Vec::new();
        let mut open = vec![start];
        while let Some(directory) = open.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(Error::io("read", directory)(error)),
            };
            for entry in entries {
                let path = entry.map_err(Error::io("read", &directory))?.path();
                let Some(key) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) else { continue };
                let kind = match fs::metadata(&path) {
                    Ok(kind) => kind,
                    // Removed a moment ago.
                    Err(error) if is_absent(&error) => continue,
                    Err(error) => return Err(Error::io("read", path)(error)),
                };
                let related = key.starts_with(prefix) || prefix.starts_with(&format!("{key}/"));
                if kind.is_dir() && related {
                    open.push(path);
                } else if kind.is_file() && key.starts_with(prefix) && !is_half_written(&path) {
                    found.push(Meta { tag: None, ..meta(key, &kind) });
                }
            }
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    fn blocking<'a, T: Send + 'static>(
        &'a self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let this = self.clone();
        let root = self.root.clone();
        async move {
            tokio::task::spawn_blocking(move || work(&this)).await.unwrap_or_else(|died| {
                Err(Error::Io { action: "work in", path: root, source: io::Error::other(died) })
            })
        }
        .boxed()
    }
}

impl Blobs for Directory {
    fn place(&self, key: &str) -> String {
        let root = self.root.strip_prefix(".").unwrap_or(&self.root);
        root.join(key).display().to_string()
    }

    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Reading>, Error>> {
        let key = key.to_owned();
        self.blocking(move |this| {
            let path = this.path(&key)?;
            let Some(content) = read_whole(&path)? else { return Ok(None) };
            let Some(kind) = absent_is_none(fs::metadata(&path)).map_err(Error::io("read", &path))? else {
                return Ok(None);
            };
            // The tag is of what was read, whatever is there by now.
            let tag = Some(Tag::new(hex::encode(Sha256::digest(&content))));
            let meta = Meta { tag, size: content.len() as u64, ..meta(&key, &kind) };
            let content = futures::stream::once(async move { Ok(content) }).boxed();
            Ok(Some(Reading { meta, content }))
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Meta>, Error>> {
        let key = key.to_owned();
        self.blocking(move |this| {
            let path = this.path(&key)?;
            let Some(tag) = tag_of(&path)? else { return Ok(None) };
            let kind = absent_is_none(fs::metadata(&path)).map_err(Error::io("read", &path))?;
            Ok(kind.map(|kind| Meta { tag: Some(tag), ..meta(&key, &kind) }))
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        content: Bytes,
        condition: &'a Condition,
    ) -> BoxFuture<'a, Result<Put, Error>> {
        let (key, condition) = (key.to_owned(), condition.clone());
        self.blocking(move |this| this.put_now(&key, &content, &condition))
    }

    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a Tag>) -> BoxFuture<'a, Result<bool, Error>> {
        let (key, tag) = (key.to_owned(), tag.cloned());
        self.blocking(move |this| this.delete_now(&key, tag.as_ref()))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Meta>, Error>> {
        let prefix = prefix.to_owned();
        self.blocking(move |this| this.list_now(&prefix))
    }
}

fn meta(key: &str, kind: &fs::Metadata) -> Meta {
    let modified = kind.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    let modified = modified.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    Meta { key: key.to_owned(), size: kind.len(), tag: None, modified }
}

fn read_whole(path: &Path) -> Result<Option<Bytes>, Error> {
    let Some(mut file) = absent_is_none(File::open(path)).map_err(Error::io("open", path))? else {
        return Ok(None);
    };
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    // One more, to see the end without asking for more room.
    let mut room = Room::new(size + 1);
    room.read_from(&mut file).map_err(Error::io("read", path))?;
    Ok(Some(room.freeze()))
}

/// The digest of a file, without holding it in memory.
fn tag_of(path: &Path) -> Result<Option<Tag>, Error> {
    let Some(mut file) = absent_is_none(File::open(path)).map_err(Error::io("open", path))? else {
        return Ok(None);
    };
    let (mut digest, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece).map_err(Error::io("read", path))? {
            0 => break,
            read => digest.update(&piece[..read]),
        }
    }
    Ok(Some(Tag::new(hex::encode(digest.finalize()))))
}

fn half_written(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{HALF_WRITTEN}"))
}

fn is_half_written(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(HALF_WRITTEN)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory and syncs the names of all that were made.
fn create_directory(path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    create_directory(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("make", path)(error));
        }
        _ => {}
    }
    sync_directory(parent)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_keeps_the_promises_of_a_store() {
        let directory = tempfile::tempdir().unwrap();
        crate::blobs::check(std::sync::Arc::new(Directory::new(directory.path().join("a/b")))).await;
    }

    #[test]
    fn no_key_leads_out_of_the_directory() {
        let directory = Directory::new("/x");
        for bad in ["", "..", "a/../b", "/etc/passwd", "a/", "./a", "a\0b"] {
            assert!(directory.path(bad).is_err(), "{bad:?}");
        }
        assert_eq!(directory.path("env:/dev/a.tfstate").unwrap(), Path::new("/x/env:/dev/a.tfstate"));
    }

    #[tokio::test]
    async fn what_is_half_written_is_not_listed_and_does_not_stand_in_the_way() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::new(temporary.path());
        fs::write(temporary.path().join(".a.next"), "half").unwrap();
        assert!(directory.list("").await.unwrap().is_empty());
        let put = directory.put("a", "whole".into(), &Condition::Absent).await.unwrap();
        assert!(matches!(put, Put::Done(_)));
        let mode = fs::metadata(temporary.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
