//! The kinds of delivery that differ from the usual push: pings, forms, odd names, other secrets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;
use std::fs;
use std::path::Path;
use windlass_tests::{Delivery, Fleet, Github, Signal, get};

#[tokio::test]
async fn a_ping_is_an_event_like_any_other() {
    let fleet = Fleet::start();
    let ping = Delivery::json("ping", &json!({ "zen": "Design for failure.", "hook_id": 1 }));
    assert_eq!(fleet.github().deliver(&ping).await.status, 200);
    assert_eq!(fleet.messages().await[0].subject, "github.-.-.ping.-");
}

#[tokio::test]
async fn a_form_is_stored_as_it_came_and_named_by_its_payload() {
    let fleet = Fleet::start();
    let body = "payload=%7B%22action%22%3A%22opened%22%2C%22repository%22%3A%7B%22name%22%3A%22r%22%2C%22owner%22%3A%7B%22login%22%3A%22o%22%7D%7D%7D";
    let mut form = Delivery::new("issues", body);
    form.content_type = "application/x-www-form-urlencoded; charset=utf-8";
    assert_eq!(fleet.github().deliver(&form).await.status, 200);
    let message = &fleet.messages().await[0];
    assert_eq!(message.subject, "github.o.r.issues.opened");
    assert_eq!(message.body, body);
    assert_eq!(message.header("Content-Type"), "application/x-www-form-urlencoded");
}

#[tokio::test]
async fn names_with_dots_and_events_without_a_repository_have_subjects_that_can_be_told_apart() {
    let fleet = Fleet::start();
    let repository = |name: &str| json!({ "repository": { "name": name, "owner": { "login": "acme" } } });
    for (event, payload, subject) in [
        ("push", repository(".github"), "github.acme.%2Egithub.push.-"),
        ("push", repository("a.b"), "github.acme.a%2Eb.push.-"),
        (
            "organization",
            json!({ "action": "renamed", "organization": { "login": "acme" } }),
            "github.acme.-.organization.renamed",
        ),
        (
            "marketplace_purchase",
            json!({ "action": "purchased" }),
            "github.-.-.marketplace_purchase.purchased",
        ),
    ] {
        let answer = fleet.github().deliver(&Delivery::json(event, &payload)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let last = fleet.messages().await.pop().unwrap();
        assert_eq!(last.subject, subject);
    }
}

#[tokio::test]
async fn a_secret_is_rotated_without_a_failed_delivery() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("old");
    let new = directory.path().join("new");
    fs::write(&old, "old secret").unwrap();
    fs::write(&new, "new secret").unwrap();
    let source = |path: &Path| format!("{{ file = '{}' }}", path.display());
    let with = |sources: &[String]| Fleet::with().github(&format!("secret = [{}]", sources.join(", ")));
    let push = |number| Delivery::push("acme", "r", number);
    let mut fleet = with(&[source(&old)]).start();
    let first = push(0);
    // The steps of a rotation, and whether a delivery signed with the old and with the new secret is taken.
    let both = [source(&new), source(&old)];
    for (step, sources, takes) in [
        ("before", &both[1..], [true, false]),
        ("while both are good", &both[..], [true, true]),
        ("after", &both[..1], [false, true]),
    ] {
        fleet.down();
        fleet.configure(with(sources));
        fleet.up();
        for (secret, takes) in ["old secret", "new secret"].into_iter().zip(takes) {
            let github = Github::new(fleet.url(), secret);
            let answer = github.deliver(&push(1)).await;
            let expected = if takes { (200, "") } else { (401, "WL0305") };
            assert_eq!((answer.status, answer.code()), expected, "{step}, {secret}: {answer:?}");
            if takes {
                let again = github.deliver(&first).await;
                assert_eq!(again.body["duplicate"], step != "before", "the same event, however it is signed");
            }
        }
        let stranger = Github::new(fleet.url(), "no secret").deliver(&push(2)).await;
        assert_eq!((stranger.status, stranger.code()), (401, "WL0305"), "{step}");
    }
    assert_eq!(fleet.count().await, 5);
}

#[tokio::test]
async fn health_readiness_and_metrics_are_told() {
    let fleet = Fleet::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&fleet.url_of(path)).await.0, 200, "{path}");
    }
    let delivery = Delivery::push("acme", "r", 0);
    for _ in 0..2 {
        fleet.github().deliver(&delivery).await;
    }
    let (status, metrics) = get(&fleet.url_of("/metrics")).await;
    assert_eq!(status, 200);
    for outcome in ["Stored", "Duplicate"] {
        let line = format!("windlass_receiver_deliveries_total{{outcome=\"{outcome}\"}} 1\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    fleet.signal("nats", Signal::KILL);
    assert!(fleet.github().deliver(&Delivery::push("acme", "r", 1)).await.is_success());
    assert_eq!(get(&fleet.url_of("/healthz")).await.0, 200, "the receiver lives whatever NATS does");
}
