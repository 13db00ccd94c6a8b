//! Events on the command line: what is sent is stored, shown with its exact bytes, listed and filtered, followed as it comes,
//! and replayed to a URL (where a redelivery is recognized) or to a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::StreamExt;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::time::Duration;
use windlass_tests::{Delivery, Fleet, Signal, signal};

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn summary(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One event of each kind: a push, an issue as a form, a ping, and one that is too large for a message.
async fn some(fleet: &Fleet) -> Vec<Delivery> {
    let repository = json!({ "name": "api.v2", "owner": { "login": "acme" } });
    let sender = json!({ "login": "octocat" });
    let issue = "payload=%7B%22action%22%3A%22opened%22%2C%22sender%22%3A%7B%22login%22%3A%22ada%22%7D%2C%22\
                 repository%22%3A%7B%22name%22%3A%22web%22%2C%22owner%22%3A%7B%22login%22%3A%22acme%22%7D%7D%7D";
    let mut form = Delivery::new("issues", issue);
    form.content_type = "application/x-www-form-urlencoded";
    let deliveries = vec![
        // White space that a rewriting would lose.
        Delivery::new("push", format!("{{ \"repository\":  {repository},\n\t\"sender\": {sender} }}\n")),
        form,
        Delivery::json("ping", &json!({ "zen": "Speak like a human.", "organization": { "login": "acme" } })),
        Delivery::json("push", &json!({ "repository": repository, "padding": "x".repeat(600 * 1024) })),
    ];
    for delivery in &deliveries {
        assert_eq!(fleet.github().deliver(delivery).await.status, 200);
    }
    deliveries
}

#[tokio::test]
async fn send_signs_and_posts() {
    let fleet = Fleet::start();
    let file = fleet.path().join("push.json");
    let body = "{ \"repository\": {\"name\": \"api\", \"owner\": {\"login\": \"acme\"}} }\n";
    fs::write(&file, body).unwrap();
    let file = file.to_str().unwrap();
    let send = |more: &[&str]| {
        fleet.run(&[&["events", "send", file, "--event", "push", "--format", "json"], more].concat())
    };
    let answers = lines(&send(&["--delivery", "one", "--repeat", "2"]));
    assert_eq!(answers.len(), 2);
    for (answer, duplicate) in answers.iter().zip([false, true]) {
        assert_eq!((&answer["status"], &answer["delivery"]), (&json!(200), &json!("one")), "{answer}");
        assert_eq!(answer["answer"]["duplicate"], duplicate, "{answer}");
    }
    lines(&send(&["--form"]));
    let messages = fleet.messages().await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].body, body, "the file's bytes as they are");
    assert_eq!(messages[1].header("Content-Type"), "application/x-www-form-urlencoded");
    assert!(messages.iter().all(|message| message.subject == "github.acme.api.push.-"));

    fs::write(fleet.path().join("wrong"), "another secret").unwrap();
    let refused = send(&["--secret-file", "wrong"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(answer["answer"]["code"], "WL0305");
    fleet.down();
    let nobody = send(&[]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("WL0362"), "{nobody:?}");
}

#[tokio::test]
async fn show_gives_the_exact_bytes() {
    let fleet = Fleet::start();
    let deliveries = some(&fleet).await;
    for (at, delivery) in deliveries.iter().enumerate() {
        let body = fleet.run(&["events", "show", &delivery.id, "--body"]);
        assert!(body.status.success() && body.stdout == delivery.body, "{at}: {:?}", body.status);
        let shown = &lines(&fleet.run(&["events", "show", &delivery.id, "--format", "json"]))[0];
        assert_eq!((&shown["delivery"], &shown["sequence"]), (&json!(delivery.id), &json!(at + 1)), "{at}");
        assert_eq!(shown["event"], *delivery.event);
        assert_eq!(shown["size"], delivery.body.len());
        if at != 1 {
            let payload: Value = serde_json::from_slice(&delivery.body).unwrap();
            assert!(shown["payload"] == payload, "{at}");
        }
        let text = fleet.run(&["events", "show", "--sequence", &(at + 1).to_string()]);
        assert!(String::from_utf8_lossy(&text.stdout).contains(&delivery.id), "{text:?}");
    }
    let form = &lines(&fleet.run(&["events", "show", &deliveries[1].id, "--format", "json"]))[0];
    assert_eq!(form["payload"]["sender"]["login"], "ada", "a form's payload is decoded");
    let absent = fleet.run(&["events", "show", "absent"]);
    assert_eq!(absent.status.code(), Some(1), "{absent:?}");
    assert!(String::from_utf8_lossy(&absent.stderr).contains("error[WL03"), "{absent:?}");
}

#[tokio::test]
async fn tail_lists_filters_and_resolves() {
    let fleet = Fleet::start();
    let deliveries = some(&fleet).await;
    let tail = |more: &[&str]| {
        let output = fleet.run(&[&["events", "tail", "--no-follow", "--format", "json"], more].concat());
        let found: Vec<usize> = lines(&output)
            .iter()
            .map(|line| deliveries.iter().position(|delivery| line["delivery"] == delivery.id).unwrap())
            .collect();
        found
    };
    assert_eq!(tail(&["--all"]), [0, 1, 2, 3]);
    assert_eq!(tail(&["--last", "2"]), [2, 3]);
    assert_eq!(tail(&["--since", "1h"]), [0, 1, 2, 3]);
    assert_eq!(tail(&["--all", "--repository", "acme/api.v2"]), [0, 3]);
    assert_eq!(tail(&["--all", "--repository", "web"]), [1]);
    assert_eq!(tail(&["--all", "--repository", "acme/-"]), [2]);
    assert_eq!(tail(&["--all", "--event", "push,ping"]), [0, 2, 3]);
    assert_eq!(tail(&["--all", "--action", "opened"]), [1]);
    assert_eq!(tail(&["--all", "--action", "-"]), [0, 2, 3]);
    assert_eq!(tail(&["--all", "--sender", "OctoCat"]), [0]);
    assert_eq!(tail(&["--all", "--sender", "nobody"]), [0; 0]);
    let all = lines(&fleet.run(&["events", "tail", "--all", "--no-follow", "--format", "json"]));
    assert_eq!(all[3]["payload"]["padding"].as_str().unwrap().len(), 600 * 1024, "a claim check is resolved");
    let text = fleet.run(&["events", "tail", "--all", "--no-follow"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.lines().count(), 4, "one line each:\n{text}");
    assert!(text.contains("acme/api.v2") && text.contains("octocat") && text.contains("opened"), "{text}");
}

#[tokio::test]
async fn tail_follows_over_the_death_of_the_server() {
    let fleet = Fleet::start();
    let github = fleet.github();
    let mut child = fleet
        .command(&["events", "tail", "--all", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for number in 0..4 {
        if number == 2 {
            fleet.signal("nats", Signal::KILL);
        }
        let delivery = Delivery::push("acme", "api", number);
        assert!(github.deliver(&delivery).await.is_success());
        let mut line = String::new();
        // Blocks until the event is printed; each is printed once and in order.
        output.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["delivery"], &event["payload"]["number"]), (&json!(delivery.id), &json!(number)));
    }
    signal(i32::try_from(child.id()).unwrap(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[tokio::test]
async fn replay_to_a_url_is_recognized_as_a_redelivery() {
    let fleet = Fleet::start();
    let deliveries = some(&fleet).await;
    let url = fleet.url().to_owned();
    let replay = |more: &[&str]| {
        fleet.run(&[&["events", "replay", "--to", &url, "--format", "json", "--all"], more].concat())
    };
    let sum = summary(&replay(&[]));
    assert_eq!(
        (&sum["sent"], &sum["duplicates"], &sum["missing"]),
        (&json!(4), &json!(4), &json!([])),
        "{sum}"
    );
    assert_eq!(fleet.count().await, 4, "nothing was added");

    let sum = summary(&replay(&["--new-delivery", "--event", "push"]));
    assert_eq!((&sum["sent"], &sum["duplicates"]), (&json!(2), &json!(0)), "{sum}");
    let messages = fleet.messages().await;
    assert_eq!(messages.len(), 6);
    let small = messages[4..].iter().find(|message| !message.body.is_empty()).unwrap();
    assert_eq!(small.body, deliveries[0].body);
    assert_ne!(small.header("ce-id"), deliveries[0].id);

    let rehearsal = lines(&replay(&["--dry-run"]));
    assert_eq!((rehearsal.len(), fleet.count().await), (6, 6), "a rehearsal delivers nothing");

    fs::write(fleet.path().join("wrong"), "another secret").unwrap();
    let refused = replay(&["--secret-file", "wrong", "--attempts", "1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let sum: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&sum["sent"], &sum["refused"]), (&json!(0), &json!(6)), "{sum}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("WL0366"), "{refused:?}");
}

#[tokio::test]
async fn replay_to_a_subject_keeps_messages_as_they_are() {
    let fleet = Fleet::start();
    let deliveries = some(&fleet).await;
    let client = fleet.nats().await;
    let mut subscription = client.subscribe("replayed.>").await.unwrap();
    client.flush().await.unwrap();
    let sum = summary(&fleet.run(&["events", "replay", "--all", "--to", "replayed", "--format", "json"]));
    assert_eq!(sum["sent"], 4, "{sum}");
    let mut found = Vec::new();
    for _ in 0..4 {
        let message = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await;
        let message = message.expect("a message in time").unwrap();
        let headers = message.headers.unwrap();
        let at = deliveries.iter().position(|delivery| headers.get("ce-id").unwrap().as_str() == delivery.id);
        found.push((at.unwrap(), message.subject.to_string(), message.payload));
    }
    found.sort_by_key(|(at, ..)| *at);
    let subjects: Vec<&str> = found.iter().map(|(_, subject, _)| subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "replayed.acme.api%2Ev2.push.-",
            "replayed.acme.web.issues.opened",
            "replayed.acme.-.ping.-",
            "replayed.acme.api%2Ev2.push.-",
        ]
    );
    assert_eq!(found[0].2, deliveries[0].body);
    assert!(found[3].2.is_empty(), "a claim check stays a claim check");
}
