//! Where it was measured: a number without its machine says nothing.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::nats_server;

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many cores this program may use.
    pub cores: usize,
    /// The kernel's version.
    pub kernel: String,
    /// nats-server's version.
    pub nats_server: String,
    /// Node's version.
    pub node: String,
}

impl Machine {
    /// Asks the machine.
    pub fn read(server: &Path, node: Option<&OsStr>) -> Self {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let name = info.lines().find(|line| line.starts_with("model name"));
        Self {
            processor: name
                .and_then(|line| line.split_once(": "))
                .map(|(_, name)| name.to_owned())
                .unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            nats_server: nats_server::version(server.as_os_str(), "--version"),
            node: node.map(|node| nats_server::version(node, "--version")).unwrap_or_default(),
        }
    }

    /// The line above the tables.
    pub fn line(&self) -> String {
        let Self { processor, cores, kernel, nats_server, node } = self;
        let mut line = format!("{processor}, {cores} cores, Linux {kernel}, {nats_server}");
        if !node.is_empty() {
            let _ = write!(line, ", Node {node}");
        }
        line
    }
}
