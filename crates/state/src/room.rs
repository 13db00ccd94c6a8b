//! Memory for a whole state, which goes back to the system the moment it is let go.
//!
//! An allocator keeps what was freed for a while. Of something small that is its purpose; of a state of 50 MB it means that
//! the next one takes memory beside the one that is gone. So a large one gets pages of its own.

use bytes::Bytes;
use memmap2::MmapMut;
use std::io::{self, Read, Write};

/// Below, the allocator's memory will do.
const LARGE: usize = 1 << 20;

/// Room for so many bytes. It grows when there are more.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Memory,
    filled: usize,
}

#[derive(Debug)]
enum Memory {
    Pages(MmapMut),
    Heap(Vec<u8>),
}

impl Memory {
    fn new(size: usize) -> Self {
        let pages = (size >= LARGE).then(|| MmapMut::map_anon(size).ok()).flatten();
        pages.map_or_else(|| Self::Heap(vec![0; size]), Self::Pages)
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl Room {
    /// Room for so many bytes, if they are as many as that.
    pub(crate) fn new(size: u64) -> Self {
        Self { memory: Memory::new(usize::try_from(size).unwrap_or(0)), filled: 0 }
    }

    /// Reads to the end.
    pub(crate) fn read_from(&mut self, source: &mut impl Read) -> io::Result<()> {
        loop {
            self.have(1);
            match source.read(&mut self.memory.as_mut()[self.filled..]) {
                Ok(0) => return Ok(()),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds some bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.have(bytes.len());
        self.memory.as_mut()[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// What is in it.
    pub(crate) fn freeze(self) -> Bytes {
        let Self { memory, filled } = self;
        match memory {
            Memory::Heap(mut bytes) => {
                bytes.truncate(filled);
                bytes.into()
            }
            pages => Bytes::from_owner(pages).slice(..filled),
        }
    }

    /// Makes room for so many more.
    fn have(&mut self, more: usize) {
        let room = self.memory.as_ref().len();
        let wanted = self.filled + more;
        if wanted > room {
            let mut larger = Memory::new(wanted.max(room * 2).max(4_096));
            larger.as_mut()[..self.filled].copy_from_slice(&self.memory.as_ref()[..self.filled]);
            self.memory = larger;
        }
    }
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_whatever_was_expected() {
        let content: Vec<u8> = (0..3 * LARGE).map(|n| n as u8).collect();
        for length in [0, 1, LARGE - 1, LARGE, content.len()] {
            for expected in [0, 1, length as u64, LARGE as u64, u64::from(u32::MAX)] {
                let wanted = &content[..length];
                let mut room = Room::new(expected);
                wanted.chunks(70_001).for_each(|piece| room.write_all(piece).unwrap());
                assert!(room.freeze() == wanted, "{length} where {expected} were expected");
                let mut room = Room::new(expected);
                room.read_from(&mut &*wanted).unwrap();
                assert!(room.freeze() == wanted, "{length} where {expected} were expected");
            }
        }
    }
}
