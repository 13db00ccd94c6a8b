//! What both dialects do: read, write, lock, unlock, delete, list; guarded and written down.

use super::audit::{Audit, Entry};
use crate::blobs::{Condition, Meta};
use crate::error::Error;
use crate::lock::{LockInfo, Owner, SUFFIX};
use crate::store::{HISTORY, Store, Stored, lock_key};
use crate::terraform;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Where Terraform's S3 backend keeps the workspaces.
const WORKSPACES: &str = "env:/";

/// A store, as the dialects see it.
#[derive(Debug)]
pub(super) struct Gate {
    store: Store,
    /// Put before every key; empty, or with a `/` at its end.
    prefix: String,
    audit: Audit,
    /// What every lock is marked with: whose end makes it an orphan.
    owner: Mutex<Option<Owner>>,
    /// The locks that were given here and are not released: the key in the store, and the lock's ID.
    given: Mutex<HashMap<String, String>>,
    /// The state that was read last: Terraform asks for it several times, and in pieces.
    last: Mutex<Option<(String, Stored)>>,
    /// The digest of what was written here last, of each key: that one is in the history.
    written: Mutex<HashMap<String, String>>,
}

impl Gate {
    pub(super) fn new(store: Store, prefix: &str, audit: Audit) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self {
            store,
            prefix,
            audit,
            owner: Mutex::default(),
            given: Mutex::default(),
            last: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// From now on, locks end with this process.
    pub(super) fn owned_by(&self, owner: Option<Owner>) {
        *self.owner.lock() = owner;
    }

    /// The key in the store. The workspaces stay in front, where `windlass state --workspace` looks for them.
    pub(super) fn key(&self, key: &str) -> Result<String, Error> {
        let bad = |reason: &str| Err(Error::Address { address: key.to_owned(), reason: reason.to_owned() });
        if key.split('/').any(|part| matches!(part, "" | "." | "..")) || key.contains(char::is_control) {
            return bad("a key is made of names with '/' between them");
        }
        let whole = match key.strip_prefix(WORKSPACES).and_then(|rest| rest.split_once('/')) {
            Some((workspace, rest)) => format!("{WORKSPACES}{workspace}/{}{rest}", self.prefix),
            None => format!("{}{key}", self.prefix),
        };
        if whole.starts_with(HISTORY) {
            return bad("what begins with history/ are old versions; `windlass state show` shows one");
        }
        Ok(whole)
    }

    /// The key as Terraform knows it; `None` for what is not below the prefix.
    fn outside(&self, whole: &str) -> Option<String> {
        if whole.starts_with(HISTORY) {
            return None;
        }
        match whole.strip_prefix(WORKSPACES).and_then(|rest| rest.split_once('/')) {
            Some((workspace, rest)) => {
                Some(format!("{WORKSPACES}{workspace}/{}", rest.strip_prefix(self.prefix.as_str())?))
            }
            None => whole.strip_prefix(self.prefix.as_str()).map(str::to_owned),
        }
    }

    fn note(&self, key: &str, entry: Entry<'_>) {
        let place = self.store.place(key);
        self.audit.add(Entry { place: &place, ..entry });
    }

    fn failed(&self, protocol: &'static str, operation: &'static str, key: &str, error: &Error) {
        tell(error);
        self.note(key, Entry { protocol, operation, result: error.code(), ..Entry::default() });
    }

    /// A state. A piece of one that was just read is not written down again.
    pub(super) async fn read(&self, protocol: &'static str, key: &str) -> Result<Option<Stored>, Error> {
        let result = self.fetch(key).await;
        let entry = Entry { protocol, operation: "read", ..Entry::default() };
        match &result {
            Ok(Some((stored, true))) => self.note(
                key,
                Entry {
                    result: "done",
                    sha256: Some(&stored.sha256),
                    bytes: Some(stored.content.len()),
                    ..entry
                },
            ),
            Ok(Some((_, false))) => {}
            Ok(None) => self.note(key, Entry { result: "absent", ..entry }),
            Err(error) => self.failed(protocol, "read", key, error),
        }
        Ok(result?.map(|(stored, _)| stored))
    }

    /// A state, and whether it was read anew.
    async fn fetch(&self, key: &str) -> Result<Option<(Stored, bool)>, Error> {
        let last = self.last.lock().clone().filter(|(of, _)| of == key);
        if let Some((_, stored)) = last {
            match self.store.blobs().head(key).await? {
                None => return Ok(None),
                Some(meta) if meta.tag.as_ref() == Some(&stored.tag) => return Ok(Some((stored, false))),
                Some(_) => {}
            }
        }
        let Some(stored) = self.store.read(key).await? else { return Ok(None) };
        *self.last.lock() = Some((key.to_owned(), stored.clone()));
        Ok(Some((stored, true)))
    }

    /// Writes a version, and gives its digest. What would replace another state, or a newer one, is refused: of two that
    /// write without a lock, one wins and the other is told.
    pub(super) async fn write(
        &self,
        protocol: &'static str,
        key: &str,
        content: &Bytes,
        lock: Option<&str>,
    ) -> Result<String, Error> {
        let entry = Entry {
            protocol,
            operation: "write",
            result: "done",
            bytes: Some(content.len()),
            lock,
            ..Entry::default()
        };
        match self.replace(key, content).await {
            Ok((serial, sha256)) => {
                self.note(key, Entry { serial: Some(serial), sha256: Some(&sha256), ..entry });
                Ok(sha256)
            }
            Err(error) => {
                tell(&error);
                self.note(key, Entry { result: error.code(), ..entry });
                Err(error)
            }
        }
    }

    async fn replace(&self, key: &str, content: &Bytes) -> Result<(u64, String), Error> {
        let place = self.store.place(key);
        let new = terraform::parse(&place, content)?;
        // What Terraform wrote past this endpoint is in no history, and would be lost now.
        let mut unkept = None;
        let condition = match self.fetch(key).await? {
            None => Condition::Absent,
            // The answer got lost, and it is sent again.
            Some((there, _)) if there.content == *content => return Ok((new.serial, there.sha256)),
            Some((there, _)) => {
                let old = terraform::parse(&place, &there.content)?;
                if old.lineage != new.lineage {
                    return Err(Error::ForeignLineage { place, found: old.lineage, wanted: new.lineage });
                }
                if old.serial > new.serial {
                    return Err(Error::LowerSerial { place, found: old.serial, wanted: new.serial });
                }
                if old.serial == new.serial {
                    return Err(Error::Fork { place, serial: new.serial });
                }
                if self.written.lock().get(key) != Some(&there.sha256) {
                    unkept = Some((old.serial, there.content));
                }
                Condition::Is(there.tag)
            }
        };
        *self.last.lock() = None;
        if let Some((serial, content)) = unkept {
            self.store.keep(key, serial, &content).await?;
        }
        let written = self.store.write(key, new.serial, content, &condition).await?;
        self.written.lock().insert(key.to_owned(), written.sha256.clone());
        Ok((new.serial, written.sha256))
    }

    /// Deletes a state, as Terraform does with a workspace. Its last version stays in the history.
    pub(super) async fn delete(&self, protocol: &'static str, key: &str) -> Result<(), Error> {
        let result = async {
            let Some((there, _)) = self.fetch(key).await? else { return Ok("absent") };
            if let Ok(summary) = terraform::parse(&self.store.place(key), &there.content) {
                self.store.keep(key, summary.serial, &there.content).await?;
            }
            *self.last.lock() = None;
            self.store.blobs().delete(key, Some(&there.tag)).await?;
            Ok("done")
        };
        match result.await {
            Ok(result) => {
                self.note(key, Entry { protocol, operation: "delete", result, ..Entry::default() });
                Ok(())
            }
            Err(error) => {
                self.failed(protocol, "delete", key, &error);
                Err(error)
            }
        }
    }

    /// Takes a lock with Terraform's own content; `Err` says who has it.
    pub(super) async fn lock(
        &self,
        protocol: &'static str,
        key: &str,
        content: &[u8],
    ) -> Result<Result<LockInfo, LockInfo>, Error> {
        let info = LockInfo { owner: self.owner.lock().clone(), ..LockInfo::parse(content) };
        let entry = Entry { protocol, operation: "lock", ..Entry::default() };
        match self.store.take(key, &info).await {
            Ok(Ok(held)) => {
                self.given.lock().insert(key.to_owned(), info.id.clone());
                let took_over = held.took_over.as_ref().map(|lock| lock.id.as_str());
                let (lock, who) = (Some(info.id.as_str()), Some(info.who.as_str()));
                self.note(key, Entry { result: "done", lock, who, took_over, ..entry });
                Ok(Ok(info))
            }
            Ok(Err(holder)) => {
                let (lock, who) = (Some(holder.id.as_str()), Some(holder.who.as_str()));
                self.note(key, Entry { result: "locked", lock, who, ..entry });
                Ok(Err(holder))
            }
            Err(error) => {
                self.failed(protocol, "lock", key, &error);
                Err(error)
            }
        }
    }

    /// Who has the lock.
    pub(super) async fn holder(&self, key: &str) -> Result<Option<LockInfo>, Error> {
        self.store.holder(key).await
    }

    /// Releases a lock: the one of this ID; without one, the one that was given here, or whichever there is. One that is
    /// gone already is no error: the answer may have got lost.
    pub(super) async fn unlock(
        &self,
        protocol: &'static str,
        key: &str,
        id: Option<&str>,
    ) -> Result<(), Error> {
        let given = self.given.lock().get(key).cloned();
        let result = async {
            let Some(holder) = self.store.holder(key).await? else { return Ok(None) };
            let id = id.map(str::to_owned).or_else(|| given.clone()).unwrap_or(holder.id);
            self.store.release(key, &id).await.map(Some)
        };
        match result.await {
            Ok(lock) => {
                self.given.lock().remove(key);
                let result = if lock.is_some() { "done" } else { "absent" };
                let lock = lock.as_ref().map(|lock| lock.id.as_str());
                self.note(key, Entry { protocol, operation: "unlock", result, lock, ..Entry::default() });
                Ok(())
            }
            Err(error) => {
                self.failed(protocol, "unlock", key, &error);
                Err(error)
            }
        }
    }

    /// Releases what was given here and never released, once its takers are known to be gone. The keys.
    pub(super) async fn heal(&self) -> Result<Vec<String>, Error> {
        let left: Vec<(String, String)> =
            self.given.lock().iter().map(|(key, id)| (key.clone(), id.clone())).collect();
        let (mut healed, mut failed) = (Vec::new(), None);
        for (key, id) in left {
            // Somebody may have broken it already, and another have taken it: that one stays.
            match self.unlock("windlass", &key, Some(&id)).await {
                Ok(()) => healed.push(self.store.place(&key)),
                Err(Error::NoLock { .. }) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(healed), Err)
    }

    /// Every state and lock whose key begins like this.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Meta>, Error> {
        let inside = if prefix.starts_with(WORKSPACES) || WORKSPACES.starts_with(prefix) {
            // The prefix of the store stands behind the workspace: what does not fit is sorted out below.
            if prefix.is_empty() { String::new() } else { WORKSPACES.to_owned() }
        } else {
            format!("{}{prefix}", self.prefix)
        };
        let result = self.store.blobs().list(&inside).await;
        let entry = Entry { protocol: "s3", operation: "list", result: "done", ..Entry::default() };
        match result {
            Ok(found) => {
                self.note(&inside, entry);
                let outside = found
                    .into_iter()
                    .filter_map(|meta| Some(Meta { key: self.outside(&meta.key)?, ..meta }))
                    .filter(|meta| meta.key.starts_with(prefix));
                let mut found: Vec<Meta> = outside.collect();
                found.sort_by(|one, other| one.key.cmp(&other.key));
                Ok(found)
            }
            Err(error) => {
                self.failed("s3", "list", &inside, &error);
                Err(error)
            }
        }
    }

    /// The state that a lock's key locks.
    pub(super) fn locked(key: &str) -> Option<&str> {
        key.strip_suffix(SUFFIX).filter(|state| lock_key(state) == key)
    }
}

/// Says it here as well: Terraform shows nothing of an answer to HEAD but its status.
fn tell(error: &Error) {
    tracing::warn!("{} {error}; {}", error.code(), error.help());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::Bucket;
    use std::sync::Arc;

    fn gate(prefix: &str) -> Gate {
        let store = Store::new(Arc::new(Bucket::in_memory()));
        Gate::new(store, prefix, Audit::open(None).unwrap())
    }

    fn state(lineage: &str, serial: u64, text: &str) -> Bytes {
        format!(r#"{{"version":4,"serial":{serial},"lineage":"{lineage}","outputs":{{"a":"{text}"}},"resources":[]}}"#)
            .into()
    }

    #[test]
    fn keys_are_where_the_commands_look_for_them() {
        let gate = gate("/team/");
        for (outside, inside) in [
            ("nats/a", "team/nats/a"),
            ("env:/dev/nats/a", "env:/dev/team/nats/a"),
            ("a.tflock", "team/a.tflock"),
        ] {
            assert_eq!(gate.key(outside).unwrap(), inside);
            assert_eq!(gate.outside(inside).as_deref(), Some(outside));
        }
        assert_eq!(gate.outside("env:/dev/other/a"), None);
        for bad in ["", "/a", "a//b", "a/../b", "a\n"] {
            assert_eq!(gate.key(bad).unwrap_err().code(), "WL0701", "{bad:?}");
        }
        assert_eq!(super::tests::gate("").key("history/a/1-b").unwrap_err().code(), "WL0701");
    }

    #[tokio::test]
    async fn only_the_next_version_of_the_same_state_is_taken() {
        let gate = gate("");
        let write = async |content: &Bytes| gate.write("s3", "a", content, None).await.map_err(|e| e.code());
        assert!(write(&state("x", 4, "one")).await.is_ok());
        assert!(write(&state("x", 4, "one")).await.is_ok(), "sent again");
        assert_eq!(write(&state("x", 4, "two")).await, Err("WL0721"));
        assert_eq!(write(&state("x", 3, "two")).await, Err("WL0720"));
        assert_eq!(write(&state("y", 9, "two")).await, Err("WL0719"));
        assert_eq!(write(&Bytes::from_static(b"{")).await, Err("WL0715"));
        assert!(write(&state("x", 6, "two")).await.is_ok());
        let serials: Vec<u64> =
            gate.store.history("a").await.unwrap().iter().map(|past| past.serial).collect();
        assert_eq!(serials, [6, 4]);
        // What was written past it is kept before it is replaced.
        let past = state("x", 7, "past");
        let _ = gate.store.blobs().put("a", past.clone(), &Condition::Always).await.unwrap();
        assert!(write(&state("x", 8, "three")).await.is_ok());
        let kept = gate.store.find("a", "7").await.unwrap();
        assert_eq!(gate.store.past(&kept).await.unwrap().content, past);
        gate.delete("s3", "a").await.unwrap();
        assert!(gate.read("s3", "a").await.unwrap().is_none());
        assert!(write(&state("y", 1, "new")).await.is_ok(), "a new state where there is none");
    }

    #[tokio::test]
    async fn locks_are_given_once_and_healed() {
        let gate = gate("");
        let lock = |id: &str| format!(r#"{{"ID":"{id}","Who":"a@b"}}"#);
        assert!(gate.lock("s3", "a", lock("1").as_bytes()).await.unwrap().is_ok());
        assert!(gate.lock("s3", "a", lock("1").as_bytes()).await.unwrap().is_ok(), "its own, sent again");
        assert_eq!(gate.lock("s3", "a", lock("2").as_bytes()).await.unwrap().unwrap_err().id, "1");
        assert_eq!(gate.unlock("http", "a", Some("2")).await.unwrap_err().code(), "WL0710");
        gate.unlock("s3", "a", None).await.unwrap();
        gate.unlock("s3", "a", None).await.unwrap();
        assert!(gate.lock("s3", "b", lock("3").as_bytes()).await.unwrap().is_ok());
        assert_eq!(gate.heal().await.unwrap().len(), 1);
        assert!(gate.holder("b").await.unwrap().is_none());
    }
}
