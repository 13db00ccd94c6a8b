use super::*;
use crate::store::{Locked, conformance, open, read, save};
use crate::{Address, Kind, Recorded};
use serde_json::json;
use windlass_state::blobs::{Blobs, Bucket};
use windlass_state::store::Retention;

const WAIT: Duration = Duration::from_secs(5);

fn key() -> Keys {
    let mut keys = Keys::none();
    keys.add(generate().1.expose_secret()).unwrap();
    keys
}

fn in_bucket(blobs: &Arc<dyn Blobs>, keys: &Keys) -> Versioned {
    let store = kept::Store::new(Arc::clone(blobs)).with_keys(keys.clone());
    Versioned::at(store, "team/acme/").unwrap()
}

fn memory() -> Arc<dyn Blobs> {
    Arc::new(Bucket::in_memory())
}

#[tokio::test]
async fn every_kind_passes_the_suite() {
    for keys in [Keys::none(), key()] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let another = || {
            let store = Versioned::in_directory(&path, keys.clone(), None)?;
            Ok(Box::new(store) as Box<dyn Store>)
        };
        conformance::check(&another).await.unwrap();
        let blobs = memory();
        conformance::check(&|| Ok(Box::new(in_bucket(&blobs, &keys)) as Box<dyn Store>)).await.unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let another = || Ok(Box::new(Directory::new(directory.path().join("state"))) as Box<dyn Store>);
    conformance::check(&another).await.unwrap();
}

async fn record(store: &Versioned, name: &str) -> State {
    let mut locked = open(store, "acme", "apply", WAIT).await.unwrap();
    let address = Address::new(Kind::Stream, name);
    let recorded = Recorded {
        platform: "memory".to_owned(),
        body: json!({}),
        depends_on: BTreeSet::new(),
        uncertain: false,
    };
    locked.state.resources.insert(address, recorded);
    save(store, &mut locked.state).await.unwrap();
    locked.state.clone()
}

fn names(state: &State) -> Vec<&str> {
    state.resources.keys().map(|address| address.name.as_str()).collect()
}

#[tokio::test]
async fn an_older_version_comes_back_under_a_new_serial() {
    let blobs = memory();
    let store = in_bucket(&blobs, &Keys::none());
    record(&store, "A").await;
    record(&store, "B").await;
    let mut locked = store.open_to_restore("acme", WAIT).await.unwrap();
    let done = store.restore(&mut locked, "1").await.unwrap();
    assert_eq!((done.before, done.after, done.resources, done.already), (2, 3, 1, false));
    assert!(store.restore(&mut locked, "1").await.unwrap().already);
    assert_eq!(store.restore(&mut locked, "9").await.unwrap_err().code(), "WL0725");
    drop(locked);
    let (state, _) = read(&store, "acme").await.unwrap();
    assert_eq!((names(&state), state.serial), (vec!["A"], 3));
    // What is damaged is written over.
    let _ = blobs.put(store.key(), "{".into(), &Condition::Always).await.unwrap();
    assert_eq!(read(&store, "acme").await.unwrap_err().code(), "WL0502");
    let mut locked = store.open_to_restore("acme", WAIT).await.unwrap();
    assert_eq!(store.restore(&mut locked, "2").await.unwrap().after, 4);
    drop(locked);
    assert_eq!(names(&read(&store, "acme").await.unwrap().0), ["A", "B"]);
}

#[tokio::test]
async fn a_state_is_moved_with_its_history_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let local = || Versioned::in_directory(&path, Keys::none(), None).unwrap();
    record(&local(), "A").await;
    let state = record(&local(), "B").await;
    let (blobs, keys) = (memory(), key());
    let bucket = in_bucket(&blobs, &keys);
    let (moved, versions) = bucket.take_from(&local(), "acme", WAIT, &|_, _| {}).await.unwrap();
    assert_eq!((&moved, versions), (&state, 2));
    assert_eq!(read(&in_bucket(&blobs, &keys), "acme").await.unwrap().0, state);
    let gone = read(&local(), "acme").await.unwrap_err();
    assert_eq!(gone.code(), "WL0745");
    assert!(gone.to_string().contains("memory://test/team/acme/state.json"), "{gone}");
    // Two versions more, and back.
    let newer = record(&bucket, "C").await;
    let (moved, versions) = local().take_from(&bucket, "acme", WAIT, &|_, _| {}).await.unwrap();
    assert_eq!((&moved, versions), (&newer, 3));
    assert_eq!(read(&local(), "acme").await.unwrap().0, newer);
    // An older one, and one of another history, are refused.
    let other = in_bucket(&memory(), &Keys::none());
    record(&other, "X").await;
    let refused = other.take_from(&local(), "acme", WAIT, &|_, _| {}).await.unwrap_err();
    assert_eq!(refused.code(), "WL0746");
}

#[tokio::test]
async fn what_is_encrypted_shows_nothing_and_opens_with_its_key_alone() {
    let (blobs, keys) = (memory(), key());
    let store = in_bucket(&blobs, &keys);
    record(&store, "VERYSECRETNAME").await;
    let locked: Locked = open(&store, "acme", "apply", WAIT).await.unwrap();
    let journal = store.begin_journal(None).await.unwrap();
    let address = Address::new(Kind::Stream, "VERYSECRETNAME");
    journal.write(&Entry::Done { address }).await.unwrap();
    drop(locked);
    let mut seen = 0;
    for meta in blobs.list("").await.unwrap() {
        let (_, stored) = blobs.get(&meta.key).await.unwrap().unwrap();
        assert!(!stored.windows(6).any(|part| part == b"SECRET"), "{}", meta.key);
        seen += 1;
    }
    assert_eq!(seen, 4, "the state, its version, a line and its key");
    assert_eq!(read(&in_bucket(&blobs, &key()), "acme").await.unwrap_err().code(), "WL0723");
    assert_eq!(read(&in_bucket(&blobs, &Keys::none()), "acme").await.unwrap_err().code(), "WL0722");
    assert_eq!(read(&in_bucket(&blobs, &keys), "acme").await.unwrap().1, 1);
}

#[tokio::test]
async fn old_versions_go_as_they_are_told_to() {
    let blobs = memory();
    let retention = Retention { count: Some(2), age: None };
    let store = kept::Store::new(Arc::clone(&blobs)).with_retention(Some(retention));
    let store = Versioned::at(store, "").unwrap();
    for name in ["A", "B", "C", "D"] {
        record(&store, name).await;
    }
    let history = store.kept().history(store.key()).await.unwrap();
    assert_eq!(history.iter().map(|past| past.serial).collect::<Vec<_>>(), [4, 3]);
}

#[tokio::test]
async fn whoever_has_lost_the_lock_writes_nothing_over() {
    let blobs = memory();
    let (one, other) = (in_bucket(&blobs, &Keys::none()), in_bucket(&blobs, &Keys::none()));
    record(&one, "A").await;
    let mut stale = open(&one, "acme", "apply", WAIT).await.unwrap();
    let id = other.kept().holder(other.key()).await.unwrap().unwrap().id;
    other.kept().release(other.key(), &id).await.unwrap();
    record(&other, "B").await;
    assert_eq!(save(&one, &mut stale.state).await.unwrap_err().code(), "WL0711");
    assert_eq!(names(&read(&other, "acme").await.unwrap().0), ["A", "B"]);
}
