//! The lock of a state in a local file, as Terraform takes it: a POSIX record lock on the file itself, which the kernel
//! releases with its holder, and `.NAME.lock.info` beside it, which says who.
//!
//! On Linux it is an open file description lock. It excludes Terraform's just the same, and does not go away when this
//! process closes another handle of the file.

use crate::error::Error;
use crate::lock::LockInfo;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Held until it is dropped, or its process ends.
#[derive(Debug)]
pub(crate) struct LocalLock {
    _file: Option<File>,
    info: PathBuf,
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.info);
    }
}

/// Takes the lock of the file; `Ok(Err(…))` says who has it. A file that is not there needs no lock: whoever makes it,
/// makes it create-only.
pub(crate) fn take(path: &Path, lock: &LockInfo) -> Result<Result<LocalLock, LockInfo>, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let info = path.with_file_name(format!(".{name}.lock.info"));
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let Some(file) = file else { return Ok(Ok(LocalLock { _file: None, info })) };
    if !exclusive(&file).map_err(Error::io("lock", path))? {
        return Ok(Err(LockInfo::parse(&fs::read(&info).unwrap_or_default())));
    }
    // Replaced between opening and locking: it is the lock of what is no longer there. The next try opens the new one.
    if !is_still(&file, path) {
        return Ok(Err(LockInfo::parse(&fs::read(&info).unwrap_or_default())));
    }
    // Says who, for whoever waits. The lock holds without it.
    let _ = fs::write(&info, lock.to_json());
    Ok(Ok(LocalLock { _file: Some(file), info }))
}

fn is_still(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    identity(open) == identity(there)
}

/// Who has the lock, if somebody has it.
pub(crate) fn holder(path: &Path) -> Result<Option<LockInfo>, Error> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    if exclusive(&file).map_err(Error::io("lock", path))? {
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let info = path.with_file_name(format!(".{name}.lock.info"));
    Ok(Some(LockInfo::parse(&fs::read(info).unwrap_or_default())))
}

#[cfg(target_os = "linux")]
fn exclusive(file: &File) -> io::Result<bool> {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    let whole = nix::libc::flock {
        l_type: i16::try_from(nix::libc::F_WRLCK).unwrap_or(1),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exclusive(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, fcntl_lock};
    use rustix::io::Errno;
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
