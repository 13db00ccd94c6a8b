//! A container engine that starts processes: what workerd needs of Docker, without Docker.
//!
//! ```text
//! workerd ─► Unix socket ─► api             the Docker Engine calls that workerd makes, and the admin calls
//!                           │  lifecycle, filter, name, fault, image      what they decide, as pure functions
//!                           └► container    a container: its process, its address, its log
//!                              side_car     its network: CONNECT to the container's ports
//! ```
//!
//! [`start`] gives a [`Handle`]; its [`Handle::socket`] goes into workerd's configuration
//! ([`super::workerd::Options::engine`]). A container is a process of this user: no root, no namespaces, no limits of
//! memory. What stands in for them:
//!
//! - **Network.** Each container has a loopback address of its own (127.77.0.N), which it is told as `HOST`. Two
//!   containers can both use port 8080. What it connects to is not intercepted.
//! - **Disk.** `STORE_DIR` is a directory that is new at each start and removed at its end, as a container's disk is.
//! - **Image.** See [`image`]. [`Images`] says what a reference stands for; it may be changed while the engine runs.
//!
//! Processes do not outlive the engine. When it is stopped, it ends them. When it was killed, the next engine in the
//! same directory ends what was left, by process id and start time, before it answers.
//!
//! The admin calls, on the same socket, are for tests in other processes:
//!
//! | call | |
//! | --- | --- |
//! | `POST /windlass/faults` | orders a [`Fault`] |
//! | `GET`, `DELETE /windlass/faults` | those that are still to come |
//! | `GET /windlass/containers` | every container, as [`View`] |

mod address;
mod api;
mod container;
mod exec;
pub mod fault;
pub mod filter;
pub mod image;
mod images;
pub mod lifecycle;
pub mod name;
mod server;
mod side_car;
pub mod wrapped;

pub use container::View;
pub use fault::{Effect, Fault};
pub use image::{Config, Image};
pub use images::Images;
pub use server::{Handle, Service, start};

use std::path::PathBuf;
use std::time::Duration;

/// What the engine needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it keeps logs, the disks of what runs and the record of it. One engine at a time uses it.
    pub directory: PathBuf,
    /// The Unix socket to listen on.
    pub socket: PathBuf,
    /// What can be run.
    pub images: Images,
    /// How long a container may take to end when the engine is stopped, before it is killed.
    pub grace: Duration,
}

impl Options {
    /// An engine with its socket in its directory.
    pub fn new(directory: impl Into<PathBuf>, images: Images) -> Self {
        let directory = directory.into();
        let socket = directory.join("engine.sock");
        Self { directory, socket, images, grace: Duration::from_secs(2) }
    }
}
