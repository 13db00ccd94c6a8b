//! A cluster that joins the hub as a leaf node: each account's subjects are one, each side goes on alone, and its streams
//! are reached by their domain. And environments: what the file says for one, and never in place of another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::jetstream;
use futures::StreamExt;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use windlass_tests::engine::{actions, apply, apply_all, code_of, json_of, plan, reason};
use windlass_tests::furniture::ports;
use windlass_tests::{Fleet, Signal, eventually, signal};

fn joined() -> Fleet {
    let fleet = Fleet::of(&format!(
        r#"[fleet]
name = "joined"

[clusters.hub]
ports = {}
jetstream = {{ storage = "1GiB", domain = "hub" }}

[clusters.edge]
leaf_of = "hub"
ports = {}
jetstream = {{ storage = "1GiB", domain = "edge" }}

[accounts.OTHER]

[streams.CENTRAL]
account = "SHOP"
cluster = "hub"
subjects = ["central.>"]

[streams.LOCAL]
account = "SHOP"
cluster = "edge"
subjects = ["local.>"]
"#,
        ports(1),
        ports(1)
    ));
    apply_all(&fleet, &[]);
    fleet
}

/// Publishes at one server until it is heard at another, and says that nothing of it is heard in another account.
async fn is_heard(fleet: &Fleet, from: &str, to: &str) {
    let subject = format!("news.{from}");
    let (here, there) = (fleet.client(from, "SHOP", "admin").await, fleet.client(to, "SHOP", "admin").await);
    let other = fleet.client(to, "OTHER", "admin").await;
    let mut heard = there.subscribe(subject.clone()).await.unwrap();
    let mut heard_by_others = other.subscribe(subject.clone()).await.unwrap();
    there.flush().await.unwrap();
    other.flush().await.unwrap();
    eventually("it is heard", async || {
        here.publish(subject.clone(), "x".into()).await.unwrap();
        tokio::time::timeout(Duration::from_millis(100), heard.next()).await.is_ok()
    })
    .await;
    // What was heard by one has passed the link; what others hear would have, too.
    let others = tokio::time::timeout(Duration::from_millis(300), heard_by_others.next()).await;
    assert!(others.is_err(), "{from} → {to}: heard in another account");
}

/// Publishes into a stream through JetStream, and gives the acknowledgement's domain.
async fn store(fleet: &Fleet, server: &str, subject: &str) -> String {
    let context = jetstream::new(fleet.client(server, "SHOP", "admin").await);
    context.publish(subject.to_owned(), "x".into()).await.unwrap().await.unwrap().domain
}

#[tokio::test]
async fn what_is_published_at_one_side_is_heard_at_the_other_and_each_goes_on_alone() {
    let fleet = joined();
    is_heard(&fleet, "edge-0", "hub-0").await;
    is_heard(&fleet, "hub-0", "edge-0").await;
    assert_eq!(store(&fleet, "edge-0", "local.a").await, "edge");
    assert_eq!(store(&fleet, "hub-0", "central.a").await, "hub");

    // The hub goes away; nobody starts it again.
    let (agent, hub, edge) = (fleet.pid("supervisor"), fleet.pid("hub-0"), fleet.pid("edge-0"));
    for pid in [agent, hub] {
        signal(pid.unwrap(), Signal::KILL);
    }
    eventually("the edge notices", async || fleet.monitor("edge-0", "/varz").await["leafnodes"] == 0).await;
    assert_eq!(store(&fleet, "edge-0", "local.b").await, "edge");
    let drift = plan(&fleet);
    assert_eq!(reason(&drift, "server.hub-0"), "it is not running");
    assert_eq!(reason(&drift, "cluster.hub"), "its server is down: nothing can be stored");
    assert!(reason(&drift, "server.edge-0").contains("its agent is gone"), "{drift}");

    apply_all(&fleet, &[]);
    assert_eq!(fleet.pid("edge-0"), edge, "who ran goes on");
    is_heard(&fleet, "edge-0", "hub-0").await;
    is_heard(&fleet, "hub-0", "edge-0").await;
    let info = fleet.jetstream("edge-0", "SHOP", "STREAM.INFO.LOCAL").await;
    assert_eq!(info["state"]["messages"], 2);
    let info = fleet.jetstream("hub-0", "SHOP", "STREAM.INFO.CENTRAL").await;
    assert_eq!(info["state"]["messages"], 1);
    assert_eq!(actions(&plan(&fleet)), []);
}

