//! A running fleet.

use crate::delivery::{Github, http_client};
use crate::{edge, tools};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::DeliverPolicy, stream::Stream};
use bytes::Bytes;
use futures::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How a fleet is to be.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    servers: u16,
    cluster: String,
    jetstream: String,
    stream: String,
    github: String,
    more: String,
    edge: bool,
    environment: Vec<(String, String)>,
}

impl Builder {
    /// With an edge, in a Cloudflare that runs on this machine.
    pub fn edge(mut self) -> Self {
        self.edge = true;
        let workerd = edge::workerd_binary().expect("workerd, which a test with an edge asks for first");
        self.env("WINDLASS_WORKERD", &workerd.to_string_lossy())
    }

    /// More tables of the file.
    pub fn more(mut self, tables: &str) -> Self {
        self.more = tables.to_owned();
        self
    }

    /// More keys of the hub's `jetstream = { … }`, such as `storage = "64MiB"`.
    pub fn jetstream(mut self, keys: &str) -> Self {
        self.jetstream = keys.to_owned();
        self
    }

    /// How many servers the hub has, if not one.
    pub fn servers(mut self, servers: u16) -> Self {
        self.servers = servers;
        self
    }

    /// More lines of `[clusters.hub]`.
    pub fn cluster(mut self, lines: &str) -> Self {
        self.cluster = lines.to_owned();
        self
    }

    /// More lines of `[streams.GITHUB]`.
    pub fn stream(mut self, lines: &str) -> Self {
        self.stream = lines.to_owned();
        self
    }

    /// More lines of `[github]`.
    pub fn github(mut self, lines: &str) -> Self {
        self.github = lines.to_owned();
        self
    }

    /// A variable of the environment in which `up` is run.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The fleet's file, with free ports.
    pub fn file(&self) -> String {
        // Further servers use the next higher ports.
        let port = || {
            let first = tools::free_port();
            for _ in 1..self.servers {
                tools::free_port();
            }
            first
        };
        let (client, websocket, monitor, listen) = (port(), port(), port(), port());
        let (servers, routes) = (self.servers.max(1), port());
        let leaf = if self.edge { format!(", leaf = {}", port()) } else { String::new() };
        let jetstream = if self.jetstream.is_empty() { r#"storage = "1GiB""# } else { &self.jetstream };
        format!(
            "[fleet]\nname = \"test\"\n\n[clusters.hub]\nservers = {servers}\nports = {{ client = {client}, websocket = {websocket}, \
             monitor = {monitor}, cluster = {routes}{leaf} }}\n{}\njetstream = {{ domain = \"hub\", {jetstream} }}\n\n\
             [streams.GITHUB]\nsubjects = [\"github.>\"]\n{}\n\n[github]\nlisten = \"127.0.0.1:{listen}\"\n{}\n{}",
            self.cluster, self.stream, self.github, self.more,
        )
    }

    /// Starts it in a new directory.
    pub fn start(self) -> Fleet {
        let directory = tempfile::Builder::new().prefix("windlass-test-").tempdir().expect("a directory");
        self.start_in(directory)
    }

    /// Writes its file into a new directory, and starts nothing.
    pub fn prepare(self) -> Fleet {
        let directory = tempfile::Builder::new().prefix("windlass-test-").tempdir().expect("a directory");
        let mut fleet = Fleet { directory, environment: Vec::new(), edge: false, report: Value::Null };
        fleet.configure(self);
        fleet
    }

    /// Starts it in this directory.
    pub fn start_in(self, directory: TempDir) -> Fleet {
        let mut fleet = Fleet { directory, environment: Vec::new(), edge: false, report: Value::Null };
        fleet.configure(self);
        fleet.up();
        fleet
    }
}

/// A fleet that runs until it is dropped.
#[derive(Debug)]
pub struct Fleet {
    directory: TempDir,
    environment: Vec<(String, String)>,
    /// Whether `up` is asked for an edge.
    pub edge: bool,
    /// What `up --format json` printed.
    pub report: Value,
}

/// A message of the stream, as an independent client reads it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Message {
    /// A header's value, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(async_nats::HeaderValue::as_str).unwrap_or_default()
    }
}

