//! The servers of one cluster: their ports, their configuration, and whether they are as they should be.
//!
//! The configuration is a pure function of the fleet, the ports and the authority's tokens. Accounts are not in it: they
//! are in each server's resolver directory and are pushed over the system account, so that a new account restarts
//! nothing.

use super::ports::{self, Choice, Chosen, Wish};
use super::{Options, authority, trouble};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use windlass_engine::Trouble;
use windlass_engine::wanted::{ADMIN, server_name};
use windlass_fleet::{Cluster, Fleet};
use windlass_nats::authority::Issued;
use windlass_nats::config::{
    self, JetStream, LeafNodes, LeafRemote, Log, Operator, Preload, Resolver, ServerConfig, Sync, Trust,
    Websocket,
};

const MEMORY: u64 = 256 << 20;
const LOG_SIZE: u64 = 64 << 20;
const LOG_FILES: u32 = 4;
/// How long clients have to go by themselves before they are sent away.
const LAME_DUCK_GRACE: Duration = Duration::from_secs(2);
const RESOLVER_INTERVAL: Duration = Duration::from_secs(120);

/// How long a leaf node waits before it joins again.
const LEAF_RECONNECT: Duration = Duration::from_secs(1);

/// What a server listens for, with its wish in the file.
const LISTENERS: [&str; 6] = ["client", "websocket", "monitor", "cluster", "gateway", "leaf"];

/// A server's configuration in its directory.
pub(super) const CONFIG: &str = "nats-server.conf";
/// The most servers that a cluster can have.
const LARGEST: u32 = 5;

/// A server's directory. The first one's is where a cluster of one has always had it.
pub(super) fn home(directory: &Path, cluster: &str, index: u32) -> PathBuf {
    let nats = directory.join("nats");
    if index == 0 { nats.join(cluster) } else { nats.join(server_name(cluster, index)) }
}

/// The cluster's servers, as they are to be.
#[derive(Clone, Debug)]
pub(super) struct Servers<'a> {
    options: &'a Options,
    name: &'a str,
    cluster: &'a Cluster,
    ports: Choice,
}

/// Where one server is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) part: String,
    pub(super) config: PathBuf,
    pub(super) home: PathBuf,
    pub(super) log: PathBuf,
    pub(super) resolver: PathBuf,
    pub(super) client: SocketAddr,
    pub(super) websocket: SocketAddr,
    pub(super) monitor: SocketAddr,
    pub(super) listens: Vec<SocketAddr>,
}

impl<'a> Servers<'a> {
    /// The servers on the ports that they had last, or would have if nothing else were on this machine.
    pub(super) fn known(options: &'a Options, name: &'a str, cluster: &'a Cluster) -> Self {
        let last: Choice = super::part::read(&options.directory.join("ports.json")).unwrap_or_default();
        let wishes = wishes(&options.fleet, name, cluster);
        let ports = wishes
            .into_iter()
            .map(|wish| {
                let chosen = last.get(&wish.part).filter(|last| last.wanted == wish.port).copied();
                let chosen = chosen.unwrap_or(Chosen { wanted: wish.port, port: wish.port });
                (wish.part, chosen)
            })
            .collect();
        Self { options, name, cluster, ports }
    }

    pub(super) fn count(&self) -> u32 {
        self.cluster.servers
    }

    /// How many of its servers have been made, also beyond those that it is to have.
    pub(super) fn exist(&self) -> usize {
        self.homes().filter(|home| home.join(CONFIG).is_file()).count()
    }

    /// Whether any of them holds streams.
    pub(super) fn hold_streams(&self) -> bool {
        self.homes().any(|home| {
            let accounts = std::fs::read_dir(home.join("jetstream")).into_iter().flatten().flatten();
            accounts.filter(|account| account.file_name() != "$SYS").any(|account| {
                std::fs::read_dir(account.path().join("streams")).is_ok_and(|mut all| all.next().is_some())
            })
        })
    }

