//! Of any number who want one lock, one gets it: in a directory and on R2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use windlass_state::blobs::{Blobs, Directory, check};
use windlass_state::lock::LockInfo;
use windlass_state::store::Store;
use windlass_tests::terraform::{LocalR2, Project, said};

const TAKERS: usize = 50;
const ROUNDS: usize = 50;

/// Every taker has a store of its own, as every process has.
async fn race(stores: Vec<Store>) {
    assert_eq!(stores.len(), TAKERS);
    for round in 0..ROUNDS {
        let barrier = Arc::new(tokio::sync::Barrier::new(TAKERS));
        let takers = stores.iter().cloned().map(|store| {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                let info = LockInfo { owner: None, ..LockInfo::new("race", "x") };
                barrier.wait().await;
                let taken = store.take("nats/terraform.tfstate", &info).await.unwrap();
                taken.ok().map(|held| held.info.id)
            })
        });
        let taken = futures::future::join_all(takers).await;
        let winners: Vec<String> = taken.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        let released = stores[0].release("nats/terraform.tfstate", &winners[0]).await.unwrap();
        assert_eq!(released.id, winners[0], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_fifty_gets_the_lock_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = || Store::new(Arc::new(Directory::new(directory.path())));
    race((0..TAKERS).map(|_| store()).collect()).await;
}

#[test]
fn one_of_fifty_gets_the_lock_on_r2() {
    let r2 = LocalR2::new();
    let stores = (0..TAKERS).map(|_| Store::new(Arc::new(r2.client()))).collect();
    r2.block_on(race(stores));
}

#[test]
fn r2_keeps_the_promises_of_a_store() {
    let r2 = LocalR2::new();
    let bucket: Arc<dyn Blobs> = Arc::new(r2.client());
    r2.block_on(check(bucket));
}

/// A lock of this machine whose process is gone does not stand in the way of the next, and of one alone.
#[test]
fn the_lock_of_a_dead_process_is_taken_over_by_one_of_fifty() {
    let r2 = LocalR2::new();
    let Some(owner) = windlass_state::lock::Owner::current() else { return };
    let gone = windlass_state::lock::Owner { started: owner.started + 1, ..owner };
    let dead = LockInfo { owner: Some(gone), ..LockInfo::new("migrate", "x") };
    let stores: Vec<Store> = (0..TAKERS).map(|_| Store::new(Arc::new(r2.client()))).collect();
    for round in 0..10 {
        r2.put("x.tflock", &dead.to_json());
        let winners = r2.block_on(async {
            let takers = stores.iter().cloned().map(|store| {
                tokio::spawn(
                    async move { store.take("x", &LockInfo::new("race", "x")).await.unwrap().is_ok() },
                )
            });
            futures::future::join_all(takers).await.into_iter().filter(|won| *won.as_ref().unwrap()).count()
        });
        assert_eq!(winners, 1, "round {round}");
    }
}

/// Ten real processes restore the same version at once: each waits its turn, one does it, the others find it done.
#[test]
fn ten_processes_at_once_lose_no_update() {
    let r2 = LocalR2::new();
    let project = Project::new(0).with(&r2);
    let state = |serial: u64, instances: &str| {
        format!(
            r#"{{"version":4,"serial":{serial},"lineage":"a","resources":[{{"instances":[{instances}]}}]}}"#
        )
    };
    let (old, new) = (state(1, "{},{}"), state(2, "{}"));
    r2.put(&format!("history/a/1-{}", windlass_state::store::digest(old.as_bytes())), old.as_bytes());
    r2.put("a", new.as_bytes());
    let restore =
        ["state", "restore", "r2://states/a", "1", "--yes", "--lock-timeout", "60", "--format", "json"];
    let children: Vec<_> = (0..10).map(|_| project.windlass_start(&restore)).collect();
    let mut done = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["after"], 3);
        done += usize::from(report["already"] == false);
    }
    assert_eq!(done, 1);
    assert_eq!(r2.object("a").unwrap(), state(3, "{},{}").as_bytes());

    // Old versions go when they are told to, the newest never.
    let prune = ["state", "history", "r2://states/a", "--prune", "--keep", "0", "--yes"];
    let pruned = project.windlass_json(&prune);
    assert_eq!(pruned["pruned"].as_array().unwrap().len(), 2);
    assert_eq!(pruned["versions"][0]["serial"], 3);
    assert_eq!(r2.keys().len(), 2);
}
