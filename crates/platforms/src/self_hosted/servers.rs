//! The servers of one cluster: their ports, their configuration, and whether they are as they should be.
//!
//! The configuration is a pure function of the fleet, the ports and the authority's tokens. Accounts are not in it: they
//! are in each server's resolver directory and are pushed over the system account, so that a new account restarts
//! nothing.

use super::part::Loaded;
use super::ports::{self, Choice, Chosen, Wish};
use super::{Options, authority, trouble};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use windlass_engine::Trouble;
use windlass_engine::wanted::{ADMIN, server_name};
use windlass_fleet::{Cluster, Fleet, HostName, PlatformName, TlsUse};
use windlass_nats::authority::Issued;
use windlass_nats::certificates::Certificates;
use windlass_nats::config::{
    self, Gateway, JetStream, LeafNodes, LeafRemote, Log, Operator, Preload, Resolver, ServerConfig, Sync,
    Tls, Trust, Websocket,
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
    /// Where it shows its certificate, if it listens with TLS at all; and whether it greets in plain text before.
    pub(super) shows: Option<(SocketAddr, bool)>,
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
        let between = ["cluster", "gateway", "leaf"].into_iter();
        let between = between.filter(|one| listens_for(one, &self.options.fleet, self.name, self.cluster));
        let between: Vec<(&str, SocketAddr)> = between.map(|one| (one, address(one))).collect();
        let here = |address: SocketAddr| SocketAddr::new(reachable(address.ip()), address.port());
        let shows = match self.cluster.tls {
            TlsUse::None => None,
            TlsUse::Servers => between.first().map(|(listener, at)| (here(*at), *listener == "leaf")),
            TlsUse::All => Some((here(address("client")), true)),
        };
        listens.extend(between.into_iter().map(|(_, address)| address));
        Place {
            config: home.join(CONFIG),
            log: self.options.directory.join("log").join(format!("nats-{part}.log")),
            resolver: home.join("accounts"),
            client: SocketAddr::new(reachable(host), self.port(index, "client")),
            websocket: SocketAddr::new(reachable(host), self.port(index, "websocket")),
            monitor,
            listens,
            shows,
            home,
            part,
        }
    }

    /// Whether clients come in with TLS.
    pub(super) fn encrypts_clients(&self) -> bool {
        self.cluster.tls == TlsUse::All
    }

    fn hub(&self) -> Option<(&'a str, &'a Cluster)> {
        let name = self.cluster.leaf_of.as_ref()?;
        let (name, cluster) = self.options.fleet.clusters.get_key_value(name.as_str())?;
        Some((name.as_str(), cluster))
    }

    /// Whether its servers need certificates: to show them to who comes in, or to the cluster that they join.
    pub(super) fn needs_certificates(&self) -> bool {
        let hub = self.hub().map(|(_, hub)| hub.tls);
        self.cluster.tls != TlsUse::None || hub.is_some_and(|tls| tls != TlsUse::None)
    }

    /// The names and addresses that a server's certificate is for.
    pub(super) fn certificate_names(&self, index: u32) -> Vec<String> {
        let mut names = vec![
            "localhost".to_owned(),
            Ipv4Addr::LOCALHOST.to_string(),
            std::net::Ipv6Addr::LOCALHOST.to_string(),
            format!("{}-{}", self.options.fleet.name(), server_name(self.name, index)),
        ];
        let host = self.cluster.host;
        if !host.is_unspecified() && !names.contains(&host.to_string()) {
            names.push(host.to_string());
        }
        names.extend(self.cluster.host_names.iter().map(HostName::as_str).map(str::to_owned));
        names
    }

    fn tls(&self, part: &str, verify: bool) -> Tls {
        let certificates = self.certificates();
        let certificate = certificates.server_file(part);
        Tls { key: certificate.clone(), certificate, authority: Some(certificates.authority_file()), verify }
    }

    fn certificates(&self) -> Certificates {
        Certificates::at(&self.options.directory, self.options.fleet.name())
    }

    /// The authorities that clients check its servers against, if they come in with TLS.
    pub(super) fn authority(&self) -> Option<PathBuf> {
        self.encrypts_clients().then(|| self.certificates().authority_file())
    }

    /// Sees that a server has a good certificate, if it needs one, and gives the digest of what it is to read.
    pub(super) fn make_certificates(&self, index: u32) -> Result<String, Trouble> {
        if !self.needs_certificates() {
            return Ok(String::new());
        }
        let (part, names) = (server_name(self.name, index), self.certificate_names(index));
        let made = self.certificates().ensure_server(&part, &names, jiff::Timestamp::now());
        made.map_err(super::from_nats)?;
        Ok(self.certificates_digest(&part))
    }

    fn certificates_digest(&self, part: &str) -> String {
        let certificates = self.certificates();
        [certificates.server_file(part), certificates.authority_file()]
            .map(|path| content_digest(&path))
            .join(" ")
    }

    /// What is wrong with a server's certificate, on disk or as the server shows it; nothing is made.
    pub(super) async fn certificate_trouble(&self, index: u32, loaded: Option<&Loaded>) -> Option<String> {
        if !self.needs_certificates() {
            return None;
        }
        let place = self.place(index);
        let (certificates, names) = (self.certificates(), self.certificate_names(index));
        match certificates.lacks(&place.part, &names, jiff::Timestamp::now()) {
            Ok(None) => {}
            Ok(Some(reason)) => return Some(reason),
            Err(error) => return Some(error.to_string()),
        }
        let loaded = loaded?;
        if loaded.certificates != self.certificates_digest(&place.part) {
            return Some(
                "it has not read its certificate, or who is trusted, since that was changed".to_owned(),
            );
        }
        self.shows(&place).await.err()
    }

    /// Whether a server shows the certificate that is on the disk.
    pub(super) async fn shows(&self, place: &Place) -> Result<(), String> {
        let Some((address, greets)) = place.shows else { return Ok(()) };
        let certificates = self.certificates();
        match windlass_nats::server::certificate(address, greets, &certificates.authority_file()).await {
            Ok(shown) if Some(&shown) == certificates.on_disk(&place.part).as_ref() => Ok(()),
            Ok(_) => Err("it shows another certificate than the one on the disk".to_owned()),
            Err(error) => Err(format!("it shows no certificate that is trusted: {error}")),
        }
    }

    /// What the servers of a super-cluster have in common: every cluster of it on this platform, this one included. A
    /// cluster that is none has itself alone.
    pub(super) fn system(&self) -> Vec<Servers<'a>> {
        let fleet = &self.options.fleet;
        let of_it = |cluster: &Cluster| cluster.super_cluster && cluster.platform == PlatformName::SelfHosted;
        if !self.cluster.super_cluster {
            return vec![self.clone()];
        }
        let members = fleet.clusters.iter().filter(|(_, cluster)| of_it(cluster));
        members.map(|(name, cluster)| Servers::known(self.options, name.as_str(), cluster)).collect()
    }

    fn gateway(&self, index: u32, tls: Option<Tls>) -> Option<Gateway> {
        if !self.cluster.super_cluster {
            return None;
        }
        let others = self.system().into_iter().filter(|other| other.name != self.name);
        let urls = |other: &Servers<'_>| {
            let url = |index| {
                let address = SocketAddr::new(reachable(other.cluster.host), other.port(index, "gateway"));
                format!("nats://{address}")
            };
            (0..other.count()).map(url).collect()
        };
        Some(Gateway {
            name: self.name.to_owned(),
            listen: SocketAddr::new(self.cluster.host, self.port(index, "gateway")),
            remotes: others.map(|other| (other.name.to_owned(), urls(&other))).collect(),
            tls,
        })
    }

    /// Over how many seconds a server sends its clients away before another process takes its place. One alone is just
    /// ended: nobody else would take them.
    pub(super) fn drain(&self) -> Option<u64> {
        (self.cluster.servers > 1).then(|| self.cluster.lame_duck.duration().as_secs())
    }

    /// Whether they share JetStream with others.
    pub(super) fn is_joined(&self) -> bool {
        is_joined(self.cluster)
    }

    /// Whether the others carry what this server puts down: there are others, and they can talk to each other. Between
    /// servers that encrypt and servers that do not, nobody can wait for anybody.
    pub(super) fn goes_on(&self) -> bool {
        let system = self.system();
        let places = system.iter().flat_map(|servers| (0..servers.count()).map(|index| servers.place(index)));
        let texts: Vec<String> =
            places.filter_map(|place| std::fs::read_to_string(place.config).ok()).collect();
        let encrypting = texts.iter().filter(|text| super::compare::encrypts_routes(text)).count();
        texts.len() > 1 && (encrypting == 0 || encrypting == texts.len())
    }

    /// The version of nats-server that the file wants, if it wants one.
    pub(super) fn version(&self) -> Option<&str> {
        self.cluster.version.as_ref().map(windlass_fleet::Version::as_str)
    }

    /// Those that join this server, and those that it joins: one link for each account.
    fn leaf_nodes(&self, index: u32, tls: Option<Tls>) -> Option<LeafNodes> {
        let fleet = &self.options.fleet;
        let listen = listens_for("leaf", fleet, self.name, self.cluster)
            .then(|| SocketAddr::new(self.cluster.host, self.port(index, "leaf")));
        let mut remotes = Vec::new();
        if let Some((name, cluster)) = self.hub() {
            let hub = Servers::known(self.options, name, cluster);
            let tls = (cluster.tls != TlsUse::None).then(|| self.tls(&server_name(self.name, index), true));
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
                    tls: tls.clone(),
                });
            }
        }
        let joins = listen.is_some() || !remotes.is_empty();
        let tls = tls.filter(|_| listen.is_some());
        joins.then_some(LeafNodes { listen, tls, remotes, reconnect: Some(LEAF_RECONNECT) })
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
        let between = (cluster.tls != TlsUse::None).then(|| self.tls(&place.part, true));
        let clients = self.encrypts_clients().then(|| self.tls(&place.part, false));
        config.listen = SocketAddr::new(cluster.host, place.client.port());
        config.tls.clone_from(&clients);
        config.monitor = Some(place.monitor);
        config.websocket = Some(Websocket {
            listen: SocketAddr::new(cluster.host, place.websocket.port()),
            tls: clients,
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
        config.cluster = is_joined(cluster).then(|| config::Cluster {
            name: self.name.to_owned(),
            listen: SocketAddr::new(cluster.host, self.port(index, "cluster")),
            advertise: None,
            routes: (0..cluster.servers)
                // One alone names itself: with no route at all, nats-server does not share JetStream through gateways.
                .filter(|other| *other != index || cluster.servers == 1)
                .map(|other| {
                    let address = SocketAddr::new(reachable(cluster.host), self.port(other, "cluster"));
                    format!("nats://{address}")
                })
                .collect(),
            tls: between.clone(),
        });
        config.gateway = self.gateway(index, between.clone());
        config.leafnodes = self.leaf_nodes(index, between);
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

/// Where the first server of a cluster takes WebSocket connections, once it has been made.
pub(super) fn websocket_address(directory: &Path, fleet: &Fleet, name: &str) -> Option<SocketAddr> {
    let cluster = fleet.clusters.get(name).filter(|cluster| cluster.platform == PlatformName::SelfHosted)?;
    if !home(directory, name, 0).join(CONFIG).is_file() {
        return None;
    }
    let last: Choice = super::part::read(&directory.join("ports.json")).unwrap_or_default();
    let wanted = cluster.ports.websocket;
    let chosen =
        last.get(&format!("{}/websocket", server_name(name, 0))).filter(|chosen| chosen.wanted == wanted);
    Some(SocketAddr::new(reachable(cluster.host), chosen.map_or(wanted, |chosen| chosen.port)))
}

/// Chooses the ports of everything that is to listen on this machine, and remembers them. What runs keeps its own.
pub(super) fn choose(
    options: &Options,
    runs: &dyn Fn(&str) -> bool,
    reservations: &mut ports::Reservations,
) -> Result<Vec<String>, Trouble> {
    let path = options.directory.join("ports.json");
    let last: Choice = super::part::read(&path).unwrap_or_default();
    // Also where no local R2 runs: the choice is the same for an apply as for an `up`.
    let r2 = (Wish { part: super::r2::PART.to_owned(), port: 0 }, Ipv4Addr::LOCALHOST.into());
    let cloudflare = super::local_cloudflare::wishes(options);
    let all = all_wishes(&options.fleet).into_iter().chain([r2]).chain(cloudflare);
    let (wishes, hosts): (Vec<Wish>, Vec<IpAddr>) = all.unzip();
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
    let here = |github: &&windlass_fleet::Github| github.receive_at == windlass_fleet::ReceiveAt::SelfHosted;
    if let Some(github) = fleet.github.as_ref().filter(here) {
        let wish = Wish { part: super::receiver::PART.to_owned(), port: github.listen.port() };
        wished.push((wish, github.listen.ip()));
    }
    wished
}

/// A digest of a file's content; nothing for one that is not there.
pub(super) fn content_digest(path: &Path) -> String {
    use sha2::{Digest as _, Sha256};
    std::fs::read(path).map(|content| hex::encode(Sha256::digest(content))).unwrap_or_default()
}

/// Whether its servers share JetStream with others. What one alone has stored is not theirs.
pub(super) fn is_joined(cluster: &Cluster) -> bool {
    cluster.servers > 1 || cluster.super_cluster
}

/// Whether the cluster's servers listen for this at all.
fn listens_for(listener: &str, fleet: &Fleet, name: &str, cluster: &Cluster) -> bool {
    match listener {
        "cluster" => is_joined(cluster),
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
