//! A Worker in the real workerd, with containers that are processes.

use crate::tools;
use std::fs;
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
