//! A real server in a directory of its own, on free ports, ended with the test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use windlass_nats::async_nats::Client;
use windlass_nats::config::Sync;
use windlass_nats::connect;
use windlass_nats::hub::{Hub, Options, Ports};
use windlass_nats::server::{Binary, Varz};

pub const GITHUB: &str = "GITHUB";

pub struct Server {
    pub hub: Hub,
    pub varz: Varz,
    child: Child,
}

pub fn binary() -> Binary {
    Binary::find().unwrap_or_else(|error| panic!("these tests need nats-server: {error}; {}", error.help()))
}

pub fn options(directory: &Path) -> Options {
    Options {
        directory: directory.to_owned(),
        fleet: "acme".to_owned(),
        cluster: "hub".to_owned(),
        host: Ipv4Addr::LOCALHOST.into(),
        ports: ports(),
        storage: 1 << 30,
        domain: Some("hub".to_owned()),
        sync: Sync::Every(Duration::from_secs(120)),
        max_payload: 1 << 20,
        accounts: vec![GITHUB.to_owned(), "OTHER".to_owned()],
        binary: binary(),
    }
}

pub fn ports() -> Ports {
    // Held together, so that the three differ.
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [client, websocket, monitor] = listeners.each_ref().map(|each| each.local_addr().unwrap().port());
    Ports { client, websocket, monitor }
}

pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_790_000_000).unwrap()
}

impl Server {
    pub async fn start(options: &Options) -> Self {
        let hub = Hub::prepare(options, now()).unwrap();
        let (program, arguments) = hub.command();
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap();
        let ready = hub.wait_ready(Duration::from_secs(20)).await;
        let varz = ready.unwrap_or_else(|error| {
            panic!("{error}\n{}", std::fs::read_to_string(hub.log_file()).unwrap_or_default())
        });
        Self { hub, varz, child }
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
        self.client(self.hub.admin_creds(GITHUB).unwrap()).await
    }

    pub async fn client(&self, creds: &Path) -> Client {
        connect::connect(&connect::Options::new(&self.hub.client_url(), creds, "test")).await.unwrap()
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