#[tokio::test]
async fn a_stream_beyond_the_link_is_reached_by_its_domain() {
    let fleet = joined();
    store(&fleet, "edge-0", "local.a").await;
    let hub = fleet.client("hub-0", "SHOP", "admin").await;
    let own = jetstream::new(hub.clone());
    assert!(own.get_stream("LOCAL").await.is_err(), "it is not the hub's");
    let beyond = jetstream::with_domain(hub, "edge");
    eventually("the domain is reached", async || beyond.get_stream("LOCAL").await.is_ok()).await;
    let stream = beyond.get_stream("LOCAL").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
    assert_eq!(stream.get_raw_message(1).await.unwrap().subject.as_str(), "local.a");
    assert_eq!(store(&fleet, "hub-0", "local.b").await, "edge", "the subject is one, here and there");
    assert_eq!(beyond.get_stream("LOCAL").await.unwrap().cached_info().state.messages, 2);
    // What is changed in the file is changed beyond the link, too.
    fleet.edit("subjects = [\"local.>\"]", "subjects = [\"local.>\"]\nmax_messages = 100");
    assert_eq!(actions(&plan(&fleet)), [("stream.LOCAL".to_owned(), "update".to_owned())]);
    apply_all(&fleet, &[]);
    assert_eq!(beyond.get_stream("LOCAL").await.unwrap().cached_info().config.max_messages, 100);
}

#[tokio::test]
async fn an_environment_is_what_the_file_says_and_never_takes_anothers_place() {
    let fleet = Fleet::with().prepare();
    let file = fleet.file();
    let overlay = "[environments.production.clusters.hub]\nservers = 3\nmax_payload = \"2MiB\"\n\n\
                   [environments.small.clusters.hub]\nmax_payload = \"64KiB\"\n";
    // Clusters of three need three ports next to each other.
    let of_three = format!("ports = {}\njetstream", ports(3));
    let (start, end) = (file.find("ports = {").unwrap(), file.find("jetstream").unwrap());
    fleet.write(&format!("{}{of_three}{}\n{overlay}", &file[..start], &file[end + "jetstream".len()..]));
    let show = |environment: &[&str]| -> Value {
        let output = fleet.run(&[environment, &["show", "--format", "json"]].concat());
        assert!(output.status.success(), "{output:?}");
        json_of(&output)
    };
    let (base, production) = (show(&[]), show(&["--environment", "production"]));
    let differing: Vec<&str> = ["fleet", "clusters", "streams", "github"]
        .into_iter()
        .filter(|table| base[table] != production[table])
        .collect();
    assert_eq!(differing, ["clusters", "streams"]);
    let hub = |shown: &Value, key: &str| shown["clusters"]["hub"][key].clone();
    assert_eq!((hub(&base, "servers"), hub(&production, "servers")), (json!(1), json!(3)));
    assert_eq!((hub(&base, "max_payload"), hub(&production, "max_payload")), (json!("1MiB"), json!("2MiB")));
    let replicas = |shown: &Value| shown["streams"]["GITHUB"]["replicas"].clone();
    assert_eq!(
        (replicas(&base), replicas(&production)),
        (json!(1), json!(3)),
        "production is safe by default"
    );
    let none = fleet.run(&["--environment", "prodution", "show", "--format", "json"]);
    assert_eq!(code_of(&none), json!("WL0135"), "{none:?}");

    let small: &[&str] = &["--environment", "small"];
    apply_all(&fleet, small);
    assert_eq!(fleet.monitor("hub-0", "/varz").await["max_payload"], 65_536);
    let state = fs::read(fleet.state().join("state/state.json")).unwrap();
    for other in [&["--environment", "production"][..], &[]] {
        for command in ["plan", "apply", "destroy"] {
            let yes: &[&str] = if command == "plan" { &[] } else { &["--yes"] };
            let refused = fleet.run(&[other, &[command, "--format", "json"], yes].concat());
            assert_eq!(code_of(&refused), json!("WL0503"), "{command} {other:?}: {refused:?}");
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(said.contains("test@small"), "who is there is named: {said}");
        }
    }
    assert_eq!(fs::read(fleet.state().join("state/state.json")).unwrap(), state, "nothing was changed");
    assert_eq!(fleet.monitor("hub-0", "/varz").await["max_payload"], 65_536);
    // In a directory of its own it is another fleet, beside the first.
    let own = fleet.path().join("beside");
    let beside = ["--directory", own.to_str().unwrap()];
    let output = apply(&fleet, &beside);
    assert!(output.status.success(), "{output:?}");
    assert!(fleet.run(&[&["down"][..], &beside].concat()).status.success());
    assert_eq!(fleet.monitor("hub-0", "/varz").await["max_payload"], 65_536);
}
