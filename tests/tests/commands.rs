//! The command line as people and scripts use it: `up`, `status` and `down` print what the design promises, data stays, ports
//! that are taken give way, a second `up` changes nothing, what was killed is taken over or ended, and every command has
//! help. Events on the command line are in `events_commands.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::fs;
use std::io::{BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use windlass_tests::{Builder, Delivery, Fleet, Github, Signal, get, signal};

const UP: [&str; 4] = ["up", "--detach", "--format", "json"];

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What `status` says in the words of `up`; it says more than that.
fn promised(mut status: Value) -> Value {
    let more = |key: &str| !["servers", "streams"].contains(&key);
    if let Some(object) = status.as_object_mut() {
        object.retain(|key, _| more(key));
    }
    status
}

/// The error that a command printed with `--format json`.
fn error_of(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no JSON in {text}"));
    serde_json::from_str::<Value>(line).unwrap()["error"].take()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn pids(report: &Value) -> Vec<i32> {
    let pids = report["pids"].as_object().unwrap().values();
    pids.map(|pid| i32::try_from(pid.as_i64().unwrap()).unwrap()).collect()
}

fn is_alive(pid: i32) -> bool {
    // One that ended and was not collected by its parent is not, nor one that is just being collected.
    let ended =
        |stat: &str| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']));
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !ended(&stat))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn up_status_and_down_print_what_scripts_rely_on() {
    let fleet = Fleet::start();
    let up = &fleet.report;
    // With nothing more and nothing less than this run has.
    assert_eq!(keys(up), ["nats", "pids", "r2", "receiver"]);
    assert_eq!(keys(&up["nats"]), ["creds", "monitor_url", "url", "websocket_url"]);
    assert_eq!(keys(&up["receiver"]), ["secret_file", "url"]);
    assert_eq!(keys(&up["r2"]), ["access_key_id", "bucket", "endpoint", "secret_access_key"]);
    assert_eq!(keys(&up["pids"]), ["nats", "r2", "receiver", "supervisor"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(text(&up["nats"]["url"]).starts_with("nats://127.0.0.1:"));
    assert!(text(&up["nats"]["websocket_url"]).starts_with("ws://127.0.0.1:"));
    assert!(text(&up["nats"]["monitor_url"]).starts_with("http://127.0.0.1:"));
    let receiver = text(&up["receiver"]["url"]);
    assert!(receiver.starts_with("http://127.0.0.1:") && receiver.ends_with("/github"), "{receiver}");
    for file in [&up["nats"]["creds"], &up["receiver"]["secret_file"]] {
        let path = text(file);
        assert!(Path::new(&path).is_absolute() && Path::new(&path).is_file(), "{path}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{path} is for its owner alone");
    }
    assert!(pids(up).into_iter().all(is_alive));
    assert_eq!(fleet.secret().len(), 64, "a generated secret");
    let (_, varz) = get(&format!("{}/varz", text(&up["nats"]["monitor_url"]))).await;
    let varz: Value = serde_json::from_str(&varz).unwrap();
    assert_eq!(varz["jetstream"]["config"]["domain"], "hub");

    let status = fleet.run(&["status", "--format", "json"]);
    assert_eq!(
        (status.status.code(), &promised(json_of(&status))),
        (Some(0), up),
        "status says what up said"
    );

    let down = fleet.run(&["down", "--format", "json"]);
    assert_eq!((down.status.code(), json_of(&down)), (Some(0), json!({ "stopped": up["pids"] })));
    assert!(!pids(up).into_iter().any(is_alive));

    let status = fleet.run(&["status", "--format", "json"]);
    assert_eq!((status.status.code(), json_of(&status)), (Some(1), json!({ "pids": {} })));
    let down = fleet.run(&["down", "--format", "json"]);
    assert_eq!((down.status.code(), json_of(&down)), (Some(0), json!({ "stopped": {} })));
}

#[tokio::test]
async fn without_a_file_the_built_in_fleet_runs() {
    let directory = tempfile::tempdir().unwrap();
    let up = Fleet::command_in(directory.path(), &UP).output().unwrap();
    let down = Fleet::command_in(directory.path(), &["down"]).output().unwrap();
    assert!(up.status.success(), "{up:?}");
    assert_eq!(keys(&json_of(&up)), ["nats", "pids", "r2", "receiver"]);
    assert!(down.status.success(), "{down:?}");
    assert!(!pids(&json_of(&up)).into_iter().any(is_alive));
}

#[tokio::test]
async fn data_secret_and_ports_survive_down_and_up() {
    let mut fleet = Fleet::start();
    let before = fleet.report.clone();
    let secret = fleet.secret();
    let deliveries: Vec<Delivery> = (0..5).map(|number| Delivery::push("acme", "api", number)).collect();
    for delivery in &deliveries {
        assert_eq!(fleet.github().deliver(delivery).await.status, 200);
    }
    for _ in 0..2 {
        fleet.down();
        fleet.up();
    }
    assert_eq!(fleet.secret(), secret);
    for part in ["nats", "receiver"] {
        assert_eq!(fleet.report[part], before[part], "the addresses that somebody wrote down stay true");
    }
    let messages = fleet.messages().await;
    assert_eq!(messages.len(), 5);
    for (message, delivery) in messages.iter().zip(&deliveries) {
        assert_eq!((message.header("ce-id"), &message.body), (&*delivery.id, &delivery.body));
    }
    let again = fleet.github().deliver(&deliveries[0]).await;
    assert_eq!(again.body["duplicate"], true, "{again:?}");
}

#[tokio::test]
async fn ports_that_are_taken_give_way_and_are_named() {
    let fleet = Fleet::start();
    fleet.down();
    let port = |url: &Value| -> u16 {
        url.as_str().unwrap().trim_end_matches("/github").rsplit(':').next().unwrap().parse().unwrap()
    };
    let ports = |report: &Value| {
        let nats = &report["nats"];
        [&nats["url"], &nats["websocket_url"], &nats["monitor_url"], &report["receiver"]["url"]].map(port)
    };
    let wanted = ports(&fleet.report);
    let others: Vec<TcpListener> =
        wanted.iter().map(|&port| TcpListener::bind(("127.0.0.1", port)).unwrap()).collect();
    let up = fleet.run(&UP);
    assert!(up.status.success(), "{up:?}");
    let said = String::from_utf8_lossy(&up.stderr);
    for (wanted, got) in wanted.iter().zip(ports(&json_of(&up))) {
        assert_ne!(*wanted, got);
        assert!(said.contains(&format!("port {wanted} is taken, using {got}")), "{wanted} {got}: {said}");
    }
    let status = fleet.run(&["status", "--format", "json"]);
    assert_eq!((status.status.code(), promised(json_of(&status))), (Some(0), json_of(&up)));
    drop(others);
}

#[tokio::test]
async fn a_second_up_finds_the_first() {
    let fleet = Fleet::start();
    let again = fleet.run(&UP);
    assert_eq!((again.status.code(), &json_of(&again)), (Some(0), &fleet.report));

    // Another secret needs another receiver, and nothing else.
    let mut other = fleet.command(&UP);
    let other = json_of(&other.env("GITHUB_WEBHOOK_SECRET", "another").output().unwrap());
    assert_ne!(other["pids"]["receiver"], fleet.report["pids"]["receiver"]);
    assert_eq!(other["pids"]["nats"], fleet.report["pids"]["nats"]);
    let github = Github::new(fleet.url(), "another");
    assert_eq!(github.deliver(&Delivery::push("acme", "api", 0)).await.status, 200);

    // What is new in the file is changed where it is.
    let file = fs::read_to_string(fleet.path().join("windlass.toml")).unwrap();
    let file = file.replace("[streams.GITHUB]\n", "[streams.GITHUB]\nmax_age = \"40d\"\n");
    fs::write(fleet.path().join("windlass.toml"), file).unwrap();
    let mut up = fleet.command(&UP);
    let changed = json_of(&up.env("GITHUB_WEBHOOK_SECRET", "another").output().unwrap());
    assert_eq!(changed["pids"], other["pids"], "a stream's limit restarts nothing");
    let config = fleet.stream().await.get_info().await.unwrap().config;
    assert_eq!(config.max_age, Duration::from_secs(40 * 24 * 60 * 60));
}

#[tokio::test]
async fn several_ups_at_once_start_one_fleet() {
    let fleet = Fleet::start();
    fleet.down();
    let start = |_| fleet.command(&UP).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = (0..4).map(start).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert_eq!((output.status.code(), json_of(output)), (Some(0), json_of(&outputs[0])), "{output:?}");
    }
}

#[tokio::test]
async fn two_fleets_run_side_by_side() {
    let (one, other) = (Fleet::start(), Fleet::start());
    for fleet in [&one, &other] {
        assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 0)).await.status, 200);
    }
    let stranger = Delivery::push("acme", "api", 1);
    let mut github = one.github();
    github.secret = other.secret();
    assert_eq!(github.deliver(&stranger).await.status, 401, "each has a secret of its own");
    one.down();
    assert_eq!(other.github().deliver(&stranger).await.status, 200, "the other goes on");
}