impl Fleet {
    /// A fleet as the defaults make it, on free ports.
    pub fn start() -> Self {
        Builder::default().start()
    }

    /// A fleet with something changed.
    pub fn with() -> Builder {
        Builder::default()
    }

    /// A fleet of this file in a new directory; nothing is started.
    pub fn of(file: &str) -> Self {
        let fleet = Builder::default().prepare();
        fleet.write(file);
        fleet
    }

    /// Writes the fleet file anew.
    pub fn write(&self, file: &str) {
        fs::write(self.path().join("windlass.toml"), file).expect("the fleet file");
    }

    /// The fleet file.
    pub fn file(&self) -> String {
        fs::read_to_string(self.path().join("windlass.toml")).expect("the fleet file")
    }

    /// Replaces a part of the fleet file, for the next `up` or `apply`.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.file();
        assert!(file.contains(from), "{from} is not in {file}");
        self.write(&file.replacen(from, to, 1));
    }

    /// Writes another fleet file, for the next `up`.
    pub fn configure(&mut self, builder: Builder) {
        self.write(&builder.file());
        self.environment = builder.environment;
        self.edge = builder.edge;
    }

    /// The directory that holds `windlass.toml` and `.windlass/`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory `.windlass/`.
    pub fn state(&self) -> PathBuf {
        self.path().join(".windlass")
    }

    /// A `windlass` command in a directory, with nothing of the caller's settings.
    pub fn command_in(directory: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
        const SETTINGS: [&str; 4] = ["GITHUB_", "WINDLASS_", "NATS_", "RUST_LOG"];
        let mut command = Command::new(tools::windlass());
        for (name, _) in std::env::vars() {
            if SETTINGS.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(directory).env("WINDLASS_NATS_SERVER", tools::nats_server());
        command
    }

    /// A `windlass` command in the fleet's directory and environment.
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Self::command_in(self.path(), arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a `windlass` command to its end.
    pub fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Output {
        self.command(arguments).output().expect("windlass can be run")
    }

    /// Runs `windlass up --detach` and takes what it prints.
    pub fn up(&mut self) {
        let mut command = vec!["up", "--detach", "--format", "json"];
        command.extend(self.edge.then_some("--edge"));
        let output = self.run(&command);
        assert!(output.status.success(), "up failed: {}", String::from_utf8_lossy(&output.stderr));
        self.report = serde_json::from_slice(&output.stdout).expect("up prints one JSON object");
    }

    /// Gives the fleet a nats-server of its own, before it is started: a program that can be taken away.
    pub fn own_server(&mut self) -> PathBuf {
        let program = self.path().join("bin/nats-server");
        fs::create_dir_all(self.path().join("bin")).expect("a directory");
        fs::copy(tools::nats_server(), &program).expect("a copy");
        self.environment.push(("WINDLASS_NATS_SERVER".to_owned(), program.to_string_lossy().into_owned()));
        program
    }

    /// Runs `windlass down`.
    pub fn down(&self) {
        let output = self.run(&["down"]);
        assert!(output.status.success(), "down failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `windlass status --format json` prints now.
    pub fn status(&self) -> Value {
        let output = self.run(&["status", "--format", "json"]);
        serde_json::from_slice(&output.stdout).expect("status prints one JSON object")
    }

    /// The process id of a part now: `nats`, `receiver` or `supervisor`.
    pub fn pid(&self, part: &str) -> Option<i32> {
        let status = fs::read(self.state().join("agent/status.json")).ok()?;
        let status: Value = serde_json::from_slice(&status).ok()?;
        let pid = match part {
            "supervisor" => &status["agent"]["pid"],
            "nats" => &status["parts"]["hub-0"]["process"]["pid"],
            part => &status["parts"][part]["process"]["pid"],
        };
        i32::try_from(pid.as_i64()?).ok()
    }

    /// Sends a signal to a part, if it runs.
    pub fn signal(&self, part: &str, signal_to_send: Signal) {
        if let Some(pid) = self.pid(part) {
            signal(pid, signal_to_send);
        }
    }

    /// The receiver's URL.
    pub fn url(&self) -> &str {
        self.report["receiver"]["url"].as_str().expect("receiver.url")
    }

    /// The receiver's URL of another path, such as `/metrics`.
    pub fn url_of(&self, path: &str) -> String {
        self.url().replace("/github", path)
    }

    /// The webhook secret.
    pub fn secret(&self) -> String {
        let file = self.report["receiver"]["secret_file"].as_str().expect("receiver.secret_file");
        fs::read_to_string(file).expect("the secret file").lines().next().unwrap_or_default().to_owned()
    }

    /// GitHub, set up for this fleet.
    pub fn github(&self) -> Github {
        Github::new(self.url(), &self.secret())
    }

    /// A client of our own, with the credentials that `up` prints.
    pub async fn nats(&self) -> async_nats::Client {
        let nats = &self.report["nats"];
        let creds = nats["creds"].as_str().expect("nats.creds");
        async_nats::ConnectOptions::new()
            .credentials_file(creds)
            .await
            .expect("the credentials that up prints")
            .connect(nats["url"].as_str().expect("nats.url"))
            .await
            .expect("a connection to NATS")
    }

    /// The stream GITHUB.
    pub async fn stream(&self) -> Stream {
        jetstream::new(self.nats().await).get_stream("GITHUB").await.expect("the stream GITHUB")
    }

    /// How many messages the stream has.
    pub async fn count(&self) -> u64 {
        self.stream().await.get_info().await.expect("the stream's state").state.messages
    }

    /// Every message of the stream, oldest first.
    pub async fn messages(&self) -> Vec<Message> {
        let stream = self.stream().await;
        let count = stream.get_info().await.expect("the stream's state").state.messages;
        let config = jetstream::consumer::pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            ..jetstream::consumer::pull::OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let mut messages = consumer.messages().await.expect("messages");
        let mut all = Vec::new();
        while (all.len() as u64) < count {
            let message = tokio::time::timeout(Duration::from_secs(30), messages.next()).await;
            let message = message.expect("the next message in time").expect("a message").expect("a message");
            all.push(Message {
                sequence: message.info().expect("a sequence").stream_sequence,
                subject: message.subject.to_string(),
                headers: message.headers.clone().unwrap_or_default(),
                body: message.payload.clone(),
            });
        }
        all
    }

    /// Waits until NATS is connected and nothing is left in the spool.
    pub async fn settle(&self) {
        let client = http_client();
        // Far more than it takes: a nats-server that died often is started again after a pause of seconds.
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let ready = client.get(self.url_of("/readyz")).send().await;
            if let Ok(ready) = ready {
                let body: Value = ready.json().await.unwrap_or_default();
                if body["nats"] == "connected" && body["spool"]["events"] == 0 && body["spool"]["bytes"] == 0
                {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "the fleet did not settle: {}", self.status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let pids: Vec<i32> =
            ["supervisor", "receiver", "nats"].iter().filter_map(|part| self.pid(part)).collect();
        for &pid in &pids {
            // A stopped process could not end.
            signal(pid, Signal::CONT);
        }
        let _ = self.run(&["down"]);
        let left = tools::end_processes_of(self.path());
        assert!(left.is_empty() || std::thread::panicking(), "left running after down: {left:?}");
        if std::thread::panicking() {
            for log in ["agent.log", "receiver.log", "cloudflare.log"] {
                let text = fs::read_to_string(self.state().join("log").join(log)).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(20).collect();
                eprintln!("--- {log} (newest first)\n{}", tail.join("\n"));
            }
        }
    }
}

/// Sends a signal to a process. After SIGSTOP it returns once every thread of it has stopped: on a busy machine they go on
/// for a moment, long enough to answer.
pub fn signal(pid: i32, signal: Signal) {
    let Some(process) = Pid::from_raw(pid) else { return };
    let _ = kill_process(process, signal);
    let deadline = Instant::now() + Duration::from_secs(10);
    while signal == Signal::STOP && !is_stopped(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_stopped(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['T', 't', 'Z', 'X']))
    })
}
