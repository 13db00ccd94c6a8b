//! An image's layers become a root file system, and nothing outside of it.
//!
//! The archive is an enemy's until it is shown otherwise. A path may not climb, and nothing is written, removed or linked
//! through a symbolic link: each directory on the way must be a directory. Devices are refused. The layers are compared
//! with their digests while they are read, and the directory takes its name only when everything is in it.
//!
//! That a layer may not reach through a link that a lower one made is more than the standard asks for; images of whole
//! systems do it, ours never.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use tar::EntryType;

use crate::digest::Tee;
use crate::{Error, Image, Layout};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// More than an image of ours ever holds, and less than what fills a disk.
const LARGEST: u64 = 8 << 30;

/// Unpacks an image into a directory that is not there yet. As root, files get their owners; as anybody else, they are
/// that user's.
///
/// # Errors
/// When the directory is there, the image is damaged or would reach out of the directory, or it cannot be written.
pub fn unpack(layout: &Layout, image: &Image, target: &Path) -> Result<(), Error> {
    if fs::symlink_metadata(target).is_ok() {
        return Err(Error::Exists { path: target.to_owned() });
    }
    let cannot = |source: io::Error| Error::Write { path: target.to_owned(), source };
    let parent =
        target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent).map_err(cannot)?;
    let draft = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(parent).map_err(cannot)?;
    let root = draft.path().join("root");
    fs::DirBuilder::new().mode(0o755).create(&root).map_err(cannot)?;
    let writer = Writer { root: root.clone(), owned: rustix::process::geteuid().is_root() };
    let mut modes = Vec::new();
    for (descriptor, diff_id) in image.layers()? {
        let path = layout.blob(descriptor)?;
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        let mut plain = Tee::new(layout.archive(descriptor)?);
        writer.layer(&mut plain, &mut modes)?;
        // What follows the archive's end belongs to the digest.
        io::copy(&mut plain, &mut io::sink()).map_err(|error| damaged(error.to_string()))?;
        let found = plain.digest();
        if found != diff_id {
            return Err(damaged(format!("the archive in it is {found}, and not {diff_id}")));
        }
    }
    // Last, so that a directory that nobody may write could be filled; the deepest first.
    for (path, mode) in modes.iter().rev() {
        if path.is_dir() {
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).map_err(cannot)?;
        }
    }
    match fs::rename(&root, target) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            Err(Error::Exists { path: target.to_owned() })
        }
        other => other.map_err(cannot),
    }
}

/// Unpacks an image below `directory`, under the name of its digest, unless it is there. What is there is whole, since it
/// took its name last.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_once(layout: &Layout, image: &Image, directory: &Path) -> Result<PathBuf, Error> {
    let target = directory.join(image.digest.replace(':', "-"));
    match unpack(layout, image, &target) {
        Ok(()) | Err(Error::Exists { .. }) => Ok(target),
        Err(error) => Err(error),
    }
}

struct Writer {
    root: PathBuf,
    owned: bool,
}

