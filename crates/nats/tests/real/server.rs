//! A real server in a directory of its own, on free ports, ended with the test. Its identities and its configuration are
//! made as the self-hosted platform makes them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use windlass_nats::async_nats::Client;
use windlass_nats::authority::{AccountTerms, Authority, Issued};
use windlass_nats::config::{
    self, JetStream, Log, Operator, Preload, Resolver, ServerConfig, Sync, Trust, Websocket,
};
use windlass_nats::jwt::Permissions;
use windlass_nats::permissions::receiver;
use windlass_nats::server::{Binary, Health, Monitor, Varz};
use windlass_nats::{Error, connect};

pub const GITHUB: &str = "GITHUB";
pub const PAYLOADS: &str = "GITHUB_PAYLOADS";
pub const NAME: &str = "acme-hub-0";

pub fn binary() -> Binary {
    Binary::find().unwrap_or_else(|error| panic!("these tests need nats-server: {error}; {}", error.help()))
}

/// Everything that a server needs, written down and not started.
#[derive(Clone, Debug)]
pub struct Setup {
    pub directory: PathBuf,
    pub config: ServerConfig,
    pub system: Issued,
    pub admin: PathBuf,
    pub receiver: PathBuf,
    pub other: PathBuf,
    pub system_admin: PathBuf,
}

impl Setup {
    pub fn new(directory: &Path) -> Self {
        let authority = Authority::open(directory, "acme", 1_790_000_000).unwrap();
        let operator = authority.operator().unwrap();
        let terms = AccountTerms::default();
        let issue = |name: &str| authority.account(name, &terms).unwrap();
        let system = issue("SYS");
        let preload = ["SYS", GITHUB, "OTHER"].map(|name| {
            let issued = issue(name);
            Preload { name: name.to_owned(), public_key: issued.public_key, token: issued.token }
        });
        let admin = |account: &str| authority.user(account, "admin", &Permissions::everything()).unwrap();
        let home = directory.join("nats/hub");
        std::fs::create_dir_all(&home).unwrap();
        // Held together, so that the three differ.
        let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [client, websocket, monitor] = listeners.each_ref().map(|each| each.local_addr().unwrap());
        let mut config = ServerConfig::new(NAME);
        config.listen = client;
        config.monitor = Some(monitor);
        config.websocket = Some(Websocket {
            listen: websocket,
            tls: None,
            same_origin: false,
            allowed_origins: Vec::new(),
            compression: false,
        });
        config.jetstream = Some(JetStream {
            store_dir: home.clone(),
            max_file_store: 1 << 30,
            max_memory_store: 256 << 20,
            domain: Some("hub".to_owned()),
            sync: Some(Sync::Every(Duration::from_secs(120))),
        });
        config.max_payload = Some(1 << 20);
        config.lame_duck_duration = Some(Duration::from_secs(30));
        config.pid_file = Some(home.join("nats-server.pid"));
        config.log = Some(Log { file: directory.join("nats-hub.log"), size_limit: None, keep: None });
        config.trust = Some(Trust {
            operator: Operator::Inline(operator.token),
            system_account: system.public_key.clone(),
            resolver: Resolver::Memory,
            preload: preload.into(),
        });
        Self {
            directory: directory.to_owned(),
            admin: admin(GITHUB),
            receiver: authority.user(GITHUB, "receiver", &receiver(GITHUB, PAYLOADS)).unwrap(),
            other: admin("OTHER"),
            system_admin: admin("SYS"),
            system,
            config,
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.join("nats/hub/nats-server.conf")
    }

    /// Writes the configuration, and has nats-server check it: its digest.
    pub fn write(&self) -> Result<String, Error> {
        std::fs::write(self.file(), self.config.render()).unwrap();
        config::check(&binary(), &self.file())
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.config.listen)
    }

    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.config.monitor.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("nats-hub.log")).unwrap_or_default()
    }

    /// Waits for a server with this name and this configuration.
    pub async fn ready(&self, digest: &str, within: Duration) -> Result<Varz, Error> {
        let is_it = |varz: &Varz| match varz.config_digest.as_deref() == Some(digest) {
            true if varz.server_name == NAME => Ok(()),
            true => Err("another server".to_owned()),
            false => Err("another configuration".to_owned()),
        };
        self.monitor().wait_ready(within, Health::JetStreamEnabled, is_it).await
    }
}

pub struct Server {
    pub setup: Setup,
    pub varz: Varz,
    child: Child,
}

impl Server {
    pub async fn start(setup: Setup) -> Self {
        let digest = setup.write().unwrap();
        let mut command = Command::new(binary().path);
        command.arg("--config").arg(setup.file()).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let ready = setup.ready(&digest, Duration::from_secs(20)).await;
        let varz = ready.unwrap_or_else(|error| panic!("{error}\n{}", setup.log()));
        Self { setup, varz, child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub async fn admin(&self) -> Client {
        self.client(&self.setup.admin).await
    }

    pub async fn client(&self, creds: &Path) -> Client {
        connect::connect(&connect::Options::new(&self.setup.url(), creds, "test")).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Waits until the server has handled what this client sent before: `flush` alone only empties our own buffer.
pub async fn settle(client: &Client) {
    client.request("$JS.API.INFO", "".into()).await.unwrap();
}
