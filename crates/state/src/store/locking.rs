//! Taking and releasing the lock of a state.

use super::Store;
use crate::blobs::{Condition, Put};
use crate::error::Error;
use crate::local_lock::{self, LocalLock};
use crate::lock::{LockInfo, SUFFIX};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How often a lock that is held is tried again.
const LOOK: Duration = Duration::from_millis(500);

/// A lock that is held. It ends with [`Store::unlock`]; after the death of its process, the next taker on this machine
/// takes it over.
#[derive(Debug)]
#[must_use]
pub struct Held {
    /// What is locked.
    pub key: String,
    /// The lock.
    pub info: LockInfo,
    /// The lock that was taken over, because its owner is gone.
    pub took_over: Option<LockInfo>,
    local: Option<LocalLock>,
}

impl Held {
    /// Whether it is the lock of a file, which the kernel keeps.
    pub(crate) const fn is_local(&self) -> bool {
        self.local.is_some()
    }
}

impl Store {
    /// Takes the lock of a state, and waits up to `wait` for whoever has it.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody has it who may be alive; when the store fails.
    pub async fn lock(&self, key: &str, operation: &str, wait: Duration) -> Result<Held, Error> {
        let info = LockInfo::new(operation, &self.place(key));
        let deadline = Instant::now() + wait;
        loop {
            let holder = match self.take(key, &info).await? {
                Ok(held) => return Ok(held),
                Err(holder) => holder,
            };
            if Instant::now() >= deadline {
                return Err(Error::Locked {
                    place: self.place(key),
                    who: holder.who,
                    operation: holder.operation,
                    since: holder.created,
                    id: holder.id,
                });
            }
            tokio::time::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Tries once to take a lock with this content, such as one that Terraform has sent. `Ok(Err(…))` says who has it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take(&self, key: &str, info: &LockInfo) -> Result<Result<Held, LockInfo>, Error> {
        let held = |local, took_over| Held { key: key.to_owned(), info: info.clone(), took_over, local };
        if let Some(directory) = &self.local {
            let taken = local_lock::take(&directory.join(key), info)?;
            return Ok(taken.map(|lock| held(Some(lock), None)));
        }
        let name = lock_key(key);
        let content = Bytes::from(info.to_json());
        if let Put::Done(_) = self.blobs.put(&name, content.clone(), &Condition::Absent).await? {
            return Ok(Ok(held(None, None)));
        }
        let Some((meta, there)) = self.blobs.get(&name).await? else {
            // Released this moment: the next try will tell.
            return Ok(match self.blobs.put(&name, content, &Condition::Absent).await? {
                Put::Done(_) => Ok(held(None, None)),
                Put::Refused => Err(self.holder(key).await?.unwrap_or_else(|| LockInfo::parse(b""))),
            });
        };
        let holder = LockInfo::parse(&there);
        if holder.id == info.id {
            return Ok(Ok(held(None, None)));
        }
        let Some(tag) = meta.tag.filter(|_| holder.is_orphaned()) else { return Ok(Err(holder)) };
        // Replaced, not deleted: of several who see the same orphan, one gets it.
        Ok(match self.blobs.put(&name, content, &Condition::Is(tag)).await? {
            Put::Done(_) => {
                tracing::warn!(
                    lock = holder.id,
                    who = holder.who,
                    "took over the lock of a process that is gone"
                );
                Ok(held(None, Some(holder)))
            }
            Put::Refused => Err(self.holder(key).await?.unwrap_or(holder)),
        })
    }

    /// Who holds the lock of a state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn holder(&self, key: &str) -> Result<Option<LockInfo>, Error> {
        if let Some(directory) = &self.local {
            return local_lock::holder(&directory.join(key));
        }
        Ok(self.blobs.get(&lock_key(key)).await?.map(|(_, content)| LockInfo::parse(&content)))
    }

    /// Releases a lock.
    ///
    /// # Errors
    /// When the store fails, or somebody has broken the lock meanwhile.
    pub async fn unlock(&self, held: Held) -> Result<(), Error> {
        match held.local {
            Some(lock) => {
                drop(lock);
                Ok(())
            }
            None => self.release(&held.key, &held.info.id).await.map(drop),
        }
    }

    /// Releases the lock of this ID, whoever took it, and gives it.
    ///
    /// # Errors
    /// When there is no such lock, or the store fails.
    pub async fn release(&self, key: &str, id: &str) -> Result<LockInfo, Error> {
        let place = self.place(key);
        let none =
            |found: &str| Error::NoLock { place: place.clone(), id: id.to_owned(), found: found.to_owned() };
        if self.local.is_some() {
            return Err(none("the lock of a file ends with its process"));
        }
        let name = lock_key(key);
        let Some((meta, content)) = self.blobs.get(&name).await? else {
            return Err(none("it is not locked"));
        };
        let holder = LockInfo::parse(&content);
        if holder.id != id {
            return Err(none(&format!("it is locked by {} (lock {})", holder.who, holder.id)));
        }
        self.blobs.delete(&name, meta.tag.as_ref()).await?;
        Ok(holder)
    }
}

/// The key of a state's lock.
#[must_use]
pub fn lock_key(key: &str) -> String {
    format!("{key}{SUFFIX}")
}
