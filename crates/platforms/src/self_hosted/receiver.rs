//! The webhook receiver as a part: its arguments, and whether it is ready.

use super::part::{Kind, Loaded, Part};
use super::{Options, health, ports};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_engine::Trouble;
use windlass_engine::wanted::{PAYLOADS, RECEIVER};
use windlass_fleet::Github;

/// The part's name.
pub const PART: &str = "receiver";
const READY_WITHIN: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(5);

/// Where it listens: on the port that it got.
pub(super) fn listens(options: &Options, github: &Github) -> SocketAddr {
    let last: ports::Choice = super::part::read(&options.directory.join("ports.json")).unwrap_or_default();
    let chosen = last.get(PART).filter(|chosen| chosen.wanted == github.listen.port());
    SocketAddr::new(github.listen.ip(), chosen.map_or(github.listen.port(), |chosen| chosen.port))
}

/// The NATS that it publishes to.
pub(super) struct Nats {
    /// Its servers, separated by commas.
    pub(super) url: String,
    /// Who has signed their certificates, where they have some.
    pub(super) authority: Option<std::path::PathBuf>,
}

/// The part, with the file of its secrets.
pub(super) fn part(
    options: &Options,
    github: &Github,
    account: &str,
    nats: &Nats,
    secret: &(std::path::PathBuf, String),
) -> Part {
    let listen = listens(options, github);
    let directory = &options.directory;
    let mut arguments = vec!["receive".to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    let shown = |path: &Path| path.display().to_string();
    add("--directory", shown(directory));
    add("--listen", listen.to_string());
    add("--nats-url", nats.url.clone());
    if let Some(authority) = &nats.authority {
        add("--ca", shown(authority));
    }
    add("--creds", shown(&super::authority::creds_file(options, account, RECEIVER)));
    add("--stream", github.stream.as_str().to_owned());
    add("--bucket", PAYLOADS.to_owned());
    add("--subject-prefix", "github".to_owned());
    add("--secret-file", shown(&secret.0));
    add("--spool-directory", shown(&directory.join("spool")));
    add("--spool-max-size", github.spool.max_size.get().to_string());
    add("--claim-check-above", github.claim_check_above.get().to_string());
    add("--in-flight", github.in_flight.to_string());
    Part {
        name: PART.to_owned(),
        kind: Kind::Receiver,
        program: options.program.clone(),
        arguments,
        log: None,
        monitor: None,
        store: None,
        drain: None,
        loaded: Loaded::default(),
        listens: vec![listen],
        // Other secrets or credentials in the same files need a new process, too.
        token: digest(&[&secret.1, &super::authority::user_version(options, account, RECEIVER)]),
    }
}

fn digest(parts: &[&str]) -> String {
    hex::encode(parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize())
}

/// Waits until it takes deliveries and is connected to NATS, so that the first event is not spooled.
pub(super) async fn wait_ready(address: SocketAddr, log: &Path) -> Result<(), Trouble> {
    let address = SocketAddr::new(super::servers::reachable(address.ip()), address.port());
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let answer = health::get(address, "/readyz", Duration::from_secs(2)).await;
        let connected =
            |answer: &health::Answer| answer.json().is_some_and(|body| body["nats"] == "connected");
        if answer.as_ref().is_ok_and(|answer| answer.is_ok() && connected(answer)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let last = answer.map_or_else(|error| error.to_string(), |answer| answer.body);
            let message = format!("the receiver is not ready after {} s: {last}", READY_WITHIN.as_secs());
            return Err(Trouble::new("WL0407", message, format!("see {}", log.display())));
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) async fn is_ready(address: SocketAddr) -> Result<(), String> {
    let address = SocketAddr::new(super::servers::reachable(address.ip()), address.port());
    match health::get(address, "/readyz", Duration::from_secs(2)).await {
        Ok(answer) if answer.is_ok() => Ok(()),
        Ok(answer) => Err(format!("it answers {}: {}", answer.status, answer.body)),
        Err(error) => Err(error.to_string()),
    }
}
