//! The local Cloudflare as a part: its arguments, and whether it is ready.

use super::part::{Kind, Loaded, Part, Running};
use super::{Options, health, ports};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_engine::Trouble;
use windlass_engine::wanted::edge;

/// The part's name.
pub const PART: &str = "cloudflare";
/// Below the run directory.
const DIRECTORY: &str = "cloudflare";
const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);
/// Asked of the API without a token.
const ASKED: &str = "/client/v4/user/tokens/verify";

/// The ports that it needs: the API's, the Workers' and the registry's. Where there is none and none is to be, none.
pub(super) fn wishes(options: &Options) -> Vec<(ports::Wish, IpAddr)> {
    if edge::cluster(&options.fleet).is_none() && !options.directory.join(DIRECTORY).is_dir() {
        return Vec::new();
    }
    let wish =
        |what: &str| (ports::Wish { part: format!("{PART}/{what}"), port: 0 }, Ipv4Addr::LOCALHOST.into());
    vec![wish("api"), wish("worker"), wish("registry")]
}

/// The addresses of the API, of the Workers and of the registry, once their ports are chosen.
pub(super) fn addresses(options: &Options) -> Option<[SocketAddr; 3]> {
    let last: ports::Choice = super::part::read(&options.directory.join("ports.json")).unwrap_or_default();
    let address = |what: &str| {
        let chosen = last.get(&format!("{PART}/{what}"))?;
        Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), chosen.port))
    };
    Some([address("api")?, address("worker")?, address("registry")?])
}

/// The part. It serves the objects of the local R2, so that both have the same buckets.
pub(super) fn part(options: &Options, [api, worker, registry]: [SocketAddr; 3]) -> Part {
    let path = |name: &str| options.directory.join(name).display().to_string();
    let mut arguments: Vec<String> = ["sandbox", "cloudflare", "--directory"].map(str::to_owned).into();
    arguments.push(options.directory.display().to_string());
    arguments.extend(["--r2-directory".to_owned(), path("r2"), "--listen".to_owned(), api.to_string()]);
    arguments.extend(["--worker-listen".to_owned(), worker.to_string()]);
    arguments.extend(["--registry-listen".to_owned(), registry.to_string(), "--hide-keys".to_owned()]);
    arguments.extend(["--subdomain", "local"].map(str::to_owned));
    Part {
        name: PART.to_owned(),
        kind: Kind::Cloudflare,
        program: options.program.clone(),
        arguments,
        log: None,
        monitor: None,
        store: None,
        drain: None,
        loaded: Loaded::default(),
        listens: vec![api, worker, registry],
        token: String::new(),
    }
}

/// Waits until the API answers.
pub(super) async fn wait_ready(address: SocketAddr, log: &Path) -> Result<(), Trouble> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let Err(last) = is_ready(address).await else { return Ok(()) };
        if Instant::now() >= deadline {
            let message =
                format!("the local Cloudflare is not ready after {} s: {last}", READY_WITHIN.as_secs());
            return Err(Trouble::new("WL0457", message, format!("see {}", log.display())));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether it answers: that it wants to know who asks.
async fn is_ready(address: SocketAddr) -> Result<(), String> {
    match health::get(address, ASKED, Duration::from_secs(2)).await {
        Ok(answer) if (400..500).contains(&answer.status) => Ok(()),
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