#[tokio::test]
async fn the_secret_of_the_environment_is_the_secret() {
    let fleet = Fleet::with().env("GITHUB_WEBHOOK_SECRET", "from the environment").start();
    assert_eq!(fleet.secret(), "from the environment");
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 0)).await.status, 200);
    for part in ["nats", "receiver"] {
        for file in ["cmdline", "environ"] {
            let shown = fs::read(format!("/proc/{}/{file}", fleet.pid(part).unwrap())).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&shown).contains("from the environment"), "{part}: {file}");
        }
    }
}

/// Starts `up` in the foreground and waits until it says that everything is ready.
#[allow(clippy::zombie_processes)] // Who calls it waits for it.
fn up_in_the_foreground(fleet: &Fleet) -> (Child, Value) {
    let mut child = fleet
        .command(&["up", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = Vec::new();
    let mut byte = [0];
    loop {
        assert_eq!(reader.read(&mut byte).unwrap(), 1, "it ended: {}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
        if let Ok(report) = serde_json::from_slice(&text) {
            return (child, report);
        }
    }
}

#[tokio::test]
async fn a_signal_ends_a_fleet_in_the_foreground_cleanly() {
    let fleet = Fleet::start();
    fleet.down();
    for (name, sent, code) in [("Ctrl-C", Signal::INT, 130), ("SIGTERM", Signal::TERM, 0)] {
        let (mut child, report) = up_in_the_foreground(&fleet);
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(report["pids"]["supervisor"], pid, "{name}");
        signal(pid, sent);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        assert!(!pids(&report).into_iter().any(is_alive), "{name}: nothing is left running");
    }
}

#[tokio::test]
async fn what_a_killed_supervisor_left_is_ended_or_taken_over() {
    let mut fleet = Fleet::start();
    assert_eq!(fleet.github().deliver(&Delivery::push("acme", "api", 0)).await.status, 200);
    for takes_over in [false, true] {
        let before = fleet.report.clone();
        let supervisor = fleet.pid("supervisor").unwrap();
        signal(supervisor, Signal::KILL);
        wait_until("the supervisor ends", || !is_alive(supervisor));
        let status = fleet.run(&["status", "--format", "json"]);
        assert_eq!(status.status.code(), Some(1), "{status:?}");
        assert_eq!(keys(&json_of(&status)["pids"]), ["nats", "r2", "receiver"]);
        if !takes_over {
            fleet.down();
        } else {
            fleet.up();
            assert_eq!(fleet.count().await, 1);
            assert_eq!(fleet.run(&["status"]).status.code(), Some(0));
            for part in ["nats", "r2", "receiver"] {
                assert_eq!(fleet.report["pids"][part], before["pids"][part], "{part} went on all the time");
            }
            continue;
        }
        assert!(!pids(&before).into_iter().any(is_alive));
        fleet.up();
    }
}

#[tokio::test]
async fn a_part_that_is_killed_comes_back_by_itself() {
    let fleet = Fleet::start();
    for part in ["receiver", "nats"] {
        let before = fleet.pid(part).unwrap();
        fleet.signal(part, Signal::KILL);
        wait_until("the part comes back", || {
            fleet.pid(part).is_some_and(|pid| pid != before && is_alive(pid))
        });
        wait_until("everything is healthy", || fleet.run(&["status"]).status.success());
        assert_eq!(fleet.github().deliver(&Delivery::push("acme", part, 0)).await.status, 200);
    }
    assert_eq!(fleet.count().await, 2);
}

#[test]
fn a_file_with_mistakes_is_bad_input() {
    let directory = tempfile::tempdir().unwrap();
    let validate = |text: &str, more: &[&str]| {
        fs::write(directory.path().join("windlass.toml"), text).unwrap();
        Fleet::command_in(directory.path(), &[&["validate"], more].concat()).output().unwrap()
    };
    let good = validate(&Builder::default().file(), &["--format", "json"]);
    assert_eq!((good.status.code(), &json_of(&good)["valid"]), (Some(0), &json!(true)), "{good:?}");

    let bad = "[fleet]\nname = \"acme\"\n\n[clusters.hub]\nservrs = 1\n\n[streams.GITHUB]\nsubjects = [\"github.>\"]\nmax_age = \"30 days\"\n";
    let output = validate(bad, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let found = json_of(&output);
    let mistakes: Vec<_> = found["mistakes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mistake| (mistake["code"].as_str().unwrap(), mistake["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(mistakes.iter().map(|(_, line)| *line).collect::<Vec<_>>(), [5, 9], "all at once: {found}");
    assert!(mistakes.iter().all(|(code, _)| code.starts_with("WL01")), "{mistakes:?}");
    let output = validate(bad, &[]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["windlass.toml:5:1", "windlass.toml:9:11", "WL0104", "servers"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    // `up` starts nothing of such a file.
    let output = Fleet::command_in(directory.path(), &UP).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{output:?}");
    assert!(!directory.path().join(".windlass/run.json").exists());
}

#[test]
fn arguments_that_make_no_sense_are_bad_input() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["ups"][..],
        &["up", "--detached"],
        &["up", "--file", "absent.toml"],
        &["validate", "absent.toml"],
        &["explain", "WL9999"],
        &["events", "show"],
        &["events", "tail", "--since", "soon"],
        &["receive"],
    ] {
        let arguments = [arguments, &["--format", "json"]].concat();
        let output = Fleet::command_in(directory.path(), &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
        let error = error_of(&output);
        for part in ["code", "message", "help"] {
            assert!(!error[part].as_str().unwrap().is_empty(), "{arguments:?}: {error}");
        }
    }
}

#[test]
fn the_doctor_finds_a_machine_in_order() {
    let fleet = Fleet::start();
    let output = fleet.run(&["doctor", "--format", "json"]);
    let report = json_of(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.len() >= 6, "{report}");
    for finding in findings {
        let level = finding["level"].as_str().unwrap();
        assert!(["ok", "warn"].contains(&level), "{finding}");
        assert!(
            !finding["check"].as_str().unwrap().is_empty()
                && !finding["message"].as_str().unwrap().is_empty()
        );
        assert!(level == "ok" || finding["help"].as_str().is_some_and(|help| !help.is_empty()), "{finding}");
    }
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("windlass.toml"), "[fleet]\n").unwrap();
    let output = Fleet::command_in(directory.path(), &["doctor", "--format", "json"])
        .env("WINDLASS_NATS_SERVER", "absent/nats-server")
        .output()
        .unwrap();
    let report = json_of(&output);
    assert_eq!((output.status.code(), &report["level"]), (Some(1), &json!("fail")), "{report}");
    let failed: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] == "fail").collect();
    assert_eq!(failed.len(), 2, "nats-server and the file: {report}");
    assert!(failed.iter().all(|finding| finding["help"].as_str().is_some_and(|help| !help.is_empty())));
}

/// The commands under `Commands:` of a help text.
fn commands(help: &str) -> Vec<String> {
    let after = help.split_once("\nCommands:\n").map_or("", |(_, after)| after);
    after
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn every_command_has_help() {
    let directory = tempfile::tempdir().unwrap();
    let mut waiting: Vec<Vec<String>> = vec![vec![]];
    let mut seen = Vec::new();
    while let Some(command) = waiting.pop() {
        let mut texts = Vec::new();
        for flag in ["--help", "-h"] {
            let arguments = [command.clone(), vec![flag.to_owned()]].concat();
            let output = Fleet::command_in(directory.path(), &arguments).output().unwrap();
            assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("Usage: windlass"), "{arguments:?}: {text}");
            assert!(!text.contains('\u{1b}'), "{arguments:?}: colour off a terminal");
            texts.push(text);
        }
        let first = texts[0].lines().next().unwrap_or_default();
        assert!(first.ends_with('.') || first.len() > 10, "{command:?}: {first}");
        waiting.extend(commands(&texts[0]).into_iter().map(|name| [command.clone(), vec![name]].concat()));
        seen.push(command.join(" "));
    }
    for expected in [
        "up",
        "down",
        "status",
        "validate",
        "doctor",
        "explain",
        "receive",
        "events tail",
        "events replay",
        "init",
        "logs",
        "creds",
        "nats",
        "topology",
    ] {
        assert!(seen.iter().any(|command| command == expected), "{expected} is not among {seen:?}");
    }
    let version = Fleet::command_in(directory.path(), &["--version"]).output().unwrap();
    assert!(version.status.success() && version.stdout.starts_with(b"windlass 0."), "{version:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "asking for help leaves nothing behind");
}
