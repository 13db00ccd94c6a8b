//! Events that come in at the edge, on the whole system: GitHub's deliveries, the Worker in workerd, the hub. What got a 2xx
//! is in the hub's stream once and in order, whoever is away meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use std::fs;
use std::time::Duration;
use windlass_tests::{
    Delivery, Fleet, Load, Signal, assert_as_given, assert_kept, edge, examples, large, signal,
};

/// How long the hub is away.
fn a_while() -> Duration {
    Duration::from_secs(if std::env::var_os("WINDLASS_LONG").is_some() { 30 } else { 6 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_published_payload_is_in_the_hubs_stream_once_as_it_came() {
    let (Some(_), Some(deliveries)) = (edge::workerd_binary(), examples()) else { return };
    let fleet = Fleet::with().edge().start();
    let github = fleet.github_at_the_edge();
    assert_eq!(github.url, fleet.url(), "up names the receiver that is at the edge");
    let deliver = async |expect_duplicate: bool| {
        use futures::StreamExt;
        let answers = futures::stream::iter(&deliveries).map(|(delivery, _)| github.deliver(delivery));
        let answers: Vec<_> = answers.buffered(16).collect().await;
        for (answer, (delivery, _)) in answers.iter().zip(&deliveries) {
            assert_eq!(answer.status, 200, "{} {answer:?}", delivery.event);
            assert_eq!(answer.body["delivery"], *delivery.id);
            assert_eq!(answer.body["stream"], "GITHUB");
            assert_eq!(answer.body["duplicate"], expect_duplicate, "{answer:?}");
        }
    };
    let begun = jiff::Timestamp::now() - jiff::SignedDuration::from_millis(1);
    deliver(false).await;
    assert_as_given(&deliveries, &fleet.messages().await, begun);
    deliver(true).await;
    assert_eq!(fleet.count().await, deliveries.len() as u64, "a redelivery adds nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_payloads_come_back_byte_for_byte_with_the_hub_and_without() {
    const MIB: usize = 1024 * 1024;
    if edge::workerd_binary().is_none() {
        return;
    }
    let mut fleet = Fleet::with().edge().prepare();
    let server = fleet.own_server();
    fleet.up();
    let github = fleet.github_at_the_edge();
    let first = [large(2 * MIB), large(24 * MIB)];
    for delivery in &first {
        let answer = github.deliver(delivery).await;
        assert_eq!((answer.status, &answer.body["duplicate"]), (200, &json!(false)), "{answer:?}");
    }
    assert!(first[1].body.len() > 24 * MIB && first[1].body.len() < 25 * MIB);

    let aside = server.with_extension("away");
    fs::rename(&server, &aside).unwrap();
    fleet.signal("nats", Signal::KILL);
    let later = [large(3 * MIB), large(23 * MIB), large(1000)];
    for delivery in &later {
        let answer = github.deliver(delivery).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    fs::rename(&aside, &server).unwrap();
    fleet.settle_edge().await;
    let messages = fleet.messages().await;
    let order: Vec<&str> = messages.iter().map(|message| message.header("ce-id")).collect();
    let sent: Vec<&str> = first.iter().chain(&later).map(|delivery| &*delivery.id).collect();
    assert_eq!(order, sent, "once, and in order");
    for delivery in first.iter().chain(&later[..2]) {
        assert!(fleet.read_back(delivery).await == delivery.body, "the exact bytes");
    }
    assert_eq!(messages[4].body, later[2].body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_is_away_under_load() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let mut fleet = Fleet::with().edge().prepare();
    let server = fleet.own_server();
    fleet.up();
    let load = Load::start(&fleet.github_at_the_edge(), 16);
    load.wait_for(200).await;
    // Its agent would start it again at once, if it found the program.
    let aside = server.with_extension("away");
    fs::rename(&server, &aside).unwrap();
    let former = fleet.pid("nats").unwrap();
    signal(former, Signal::KILL);
    tokio::time::sleep(a_while()).await;
    let before = load.taken();
    load.wait_for(100).await;
    assert!(fleet.edge_api("GET", "status").await["outbox"]["events"].as_u64().unwrap() > 0);
    fs::rename(&aside, &server).unwrap();
    // Until it takes events again, and beyond.
    windlass_tests::eventually("the hub is back", async || {
        fleet.pid("nats").is_some_and(|pid| pid != former)
    })
    .await;
    load.wait_for(500).await;
    let taken = load.stop().await;
    fleet.settle_edge().await;
    assert!(taken.len() > before + 600);
    // Where nothing waits any more, an event goes straight to the hub again.
    let last = fleet.github_at_the_edge().deliver(&Delivery::push("acme", "another", 0)).await;
    assert_eq!(last.status, 200, "{last:?}");
    assert_ne!(fleet.pid("nats"), Some(former), "the hub is another process");
    assert!(taken.iter().any(|taken| taken.status == 202), "the Outbox was used");
    assert!(taken.iter().any(|taken| taken.status == 200));
    let mut messages = fleet.messages().await;
    assert_eq!(messages.pop().unwrap().header("ce-id"), last.body["delivery"]);
    assert_kept(&taken, &messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_hangs_and_a_hub_that_dies_again_and_again() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let fleet = Fleet::with().edge().start();
    let load = Load::start(&fleet.github_at_the_edge(), 8);
    load.wait_for(100).await;
    fleet.signal("nats", Signal::STOP);
    load.wait_for(300).await;
    fleet.signal("nats", Signal::CONT);
    for _ in 0..3 {
        load.wait_for(150).await;
        fleet.signal("nats", Signal::KILL);
    }
    load.wait_for(150).await;
    let taken = load.stop().await;
    fleet.settle_edge().await;
    assert!(taken.iter().any(|taken| taken.status == 202), "the Outbox was used");
    assert_kept(&taken, &fleet.messages().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workerd_is_killed_with_events_in_the_outbox() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let mut fleet = Fleet::with().edge().prepare();
    let server = fleet.own_server();
    fleet.up();
    let aside = server.with_extension("away");
    fs::rename(&server, &aside).unwrap();
    fleet.signal("nats", Signal::KILL);
    let load = Load::start(&fleet.github_at_the_edge(), 8);
    for _ in 0..3 {
        load.wait_for(150).await;
        let former = fleet.workerd().await;
        signal(former, Signal::KILL);
        // Nobody but the local Cloudflare starts it again.
        load.wait_for(20).await;
        assert_ne!(fleet.workerd().await, former);
    }
    let waiting = fleet.edge_api("GET", "status").await["outbox"]["events"].as_u64().unwrap();
    assert!(waiting >= 450, "{waiting}");
    let taken = load.stop().await;
    assert!(taken.iter().all(|taken| taken.status == 202));
    // The last time nothing comes any more that could wake the Outbox: its alarm has to.
    signal(fleet.workerd().await, Signal::KILL);
    fs::rename(&aside, &server).unwrap();
    windlass_tests::eventually("everything is in the stream", async || {
        fleet.pid("nats").is_some()
            // It may have been started, and not listen yet.
            && windlass_tests::status(&format!(
                "{}/healthz",
                fleet.report["nats"]["monitor_url"].as_str().unwrap()
            ))
            .await
                == Some(200)
            && fleet.count().await == taken.len() as u64
    })
    .await;
    assert_kept(&taken, &fleet.messages().await);
    fleet.settle_edge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_there_after_down_and_up() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let mut fleet = Fleet::with().edge().prepare();
    let server = fleet.own_server();
    fleet.up();
    let aside = server.with_extension("away");
    fs::rename(&server, &aside).unwrap();
    fleet.signal("nats", Signal::KILL);
    let github = fleet.github_at_the_edge();
    let deliveries: Vec<Delivery> = (0..20).map(|number| Delivery::push("acme", "one", number)).collect();
    for delivery in &deliveries {
        assert_eq!(github.deliver(delivery).await.status, 202);
    }
    fs::rename(&aside, &server).unwrap();
    // It may be back before, or not: the events are in one place or the other.
    fleet.down();
    fleet.up();
    fleet.settle_edge().await;
    let order: Vec<String> =
        fleet.messages().await.iter().map(|message| message.header("ce-id").to_owned()).collect();
    assert_eq!(order, deliveries.iter().map(|delivery| delivery.id.clone()).collect::<Vec<_>>());
}
