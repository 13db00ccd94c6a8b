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

mod arriving;
mod history;
mod locking;

use crate::blobs::{Blobs, Condition, Put, Tag};
use crate::error::Error;
use crate::keys::{Keys, TELLING, is_sealed};
use crate::room::Room;
use bytes::Bytes;
pub use history::{HISTORY, Past, Retention, past_key};
use jiff::Timestamp;
pub use locking::{Held, lock_key};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;

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

/// A version that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Identifies it in the store.
    pub tag: Tag,
    /// The digest of what was read back.
    pub sha256: String,
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
        let Some(mut reading) = self.blobs.read(key).await? else { return Ok(None) };
        let modified = reading.meta.modified;
        let tag = reading.meta.tag.clone().ok_or_else(|| Error::Answer {
            place: self.place(key),
            reason: "it names no ETag, so nothing can be written conditionally".to_owned(),
        })?;
        let sealed = is_sealed(&reading.peek(TELLING).await?);
        let content = if sealed {
            let room = Room::new(reading.meta.size);
            self.receive(key, reading, room).await?.freeze()
        } else {
            reading.bytes().await?
        };
        Ok(Some(Stored { sha256: digest(&content), content, tag, sealed, modified }))
    }

    /// Writes an object, encrypted where there are keys, without a history.
    ///
    /// # Errors
    /// When the store fails; [`Error::Changed`] when the condition does not hold.
    pub async fn put(&self, key: &str, content: &Bytes, condition: &Condition) -> Result<Tag, Error> {
        let sealed = self.seal(key, content).await?;
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
        let sealed = self.seal(key, content).await?;
        self.keep_sealed(key, serial, &sha256, sealed.clone()).await?;
        let tag = self.put_sealed(key, sealed, condition).await?;
        self.compare(key, &sha256).await?;
        self.cut(key).await;
        Ok(Written { tag, sha256 })
    }

    /// Reads an object, decrypts it and compares, with none of it in memory as a whole.
    ///
    /// # Errors
    /// When the store fails or no key fits; [`Error::Damaged`] when its content has another digest, or there is none.
    pub async fn compare(&self, key: &str, sha256: &str) -> Result<(), Error> {
        let found = self.digest_of(key).await?.unwrap_or_else(|| "of nothing".to_owned());
        if found == sha256 {
            return Ok(());
        }
        Err(Error::Damaged { place: self.place(key), found, wanted: sha256.to_owned() })
    }

    /// The digest of an object's content; `None` when there is none.
    pub(crate) async fn digest_of(&self, key: &str) -> Result<Option<String>, Error> {
        let Some(reading) = self.blobs.read(key).await? else { return Ok(None) };
        let digest = self.receive(key, reading, Sha256::new()).await?;
        Ok(Some(hex::encode(digest.finalize())))
    }
}

#[cfg(test)]
mod tests;
