//! `windlass up --edge`: the whole system comes, is what was wanted, carries clients that are none of ours, goes, and comes
//! back with everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use windlass_tests::engine::{actions, json_of, plan};
use windlass_tests::tools::installed_at;
use windlass_tests::{
    Delivery, Fleet, Signal, edge, eventually, free_port, nats_server, processes_of, repository, signal,
};

async fn works(fleet: &Fleet, number: usize) {
    let answer = fleet.github_at_the_edge().deliver(&Delivery::push("acme", "one", number)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let client = fleet.through("weur").await;
    client.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_comes_goes_and_comes_back() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let mut fleet = Fleet::with().edge().start();
    works(&fleet, 0).await;
    let planned = plan(&fleet);
    assert_eq!(actions(&planned), [], "{planned}");
    let hub_config =
        |fleet: &Fleet| fs::read_to_string(fleet.state().join("nats/hub/nats-server.conf")).unwrap();
    let with = hub_config(&fleet);

    // Once more: nothing changes.
    let former = fleet.report.clone();
    let processes = |fleet: &Fleet| {
        let mut all: Vec<i32> = processes_of(fleet.path()).into_iter().map(|(pid, _)| pid).collect();
        all.sort_unstable();
        all
    };
    let ran = processes(&fleet);
    fleet.up();
    assert_eq!(fleet.report, former);
    assert_eq!(processes(&fleet), ran);

    // Without the edge: it is taken away, and nothing else.
    fleet.edge = false;
    fleet.up();
    assert_eq!(fleet.report["cloudflare"], Value::Null, "{}", fleet.report);
    assert_eq!(fleet.pid("cloudflare"), None);
    let left = processes_of(fleet.path());
    assert!(!left.iter().any(|(_, command)| command.contains("cloudflare")), "{left:?}");
    // The hub no longer listens for leaf nodes, which it learns by a restart; all else is as it was.
    let without = hub_config(&fleet);
    let lines: Vec<&str> = with.lines().filter(|line| !without.lines().any(|other| other == *line)).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("leafnodes") && lines[1].contains("listen"), "{lines:?}");
    assert!(without.lines().all(|line| with.lines().any(|other| other == line)));
    assert_eq!(actions(&plan(&fleet)), []);
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "one", 1)).await.status, 200);
    assert_eq!(fleet.count().await, 2);

    // And with it again.
    fleet.edge = true;
    fleet.up();
    works(&fleet, 2).await;
    assert_eq!(fleet.count().await, 3);
    assert_eq!(actions(&plan(&fleet)), []);

    fleet.down();
    let left = processes_of(fleet.path());
    assert!(left.is_empty(), "{left:?}");
    fleet.up();
    assert_eq!(fleet.count().await, 3, "the data is there");
    works(&fleet, 3).await;
    assert_eq!(fleet.count().await, 4);
    assert_eq!(actions(&plan(&fleet)), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_run_side_by_side() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let start = || tokio::task::spawn_blocking(|| Fleet::with().edge().start());
    let (one, other) = tokio::join!(start(), start());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.worker_url(), other.worker_url());
    works(&one, 0).await;
    works(&one, 1).await;
    works(&other, 0).await;
    assert_eq!((one.count().await, other.count().await), (2, 1), "each has its own");
    // What one may, the other does not know.
    let stranger =
        async_nats::ConnectOptions::with_credentials_file(one.report["nats"]["creds"].as_str().unwrap())
            .await
            .unwrap()
            .connect(format!("{}/nats/weur", other.worker_url().replacen("http", "ws", 1)))
            .await;
    assert!(stranger.is_err());
    let nodes = other.nodes();
    one.down();
    assert_eq!(other.nodes(), nodes, "one's end is not the other's");
    works(&other, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_client_connects_through_the_worker() {
    let modules = repository().join("edge/node_modules");
    let (Some(_), Some(modules)) = (edge::workerd_binary(), installed_at("WINDLASS_EDGE_MODULES", &modules))
    else {
        return;
    };
    let fleet = Fleet::with().edge().start();
    let output = Command::new("node")
        .args(["--experimental-websocket", "--no-warnings"])
        .arg(repository().join("tests/node/edge_client.mjs"))
        .env("NODE_MODULES", modules)
        .env("NATS_URL", format!("{}/nats/enam", fleet.worker_url().replacen("http", "ws", 1)))
        .env("NATS_CREDS", fleet.report["nats"]["creds"].as_str().unwrap())
        .output()
        .expect("node can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = json_of(&output);
    assert!(said["server"].as_str().unwrap().starts_with("test-edge-enam-"), "{said}");
    assert_eq!(said["echo"], "through the Worker");
    assert_eq!((&said["stream"], &said["stored"]), (&"GITHUB".into(), &5.into()));
    assert_eq!(fleet.count().await, 5);
}

/// A nats-server, ended when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        signal(i32::try_from(self.0.id()).unwrap(), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_joins_as_a_leaf_node_through_the_worker() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let fleet = Fleet::with().edge().start();
    let port = free_port();
    let url = format!("{}/leaf/weur", fleet.worker_url().replacen("http", "ws", 1));
    let configuration = |creds: &str| {
        format!(
            "server_name: branch\nhost: 127.0.0.1\nport: {port}\nleafnodes {{ reconnect: 1s, remotes: [{{ url: \"{url}\", \
             {creds} }}] }}\n"
        )
    };
    let file = fleet.path().join("branch.conf");
    let run = |creds: &str| {
        fs::write(&file, configuration(creds)).unwrap();
        let log = fs::File::create(fleet.path().join("branch.log")).unwrap();
        let child =
            Command::new(nats_server()).arg("--config").arg(&file).stderr(log).stdout(Stdio::null()).spawn();
        Server(child.expect("nats-server"))
    };
    let log = || fs::read_to_string(fleet.path().join("branch.log")).unwrap();

    // Without credentials nobody joins.
    let stranger = run("");
    eventually("it is refused", async || log().contains("Authorization Violation")).await;
    drop(stranger);

    let creds = fleet.report["nats"]["creds"].as_str().unwrap();
    let _branch = run(&format!("credentials: \"{creds}\""));
    let url = format!("nats://127.0.0.1:{port}");
    eventually("it runs", async || async_nats::connect(&url).await.is_ok()).await;
    let branch = async_nats::connect(&url).await.unwrap();
    // From the branch through an edge node to the hub, and back.
    let hub = fleet.nats().await;
    let mut at_the_hub = hub.subscribe("up.*").await.unwrap();
    let mut at_the_branch = branch.subscribe("down.*").await.unwrap();
    hub.flush().await.unwrap();
    let both_ways = async {
        loop {
            branch.publish("up.x", "up".into()).await.unwrap();
            hub.publish("down.x", "down".into()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    use futures::StreamExt;
    let arrived = async { (at_the_hub.next().await.unwrap(), at_the_branch.next().await.unwrap()) };
    tokio::select! {
        () = both_ways => unreachable!(),
        (up, down) = arrived => assert_eq!((&up.payload[..], &down.payload[..]), (&b"up"[..], &b"down"[..])),
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("nothing came: {}", log()),
    }
}
