//! Every payload that GitHub has published is in the stream exactly once: its exact bytes, its subject, its headers; and a
//! redelivery adds nothing.
//!
//! Subjects and headers are worked out here anew, from the rules in `docs/events.md`, and not with the code under test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::{StreamExt, stream};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use windlass_tests::{Delivery, Fleet, webhook_examples};

/// A name as a token, by the rule in `docs/events.md`.
fn token(name: Option<&Value>) -> String {
    let name = name.and_then(Value::as_str).unwrap_or_default();
    match name {
        "" => "-".into(),
        "-" => "%2D".into(),
        _ => name
            .chars()
            .map(|character| match character {
                '.' | '*' | '>' | '%' | '\u{7f}' | '\0'..=' ' => format!("%{:02X}", u32::from(character)),
                _ => character.to_string(),
            })
            .collect(),
    }
}

fn owner(payload: &Value) -> Option<&Value> {
    let repository = &payload["repository"];
    [&repository["owner"]["login"], &repository["owner"]["name"], &payload["organization"]["login"]]
        .into_iter()
        .find(|owner| owner.as_str().is_some_and(|owner| !owner.is_empty()))
}

fn subject(event: &str, payload: &Value) -> String {
    let repository = payload["repository"].get("name");
    let tokens = [token(owner(payload)), token(repository), event.to_owned(), token(payload.get("action"))];
    format!("github.{}", tokens.join("."))
}

#[tokio::test]
async fn each_published_payload_is_stored_once_as_it_came() {
    let Some(examples) = webhook_examples() else { return };
    let examples: Vec<Value> = serde_json::from_slice(&fs::read(examples).unwrap()).unwrap();
    let deliveries: Vec<(Delivery, Value)> = examples
        .iter()
        .flat_map(|group| {
            let event = group["name"].as_str().unwrap();
            group["examples"].as_array().unwrap().iter().map(move |payload| {
                // Pretty-printed, so that "the exact bytes" means more than "the same JSON".
                (Delivery::new(event, serde_json::to_vec_pretty(payload).unwrap()), payload.clone())
            })
        })
        .collect();
    assert!(deliveries.len() >= 300, "{} examples", deliveries.len());

    let fleet = Fleet::start();
    let github = fleet.github();
    let deliver = async |expect_duplicate: bool| {
        let answers = stream::iter(&deliveries).map(|(delivery, _)| github.deliver(delivery)).buffered(16);
        for (answer, (delivery, _)) in answers.collect::<Vec<_>>().await.iter().zip(&deliveries) {
            assert_eq!(answer.status, 200, "{} {answer:?}", delivery.event);
            assert_eq!(answer.body["delivery"], *delivery.id);
            assert_eq!(answer.body["stream"], "GITHUB");
            assert_eq!(answer.body["duplicate"], expect_duplicate, "{answer:?}");
        }
    };
    deliver(false).await;

    let messages = fleet.messages().await;
    assert_eq!(messages.len(), deliveries.len());
    let by_id: HashMap<&str, _> =
        messages.iter().map(|message| (message.header("X-GitHub-Delivery"), message)).collect();
    assert_eq!(by_id.len(), deliveries.len(), "each delivery once");
    for (delivery, payload) in &deliveries {
        let message = by_id[&*delivery.id];
        assert_eq!(message.body, delivery.body);
        assert_eq!(message.subject, subject(&delivery.event, payload));
        let action = payload["action"].as_str().map(|action| format!(".{action}")).unwrap_or_default();
        for (name, value) in [
            ("Nats-Msg-Id", &*delivery.id),
            ("X-GitHub-Event", &*delivery.event),
            ("Content-Type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", &*delivery.id),
            ("ce-type", &*format!("com.github.{}{action}", delivery.event)),
            ("ce-datacontenttype", "application/json"),
        ] {
            assert_eq!(message.header(name), value, "{name}");
        }
        // GitHub's names need no encoding in a URI's path.
        let path = [owner(payload), payload["repository"].get("name")].into_iter().flatten();
        let path: String = path.filter_map(|name| Some(format!("/{}", name.as_str()?))).collect();
        assert_eq!(message.header("ce-source"), format!("https://github.com{path}"));
        assert!(message.header("ce-time").ends_with('Z'));
        assert_eq!(message.header("X-Hub-Signature-256"), "", "signatures are not stored");
    }

    deliver(true).await;
    assert_eq!(fleet.count().await, deliveries.len() as u64, "a redelivery adds nothing");
}
