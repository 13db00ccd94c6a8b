//! What others do to a fleet that runs: servers and agents that die, and what is changed by hand or with another client.
//! Each is found, explained, and put right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::jetstream;
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use windlass_nats::authority::{AccountTerms, Authority};
use windlass_nats::jwt::AccountLimits;
use windlass_tests::engine::{action, actions, apply, apply_all, blocked, code_of, destroy, plan, reason};
use windlass_tests::furniture::FURNITURE;
use windlass_tests::{Delivery, Fleet, Signal, claims, eventually, nats_server, signal};

const TRIO: [&str; 3] = ["hub-0", "hub-1", "hub-2"];

fn pids(fleet: &Fleet) -> Vec<i32> {
    TRIO.iter().map(|server| fleet.pid(server).expect("it runs")).collect()
}

/// Kills a process for good, and waits until it is gone.
async fn kill(pid: i32) {
    signal(pid, Signal::KILL);
    let path = format!("/proc/{pid}/stat");
    let is_gone = || fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "));
    eventually("the process is gone", async || is_gone()).await;
}

/// Publishes so many, each acknowledged.
async fn publish(fleet: &Fleet, server: &str, count: usize) {
    let context = jetstream::new(fleet.client(server, "GITHUB", "admin").await);
    for _ in 0..count {
        let id = Delivery::new("push", "x").id;
        // A stream whose leader has died has none for a moment.
        eventually("it is acknowledged", async || {
            let headers: async_nats::HeaderMap =
                [("Nats-Msg-Id".parse().unwrap(), id.as_str().parse().unwrap())].into_iter().collect();
            let sent = context.publish_with_headers("github.a.b.push.-", headers, "x".into()).await.unwrap();
            tokio::time::timeout(Duration::from_secs(2), sent).await.is_ok_and(|ack| ack.is_ok())
        })
        .await;
    }
}

/// How many messages the stream has, where each of its three replicas is current.
async fn count_when_current(fleet: &Fleet) -> u64 {
    let mut count = 0;
    eventually("every replica is current", async || {
        let info = fleet.jetstream("hub-0", "GITHUB", "STREAM.INFO.GITHUB").await;
        count = info["state"]["messages"].as_u64().unwrap_or(0);
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
        replicas.len() == 2 && replicas.iter().all(|one| one["current"] == true && one["offline"] != true)
    })
    .await;
    count
}

#[tokio::test]
async fn a_server_that_is_gone_for_good_is_shown_and_brought_back() {
    let fleet = Fleet::with().servers(3).stream("replicas = 3").start();
    publish(&fleet, "hub-0", 20).await;
    let before = pids(&fleet);

    // The agent would start it again.
    kill(fleet.pid("supervisor").unwrap()).await;
    kill(before[1]).await;
    publish(&fleet, "hub-0", 20).await;
    let drift = plan(&fleet);
    assert_eq!(reason(&drift, "server.hub-1"), "it is not running");
    assert_eq!(action(&drift, "server.hub-1")["risk"], "none", "nobody is interrupted by a start: {drift}");
    let why = reason(&drift, "cluster.hub");
    assert_eq!(why, "2 of 3 servers are healthy: it has its majority, and loses it with 1 more");
    assert!(reason(&drift, "server.hub-0").contains("its agent is gone"), "{drift}");
    apply_all(&fleet, &[]);
    let after = pids(&fleet);
    assert_eq!((before[0], before[2]), (after[0], after[2]), "who ran goes on");
    assert_ne!(before[1], after[1]);
    assert_eq!(count_when_current(&fleet).await, 40, "what was acknowledged, each once");
    assert_eq!(actions(&plan(&fleet)), []);

    // Two of three: there is no majority, so nobody can say what is stored.
    kill(fleet.pid("supervisor").unwrap()).await;
    kill(after[0]).await;
    kill(after[2]).await;
    let drift = plan(&fleet);
    let why = reason(&drift, "cluster.hub");
    assert_eq!(why, "1 of 3 servers are healthy: without a majority nothing can be stored");
    let lost = drift["actions"].as_array().unwrap().iter().find(|one| one["do"] == "create");
    assert_eq!(lost, None, "what cannot be seen is not made anew");
    apply_all(&fleet, &[]);
    assert_eq!(pids(&fleet)[1], after[1], "who ran goes on");
    assert_eq!(count_when_current(&fleet).await, 40);
    assert_eq!(actions(&plan(&fleet)), []);
}

