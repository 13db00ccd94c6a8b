//! One hub server, from nothing to ready: identities, configuration, streams.
//!
//! [`Hub::prepare`] writes everything that the server needs and lets nats-server itself check it; whoever supervises
//! processes then runs [`Hub::command`], and [`Hub::wait_ready`] proves that the server which answers is this one and
//! runs this configuration. Preparing again with the same input changes no file, and what identifies the data (keys,
//! names, the store's directory) does not depend on ports.
//!
//! ```text
//! <directory>/keys, jwt, creds                  see `authority`
//! <directory>/nats/<cluster>/nats-server.conf   nats-server.pid   jetstream/
//! <directory>/log/nats-<cluster>.log
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::authority::{AccountTerms, Authority};
use crate::config::{
    self, JetStream, Log, Operator, Preload, Resolver, ServerConfig, Sync, Trust, Websocket,
};
use crate::jwt::Permissions;
use crate::keys::SYSTEM_ACCOUNT;
use crate::permissions::receiver;
pub use crate::permissions::{EVENT_STREAM, EVENT_SUBJECTS, PAYLOAD_BUCKET};
use crate::server::{Binary, Health, Monitor, Varz};
use crate::stream::{self, Change, ObjectBucketSpec, Spec, StreamSpec};
use crate::{Error, connect, files, names};

const ADMIN: &str = "admin";
const RECEIVER: &str = "receiver";
const MEMORY: u64 = 256 << 20;
const LOG_SIZE: u64 = 64 << 20;
const LOG_FILES: u32 = 4;
/// The shortest that the server takes.
const LAME_DUCK: Duration = Duration::from_secs(30);

/// What the hub should be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of everything, usually `.windlass`.
    pub directory: PathBuf,
    /// The fleet's name.
    pub fleet: String,
    /// The cluster's name.
    pub cluster: String,
    /// The address that clients connect to. The monitoring endpoint stays on loopback.
    pub host: IpAddr,
    /// The ports.
    pub ports: Ports,
    /// Bytes that streams may use on disk.
    pub storage: u64,
    /// The JetStream domain.
    pub domain: Option<String>,
    /// When the disk is asked to make messages durable.
    pub sync: Sync,
    /// Largest message in bytes.
    pub max_payload: u64,
    /// The accounts, without the system account.
    pub accounts: Vec<String>,
    /// The program.
    pub binary: Binary,
}

/// Where the hub listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Clients.
    pub client: u16,
    /// Clients over WebSocket.
    pub websocket: u16,
    /// The monitoring endpoint.
    pub monitor: u16,
}

#[derive(Debug, Clone)]
struct Account {
    public_key: String,
    admin: PathBuf,
    receiver: Option<PathBuf>,
}

/// A hub that is ready to be started.
#[derive(Debug, Clone)]
pub struct Hub {
    binary: Binary,
    fleet: String,
    server_name: String,
    config_file: PathBuf,
    config_digest: String,
    log_file: PathBuf,
    pid_file: PathBuf,
    client: SocketAddr,
    websocket: SocketAddr,
    monitor: Monitor,
    accounts: BTreeMap<String, Account>,
}

