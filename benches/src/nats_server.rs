//! A real nats-server with JetStream in a directory of its own.
//!
//! It listens on loopback without accounts: authentication is paid once a connection and would change no number
//! here. Everything else is the server's default, but for `sync_interval` in the strict variant.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, context::ContextBuilder, object_store, stream};

use crate::Result;
use crate::process::Process;

/// The stream that receives the events.
pub const STREAM: &str = "GITHUB";
/// The object bucket for payloads that are too large for a message.
pub const BUCKET: &str = "GITHUB_PAYLOADS";
/// As long as GitHub can redeliver.
pub const THREE_DAYS: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// A server of another release of NATS would be another benchmark: it has as long as this to start.
const START: Duration = Duration::from_secs(120);

/// When the server calls `fsync`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The server's default: an acknowledgement means "in the page cache", and a sync follows within two minutes.
    Standard,
    /// `sync_interval: always`: an acknowledgement means "on the disk".
    Strict,
}

/// One server, and where it keeps its data.
pub struct NatsServer {
    binary: PathBuf,
    directory: PathBuf,
    port: u16,
    process: Process,
}

impl NatsServer {
    /// Starts a server with its configuration, log and data below `directory`, and waits until JetStream answers.
    pub async fn start(binary: &Path, directory: &Path, durability: Durability) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let port = free_port()?;
        std::fs::write(directory.join("nats.conf"), configuration(directory, port, durability))?;
        let process = spawn(binary, directory)?;
        let mut server = Self { binary: binary.to_owned(), directory: directory.to_owned(), port, process };
        server.ready().await?;
        Ok(server)
    }

    /// Starts the process again, on the same port and data, without waiting for it.
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.binary, &self.directory)?;
        Ok(())
    }

    /// Waits until JetStream answers and gives the connection that asked.
    pub async fn ready(&mut self) -> Result<jetstream::Context> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.ended() {
                return Err(format!("nats-server ended with {status}: see {}", self.log().display()).into());
            }
            if let Ok(context) = self.context().await
                && context.query_account().await.is_ok()
            {
                return Ok(context);
            }
            if started.elapsed() > START {
                return Err(format!("nats-server did not answer within {} s", START.as_secs()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A new connection with JetStream on it.
    pub async fn context(&self) -> Result<jetstream::Context> {
        context(&self.url()).await
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where JetStream keeps its files.
    pub fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.stop().await
    }

    fn log(&self) -> PathBuf {
        self.directory.join("nats.log")
    }
}

/// A connection with JetStream on it that waits for slow answers: a benchmark wants the time, not a timeout.
pub async fn context(url: &str) -> Result<jetstream::Context> {
    let client = async_nats::ConnectOptions::new()
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(START))
        .connect(url)
        .await?;
    Ok(ContextBuilder::new().timeout(START).ack_timeout(START).build(client))
}

/// The event stream as Windlass makes it, with the given duplicate window.
pub fn events_stream(subjects: &str, duplicate_window: Duration) -> stream::Config {
    stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![subjects.to_owned()],
        storage: stream::StorageType::File,
        duplicate_window,
        max_age: Duration::from_secs(30 * 24 * 60 * 60),
        allow_direct: true,
        ..stream::Config::default()
    }
}

/// A fresh, empty event stream, and the object bucket if it is not there yet.
pub async fn fresh_stream(context: &jetstream::Context) -> Result<()> {
    if context.get_stream(STREAM).await.is_ok() {
        context.delete_stream(STREAM).await?;
    }
    context.create_stream(events_stream("github.>", THREE_DAYS)).await?;
    if context.get_object_store(BUCKET).await.is_err() {
        let bucket = object_store::Config { bucket: BUCKET.to_owned(), ..object_store::Config::default() };
        context.create_object_store(bucket).await?;
    }
    Ok(())
}

/// How many messages the event stream holds.
pub async fn stream_messages(context: &jetstream::Context) -> Result<u64> {
    Ok(context.get_stream(STREAM).await?.cached_info().state.messages)
}

/// Waits until the stream holds at least `expected` messages, and gives what it holds in the end.
pub async fn settled_messages(
    context: &jetstream::Context,
    expected: u64,
    patience: Duration,
) -> Result<u64> {
    let started = Instant::now();
    loop {
        let messages = stream_messages(context).await?;
        if messages >= expected || started.elapsed() > patience {
            return Ok(messages);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Finds nats-server: the flag, `WINDLASS_NATS_SERVER`, `PATH`, then `.tools/bin` above the current directory.
pub fn find(flag: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = flag {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os("WINDLASS_NATS_SERVER").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let current = std::env::current_dir()?;
    let tools = current.ancestors().map(|directory| directory.join(".tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(tools)
        .map(|directory| directory.join("nats-server"))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            "nats-server was not found: `./taskw setup` fetches it, or set WINDLASS_NATS_SERVER".into()
        })
}

/// The version line of a program, for the report.
pub fn version(program: &OsStr, argument: &str) -> String {
    Command::new(program)
        .arg(argument)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn spawn(binary: &Path, directory: &Path) -> Result<Process> {
    let mut command = Command::new(binary);
    command.arg("--config").arg(directory.join("nats.conf"));
    Process::start("nats-server", command, &directory.join("nats.log"))
}

fn configuration(directory: &Path, port: u16, durability: Durability) -> String {
    let sync = match durability {
        Durability::Standard => "",
        Durability::Strict => "  sync_interval: always\n",
    };
    format!(
        "server_name: bench\nlisten: \"127.0.0.1:{port}\"\njetstream {{\n  store_dir: \"{}\"\n{sync}}}\n",
        directory.join("store").display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_strict_configuration_syncs_always() {
        let standard = configuration(Path::new("/data"), 4222, Durability::Standard);
        let strict = configuration(Path::new("/data"), 4222, Durability::Strict);
        assert!(standard.contains("store_dir: \"/data/store\""));
        assert!(!standard.contains("sync_interval"));
        assert!(strict.contains("sync_interval: always"));
    }
}
