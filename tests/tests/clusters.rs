//! Clusters while they are used: changed, upgraded, encrypted, joined with others; with real servers and real clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use async_nats::{Client, ConnectOptions, jetstream};
use futures::StreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use windlass_tests::engine::{actions, apply_all, plan};
use windlass_tests::{Delivery, Fleet, tools};

/// What the agent says runs.
fn parts(directory: &Path) -> BTreeMap<String, Value> {
    let status: Value =
        serde_json::from_slice(&fs::read(directory.join(".windlass/agent/status.json")).unwrap()).unwrap();
    status["parts"].as_object().unwrap().clone().into_iter().collect()
}

fn pids(fleet: &Fleet) -> BTreeMap<String, u64> {
    let pid = |(name, part): (String, Value)| Some((name, part["process"]["pid"].as_u64()?));
    parts(fleet.path()).into_iter().filter_map(pid).collect()
}

fn listens(fleet: &Fleet, part: &str, at: usize) -> String {
    parts(fleet.path())[part]["part"]["listens"][at].as_str().unwrap().to_owned()
}

/// Publishes one message after the other, each until it is acknowledged.
struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<(u64, Duration)>,
}

impl Load {
    fn start(client: Client) -> Self {
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(async move {
            let context = jetstream::new(client);
            let (mut acknowledged, mut longest) = (0_u64, Duration::ZERO);
            while !*stopping.borrow() {
                let began = Instant::now();
                loop {
                    let mut headers = async_nats::HeaderMap::new();
                    headers.insert("Nats-Msg-Id", format!("m{acknowledged}"));
                    let sent = context.publish_with_headers("github.a.b.push.-", headers, "x".into()).await;
                    let Ok(ack) = sent else { continue };
                    if matches!(tokio::time::timeout(Duration::from_secs(2), ack).await, Ok(Ok(_))) {
                        break;
                    }
                }
                acknowledged += 1;
                longest = longest.max(began.elapsed());
            }
            (acknowledged, longest)
        });
        Self { stop, task }
    }