    fn homes(&self) -> impl Iterator<Item = PathBuf> + use<'_> {
        (0..LARGEST).map(|index| home(&self.options.directory, self.name, index))
    }

    fn port(&self, index: u32, listener: &str) -> u16 {
        let part = format!("{}/{listener}", server_name(self.name, index));
        self.ports.get(&part).map_or(0, |chosen| chosen.port)
    }

    pub(super) fn place(&self, index: u32) -> Place {
        let part = server_name(self.name, index);
        let home = home(&self.options.directory, self.name, index);
        let host = self.cluster.host;
        let address = |listener| SocketAddr::new(host, self.port(index, listener));
        let monitor = SocketAddr::new(loopback(host), self.port(index, "monitor"));
        let mut listens = vec![address("client"), address("websocket"), monitor];
        for listener in ["cluster", "gateway", "leaf"] {
            if listens_for(listener, &self.options.fleet, self.name, self.cluster) {
                listens.push(address(listener));
            }
        }
        Place {
            config: home.join(CONFIG),
            log: self.options.directory.join("log").join(format!("nats-{part}.log")),
            resolver: home.join("accounts"),
            client: SocketAddr::new(reachable(host), self.port(index, "client")),
            websocket: SocketAddr::new(reachable(host), self.port(index, "websocket")),
            monitor,
            listens,
            home,
            part,
        }
    }

    /// Over how many seconds a server sends its clients away before another process takes its place. One alone is just
    /// ended: nobody else would take them.
    pub(super) fn drain(&self) -> Option<u64> {
        (self.cluster.servers > 1).then(|| self.cluster.lame_duck.duration().as_secs())
    }

    /// The version of nats-server that the file wants, if it wants one.
    pub(super) fn version(&self) -> Option<&str> {
        self.cluster.version.as_ref().map(windlass_fleet::Version::as_str)
    }

    /// Those that join this server, and those that it joins: one link for each account.
    fn leaf_nodes(&self, index: u32) -> Option<LeafNodes> {
        let fleet = &self.options.fleet;
        let listen = listens_for("leaf", fleet, self.name, self.cluster)
            .then(|| SocketAddr::new(self.cluster.host, self.port(index, "leaf")));
        let hub = self.cluster.leaf_of.as_ref().and_then(|hub| fleet.clusters.get_key_value(hub.as_str()));
        let mut remotes = Vec::new();
        if let Some((name, cluster)) = hub {
            let hub = Servers::known(self.options, name.as_str(), cluster);
            let url = |index| {
                let address = SocketAddr::new(reachable(cluster.host), hub.port(index, "leaf"));
                format!("nats-leaf://{address}")
            };
            let urls: Vec<String> = (0..hub.count()).map(url).collect();
            for account in windlass_engine::wanted::accounts(fleet) {
                remotes.push(LeafRemote {
                    urls: urls.clone(),
                    account: authority::known_account(self.options, account),
                    credentials: Some(authority::creds_file(self.options, account, ADMIN)),
                });
            }
        }
        let joins = listen.is_some() || !remotes.is_empty();
        joins.then_some(LeafNodes { listen, tls: None, remotes, reconnect: Some(LEAF_RECONNECT) })
    }

    /// The configuration's text.
    pub(super) fn config(&self, index: u32, operator: &str, system: &Issued) -> String {
        let place = self.place(index);
        let cluster = self.cluster;
        let mut config = ServerConfig::new(&format!("{}-{}", self.options.fleet.name(), place.part));
        config.comment = vec![
            format!(
                "Server {} of cluster {:?} in fleet {:?}, written by Windlass.",
                index,
                self.name,
                self.options.fleet.name()
            ),
            "Changes made here are overwritten: change the fleet file instead.".to_owned(),
        ];
        config.listen = SocketAddr::new(cluster.host, place.client.port());
        config.monitor = Some(place.monitor);
        config.websocket = Some(Websocket {
            listen: SocketAddr::new(cluster.host, place.websocket.port()),
            tls: None,
            same_origin: false,
            allowed_origins: Vec::new(),
            compression: false,
        });
        config.jetstream = Some(JetStream {
            store_dir: place.home.clone(),
            max_file_store: cluster.jetstream.storage.get(),
            max_memory_store: MEMORY,
            domain: cluster.jetstream.domain.as_ref().map(|domain| domain.as_str().to_owned()),
            sync: Some(match cluster.jetstream.sync {
                windlass_fleet::Sync::Every(period) => Sync::Every(period.duration()),
                windlass_fleet::Sync::Always => Sync::Always,
            }),
        });
        config.cluster = (cluster.servers > 1).then(|| config::Cluster {
            name: self.name.to_owned(),
            listen: SocketAddr::new(cluster.host, self.port(index, "cluster")),
            advertise: None,
            routes: (0..cluster.servers)
                .filter(|other| *other != index)
                .map(|other| {
                    let address = SocketAddr::new(reachable(cluster.host), self.port(other, "cluster"));
                    format!("nats://{address}")
                })
                .collect(),
            tls: None,
        });
        config.leafnodes = self.leaf_nodes(index);
        config.max_payload = Some(cluster.max_payload.get());
        config.max_connections = cluster.max_connections;
        config.lame_duck_duration = Some(cluster.lame_duck.duration());
        config.lame_duck_grace_period = Some(LAME_DUCK_GRACE);
        config.pid_file = Some(place.home.join("nats-server.pid"));
        config.log = Some(Log { file: place.log, size_limit: Some(LOG_SIZE), keep: Some(LOG_FILES) });
        config.trust = Some(Trust {
            operator: Operator::Inline(operator.to_owned()),
            system_account: system.public_key.clone(),
            resolver: Resolver::Full {
                directory: place.resolver,
                allow_delete: true,
                interval: RESOLVER_INTERVAL,
            },
            preload: vec![Preload {
                name: windlass_nats::keys::SYSTEM_ACCOUNT.to_owned(),
                public_key: system.public_key.clone(),
                token: system.token.clone(),
            }],
        });
        config.render()
    }
}

