//! How far the spool has been drained: a segment and a byte in it.

use std::io::Write;
use std::path::Path;
use std::{fs, io};

/// A place in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

const FILE: &str = "position";

impl Position {
    /// The saved position, or the very beginning: draining twice is harmless, skipping is not.
    pub(crate) fn load(directory: &Path) -> Self {
        let Ok(text) = fs::read_to_string(directory.join(FILE)) else { return Self::default() };
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(segment)), Some(Ok(offset))) => Self { segment, offset },
            _ => Self::default(),
        }
    }

    /// Saves it atomically. It is not fsynced: an older position is as good, only slower.
    pub(crate) fn save(self, directory: &Path) -> io::Result<()> {
        let temporary = directory.join("position.tmp");
        writeln!(fs::File::create(&temporary)?, "{} {}", self.segment, self.offset)?;
        fs::rename(temporary, directory.join(FILE))
    }
}
