//! The spool on a real disk: what was acknowledged comes out once, in order, whatever happened in between.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::fs;
use std::path::Path;
use windlass_events::event::Event;
use windlass_events::spool::{Drain, Error, Options, Spool};

fn event(number: usize, size: usize) -> Event {
    Event {
        delivery: format!("delivery-{number}"),
        subject: "github.o.r.push.-".into(),
        headers: vec![("Nats-Msg-Id".into(), format!("delivery-{number}"))],
        body: Bytes::from(vec![b'x'; size]),
    }
}

fn options(directory: &Path) -> Options {
    Options { directory: directory.into(), max_size: 1 << 20, segment_size: 10_000 }
}

fn deliveries(drain: &mut Drain) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let batch = drain.read(5_000).unwrap();
        if batch.events.is_empty() {
            return all;
        }
        all.extend(batch.events.iter().map(|event| event.delivery.clone()));
        drain.remove(&batch);
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("delivery-{number}")).collect()
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "spool"))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_goes_in_comes_out_in_order_over_many_segments() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut drain) = Spool::open(options(directory.path())).unwrap();
    assert!(!spool.levels().is_open());
    for number in 0..50 {
        spool.append(&event(number, 1_000)).await.unwrap();
    }
    assert!(segments(directory.path()).len() > 3);
    assert!(spool.levels().is_open());
    assert_eq!(spool.levels().events(), 50);
    assert_eq!(deliveries(&mut drain), numbered(0..50));
    assert!(drain.try_close().await);
    assert!(!spool.levels().is_open());
    assert_eq!((spool.levels().events(), spool.levels().bytes()), (0, 0));
    assert_eq!(segments(directory.path()).len(), 0, "nothing is left on the disk");
    // And it can be used again.
    spool.append(&event(50, 10)).await.unwrap();
    assert!(!drain.try_close().await, "it does not close over an event");
    assert_eq!(deliveries(&mut drain), numbered(50..51));
}

#[tokio::test]
async fn appends_from_many_tasks_share_fsyncs_and_all_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let (spool, mut drain) = Spool::open(options(directory.path())).unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let spool = spool.clone();
            tokio::spawn(async move { spool.append(&event(number, 100)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(spool.levels().fsyncs() < 200, "{} fsyncs", spool.levels().fsyncs());
    let mut all = deliveries(&mut drain);
    all.sort();
    let mut expected = numbered(0..200);
    expected.sort();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_restart_goes_on_after_the_last_removal() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (spool, mut drain) = Spool::open(options(directory.path())).unwrap();
        for number in 0..30 {
            spool.append(&event(number, 1_000)).await.unwrap();
        }
        let batch = drain.read(3_000).unwrap();
        assert_eq!(batch.events.len(), 3);
        drain.remove(&batch);
        let _read_but_not_removed = drain.read(100_000).unwrap();
    }
    let (spool, mut drain) = Spool::open(options(directory.path())).unwrap();
    assert!(spool.levels().is_open(), "what waits is drained before anything else");
    assert_eq!(spool.levels().events(), 27);
    spool.append(&event(30, 10)).await.unwrap();
    assert_eq!(deliveries(&mut drain), numbered(3..31));
}

#[tokio::test]
async fn an_unreadable_position_drains_again_and_skips_nothing() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (spool, mut drain) = Spool::open(options(directory.path())).unwrap();
        for number in 0..3 {
            spool.append(&event(number, 10)).await.unwrap();
        }
        let batch = drain.read(1).unwrap();
        drain.remove(&batch);
    }
    fs::write(directory.path().join("position"), "").unwrap();
    let (_spool, mut drain) = Spool::open(options(directory.path())).unwrap();
    assert_eq!(deliveries(&mut drain), numbered(0..3));
}

#[tokio::test]
async fn a_write_cut_at_any_byte_loses_only_what_was_not_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (spool, _drain) = Spool::open(options(directory.path())).unwrap();
        for number in 0..2 {
            spool.append(&event(number, 20)).await.unwrap();
        }
    }
    let segment = segments(directory.path()).remove(0);
    let whole = fs::read(&segment).unwrap();
    for cut in whole.len() / 2..whole.len() {
        fs::write(&segment, &whole[..cut]).unwrap();
        let (spool, mut drain) = Spool::open(options(directory.path())).unwrap();
        spool.append(&event(9, 20)).await.unwrap();
        assert_eq!(deliveries(&mut drain), ["delivery-0", "delivery-9"], "cut at {cut}");
        drop((spool, drain));
        for entry in fs::read_dir(directory.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_set_aside_and_not_thrown_away() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (spool, _drain) = Spool::open(options(directory.path())).unwrap();
        for number in 0..3 {
            spool.append(&event(number, 20)).await.unwrap();
        }
    }
    let segment = segments(directory.path()).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let (_spool, mut drain) = Spool::open(options(directory.path())).unwrap();
    assert_eq!(deliveries(&mut drain), numbered(0..1));
    let aside: u64 = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().contains("torn-at"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert_eq!(aside as usize, bytes.len() * 2 / 3);
}

#[tokio::test]
async fn a_full_spool_refuses_and_takes_again_when_drained() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_size: 3_000, ..options(directory.path()) };
    let (spool, mut drain) = Spool::open(options).unwrap();
    spool.append(&event(0, 1_500)).await.unwrap();
    assert!(matches!(spool.append(&event(1, 1_500)).await, Err(Error::Full)));
    spool.append(&event(2, 100)).await.unwrap();
    assert_eq!(deliveries(&mut drain), ["delivery-0", "delivery-2"]);
    assert!(drain.try_close().await);
    spool.append(&event(3, 1_500)).await.unwrap();
}