/// Chooses the ports of everything that is to listen on this machine, and remembers them. What runs keeps its own.
pub(super) fn choose(
    options: &Options,
    runs: &dyn Fn(&str) -> bool,
    reservations: &mut ports::Reservations,
) -> Result<Vec<String>, Trouble> {
    let path = options.directory.join("ports.json");
    let last: Choice = super::part::read(&path).unwrap_or_default();
    let (wishes, hosts): (Vec<Wish>, Vec<IpAddr>) = all_wishes(&options.fleet).into_iter().unzip();
    let choice = ports::choose(&wishes, &last, |index, port| {
        let wish = &wishes[index];
        let owner = wish.part.split('/').next().unwrap_or_default();
        let its_own = last.get(&wish.part).is_some_and(|last| last.port == port && last.wanted == wish.port);
        (its_own && runs(owner)) || reservations.take(hosts[index], port)
    })
    .map_err(|error| Trouble::new("WL0405", error.to_string(), "write another port in the fleet file"))?;
    std::fs::create_dir_all(&options.directory).map_err(|error| trouble("make the directory", &error))?;
    super::part::write(&path, &choice).map_err(|error| trouble("write ports.json", &error))?;
    Ok(ports::told(&choice))
}

/// Every port that the fleet wishes for on this machine, with the address that it is on.
pub(super) fn all_wishes(fleet: &Fleet) -> Vec<(Wish, IpAddr)> {
    let mut wished: Vec<(Wish, IpAddr)> = Vec::new();
    let here = |cluster: &&Cluster| cluster.platform == windlass_fleet::PlatformName::SelfHosted;
    for (name, cluster) in fleet.clusters.iter().filter(|(_, cluster)| here(cluster)) {
        for wish in wishes(fleet, name.as_str(), cluster) {
            let host = if wish.part.ends_with("/monitor") { loopback(cluster.host) } else { cluster.host };
            wished.push((wish, host));
        }
    }
    if let Some(github) = &fleet.github {
        let wish = Wish { part: super::receiver::PART.to_owned(), port: github.listen.port() };
        wished.push((wish, github.listen.ip()));
    }
    wished
}

/// Whether the cluster's servers listen for this at all.
fn listens_for(listener: &str, fleet: &Fleet, name: &str, cluster: &Cluster) -> bool {
    match listener {
        "cluster" => cluster.servers > 1,
        "gateway" => cluster.super_cluster,
        "leaf" => fleet.is_joined(name),
        _ => true,
    }
}

fn wishes(fleet: &Fleet, name: &str, cluster: &Cluster) -> Vec<Wish> {
    let base: BTreeMap<&str, u16> = BTreeMap::from([
        ("client", cluster.ports.client),
        ("websocket", cluster.ports.websocket),
        ("monitor", cluster.ports.monitor),
        ("cluster", cluster.ports.cluster),
        ("gateway", cluster.ports.gateway),
        ("leaf", cluster.ports.leaf),
    ]);
    let mut wishes = Vec::new();
    for index in 0..cluster.servers {
        for listener in LISTENERS.into_iter().filter(|one| listens_for(one, fleet, name, cluster)) {
            let port = base.get(listener).map_or(0, |base| base.saturating_add(index as u16));
            wishes.push(Wish { part: format!("{}/{listener}", server_name(name, index)), port });
        }
    }
    wishes
}

/// Where something on this machine that listens on `host` is reached from this machine.
pub(super) fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

fn loopback(host: IpAddr) -> IpAddr {
    if host.is_loopback() { host } else { Ipv4Addr::LOCALHOST.into() }
}
