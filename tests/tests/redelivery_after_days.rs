//! A redelivery adds nothing for as long as GitHub can make one, three days; and nats-server being started anew in between
//! changes nothing. The control: after three days and an hour it would be another event, so the test could fail.
//!
//! The clock is moved, not slept: the messages in the server's files are made older while it is stopped. What the server
//! then knows of the past, it knows from them alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use std::time::Duration;
use windlass_tests::{Delivery, Fleet, Github, Message, filestore};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn deliveries() -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> =
        (0..20).map(|number| Delivery::push("acme", "api.v2", number)).collect();
    // A claim check: the message in the stream is a ticket, the body is in the object bucket.
    let padding = "x".repeat(2 * 1024 * 1024);
    deliveries
        .push(Delivery::json("push", &json!({ "padding": padding, "repository": { "name": "large" } })));
    deliveries
}

/// Days go by, during which the fleet is stopped and started.
fn wait(fleet: &mut Fleet, time: Duration, messages: usize) {
    fleet.down();
    let storage = fleet.state().join("nats/hub/jetstream");
    assert_eq!(filestore::make_older(&storage, "GITHUB", time), messages, "messages that were made older");
    fleet.up();
}

async fn deliver(github: &Github, deliveries: &[Delivery], expect_duplicate: bool) {
    for delivery in deliveries {
        let answer = github.deliver(delivery).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["duplicate"], expect_duplicate, "{answer:?}");
    }
}

fn content(messages: Vec<Message>) -> Vec<impl PartialEq> {
    let content = |message: Message| (message.sequence, message.subject, message.headers, message.body);
    messages.into_iter().map(content).collect()
}

#[tokio::test]
async fn a_redelivery_adds_nothing_for_three_days() {
    let mut fleet = Fleet::start();
    let deliveries = deliveries();
    let count = deliveries.len();
    deliver(&fleet.github(), &deliveries, false).await;
    let oldest = async |fleet: &Fleet| {
        let info = fleet.stream().await.get_info().await.unwrap();
        (info.state.messages, info.state.first_timestamp.unix_timestamp())
    };
    let (_, begun) = oldest(&fleet).await;
    let stored = content(fleet.messages().await);
    assert_eq!(stored.len(), count);

    let mut age = Duration::ZERO;
    for more in [48 * HOUR, 23 * HOUR] {
        wait(&mut fleet, more, count);
        age += more;
        let (messages, first) = oldest(&fleet).await;
        assert_eq!(
            (messages, begun - first),
            (count as u64, age.as_secs() as i64),
            "the server sees the age"
        );
        deliver(&fleet.github(), &deliveries, true).await;
        assert!(content(fleet.messages().await) == stored, "after {age:?} the stream is what it was");
    }

    wait(&mut fleet, 2 * HOUR, count);
    deliver(&fleet.github(), &deliveries, false).await;
    assert_eq!(fleet.count().await, 2 * count as u64, "after three days and an hour it is another event");
}
