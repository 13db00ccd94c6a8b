//! The suite that any platform must pass, run against your own machines: real servers, a real agent, real clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::jetstream;
use futures::FutureExt;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use windlass_engine::conformance::{Fixture, check};
use windlass_engine::{Address, Kind, Resource, wanted};
use windlass_platforms::self_hosted::control::AgentCommand;
use windlass_platforms::self_hosted::{Options, SelfHosted};
use windlass_tests::{Fleet, tools};

/// One of each kind, beside what the file has already: cluster, stream, receiver.
const FURNITURE: &str = r#"
[accounts.SHOP]
limits = { connections = 50 }

[accounts.SHOP.users]
till = { publish = ["orders.>"] }

[streams.ORDERS]
account = "SHOP"
subjects = ["orders.>"]

[consumers.billing]
stream = "ORDERS"
ack_wait = "1m"

[kv.SETTINGS]
account = "SHOP"
history = 5

[objects.INVOICES]
account = "SHOP"
max_bytes = "10MiB"
"#;

/// A change of each of them.
const CHANGES: [(&str, &str); 8] = [
    ("servers = 1", "servers = 1\nmax_payload = \"2MiB\""),
    ("connections = 50", "connections = 60"),
    ("publish = [\"orders.>\"]", "publish = [\"orders.>\"], subscribe = [\"rates.>\"]"),
    ("subjects = [\"orders.>\"]", "subjects = [\"orders.>\", \"returns.>\"]\nmax_age = \"10d\""),
    ("ack_wait = \"1m\"", "ack_wait = \"2m\""),
    ("history = 5", "history = 8"),
    ("max_bytes = \"10MiB\"", "max_bytes = \"20MiB\""),
    ("[github]", "[github]\nin_flight = 100"),
];

fn platform(file: &str, directory: &Path) -> (SelfHosted, Vec<Resource>) {
    let fleet =
        windlass_fleet::parse(file, "windlass.toml").unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let fleet = Arc::new(fleet);
    let wanted = wanted::resources(&fleet);
    let secrets: PathBuf = directory.join("webhook-secret");
    std::fs::write(&secrets, "0123456789abcdef0123456789abcdef\n").unwrap();
    let options = Options {
        fleet,
        directory: directory.to_owned(),
        program: tools::windlass(),
        agent: AgentCommand {
            program: tools::windlass(),
            arguments: vec!["agent".into(), "--directory".into(), directory.into()],
        },
        secrets: Arc::new(move |_| Ok(Some((secrets.clone(), "digest".to_owned())))),
    };
    (SelfHosted::new(options), wanted)
}

/// Stores a message, or a value, or an object, as any client of the account would.
async fn fill(directory: PathBuf, resource: Resource) -> Result<bool, String> {
    let account = resource.body["account"].as_str().unwrap();
    let creds = directory.join("creds").join(account).join("admin.creds");
    let status: Value =
        serde_json::from_slice(&std::fs::read(directory.join("agent/status.json")).unwrap()).unwrap();
    let server = status["parts"]["hub-0"]["part"]["listens"][0].as_str().unwrap().to_owned();
    let options = async_nats::ConnectOptions::new().credentials_file(creds).await.unwrap();
    let context = jetstream::new(options.connect(server).await.map_err(|error| error.to_string())?);
    let name = resource.address.name.as_str();
    match resource.address.kind {
        Kind::Stream => {
            let subject = resource.body["subjects"][0].as_str().unwrap().replace('>', "one");
            context.publish(subject, "x".into()).await.unwrap().await.unwrap();
        }
        Kind::Kv => drop(context.get_key_value(name).await.unwrap().put("k", "v".into()).await.unwrap()),
        _ => {
            let store = context.get_object_store(name).await.unwrap();
            store.put("o", &mut &b"object"[..]).await.unwrap();
        }
    }
    Ok(true)
}

#[tokio::test]
async fn your_own_machines_pass_the_suite() {
    let directory = tempfile::Builder::new().prefix("windlass-test-").tempdir().unwrap();
    let root = directory.path().join(".windlass");
    std::fs::create_dir_all(&root).unwrap();
    let file = Fleet::with().servers(1).file().replacen("[github]", &format!("{FURNITURE}\n[github]"), 1);
    let mut changed_file = file.clone();
    for (from, to) in CHANGES {
        assert!(changed_file.contains(from), "{from} is not in {changed_file}");
        changed_file = changed_file.replacen(from, to, 1);
    }
    let (before, wanted) = platform(&file, &root);
    let (after, changed) = platform(&changed_file, &root);
    let elsewhere = [Kind::Bucket, Kind::Namespace, Kind::Worker, Kind::Secret, Kind::Container];
    for kind in Kind::ALL.into_iter().filter(|kind| !elsewhere.contains(kind)) {
        assert!(wanted.iter().any(|one| one.address.kind == kind), "no {} among them", kind.as_str());
    }
    let elsewhere = json!({ "leaf_of": "nowhere", "servers": 1, "host": "127.0.0.1" });
    let impossible = Resource::new(Address::new(Kind::Server, "edge-0"), "self-hosted", elsewhere);
    let store = |resource: &Resource| fill(root.clone(), resource.clone()).boxed();
    let fixture = Fixture { wanted, changed, impossible: Some(impossible), fill: Some(&store) };
    let result = check(&before, &after, &fixture).await;
    let _ = after.control().stop_all().await;
    let left = tools::end_processes_of(directory.path());
    result.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