#[tokio::test]
async fn an_agent_that_is_gone_is_replaced_without_a_restart_of_anything() {
    let fleet = Fleet::with().servers(3).start();
    let (servers, receiver) = (pids(&fleet), fleet.pid("receiver"));
    let agent = fleet.pid("supervisor").unwrap();
    kill(agent).await;
    let drift = plan(&fleet);
    for server in TRIO {
        let action = action(&drift, &format!("server.{server}"));
        assert_eq!(action["reason"], "its agent is gone: it runs, and would not be started again");
        assert_eq!((&action["do"], &action["risk"]), (&json!("update"), &json!("none")));
    }
    apply_all(&fleet, &[]);
    assert_eq!((pids(&fleet), fleet.pid("receiver")), (servers.clone(), receiver));
    assert_ne!(fleet.pid("supervisor").unwrap(), agent);
    assert_eq!(actions(&plan(&fleet)), []);
    // The new agent keeps what it took over.
    kill(servers[0]).await;
    eventually("it is started again", async || fleet.pid("hub-0").is_some_and(|pid| pid != servers[0])).await;
}

fn furnished() -> Fleet {
    let fleet = Fleet::with().prepare();
    fleet.edit("[github]", &format!("{FURNITURE}\n[github]"));
    apply_all(&fleet, &[]);
    fleet
}

fn config_file(fleet: &Fleet) -> std::path::PathBuf {
    fleet.state().join("nats/hub/nats-server.conf")
}

/// Tells the server another token of the account SHOP than Windlass did, as whoever has the operator's key could.
async fn change_account(fleet: &Fleet) {
    let copy = tempfile::tempdir().unwrap();
    for part in ["keys", "jwt"] {
        let from = fleet.state().join(part);
        assert!(Command::new("cp").arg("-R").arg(from).arg(copy.path()).status().unwrap().success());
    }
    let limits = AccountLimits { connections: Some(7), ..AccountLimits::default() };
    let terms = AccountTerms { limits, ..AccountTerms::default() };
    // Issued in an hour's time: the latest there is.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let authority = Authority::open(copy.path(), "test", i64::try_from(now).unwrap() + 3600).unwrap();
    let token = authority.account("SHOP", &terms).unwrap().token;
    assert_eq!(claims(&token)["nats"]["limits"]["conn"], 7);
    let system = fleet.client("hub-0", "SYS", "admin").await;
    let answer = system.request("$SYS.REQ.CLAIMS.UPDATE", token.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["data"]["code"], 200, "{answer}");
    assert_eq!(fleet.account_at("hub-0", "SHOP").await["limits"]["conn"], 7);
}

