//! The fleet's own state in R2: planned and applied, shown, restored, encrypted, moved; locked against others; and killed at
//! every step of the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use serde_json::{Value, json};
use std::fs;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use windlass_engine::store::{Store as _, Versioned, conformance};
use windlass_state::blobs::{Blobs, Bucket, Service};
use windlass_state::keys::{Keys, generate};
use windlass_state::lock::LockInfo;
use windlass_state::store::Store;
use windlass_tests::engine::{actions, apply, apply_all, code_of, destroy, json_of, killed_at, plan};
use windlass_tests::s3::servers::{self, Server};
use windlass_tests::{Fleet, Signal, free_port, get, http_client, signal};

/// R2's own limit, in milliseconds: one write a second to one key.
const LIMIT: &str = "1000";
/// Fleets at once.
const AT_ONCE: usize = 4;

/// A real local R2, with R2's limit.
async fn r2() -> Server {
    let server = servers::sandbox(1);
    let url = format!("{}/write-interval", server.admin_url.as_ref().unwrap());
    http_client().put(url).body(LIMIT).send().await.unwrap();
    server
}

fn variables(server: &Server) -> [(&'static str, String); 3] {
    [
        ("AWS_ENDPOINT_URL_S3", server.endpoints[0].clone()),
        ("AWS_ACCESS_KEY_ID", server.keys.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", server.keys.secret.clone()),
    ]
}

fn blobs(server: &Server) -> Arc<dyn Blobs> {
    let variables = variables(server);
    let value = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone());
    let service = Service::from_variables("r2", "r2://states", value).unwrap();
    Arc::new(Bucket::new(&service, "states").unwrap())
}

async fn objects(server: &Server) -> Vec<(String, Vec<u8>)> {
    let blobs = blobs(server);
    let mut all = Vec::new();
    for meta in blobs.list("").await.unwrap() {
        let (_, content) = blobs.get(&meta.key).await.unwrap().unwrap();
        all.push((meta.key, content.to_vec()));
    }
    all
}

async fn keys(server: &Server) -> Vec<String> {
    blobs(server).list("").await.unwrap().into_iter().map(|meta| meta.key).collect()
}

/// A small fleet: one server, one account, a stream.
fn file(state: &str) -> String {
    let port = free_port;
    format!(
        "[fleet]\nname = \"acme\"\n\n[clusters.hub]\nports = {{ client = {}, websocket = {}, monitor = {} }}\n\n\
         [accounts.SHOP]\n\n[streams.VERYSECRETORDERS]\naccount = \"SHOP\"\nsubjects = [\"orders.>\"]\n\n[state]\n{state}\n",
        port(),
        port(),
        port()
    )
}

/// A fleet whose state is in this R2, with more of `[state]` and of the environment.
fn fleet(server: &Server, state: &str, more: &[(&str, &str)]) -> Fleet {
    let mut builder = Fleet::with();
    for (name, value) in variables(server) {
        builder = builder.env(name, &value);
    }
    for (name, value) in more {
        builder = builder.env(name, value);
    }
    let fleet = builder.prepare();
    fleet.write(&file(state));
    fleet
}

fn state(fleet: &Fleet, arguments: &[&str]) -> Output {
    fleet.run(&[&["state"], arguments, &["--format", "json"]].concat())
}

fn state_ok(fleet: &Fleet, arguments: &[&str]) -> Value {
    let output = state(fleet, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    json_of(&output)
}

fn serials(fleet: &Fleet) -> Vec<u64> {
    let history = state_ok(fleet, &["history"]);
    history["versions"].as_array().unwrap().iter().map(|one| one["serial"].as_u64().unwrap()).collect()
}

/// What of a journal is in the bucket.
fn of_journals(keys: &[String]) -> Vec<&String> {
    keys.iter().filter(|key| key.contains("/journal/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_on_r2_is_one_as_the_engine_wants_it() {
    let server = r2().await;
    let mut secret = Keys::none();
    secret.add(secrecy::ExposeSecret::expose_secret(&generate().1)).unwrap();
    for (prefix, keys) in [("plain/", Keys::none()), ("sealed/", secret)] {
        let another = || {
            let store = Store::new(blobs(&server)).with_keys(keys.clone());
            Ok(Box::new(Versioned::at(store, prefix)?) as Box<dyn windlass_engine::store::Store>)
        };
        conformance::check(&another).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_on_r2_is_applied_shown_compared_and_restored() {
    let server = r2().await;
    let fleet = fleet(&server, "store = \"r2://states/team\"\nkeep = 3\nkeep_for = \"1d\"", &[]);
    apply_all(&fleet, &[]);
    assert_eq!(actions(&plan(&fleet)), []);
    assert!(!fleet.state().join("state").exists(), "nothing of it is on this disk");
    assert_eq!(serials(&fleet), [1]);
    let found = keys(&server).await;
    assert_eq!(of_journals(&found), [] as [&String; 0], "what is done is tidied up");
    assert_eq!(found.iter().filter(|key| key.ends_with(".tflock")).count(), 0, "{found:?}");
    assert!(found.contains(&"team/acme/state.json".to_owned()), "{found:?}");

    fleet.write(
        &fleet
            .file()
            .replace("[state]", "[streams.LATER]\naccount = \"SHOP\"\nsubjects = [\"x\"]\n\n[state]"),
    );
    apply_all(&fleet, &[]);
    assert_eq!(serials(&fleet), [2, 1]);
    let changes = state_ok(&fleet, &["diff", "1"]);
    let one = &changes["changes"][0];
    assert_eq!((&one["address"], &one["what"]), (&json!("stream.LATER"), &json!("added")), "{changes}");
    let shown = state_ok(&fleet, &["show"]);
    assert_eq!((&shown["serial"], &shown["fleet"]), (&json!(2), &json!("acme")));
    assert!(shown["addresses"].as_array().unwrap().contains(&json!("stream.LATER")), "{shown}");
    // By its address, it is the same.
    let by_address = state_ok(&fleet, &["show", "r2://states/team/acme/state.json", "1"]);
    assert_eq!((&by_address["serial"], &by_address["lineage"]), (&json!(1), &shown["lineage"]));
    assert_eq!(state_ok(&fleet, &["verify", "--deep"])["sound"], true);

    let restored = state_ok(&fleet, &["restore", "1", "--yes"]);
    assert_eq!(
        (&restored["before"], &restored["after"], &restored["already"]),
        (&json!(2), &json!(3), &json!(false))
    );
    assert_eq!(state_ok(&fleet, &["restore", "1", "--yes"])["already"], true);
    let shown = state_ok(&fleet, &["show"]);
    assert!(!shown["addresses"].as_array().unwrap().contains(&json!("stream.LATER")), "{shown}");
    // What runs was not changed, and is taken under the state again.
    apply_all(&fleet, &[]);
    assert_eq!(state_ok(&fleet, &["diff", "2", "current"])["changes"], json!([]));
    assert_eq!(serials(&fleet), [4, 3, 2, 1], "younger than a day");
    assert_eq!(code_of(&state(&fleet, &["restore", "99", "--yes"])), "WL0725");
    assert!(destroy(&fleet).status.success());
    assert_eq!(state_ok(&fleet, &["show"])["addresses"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_applies_one_goes_first() {
    let server = r2().await;
    let fleet = fleet(&server, "store = \"r2://states\"", &[]);
    // On another machine: nothing can be known of its process.
    let mut other = LockInfo { owner: None, ..LockInfo::new("apply", "x") };
    other.who = "mallory@far-away".to_owned();
    let lock = "acme/state.json.tflock";
    let _ = blobs(&server)
        .put(lock, other.to_json().into(), &windlass_state::blobs::Condition::Absent)
        .await
        .unwrap();
    let refused = apply(&fleet, &[]);
    assert_eq!((refused.status.code(), code_of(&refused)), (Some(1), json!("WL0501")), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("mallory@far-away") && said.contains(&format!("unlock {}", other.id)), "{said}");
    assert_eq!(state_ok(&fleet, &["locks"])["locks"][0]["who"], "mallory@far-away");
    // Looking needs no lock.
    assert!(!actions(&plan(&fleet)).is_empty());
    assert_eq!(state_ok(&fleet, &["unlock", &other.id, "--yes"])["who"], "mallory@far-away");

    let run = || {
        let arguments = ["apply", "--yes", "--format", "json", "--lock-timeout", "100"];
        let mut command = fleet.command(&arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [run(), run(), run()] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(actions(&plan(&fleet)), []);
    assert_eq!(state_ok(&fleet, &["locks"])["locks"], json!([]));
    assert_eq!(serials(&fleet), [1], "the others had nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_stopped_leaves_no_lock_behind() {
    let server = r2().await;
    let fleet = fleet(&server, "store = \"r2://states\"", &[]);
    for (number, stop) in [Signal::INT, Signal::TERM, Signal::INT].into_iter().enumerate() {
        let arguments = ["apply", "--yes", "--format", "json"];
        let mut command = fleet.command(&arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let locked = || async { keys(&server).await.iter().any(|key| key.ends_with(".tflock")) };
        while child.try_wait().unwrap().is_none() && !locked().await {}
        signal(pid, stop);
        if number == 2 {
            // At once, and again.
            signal(pid, stop);
        }
        child.wait().unwrap();
        assert!(!locked().await, "stopped with {stop:?}");
    }
    apply_all(&fleet, &[]);
    assert_eq!(actions(&plan(&fleet)), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_encrypted_holds_no_name_and_opens_with_its_key_alone() {
    let server = r2().await;
    let secret = |key: &secrecy::SecretString| secrecy::ExposeSecret::expose_secret(key).to_owned();
    let (one, two) = (secret(&generate().1), secret(&generate().1));
    let config = "store = \"r2://states\"\nencrypt_with = { env = \"KEY\" }";
    let fleet = fleet(&server, config, &[("KEY", &one), ("OTHER", &two)]);
    // Killed in the middle: there is a journal as well.
    assert!(killed_at(&fleet, &["apply", "--yes"], 9));
    let clean = async |when: &str| {
        let all = objects(&server).await;
        for (key, content) in &all {
            if key.ends_with(".tflock") {
                continue;
            }
            for part in [&b"VERYSECRET"[..], b"stream", b"SHOP", b"self-hosted"] {
                assert!(!content.windows(part.len()).any(|there| there == part), "{when}: {key}");
            }
        }
        all.len()
    };
    assert!(clean("killed").await >= 3);
    apply_all(&fleet, &[]);
    assert!(clean("applied").await >= 2);
    assert_eq!(actions(&plan(&fleet)), []);
    assert_eq!(state_ok(&fleet, &["show"])["encrypted"], true);

    let with = |from: &str, to: &str| fleet.write(&fleet.file().replace(from, to));
    with("{ env = \"KEY\" }", "{ env = \"OTHER\" }");
    let wrong = fleet.run(&["plan", "--format", "json"]);
    assert_eq!((wrong.status.code(), code_of(&wrong)), (Some(3), json!("WL0723")), "{wrong:?}");
    assert_eq!(code_of(&apply(&fleet, &[])), "WL0723");
    with("{ env = \"OTHER\" }", "{ env = \"UNSET\" }");
    assert_eq!(code_of(&apply(&fleet, &[])), "WL0431");
    with("encrypt_with = { env = \"UNSET\" }", "");
    assert_eq!(code_of(&apply(&fleet, &[])), "WL0722");

    // A new key takes the place of the old one.
    with(
        "store = \"r2://states\"",
        "store = \"r2://states\"\nencrypt_with = [{ env = \"OTHER\" }, { env = \"KEY\" }]",
    );
    assert!(state_ok(&fleet, &["rekey", "--yes"])["changed"].as_u64().unwrap() >= 2);
    with("[{ env = \"OTHER\" }, { env = \"KEY\" }]", "{ env = \"OTHER\" }");
    assert_eq!(actions(&plan(&fleet)), []);
    assert_eq!(state_ok(&fleet, &["verify", "--deep"])["sound"], true);
    with("{ env = \"OTHER\" }", "{ env = \"KEY\" }");
    assert_eq!(code_of(&apply(&fleet, &[])), "WL0723", "the old key opens nothing any more");
}

/// Runs `one` for 1, 2, 3, … with several at once, until it says that nothing was killed any more.
fn sweep(one: impl Fn(u32) -> bool + Sync) -> u32 {
    let (next, end) = (AtomicU32::new(1), AtomicU32::new(u32::MAX));
    let killed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let step = next.fetch_add(1, Ordering::Relaxed);
                    if step >= end.load(Ordering::Relaxed) {
                        break;
                    }
                    match one(step) {
                        true => drop(killed.fetch_add(1, Ordering::Relaxed)),
                        false => drop(end.fetch_min(step, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
    killed.into_inner()
}

/// What the state knows, without what each apply makes anew.
fn known(fleet: &Fleet) -> (Value, Value) {
    let shown = state_ok(fleet, &["show"]);
    let sound = state_ok(fleet, &["verify", "--deep"])["sound"].clone();
    (shown["addresses"].clone(), sound)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_of_the_journal_the_same_command_finishes() {
    let server = r2().await;
    let expected = json!([
        "operator.acme",
        "account.SHOP",
        "server.hub-0",
        "cluster.hub",
        "user.SHOP/admin",
        "stream.VERYSECRETORDERS"
    ]);
    let sorted = |list: &Value| {
        let mut list: Vec<String> = serde_json::from_value(list.clone()).unwrap();
        list.sort();
        list
    };
    let kills = sweep(|step| {
        let fleet = fleet(&server, &format!("store = \"r2://states/{step}\""), &[]);
        let applying = killed_at(&fleet, &["apply", "--yes"], step);
        apply_all(&fleet, &[]);
        assert_eq!(actions(&plan(&fleet)), [], "apply killed at {step}");
        let (addresses, sound) = known(&fleet);
        assert_eq!((sorted(&addresses), sound), (sorted(&expected), json!(true)), "apply killed at {step}");
        let destroying = killed_at(&fleet, &["destroy", "--yes", "--allow-data-loss"], step);
        let output = destroy(&fleet);
        assert!(output.status.success(), "destroy killed at {step}: {output:?}");
        assert_eq!(known(&fleet), (json!([]), json!(true)), "destroy killed at {step}");
        assert_eq!(state_ok(&fleet, &["locks"])["locks"], json!([]), "{step}");
        applying || destroying
    });
    eprintln!("{kills} were killed");
    // Two writes a resource, each with a before and an after.
    assert!(kills >= 4 * 6, "only {kills} were killed");
    assert_eq!(of_journals(&keys(&server).await), [] as [&String; 0]);
}

/// Ends a command at the n-th thing that is done to the store; false when it came to its end before.
fn ended_at(fleet: &Fleet, arguments: &[&str], step: u32) -> bool {
    let mut command = fleet.command(arguments);
    let output = command.env("WINDLASS_ABORT_AT_STATE_STEP", step.to_string()).output().unwrap();
    match output.status.code() {
        None => true,
        Some(0) => false,
        Some(_) => panic!("step {step}: {output:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_to_the_store_the_same_command_finishes() {
    let server = r2().await;
    let secret = secrecy::ExposeSecret::expose_secret(&generate().1).to_owned();
    let kills = sweep(|step| {
        let config = format!("store = \"r2://states/{step}\"\nencrypt_with = {{ env = \"KEY\" }}");
        let fleet = fleet(&server, &config, &[("KEY", &secret)]);
        let killed = ended_at(&fleet, &["apply", "--yes"], step);
        apply_all(&fleet, &[]);
        assert_eq!(actions(&plan(&fleet)), [], "killed at {step}");
        let (addresses, sound) = known(&fleet);
        assert_eq!((addresses.as_array().unwrap().len(), sound), (6, json!(true)), "killed at {step}");
        assert_eq!(state_ok(&fleet, &["locks"])["locks"], json!([]), "{step}");
        killed
    });
    eprintln!("{kills} were killed");
    assert!(kills >= 40, "only {kills} were killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_moved_to_r2_and_back_and_nobody_goes_on_in_the_old_place() {
    let server = r2().await;
    let fleet = fleet(&server, "keep = 9", &[]);
    apply_all(&fleet, &[]);
    assert_eq!(serials(&fleet), [1]);
    let old_file = fleet.file();
    let new_file = old_file.replace("keep = 9", "store = \"r2://states/new\"");
    fleet.write(&new_file);
    for arguments in [["plan", "--format", "json"], ["destroy", "--format", "json"]] {
        let refused = fleet.run(&arguments);
        assert_eq!((refused.status.code(), code_of(&refused)), (Some(3), json!("WL0430")), "{refused:?}");
    }
    let moved = state_ok(&fleet, &["move", "--yes"]);
    assert_eq!(
        (&moved["serial"], &moved["versions"], &moved["resources"]),
        (&json!(1), &json!(1), &json!(6))
    );
    assert_eq!(state_ok(&fleet, &["move", "--yes"])["already"], true);
    assert_eq!(actions(&plan(&fleet)), []);
    assert_eq!(serials(&fleet), [1], "with its history");
    // Whoever still has the old file is told.
    fleet.write(&old_file);
    let gone = fleet.run(&["plan", "--format", "json"]);
    assert_eq!((gone.status.code(), code_of(&gone)), (Some(3), json!("WL0745")), "{gone:?}");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("r2://states/new/acme/state.json"), "{gone:?}");
    assert_eq!(code_of(&apply(&fleet, &[])), "WL0745");
    // And back.
    let moved = state_ok(&fleet, &["move", "--from", "r2://states/new", "--yes"]);
    assert_eq!((&moved["serial"], &moved["already"]), (&json!(1), &json!(false)));
    assert_eq!(actions(&plan(&fleet)), []);
    fleet.write(&new_file);
    assert_eq!(code_of(&fleet.run(&["plan", "--format", "json"])), "WL0745");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_killed_goes_on() {
    let server = r2().await;
    let fleet = fleet(&server, "keep = 9", &[]);
    apply_all(&fleet, &[]);
    let shown = known(&fleet);
    let kept = fleet.state().join("state");
    let (copy, at) = (fleet.path().join("copy"), fleet.state().join("state-at.json"));
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let output = std::process::Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    copied(&kept, &copy);
    let noted = fs::read(&at).unwrap();
    let file = fleet.file();
    let mut step = 1;
    loop {
        fs::remove_dir_all(&kept).unwrap();
        copied(&copy, &kept);
        fs::write(&at, &noted).unwrap();
        fleet.write(&file.replace("keep = 9", &format!("store = \"r2://states/{step}\"")));
        let killed = ended_at(&fleet, &["state", "move", "--yes"], step);
        state_ok(&fleet, &["move", "--yes"]);
        assert_eq!(known(&fleet), shown, "killed at {step}");
        assert_eq!(actions(&plan(&fleet)), [], "killed at {step}");
        if !killed {
            break;
        }
        step += 1;
    }
    assert!(step > 10, "only {step} steps");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_brings_a_local_r2_that_the_state_can_be_in() {
    let mut fleet = Fleet::with().prepare();
    fleet.write(&file("store = \"r2://acme-state\""));
    // Nothing begins by accident where a variable was forgotten.
    for arguments in [["plan", "--format", "json"], ["apply", "--format", "json"]] {
        let refused = fleet.run(&arguments);
        assert_eq!((refused.status.code(), code_of(&refused)), (Some(3), json!("WL0432")), "{refused:?}");
    }
    fleet.up();
    let r2 = fleet.report["r2"].clone();
    assert_eq!(r2["bucket"], "acme-state", "{}", fleet.report);
    let pid = fleet.report["pids"]["r2"].as_i64().expect("the local R2's process");
    assert_eq!(get(&format!("{}/", r2["endpoint"].as_str().unwrap())).await.0, 400, "it wants a signature");
    assert_eq!(fleet.status()["r2"], r2);
    let on_disk = fs::read_to_string(fleet.state().join("run.json")).unwrap();
    assert!(!on_disk.contains(r2["secret_access_key"].as_str().unwrap()), "{on_disk}");
    assert!(!fleet.state().join("state").exists());
    assert_eq!(actions(&plan(&fleet)), []);
    assert_eq!(serials(&fleet), [1]);
    // Who has the keys finds it there.
    let value = |name: &str| match name {
        "AWS_ENDPOINT_URL_S3" => r2["endpoint"].as_str().map(str::to_owned),
        "AWS_ACCESS_KEY_ID" => r2["access_key_id"].as_str().map(str::to_owned),
        "AWS_SECRET_ACCESS_KEY" => r2["secret_access_key"].as_str().map(str::to_owned),
        _ => None,
    };
    let service = Service::from_variables("r2", "r2://acme-state", value).unwrap();
    let store =
        Versioned::at(Store::new(Arc::new(Bucket::new(&service, "acme-state").unwrap())), "acme/").unwrap();
    assert_eq!(store.load().await.unwrap().unwrap().serial, 1);
    // A process that dies comes back where it was.
    signal(i32::try_from(pid).unwrap(), Signal::KILL);
    windlass_tests::eventually("another process of the local R2", async || {
        fleet.status()["pids"]["r2"].as_i64().is_some_and(|now| now != pid)
    })
    .await;
    windlass_tests::eventually("health", async || fleet.run(&["status"]).status.code() == Some(0)).await;
    assert_eq!(fleet.status()["r2"], r2);
    assert!(fleet.run(&["logs", "r2"]).status.success());
    // Twice is the same.
    fleet.up();
    assert_eq!(fleet.report["r2"], r2);

    fleet.down();
    let planned = plan(&fleet);
    assert!(actions(&planned).iter().any(|(address, _)| address == "server.hub-0"), "{planned}");
    assert_eq!(serials(&fleet), [1], "the state is there when nothing runs");
    fleet.up();
    assert_eq!(fleet.report["r2"], r2, "on the same port, with the same keys");
    let output = destroy(&fleet);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fleet.run(&["status"]).status.code(), Some(1), "nothing runs");
    assert_eq!(state_ok(&fleet, &["show"])["addresses"], json!([]));
    assert_eq!(windlass_tests::tools::end_processes_of(fleet.path()), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_goes_from_a_directory_to_the_local_r2_and_from_there_to_another() {
    let mut fleet = Fleet::with().prepare();
    fleet.write(&file("keep = 9"));
    fleet.up();
    fleet.edit("keep = 9", "store = \"r2://states\"");
    assert_eq!(code_of(&fleet.run(&["up", "--detach", "--format", "json"])), "WL0430");
    assert_eq!(state_ok(&fleet, &["move", "--yes"])["serial"], 1);
    fleet.up();
    assert_eq!(actions(&plan(&fleet)), []);
    let elsewhere = |fleet: &Fleet, server: &Server, arguments: &[&str]| {
        fleet.command(&[arguments, &["--format", "json"]].concat()).envs(variables(server)).output().unwrap()
    };
    // The same name, at another service.
    let server = r2().await;
    assert_eq!(code_of(&elsewhere(&fleet, &server, &["plan"])), "WL0430");
    let moved = elsewhere(&fleet, &server, &["state", "move", "--yes"]);
    assert!(moved.status.success(), "{moved:?}");
    assert_eq!(actions(&json_of(&elsewhere(&fleet, &server, &["plan"]))), []);
    // Who forgets the variables is not given the old one.
    assert_eq!(code_of(&fleet.run(&["plan", "--format", "json"])), "WL0432");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_has_a_state_of_its_own_beside_the_others() {
    let server = r2().await;
    let fleet = fleet(&server, "store = \"r2://states\"", &[]);
    fleet.write(&format!(
        "{}\n[environments.development]\nstreams.VERYSECRETORDERS.max_messages = 5\n",
        fleet.file()
    ));
    for more in [&["--directory", "one"][..], &["--directory", "two", "--environment", "development"]] {
        let output = fleet.run(&[&["apply", "--yes", "--format", "json"], more].concat());
        assert!(output.status.success(), "{output:?}");
        let output = fleet.run(&[&["down"], more].concat());
        assert!(output.status.success(), "{output:?}");
    }
    let found = keys(&server).await;
    for key in ["acme/state.json", "acme@development/state.json"] {
        assert!(found.contains(&key.to_owned()), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn terraforms_state_goes_into_the_local_r2_at_once() {
    let fleet = Fleet::start();
    let r2 = &fleet.report["r2"];
    assert_eq!(r2["bucket"], "windlass");
    let script = "test -n \"$AWS_ACCESS_KEY_ID\" && test -n \"$AWS_ENDPOINT_URL_S3\"";
    let output = fleet.run(&["state", "exec", "--store", "r2://windlass", "--", "sh", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    let lineage = "6c0a6c5e-3d6e-4f0a-9d5e-7f6b2f3a1c20";
    let resource = json!({ "mode": "managed", "type": "terraform_data", "name": "a", "instances": [{ "attributes": {} }] });
    let text = json!({ "version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": lineage, "outputs": {}, "resources": [resource] });
    fs::write(fleet.path().join("terraform.tfstate"), text.to_string()).unwrap();
    state_ok(
        &fleet,
        &["migrate", "--from", "terraform.tfstate", "--to", "r2://states/a/terraform.tfstate", "--yes"],
    );
    let history = state_ok(&fleet, &["history", "r2://states/a/terraform.tfstate"]);
    assert_eq!(history["versions"][0]["serial"], 3);
}
