//! A fleet with an edge, and the stand-in for Cloudflare that its commands speak to.

use crate::cloudflare::{ACCOUNT, TOKEN};
use crate::{Fleet, edge, free_port, repository, tools};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use windlass_sandbox::cloudflare::api;
use windlass_sandbox::cloudflare::engine::{Config, Image, Images};

/// The nats-server that edge nodes run here.
pub const VERSION: &str = "2.15.1";

/// A stand-in.
pub struct Sandbox {
    /// It.
    pub api: api::Handle,
    /// Where it keeps everything.
    pub directory: TempDir,
}

impl Sandbox {
    /// Starts one that runs the Workers that are uploaded; `None` where the test is to be skipped.
    pub async fn start() -> Option<Self> {
        let workerd = edge::workerd_binary()?;
        let directory =
            tempfile::Builder::new().prefix("windlass-cloudflare-").tempdir().expect("a directory");
        let images = Images::new();
        let options = api::Options {
            images: images.clone(),
            workerd: Some(workerd),
            account: Some(api::Account { id: ACCOUNT.to_owned(), token: TOKEN.to_owned().into() }),
            ..api::Options::new(directory.path().join("cloudflare"))
        };
        let api = api::start(options).await.expect("the stand-in starts");
        let account = &api.addresses().account.id;
        let reference = format!("registry.cloudflare.com/{account}/windlass-nats:{VERSION}");
        images.insert(&reference, node_image(&directory.path().join("image")));
        Some(Self { api, directory })
    }

    /// The account's identifier.
    pub fn account(&self) -> &str {
        &self.api.addresses().account.id
    }

    /// A fleet of a hub and an edge, whose commands speak to this stand-in. Nothing is applied.
    pub fn fleet(&self) -> Fleet {
        self.fleet_with(self.api.token())
    }

    /// The same, with another token.
    pub fn fleet_with(&self, token: &str) -> Fleet {
        let addresses = self.api.addresses();
        let fleet = Fleet::with()
            .env("CLOUDFLARE_API_BASE_URL", &addresses.api_url)
            .env("CLOUDFLARE_WORKER_URL", &addresses.worker_url)
            .env("CLOUDFLARE_ACCOUNT_ID", self.account())
            .env("CLOUDFLARE_API_TOKEN", token)
            .prepare();
        fleet.write(&file());
        fleet
    }

    /// Puts bytes somewhere, as any client would.
    pub async fn put(&self, path: &str, body: &str) -> Value {
        let url = format!("{}/accounts/{}/{path}", self.api.addresses().api_url, self.account());
        let request = crate::http_client().put(url).bearer_auth(self.api.token()).body(body.to_owned());
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// Asks the API itself, as any client would.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/accounts/{}/{path}", self.api.addresses().api_url, self.account());
        let method = method.parse().expect("a method");
        let mut request = crate::http_client().request(method, url).bearer_auth(self.api.token());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let text = answer.text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

/// The fleet file.
pub fn file() -> String {
    let [client, websocket, monitor, leaf, listen] = std::array::from_fn(|_| free_port());
    format!(
        r#"[fleet]
name = "test"

[platforms.cloudflare]
account_id = {{ env = "CLOUDFLARE_ACCOUNT_ID" }}
api_token = {{ env = "CLOUDFLARE_API_TOKEN" }}

[clusters.hub]
ports = {{ client = {client}, websocket = {websocket}, monitor = {monitor}, leaf = {leaf} }}
jetstream = {{ storage = "1GiB", domain = "hub" }}

[clusters.edge]
platform = "cloudflare"
leaf_of = "hub"
jetstream = {{ storage = "64MiB", domain = "edge" }}
regions = {{ weur = {{ min = 1, max = 2 }}, enam = {{ min = 0, max = 2 }} }}
instance = "lite"

[streams.GITHUB]
cluster = "hub"
subjects = ["github.>"]

[github]
receive_at = "edge"
listen = "127.0.0.1:{listen}"
"#
    )
}

/// The image of a node, made by hand: nats-server, and the configuration of the real one.
fn node_image(root: &Path) -> Image {
    fs::create_dir_all(root.join("etc/nats")).expect("a directory");
    std::os::unix::fs::symlink(tools::nats_server(), root.join("nats-server")).expect("a link");
    let configuration = fs::read_to_string(repository().join("containers/nats/nats-server.conf"));
    fs::write(root.join("etc/nats/nats-server.conf"), configuration.expect("a configuration"))
        .expect("a file");
    let environment = ["every", "development"].map(|name| {
        let path = repository().join(format!("containers/nats/environments/{name}.env"));
        fs::read_to_string(path).expect("an environment")
    });
    let lines = environment.iter().flat_map(|text| text.lines());
    let env = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Image {
        root: root.to_owned(),
        config: Config {
            env,
            entrypoint: words("/nats-server"),
            cmd: words("-c /etc/nats/nats-server.conf"),
            user: "65532".to_owned(),
        },
    }
}
