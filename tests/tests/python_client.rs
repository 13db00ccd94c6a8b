//! A client that is none of ours (nats-py) reads the stream with nothing but what `up` prints: the address and the file of
//! credentials; and finds what was sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::process::Command;
use windlass_tests::{Delivery, Fleet, nats_py, repository};

#[tokio::test]
async fn an_independent_client_reads_the_stream() {
    let Some(packages) = nats_py() else { return };
    let fleet = Fleet::start();
    let names = ["api", "octocat.github.io", "café", "a b"];
    let mut deliveries: Vec<Delivery> =
        names.iter().enumerate().map(|(number, name)| Delivery::push("acme", name, number)).collect();
    deliveries.push(Delivery::json("ping", &json!({ "zen": "Approachable is better than simple." })));
    for delivery in &deliveries {
        assert_eq!(fleet.github().deliver(delivery).await.status, 200);
    }
    let nats = &fleet.report["nats"];
    let output = Command::new("python3")
        .arg(repository().join("tests/python/read_stream.py"))
        .args([nats["url"].as_str().unwrap(), nats["creds"].as_str().unwrap(), "GITHUB"])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let messages: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages.len(), deliveries.len());
    let subjects = [
        "github.acme.api.push.-",
        "github.acme.octocat%2Egithub%2Eio.push.-",
        "github.acme.café.push.-",
        "github.acme.a%20b.push.-",
        "github.-.-.ping.-",
    ];
    for (at, (message, delivery)) in messages.iter().zip(&deliveries).enumerate() {
        assert_eq!(message["sequence"], at + 1);
        assert_eq!(message["subject"], subjects[at]);
        assert_eq!(message["sha256"], format!("{:x}", Sha256::digest(&delivery.body)));
        let headers = &message["headers"];
        assert_eq!(headers["Nats-Msg-Id"], *delivery.id);
        assert_eq!(headers["X-GitHub-Event"], *delivery.event);
        assert_eq!(headers["Content-Type"], "application/json");
        assert_eq!(headers["ce-specversion"], "1.0");
    }
}
