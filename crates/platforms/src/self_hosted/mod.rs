//! Your own machines: nats-server processes under an agent, on the machine that Windlass runs on.
//!
//! Operator, accounts and users are files; servers and the receiver are processes that the [`agent`] keeps running;
//! streams and buckets are asked for and changed over JetStream's API. While a server is down, what it holds cannot be
//! seen: then the recorded state stands in for it, and the plan says so.

pub mod agent;
mod authority;
mod backoff;
mod compare;
pub mod control;
pub mod health;
pub mod jetstream_watch;
pub mod local_cloudflare;
pub mod logs;
pub mod look;
pub mod part;
mod platform;
pub mod ports;
pub mod process;
pub mod r2;
mod receiver;
mod servers;
mod stored;

pub use backoff::Backoff;
pub use platform::SelfHosted;

use control::AgentCommand;
use std::path::PathBuf;
use std::sync::Arc;
use windlass_engine::Trouble;
use windlass_fleet::Fleet;

/// The file with the webhook secrets, and a digest of them. `true` asks for one to be made where there is none.
pub type Secrets = Arc<dyn Fn(bool) -> Result<Option<(PathBuf, String)>, Trouble> + Send + Sync>;

/// What the platform works with.
#[derive(Clone)]
pub struct Options {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// The directory of everything, absolute; usually `.windlass`.
    pub directory: PathBuf,
    /// The program that can be the agent and the receiver, as a rule this one.
    pub program: PathBuf,
    /// How the agent is started.
    pub agent: AgentCommand,
    /// Where the webhook secrets are.
    pub secrets: Secrets,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Every port that the fleet wishes for on this machine, with the address that it is on.
#[must_use]
pub fn wishes(fleet: &Fleet) -> Vec<(ports::Wish, std::net::IpAddr)> {
    servers::all_wishes(fleet)
}

/// Where the first server of a cluster takes WebSocket connections on this machine, once it has been made.
#[must_use]
pub fn websocket_address(
    directory: &std::path::Path,
    fleet: &Fleet,
    cluster: &str,
) -> Option<std::net::SocketAddr> {
    servers::websocket_address(directory, fleet, cluster)
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn from_nats(error: windlass_nats::Error) -> Trouble {
    Trouble::new(error.code(), error.to_string(), error.help())
}

fn trouble(what: &str, error: &std::io::Error) -> Trouble {
    Trouble::new("WL0605", format!("cannot {what}: {error}"), "check the disk and the permissions")
}
