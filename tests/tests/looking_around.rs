//! Looking around in a fleet that runs: its logs, its credentials, NATS's own client against it, each server's state, and the
//! drawing of what is wanted and what runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use windlass_tests::{Fleet, Signal, signal};

const PATIENCE: Duration = Duration::from_secs(60);

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Exit code and error code of a command that fails.
fn failure(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.split(['[', ']']).nth(1).unwrap_or_default().to_owned())
}

fn bad(code: &str) -> (Option<i32>, String) {
    (Some(3), code.to_owned())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn credentials_are_found_and_work_and_stay_secret() {
    let mut fleet = Fleet::start();
    fs::write(
        fleet.path().join("windlass.toml"),
        fs::read_to_string(fleet.path().join("windlass.toml")).unwrap()
            + "\n[accounts.SHOP]\nusers = { clerk = { publish = [\"orders.>\"], jetstream = \"manage\" } }\n",
    )
    .unwrap();
    fleet.up();
    let listed = fleet.run(&["creds", "--format", "json"]);
    let all = json_of(&listed);
    let names: Vec<String> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{}/{}", one["account"].as_str().unwrap(), one["user"].as_str().unwrap()))
        .collect();
    assert_eq!(names, ["GITHUB/admin", "GITHUB/receiver", "SHOP/admin", "SHOP/clerk", "SYS/admin"]);
    let told = text(&fleet.run(&["creds"]));
    for (one, name) in all.as_array().unwrap().iter().zip(&names) {
        let (path, rights) = (one["creds"].as_str().unwrap(), one["rights"].as_str().unwrap());
        let line = told.lines().find(|line| line.contains(name.as_str())).unwrap();
        assert!(line.contains(path) && line.ends_with(rights), "{line}");
        assert_eq!(text(&fleet.run(&["creds", name])), format!("{path}\n"), "the path alone");
        // Neither token nor seed is in anything that was printed.
        let secret = fs::read_to_string(path).unwrap();
        let parts: Vec<&str> =
            secret.lines().filter(|line| line.len() > 50 && !line.contains([' ', '*'])).collect();
        assert_eq!(parts.len(), 2, "a token and a seed");
        for part in parts {
            assert!(!told.contains(part) && !String::from_utf8_lossy(&listed.stdout).contains(part));
        }
        assert_eq!(text(&fleet.run(&["creds", name, "--show"])), secret);
    }
    assert_eq!(all[3]["rights"], "publish orders.>; streams: manage");
    let clerk = async_nats::ConnectOptions::new().credentials_file(all[3]["creds"].as_str().unwrap()).await;
    let url = fleet.report["nats"]["url"].as_str().unwrap();
    clerk.unwrap().connect(url).await.unwrap().flush().await.unwrap();

    let unknown = fleet.run(&["creds", "GITHUB/nobody"]);
    assert_eq!(failure(&unknown), bad("WL0422"));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("SHOP/clerk"), "it names those that there are");
    let nowhere = Fleet::command_in(fleet.path(), &["creds", "--directory", "elsewhere"]).output().unwrap();
    assert_eq!(failure(&nowhere), (Some(1), "WL0423".to_owned()));
}

/// A `nats` that prints what it got.
fn client(directory: &Path, script: &str) -> String {
    let bin = directory.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let file = bin.join("nats");
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", bin.display())
}

