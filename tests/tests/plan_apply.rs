//! From the file to what runs: plan, apply, drift, a killed apply, destroy; with real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::jetstream;
use serde_json::json;
use std::fs;
use std::process::Output;
use std::time::Duration;
use windlass_tests::engine::{actions, apply, code_of, destroy, json_of, plan, reason};
use windlass_tests::{Delivery, Fleet};

#[tokio::test]
async fn what_is_applied_is_what_the_servers_say() {
    let fleet = Fleet::with().prepare();
    let exit = |more: &[&str]| fleet.run(&[&["plan", "--detailed-exitcode"], more].concat()).status.code();
    assert_eq!(exit(&[]), Some(2), "everything is to be made");
    assert!(!fleet.state().exists(), "a plan writes nothing");
    let output = apply(&fleet, &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json_of(&output)["report"]["done"].as_array().unwrap().len(), 9);
    assert_eq!(exit(&[]), Some(0));

    fleet.edit("[streams.GITHUB]", "[streams.GITHUB]\nmax_age = \"20d\"\nowner = \"nobody\"");
    assert_eq!(exit(&[]), Some(3), "a file with a mistake");
    fleet.edit("owner = \"nobody\"\n", "");
    let mut both = actions(&plan(&fleet));
    both.sort();
    let update = |address: &str| (address.to_owned(), "update".to_owned());
    assert_eq!(both, [update("objects.GITHUB_PAYLOADS"), update("stream.GITHUB")]);
    let output = apply(&fleet, &["--target", "stream.GITHUB"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(actions(&plan(&fleet)), [("objects.GITHUB_PAYLOADS".to_owned(), "update".to_owned())]);

    let output = destroy(&fleet);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fleet.run(&["status"]).status.code(), Some(1), "nothing runs");
    assert_eq!(exit(&[]), Some(2), "everything would be new");
}

#[tokio::test]
async fn what_others_change_is_found_explained_and_put_right() {
    let mut fleet = Fleet::start();
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 0)).await.status, 200);
    assert!(actions(&plan(&fleet)).is_empty());

    // With another client: a limit is changed, a bucket is deleted. By hand: credentials, and a server's file.
    let context = jetstream::new(fleet.nats().await);
    let mut config = fleet.stream().await.get_info().await.unwrap().config;
    config.max_age = Duration::from_secs(3600 * 24 * 10);
    config.duplicate_window = Duration::from_secs(60);
    context.update_stream(&config).await.unwrap();
    context.delete_stream("OBJ_GITHUB_PAYLOADS").await.unwrap();
    fs::remove_file(fleet.state().join("creds/GITHUB/receiver.creds")).unwrap();
    let server = fleet.state().join("nats/hub/nats-server.conf");
    let text = fs::read_to_string(&server).unwrap();
    fs::write(&server, text.replace("max_payload: 1048576", "max_payload: 4096")).unwrap();

    let drift = plan(&fleet);
    assert!(reason(&drift, "stream.GITHUB").contains("drift"), "{drift}");
    assert!(reason(&drift, "objects.GITHUB_PAYLOADS").contains("somebody deleted it"), "{drift}");
    assert!(reason(&drift, "user.GITHUB/receiver").contains("somebody deleted it"), "{drift}");
    assert!(reason(&drift, "server.hub-0").contains("drift"), "{drift}");
    assert_eq!(actions(&drift).len(), 4, "{drift}");
    let fields = drift.to_string();
    for shown in ["duplicate_window", "\"1m\"", "\"3d\"", "4096", "1048576"] {
        assert!(fields.contains(shown), "{shown} is not in {fields}");
    }

    let output = apply(&fleet, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(actions(&plan(&fleet)).is_empty());
    fleet.report = fleet.status();
    assert_eq!(fleet.count().await, 1, "what was stored is still there");
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 1)).await.status, 200);
}

