//! A Worker in the real workerd, supervised.
//!
//! ```text
//! worker     the Worker, as data
//! config     its configuration, as text (pure, with a golden file)
//! process    one workerd: start, ready, end
//! service    keeps one running: takes a new Worker, starts a dead one again
//! ```
//!
//! The listening socket is ours and is handed to each workerd. So a connection is never refused: while a Worker is
//! replaced or a crashed workerd is started again, it waits. A Durable Object's storage is found again by the Worker's
//! and the class's name ([`DurableObject::key`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use windlass_sandbox::cloudflare::{engine, workerd};
//!
//! let image = engine::Image { root: "/images/nats".into(), config: engine::Config::default() };
//! let images = engine::Images::new().with("acme/nats:1", image);
//! let engine = engine::start(engine::Options::new("sandbox/engine", images)).await?;
//!
//! let node = workerd::DurableObject {
//!     container: Some("acme/nats:1".to_owned()),
//!     ..workerd::DurableObject::new("NatsNode")
//! };
//! let worker = workerd::Worker::new("acme", "2026-11-01", "export default …").durable_object("NODE", node);
//! let options = workerd::Options { engine: Some(engine.socket().to_owned()), ..workerd::Options::new("sandbox/acme", worker) };
//! let workerd = workerd::start(options).await?;
//! println!("{}", workerd.url());
//!
//! workerd.deploy(workerd::Worker::nothing()).await?; // another Worker, at the same address, on the same storage
//! workerd.shutdown().await;
//! engine.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod binary;
pub mod config;
mod containers;
mod process;
mod service;
mod worker;

pub use service::{Handle, Service, State, start, validate};
pub use worker::{Binding, DurableObject, Endpoint, Module, ModuleKind, Value, Worker};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What a supervised workerd needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the Durable Objects' storage (`storage/`), the configuration and `workerd.log` are. One at a time uses it.
    pub directory: PathBuf,
    /// The address of the Worker, of loopback; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The Worker to begin with: [`Worker::nothing`], where there is none yet.
    pub worker: Worker,
    /// The container engine's socket.
    pub engine: Option<PathBuf>,
    /// The program; without it, [`binary::find`]s.
    pub binary: Option<PathBuf>,
    /// Certificates, as PEM, that the Worker trusts beside those that browsers trust.
    pub trusted_certificates: Vec<String>,
    /// How long workerd may take to be ready.
    pub ready_within: Duration,
    /// How long it may take to end before it is killed. It waits for every open connection, and a WebSocket does not end.
    pub grace: Duration,
}

impl Options {
    /// A Worker on a port that the system chooses, without containers.
    pub fn new(directory: impl Into<PathBuf>, worker: Worker) -> Self {
        Self {
            directory: directory.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            worker,
            engine: None,
            binary: None,
            trusted_certificates: Vec::new(),
            ready_within: Duration::from_secs(20),
            grace: Duration::from_secs(1),
        }
    }
}
