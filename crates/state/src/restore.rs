//! Puts an older version back: with a serial above the current one and the same lineage, so that Terraform goes on from it.

use crate::blobs::Condition;
use crate::error::Error;
use crate::location::Place;
use crate::locks::until;
use crate::store::{Store, Stored};
use crate::terraform::{self, Summary};
use bytes::Bytes;
use serde::Serialize;
use std::future::Future;
use std::time::Duration;

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Where.
    pub place: String,
    /// The version whose content was put back.
    pub restored: u64,
    /// Its digest.
    pub restored_sha256: String,
    /// The serial that was there.
    pub before: Option<u64>,
    /// The serial that is there now.
    pub after: u64,
    /// The digest of what is there now, as it was read back.
    pub sha256: String,
    /// How many resources it has.
    pub resources: usize,
    /// Whether it was there already, because an earlier run had got so far.
    pub already: bool,
}

/// Restores the version that `wanted` names (see [`crate::store::Store::find`]) in a workspace.
///
/// # Errors
/// When there is no such version, it is of another lineage, or the store fails.
pub async fn restore(
    place: &Place,
    workspace: &str,
    wanted: &str,
    wait: Duration,
    stop: impl Future<Output = ()>,
) -> Result<Restored, Error> {
    let (store, key, name) = (&place.store, place.key_of(workspace), place.place_of(workspace));
    until(stop, async |locks| {
        let past = store.find(&key, wanted).await?;
        locks.take(store, &key, "restore", wait).await?;
        // Read first, and its content not held: opening it may need memory of its own.
        let current = found(store, &key).await?;
        let old = store.past(&past).await?;
        let summary = terraform::parse(&store.place(&past.key), &old.content)?;
        let done = |before, after, sha256, already| Restored {
            place: name.clone(),
            restored: past.serial,
            restored_sha256: past.sha256.clone(),
            before,
            after,
            sha256,
            resources: summary.resources,
            already,
        };
        let Some((current, there)) = current else {
            // Somebody has deleted it: the old version is put back as it was.
            let written = store.write(&key, past.serial, &old.content, &Condition::Absent).await?;
            return Ok(done(None, past.serial, written.sha256, false));
        };
        let there = match there {
            Ok(there) => there,
            // What is there is damaged, which may be why somebody restores. The history says which serials there were.
            Err(Error::Corrupt { .. } | Error::Empty { .. }) => {
                let last = store.history(&key).await?.first().map_or(past.serial, |newest| newest.serial);
                Summary { serial: last, ..summary.clone() }
            }
            Err(error) => return Err(error),
        };
        if there.lineage != summary.lineage {
            let (found, wanted) = (there.lineage, summary.lineage.clone());
            return Err(Error::ForeignLineage { place: name.clone(), found, wanted });
        }
        if terraform::digest_with_serial(&name, &old.content, there.serial)? == current.sha256 {
            return Ok(done(Some(there.serial), there.serial, current.sha256, true));
        }
        let serial = next(store, &key, there.serial, &old.content).await?;
        let mut old = Some(old.content);
        if !store.has(&key, there.serial, &current.sha256).await? {
            old = None;
            store.keep_current(&key, there.serial, &current.tag).await?;
        }
        let old = match old {
            Some(old) => old,
            None => store.past(&past).await?.content,
        };
        let content = terraform::with_serial(&name, &old, serial)?;
        drop(old);
        let written = store.write(&key, serial, &content, &Condition::Is(current.tag)).await?;
        Ok(done(Some(there.serial), serial, written.sha256, false))
    })
    .await
}

/// What is there, without its content, and what that says of itself.
async fn found(store: &Store, key: &str) -> Result<Option<(Stored, Result<Summary, Error>)>, Error> {
    let Some(mut current) = store.read(key).await? else { return Ok(None) };
    let content = std::mem::take(&mut current.content);
    Ok(Some((current, terraform::parse(&store.place(key), &content))))
}

/// The serial for what is put back, above the current one and above all that ever was. What an earlier run that was killed
/// has left in the history is taken up again.
async fn next(store: &Store, key: &str, current: u64, old: &Bytes) -> Result<u64, Error> {
    let newest = store.history(key).await?.into_iter().next().filter(|newest| newest.serial > current);
    let Some(newest) = newest else { return Ok(current.saturating_add(1)) };
    let as_newest = terraform::digest_with_serial(&store.place(key), old, newest.serial)?;
    Ok(if as_newest == newest.sha256 { newest.serial } else { newest.serial.saturating_add(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::Bucket;
    use crate::terraform::tests::state;
    use std::future::pending;
    use std::sync::Arc;

    async fn with(versions: &[(&str, u64, usize)]) -> Place {
        let place = Place::on(Store::new(Arc::new(Bucket::in_memory())), "a");
        for (lineage, serial, resources) in versions {
            let content = state(lineage, *serial, *resources);
            place.store.write("a", *serial, &content, &Condition::Always).await.unwrap();
        }
        place
    }

    async fn run(place: &Place, wanted: &str) -> Result<Restored, Error> {
        restore(place, "default", wanted, Duration::ZERO, pending()).await
    }

    #[tokio::test]
    async fn the_serial_goes_up_and_the_lineage_stays() {
        let place = with(&[("one", 3, 5), ("one", 4, 1)]).await;
        let restored = run(&place, "3").await.unwrap();
        assert_eq!(
            (restored.before, restored.after, restored.resources, restored.already),
            (Some(4), 5, 5, false)
        );
        let now = place.store.read("a").await.unwrap().unwrap();
        let summary = terraform::parse("a", &now.content).unwrap();
        assert_eq!((summary.serial, summary.lineage.as_str(), summary.resources), (5, "one", 5));
        assert_eq!(place.store.history("a").await.unwrap().len(), 3);
        // Twice is the same.
        let again = run(&place, "3").await.unwrap();
        assert_eq!((again.after, again.already), (5, true));
        assert_eq!(place.store.holder("a").await.unwrap(), None);
        assert_eq!(run(&place, "9").await.unwrap_err().code(), "WL0725");
    }

    #[tokio::test]
    async fn a_deleted_or_damaged_state_comes_back() {
        let place = with(&[("one", 3, 5), ("one", 4, 1)]).await;
        place.store.blobs().delete("a", None).await.unwrap();
        assert_eq!(run(&place, "4").await.unwrap().after, 4);
        let _ = place.store.blobs().put("a", "{\"ver".into(), &Condition::Always).await.unwrap();
        let restored = run(&place, "4").await.unwrap();
        assert_eq!((restored.after, restored.resources), (5, 1));
    }

    #[tokio::test]
    async fn another_lineage_is_refused() {
        let place = with(&[("one", 3, 5), ("two", 4, 1)]).await;
        assert_eq!(run(&place, "3").await.unwrap_err().code(), "WL0719");
        assert_eq!(place.store.holder("a").await.unwrap(), None);
    }
}