impl Hub {
    /// Writes what the server needs and lets nats-server check it. `now` is the time of issue of new tokens.
    ///
    /// # Errors
    /// When a name cannot be used, a file cannot be read or written, or nats-server refuses the configuration.
    pub fn prepare(options: &Options, now: Timestamp) -> Result<Self, Error> {
        names::check("cluster", &options.cluster)?;
        if let Some(domain) = &options.domain {
            names::check("domain", domain)?;
        }
        let directory =
            std::path::absolute(&options.directory).map_err(Error::io("find", &options.directory))?;
        let authority = Authority::open(&directory, &options.fleet, now.as_second())?;
        let home = directory.join("nats").join(&options.cluster);
        authority.check_data(&home.join("jetstream"))?;
        let operator = authority.operator()?;
        let mut accounts = BTreeMap::new();
        let mut preload = Vec::new();
        for name in std::iter::once(SYSTEM_ACCOUNT).chain(options.accounts.iter().map(String::as_str)) {
            if accounts.contains_key(name) {
                let reason = "it is there twice, or is the system account's";
                return Err(Error::Name { kind: "account", name: name.to_owned(), reason });
            }
            let issued = authority.account(name, &AccountTerms::default())?;
            let admin = authority.user(name, ADMIN, &Permissions::everything())?;
            let receiver = (name != SYSTEM_ACCOUNT)
                .then(|| authority.user(name, RECEIVER, &receiver(EVENT_STREAM, PAYLOAD_BUCKET)))
                .transpose()?;
            let public_key = issued.public_key.clone();
            accounts.insert(name.to_owned(), Account { public_key, admin, receiver });
            preload.push(Preload {
                name: name.to_owned(),
                public_key: issued.public_key,
                token: issued.token,
            });
        }
        let system_account = accounts[SYSTEM_ACCOUNT].public_key.clone();

        let logs = directory.join("log");
        files::create_directory(&home)?;
        files::create_directory(&logs)?;
        let paths = Paths {
            pid: home.join("nats-server.pid"),
            log: logs.join(format!("nats-{}.log", options.cluster)),
            home,
        };
        let trust = Trust {
            operator: Operator::Inline(operator.token),
            system_account,
            resolver: Resolver::Memory,
            preload,
        };
        let config = configuration(options, &paths, trust);
        let config_file = paths.home.join("nats-server.conf");
        files::write(&config_file, config.render().as_bytes())?;
        let config_digest = config::check(&options.binary, &config_file)?;
        Ok(Self {
            binary: options.binary.clone(),
            fleet: options.fleet.clone(),
            server_name: config.server_name,
            config_file,
            config_digest,
            log_file: paths.log,
            pid_file: paths.pid,
            client: SocketAddr::new(reachable(options.host), options.ports.client),
            websocket: SocketAddr::new(reachable(options.host), options.ports.websocket),
            monitor: Monitor::new(SocketAddr::new(loopback(options.host), options.ports.monitor)),
            accounts,
        })
    }

    /// The program and its arguments.
    #[must_use]
    pub fn command(&self) -> (PathBuf, Vec<OsString>) {
        (self.binary.path.clone(), vec!["--config".into(), self.config_file.clone().into_os_string()])
    }

    /// Where clients on this machine connect.
    #[must_use]
    pub fn client_url(&self) -> String {
        format!("nats://{}", self.client)
    }

    /// Where clients on this machine connect over WebSocket.
    #[must_use]
    pub fn websocket_url(&self) -> String {
        format!("ws://{}", self.websocket)
    }

    /// The monitoring endpoint.
    #[must_use]
    pub fn monitor_url(&self) -> String {
        self.monitor.url()
    }