#[tokio::test]
async fn each_change_by_another_hand_is_found_explained_and_put_right() {
    let fleet = furnished();
    let shop = jetstream::new(fleet.client("hub-0", "SHOP", "admin").await);
    let orders = shop.get_stream("ORDERS").await.unwrap();
    shop.publish("orders.paid", "1".into()).await.unwrap().await.unwrap();

    let mut config = orders.cached_info().config.clone();
    config.max_messages_per_subject = 50;
    config.subjects.push("returns.>".to_owned());
    shop.update_stream(&config).await.unwrap();
    orders.delete_consumer("billing").await.unwrap();
    shop.delete_key_value("SETTINGS").await.unwrap();
    fs::remove_file(fleet.creds("SHOP", "till")).unwrap();
    change_account(&fleet).await;
    let text = fs::read_to_string(config_file(&fleet)).unwrap();
    fs::write(config_file(&fleet), text.replace("max_payload: 1048576", "max_payload: 4096")).unwrap();

    let drift = plan(&fleet);
    let why = |address: &str| reason(&drift, address).to_owned();
    let field = |address: &str, field: &str| {
        let fields = action(&drift, address)["fields"].as_array().cloned().unwrap_or_default();
        let one = fields.iter().find(|one| one["field"] == field);
        let one = one.unwrap_or_else(|| panic!("{address}: no {field} in {fields:?}"));
        (one["from"].as_str().unwrap().to_owned(), one["to"].as_str().unwrap().to_owned())
    };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert!(why("stream.ORDERS").contains("somebody else since the last apply (drift)"), "{drift}");
    assert_eq!(field("stream.ORDERS", "max_msgs_per_subject"), pair("50", "100"));
    assert_eq!(field("stream.ORDERS", "subjects").1, r#"["orders.>"]"#);
    for gone in ["consumer.billing", "kv.SETTINGS", "user.SHOP/till"] {
        assert_eq!(why(gone), "it was there, and is gone: somebody deleted it");
        assert_eq!(action(&drift, gone)["do"], "create");
    }
    assert!(why("account.SHOP").contains("hub-0"), "{drift}");
    assert_eq!(field("account.SHOP", "limits.conn"), pair("7", "50"));
    assert!(why("server.hub-0").contains("drift"), "{drift}");
    assert_eq!(field("server.hub-0", "max_payload"), pair("4096", "1048576"));
    assert_eq!(actions(&drift).len(), 6, "{drift}");

    apply_all(&fleet, &[]);
    assert_eq!(actions(&plan(&fleet)), []);
    let limits = fleet.account_at("hub-0", "SHOP").await["limits"].clone();
    assert_eq!((&limits["conn"], &limits["streams"]), (&json!(50), &json!(10)));
    let info = fleet.jetstream("hub-0", "SHOP", "STREAM.INFO.ORDERS").await;
    assert_eq!(info["config"]["subjects"], json!(["orders.>"]));
    assert_eq!(info["state"]["messages"], 1, "what was stored is still there");
    let consumer = fleet.jetstream("hub-0", "SHOP", "CONSUMER.INFO.ORDERS.billing").await;
    assert_eq!(consumer["config"]["max_deliver"], 5);
    fleet.client("hub-0", "SHOP", "till").await;
    assert_eq!(fleet.monitor("hub-0", "/varz").await["max_payload"], 1_048_576);
}

#[tokio::test]
async fn a_server_that_runs_with_another_configuration_than_its_file_is_found() {
    let fleet = furnished();
    let text = fs::read_to_string(config_file(&fleet)).unwrap();
    let before = fleet.pid("hub-0").unwrap();
    fs::write(config_file(&fleet), text.replace("max_payload: 1048576", "max_payload: 2048")).unwrap();
    kill(before).await;
    eventually("the agent has started it again", async || {
        fleet.pid("hub-0").is_some_and(|pid| pid != before)
            && windlass_tests::http_client()
                .get(format!("http://{}/varz", fleet.listens("hub-0")[2]))
                .send()
                .await
                .is_ok()
    })
    .await;
    // The file is as it was; what runs is not.
    fs::write(config_file(&fleet), &text).unwrap();
    assert_eq!(fleet.monitor("hub-0", "/varz").await["max_payload"], 2048);
    let drift = plan(&fleet);
    assert_eq!(reason(&drift, "server.hub-0"), "it runs with another configuration than its file has");
    assert_eq!(actions(&drift), [("server.hub-0".to_owned(), "restart".to_owned())]);
    apply_all(&fleet, &[]);
    assert_eq!(fleet.monitor("hub-0", "/varz").await["max_payload"], 1_048_576);
    assert_eq!(actions(&plan(&fleet)), []);
}

#[tokio::test]
async fn a_server_that_somebody_else_started_in_its_place_is_not_run_beside() {
    let fleet = furnished();
    let shop = jetstream::new(fleet.client("hub-0", "SHOP", "admin").await);
    shop.publish("orders.paid", "1".into()).await.unwrap().await.unwrap();
    let before = fleet.pid("hub-0").unwrap();
    kill(fleet.pid("supervisor").unwrap()).await;
    kill(before).await;
    let text = fs::read_to_string(config_file(&fleet)).unwrap();
    let other = fleet.path().join("other.conf");
    fs::write(&other, text.replace("max_payload: 1048576", "max_payload: 2048")).unwrap();
    let mut stranger = Command::new(nats_server())
        .arg("--config")
        .arg(&other)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the other server answers", async || {
        let url = format!("http://{}/varz", fleet.listens("hub-0")[2]);
        windlass_tests::http_client().get(url).send().await.is_ok()
    })
    .await;
    let refused = apply(&fleet, &[]);
    assert_eq!(code_of(&refused), json!("WL0508"), "{refused:?}");
    let drift = plan(&fleet);
    let why = blocked(&drift, "server.hub-0");
    assert!(why.contains("somebody else runs a nats-server in its place, with its data"), "{why}");
    assert!(why.contains(&fleet.listens("hub-0")[2].to_string()), "{why}");
    assert_eq!(fleet.pid("hub-0"), Some(before), "nobody has started another one");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    apply_all(&fleet, &[]);
    assert_eq!(fleet.monitor("hub-0", "/varz").await["max_payload"], 1_048_576);
    let info = fleet.jetstream("hub-0", "SHOP", "STREAM.INFO.ORDERS").await;
    assert_eq!(info["state"]["messages"], 1, "what was stored is still there");
    assert_eq!(actions(&plan(&fleet)), []);
}

#[tokio::test]
async fn a_destroy_deletes_nothing_that_it_has_not_shown() {
    let fleet = furnished();
    // The file has it, and somebody else has made it before an apply could.
    fleet.edit(
        "[streams.ORDERS]",
        "[streams.NOTES]\naccount = \"SHOP\"\nsubjects = [\"notes.>\"]\n\n[streams.ORDERS]",
    );
    let shop = jetstream::new(fleet.client("hub-0", "SHOP", "admin").await);
    let config = jetstream::stream::Config {
        name: "NOTES".to_owned(),
        subjects: vec!["notes.>".to_owned()],
        ..Default::default()
    };
    shop.create_stream(config).await.unwrap();
    shop.publish("notes.a", "x".into()).await.unwrap().await.unwrap();
    let streams = fleet.state().join(format!("nats/hub/jetstream/{}/streams", fleet.account_key("SHOP")));
    assert!(streams.join("NOTES").exists() && streams.join("ORDERS").exists());
    let output = destroy(&fleet);
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("stream.NOTES"), "{output:?}");
    assert!(!streams.join("ORDERS").exists());
    assert!(streams.join("NOTES").exists(), "what was not shown is still there");
}