#[test]
fn the_nats_client_gets_address_and_credentials_and_its_own_end() {
    let fleet = Fleet::with().servers(3).start();
    let path = client(
        fleet.path(),
        "echo \"$NATS_URL|$NATS_CREDS|$NATS_CA|$NATS_CONTEXT$NATS_USER|$#|$1|$2\"; exit 7",
    );
    let nats = |arguments: &[&str]| {
        let mut command = fleet.command(&[&["nats"], arguments].concat());
        command.env("PATH", &path).env("NATS_CONTEXT", "another").env("NATS_USER", "someone");
        command.env_remove("XDG_CONFIG_HOME").env("HOME", fleet.path());
        command.output().unwrap()
    };
    let output = nats(&["--", "stream ls", "--all"]);
    assert_eq!(output.status.code(), Some(7), "its exit code is the command's");
    let said = String::from_utf8(output.stdout).unwrap();
    let parts: Vec<&str> = said.trim_end().split('|').collect();
    assert_eq!(parts[0].split(',').count(), 3, "every server of the cluster: {said}");
    assert!(parts[0].split(',').all(|url| url.starts_with("nats://127.0.0.1:")), "{said}");
    assert!(parts[0].split(',').any(|url| fleet.report["nats"]["url"] == url), "{said}");
    assert_eq!(parts[1], fleet.report["nats"]["creds"]);
    assert_eq!(parts[2..], ["", "", "2", "stream ls", "--all"], "{said}");

    let system = nats(&["--account", "SYS", "--cluster", "hub", "--", "x"]);
    assert!(String::from_utf8_lossy(&system.stdout).contains("/creds/SYS/admin.creds|"), "{system:?}");
    let receiver = nats(&["--user", "receiver", "--", "x"]);
    assert!(
        String::from_utf8_lossy(&receiver.stdout).contains("/creds/GITHUB/receiver.creds|"),
        "{receiver:?}"
    );
    let authority = fleet.state().join("tls").join("ca.crt");
    fs::create_dir_all(authority.parent().unwrap()).unwrap();
    fs::write(&authority, "").unwrap();
    let with_authority = nats(&["--", "x"]);
    let expected = format!("|{}|", authority.display());
    assert!(String::from_utf8_lossy(&with_authority.stdout).contains(&expected), "{with_authority:?}");

    // A context that somebody has selected would bring its own user.
    let selected = fleet.path().join(".config/nats/context.txt");
    fs::create_dir_all(selected.parent().unwrap()).unwrap();
    fs::write(&selected, "staging\n").unwrap();
    let alone = nats(&["--", "x"]);
    assert!(String::from_utf8_lossy(&alone.stdout).ends_with("|2|--no-context|x\n"), "{alone:?}");
    let own = nats(&["--", "--context=mine", "x"]);
    assert!(String::from_utf8_lossy(&own.stdout).ends_with("|2|--context=mine|x\n"), "{own:?}");

    assert_eq!(failure(&nats(&["--cluster", "west", "--", "x"])), bad("WL0425"));
    assert_eq!(failure(&nats(&["--user", "nobody", "--", "x"])), bad("WL0422"));
    let without = fleet.command(&["nats", "--", "x"]).env("PATH", fleet.path()).output().unwrap();
    assert_eq!(failure(&without), (Some(1), "WL0426".to_owned()));

    // It is the client itself that runs, so a signal ends it as it ends any program.
    client(fleet.path(), "echo ready; exec sleep 60");
    let mut child =
        fleet.command(&["nats", "--", "sub"]).env("PATH", &path).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    signal(i32::try_from(child.id()).unwrap(), Signal::TERM);
    assert_eq!(child.wait().unwrap().signal(), Some(15));

    fleet.down();
    assert_eq!(failure(&nats(&["--", "x"])), (Some(1), "WL0424".to_owned()));
}

/// A command that goes on, with its lines as they come.
struct Going {
    child: Child,
    lines: Receiver<String>,
}