    /// The monitoring endpoint, to ask it things.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.monitor
    }

    /// Where the server logs.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// Where the server writes its process id.
    #[must_use]
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// The configuration's digest, as the running server shows it.
    #[must_use]
    pub fn config_digest(&self) -> &str {
        &self.config_digest
    }

    /// The server's name.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// An account's public key, also of the system account.
    #[must_use]
    pub fn account_key(&self, account: &str) -> Option<&str> {
        self.accounts.get(account).map(|account| account.public_key.as_str())
    }

    /// Credentials that may publish and read everything of the account.
    #[must_use]
    pub fn admin_creds(&self, account: &str) -> Option<&Path> {
        self.accounts
            .get(account)
            .filter(|_| account != SYSTEM_ACCOUNT)
            .map(|account| account.admin.as_path())
    }

    /// Credentials for the webhook receiver of the account: see [`receiver`](crate::permissions::receiver).
    #[must_use]
    pub fn receiver_creds(&self, account: &str) -> Option<&Path> {
        self.accounts.get(account)?.receiver.as_deref()
    }

    /// Credentials of the system account: monitoring and control of the servers.
    #[must_use]
    pub fn system_creds(&self) -> &Path {
        &self.accounts[SYSTEM_ACCOUNT].admin
    }

    /// Waits until this server, with this configuration, takes clients and JetStream is on.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn wait_ready(&self, within: Duration) -> Result<Varz, Error> {
        let is_it = |varz: &Varz| {
            if varz.server_name != self.server_name {
                return Err(format!("the server {:?} has the monitoring port", varz.server_name));
            }
            if varz.config_digest.as_deref() != Some(self.config_digest.as_str()) {
                return Err("the server runs with another configuration".to_owned());
            }
            Ok(())
        };
        let ready = self.monitor.wait_ready(within, Health::JetStreamEnabled, is_it).await;
        ready.map_err(|error| match error {
            Error::NotReady { within, reason, .. } => {
                Error::NotReady { within, reason, log: Some(self.log_file.clone()) }
            }
            other => other,
        })
    }

    /// Makes the account's streams and buckets what they should be; see [`stream::ensure`].
    ///
    /// # Errors
    /// When there is no such account, the server cannot be reached, or [`stream::ensure`] refuses.
    pub async fn ensure(
        &self,
        account: &str,
        streams: &[StreamSpec],
        buckets: &[ObjectBucketSpec],
    ) -> Result<Vec<Change>, Error> {
        let Some(creds) = self.admin_creds(account) else {
            let known = self.accounts.keys().filter(|name| *name != SYSTEM_ACCOUNT).cloned().collect();
            return Err(Error::UnknownAccount { account: account.to_owned(), known });
        };
        let options = connect::Options::new(&self.client_url(), creds, "windlass");
        let client = connect::connect(&options).await?;
        let specs: Vec<Spec> =
            streams.iter().cloned().map(Spec::from).chain(buckets.iter().cloned().map(Spec::from)).collect();
        stream::ensure(&client, &self.fleet, &specs).await
    }
}

struct Paths {
    home: PathBuf,
    pid: PathBuf,
    log: PathBuf,
}

fn configuration(options: &Options, paths: &Paths, trust: Trust) -> ServerConfig {
    let at = |host, port| SocketAddr::new(host, port);
    let mut config = ServerConfig::new(&format!("{}-{}-0", options.fleet, options.cluster));
    config.comment = vec![
        format!(
            "The server of cluster {:?} in fleet {:?}, written by Windlass.",
            options.cluster, options.fleet
        ),
        "Changes made here are overwritten: change the fleet file instead.".to_owned(),
    ];
    config.listen = at(options.host, options.ports.client);
    config.monitor = Some(at(loopback(options.host), options.ports.monitor));
    config.websocket = Some(Websocket {
        listen: at(options.host, options.ports.websocket),
        tls: None,
        same_origin: false,
        allowed_origins: Vec::new(),
        compression: false,
    });
    config.jetstream = Some(JetStream {
        // The server keeps everything in `jetstream/` below this.
        store_dir: paths.home.clone(),
        max_file_store: options.storage,
        max_memory_store: MEMORY,
        domain: options.domain.clone(),
        sync: Some(options.sync),
    });
    config.max_payload = Some(options.max_payload);
    config.lame_duck_duration = Some(LAME_DUCK);
    config.pid_file = Some(paths.pid.clone());
    config.log = Some(Log { file: paths.log.clone(), size_limit: Some(LOG_SIZE), keep: Some(LOG_FILES) });
    config.trust = Some(trust);
    config
}

/// Where something on this machine that listens on `host` is reached from this machine.
fn reachable(host: IpAddr) -> IpAddr {
    if !host.is_unspecified() {
        return host;
    }
    match host {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn loopback(host: IpAddr) -> IpAddr {
    if host.is_loopback() { host } else { Ipv4Addr::LOCALHOST.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_monitored_and_anywhere_is_reached_here() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for (host, monitor, reached) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("127.0.0.9", "127.0.0.9", "127.0.0.9"),
            ("0.0.0.0", "127.0.0.1", "127.0.0.1"),
            ("::", "127.0.0.1", "::1"),
            ("10.0.0.5", "127.0.0.1", "10.0.0.5"),
        ] {
            assert_eq!(loopback(address(host)), address(monitor), "{host}");
            assert_eq!(reachable(address(host)), address(reached), "{host}");
        }
    }
}
