//! The local R2 as a part: its arguments, and whether it is ready.

use super::part::{Kind, Loaded, Part, Running};
use super::{Options, health, ports};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_engine::Trouble;

/// The part's name.
pub const PART: &str = "r2";
/// The option that names its bucket.
const BUCKET: &str = "--bucket";
const READY_WITHIN: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(5);
/// What it answers to whoever does not sign.
const UNSIGNED: u16 = 400;

/// The part, with a bucket that it makes where it is missing. Its keys are in its directory.
pub(super) fn part(options: &Options, bucket: &str) -> Option<Part> {
    let last: ports::Choice = super::part::read(&options.directory.join("ports.json")).unwrap_or_default();
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), last.get(PART)?.port);
    let directory = options.directory.display().to_string();
    let listens = listen.to_string();
    let arguments =
        ["sandbox", "r2", "--directory", &directory, "--listen", &listens, BUCKET, bucket, "--hide-keys"];
    Some(Part {
        name: PART.to_owned(),
        kind: Kind::R2,
        program: options.program.clone(),
        arguments: arguments.map(str::to_owned).into(),
        log: None,
        monitor: None,
        store: None,
        drain: None,
        loaded: Loaded::default(),
        listens: vec![listen],
        token: String::new(),
    })
}

/// The bucket that a part was started with.
#[must_use]
pub fn bucket(part: &Part) -> Option<&str> {
    let at = part.arguments.iter().position(|argument| argument == BUCKET)?;
    part.arguments.get(at + 1).map(String::as_str)
}

/// Waits until it answers.
pub(super) async fn wait_ready(address: SocketAddr, log: &Path) -> Result<(), Trouble> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let Err(last) = is_ready(address).await else { return Ok(()) };
        if Instant::now() >= deadline {
            let message = format!("the local R2 is not ready after {} s: {last}", READY_WITHIN.as_secs());
            return Err(Trouble::new("WL0434", message, format!("see {}", log.display())));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether it answers as R2 does.
async fn is_ready(address: SocketAddr) -> Result<(), String> {
    match health::get(address, "/", Duration::from_secs(2)).await {
        Ok(answer) if answer.status == UNSIGNED => Ok(()),
        Ok(answer) => Err(format!("it answers {}", answer.status)),
        Err(error) => Err(error.to_string()),
    }
}

/// How one is that an agent keeps.
pub async fn health(running: &Running) -> Result<(), String> {
    match running.part.listens.first() {
        Some(address) if running.process.as_ref().is_some_and(super::process::Identity::is_alive) => {
            is_ready(*address).await
        }
        _ => Err(running.ended.clone().unwrap_or_else(|| "no process".to_owned())),
    }
}