impl Going {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| send.send(line).is_ok()));
        Self { child, lines }
    }

    fn wait_for(&self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("{what} did not come in {seen:#?}"),
            }
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn logs_are_shown_and_followed_over_restarts_and_rotation() {
    let fleet = Fleet::start();
    let all = text(&fleet.run(&["logs"]));
    for part in ["agent    | ", "hub-0    | ", "receiver | "] {
        assert!(all.lines().any(|line| line.starts_with(part)), "{part} is not in {all}");
    }
    assert!(all.contains("JetStream"), "nats-server's own log is among it: {all}");
    let one = text(&fleet.run(&["logs", "hub", "-n", "3"]));
    assert_eq!(one.lines().count(), 3, "{one}");
    assert!(one.lines().all(|line| line.starts_with('[')), "one part needs no prefix: {one}");
    let json = text(&fleet.run(&["logs", "receiver", "agent", "--format", "json"]));
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["part"] == "agent")
            && lines.iter().any(|line| line["part"] == "receiver")
    );
    let times: Vec<&str> = lines.iter().filter_map(|line| line["time"].as_str()).collect();
    assert!(times.len() > 2 && times.is_sorted(), "{times:?}");
    let unknown = fleet.run(&["logs", "hub-7"]);
    assert_eq!(failure(&unknown), bad("WL0420"));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("agent, hub-0, r2, receiver"), "{unknown:?}");
    let nowhere = fleet.run(&["logs", "--directory", "elsewhere"]);
    assert_eq!(failure(&nowhere), (Some(1), "WL0421".to_owned()));

    let mut following = Going::start(fleet.command(&["logs", "--follow", "-n", "1"]));
    following.wait_for("receiver | ");
    let log = fleet.state().join("log/receiver.log");
    for put_aside in [false, true] {
        if put_aside {
            // As it is when it has grown large.
            fs::rename(&log, log.with_extension("log.1")).unwrap();
        }
        let before = fleet.pid("receiver").unwrap();
        fleet.signal("receiver", Signal::KILL);
        let line = following.wait_for("receiving");
        assert!(line.starts_with("receiver | "), "{line}");
        wait_until("the receiver's new process is known", || {
            fleet.pid("receiver").is_some_and(|pid| pid != before)
        });
    }
    fleet.signal("nats", Signal::KILL);
    following.wait_for("Server is ready");
    signal(i32::try_from(following.child.id()).unwrap(), Signal::INT);
    assert_eq!(following.child.wait().unwrap().code(), Some(130));

    // Nobody reads any more, and nothing is logged: it ends all the same.
    let mut child = fleet.command(&["logs", "agent", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    assert!(out.read(&mut [0; 1]).unwrap() > 0);
    drop(out);
    wait_until("it ends when its reader has gone", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn difference<'a>(topology: &'a Value, what: &str) -> &'a Value {
    let all = topology["differences"].as_array().unwrap();
    all.iter().find(|one| one["what"] == what).unwrap_or_else(|| panic!("{what} is not in {all:#?}"))
}

#[tokio::test]
async fn each_server_is_shown_and_what_differs_is_marked() {
    let fleet = Fleet::with().servers(3).stream("replicas = 3").start();
    let status = json_of(&fleet.run(&["status", "--format", "json"]));
    for key in ["nats", "receiver", "r2", "pids"] {
        assert_eq!(status[key], fleet.report[key], "what was promised is as it was");
    }
    let servers = status["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 3);
    let leaders = servers.iter().filter(|server| server["role"] == "leader").count();
    assert_eq!(leaders, 1, "{servers:#?}");
    for server in servers {
        assert_eq!((&server["cluster"], &server["health"]), (&"hub".into(), &"healthy".into()), "{server}");
        assert_eq!((&server["version"].is_string(), &server["restarts"]), (&true, &0.into()), "{server}");
    }
    let stream = status["streams"].as_array().unwrap().iter().find(|one| one["stream"] == "GITHUB").unwrap();
    assert_eq!(stream["replicas"].as_object().unwrap().len(), 2, "{stream}");

    wait_until("what runs is what the file says", || {
        let topology = json_of(&fleet.run(&["topology", "--format", "json"]));
        topology["differences"].as_array().unwrap().is_empty()
    });
    let drawn = text(&fleet.run(&["topology"]));
    assert!(drawn.contains("what runs is what the file says") && drawn.contains("routes: 3 of 3"), "{drawn}");
    assert!(drawn.contains('★') && !drawn.contains('\u{1b}'), "no colour off a terminal: {drawn}");
    assert!(text(&fleet.run(&["topology", "--color", "always"])).contains('\u{1b}'));

    // One is killed: it is back, and that it died is told.
    let pid = servers[1]["pid"].as_i64().unwrap();
    signal(i32::try_from(pid).unwrap(), Signal::KILL);
    wait_until("the server was started again", || {
        let status = json_of(&fleet.run(&["status", "--format", "json"]));
        let servers = status["servers"].as_array().unwrap();
        status["servers"][1]["restarts"] == 1 && servers.iter().all(|server| server["health"] == "healthy")
    });
    let told = fleet.run(&["status"]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("restarted once"), "{told:?}");

    // One does not answer, one cluster is wanted and was never made, and one runs that the file does not have.
    let paused = i32::try_from(servers[2]["pid"].as_i64().unwrap()).unwrap();
    signal(paused, Signal::STOP);
    let file = fleet.path().join("windlass.toml");
    let kept = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        format!("{kept}\n[clusters.west]\nleaf_of = \"hub\"\njetstream = {{ domain = \"west\" }}\n"),
    )
    .unwrap();
    fleet.edit("[streams.GITHUB]", "[streams.GITHUB]\ncluster = \"hub\"");
    let topology = json_of(&fleet.run(&["topology", "--format", "json"]));
    let paused_one = difference(&topology, "server hub-2");
    assert_eq!(paused_one["mark"], "impaired");
    assert_eq!(paused_one["why"], "no answer within 2 s");
    assert_eq!(difference(&topology, "server west-0")["mark"], "missing");
    for form in ["terminal", "svg", "mermaid"] {
        let drawn = text(&fleet.run(&["topology", "--draw", form]));
        for word in ["west-0", "missing", "impaired"] {
            assert!(drawn.contains(word), "{form}: {word} is not in {drawn}");
        }
    }
    signal(paused, Signal::CONT);
    // Without the cluster in the file, its servers are extra.
    fs::write(&file, kept.replace("[clusters.hub]", "[clusters.other]")).unwrap();
    let topology = json_of(&fleet.run(&["topology", "--format", "json"]));
    assert_eq!(difference(&topology, "server hub-0")["mark"], "extra");
    assert_eq!(difference(&topology, "server other-0")["mark"], "missing");
    fs::write(&file, kept).unwrap();

    // From the file alone, into a file.
    let picture = fleet.path().join("fleet.svg");
    let wanted = fleet.run(&["topology", "--wanted", "--draw", "svg", "--output", picture.to_str().unwrap()]);
    assert!(wanted.status.success() && wanted.stdout.is_empty(), "{wanted:?}");
    let svg = fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("nothing that runs was asked"), "{svg}");
    assert!(!svg.contains("href") && !svg.contains("url(http"), "it needs nothing else");
    fleet.down();
    let topology = json_of(&fleet.run(&["topology", "--format", "json"]));
    assert_eq!(difference(&topology, "server hub-0")["mark"], "missing");
}

