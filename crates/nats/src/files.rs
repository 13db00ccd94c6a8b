//! Files that must be whole or absent: written beside their place, flushed, then moved in.
//!
//! A file that already holds the wanted bytes is left alone, so that doing everything twice changes nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Only the owner may read or write.
pub(crate) const PRIVATE_FILE: u32 = 0o600;
/// Only the owner may enter.
pub(crate) const PRIVATE_DIRECTORY: u32 = 0o700;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Creates a directory and its parents, each closed to other users; existing ones stay as they are.
pub(crate) fn create_directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIRECTORY)
        .create(path)
        .map_err(Error::io("create the directory", path))
}

/// Makes `path` hold exactly `content`, private to the owner. Answers whether anything changed.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<bool, Error> {
    match fs::read(path) {
        Ok(found) if found == content => {
            let mode = mode(path)?;
            if mode == PRIVATE_FILE {
                return Ok(false);
            }
            fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE_FILE))
                .map_err(Error::io("set the permissions of", path))?;
            return Ok(true);
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("read", path)(error)),
    }
    let beside = write_beside(path, content)?;
    fs::rename(&beside, path).map_err(|error| {
        _ = fs::remove_file(&beside);
        Error::io("write", path)(error)
    })?;
    flush_parent(path)?;
    Ok(true)
}

/// Writes `path` unless it exists. Answers whether this call was the one that wrote it: of several at once, one is.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<bool, Error> {
    let beside = write_beside(path, content)?;
    // A link, and not a rename, because it fails when somebody else was first.
    let linked = fs::hard_link(&beside, path);
    _ = fs::remove_file(&beside);
    match linked {
        Ok(()) => flush_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("write", path)(error)),
    }
}

/// The permission bits of a file or directory.
pub(crate) fn mode(path: &Path) -> Result<u32, Error> {
    let metadata = fs::metadata(path).map_err(Error::io("look at", path))?;
    Ok(metadata.permissions().mode() & 0o7777)
}

fn write_beside(path: &Path, content: &[u8]) -> Result<PathBuf, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_file_name(format!(".{name}.{}.{number}.tmp", std::process::id()));
    let attempt = (|| {
        // A leftover of a killed process that had the same pid.
        _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()
    })();
    attempt.map_err(|error| {
        _ = fs::remove_file(&beside);
        Error::io("write", path)(error)
    })?;
    Ok(beside)
}

fn flush_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(Error::io("flush", parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_not_written_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        assert!(write(&path, b"one").unwrap());
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(!write(&path, b"one").unwrap());
        assert_eq!(before, fs::metadata(&path).unwrap().modified().unwrap());
        assert!(write(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path).unwrap(), 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn of_many_writers_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let wins: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|number: u8| {
                    let path = &path;
                    scope.spawn(move || usize::from(write_new(path, &[number]).unwrap()))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no leftovers");
    }
}
