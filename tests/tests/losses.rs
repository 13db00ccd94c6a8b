//! Changes that lose data: offered with their counts, made only when that is allowed, and never more than was said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::jetstream::{self, stream::StorageType};
use serde_json::{Value, json};
use windlass_tests::engine::{apply, json_of, killed_at, plan};
use windlass_tests::{Delivery, Fleet};

fn action<'a>(plan: &'a Value, address: &str) -> &'a Value {
    let mut actions = plan["actions"].as_array().unwrap().iter();
    actions.find(|action| action["address"] == address).unwrap_or_else(|| panic!("{address}: {plan}"))
}

/// Nothing is done without permission, and the reason says what would go.
fn is_refused(fleet: &Fleet, told: &str) {
    let refused = apply(fleet, &[]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text.contains("WL0506") && text.contains(told), "{told}: {text}");
}

async fn five_events() -> Fleet {
    let fleet = Fleet::start();
    for number in 0..5 {
        assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", number)).await.status, 200);
    }
    fleet
}

#[tokio::test]
async fn a_smaller_limit_is_offered_with_what_it_drops() {
    let fleet = five_events().await;
    fleet.edit("[streams.GITHUB]", "[streams.GITHUB]\nmax_messages = 3");
    let wanted = plan(&fleet);
    let limit = action(&wanted, "stream.GITHUB");
    assert_eq!((&limit["do"], &limit["risk"]), (&json!("update"), &json!("loses-data")), "{wanted}");
    assert_eq!(limit["loses"], json!({ "messages": 2 }), "{wanted}");
    is_refused(&fleet, "stream.GITHUB (2 messages)");
    assert_eq!(fleet.count().await, 5);

    // A saved plan is of the messages that it counted: with one more it is another.
    assert!(fleet.run(&["plan", "--out", "plan.json"]).status.success());
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 5)).await.status, 200);
    let moved = fleet.run(&["apply", "plan.json", "--allow-data-loss", "--format", "json"]);
    assert!(String::from_utf8_lossy(&moved.stderr).contains("WL0504"), "{moved:?}");
    assert_eq!(fleet.count().await, 6);
    assert!(fleet.run(&["plan", "--out", "plan.json"]).status.success());
    std::thread::sleep(std::time::Duration::from_millis(50));
    let output = fleet.run(&["apply", "plan.json", "--allow-data-loss", "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fleet.count().await, 3);
    assert_eq!(plan(&fleet)["actions"], json!([]));
}

#[tokio::test]
async fn a_stream_that_is_made_anew_takes_its_consumers_along() {
    let fleet = five_events().await;
    fleet.edit("[github]", "[consumers.ci]\nstream = \"GITHUB\"\n\n[github]");
    assert!(apply(&fleet, &[]).status.success());
    fleet.edit("[streams.GITHUB]", "[streams.GITHUB]\nstorage = \"memory\"");
    let wanted = plan(&fleet);
    let (stream, consumer) = (action(&wanted, "stream.GITHUB"), action(&wanted, "consumer.ci"));
    assert_eq!((&stream["do"], &stream["loses"]["messages"]), (&json!("replace"), &json!(5)), "{wanted}");
    assert_eq!((&consumer["do"], &consumer["risk"]), (&json!("replace"), &json!("irreversible")), "{wanted}");
    is_refused(&fleet, "stream.GITHUB (5 messages");
    is_refused(&fleet, "consumer.ci (irreversible)");
    assert_eq!(fleet.count().await, 5);

    let output = apply(&fleet, &["--allow-data-loss"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json_of(&output)["differs_after"], json!([]));
    assert_eq!(plan(&fleet)["actions"], json!([]));
    let stream = fleet.stream().await;
    assert_eq!(stream.get_info().await.unwrap().config.storage, StorageType::Memory);
    stream.consumer_info("ci").await.unwrap();
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 9)).await.status, 200);
}

#[tokio::test]
async fn what_is_empty_is_made_anew_without_asking() {
    let fleet = Fleet::start();
    let orders = "[streams.ORDERS]\naccount = \"GITHUB\"\nsubjects = [\"orders.>\"]\n";
    fleet.edit("[github]", &format!("{orders}retention = \"workqueue\"\n\n[github]"));
    assert!(apply(&fleet, &[]).status.success());
    fleet.edit("retention = \"workqueue\"", "retention = \"limits\"");
    let wanted = plan(&fleet);
    let anew = action(&wanted, "stream.ORDERS");
    assert_eq!((&anew["do"], &anew["risk"]), (&json!("replace"), &json!("none")), "{wanted}");
    assert!(apply(&fleet, &[]).status.success());

    // The other way, with a message that arrives after the plan was saved: it is not lost for it.
    fleet.edit("retention = \"limits\"", "retention = \"workqueue\"");
    assert!(fleet.run(&["plan", "--out", "plan.json"]).status.success());
    let context = jetstream::new(fleet.nats().await);
    context.publish("orders.1", "x".into()).await.unwrap().await.unwrap();
    let refused = fleet.run(&["apply", "plan.json", "--format", "json"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let mut stream = context.get_stream("ORDERS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    is_refused(&fleet, "stream.ORDERS (1 message,");
    assert!(apply(&fleet, &["--allow-data-loss"]).status.success());
    assert_eq!(plan(&fleet)["actions"], json!([]));
}

#[tokio::test]
async fn a_consumer_of_another_name_takes_the_olds_place_also_when_the_apply_is_killed() {
    let fleet = Fleet::start();
    fleet.edit("[github]", "[consumers.worker]\nstream = \"GITHUB\"\nname = \"c0\"\n\n[github]");
    assert!(apply(&fleet, &[]).status.success());
    let mut step = 0;
    loop {
        step += 1;
        fleet.edit(&format!("name = \"c{}\"", step - 1), &format!("name = \"c{step}\""));
        let killed = killed_at(&fleet, &["apply", "--yes", "--allow-data-loss"], step);
        let output = apply(&fleet, &["--allow-data-loss"]);
        assert!(output.status.success(), "killed at {step}: {output:?}");
        let names = fleet.jetstream("hub-0", "GITHUB", "CONSUMER.NAMES.GITHUB").await;
        assert_eq!(names["consumers"], json!([format!("c{step}")]), "killed at {step}");
        assert_eq!(plan(&fleet)["actions"], json!([]), "killed at {step}");
        if !killed {
            break;
        }
    }
    assert!(step >= 4, "{step}");
}
