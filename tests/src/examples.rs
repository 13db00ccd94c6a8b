//! Deliveries of what GitHub has published, what of them has to be in the stream, and deliveries that are large.
//!
//! Subjects and headers are worked out here anew, from the rules in `docs/events.md`, and not with the code under test.

use crate::delivery::Delivery;
use crate::fleet::{Fleet, Message};
use async_nats::jetstream;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use tokio::io::AsyncReadExt as _;

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

/// A delivery of each payload that GitHub has published, with the payload; `None` where the test is to be skipped.
///
/// # Panics
/// When there are too few to be all of them.
pub fn examples() -> Option<Vec<(Delivery, Value)>> {
    let examples = fs::read(crate::webhook_examples()?).expect("the examples");
    let examples: Vec<Value> = serde_json::from_slice(&examples).expect("the examples are JSON");
    let deliveries: Vec<(Delivery, Value)> = examples
        .iter()
        .flat_map(|group| {
            let event = group["name"].as_str().expect("a name");
            group["examples"].as_array().expect("examples").iter().map(move |payload| {
                // Pretty-printed, so that "the exact bytes" means more than "the same JSON".
                let body = serde_json::to_vec_pretty(payload).expect("JSON");
                (Delivery::new(event, body), payload.clone())
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
    Some(deliveries)
}

/// Each of these deliveries is in the stream once, with its exact bytes, its subject and its headers; and nothing else is.
///
/// # Panics
/// When it is not so.
pub fn assert_as_given(deliveries: &[(Delivery, Value)], messages: &[Message], begun: jiff::Timestamp) {
    assert_eq!(messages.len(), deliveries.len());
    let by_id: HashMap<&str, _> =
        messages.iter().map(|message| (message.header("X-GitHub-Delivery"), message)).collect();
    assert_eq!(by_id.len(), deliveries.len(), "each delivery once");
    for (delivery, payload) in deliveries {
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
}

/// A delivery with a payload of about this size, in which no two places are alike.
pub fn large(size: usize) -> Delivery {
    let mut list = Vec::new();
    let mut length = 0;
    while length < size {
        let text = format!("{:016x}", list.len().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        length += text.len() + 3;
        list.push(text);
    }
    let repository = json!({ "name": "large", "owner": { "login": "acme" } });
    Delivery::json("push", &json!({ "list": list, "repository": repository }))
}

impl Fleet {
    /// The payload of a delivery that was too large for a message, as its ticket leads to it.
    ///
    /// # Panics
    /// When the ticket or the object is not as it should be.
    pub async fn read_back(&self, delivery: &Delivery) -> Vec<u8> {
        let messages = self.messages().await;
        let message = messages.into_iter().find(|message| message.header("ce-id") == delivery.id);
        let message = message.expect("the delivery's message");
        assert!(message.body.is_empty());
        assert_eq!(message.header("ce-dataref"), format!("nats-object://GITHUB_PAYLOADS/{}", delivery.id));
        assert_eq!(message.header("Windlass-Payload-Size"), delivery.body.len().to_string());
        let bucket = jetstream::new(self.nats().await).get_object_store("GITHUB_PAYLOADS").await;
        let mut object = bucket.expect("the bucket").get(&delivery.id).await.expect("the object");
        assert_eq!(object.info.digest.as_deref(), Some(message.header("Windlass-Payload-Digest")));
        let mut bytes = Vec::new();
        object.read_to_end(&mut bytes).await.expect("the whole object");
        bytes
    }
}
