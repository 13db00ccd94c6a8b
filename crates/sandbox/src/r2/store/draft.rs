//! What is being written: a file of its own, which a rename puts in its place when it is complete and on disk.

use super::lock;
use crate::r2::object::{self, Checksums, Object, Segment};
use crate::r2::refusal::Refusal;
use crate::r2::sealing::{BLOCK, Cipher, CustomerKey};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum, Md5};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is not yet in its place. Dropping it removes it.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    file: File,
    placed: bool,
}

impl Draft {
    /// A new file in `directory`, locked for as long as it is open, so that no start of another process sweeps it up.
    pub fn new(directory: &Path, sweep_lock: &Path) -> io::Result<Self> {
        let _no_sweep = lock::wait(sweep_lock, lock::Kind::Shared)?;
        let path = directory.join(uuid::Uuid::new_v4().to_string());
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path)?;
        lock::try_exclusive(&file)?;
        Ok(Self { path, file, placed: false })
    }

    /// Appends these bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Appends the first `length` bytes of another file as they are.
    pub fn append(&mut self, from: &File, length: u64) -> io::Result<()> {
        let mut from = from;
        from.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut from.take(length), &mut self.file)?;
        if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Writes the description behind the bytes, brings both to disk, and moves the file to its place.
    pub fn place(mut self, object: &Object, place: &Path) -> io::Result<()> {
        self.write(&object::encode(object)?)?;
        self.move_to(place)
    }

    /// Brings the file to disk and moves it to its place.
    pub fn move_to(mut self, place: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, place)?;
        self.placed = true;
        sync_directory(place)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            // What cannot be removed now is swept up at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Brings a change of names in the directory of this file to disk.
pub fn sync_directory(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Removes what killed processes left: files that nobody holds a lock on.
pub fn sweep(directory: &Path, sweep_lock: &Path) -> io::Result<()> {
    let _alone = lock::wait(sweep_lock, lock::Kind::Exclusive)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match File::open(&path) {
            Ok(file) if lock::try_exclusive(&file)? => fs::remove_file(&path)?,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A body on its way into a draft: hashed, and sealed where there is a key.
pub struct Receiving {
    draft: Draft,
    checksums: ChecksumHasher,
    md5: Md5,
    sealing: Option<Sealing>,
    size: u64,
}

struct Sealing {
    cipher: Cipher,
    salt: [u8; 32],
    block: Vec<u8>,
    number: u64,
    stored: u64,
    stored_md5: Md5,
}

/// A body that has arrived.
#[derive(Debug)]
pub struct Received {
    /// Where it is.
    pub draft: Draft,
    /// What it is.
    pub segment: Segment,
    /// MD5 of what the client sent.
    pub md5: Vec<u8>,
    /// The entity tag: the MD5 in hex, or of the sealed bytes so that it tells nothing of the plain ones.
    pub etag: String,
    /// The checksums that were asked for.
    pub checksums: Checksums,
}

impl Receiving {
    /// Begins. `checksums` are the algorithms that the client uses.
    pub fn new(draft: Draft, checksums: ChecksumHasher, key: Option<&CustomerKey>) -> Result<Self, Refusal> {
        let sealing = match key {
            None => None,
            Some(key) => {
                let salt: [u8; 32] = rand::random();
                Some(Sealing {
                    cipher: key.cipher(&salt)?,
                    salt,
                    block: Vec::with_capacity(BLOCK + crate::r2::sealing::TAG),
                    number: 0,
                    stored: 0,
                    stored_md5: Md5::new(),
                })
            }
        };
        Ok(Self { draft, checksums, md5: Md5::new(), sealing, size: 0 })
    }

    /// Takes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.md5.update(bytes);
        self.checksums.update(bytes);
        self.size += bytes.len() as u64;
        let Some(sealing) = &mut self.sealing else {
            return self.draft.write(bytes);
        };
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - sealing.block.len()));
            sealing.block.extend_from_slice(now);
            bytes = later;
            if sealing.block.len() == BLOCK {
                sealing.flush(&mut self.draft)?;
            }
        }
        Ok(())
    }

    /// There are no more.
    pub fn finish(mut self) -> io::Result<Received> {
        let md5 = self.md5.finalize().to_vec();
        let (segment, etag) = match self.sealing {
            None => (Segment { size: self.size, stored: self.size, salt: None }, hex::encode(&md5)),
            Some(mut sealing) => {
                if !sealing.block.is_empty() {
                    sealing.flush(&mut self.draft)?;
                }
                let salt = Some(hex::encode(sealing.salt));
                let segment = Segment { size: self.size, stored: sealing.stored, salt };
                (segment, hex::encode(&sealing.stored_md5.finalize()[..]))
            }
        };
        let sums = self.checksums.finalize();
        let checksums = Checksums {
            crc32: sums.checksum_crc32,
            crc32c: sums.checksum_crc32c,
            crc64nvme: sums.checksum_crc64nvme,
            sha1: sums.checksum_sha1,
            sha256: sums.checksum_sha256,
        };
        Ok(Received { draft: self.draft, segment, md5, etag, checksums })
    }
}

impl Sealing {
    fn flush(&mut self, draft: &mut Draft) -> io::Result<()> {
        self.cipher.seal(self.number, &mut self.block)?;
        self.stored_md5.update(&self.block);
        self.stored += self.block.len() as u64;
        self.number += 1;
        draft.write(&self.block)?;
        self.block.clear();
        Ok(())
    }
}
