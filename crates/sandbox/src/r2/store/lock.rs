//! Locks that hold between processes: an advisory lock of the kernel's on a file, which ends with its holder.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Guard {
    // Closing it gives the lock back.
    _file: File,
}

/// How a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// Waits for the lock on this file. Never from an asynchronous task: it blocks.
pub fn wait(path: &Path, kind: Kind) -> io::Result<Guard> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let operation = match kind {
        Kind::Shared => FlockOperation::LockShared,
        Kind::Exclusive => FlockOperation::LockExclusive,
    };
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(Guard { _file: file }),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the exclusive lock on an open file if nobody has it.
pub fn try_exclusive(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