    /// How many were acknowledged, and the longest that one took.
    async fn end(self) -> (u64, Duration) {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

/// Counts, again and again, how many servers have JetStream and say that they are well; gives the fewest.
fn fewest_healthy(monitors: Vec<String>) -> (watch::Sender<bool>, JoinHandle<usize>) {
    let (stop, stopping) = watch::channel(false);
    let task = tokio::spawn(async move {
        let client = windlass_tests::http_client();
        let mut fewest = monitors.len();
        while !*stopping.borrow() {
            let looks = monitors
                .iter()
                .map(|monitor| client.get(format!("http://{monitor}/healthz?js-server-only=true")).send());
            let answers = futures::future::join_all(looks).await;
            let healthy =
                answers.iter().filter(|one| one.as_ref().is_ok_and(|one| one.status().is_success()));
            fewest = fewest.min(healthy.count());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fewest
    });
    (stop, task)
}

async fn apply(fleet: &Fleet) {
    let mut command = fleet.command(&["apply", "--yes", "--format", "json"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_cluster_is_changed_and_upgraded_under_load_without_losing_a_message() {
    let Some(former) = tools::former_nats_server() else { return };
    let programs = tempfile::tempdir().unwrap();
    let named = programs.path().join(format!("nats-server-{}", former.version));
    std::os::unix::fs::symlink(&former.path, named).unwrap();
    let path = std::env::join_paths(
        [programs.path().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let version = format!("version = \"{}\"", former.version);
    let fleet = Fleet::with()
        .servers(3)
        .stream("replicas = 3")
        .cluster(&version)
        .env("PATH", path.unwrap().to_str().unwrap())
        .start();
    let runs = |fleet: &Fleet| -> Vec<Value> {
        let status = fleet.status();
        status["servers"].as_array().unwrap().iter().map(|server| server["version"].clone()).collect()
    };
    assert_eq!(runs(&fleet), vec![Value::from(former.version.to_string()); 3]);
    let before = pids(&fleet);
    let load = Load::start(fleet.nats().await);
    let monitors = (0..3).map(|index| listens(&fleet, &format!("hub-{index}"), 2)).collect();
    let (seen_enough, fewest) = fewest_healthy(monitors);
    tokio::time::sleep(Duration::from_millis(300)).await;

    // What a running server takes over restarts nothing.
    fleet.edit("servers = 3", "servers = 3\nmax_payload = \"2MiB\"\nmax_connections = 1000");
    let wanted = plan(&fleet);
    assert_eq!(actions(&wanted).iter().filter(|(_, what)| what == "update").count(), 3, "{wanted}");
    assert!(wanted["actions"].as_array().unwrap().iter().all(|action| action["risk"] == "none"), "{wanted}");
    apply(&fleet).await;
    assert_eq!(pids(&fleet), before);
    assert_eq!(fleet.nats().await.server_info().max_payload, 2 << 20, "the server itself says so");

    // Another version does, one server at a time.
    fleet.edit(&version, "");
    let wanted = plan(&fleet);
    assert_eq!(actions(&wanted).iter().filter(|(_, what)| what == "restart").count(), 3, "{wanted}");
    assert!(wanted["actions"].as_array().unwrap().iter().all(|action| action["risk"] == "interrupts"));
    apply(&fleet).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (acknowledged, longest) = load.end().await;
    seen_enough.send_replace(true);
    let fewest = fewest.await.unwrap();
    eprintln!("{acknowledged} messages during it; the longest pause that the client saw: {longest:?}");
    assert!(fewest >= 2, "only {fewest} of 3 servers were well at once: no majority");
    let now = pids(&fleet);
    assert!((0..3).all(|index| now[&format!("hub-{index}")] != before[&format!("hub-{index}")]));
    assert!(runs(&fleet).iter().all(|version| version.as_str() != Some(&former.version.to_string())));
    let info = fleet.stream().await.get_info().await.unwrap();
    assert_eq!(info.state.messages, acknowledged, "each acknowledged message, once");
    assert_eq!(info.cluster.unwrap().replicas.len(), 2);
    assert!(acknowledged > 50, "{acknowledged}");
    assert!(longest < Duration::from_secs(30), "a client waited {longest:?}");
    let delivery = Delivery::push("acme", "api", 1);
    assert_eq!(fleet.github().deliver(&delivery).await.status, 200, "the receiver has found its way");
    assert!(fleet.run(&["events", "show", &delivery.id]).status.success());
    assert!(actions(&plan(&fleet)).is_empty());
}

async fn connect(url: &str, creds: &Path, authority: Option<&Path>) -> Result<Client, String> {
    let mut options =
        ConnectOptions::with_credentials_file(creds).await.map_err(|error| error.to_string())?;
    options = options.connection_timeout(Duration::from_secs(3));
    if let Some(authority) = authority {
        options = options.add_root_certificates(authority.to_owned());
    }
    options.connect(url).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_is_encrypted_is_renewed_and_signed_by_another_without_a_restart() {
    let mut fleet = Fleet::with().servers(3).stream("replicas = 3").start();
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 0)).await.status, 200);
    let creds = fleet.state().join("creds/GITHUB/admin.creds");

    // Turned on while it runs: nothing that was stored is lost.
    fleet.edit("servers = 3", "servers = 3\ntls = \"all\"");
    let wanted = plan(&fleet);
    assert!(wanted.to_string().contains("there is no majority"), "{wanted}");
    apply_all(&fleet, &[]);
    assert!(actions(&plan(&fleet)).is_empty());
    fleet.up();
    let url = fleet.report["nats"]["url"].as_str().unwrap().to_owned();
    let authority = fleet.state().join("tls/ca.crt");
    assert!(url.starts_with("tls://"), "{url}");
    assert_eq!(fleet.report["nats"]["ca_file"], authority.to_str().unwrap());
    assert_eq!(fleet.status()["servers"][0]["url"].as_str().unwrap().split(':').next(), Some("tls"));
    let client = connect(&url, &creds, Some(&authority)).await.unwrap();
    assert_eq!(jetstream::new(client).get_stream("GITHUB").await.unwrap().cached_info().state.messages, 1);
    assert!(
        connect(&url, &creds, None).await.is_err(),
        "whoever does not know the authority does not come in"
    );
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 1)).await.status, 200);
    assert!(fleet.run(&["events", "tail", "--all", "--no-follow"]).status.success());

    // The last days of a certificate.
    let before = pids(&fleet);
    let record = fleet.state().join("tls/servers/hub-1.json");
    let mut known: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let first = known["sha256"].clone();
    known["good_until"] = jiff::Timestamp::now().to_string().into();
    fs::write(&record, known.to_string()).unwrap();
    let wanted = plan(&fleet);
    assert_eq!(actions(&wanted), [("server.hub-1".to_owned(), "update".to_owned())], "{wanted}");
    assert!(wanted["actions"][0]["reason"].as_str().unwrap().contains("is good until"), "{wanted}");
    apply_all(&fleet, &[]);
    let known: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    assert_ne!(known["sha256"], first);

    // A server that was told of another certificate, and shows the old one still.
    let pem = fleet.state().join("tls/servers/hub-2.pem");
    fs::write(&pem, "nothing").unwrap();
    assert_eq!(actions(&plan(&fleet)), [("server.hub-2".to_owned(), "update".to_owned())]);
    apply_all(&fleet, &[]);

    // Another authority, stage by stage, and the last two at once.
    let old = fleet.path().join("old.crt");
    fs::copy(&authority, &old).unwrap();
    let rotate = |more: &[&str]| {
        let output = fleet.run(&[&["certificates", "rotate", "--yes"], more].concat());
        assert!(output.status.success(), "{output:?}");
    };
    rotate(&[]);
    connect(&url, &creds, Some(&old)).await.expect("the old authority still signs");
    rotate(&["--all"]);
    assert!(connect(&url, &creds, Some(&old)).await.is_err(), "and signs no more");
    connect(&url, &creds, Some(&authority)).await.expect("the new one does");
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 2)).await.status, 200);
    assert_eq!(pids(&fleet), before, "nothing was started again");
    assert!(actions(&plan(&fleet)).is_empty());
}

