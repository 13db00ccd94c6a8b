//! Encrypts a state and its whole history with the first key, so that every other key opens nothing any more.

use crate::blobs::Condition;
use crate::error::Error;
use crate::keys::{TELLING, is_sealed};
use crate::location::Place;
use crate::locks::until;
use crate::store::HISTORY;
use serde::Serialize;
use std::future::Future;
use std::time::Duration;

/// What a rekey did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rekeyed {
    /// How many objects were encrypted anew.
    pub changed: usize,
    /// How many had the first key already.
    pub unchanged: usize,
}

/// Encrypts every workspace and all of its history with the first of the store's keys. `tell` hears how many are done, of how
/// many.
///
/// # Errors
/// When an object cannot be opened with any key, or not be replaced. The same call again goes on with the rest.
pub async fn rekey(
    place: &Place,
    wait: Duration,
    tell: &(dyn Fn(usize, usize) + Sync),
    stop: impl Future<Output = ()>,
) -> Result<Rekeyed, Error> {
    if place.store.keys().is_empty() {
        return Err(Error::NoKey { place: place.store.place(&place.key) });
    }
    until(stop, async |locks| {
        let workspaces = place.workspaces().await?;
        if workspaces.is_empty() {
            return Err(Error::Absent { place: place.store.place(&place.key) });
        }
        let mut keys = Vec::new();
        for workspace in &workspaces {
            let key = place.key_of(workspace);
            locks.take(&place.store, &key, "rekey", wait).await?;
            let history = place.store.blobs().list(&format!("{HISTORY}{key}/")).await?;
            // The history first: should it be protected, the state still has the key that its readers have.
            keys.extend(history.into_iter().map(|meta| meta.key));
            keys.push(key);
        }
        let mut done = Rekeyed::default();
        for (at, key) in keys.iter().enumerate() {
            match one(place, key).await? {
                true => done.changed += 1,
                false => done.unchanged += 1,
            }
            tell(at + 1, keys.len());
        }
        Ok(done)
    })
    .await
}

async fn one(place: &Place, key: &str) -> Result<bool, Error> {
    let store = &place.store;
    let first = store.clone().with_keys(store.keys().first());
    // Plain text opens with any key, so what it is must be known as well.
    let Some(mut reading) = store.blobs().read(key).await? else { return Ok(false) };
    let is_sealed = is_sealed(&reading.peek(TELLING).await?);
    drop(reading);
    if is_sealed {
        match first.digest_of(key).await {
            Ok(_) => return Ok(false),
            Err(Error::WrongKey { .. } | Error::NoKey { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let Some(there) = store.read(key).await? else { return Ok(false) };
    match first.put(key, &there.content, &Condition::Is(there.tag)).await {
        Ok(_) => {}
        Err(Error::Kept { place }) if key.starts_with(HISTORY) => {
            return Err(Error::Protected { place, reason: "a bucket lock rule keeps it".to_owned() });
        }
        Err(Error::Denied { reason, .. } | Error::Answer { reason, .. }) if key.starts_with(HISTORY) => {
            return Err(Error::Protected { place: store.place(key), reason });
        }
        Err(error) => return Err(error),
    }
    drop(there.content);
    first.compare(key, &there.sha256).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::Bucket;
    use crate::keys::{Keys, generate};
    use crate::store::Store;
    use crate::terraform::tests::state;
    use secrecy::ExposeSecret;
    use std::future::pending;
    use std::sync::Arc;

    fn keys(secrets: &[&secrecy::SecretString]) -> Keys {
        let mut keys = Keys::none();
        secrets.iter().for_each(|secret| keys.add(secret.expose_secret()).unwrap());
        keys
    }

    #[tokio::test]
    async fn afterwards_the_old_key_opens_nothing() {
        let (old, new) = (generate().1, generate().1);
        let blobs: Arc<dyn crate::blobs::Blobs> = Arc::new(Bucket::in_memory());
        let store =
            |secrets: &[&secrecy::SecretString]| Store::new(Arc::clone(&blobs)).with_keys(keys(secrets));
        for (key, serial) in [("a", 1), ("a", 2), ("env:/dev/a", 7)] {
            let content = state("one", serial, 2);
            store(&[&old]).write(key, serial, &content, &Condition::Always).await.unwrap();
        }
        // One that was never encrypted is encrypted too.
        store(&[]).keep("a", 0, &state("one", 0, 1)).await.unwrap();
        let run = async |secrets: &[&secrecy::SecretString]| {
            rekey(&Place::on(store(secrets), "a"), Duration::ZERO, &|_, _| (), pending()).await
        };
        assert_eq!(run(&[]).await.unwrap_err().code(), "WL0722");
        assert_eq!(run(&[&new]).await.unwrap_err().code(), "WL0723");
        assert_eq!(run(&[&new, &old]).await.unwrap().changed, 5);
        assert_eq!(run(&[&new, &old]).await.unwrap(), Rekeyed { changed: 0, unchanged: 6 });
        for meta in blobs.list("").await.unwrap() {
            assert!(store(&[&new]).read(&meta.key).await.is_ok(), "{}", meta.key);
            assert_eq!(store(&[&old]).read(&meta.key).await.unwrap_err().code(), "WL0723", "{}", meta.key);
        }
    }
}
