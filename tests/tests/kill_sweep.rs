//! An apply and a destroy that are killed before or after any write of their journal, for a fleet with each kind of
//! resource: the next one ends in the same place as one that nobody broke.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use windlass_tests::engine::{actions, apply_all, destroy, killed_at, plan, resources};
use windlass_tests::furniture::each_kind;
use windlass_tests::{Fleet, claims, eventually};

/// Fleets at once, each in a directory of its own.
const AT_ONCE: usize = 4;
const ACCOUNTS: [&str; 3] = ["GITHUB", "REPORTS", "SHOP"];
const SERVERS: [&str; 2] = ["hub-0", "edge-0"];
const STREAMS: [(&str, &str, &str); 5] = [
    ("hub-0", "GITHUB", "GITHUB"),
    ("hub-0", "GITHUB", "OBJ_GITHUB_PAYLOADS"),
    ("hub-0", "SHOP", "ORDERS"),
    ("hub-0", "SHOP", "KV_SETTINGS"),
    ("edge-0", "SHOP", "OBJ_INVOICES"),
];

/// What a fleet is: its state, and what each server says of itself, its accounts, streams and consumers.
async fn is(fleet: &Fleet) -> String {
    eventually("a link for each account and the servers' own", async || {
        fleet.monitor("hub-0", "/varz").await["leafnodes"] == ACCOUNTS.len()
    })
    .await;
    let mut servers = json!({});
    for server in SERVERS {
        let varz = fleet.monitor(server, "/varz").await;
        let mut accounts = json!({});
        for account in ACCOUNTS {
            let mut said = fleet.account_at(server, account).await;
            // A key of this fleet alone.
            said["signing_keys"] = json!(said["signing_keys"].as_array().unwrap().len());
            accounts[account] = said;
        }
        servers[server] = json!({
            "name": varz["server_name"], "jetstream": varz["jetstream"]["config"], "leaf": varz["leaf"],
            "max_payload": varz["max_payload"], "port": varz["port"], "accounts": accounts,
        });
    }
    let mut streams = json!({});
    for (server, account, stream) in STREAMS {
        let info = fleet.jetstream(server, account, &format!("STREAM.INFO.{stream}")).await;
        assert!(info["config"].is_object(), "{stream}: {info}");
        streams[stream] = info["config"].clone();
    }
    let consumer = fleet.jetstream("hub-0", "SHOP", "CONSUMER.INFO.ORDERS.billing").await["config"].clone();
    let users: Vec<Value> = files(&fleet.state().join("creds"))
        .iter()
        .map(|path| {
            let text = fs::read_to_string(fleet.state().join("creds").join(path)).unwrap();
            let token = text.lines().nth(1).unwrap();
            let nats = claims(token)["nats"].clone();
            json!({ "user": path, "pub": nats["pub"], "sub": nats["sub"], "resp": nats["resp"] })
        })
        .collect();
    let status = fleet.run(&["status", "--format", "json"]);
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    let parts: Value = serde_json::from_slice(&status.stdout).unwrap();
    let parts: Vec<String> = parts["pids"].as_object().unwrap().keys().cloned().collect();
    let all = json!({
        "state": resources(fleet), "servers": servers, "streams": streams, "consumer": consumer, "users": users,
        "parts": parts,
    });
    normalised(fleet, &serde_json::to_string_pretty(&all).unwrap())
}

/// Without what is this fleet's alone: its directory, its ports, its keys.
fn normalised(fleet: &Fleet, text: &str) -> String {
    let text = fleet.named(text).replace(&fleet.path().display().to_string(), "DIRECTORY");
    let ports: Value = serde_json::from_slice(&fs::read(fleet.state().join("ports.json")).unwrap()).unwrap();
    let name = |number: &str| {
        let number: u64 = number.parse().ok()?;
        let named = ports.as_object().unwrap().iter().find(|(_, port)| port["port"] == number);
        let unused = || (12_000..19_000).contains(&number).then(|| "<unused>".to_owned());
        named.map(|(listener, _)| format!("<{listener}>")).or_else(unused)
    };
    let mut all = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|one: char| one.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let end = number.find(|one: char| !one.is_ascii_digit()).unwrap_or(number.len());
        all.push_str(before);
        all.push_str(&name(&number[..end]).unwrap_or_else(|| number[..end].to_owned()));
        rest = &number[end..];
    }
    all + rest
}

/// Every file below, by its path from there.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut next = vec![directory.to_owned()];
    while let Some(one) = next.pop() {
        for entry in fs::read_dir(one).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                next.push(path);
            } else {
                all.insert(path.strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    all
}

/// What a destroy leaves: the state, and the files that are kept on purpose.
fn is_left(fleet: &Fleet) -> BTreeSet<String> {
    assert_eq!(resources(fleet), json!({}));
    assert_eq!(fleet.run(&["status"]).status.code(), Some(1), "nothing runs");
    let shown = |path: PathBuf| {
        let text = fleet.named(&path.display().to_string());
        // Put aside at a time of day.
        let parts = text.split('/').filter(|part| part.parse::<u64>().is_err());
        parts.collect::<Vec<_>>().join("/")
    };
    let kept = ["keys", "creds", "removed", "jwt", "agent", "state"].iter();
    let all = kept.flat_map(|part| files(&fleet.state().join(part)).into_iter().map(move |one| (part, one)));
    // Versions are named after their content, which each fleet has its own.
    let all = all.filter(|(_, path)| !path.starts_with("history"));
    all.map(|(part, path)| format!("{part}/{}", shown(path))).collect()
}

#[test]
fn what_is_killed_at_any_step_ends_in_the_same_place() {
    let (next, end) = (AtomicU32::new(0), AtomicU32::new(u32::MAX));
    let unbroken: OnceLock<(String, BTreeSet<String>)> = OnceLock::new();
    let (applies, destroys) = (AtomicU32::new(0), AtomicU32::new(0));
    let run = |step: u32| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fleet = Fleet::of(&each_kind());
        let apply_killed = killed_at(&fleet, &["apply", "--yes"], step);
        apply_all(&fleet, &[]);
        assert_eq!(actions(&plan(&fleet)), [], "apply killed at {step}");
        let found = runtime.block_on(is(&fleet));
        let destroy_killed = killed_at(&fleet, &["destroy", "--yes", "--allow-data-loss"], step);
        let output = destroy(&fleet);
        assert!(output.status.success(), "destroy killed at {step}: {output:?}");
        let left = is_left(&fleet);
        let (expected, expected_left) = unbroken.get_or_init(|| (found.clone(), left.clone()));
        let differs = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
        assert!(*expected == found, "apply killed at {step}: {differs:?}");
        assert_eq!(*expected_left, left, "destroy killed at {step}");
        applies.fetch_add(apply_killed.into(), Ordering::Relaxed);
        destroys.fetch_add(destroy_killed.into(), Ordering::Relaxed);
        if !apply_killed && !destroy_killed {
            end.fetch_min(step, Ordering::Relaxed);
        }
    };
    // No write has this number.
    run(u32::MAX);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let step = next.fetch_add(1, Ordering::Relaxed) + 1;
                    if step > end.load(Ordering::Relaxed) {
                        break;
                    }
                    run(step);
                }
            });
        }
    });
    let (applies, destroys) = (applies.into_inner(), destroys.into_inner());
    eprintln!("{applies} applies and {destroys} destroys were killed");
    // Two writes a resource, each with a before and an after.
    let kinds = 4 * 22;
    assert!(applies >= kinds && destroys >= kinds, "{applies} applies and {destroys} destroys were killed");
}
