//! The receivers under test, each as its own process, as its users run it.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::nats_server::{BUCKET, STREAM, free_port};
use crate::payload::SECRET;
use crate::process::Process;
use crate::{Result, progress};

/// How long a receiver may take to be ready.
const START: Duration = Duration::from_secs(20);

/// A receiver that runs.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
}

/// Starts `windlass receive`.
pub async fn windlass(binary: &Path, nats_url: &str, directory: &Path) -> Result<Receiver> {
    let directory = directory.join("windlass");
    let spool = directory.join("spool");
    std::fs::create_dir_all(&spool)?;
    let secret = directory.join("secret");
    std::fs::write(&secret, SECRET)?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = Command::new(binary);
    command
        .arg("receive")
        .args(["--listen", &address.to_string(), "--nats-url", nats_url])
        .args(["--stream", STREAM, "--bucket", BUCKET])
        // Room for a whole turn of spooling: the bound is tested elsewhere.
        .args(["--spool-max-size", "16GiB"])
        .arg("--secret-file")
        .arg(secret)
        .arg("--spool-directory")
        .arg(spool);
    let log = directory.join("windlass.log");
    ready(Receiver { address, process: Process::start("windlass receive", command, &log)? }, &log).await
}

/// Starts the peer in Node, after `npm ci` where its libraries are not there yet.
pub async fn node(node: &OsStr, sources: &Path, nats_url: &str, directory: &Path) -> Result<Receiver> {
    let directory = directory.join("node");
    std::fs::create_dir_all(&directory)?;
    install(sources)?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = Command::new(node);
    command
        .arg(sources.join("server.mjs"))
        .env("NODE_ENV", "production")
        .env("NATS_URL", nats_url)
        .env("WEBHOOK_SECRET", SECRET)
        .env("PORT", address.port().to_string());
    let log = directory.join("node.log");
    ready(Receiver { address, process: Process::start("the Node peer", command, &log)? }, &log).await
}

/// The directory of the Node peer: as given, or in the working tree.
pub fn node_sources(flag: Option<&Path>) -> PathBuf {
    flag.map_or_else(|| PathBuf::from("benches/peers/node"), Path::to_owned)
}

fn install(sources: &Path) -> Result<()> {
    if sources.join("node_modules").is_dir() {
        return Ok(());
    }
    progress(&format!("npm ci in {}", sources.display()));
    let output = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(sources)
        .output()
        .map_err(|error| {
            format!("npm did not start: {error}. Install Node.js, or leave the peer out with --contenders")
        })?;
    if !output.status.success() {
        return Err(format!("npm ci failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

async fn ready(mut receiver: Receiver, log: &Path) -> Result<Receiver> {
    let started = Instant::now();
    while started.elapsed() < START {
        if let Some(status) = receiver.process.ended() {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            return Err(format!("{} ended with {status}:\n{said}", log.display()).into());
        }
        if is_ready(receiver.address).await.unwrap_or(false) {
            return Ok(receiver);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let said = std::fs::read_to_string(log).unwrap_or_default();
    Err(format!("no receiver was ready on {} within {} s:\n{said}", receiver.address, START.as_secs()).into())
}

async fn is_ready(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await??;
    // A receiver with a spool is ready without NATS; here it is to be measured with it.
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.starts_with("HTTP/1.1 200") && !answer.contains("disconnected"))
}
