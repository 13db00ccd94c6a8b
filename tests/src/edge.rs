//! A Worker in the real workerd, with containers that are processes.

use crate::tools;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use windlass_sandbox::cloudflare::engine::{self, Config, Image, Images};
use windlass_sandbox::cloudflare::workerd::{self, DurableObject, Worker, binary};

/// The reference under which [`Edge`] has an image of nats-server.
pub const IMAGE: &str = "registry.example/nats:1";

/// A Worker whose Durable Objects each own a container. `/NAME/…` goes to the container's port 8080, `/NAME` with `?state`,
/// `?exec=…`, `?signal=…` and `?destroy` to the object itself.
pub const WORKER: &str = include_str!("edge_worker.js");

/// The real workerd; `None` where the test is to be skipped.
pub fn workerd_binary() -> Option<PathBuf> {
    let file = tools::installed("WINDLASS_WORKERD", "workerd/node_modules/workerd/bin/workerd")?;
    Some(binary::program(&file).unwrap_or_else(|| panic!("{} is not workerd", file.display())))
}

/// Makes an image by hand: nats-server and a configuration that takes the rest from the environment.
pub fn image(root: &Path) -> Image {
    fs::create_dir_all(root.join("etc")).expect("a directory");
    let server = root.join("nats-server");
    if !server.exists() {
        std::os::unix::fs::symlink(tools::nats_server(), server).expect("a link");
    }
    let configuration = "server_name: $NODE_NAME\nhost: $HOST\nport: 4222\nhttp_port: 8222\n\
        websocket { host: $HOST, port: 8080, no_tls: true }\nleafnodes { host: $HOST, port: 7422 }\n\
        jetstream { store_dir: $STORE_DIR, domain: edge }\n";
    fs::write(root.join("etc/nats.conf"), configuration).expect("a file");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Image {
        root: root.to_owned(),
        config: Config {
            env: vec!["HOST=\"0.0.0.0\"".to_owned(), "STORE_DIR=\"/data\"".to_owned()],
            entrypoint: words("/nats-server"),
            cmd: words("-c /etc/nats.conf"),
            user: "65532".to_owned(),
        },
    }
}

/// The Worker's description.
pub fn worker(source: &str) -> Worker {
    let node = DurableObject { container: Some(IMAGE.to_owned()), ..DurableObject::new("Node") };
    Worker::new("edge", "2026-11-01", source).durable_object("NODE", node)
}

/// An engine and a workerd that run until they are dropped.
pub struct Edge {
    /// The directory of both.
    pub directory: TempDir,
    /// The engine.
    pub engine: engine::Handle,
    /// The workerd.
    pub workerd: workerd::Handle,
}

impl Edge {
    /// Starts both with [`WORKER`]; `None` where the test is to be skipped.
    pub async fn start() -> Option<Self> {
        let binary = workerd_binary()?;
        let directory = tempfile::Builder::new().prefix("windlass-edge-").tempdir().expect("a directory");
        let engine = start_engine(directory.path()).await;
        let options = workerd::Options {
            engine: Some(engine.socket().to_owned()),
            binary: Some(binary),
            ..workerd::Options::new(directory.path().join("workerd"), worker(WORKER))
        };
        let workerd = workerd::start(options).await.expect("workerd starts");
        Some(Self { directory, engine, workerd })
    }

    /// Stops both.
    pub async fn stop(self) -> TempDir {
        self.workerd.shutdown().await;
        self.engine.shutdown().await;
        self.directory
    }
}

/// Starts an engine with [`IMAGE`] in a directory.
pub async fn start_engine(directory: &Path) -> engine::Handle {
    let images = Images::new().with(IMAGE, image(&directory.join("image")));
    engine::start(engine::Options::new(directory.join("engine"), images)).await.expect("an engine starts")
}

/// One call to the engine, as Docker's client makes it.
pub fn call(socket: &Path, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).expect("the engine listens");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

impl Edge {
    /// Asks the Worker.
    pub async fn ask(&self, path: &str) -> (u16, String) {
        crate::get(&format!("{}{path}", self.workerd.url())).await
    }

    /// What an object says of itself.
    pub async fn state(&self, name: &str) -> Value {
        serde_json::from_str(&self.ask(&format!("/{name}?state")).await.1).expect("JSON")
    }

    /// What the server in a container says of itself.
    pub async fn varz(&self, name: &str) -> Value {
        let (status, body) = self.ask(&format!("/{name}/varz")).await;
        assert_eq!(status, 200, "{body}\n{}", fs::read_to_string(self.workerd.log()).unwrap_or_default());
        serde_json::from_str(&body).expect("JSON")
    }

    /// A NATS client over WebSocket through the Worker.
    pub async fn connect(&self, name: &str) -> async_nats::Client {
        let url = format!("ws://{}/{name}/", self.workerd.address());
        async_nats::connect(url).await.expect("a client through the Worker")
    }
}
