use super::*;
use crate::blobs::Bucket;
use crate::store::Store;
use crate::terraform::tests::state;
use bytes::Bytes;
use std::future::pending;
use std::sync::Arc;

fn place(key: &str) -> Place {
    Place::on(Store::new(Arc::new(Bucket::in_memory())), key)
}

async fn put(place: &Place, workspace: &str, content: &Bytes) {
    place.store.put(&place.key_of(workspace), content, &Condition::Always).await.unwrap();
}

async fn all(place: &Place) -> Vec<(String, Bytes)> {
    let mut all = Vec::new();
    for meta in place.store.blobs().list("").await.unwrap() {
        all.push((meta.key.clone(), place.store.blobs().get(&meta.key).await.unwrap().unwrap().1));
    }
    all
}

async fn run(from: &Place, to: &Place, options: Options) -> Result<Report, Error> {
    migrate(from, to, options, &|_| (), pending()).await
}

#[tokio::test]
async fn every_workspace_comes_over_byte_by_byte() {
    let (from, to) = (place("a"), place("b/c"));
    put(&from, "default", &state("one", 8, 3)).await;
    put(&from, "dev", &state("two", 5, 1)).await;
    let report = run(&from, &to, Options::default()).await.unwrap();
    assert_eq!(report.workspaces.len(), 2);
    assert!(report.workspaces.iter().all(|moved| Some(&moved.sha256_before) == moved.sha256_after.as_ref()));
    let there = to.store.read("env:/dev/b/c").await.unwrap().unwrap();
    assert_eq!(there.content, state("two", 5, 1));
    assert_eq!(to.store.history("b/c").await.unwrap()[0].serial, 8);
    let keys: Vec<String> = all(&to).await.into_iter().map(|(key, _)| key).collect();
    assert!(!keys.iter().any(|key| key.ends_with(".tflock")), "{keys:?}");
    // Twice is the same, and a newer version replaces and keeps the older.
    let again = run(&from, &to, Options::default()).await.unwrap();
    assert!(again.workspaces.iter().all(|moved| moved.action == Action::Same));
    put(&from, "default", &state("one", 9, 2)).await;
    assert_eq!(run(&from, &to, Options::default()).await.unwrap().workspaces[0].action, Action::Replace);
    assert_eq!(to.store.history("b/c").await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_must_not_be_replaced_is_refused_and_nothing_changes() {
    let good = state("one", 8, 3);
    for (target, code) in [
        (state("other", 1, 1), "WL0719"),
        (state("one", 9, 1), "WL0720"),
        (state("one", 8, 2), "WL0721"),
        (Bytes::from_static(b"{"), "WL0715"),
        (Bytes::from_static(b""), "WL0714"),
    ] {
        let (from, to) = (place("a"), place("b"));
        // The first workspace could go; the second cannot, so neither does.
        put(&from, "default", &good).await;
        put(&from, "dev", &good).await;
        put(&to, "dev", &target).await;
        let before = (all(&from).await, all(&to).await);
        let error = run(&from, &to, Options::default()).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!((all(&from).await, all(&to).await), before, "{code}");
    }
}

#[tokio::test]
async fn a_source_that_is_no_good_is_refused() {
    for (source, code) in [
        (state("one", 8, 0), "WL0718"),
        (Bytes::from_static(b""), "WL0714"),
        (Bytes::from_static(b"{\"version\":4,"), "WL0715"),
        (Bytes::from_static(b"{\"version\":3,\"lineage\":\"a\",\"serial\":1}"), "WL0716"),
    ] {
        let (from, to) = (place("a"), place("b"));
        put(&from, "default", &source).await;
        assert_eq!(run(&from, &to, Options::default()).await.unwrap_err().code(), code);
        assert_eq!(all(&to).await, [], "{code}");
    }
    let (from, to) = (place("a"), place("b"));
    assert_eq!(run(&from, &to, Options::default()).await.unwrap_err().code(), "WL0713");
    put(&from, "default", &state("one", 8, 0)).await;
    let options = Options { allow_empty: true, ..Options::default() };
    assert!(run(&from, &to, options).await.is_ok());
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_refuses_the_same() {
    let (from, to) = (place("a"), place("b"));
    put(&from, "default", &state("one", 8, 3)).await;
    let before = all(&from).await;
    let options = Options { dry_run: true, ..Options::default() };
    let report = run(&from, &to, options).await.unwrap();
    assert_eq!(
        (report.workspaces[0].action, report.workspaces[0].sha256_after.clone()),
        (Action::Create, None)
    );
    assert_eq!((all(&from).await, all(&to).await.len()), (before, 0));
    put(&to, "default", &state("other", 1, 1)).await;
    assert_eq!(run(&from, &to, options).await.unwrap_err().code(), "WL0719");
}

#[tokio::test]
async fn who_is_interrupted_leaves_no_lock() {
    let (from, to) = (place("a"), place("b"));
    put(&from, "default", &state("one", 8, 3)).await;
    let held = to.store.lock("b", "apply", Duration::ZERO).await.unwrap();
    let options = Options { wait: Duration::from_secs(60), ..Options::default() };
    let stop = tokio::time::sleep(Duration::from_millis(20));
    let error = migrate(&from, &to, options, &|_| (), stop).await.unwrap_err();
    assert_eq!(error.code(), "WL0730");
    assert_eq!(from.store.holder("a").await.unwrap(), None);
    to.store.unlock(held).await.unwrap();
}