impl Writer {
    fn layer(&self, archive: &mut impl Read, modes: &mut Vec<(PathBuf, u32)>) -> Result<(), Error> {
        let unreadable = |source: io::Error| Error::Write { path: self.root.clone(), source };
        let mut total = 0;
        // What a layer removes is of the layers below it, so what it brings itself is known.
        let mut brought = std::collections::HashSet::new();
        for entry in tar::Archive::new(archive).entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let refuse = |why: &'static str| Error::Unsafe { entry: shown.clone(), why };
            total += entry.size();
            if total > LARGEST {
                return Err(refuse("the layer is larger than 8 GiB"));
            }
            let raw = entry.path_bytes().into_owned();
            let Some(path) = relative(&raw).map_err(refuse)? else { continue };
            let name = path.file_name().unwrap_or_default();
            let directory = self.directory(path.parent(), modes).map_err(|why| match why {
                Trouble::Unsafe(why) => refuse(why),
                Trouble::Io(source) => Error::Write { path: self.root.join(&path), source },
            })?;
            let place = directory.join(name);
            let cannot = |source: io::Error| Error::Write { path: place.clone(), source };
            if name.as_bytes() == OPAQUE {
                for child in fs::read_dir(&directory).map_err(cannot)? {
                    let child = child.map_err(cannot)?.path();
                    if !brought.contains(&child) {
                        remove(&child).map_err(cannot)?;
                    }
                }
                continue;
            }
            if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
                if matches!(hidden, b"" | b"." | b"..") {
                    return Err(refuse("it hides nothing that has a name"));
                }
                let hidden = directory.join(OsStr::from_bytes(hidden));
                if !brought.contains(&hidden) {
                    remove(&hidden).map_err(cannot)?;
                }
                continue;
            }
            // Nothing that is unpacked here runs as somebody else.
            let mode = entry.header().mode().map_err(cannot)? & 0o1777;
            let kind = entry.header().entry_type();
            if kind == EntryType::Directory {
                if !fs::symlink_metadata(&place).is_ok_and(|found| found.is_dir()) {
                    remove(&place).map_err(cannot)?;
                    fs::DirBuilder::new().mode(0o700).create(&place).map_err(cannot)?;
                }
                modes.push((place.clone(), mode));
            } else {
                remove(&place).map_err(cannot)?;
            }
            match kind {
                EntryType::Directory => {}
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                    let mut file = fs::OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(0o600)
                        .open(&place)
                        .map_err(cannot)?;
                    io::copy(&mut entry, &mut file).map_err(cannot)?;
                }
                EntryType::Symlink => {
                    // Its target is text, and nobody here follows it.
                    let target = entry.link_name_bytes().ok_or_else(|| refuse("it is a link to nothing"))?;
                    std::os::unix::fs::symlink(OsStr::from_bytes(&target), &place).map_err(cannot)?;
                }
                EntryType::Link => {
                    let target = entry.link_name_bytes().ok_or_else(|| refuse("it is a link to nothing"))?;
                    let target =
                        relative(&target).map_err(refuse)?.ok_or_else(|| refuse("it is a link to /"))?;
                    let name = target.file_name().unwrap_or_default();
                    let from = self.existing(target.parent()).map_err(|why| match why {
                        Trouble::Unsafe(why) => refuse(why),
                        Trouble::Io(source) => cannot(source),
                    })?;
                    fs::hard_link(from.join(name), &place).map_err(cannot)?;
                }
                _ => return Err(refuse("it is neither a file, a directory nor a link")),
            }
            if self.owned {
                let owner = |id: u64| u32::try_from(id).map_err(|_| refuse("its owner has no number"));
                let user = owner(entry.header().uid().map_err(cannot)?)?;
                let group = owner(entry.header().gid().map_err(cannot)?)?;
                let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
                chownat(CWD, &place, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| cannot(error.into()))?;
            }
            if matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) {
                fs::set_permissions(&place, fs::Permissions::from_mode(mode)).map_err(cannot)?;
            }
            brought.extend(place.ancestors().take_while(|path| *path != self.root).map(Path::to_owned));
        }
        Ok(())
    }

    /// A directory of the root file system, made where it is missing, which is reached through no link.
    fn directory(&self, path: Option<&Path>, modes: &mut Vec<(PathBuf, u32)>) -> Result<PathBuf, Trouble> {
        let mut place = self.root.clone();
        for name in path.into_iter().flat_map(Path::components) {
            place.push(name);
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(Trouble::Unsafe("its directory is a link or a file")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::DirBuilder::new().mode(0o700).create(&place).map_err(Trouble::Io)?;
                    modes.push((place.clone(), 0o755));
                }
                Err(error) => return Err(Trouble::Io(error)),
            }
        }
        Ok(place)
    }

    fn existing(&self, path: Option<&Path>) -> Result<PathBuf, Trouble> {
        let mut place = self.root.clone();
        for name in path.into_iter().flat_map(Path::components) {
            place.push(name);
            if !fs::symlink_metadata(&place).map_err(Trouble::Io)?.is_dir() {
                return Err(Trouble::Unsafe("the directory of what it links to is a link or a file"));
            }
        }
        Ok(place)
    }
}

enum Trouble {
    Unsafe(&'static str),
    Io(io::Error),
}

/// A path of an archive below the root: `None` for the root itself.
fn relative(bytes: &[u8]) -> Result<Option<PathBuf>, &'static str> {
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            Component::Normal(name) => path.push(name),
            // Archives name `./etc` and `/etc`, and mean the same.
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err("its path climbs out"),
        }
    }
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// Removes whatever is there, without following a link.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
