//! A payload of any size that GitHub sends comes back byte for byte; a larger one is refused before it is read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use windlass_tests::{Delivery, Fleet, Signal, large, raw_http};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn twenty_four_megabytes_round_trip_and_are_stored_once() {
    let fleet = Fleet::start();
    let github = fleet.github();
    let delivery = large(24 * MIB);
    assert!(delivery.body.len() > 24 * MIB && delivery.body.len() < 25 * MIB);
    let answer = github.deliver(&delivery).await;
    assert_eq!((answer.status, &answer.body["duplicate"]), (200, &json!(false)), "{answer:?}");
    assert!(fleet.read_back(&delivery).await == delivery.body, "the exact bytes");
    let answer = github.deliver(&delivery).await;
    assert_eq!((answer.status, &answer.body["duplicate"]), (200, &json!(true)), "{answer:?}");
    assert_eq!(fleet.count().await, 1);
    let shown = fleet.run(&["events", "show", &delivery.id, "--body"]);
    assert!(
        shown.status.success() && shown.stdout == delivery.body,
        "events show --body gives the exact bytes"
    );
}

#[tokio::test]
async fn large_payloads_wait_in_the_spool_as_well() {
    let fleet = Fleet::start();
    let github = fleet.github();
    fleet.signal("nats", Signal::STOP);
    let deliveries: Vec<Delivery> = (1..=3).map(|size| large(size * 2 * MIB)).collect();
    for delivery in &deliveries {
        let answer = github.deliver(delivery).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    fleet.signal("nats", Signal::CONT);
    fleet.settle().await;
    assert_eq!(fleet.count().await, 3);
    for delivery in &deliveries {
        assert!(fleet.read_back(delivery).await == delivery.body, "the exact bytes");
    }
}

#[tokio::test]
async fn just_below_the_threshold_a_payload_is_in_the_message() {
    let fleet = Fleet::start();
    let delivery = large(500 * 1024);
    assert_eq!(fleet.github().deliver(&delivery).await.status, 200);
    assert_eq!(fleet.messages().await[0].body, delivery.body);
}

#[tokio::test]
async fn more_than_25_mib_is_refused_without_reading_it() {
    let fleet = Fleet::start();
    let head = |more: &str| {
        format!(
            "POST /github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
             x-github-delivery: big\r\nx-hub-signature-256: sha256={}\r\n{more}\r\n",
            "0".repeat(64)
        )
    };
    // Ten bytes of 26 MB are sent; the answer must not wait for the rest.
    let request = head(&format!("content-length: {}\r\n", 26_000_000 + 1_000_000)) + "{\"a\":\"bcde";
    let (status, answer_head, body) = raw_http::exchange(fleet.url(), request.as_bytes()).await;
    assert_eq!(status, 413, "{body}");
    assert!(body.contains("WL0307") && answer_head.contains("connection: close"), "{answer_head} {body}");

    // Without a length, it is refused when it has grown too large.
    let mut request = head("transfer-encoding: chunked\r\n").into_bytes();
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b' '; MIB], b"\r\n"].concat();
    for _ in 0..27 {
        request.extend_from_slice(&chunk);
    }
    let (status, _, body) = raw_http::exchange(fleet.url(), &request).await;
    assert_eq!(status, 413, "{body}");
    assert_eq!(fleet.count().await, 0);
}
