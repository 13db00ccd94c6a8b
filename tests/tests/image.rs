//! The edge node's image for real: built, checked, unpacked, started as root's `chroot` without a shell, joined to a hub of
//! `windlass up` over ws, wss and tls, with every secret in the environment and none in a file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use futures::StreamExt;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use windlass_tests::furniture::ports;
use windlass_tests::tools::{free_port, nats_server};
use windlass_tests::{Fleet, eventually, get, signal};

/// A fleet with a hub that leaf nodes may join; `tls` is a line of it, or nothing.
fn hub(tls: &str) -> Fleet {
    let fleet = Fleet::of(&format!(
        "[fleet]\nname = \"acme\"\n\n[clusters.hub]\nports = {}\njetstream = {{ storage = \"1GiB\", domain = \"hub\" }}\n{tls}\n\n\
         [clusters.outpost]\nleaf_of = \"hub\"\nports = {}\njetstream = {{ storage = \"1GiB\", domain = \"outpost\" }}\n{tls}\n\n\
         [streams.ORDERS]\naccount = \"SHOP\"\ncluster = \"hub\"\nsubjects = [\"orders.>\"]\n",
        ports(1),
        ports(1)
    ));
    let mut fleet = fleet;
    fleet.up();
    fleet
}

fn command(arguments: &[&str], directory: &Path) -> Value {
    let output =
        Fleet::command_in(directory, &[&["image", "--format", "json"], arguments].concat()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A node of the image: a root file system, and the environment of its container.
struct Node {
    directory: TempDir,
    environment: BTreeMap<String, String>,
    address: String,
    entrypoint: Vec<String>,
    process: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal(i32::try_from(process.id()).unwrap(), Signal::KILL);
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the node's log\n{}", self.log());
        }
    }
}

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

