//! A nats-server that hangs (SIGSTOP): answers go on, from the spool; when it wakes, everything is in the stream exactly
//! once and in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use windlass_tests::{Fleet, Load, Signal, Taken};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_server_delays_nothing_and_reorders_nothing() {
    let fleet = Fleet::start();
    let load = Load::start(&fleet.github(), 8);
    load.wait_for(100).await;
    fleet.signal("nats", Signal::STOP);
    // The first answers take as long as the receiver's patience with NATS; the rest come from the spool at once.
    load.wait_for(300).await;
    fleet.signal("nats", Signal::CONT);
    load.wait_for(100).await;
    let taken = load.stop().await;
    fleet.settle().await;

    assert!(taken.iter().any(|taken| taken.status == 202), "the spool was used");
    assert!(taken.iter().any(|taken| taken.status == 200));
    let messages = fleet.messages().await;
    let sequences: HashMap<&str, u64> =
        messages.iter().map(|message| (message.header("ce-id"), message.sequence)).collect();
    assert_eq!((messages.len(), sequences.len()), (taken.len(), taken.len()), "each exactly once");

    let mut senders: HashMap<usize, Vec<&Taken>> = HashMap::new();
    for taken in &taken {
        senders.entry(taken.sender).or_default().push(taken);
    }
    for (sender, taken) in senders {
        let order: Vec<u64> = taken.iter().map(|taken| sequences[&*taken.delivery.id]).collect();
        assert!(order.is_sorted(), "sender {sender}: {order:?}");
    }
}
