//! Every payload that GitHub has published is in the stream exactly once: its exact bytes, its subject, its headers; and a
//! redelivery adds nothing.
//!
//! Subjects and headers are worked out here anew, from the rules in `docs/events.md`, and not with the code under test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::{StreamExt, stream};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
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
        .enumerate()
        .map(|(number, (mut delivery, payload))| {
            delivery.headers = vec![
                ("X-GitHub-Hook-ID", number.to_string()),
                ("X-GitHub-Hook-Installation-Target-ID", (number * 7).to_string()),
                ("X-GitHub-Hook-Installation-Target-Type", "organization".to_owned()),
                // What is not kept.
                ("X-Hub-Signature", format!("sha1={}", "0".repeat(40))),
                ("User-Agent", "GitHub-Hookshot/044aadd".to_owned()),
            ];
            (delivery, payload)
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
    // Times are stored in milliseconds.
    let begun = jiff::Timestamp::now() - jiff::SignedDuration::from_millis(1);
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
        // GitHub's names need no encoding in a URI's path.
        let path = [owner(payload), payload["repository"].get("name")].into_iter().flatten();
        let path: String = path.filter_map(|name| Some(format!("/{}", name.as_str()?))).collect();
        let mut expected: BTreeMap<&str, String> = delivery.headers[..3].iter().cloned().collect();
        expected.extend([
            ("Nats-Msg-Id", delivery.id.clone()),
            ("X-GitHub-Delivery", delivery.id.clone()),
            ("X-GitHub-Event", delivery.event.clone()),
            ("Content-Type", "application/json".to_owned()),
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", delivery.id.clone()),
            ("ce-type", format!("com.github.{}{action}", delivery.event)),
            ("ce-source", format!("https://github.com{path}")),
            ("ce-datacontenttype", "application/json".to_owned()),
        ]);
        let time = message.header("ce-time");
        let time: jiff::Timestamp = time.parse().unwrap_or_else(|error| panic!("{time}: {error}"));
        assert!((begun..=jiff::Timestamp::now()).contains(&time), "{time}");
        expected.insert("ce-time", message.header("ce-time").to_owned());
        let found =
            message.headers.iter().map(|(name, _)| (name.as_ref(), message.header(name.as_ref()).to_owned()));
        assert_eq!(found.collect::<BTreeMap<&str, String>>(), expected, "these headers and no others");
    }

    deliver(true).await;
    assert_eq!(fleet.count().await, deliveries.len() as u64, "a redelivery adds nothing");
}