impl Node {
    /// The image, built and unpacked, with what a node of this fleet is given.
    fn of(fleet: &Fleet, hub_url: &str, authority: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("windlass-image-").tempdir().unwrap();
        let place = directory.path();
        command(&["build", "--environment", "development"], place);
        let verified = command(&["verify"], place);
        assert_eq!(verified[0]["blobs"], 4);
        command(&["unpack", "root"], place);
        let inspected = command(&["inspect"], place);
        assert_eq!(inspected[0]["user"], "65532:65532");
        let texts = |key: &str| -> Vec<String> {
            inspected[0][key].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        let mut environment: BTreeMap<String, String> = texts("env")
            .iter()
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();

        let state = fleet.state();
        let claims = |token: &str| -> Value {
            use base64::Engine as _;
            let body = token.split('.').nth(1).unwrap();
            serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).unwrap())
                .unwrap()
        };
        let mut accounts = BTreeMap::new();
        for name in ["SYS", "SHOP"] {
            let token = text(state.join(format!("jwt/accounts/{name}.jwt")));
            accounts.insert(name, (claims(&token)["sub"].as_str().unwrap().to_owned(), token));
        }
        // Each test has its own address of loopback, where each node has the ports of the image.
        let unique = free_port();
        let address = format!("127.77.{}.{}", unique >> 8, (unique & 0xff).max(1));
        let preload: Vec<String> =
            accounts.values().map(|(key, token)| format!("{key}: {token:?}")).collect();
        let shop = &accounts["SHOP"].0;
        for (name, value) in [
            ("HOST", quoted(&address)),
            ("NODE_NAME", quoted("acme-edge-weur-0")),
            ("DOMAIN", quoted("edge")),
            ("OPERATOR", quoted(&text(state.join("jwt/operator.jwt")))),
            ("SYSTEM_ACCOUNT", quoted(&accounts["SYS"].0)),
            ("ACCOUNTS", format!("{{ {} }}", preload.join(", "))),
            ("MAX_FILE", "100000000".to_owned()),
            ("MAX_MEMORY", "50000000".to_owned()),
            ("MAX_PAYLOAD", "1048576".to_owned()),
            (
                "HUB_REMOTES",
                format!(
                    "[{{ urls: [{hub_url:?}], account: {shop:?}, credentials: \"/proc/self/environ\" }}]"
                ),
            ),
            ("HUB_CREDS", format!("\n{}\n", text(state.join("creds/SHOP/admin.creds")))),
            ("HUB_CA", if authority.is_empty() { String::new() } else { format!("\n{authority}\n") }),
        ] {
            environment.insert(name.to_owned(), value);
        }
        Self { directory, environment, address, entrypoint: texts("entrypoint"), process: None }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Starts the image's own entry point: as root, with the image as its root and as the image's user; as anybody else,
    /// in its place with the paths rewritten, as an engine without namespaces does.
    fn start(&mut self) {
        let root = self.directory.path().join("root");
        let mut command = if rustix::process::geteuid().is_root() {
            let (proc, chroot) =
                (root.join("proc"), "mount --bind /proc \"$1\" && shift && exec chroot \"$@\"");
            fs::create_dir_all(&proc).unwrap();
            let mut command = Command::new("unshare");
            // This shell is the machine's: it is outside of the image, which has none.
            command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", chroot, "sh"]).arg(proc);
            command.arg("--userspec=65532:65532").arg(&root).args(&self.entrypoint);
            command
        } else {
            let inside = |word: &String| match word.strip_prefix('/') {
                Some(path) if root.join(path).exists() => root.join(path).into_os_string(),
                _ => word.into(),
            };
            let mut command = Command::new(inside(&self.entrypoint[0]));
            command.args(self.entrypoint[1..].iter().map(inside));
            let data = self.directory.path().join("data");
            fs::create_dir_all(&data).unwrap();
            self.environment.insert("STORE_DIR".into(), quoted(&data.display().to_string()));
            command
        };
        command.env_clear().envs(&self.environment);
        // For finding `chroot`; the server itself has no use for it.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let log = File::create(self.directory.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    async fn monitor(&self, page: &str) -> Value {
        let (status, body) = get(&format!("http://{}:8222{page}", self.address)).await;
        assert_eq!(status, 200, "{page}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn is_up(&self) {
        let address = format!("{}:8222", self.address);
        eventually("the node answers", async || tokio::net::TcpStream::connect(&address).await.is_ok()).await;
        eventually("the node is healthy", async || get(&format!("http://{address}/healthz")).await.0 == 200)
            .await;
    }

    async fn joins(&mut self) {
        self.start();
        self.is_up().await;
        eventually("the node joins the hub", async || self.monitor("/leafz").await["leafnodes"] == 1).await;
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

fn websocket(fleet: &Fleet) -> String {
    format!("{}/leafnode", fleet.report["nats"]["websocket_url"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_the_hub_over_ws_and_lets_nobody_else_in() {
    let fleet = hub("");
    let mut node = Node::of(&fleet, &websocket(&fleet), "");
    node.joins().await;
    let varz = node.monitor("/varz").await;
    assert_eq!(varz["server_name"], "acme-edge-weur-0");
    let version = Command::new(nats_server()).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains(varz["version"].as_str().unwrap()));
    assert_eq!(varz["jetstream"]["config"]["domain"], "edge");
    if rustix::process::geteuid().is_root() {
        assert_eq!(varz["jetstream"]["config"]["store_dir"], "/data/jetstream", "it sees the image alone");
        let status =
            fs::read_to_string(format!("/proc/{}/status", node.process.as_ref().unwrap().id())).unwrap();
        let users = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
        assert_eq!(users.split_whitespace().skip(1).collect::<Vec<_>>(), ["65532"; 4]);
    }

    // What is said at the hub is heard at the edge, by a client of the image's WebSocket port.
    let creds = fleet.state().join("creds/SHOP/admin.creds");
    let connect = async |url: String| {
        async_nats::ConnectOptions::new().credentials_file(&creds).await.unwrap().connect(url).await
    };
    let edge = connect(format!("nats://{}:4222", node.address)).await.unwrap();
    let mut heard = edge.subscribe("news").await.unwrap();
    edge.flush().await.unwrap();
    let at_hub = fleet.client("hub-0", "SHOP", "admin").await;
    eventually("it is heard", async || {
        at_hub.publish("news", "x".into()).await.unwrap();
        tokio::time::timeout(Duration::from_millis(100), heard.next()).await.is_ok()
    })
    .await;
    // And the hub's stream is reached from the edge.
    let context = async_nats::jetstream::with_domain(edge, "hub");
    eventually("the hub's stream takes it", async || match context.publish("orders.1", "x".into()).await {
        Ok(acknowledged) => acknowledged.await.is_ok_and(|acknowledgement| acknowledgement.domain == "hub"),
        Err(_) => false,
    })
    .await;

    let without = async_nats::connect(format!("nats://{}:4222", node.address)).await;
    assert!(without.is_err(), "who has no credentials of the operator does not get in");
    let secrets = text(creds);
    let secret = secrets.lines().find(|line| line.starts_with("SU")).unwrap();
    let mut open = vec![node.directory.path().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() && entry.file_name() != "proc" {
                open.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                let bytes = fs::read(entry.path()).unwrap();
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} holds the secret", entry.path().display());
            }
        }
    }

    // SIGTERM is the platform's word: it ends at once and in order.
    let process = node.process.as_mut().unwrap();
    signal(i32::try_from(process.id()).unwrap(), Signal::TERM);
    assert!(process.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_over_wss_with_an_authority_of_its_environment_alone() {
    let fleet = hub("tls = \"all\"");
    let authority = text(fleet.state().join("tls/ca.crt"));
    let mut node = Node::of(&fleet, &websocket(&fleet), &authority);
    assert!(websocket(&fleet).starts_with("wss://"));
    node.joins().await;
    assert_eq!(node.monitor("/leafz").await["leafs"][0]["name"], "acme-hub-0");

    let mut stranger = Node::of(&fleet, &websocket(&fleet), "");
    stranger.start();
    stranger.is_up().await;
    eventually("the hub's certificate is refused", async || {
        stranger.log().contains("certificate signed by unknown authority")
    })
    .await;
    assert_eq!(stranger.monitor("/leafz").await["leafnodes"], 0);
}

/// A hub whose leaf nodes show no certificate: the fleet's own asks for one, so this is a second server on its keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_over_tls() {
    let fleet = hub("tls = \"all\"");
    let authority = text(fleet.state().join("tls/ca.crt"));
    let place = tempfile::tempdir().unwrap();
    let own = text(fleet.state().join("nats/hub/nats-server.conf"));
    let mut configuration = String::new();
    let mut taken = BTreeMap::new();
    for line in own.lines() {
        let key = line.trim().split(':').next().unwrap();
        match key {
            "pid_file" | "log_file" => {}
            "verify" => configuration.push_str("verify: false\n"),
            "dir" => configuration.push_str(&format!("dir: {:?}\n", place.path().join("accounts"))),
            "store_dir" => configuration.push_str(&format!("store_dir: {:?}\n", place.path().join("store"))),
            "listen" | "http" => {
                let port = port_of(line.trim().trim_end_matches('"'));
                let port = *taken.entry(port).or_insert_with(free_port);
                configuration.push_str(&format!("{key}: \"127.0.0.1:{port}\"\n"));
            }
            _ => {
                configuration.push_str(line);
                configuration.push('\n');
            }
        }
    }
    let leafnodes = configuration.split("leafnodes {").nth(1).unwrap();
    let port = port_of(leafnodes.lines().find(|line| line.contains("listen")).unwrap().trim_end_matches('"'));
    let file = place.path().join("hub.conf");
    fs::write(&file, configuration).unwrap();
    let log = File::create(place.path().join("log")).unwrap();
    // It knows its accounts from where the fleet's own hub keeps them.
    fs::create_dir(place.path().join("accounts")).unwrap();
    for account in fs::read_dir(fleet.state().join("nats/hub/accounts")).unwrap().flatten() {
        fs::copy(account.path(), place.path().join("accounts").join(account.file_name())).unwrap();
    }
    let mut second = Command::new(nats_server());
    second.arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let _second = Ended(second.spawn().unwrap());
    let mut node = Node::of(&fleet, &format!("tls://127.0.0.1:{port}"), &authority);
    node.joins().await;
}

/// A process that ends with it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        signal(i32::try_from(self.0.id()).unwrap(), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_missing_is_named_and_nothing_starts() {
    let fleet = hub("");
    for missing in ["NODE_NAME", "OPERATOR", "ACCOUNTS", "MAX_FILE", "HUB_REMOTES"] {
        let mut node = Node::of(&fleet, "ws://127.0.0.1:9/leafnode", "");
        node.environment.remove(missing);
        node.start();
        assert!(!node.process.as_mut().unwrap().wait().unwrap().success());
        node.process = None;
        assert!(node.log().contains(&format!("variable reference for '{missing}'")), "{}", node.log());
    }
}

#[test]
fn what_cannot_be_the_image_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| {
        let arguments = [&["image", "--format", "json"], arguments].concat();
        let output = Fleet::command_in(directory.path(), &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        serde_json::from_slice::<Value>(&output.stderr).unwrap()["error"]["code"].as_str().unwrap().to_owned()
    };
    let script = directory.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let script = script.to_str().unwrap();
    let real = nats_server();
    let real = real.to_str().unwrap();
    assert_eq!(code(&["build", "--nats-server", script]), "WL1030");
    assert_eq!(code(&["build", "--nats-server", real, "--architecture", "arm64"]), "WL1030");
    assert_eq!(code(&["build", "--nats-server", "/nowhere"]), "WL1031");
    assert_eq!(code(&["build", "--ca-certificates", script]), "WL1032");
    assert_eq!(code(&["build", "--environment", "prod"]), "WL0445");
    assert_eq!(code(&["inspect"]), "WL1034");
    assert!(!directory.path().join(".windlass").exists(), "and nothing was made");
    command(&["build", "--tag", "a:1"], directory.path());
    assert_eq!(code(&["inspect", "b:1"]), "WL1035");
    assert_eq!(code(&["unpack", ".windlass"]), "WL1038");
    assert_eq!(code(&["push", "a:1"]), "WL1039");
    command(&["build", "--tag", "a:2"], directory.path());
    assert_eq!(code(&["unpack", "root"]), "WL0447");
}
