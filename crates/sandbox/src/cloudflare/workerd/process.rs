//! One workerd: started, ready, ended.

use super::config;
use super::worker::Worker;
use crate::cloudflare::Error;
use crate::cloudflare::left::Record;
use crate::cloudflare::process::{Identity, raw};
use rustix::process::{Signal, kill_process, kill_process_group};
use secrecy::ExposeSecret;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// What workerd says is shown up to this length.
const SHOWN: u64 = 4_000;

/// What is needed to start one.
pub(super) struct Launch<'a> {
    pub(super) binary: &'a Path,
    /// Where records, configurations and the log are.
    pub(super) directory: &'a Path,
    pub(super) around: config::Surroundings<'a>,
    /// The socket that it is to accept on.
    pub(super) listener: &'a TcpListener,
    /// A name for its configuration.
    pub(super) name: &'a str,
    /// How long it may take to be ready.
    pub(super) within: Duration,
}

/// A workerd that runs. It is killed when this is dropped.
pub(super) struct Running {
    child: Child,
    pub(super) identity: Option<Identity>,
    pub(super) since: Instant,
    said_from: u64,
    log: PathBuf,
    configuration: PathBuf,
    _record: Record,
}

fn log_of(directory: &Path) -> PathBuf {
    directory.join("workerd.log")
}

/// Writes the modules and the configuration, for nobody else to read.
fn write(launch: &Launch<'_>, worker: &Worker) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let directory = launch.directory.join("config").join(launch.name);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?,
    }
    let file = |name: &str, content: &[u8]| {
        let opened = File::options().create_new(true).write(true).mode(0o600).open(directory.join(name));
        opened.and_then(|mut file| file.write_all(content))
    };
    for (number, module) in worker.modules.iter().enumerate() {
        file(&format!("module-{number}"), &module.content)?;
    }
    file("workerd.capnp", config::text(worker, &launch.around).as_bytes())?;
    Ok(directory)
}

fn said(log: &Path, from: u64) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(SHOWN))))?;
        let mut text = Vec::new();
        file.take(SHOWN).read_to_end(&mut text)?;
        std::io::Result::Ok(String::from_utf8_lossy(&text).trim().to_owned())
    };
    read().ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "nothing".to_owned())
}

/// Whether a line is workerd's word that it accepts on our socket.
fn is_listening(line: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(line)
        .is_ok_and(|value| value["event"] == "listen" && value["socket"] == config::SOCKET)
}

/// Reads until workerd listens; the rest of what it prints goes to the log. False if it ended before.
async fn listening(output: &mut tokio::io::Lines<BufReader<ChildStdout>>, log: &mut File) -> bool {
    while let Ok(Some(line)) = output.next_line().await {
        if is_listening(&line) {
            return true;
        }
        let _ = writeln!(log, "{line}");
    }
    false
}

impl Running {
    /// Starts workerd, and waits until it takes requests.
    pub(super) async fn start(launch: &Launch<'_>, worker: &Worker) -> Result<Self, Error> {
        let in_directory = |source| Error::Directory { directory: launch.directory.to_owned(), source };
        let configuration = write(launch, worker).map_err(in_directory)?;
        let log = log_of(launch.directory);
        let mut file = crate::cloudflare::log_file(&log).map_err(in_directory)?;
        let said_from = file.seek(SeekFrom::End(0)).map_err(in_directory)?;
        let record = Record::before(launch.directory).map_err(in_directory)?;
        let errors = file.try_clone().map_err(in_directory)?;
        let socket = OwnedFd::from(launch.listener.try_clone().map_err(in_directory)?);
        let (variable, mark) = record.variable();
        let secrets = config::secrets(worker);
        let mut command = Command::new(launch.binary);
        command
            .args(["serve", "--experimental", "--control-fd", "1"])
            // The socket is its standard input: it outlives each workerd, so that no connection is ever refused.
            .args(["--socket-fd", &format!("{}=0", config::SOCKET)])
            .arg(configuration.join("workerd.capnp"))
            .arg("config")
            .env_clear()
            .env(variable, mark)
            .envs(secrets.iter().map(|(name, value)| (name, value.expose_secret())))
            .current_dir(&configuration)
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true);
        let refused =
            |source: std::io::Error| Error::NoWorkerd(format!("{}: {source}", launch.binary.display()));
        let mut child = command.spawn().map_err(refused)?;
        // Its environment has the secrets; here they are not needed any more.
        drop((command, secrets));
        let identity = child.id().and_then(Identity::of);
        if let Some(pid) = child.id() {
            record.started(pid).map_err(in_directory)?;
        }
        let output = child.stdout.take();
        let mut running =
            Self { child, identity, since: Instant::now(), said_from, log, configuration, _record: record };
        let Some(output) = output else { return Err(running.failed(worker).await) };
        let mut output = BufReader::new(output).lines();
        match tokio::time::timeout(launch.within, listening(&mut output, &mut file)).await {
            Ok(true) => {}
            Ok(false) => return Err(running.failed(worker).await),
            Err(_) => {
                let said = running.said();
                running.kill().await;
                return Err(Error::NotReady { seconds: launch.within.as_secs(), said });
            }
        }
        // If it ended, workerd would have nobody to tell what the Worker prints.
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                let _ = writeln!(file, "{line}");
            }
        });
        Ok(running)
    }

    async fn failed(&mut self, worker: &Worker) -> Error {
        let _ = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
        self.kill().await;
        Error::Worker { worker: worker.name.clone(), said: self.said() }
    }

    /// What it has printed as errors.
    pub(super) fn said(&self) -> String {
        said(&self.log, self.said_from)
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Asks it to end, and kills it after the grace. False if it had to be killed.
    pub(super) async fn stop(&mut self, grace: Duration) -> bool {
        // Until it is waited for, its pid is its own.
        if let Some(pid) = self.child.id().and_then(raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(grace, self.child.wait()).await.is_ok() {
            return true;
        }
        self.kill().await;
        false
    }

    /// Kills it.
    pub(super) async fn kill(&mut self) {
        if let Some(pid) = self.child.id().and_then(raw) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.configuration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_counts() {
        assert!(is_listening(r#"{"event":"listen","socket":"http","port":39897}"#));
        for line in [
            "",
            "hello",
            r#"{"event":"listen","socket":"other","port":1}"#,
            r#"{"event":"listen-inspector"}"#,
        ] {
            assert!(!is_listening(line), "{line}");
        }
    }
}
