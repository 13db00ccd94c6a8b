//! A full disk: what cannot be made durable is refused with 503 and WL0311, within GitHub's time; what was acknowledged
//! stays; and with room again, the service goes on by itself.
//!
//! Once with a disk that is really full (a small tmpfs, where mounting one is permitted: root on Linux), once with the
//! limits of the spool and of the stream, and once with a full spool before a server that hangs; these two work everywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use windlass_tests::{Answer, Delivery, Fleet, Github, Signal, get};

const MIB: usize = 1024 * 1024;
const GITHUB_WAITS: Duration = Duration::from_secs(10);

/// A push of this many bytes, told apart by a number.
fn push(number: usize, size: usize) -> Delivery {
    let repository = json!({ "name": "api", "owner": { "login": "acme" } });
    // Half of a byte's values, so that nothing on the way could compress it to nothing.
    let padding: String = (0..size).map(|at| char::from(b'0' + ((at * 7 + number) % 64) as u8)).collect();
    Delivery::json("push", &json!({ "number": number, "repository": repository, "padding": padding }))
}

/// Posts deliveries until this many in a row are refused for want of room. Gives what was taken, and what was refused.
async fn fill(github: &Github, size: usize, in_a_row: usize) -> (Vec<Delivery>, Vec<Delivery>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    let mut last = 0;
    for number in 0..4_000 {
        let delivery = push(number, size);
        let answer = github.deliver(&delivery).await;
        assert!(answer.took < GITHUB_WAITS, "{answer:?}");
        if answer.is_success() {
            taken.push(delivery);
            last = 0;
        } else {
            assert_eq!((answer.status, answer.code()), (503, "WL0311"), "{answer:?}");
            refused.push(delivery);
            last += 1;
        }
        if last == in_a_row {
            return (taken, refused);
        }
    }
    panic!("the disk did not fill up");
}