#[tokio::test]
async fn what_would_lose_messages_needs_permission() {
    let fleet = Fleet::start();
    for number in 0..3 {
        assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", number)).await.status, 200);
    }
    let file = fs::read_to_string(fleet.path().join("windlass.toml")).unwrap();
    let end = file.find("[streams.GITHUB]").unwrap();
    fs::write(fleet.path().join("windlass.toml"), &file[..end]).unwrap();
    let refused = apply(&fleet, &[]);
    assert_eq!((refused.status.code(), code_of(&refused)), (Some(1), json!("WL0506")), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stream.GITHUB (3 messages"), "{refused:?}");
    assert_eq!(fleet.count().await, 3);
    let output = apply(&fleet, &["--allow-data-loss"]);
    assert!(output.status.success(), "{output:?}");
    assert!(jetstream::new(fleet.nats().await).get_stream("GITHUB").await.is_err());
    assert!(actions(&plan(&fleet)).is_empty());
}

#[tokio::test]
async fn what_cannot_be_seen_is_not_deleted_unseen() {
    let fleet = Fleet::start();
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 0)).await.status, 200);
    fleet.edit("[github]", "[streams.OLD]\naccount = \"GITHUB\"\nsubjects = [\"old.>\"]\n\n[github]");
    assert!(apply(&fleet, &[]).status.success());
    let context = jetstream::new(fleet.nats().await);
    context.publish("old.x", "x".into()).await.unwrap().await.unwrap();
    assert!(fleet.run(&["down"]).status.success());

    fleet.edit("[streams.OLD]\naccount = \"GITHUB\"\nsubjects = [\"old.>\"]\n\n", "");
    let later = plan(&fleet);
    assert_eq!(later["deferred"][0]["address"], "stream.OLD", "{later}");
    assert!(!actions(&later).iter().any(|(address, _)| address == "stream.OLD"), "{later}");
    let refused = fleet.run(&["up", "--detach", "--format", "json"]);
    assert_eq!(code_of(&refused), json!("WL0506"), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stream.OLD (1 message"), "{refused:?}");
    assert!(apply(&fleet, &["--allow-data-loss"]).status.success());
    assert!(actions(&plan(&fleet)).is_empty());
    assert_eq!(fleet.count().await, 1, "the other stream has what it had");
}

#[tokio::test]
async fn no_cluster_changes_its_size_at_the_cost_of_its_streams() {
    let mut fleet = Fleet::with().servers(3).prepare();
    fleet.edit("servers = 3", "servers = 1");
    assert!(apply(&fleet, &[]).status.success());
    fleet.report = fleet.status();
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 0)).await.status, 200);
    fleet.edit("servers = 1", "servers = 3");
    let blocked = plan(&fleet);
    let reason_of = |address: &str| {
        let all = blocked["blocked"].as_array().unwrap();
        let one = all.iter().find(|one| one["address"] == address);
        one.unwrap_or_else(|| panic!("{address} is not blocked in {blocked}"))["reason"].clone()
    };
    assert!(reason_of("server.hub-0").as_str().unwrap().contains("from 1 to 3 servers"), "{blocked}");
    assert_eq!(reason_of("server.hub-1"), "it needs server.hub-0");
    let refused = apply(&fleet, &[]);
    assert_eq!((refused.status.code(), code_of(&refused)), (Some(1), json!("WL0508")), "{refused:?}");
    assert_eq!(fleet.count().await, 1);
    fleet.edit("servers = 3", "servers = 1");
    assert!(actions(&plan(&fleet)).is_empty(), "nothing was changed");
}

#[tokio::test]
async fn a_plan_is_applied_as_it_was_looked_at_or_not_at_all() {
    let fleet = Fleet::start();
    fleet.edit("[streams.GITHUB]", "[streams.GITHUB]\nmax_age = \"20d\"");
    assert!(fleet.run(&["plan", "--out", "plan.json"]).status.success());
    let mut config = fleet.stream().await.get_info().await.unwrap().config;
    config.max_messages = 1000;
    let context = jetstream::new(fleet.nats().await);
    context.update_stream(&config).await.unwrap();
    let refused = fleet.run(&["apply", "plan.json", "--format", "json"]);
    assert_eq!((refused.status.code(), code_of(&refused)), (Some(1), json!("WL0504")), "{refused:?}");
    config.max_messages = -1;
    context.update_stream(&config).await.unwrap();
    // The file on disk may change meanwhile: the plan has its own.
    fleet.edit("max_age = \"20d\"", "max_age = \"10d\"");
    let output = fleet.run(&["apply", "plan.json", "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    let config = fleet.stream().await.get_info().await.unwrap().config;
    assert_eq!(config.max_age, Duration::from_secs(20 * 24 * 60 * 60));

    let nobody = fleet.run(&["apply"]);
    assert_eq!(nobody.status.code(), Some(3), "there is something to do, and nobody to ask: {nobody:?}");
    let bad = fleet.run(&["apply", "windlass.toml", "--format", "json"]);
    assert_eq!((bad.status.code(), code_of(&bad)), (Some(3), json!("WL0505")));
}

#[tokio::test]
async fn of_two_applies_one_waits_or_says_who_has_the_lock() {
    let fleet = Fleet::with().prepare();
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let run = || scope.spawn(|| apply(&fleet, &["--lock-timeout", "60"]));
        [run(), run()].map(|thread| thread.join().unwrap()).into()
    });
    let done = |output: &Output| json_of(output)["report"]["done"].as_array().unwrap().len();
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    let mut counts: Vec<usize> = outputs.iter().map(done).collect();
    counts.sort_unstable();
    assert_eq!(counts, [0, 9], "one made it, the other found it made");

    let file = fs::File::options().write(true).open(fleet.state().join("state/lock")).unwrap();
    file.lock().unwrap();
    let refused = apply(&fleet, &[]);
    assert_eq!((refused.status.code(), code_of(&refused)), (Some(1), json!("WL0501")), "{refused:?}");
}
