use super::history::too_old;
use super::*;
use crate::blobs::{Bucket, Directory, Meta, Reading};
use crate::keys;
use crate::lock::{LockInfo, Owner};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use secrecy::ExposeSecret;
use std::time::Duration;

const KEY: &str = "nats/terraform.tfstate";

fn memory() -> Store {
    Store::new(Arc::new(Bucket::in_memory()))
}

#[tokio::test]
async fn every_version_is_kept_and_found_again() {
    let store = memory();
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    let tag = store.write(KEY, 1, &one, &Condition::Absent).await.unwrap().tag;
    let refused = store.write(KEY, 2, &two, &Condition::Absent).await.unwrap_err();
    assert_eq!(refused.code(), "WL0711");
    store.write(KEY, 2, &two, &Condition::Is(tag)).await.unwrap();
    let history = store.history(KEY).await.unwrap();
    assert_eq!(history.iter().map(|past| past.serial).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(store.past(&history[1]).await.unwrap().content, one);
    assert_eq!(store.find(KEY, "1").await.unwrap(), history[1]);
    assert_eq!(store.find(KEY, "3").await.unwrap_err().code(), "WL0725");
    assert_eq!(store.find(KEY, "x").await.unwrap_err().code(), "WL0725");
    store.keep(KEY, 2, &one).await.unwrap();
    assert_eq!(store.find(KEY, "2").await.unwrap_err().code(), "WL0726");
    let named = format!("2-{}", &digest(&one)[..8]);
    assert_eq!(store.find(KEY, &named).await.unwrap().sha256, digest(&one));
}

#[tokio::test]
async fn a_copy_that_was_tampered_with_is_noticed() {
    let store = memory();
    let content = Bytes::from_static(b"one");
    store.write(KEY, 1, &content, &Condition::Absent).await.unwrap();
    let past = store.find(KEY, "1").await.unwrap();
    let _ = store.blobs().put(&past.key, "other".into(), &Condition::Always).await.unwrap();
    assert_eq!(store.past(&past).await.unwrap_err().code(), "WL0712");
    assert_eq!(store.write(KEY, 1, &content, &Condition::Always).await.unwrap_err().code(), "WL0712");
}

#[tokio::test]
async fn with_keys_nothing_readable_is_stored() {
    let mut keys = Keys::none();
    keys.add(keys::generate().1.expose_secret()).unwrap();
    let store = memory().with_keys(keys);
    let content = Bytes::from_static(b"a secret place");
    store.write(KEY, 1, &content, &Condition::Absent).await.unwrap();
    for meta in store.blobs().list("").await.unwrap() {
        let (_, stored) = store.blobs().get(&meta.key).await.unwrap().unwrap();
        assert!(is_sealed(&stored) && !stored.windows(6).any(|part| part == b"secret"), "{}", meta.key);
    }
    let read = store.read(KEY).await.unwrap().unwrap();
    assert_eq!((read.content, read.sealed), (content, true));
}

/// A store whose answers come in pieces of so many bytes, and end after so many pieces.
#[derive(Debug)]
struct InPieces {
    inner: Arc<dyn Blobs>,
    length: usize,
    most: usize,
}

impl Blobs for InPieces {
    fn place(&self, key: &str) -> String {
        self.inner.place(key)
    }

    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Reading>, Error>> {
        async move {
            let Some(reading) = self.inner.read(key).await? else { return Ok(None) };
            let meta = reading.meta.clone();
            let whole = reading.bytes().await?;
            let mut pieces: Vec<Result<Bytes, Error>> = whole
                .chunks(self.length)
                .take(self.most)
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect();
            if whole.len() > self.length * self.most {
                let place = self.place(key);
                pieces.push(Err(Error::Unreachable { place, tries: 1, reason: "the line broke".into() }));
            }
            Ok(Some(Reading { meta, content: stream::iter(pieces).boxed() }))
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Meta>, Error>> {
        self.inner.head(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        content: Bytes,
        condition: &'a Condition,
    ) -> BoxFuture<'a, Result<Put, Error>> {
        self.inner.put(key, content, condition)
    }

    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a Tag>) -> BoxFuture<'a, Result<bool, Error>> {
        self.inner.delete(key, tag)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Meta>, Error>> {
        self.inner.list(prefix)
    }
}

#[tokio::test]
async fn what_comes_in_pieces_is_read_as_a_whole_or_not_at_all() {
    let mut keys = Keys::none();
    keys.add(keys::generate().1.expose_secret()).unwrap();
    let content = Bytes::from((0..300_000_u32).map(|n| n as u8).collect::<Vec<_>>());
    for keys in [Keys::none(), keys] {
        let blobs: Arc<dyn Blobs> = Arc::new(Bucket::in_memory());
        Store::new(Arc::clone(&blobs))
            .with_keys(keys.clone())
            .put(KEY, &content, &Condition::Absent)
            .await
            .unwrap();
        // Seven bytes are too short to tell whether it is encrypted; 70,000 end within age's own pieces.
        for length in [7, 21, 22, 70_000, 1_000_000] {
            let in_pieces = |most| {
                let inner = Arc::clone(&blobs);
                Store::new(Arc::new(InPieces { inner, length, most })).with_keys(keys.clone())
            };
            let read = in_pieces(usize::MAX / length).read(KEY).await.unwrap().unwrap();
            assert!(read.content == content && read.sealed != keys.is_empty(), "{length}");
            in_pieces(usize::MAX / length).compare(KEY, &digest(&content)).await.unwrap();
            if length < 1_000_000 {
                // That the line broke is what is said, and not that the content is damaged.
                for store in [in_pieces(0), in_pieces(3)] {
                    assert_eq!(store.read(KEY).await.unwrap_err().code(), "WL0703", "{length}");
                    assert_eq!(store.digest_of(KEY).await.unwrap_err().code(), "WL0703", "{length}");
                }
            }
        }
        assert_eq!(
            Store::new(blobs).with_keys(keys).compare("other", "x").await.unwrap_err().code(),
            "WL0712"
        );
    }
}

#[tokio::test]
async fn a_lock_keeps_others_out_until_it_is_released() {
    let store = memory();
    let held = store.lock(KEY, "migrate", Duration::ZERO).await.unwrap();
    let error = store.lock(KEY, "restore", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.code(), "WL0709");
    assert!(error.to_string().contains(&held.info.id), "{error}");
    assert_eq!(store.release(KEY, "other").await.unwrap_err().code(), "WL0710");
    store.unlock(held).await.unwrap();
    assert_eq!(store.holder(KEY).await.unwrap(), None);
    assert_eq!(store.release(KEY, "x").await.unwrap_err().code(), "WL0710");
}

#[tokio::test]
async fn the_lock_of_a_process_that_is_gone_is_taken_over_by_one() {
    let Some(owner) = Owner::current() else { return };
    let store = memory();
    let gone = LockInfo {
        owner: Some(Owner { started: owner.started + 1, ..owner }),
        ..LockInfo::new("migrate", "x")
    };
    let _ = store.blobs().put(&lock_key(KEY), gone.to_json().into(), &Condition::Absent).await.unwrap();
    let takers = (0..20).map(|_| store.lock(KEY, "restore", Duration::ZERO));
    let taken = futures::future::join_all(takers).await;
    let mut held: Vec<Held> = taken.into_iter().filter_map(Result::ok).collect();
    assert_eq!(held.len(), 1);
    assert_eq!(held.pop().unwrap().took_over.unwrap().id, gone.id);
    // One of Terraform's may live.
    let alive = LockInfo { owner: None, ..gone };
    let _ = store.blobs().put(&lock_key(KEY), alive.to_json().into(), &Condition::Always).await.unwrap();
    assert_eq!(store.lock(KEY, "restore", Duration::ZERO).await.unwrap_err().code(), "WL0709");
}

#[tokio::test]
async fn ones_own_lock_is_recognized_by_its_id() {
    let store = memory();
    let info = LockInfo::new("apply", "x");
    assert!(store.take(KEY, &info).await.unwrap().is_ok());
    assert!(store.take(KEY, &info).await.unwrap().is_ok(), "its answer had got lost");
    assert!(store.take(KEY, &LockInfo::new("apply", "x")).await.unwrap().is_err());
}

#[tokio::test]
async fn a_local_file_is_locked_as_terraform_locks_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_owned();
    std::fs::write(root.join("terraform.tfstate"), "{}").unwrap();
    let store = Store::new(Arc::new(Directory::new(&root))).with_local_locks(root.clone());
    let held = store.lock("terraform.tfstate", "migrate", Duration::ZERO).await.unwrap();
    // Reading it closes a handle, which must not end the lock.
    store.read("terraform.tfstate").await.unwrap();
    let error = store.lock("terraform.tfstate", "x", Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains(&held.info.id), "{error}");
    assert!(root.join(".terraform.tfstate.lock.info").exists());
    store.unlock(held).await.unwrap();
    assert!(!root.join(".terraform.tfstate.lock.info").exists());
    assert_eq!(store.holder("terraform.tfstate").await.unwrap(), None);
}

#[test]
fn the_history_is_cut_by_count_and_by_age() {
    let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
    let past = |serial: u64, day: &str| Past {
        key: serial.to_string(),
        serial,
        sha256: String::new(),
        size: 1,
        written: format!("2026-01-{day}T00:00:00Z").parse().unwrap(),
    };
    let history = || vec![past(4, "02"), past(3, "30"), past(2, "20"), past(1, "01")];
    let gone = |count: Option<usize>, days: Option<u64>| {
        let age = days.map(|days| Duration::from_secs(days * 86_400));
        let gone = too_old(history(), Retention { count, age }, now);
        gone.into_iter().map(|past| past.serial).collect::<Vec<_>>()
    };
    assert_eq!(gone(None, None), Vec::<u64>::new());
    assert_eq!(gone(Some(2), None), [2, 1]);
    assert_eq!(gone(Some(0), None), [3, 2, 1], "the newest is always kept");
    assert_eq!(gone(None, Some(5)), [2, 1]);
    assert_eq!(gone(Some(1), Some(15)), [1]);
}
