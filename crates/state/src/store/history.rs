//! The history of a state: a create-only copy of every version, found again by its serial.

use super::{Store, Stored, digest};
use crate::blobs::{Condition, Meta, Put, Tag};
use crate::error::Error;
use bytes::Bytes;
use jiff::Timestamp;
use std::time::Duration;

/// Below this prefix is the history of every key.
pub const HISTORY: &str = "history/";

/// How long old versions are kept. What either rule keeps is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many.
    pub count: Option<usize>,
    /// Those that are younger.
    pub age: Option<Duration>,
}

/// One version of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The key of the copy.
    pub key: String,
    /// Its serial.
    pub serial: u64,
    /// The digest of its content, in hexadecimal.
    pub sha256: String,
    /// Its length as it is stored.
    pub size: u64,
    /// When it was written.
    pub written: Timestamp,
}

impl Store {
    /// Puts a version into the history, if it is not there.
    ///
    /// # Errors
    /// When the store fails, or what is there is not what its name says.
    pub async fn keep(&self, key: &str, serial: u64, content: &Bytes) -> Result<(), Error> {
        let sha256 = digest(content);
        if self.has(key, serial, &sha256).await? {
            return Ok(());
        }
        let sealed = self.seal(&past_key(key, serial, &sha256), content).await?;
        self.keep_sealed(key, serial, &sha256, sealed).await
    }

    /// Puts the version that is there into the history: what Terraform wrote itself is in none.
    ///
    /// # Errors
    /// As [`Store::keep`]; [`Error::Changed`] when it is not the one of this tag.
    pub(crate) async fn keep_current(&self, key: &str, serial: u64, tag: &Tag) -> Result<(), Error> {
        match self.read(key).await? {
            Some(there) if there.tag == *tag => self.keep(key, serial, &there.content).await,
            _ => Err(Error::Changed { place: self.place(key) }),
        }
    }

    /// Whether the history holds a version.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has(&self, key: &str, serial: u64, sha256: &str) -> Result<bool, Error> {
        Ok(self.blobs.head(&past_key(key, serial, sha256)).await?.is_some())
    }

    pub(super) async fn keep_sealed(
        &self,
        key: &str,
        serial: u64,
        sha256: &str,
        sealed: Bytes,
    ) -> Result<(), Error> {
        let name = past_key(key, serial, sha256);
        if let Put::Done(_) = self.blobs.put(&name, sealed, &Condition::Absent).await? {
            return Ok(());
        }
        // It is there already: of an earlier try, or of a version that was written twice.
        self.compare(&name, sha256).await
    }

    /// Every version of a state, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn history(&self, key: &str) -> Result<Vec<Past>, Error> {
        let prefix = format!("{HISTORY}{key}/");
        let copies = self.blobs.list(&prefix).await?;
        let mut past: Vec<Past> = copies.into_iter().filter_map(|meta| past(&prefix, meta)).collect();
        past.sort_by(|one, other| {
            (other.serial, other.written, &other.sha256).cmp(&(one.serial, one.written, &one.sha256))
        });
        Ok(past)
    }

    /// A version of the history, decrypted and compared with its name.
    ///
    /// # Errors
    /// When the store fails, no key fits, or the content is not what the name says.
    pub async fn past(&self, past: &Past) -> Result<Stored, Error> {
        let place = self.place(&past.key);
        let stored = self.read(&past.key).await?.ok_or_else(|| Error::Absent { place: place.clone() })?;
        if stored.sha256 != past.sha256 {
            return Err(Error::Damaged { place, found: stored.sha256, wanted: past.sha256.clone() });
        }
        Ok(stored)
    }

    /// The version that somebody means by `SERIAL` or `SERIAL-DIGEST`, where the digest may be cut short.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn find(&self, key: &str, wanted: &str) -> Result<Past, Error> {
        let place = self.place(key);
        let (serial, start) = wanted.split_once('-').unwrap_or((wanted, ""));
        let number: Option<u64> = serial.parse().ok();
        let mut found: Vec<Past> = self.history(key).await?;
        found.retain(|past| Some(past.serial) == number && past.sha256.starts_with(start));
        match (found.len(), found.pop()) {
            (1, Some(past)) => Ok(past),
            (count, Some(last)) => {
                let mut digests: Vec<&str> =
                    found.iter().chain([&last]).map(|past| past.sha256.get(..12).unwrap_or("")).collect();
                digests.sort_unstable();
                Err(Error::Ambiguous { place, serial: last.serial, count, digests: digests.join(", ") })
            }
            (_, None) => Err(Error::NoVersion { place, serial: wanted.to_owned() }),
        }
    }

    /// Deletes the versions that the retention does not keep, and says which. The newest is always kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn prune(&self, key: &str, retention: Retention, now: Timestamp) -> Result<Vec<Past>, Error> {
        let mut gone = too_old(self.history(key).await?, retention, now);
        // The oldest first: when it ends half-way, what is left has no gaps.
        gone.reverse();
        for past in &gone {
            self.blobs.delete(&past.key, None).await?;
        }
        Ok(gone)
    }

    pub(super) async fn cut(&self, key: &str) {
        let Some(retention) = self.retention else { return };
        // The write is done; old versions that cannot be removed now are removed after the next one.
        if let Err(error) = self.prune(key, retention, Timestamp::now()).await {
            tracing::warn!(%error, "old versions were not removed");
        }
    }
}

/// The key of a version's copy.
#[must_use]
pub fn past_key(key: &str, serial: u64, sha256: &str) -> String {
    format!("{HISTORY}{key}/{serial}-{sha256}")
}

fn past(prefix: &str, meta: Meta) -> Option<Past> {
    let (serial, sha256) = meta.key.strip_prefix(prefix)?.split_once('-')?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let serial = serial.parse().ok().filter(|_| is_digest)?;
    let sha256 = sha256.to_owned();
    Some(Past { serial, sha256, size: meta.size, written: meta.modified, key: meta.key })
}

/// Of a history with the newest first, what is not to be kept.
pub(super) fn too_old(history: Vec<Past>, retention: Retention, now: Timestamp) -> Vec<Past> {
    if retention == Retention::default() {
        return Vec::new();
    }
    let kept = |at: usize, past: &Past| {
        let age = Duration::try_from(now.duration_since(past.written)).unwrap_or_default();
        at == 0
            || retention.count.is_some_and(|count| at < count)
            || retention.age.is_some_and(|limit| age < limit)
    };
    history.into_iter().enumerate().filter(|(at, past)| !kept(*at, past)).map(|(_, past)| past).collect()
}
