//! The edge's servers come and go under clients that are connected through the Worker: they connect again, and no message
//! that was acknowledged is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::Client;
use async_nats::jetstream::{self, message::PublishMessage};
use futures::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use windlass_tests::{Fleet, Signal, edge, eventually, signal};

/// Publishes numbered messages one after the other, each again until the hub has acknowledged it.
struct Publisher {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Publisher {
    fn start(client: Client) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(publish(client, Arc::clone(&stop), Arc::clone(&acknowledged)));
        Self { stop, acknowledged, task }
    }

    async fn wait_for(&self, more: usize) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.acknowledged.load(Ordering::Relaxed) < goal {
            let count = self.acknowledged.load(Ordering::Relaxed);
            assert!(Instant::now() < deadline, "{count} of {goal} messages were acknowledged");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::Relaxed)
    }
}

async fn publish(client: Client, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicUsize>) {
    let context = jetstream::new(client);
    for number in 0.. {
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let message =
                PublishMessage::build().payload(number.to_string().into()).message_id(format!("m{number}"));
            let Ok(sent) = context.send_publish("github.acme.client.message", message).await else {
                continue;
            };
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), sent).await {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
    }
}

/// Whether somebody who answers on another connection is reached.
async fn is_reached(client: &Client) -> bool {
    client.request("service.echo", "x".into()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_die_are_drained_and_replaced_under_clients() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let fleet = Fleet::with().edge().start();
    let service = fleet.through("enam").await;
    let mut requests = service.subscribe("service.echo").await.unwrap();
    let answering = service.clone();
    let answers = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let _ = answering.publish(request.reply.unwrap(), request.payload).await;
        }
    });
    let asking = fleet.through("weur").await;
    eventually("the service is reached", async || is_reached(&asking).await).await;
    let publisher = Publisher::start(fleet.through("weur").await);
    publisher.wait_for(30).await;
    let everything_works = async || {
        publisher.wait_for(30).await;
        eventually("the service is reached", async || is_reached(&asking).await).await;
    };

    // All servers die at once.
    let former = fleet.nodes();
    assert_eq!(former.len(), 2, "{former:?}");
    former.iter().for_each(|pid| signal(*pid, Signal::KILL));
    everything_works().await;
    assert!(fleet.nodes().iter().all(|pid| !former.contains(pid)));

    // One is sent to sleep, and is woken by who comes back.
    fleet.edge_api("POST", "nodes/weur/0/drain").await;
    everything_works().await;

    // One is replaced.
    fleet.node_is_up("enam", 0).await;
    let started = fleet.node("enam", 0).await["started_at"].clone();
    fleet.edge_api("POST", "nodes/enam/0/restart").await;
    eventually("the node is another one", async || {
        let node = fleet.node("enam", 0).await;
        node["state"] == "running" && node["started_at"] != started
    })
    .await;
    everything_works().await;

    // The Worker's runtime dies. The servers outlive it, and their clients come back to them.
    let (former, workerd) = (fleet.nodes(), fleet.workerd().await);
    signal(workerd, Signal::KILL);
    everything_works().await;
    assert_ne!(fleet.workerd().await, workerd);
    let mut now = fleet.nodes();
    now.retain(|pid| former.contains(pid));
    assert!(!now.is_empty(), "no server outlived the runtime");

    let acknowledged = publisher.stop().await;
    let mut numbers = fleet.messages().await.into_iter();
    for number in 0..acknowledged {
        let message = numbers.next().unwrap_or_else(|| panic!("{number} of {acknowledged} is lost"));
        assert_eq!(message.body, number.to_string(), "once, and in order");
    }
    // The last one may have been stored without its acknowledgement having come.
    assert!(numbers.count() <= 1);
    answers.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sleeps_when_nobody_is_connected_and_wakes_for_who_comes() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let tables = "\n[platforms.cloudflare]\naccount_id = { env = \"CLOUDFLARE_ACCOUNT_ID\" }\n\
        api_token = { env = \"CLOUDFLARE_API_TOKEN\" }\n\n[clusters.edge]\nplatform = \"cloudflare\"\nleaf_of = \"hub\"\n\
        jetstream = { domain = \"edge\" }\nregions = { weur = { min = 0, max = 1 } }\nsleep_after = \"10s\"\n";
    let fleet =
        Fleet::with().edge().stream("cluster = \"hub\"").github("receive_at = \"edge\"").more(tables).start();
    assert!(fleet.nodes().is_empty(), "nobody is there yet");
    for _ in 0..2 {
        let client = fleet.through("weur").await;
        client.flush().await.unwrap();
        assert_eq!(fleet.nodes().len(), 1);
        // It stays as long as somebody is connected.
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(fleet.nodes().len(), 1);
        assert_eq!(fleet.node("weur", 0).await["connections"], 1);
        drop(client);
        eventually("the node sleeps", async || {
            fleet.node("weur", 0).await["state"] == "asleep" && fleet.nodes().is_empty()
        })
        .await;
    }
}
