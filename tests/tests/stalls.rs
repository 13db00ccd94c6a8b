//! A nats-server that hangs (SIGSTOP): answers go on, from the spool; when it wakes, everything is in the stream exactly
//! once and in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use windlass_tests::{Fleet, Load, Signal, assert_kept};

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
    assert_kept(&taken, &fleet.messages().await);
}