#[test]
fn a_leaf_node_is_drawn_as_joined() {
    let fleet = Fleet::with().prepare();
    let file = fleet.path().join("windlass.toml");
    let (client, websocket, monitor) =
        (windlass_tests::free_port(), windlass_tests::free_port(), windlass_tests::free_port());
    let hub = fs::read_to_string(&file).unwrap();
    let hub = hub.replace("[streams.GITHUB]", "[streams.GITHUB]\ncluster = \"hub\"");
    let hub = hub.replace(", monitor = ", &format!(", leaf = {}, monitor = ", windlass_tests::free_port()));
    let plant = format!(
        "\n[clusters.plant]\nleaf_of = \"hub\"\njetstream = {{ domain = \"plant\", storage = \"64MiB\" }}\n\
         ports = {{ client = {client}, websocket = {websocket}, monitor = {monitor} }}\n"
    );
    fs::write(&file, hub + &plant).unwrap();
    assert!(fleet.run(&["up", "--detach"]).status.success());
    wait_until("the leaf node has joined", || {
        let topology = json_of(&fleet.run(&["topology", "--format", "json"]));
        let link = &topology["links"][0];
        assert_eq!(
            (&link["kind"], &link["from"], &link["to"]),
            (&"leaf-node".into(), &"plant".into(), &"hub".into())
        );
        link["mark"] == "as-wanted" && topology["differences"].as_array().unwrap().is_empty()
    });
    assert!(text(&fleet.run(&["topology"])).contains("▲ ● leaf node of hub"));
    let status = json_of(&fleet.run(&["status", "--format", "json"]));
    assert_eq!(status["servers"][1]["role"], "standalone", "{status}");
    fleet.down();
}
