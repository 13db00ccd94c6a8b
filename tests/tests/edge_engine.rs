//! Containers on a laptop: the real workerd drives the process-backed engine, and a real nats-server is in each container.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::jetstream;
use futures::StreamExt;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use windlass_image::{Architecture, Certificates, Environment, Layout, Program, Recipe};
use windlass_sandbox::cloudflare::engine::{self, Effect, Fault, Images};
use windlass_sandbox::cloudflare::process::Identity;
use windlass_sandbox::cloudflare::workerd::{self, State};
use windlass_tests::edge::{self, Edge, IMAGE, WORKER, call};
use windlass_tests::tools::end_processes_of;
use windlass_tests::{Signal, eventually, free_port, nats_server, signal};

/// The process in the only container, or in the one with this name's object.
fn process(edge: &Edge) -> Identity {
    let containers = edge.engine.containers();
    let pid = containers.iter().find_map(|container| container.pid).expect("a process");
    Identity::of(pid).expect("it runs")
}

fn pid(of: &Identity) -> i32 {
    i32::try_from(of.pid).unwrap()
}

/// A nats-server of the test's own. It is killed when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn leaf_node(directory: &Path, remote: &str) -> (Server, u16) {
    let port = free_port();
    let configuration = directory.join("leaf.conf");
    let text = format!(
        "host: 127.0.0.1\nport: {port}\nleafnodes {{ reconnect: 1s, remotes: [{{ url: \"{remote}\" }}] }}\n"
    );
    fs::write(&configuration, text).unwrap();
    let log = fs::File::create(directory.join("leaf.log")).unwrap();
    let mut command = Command::new(nats_server());
    let child =
        command.arg("-c").arg(configuration).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    (Server(child), port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_and_a_leaf_node_through_the_worker() {
    let Some(edge) = Edge::start().await else { return };
    let varz = edge.varz("one").await;
    assert_eq!(
        (&varz["server_name"], &varz["host"]),
        (&json!("one"), &json!(edge.engine.containers()[0].address.to_string()))
    );
    let client = edge.connect("one").await;
    let mut subscription = client.subscribe("leaf.>").await.unwrap();
    client.flush().await.unwrap();

    let (_server, port) = leaf_node(edge.directory.path(), &format!("ws://{}/one", edge.workerd.address()));
    let mut beyond = None;
    eventually("a client of the leaf node", async || {
        beyond = async_nats::connect(format!("127.0.0.1:{port}")).await.ok();
        beyond.is_some()
    })
    .await;
    let beyond = beyond.unwrap();
    eventually("the leaf node's link", async || edge.varz("one").await["leafnodes"] == 1).await;
    // The interest of the edge's client has come over the link when a message does.
    eventually("a message from the leaf node", async || {
        beyond.publish("leaf.hello", "there".into()).await.unwrap();
        beyond.flush().await.unwrap();
        tokio::time::timeout(std::time::Duration::from_millis(100), subscription.next()).await.is_ok()
    })
    .await;
    drop(edge.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_is_given_and_what_it_leaves() {
    let Some(edge) = Edge::start().await else { return };
    edge.varz("one").await;
    let view = edge.engine.containers().remove(0);
    let environment = fs::read(format!("/proc/{}/environ", view.pid.unwrap())).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let engine = edge.directory.path().join("engine");
    for part in [
        format!("HOST=\"{}\"\0", view.address),
        "NODE_NAME=\"one\"\0".to_owned(),
        "TOKEN=s3cr3t\0".to_owned(),
        format!("STORE_DIR=\"{}/disks/", engine.display()),
    ] {
        assert!(environment.contains(&part), "{part} {environment:?}");
    }
    assert!(!environment.contains("PATH="), "nothing of the engine's own environment: {environment:?}");
    // What the engine says and writes down has no secret in it.
    let (status, said) =
        call(edge.engine.socket(), "GET", &format!("/containers/{}/json", view.name), &Value::Null);
    assert_eq!(
        (status, &said["State"]["Status"], &said["Config"]["Image"]),
        (200, &json!("running"), &json!(IMAGE))
    );
    assert!(!said.to_string().contains("s3cr3t"));
    let records: Vec<_> =
        fs::read_dir(engine.join("running")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(records.len(), 1);
    assert!(!fs::read_to_string(&records[0]).unwrap().contains("s3cr3t"));
    assert!(fs::read_to_string(&view.log).unwrap().contains("Server is ready"));

    // Commands beside it, as workerd wraps them: the image has no shell.
    let run = async |query: &str| -> Value {
        serde_json::from_str(&edge.ask(&format!("/one?exec={query}")).await.1).unwrap()
    };
    let version = run("/nats-server%20--version").await;
    assert!(version["stdout"].as_str().unwrap().starts_with("nats-server: v"), "{version}");
    assert_eq!(run("/nats-server%20-c%20/nowhere").await["code"], 1);
    // A second server, which has to be told to end.
    let ended = run("/nats-server%20-p%20-1&then=9").await;
    assert_eq!(ended["code"], 137, "{ended}");

    assert_eq!(edge.ask("/one?destroy").await.0, 200);
    eventually("the container is gone", async || edge.engine.containers().is_empty()).await;
    for left in ["running", "disks"] {
        assert_eq!(fs::read_dir(engine.join(left)).unwrap().count(), 0, "{left}");
    }
    let directory = edge.stop().await;
    assert_eq!(end_processes_of(directory.path()), [""; 0], "processes that were left");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_listen_on_one_port() {
    let Some(edge) = Edge::start().await else { return };
    let (one, two) = (edge.varz("one").await, edge.varz("two").await);
    assert_eq!(
        (&one["http_port"], &one["websocket"]["port"]),
        (&two["http_port"], &two["websocket"]["port"])
    );
    assert_ne!(one["server_id"], two["server_id"]);
    let (first, second) = (edge.connect("one").await, edge.connect("two").await);
    assert_eq!(
        (first.server_info().server_name, second.server_info().server_name),
        ("one".into(), "two".into())
    );
    drop(edge.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_seen_and_comes_back_with_an_empty_disk() {
    let Some(edge) = Edge::start().await else { return };
    let first = edge.varz("one").await;
    let context = jetstream::with_domain(edge.connect("one").await, "edge");
    let stream =
        jetstream::stream::Config { name: "S".into(), subjects: vec!["s".into()], ..Default::default() };
    context.create_stream(stream).await.unwrap();
    // A client that comes back would start the container again before anybody looks.
    drop(context);
    let killed = process(&edge);
    signal(pid(&killed), Signal::KILL);
    eventually("workerd sees it", async || {
        let state = edge.state("one").await;
        state["running"] == false && state["ended"].as_str().is_some_and(|ended| ended.contains("137"))
    })
    .await;
    assert_eq!(edge.engine.containers().first().map(|view| view.exit_code), Some(Some(137)));
    let second = edge.varz("one").await;
    assert_ne!(first["server_id"], second["server_id"]);
    assert_eq!(edge.state("one").await["starts"], 2);
    let context = jetstream::with_domain(edge.connect("one").await, "edge");
    assert!(context.get_stream("S").await.is_err(), "a container's disk is ephemeral");
    drop(context);

    // Asked to end, a server ends as such.
    edge.ask("/one?signal=15").await;
    eventually("the signal", async || edge.state("one").await["running"] == false).await;
    drop(edge.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workerd_comes_back_and_takes_the_containers_over() {
    let Some(edge) = Edge::start().await else { return };
    let before = edge.varz("one").await;
    let server = process(&edge);
    let State::Ready { pid, restarts: 0 } = edge.workerd.state() else {
        panic!("{:?}", edge.workerd.state())
    };
    signal(i32::try_from(pid).unwrap(), Signal::KILL);
    // No connection is refused: this one waits until the next workerd takes it.
    let after = edge.varz("one").await;
    assert_eq!(before["server_id"], after["server_id"]);
    assert!(server.is_alive());
    assert_eq!(edge.state("one").await["starts"], 1, "the storage was kept, and nothing was started");
    assert!(matches!(edge.workerd.state(), State::Ready { restarts: 1, .. }), "{:?}", edge.workerd.state());
    // What was taken over is watched like any other.
    signal(self::pid(&server), Signal::KILL);
    eventually("the new workerd sees it", async || edge.state("one").await["running"] == false).await;
    drop(edge.stop().await);
    assert!(!server.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_takes_the_place_and_the_storage() {
    let Some(edge) = Edge::start().await else { return };
    edge.varz("one").await;
    let server = process(&edge);
    let client = edge.connect("one").await;
    client.flush().await.unwrap();
    let address = edge.workerd.address();
    let asking = tokio::spawn(async move {
        let mut answers = Vec::new();
        for _ in 0..200 {
            answers.push(windlass_tests::status(&format!("http://{address}/two?state")).await);
        }
        answers
    });

    let refused = async |worker| edge.workerd.deploy(worker).await.unwrap_err();
    let broken = refused(edge::worker("export default {\n  fetch( { }")).await;
    assert_eq!(broken.code(), "WL0810");
    assert!(broken.to_string().contains("SyntaxError"), "{broken}");
    let without_class = refused(edge::worker("export default { fetch() { return new Response() } }")).await;
    assert_eq!(without_class.code(), "WL0810", "{without_class}");
    let unknown = refused(
        workerd::Worker::new("edge", "2026-11-01", "x")
            .bind("A", workerd::Value::DurableObject { class_name: "None".to_owned() }),
    );
    assert_eq!(unknown.await.code(), "WL0812");
    assert!(server.is_alive(), "what runs was not touched");
    assert_eq!(edge.state("one").await["starts"], 1);

    let other =
        WORKER.replace("?state", "?state, in another version").replace("running:", "version: 2, running:");
    edge.workerd.deploy(edge::worker(&other)).await.unwrap();
    let state = edge.state("one").await;
    assert_eq!(state["version"], 2);
    assert!(!server.is_alive(), "the former Worker's container was ended");
    edge.varz("one").await;
    assert_eq!(edge.state("one").await["starts"], 2, "the storage was kept");
    let answers = asking.await.unwrap();
    // What was under way when the former workerd was killed is cut; nothing is refused, and nothing else fails.
    assert!(
        answers.iter().filter(|status| **status == Some(200)).count() >= answers.len() - 1,
        "{answers:?}"
    );
    drop(edge.stop().await);
}

fn with(effect: Effect) -> Fault {
    Fault { container: Some("*-Node-*".to_owned()), times: Some(1), effect }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults() {
    let Some(edge) = Edge::start().await else { return };
    edge.engine.inject(with(Effect::NeverHealthy));
    let (status, body) = edge.ask("/sick/varz").await;
    assert_eq!((status, body.as_str()), (503, "not ready: null"), "it runs, and does not answer");
    assert_eq!(edge.state("sick").await["running"], true);

    edge.engine.inject(with(Effect::CrashAtStart));
    let (status, body) = edge.ask("/broken/varz").await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(edge.state("broken").await["running"], false);
    edge.varz("broken").await;

    edge.engine.inject(with(Effect::CrashAfter(300)));
    let first = edge.varz("weak").await;
    eventually("the crash", async || edge.state("weak").await["running"] == false).await;
    assert_ne!(edge.varz("weak").await["server_id"], first["server_id"]);

    // Ordered over the socket, as from another process.
    let slow = json!({ "container": IMAGE, "times": 1, "effect": { "slow_start": 400 } });
    assert_eq!(call(edge.engine.socket(), "POST", "/windlass/faults", &slow).0, 201);
    let asked = std::time::Instant::now();
    edge.varz("slow").await;
    assert!(asked.elapsed() >= std::time::Duration::from_millis(400));
    assert_eq!(call(edge.engine.socket(), "GET", "/windlass/faults", &Value::Null), (200, json!([])));
    drop(edge.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_keeps_the_old_image() {
    let Some(edge) = Edge::start().await else { return };
    let new = edge.directory.path().join("image-2");
    let mut image = edge::image(&new);
    image.config.cmd.extend(["-n".to_owned(), "of-the-new-image".to_owned()]);
    edge.engine.images().insert("registry.example/nats:2", image);
    let name = async || edge.varz("one").await["server_name"].clone();
    assert_eq!(name().await, "one");

    let mut worker = edge::worker(WORKER);
    worker.durable_objects[0].container = Some("registry.example/nats:2".to_owned());
    edge.engine.inject(with(Effect::KeepOldImage));
    edge.workerd.deploy(worker.clone()).await.unwrap();
    assert_eq!(name().await, "one", "the rollout is complete, and the instance is the old one");
    let view = edge.engine.containers().remove(0);
    assert_eq!(view.image, "registry.example/nats:2");
    assert_ne!(view.root, Some(new.clone()));

    edge.ask("/one?destroy").await;
    assert_eq!(name().await, "of-the-new-image");
    assert_eq!(edge.engine.containers()[0].root, Some(new));

    // An image that is not there.
    worker.durable_objects[0].container = Some("registry.example/nats:3".to_owned());
    edge.workerd.deploy(worker).await.unwrap();
    let (status, body) = edge.ask("/one/varz").await;
    assert_eq!(status, 503);
    assert!(body.contains("failed to start"), "{body}");
    drop(edge.stop().await);
}

/// An engine in a process of its own. It is asked to end when this is dropped.
struct EngineProcess(Child);

impl Drop for EngineProcess {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            signal(i32::try_from(self.0.id()).unwrap(), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

fn engine_process(directory: &Path) -> EngineProcess {
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-engine"));
    let mut child = command.arg(directory).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    EngineProcess(child)
}

fn engine_pid(socket: &Path) -> Identity {
    let (_, containers) = call(socket, "GET", "/windlass/containers", &Value::Null);
    let pid = containers[0]["pid"].as_u64().expect("a process");
    Identity::of(u32::try_from(pid).unwrap()).expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_leaves_nothing_behind() {
    let Some(binary) = edge::workerd_binary() else { return };
    let directory = tempfile::Builder::new().prefix("windlass-edge-").tempdir().unwrap();
    let mut process = engine_process(directory.path());
    let socket = directory.path().join("engine/engine.sock");
    let options = workerd::Options {
        engine: Some(socket.clone()),
        binary: Some(binary),
        ..workerd::Options::new(directory.path().join("workerd"), edge::worker(WORKER))
    };
    let workerd = workerd::start(options).await.unwrap();
    let url = format!("{}/one/varz", workerd.url());
    let ask = async || windlass_tests::get(&url).await;
    assert_eq!(ask().await.0, 200);
    let first = engine_pid(&socket);

    process.0.kill().unwrap();
    process.0.wait().unwrap();
    assert!(first.is_alive(), "a process outlives the engine that was killed");
    let mut process = engine_process(directory.path());
    assert!(!first.is_alive(), "and is ended by the next");
    // workerd keeps the ports of the side-cars in mind, which are gone: it has to begin anew, too.
    let State::Ready { pid, .. } = workerd.state() else { panic!("{:?}", workerd.state()) };
    signal(i32::try_from(pid).unwrap(), Signal::KILL);
    eventually("workerd starts it again", async || ask().await.0 == 200).await;
    let second = engine_pid(&socket);

    // Asked to end, an engine ends what it started first.
    signal(i32::try_from(process.0.id()).unwrap(), Signal::TERM);
    assert!(process.0.wait().unwrap().success());
    assert!(!second.is_alive());
    workerd.shutdown().await;
    assert_eq!(end_processes_of(directory.path()), [""; 0], "processes that were left");
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_calls() {
    let directory = tempfile::Builder::new().prefix("windlass-edge-").tempdir().unwrap();
    let engine = edge::start_engine(directory.path()).await;
    let socket = engine.socket().to_owned();
    let ask = |method: &str, target: &str, body: &Value| call(&socket, method, target, body);
    let none = Value::Null;

    let other = engine::start(engine::Options::new(directory.path().join("engine"), Images::new())).await;
    assert_eq!(other.err().map(|error| error.code()), Some("WL0807"), "one engine for a directory");

    let create = |name: &str, body: &Value| ask("POST", &format!("/containers/create?name={name}"), body);
    let image = json!({ "Image": IMAGE, "Labels": { "session": "a" }, "Env": ["NODE_NAME=\"x\""] });
    assert_eq!(create("x", &json!({ "Image": "none" })).0, 404);
    assert_eq!(create("..%2Fx", &image).0, 400);
    assert_eq!(create("x", &json!({ "Cmd": [] })).0, 400);
    assert_eq!(create("x", &image).0, 201);
    assert_eq!(create("x", &image).0, 409);
    assert_eq!(create("y", &json!({ "Image": IMAGE, "Labels": { "session": "b" } })).0, 201);
    assert_eq!(create("z", &json!({ "Image": IMAGE, "Cmd": ["/bin/sh"] })).0, 201);
    let (status, refused) = ask("POST", "/containers/z/start", &none);
    assert_eq!(status, 500);
    assert!(refused["message"].as_str().unwrap().contains("not found in the image"), "{refused}");

    assert_eq!(ask("POST", "/containers/x/kill?signal=SIGTERM", &none).0, 409);
    assert_eq!(ask("POST", "/containers/x/start", &none).0, 204);
    assert_eq!(ask("POST", "/v1.43/containers/x/start", &none).0, 304);
    assert_eq!(ask("DELETE", "/containers/x", &none).0, 409);
    assert_eq!(ask("POST", "/containers/x/kill?signal=NONE", &none).0, 400);
    let list = |filters: &str| ask("GET", &format!("/containers/json?all=1&filters={filters}"), &none);
    let (status, rows) = list("%7B%22label%22%3A%5B%22session%3Da%22%5D%7D");
    assert_eq!((status, &rows[0]["Names"], rows.as_array().unwrap().len()), (200, &json!(["/x"]), 1));
    assert_eq!(list("%7B%22until%22%3A%5B%221h%22%5D%7D").0, 400);
    assert_eq!(ask("GET", "/containers/json", &none).1.as_array().unwrap().len(), 1);

    let killed = std::thread::spawn({
        let socket = socket.clone();
        move || call(&socket, "POST", "/containers/x/wait", &Value::Null)
    });
    assert_eq!(ask("POST", "/containers/x/kill", &none).0, 204);
    assert_eq!(killed.join().unwrap(), (200, json!({ "StatusCode": 137 })));
    assert_eq!(ask("DELETE", "/containers/x?force=true", &none).0, 204);
    assert_eq!(ask("DELETE", "/containers/x?force=true", &none).0, 404);
    assert_eq!(ask("POST", "/containers/x/wait?condition=removed", &none).0, 404);
    assert_eq!(ask("GET", "/nothing", &none).0, 404);
    engine.shutdown().await;
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_as_it_is_built() {
    let directory = tempfile::Builder::new().prefix("windlass-edge-").tempdir().unwrap();
    let (layouts, unpacked) = (directory.path().join("layouts"), directory.path().join("unpacked"));
    let architecture = match std::env::consts::ARCH {
        "aarch64" => Architecture::Arm64,
        _ => Architecture::Amd64,
    };
    let recipe = Recipe {
        program: Program::read(&fs::canonicalize(nats_server()).unwrap(), architecture).unwrap(),
        version: "1".to_owned(),
        certificates: Certificates::mozilla(),
        environment: Environment::Development,
    };
    Layout::create(&layouts.join("edge")).unwrap().build(&recipe, "acme/nats:1").unwrap();
    let images = Images::new().layouts(&layouts, &unpacked);
    let engine = engine::start(engine::Options::new(directory.path().join("engine"), images)).await.unwrap();
    let ask = |method: &str, target: &str, body: &Value| call(engine.socket(), method, target, body);

    let (status, image) = ask("GET", "/images/acme/nats:1/json", &Value::Null);
    assert_eq!((status, &image["Config"]["Entrypoint"][0]), (200, &json!("/nats-server")), "{image}");
    let (status, refused) = ask("POST", "/containers/create?name=x", &json!({ "Image": "acme/nats:2" }));
    assert_eq!(status, 404);
    assert!(refused["message"].as_str().unwrap().contains("there is no image acme/nats:2"), "{refused}");

    // Its own command, with a variable missing: the server says which.
    let run = |name: &str, body: Value| {
        assert_eq!(ask("POST", &format!("/containers/create?name={name}"), &body).0, 201);
        assert_eq!(ask("POST", &format!("/containers/{name}/start"), &Value::Null).0, 204);
        let code = ask("POST", &format!("/containers/{name}/wait"), &Value::Null).1["StatusCode"].clone();
        (code, fs::read_to_string(directory.path().join(format!("engine/log/{name}.log"))).unwrap())
    };
    let (code, said) = run("own", json!({ "Image": "acme/nats:1" }));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("variable reference"), "{said}");
    let (code, said) =
        run("version", json!({ "Image": "acme/nats:1", "Cmd": ["/nats-server", "--version"] }));
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("nats-server: v"), "{said}");
    engine.shutdown().await;
}