#[tokio::test]
async fn clusters_that_are_joined_by_gateways_are_one_system() {
    let fleet = Fleet::with().servers(3).stream("replicas = 3\ncluster = \"hub\"").prepare();
    let (client, websocket, monitor, routes) =
        (tools::free_port(), tools::free_port(), tools::free_port(), tools::free_port());
    let first = tools::free_port();
    let (_, _, other) = (tools::free_port(), tools::free_port(), tools::free_port());
    fleet.edit("domain = \"hub\", ", "");
    fleet.edit("monitor = ", &format!("gateway = {first}, monitor = "));
    fleet.edit("servers = 3", "servers = 3\nsuper_cluster = true\ntls = \"servers\"");
    fleet.edit(
        "[streams.GITHUB]",
        &format!(
            "[clusters.west]\nsuper_cluster = true\ntls = \"servers\"\nports = {{ client = {client}, websocket = {websocket}, \
             monitor = {monitor}, cluster = {routes}, gateway = {other} }}\n\n[streams.GITHUB]"
        ),
    );
    apply_all(&fleet, &[]);
    assert!(actions(&plan(&fleet)).is_empty());

    let creds = fleet.state().join("creds/GITHUB/admin.creds");
    let at = |part: &str| format!("nats://{}", listens(&fleet, part, 0));
    let hub = connect(&at("hub-0"), &creds, None).await.unwrap();
    let west = connect(&at("west-0"), &creds, None).await.unwrap();
    let mut heard = hub.subscribe("orders.>").await.unwrap();
    hub.flush().await.unwrap();
    let tells = async {
        loop {
            west.publish("orders.new", "1".into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        message = tokio::time::timeout(Duration::from_secs(20), heard.next()) => assert!(message.unwrap().is_some()),
        () = tells => unreachable!(),
    }
    // One JetStream: who is in the west publishes into the hub's stream.
    let context = jetstream::new(west);
    context.publish("github.a.b.push.-", "x".into()).await.unwrap().await.unwrap();
    let info = context.get_stream("GITHUB").await.unwrap().cached_info().clone();
    assert_eq!(info.state.messages, 1);
    assert_eq!(info.cluster.unwrap().name.as_deref(), Some("hub"));
}