/// Redelivers until it is taken, as somebody would who presses the button.
async fn redeliver(github: &Github, delivery: &Delivery) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        match github.try_deliver(delivery).await {
            Ok(answer) if answer.is_success() => return answer,
            other => assert!(Instant::now() < deadline, "not taken in spite of the room: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Each of these is in the stream exactly once, with its bytes, and nothing else is there.
async fn assert_stored_once(fleet: &Fleet, deliveries: &[&Delivery]) {
    let messages = fleet.messages().await;
    let by_id: HashMap<&str, _> = messages.iter().map(|message| (message.header("ce-id"), message)).collect();
    let lost: Vec<usize> =
        (0..deliveries.len()).filter(|&at| !by_id.contains_key(&*deliveries[at].id)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged deliveries are lost: {lost:?}",
        lost.len(),
        deliveries.len()
    );
    assert_eq!((messages.len(), by_id.len()), (deliveries.len(), deliveries.len()), "each once");
    for delivery in deliveries {
        assert!(by_id[&*delivery.id].body == delivery.body, "the exact bytes");
    }
}

/// A small file system in memory, gone when it is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "windlass-test"]).arg(at);
        let output = mount.output().ok()?;
        output.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_and_recovers() {
    let mounted = TempDir::with_prefix("windlass-disk-").unwrap();
    let Some(_disk) = Tmpfs::mount(mounted.path(), "96m") else {
        // Past the test runner, which shows nothing of a test that passes.
        let note = "SKIPPED: no tmpfs may be mounted here, so only the limits are tested, and no disk that is really full";
        writeln!(std::io::stderr(), "{note}").unwrap();
        return;
    };
    let directory = TempDir::with_prefix_in("windlass-test-", mounted.path()).unwrap();
    let fleet = Fleet::with().start_in(directory);
    let github = fleet.github();

    // Something else takes most of the disk.
    let ballast = mounted.path().join("ballast");
    let mut file = File::create(&ballast).unwrap();
    for _ in 0..64 {
        file.write_all(&vec![b'x'; MIB]).unwrap();
    }
    drop(file);
    let (mut taken, mut refused) = fill(&github, 200 * 1024, 3).await;
    assert!(taken.len() > 20, "{} were taken before the disk was full", taken.len());
    // Smaller ones may still find room; then not even those do.
    let (more, none) = fill(&github, 4 * 1024, 3).await;
    taken.extend(more);
    refused.extend(none);
    assert_eq!(get(&fleet.url_of("/healthz")).await.0, 200, "it lives and says so");

    fs::remove_file(ballast).unwrap();
    for delivery in &refused {
        redeliver(&github, delivery).await;
    }
    fleet.settle().await;
    let after = push(9_999, 1024);
    assert_eq!(github.deliver(&after).await.status, 200, "JetStream takes events again");
    let all: Vec<&Delivery> = taken.iter().chain(&refused).chain([&after]).collect();
    assert_stored_once(&fleet, &all).await;
}

#[tokio::test]
async fn a_full_stream_and_a_full_spool_refuse_and_recover() {
    let limits = |max_bytes: &str| {
        let stream = format!("max_bytes = \"{max_bytes}\"\ndiscard = \"new\"");
        Fleet::with().stream(&stream).github("spool = { max_size = \"32MiB\" }")
    };
    let mut fleet = limits("8MiB").start();
    let github = fleet.github();
    let (taken, refused) = fill(&github, 256 * 1024, 3).await;
    // 8 MiB in the stream, then 32 MiB in the spool.
    assert!((140..=165).contains(&taken.len()), "{} were taken", taken.len());
    let stored = fleet.count().await as usize;
    assert!((28..=32).contains(&stored), "{stored} in the stream");
    assert_eq!(get(&fleet.url_of("/healthz")).await.0, 200);

    // Room in the stream is all that is needed: what waits goes there.
    fleet.down();
    fleet.configure(limits("256MiB"));
    fleet.up();
    let github = fleet.github();
    for delivery in &refused {
        redeliver(&github, delivery).await;
    }
    fleet.settle().await;
    let all: Vec<&Delivery> = taken.iter().chain(&refused).collect();
    assert_stored_once(&fleet, &all).await;
}

#[tokio::test]
async fn a_full_spool_before_a_hanging_server_refuses_and_drains() {
    // The smallest that a spool may be.
    let fleet = Fleet::with().github("spool = { max_size = \"32MiB\" }").start();
    let github = fleet.github();
    let before = push(8_888, 1024);
    assert_eq!(github.deliver(&before).await.status, 200);

    fleet.signal("nats", Signal::STOP);
    let (taken, refused) = fill(&github, 256 * 1024, 3).await;
    // Nothing can have been stored, so what was taken is in the spool, and it holds that many.
    assert!((120..=128).contains(&taken.len()), "{} were taken", taken.len());
    // Many at once must not wait for each other, either.
    let burst: Vec<Delivery> = (5_000..5_032).map(|number| push(number, 256 * 1024)).collect();
    for answer in futures::future::join_all(burst.iter().map(|delivery| github.deliver(delivery))).await {
        assert!(answer.took < GITHUB_WAITS, "{answer:?}");
        assert_eq!((answer.status, answer.code()), (503, "WL0311"), "{answer:?}");
    }

    fleet.signal("nats", Signal::CONT);
    for delivery in refused.iter().chain(&burst) {
        redeliver(&github, delivery).await;
    }
    fleet.settle().await;
    let all: Vec<&Delivery> = [&before].into_iter().chain(&taken).chain(&refused).chain(&burst).collect();
    assert_stored_once(&fleet, &all).await;
}

#[tokio::test]
async fn readyz_says_so_when_nothing_can_be_taken() {
    let fleet = Fleet::with().github("spool = { max_size = \"32MiB\" }").start();
    let github = fleet.github();
    let ready = || async { get(&fleet.url_of("/readyz")).await };
    assert_eq!(ready().await.0, 200);

    fleet.signal("nats", Signal::STOP);
    assert_eq!(github.deliver(&push(9_000, 1024)).await.status, 202);
    assert_eq!(ready().await.0, 200, "there is the spool");
    fill(&github, 256 * 1024, 1).await;
    let (status, body) = ready().await;
    assert_eq!(status, 503, "every delivery is refused, and yet: {body}");

    fleet.signal("nats", Signal::CONT);
    fleet.settle().await;
    assert_eq!(ready().await.0, 200, "and says so when it is over");
}
