//! Containers on a laptop: the real workerd drives the process-backed engine, and a real nats-server is in each container.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::StreamExt;
use serde_json::Value;
use windlass_tests::edge::Edge;
use windlass_tests::{get, http_client};

async fn ask(edge: &Edge, path: &str) -> (u16, String) {
    get(&format!("{}{path}", edge.workerd.url())).await
}

async fn state(edge: &Edge, name: &str) -> Value {
    serde_json::from_str(&ask(edge, &format!("/{name}?state")).await.1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_and_a_container_through_the_worker() {
    let Some(edge) = Edge::start().await else { return };
    let (status, body) = ask(&edge, "/one/varz").await;
    assert_eq!(status, 200, "{body}\n{}", std::fs::read_to_string(edge.workerd.log()).unwrap());
    eprintln!("{}", state(&edge, "one").await);
    let client =
        async_nats::connect(format!("{}/one/", edge.workerd.url().replace("http", "ws"))).await.unwrap();
    let mut sub = client.subscribe("x").await.unwrap();
    client.publish("x", "y".into()).await.unwrap();
    assert_eq!(sub.next().await.unwrap().payload, "y");
    eprintln!("{:?}", ask(&edge, "/one?exec=/nats-server%20--version").await);
    let _ = http_client();
    edge.stop().await;
}
