//! The [`Platform`] of your own machines: which kind of resource is seen and changed by which module.

use super::control::Control;
use super::part::{Kind as PartKind, Loaded, Part};
use super::ports::Reservations;
use super::servers::{self, Place, Servers};
use super::{Options, authority, compare, from_nats, receiver, stored, trouble};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use windlass_engine::wanted::{ADMIN, main_account};
use windlass_engine::{
    Address, Data, Difference, FieldChange, Found, How, Kind, Loss, Platform, Resource, Risk, Scope, Step,
    Trouble,
};
use windlass_fleet::{Cluster, Host, PlatformName};
use windlass_nats::async_nats::Client;
use windlass_nats::certificates::Certificates;
use windlass_nats::keys::SYSTEM_ACCOUNT;
use windlass_nats::server::{Binary, Health, Monitor};
use windlass_nats::stream::Permission;
use windlass_nats::{config, connect};

/// How long a server may take until it answers: it reads its data before.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take until it has read its configuration again.
const RELOADS_WITHIN: Duration = Duration::from_secs(10);
/// Consumers that are asked for at once.
const LOOKS_AT_ONCE: usize = 64;
/// How long a cluster may take to agree on a leader and catch up.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// Your own machines. One value serves one plan or apply.
pub struct SelfHosted {
    options: Options,
    control: Control,
    clients: Mutex<BTreeMap<String, (SocketAddr, Client)>>,
    /// Accounts, with the cluster whose servers have all taken them in.
    taken_in: Mutex<BTreeSet<(String, String)>>,
    reservations: std::sync::Mutex<Reservations>,
    chosen: OnceCell<Vec<String>>,
}

impl std::fmt::Debug for SelfHosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfHosted").field("options", &self.options).finish_non_exhaustive()
    }
}

impl SelfHosted {
    /// The platform for one fleet and directory.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let control = Control::new(&options.directory, options.agent.clone());
        Self {
            options,
            control,
            clients: Mutex::default(),
            taken_in: Mutex::default(),
            reservations: std::sync::Mutex::default(),
            chosen: OnceCell::new(),
        }
    }

    /// What runs on this machine.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What a person should know of the ports that were chosen: one sentence for each that is not the wanted one.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.chosen.get().cloned().unwrap_or_default()
    }

    fn cluster(&self, name: &str) -> Option<(&str, &Cluster)> {
        let clusters = &self.options.fleet.clusters;
        clusters.iter().find(|(key, _)| key.as_str() == name).map(|(key, cluster)| (key.as_str(), cluster))
    }

    /// The cluster and index behind `server.hub-0`.
    fn server(&self, address: &Address) -> Option<(Servers<'_>, u32)> {
        let (cluster, index) = address.name.rsplit_once('-')?;
        let (name, cluster) = self.cluster(cluster)?;
        Some((Servers::known(&self.options, name, cluster), index.parse().ok()?))
    }

    /// Where the first server of the cluster that runs takes clients.
    fn reachable(&self, cluster: &str) -> Option<SocketAddr> {
        self.all_reachable(cluster).into_iter().next()
    }

    /// Where the servers of the cluster that run take clients. What runs is what the agent says, so that a cluster that
    /// has left the file is reached too.
    fn all_reachable(&self, cluster: &str) -> Vec<SocketAddr> {
        let status = self.control.status();
        let of_cluster = |name: &str| {
            name.rsplit_once('-').is_some_and(|(its, index)| its == cluster && index.parse::<u32>().is_ok())
        };
        let runs = |running: &&super::part::Running| {
            running.part.kind == PartKind::Server
                && of_cluster(&running.part.name)
                && running.process.as_ref().is_some_and(super::process::Identity::is_alive)
        };
        let clients = status.parts.values().filter(runs).filter_map(|running| running.part.listens.first());
        clients.map(|client| SocketAddr::new(servers::reachable(client.ip()), client.port())).collect()
    }

    fn cluster_of(&self, address: &Address) -> Option<String> {
        let fleet = &self.options.fleet;
        let stream = match address.kind {
            Kind::Stream => fleet.streams.get(address.name.as_str()),
            _ => fleet.github_stream().map(|(_, stream)| stream),
        };
        let cluster = stream.and_then(|stream| fleet.cluster_of(stream));
        cluster.or_else(|| fleet.only_cluster()).map(|(name, _)| name.as_str().to_owned())
    }

    /// A client of the account, on a server of the cluster that runs; `None` while none does.
    async fn client(&self, account: &str, user: &str, cluster: &str) -> Result<Option<Client>, Trouble> {
        let key = format!("{account}/{user}@{cluster}");
        let mut clients = self.clients.lock().await;
        let creds = authority::creds_file(&self.options, account, user);
        let Some(server) = self.reachable(cluster).filter(|_| creds.is_file()) else {
            clients.remove(&key);
            return Ok(None);
        };
        // A server may have moved to another address meanwhile.
        if let Some((_, client)) = clients.get(&key).filter(|(at, _)| *at == server) {
            return Ok(Some(client.clone()));
        }
        let client = connect::connect(&self.way_in(server, &creds)).await.map_err(from_nats)?;
        clients.insert(key, (server, client.clone()));
        Ok(Some(client))
    }

    /// How Windlass itself comes in. A server that wants TLS says so, and gets it.
    fn way_in(&self, server: SocketAddr, creds: &std::path::Path) -> connect::Options {
        let authority = Certificates::at(&self.options.directory, self.options.fleet.name()).authority_file();
        let mut options = connect::Options::new(&format!("nats://{server}"), creds, "windlass");
        options.authority = Some(authority).filter(|authority| authority.is_file());
        options
    }

    async fn need_client(&self, account: &str, cluster: &str) -> Result<Client, Trouble> {
        let missing = || {
            let message = format!("no server of the cluster {cluster} runs, so {account} cannot be reached");
            Trouble::new("WL0606", message, "windlass plan shows what is missing")
        };
        self.take_in(account, cluster).await;
        self.client(account, ADMIN, cluster).await?.ok_or_else(missing)
    }

    /// Lets every server of a cluster take in an account before anything is stored in it.
    ///
    /// A server takes an account in when somebody of it connects, or when a stream of it is assigned to the server. It then
    /// makes the directory of the account's streams, to see whether it can, and removes it with everything in it
    /// (`EnableJetStream` in nats-server's `jetstream.go`): also a stream that is assigned at that moment, which goes on
    /// without its files and is empty after the next start.
    async fn take_in(&self, account: &str, cluster: &str) {
        let servers = self.all_reachable(cluster);
        let mut taken_in = self.taken_in.lock().await;
        if servers.len() < 2 || !taken_in.insert((account.to_owned(), cluster.to_owned())) {
            return;
        }
        let creds = authority::creds_file(&self.options, account, ADMIN);
        let connects = servers.iter().map(async |server| {
            if let Err(error) = connect::connect(&self.way_in(*server, &creds)).await {
                tracing::debug!(%server, account, %error, "the account is not taken in here");
            }
        });
        futures::future::join_all(connects).await;
    }

    async fn choose_ports(&self) -> Result<(), Trouble> {
        let choose = || async {
            let runs = |owner: &str| self.control.running(owner).is_some();
            let mut reservations =
                self.reservations.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            servers::choose(&self.options, &runs, &mut reservations)
        };
        self.chosen.get_or_try_init(choose).await.map(|_| ())
    }

    // --- Seeing ---------------------------------------------------------------------------------------------------

    async fn look(&self, scope: Scope<'_>) -> Result<Vec<Found>, Trouble> {
        let mut found = Vec::new();
        let mut streams: Vec<(Address, &Value)> = Vec::new();
        let mut consumers: Vec<(Address, &Value)> = Vec::new();
        let all = scope.wanted.iter().map(|one| (&one.address, &one.body));
        for (address, body) in all.chain(scope.recorded.iter().copied()) {
            let one = match address.kind {
                Kind::Operator => {
                    authority::operator_exists(&self.options).then(|| (json!({ "name": address.name }), None))
                }
                Kind::Account => {
                    authority::found_account(&self.options, &address.name, body).map(|mut found| {
                        self.look_at_accounts_servers(&address.name, &mut found);
                        (found, None)
                    })
                }
                Kind::User => address.name.split_once('/').and_then(|(account, user)| {
                    authority::found_user(&self.options, account, user).map(|body| (body, None))
                }),
                Kind::Server => self.look_at_server(address).await,
                Kind::Cluster => self.look_at_cluster(address).await,
                Kind::Receiver => {
                    // Stopped by `down`, nothing of it is left but the memory.
                    let stopped = || (json!({ "runs": false }), Some("it is not running".to_owned()));
                    let known = scope.known().contains_key(address);
                    self.look_at_receiver().await.or_else(|| known.then(stopped))
                }
                Kind::Stream | Kind::Objects | Kind::Kv => {
                    streams.push((address.clone(), body));
                    None
                }
                Kind::Consumer => {
                    consumers.push((address.clone(), body));
                    None
                }
            };
            if let Some((body, trouble)) = one {
                found.push(Found {
                    address: address.clone(),
                    body,
                    data: Data::default(),
                    trouble,
                    unseen: false,
                });
            }
        }
        found.extend(self.look_at_stored(streams, scope).await?);
        found.extend(self.look_at_consumers(consumers, scope).await?);
        Ok(found)
    }

    async fn look_at_consumers(
        &self,
        addresses: Vec<(Address, &Value)>,
        scope: Scope<'_>,
    ) -> Result<Vec<Found>, Trouble> {
        let recorded: BTreeMap<&Address, &Value> = scope.known();
        let look = async |(address, wanted): (Address, &Value)| -> Result<Option<Found>, Trouble> {
            let known = recorded.get(&address).copied();
            let at = known.unwrap_or(wanted);
            let (account, cluster) = (stored::Body(at).text("account"), stored::Body(at).text("cluster"));
            let client = self.client(&account, ADMIN, &cluster).await.ok().flatten();
            let seen = match &client {
                Some(client) => stored::find_consumer(client, at).await.map(Some),
                None => Ok(None),
            };
            let data = Data::default();
            Ok(match (seen, known) {
                (Ok(Some(Some(body))), _) => {
                    Some(Found { address, body, data, trouble: None, unseen: false })
                }
                (Ok(Some(None)), _) => None,
                (Ok(None) | Err(_), Some(known)) => {
                    let trouble = Some(format!("it cannot be seen while {cluster} is down"));
                    Some(Found { address, body: json!({ "recorded": known }), data, trouble, unseen: true })
                }
                (Ok(None) | Err(_), None) => None,
            })
        };
        let looks = futures::stream::iter(addresses.into_iter().map(look)).buffered(LOOKS_AT_ONCE);
        let found: Vec<Option<Found>> = looks.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn look_at_server(&self, address: &Address) -> Option<(Value, Option<String>)> {
        let Some((servers, index)) = self.server(address) else {
            // A cluster that left the file: its part, or its file, is all that is known.
            let (cluster, index) = address.name.rsplit_once('-')?;
            let home = servers::home(&self.options.directory, cluster, index.parse().ok()?);
            let there = self.control.status().parts.contains_key(&address.name)
                || home.join(servers::CONFIG).is_file();
            return there.then(|| (json!({}), None));
        };
        let place = servers.place(index);
        let text = std::fs::read_to_string(&place.config).ok()?;
        let (operator, system) = authority::known_operator(&self.options)?;
        let wanted = servers.config(index, &operator.token, &system);
        let running = self.control.running(&place.part);
        let varz = Monitor::new(place.monitor).varz().await.ok();
        // One that answers in its place, on its data, and was not started by an agent of this directory.
        let store = place.home.join("jetstream").display().to_string();
        let on_its_data = varz
            .as_ref()
            .filter(|varz| varz.jetstream.config.as_ref().is_some_and(|config| config.store_dir == store));
        let stranger = on_its_data.filter(|_| running.is_none()).map(|_| place.monitor.to_string());
        let varz = varz.filter(|_| running.is_some());
        let digest = varz.as_ref().and_then(|varz| varz.config_digest.clone());
        let body = json!({
            "file": compare::digest_of(&text),
            "wanted": compare::digest_of(&wanted),
            "differs": compare::differing_lines(&text, &wanted),
            "reloads": compare::needs_restart(&text) == compare::needs_restart(&wanted),
            "silences": compare::encrypts_routes(&text) != compare::encrypts_routes(&wanted),
            "certificate":
                servers.certificate_trouble(index, running.as_ref().map(|running| &running.part.loaded)).await,
            "runs": running.is_some(),
            "looked_after": self.control.agent().is_some(),
            "expected_digest": running.as_ref().map(|running| running.part.loaded.config.clone()),
            "installed": find_binary(&servers).map_or_else(
                |error| json!({ "missing": error.to_string() }),
                |binary| json!(binary.version.to_string()),
            ),
            "running_digest": digest,
            "stranger": stranger,
            "version": varz.map(|varz| varz.version),
            "servers": servers.exist(),
            "joined": text.contains("\ncluster {"),
            "streams": servers.hold_streams(),
        });
        let trouble = match running {
            None => Some("it is not running".to_owned()),
            Some(_) if body["running_digest"].is_null() => Some("it does not answer".to_owned()),
            Some(_) => None,
        };
        Some((body, trouble))
    }

    /// Notes which server, if any, has another token of the account than Windlass gave it. Each keeps its tokens in a
    /// directory, which `$SYS.REQ.CLAIMS.UPDATE` changes too.
    fn look_at_accounts_servers(&self, account: &str, found: &mut Value) {
        let Some(key) = authority::known_account(&self.options, account) else { return };
        for (name, cluster) in &self.options.fleet.clusters {
            let servers = Servers::known(&self.options, name.as_str(), cluster);
            for place in (0..servers.count()).map(|index| servers.place(index)) {
                if !place.config.is_file() {
                    continue;
                }
                let token = std::fs::read_to_string(place.resolver.join(format!("{key}.jwt"))).ok();
                let says = token.and_then(|token| authority::says(&token)).unwrap_or_default();
                if says != found["says"] {
                    found["says"] = says;
                    found["changed_at"] = place.part.into();
                    return;
                }
            }
        }
    }

    async fn look_at_cluster(&self, address: &Address) -> Option<(Value, Option<String>)> {
        let (name, cluster) = self.cluster(&address.name)?;
        let servers = Servers::known(&self.options, name, cluster);
        let exist = servers.exist();
        if exist == 0 {
            return None;
        }
        let mut healthy = 0;
        let mut trouble = None;
        for index in 0..servers.count() {
            let place = servers.place(index);
            let health = Monitor::new(place.monitor).health(Health::JetStreamServer).await;
            match health {
                Ok(Ok(())) => healthy += 1,
                Ok(Err(reason)) => trouble = Some(format!("{}: {reason}", place.part)),
                Err(_) => trouble = Some(format!("{} does not answer", place.part)),
            }
        }
        Some((json!({ "servers": exist, "healthy": healthy }), trouble))
    }

    async fn look_at_receiver(&self) -> Option<(Value, Option<String>)> {
        let known = super::part::read::<Part>(&self.control.places().part(receiver::PART));
        let running = self.control.running(receiver::PART);
        let part = running.as_ref().map(|running| running.part.clone()).or(known)?;
        let trouble = match (&running, part.listens.first()) {
            (None, _) => Some("it is not running".to_owned()),
            (Some(_), Some(address)) => receiver::is_ready(*address).await.err(),
            (Some(_), None) => None,
        };
        let wanted = self.receiver_part(false).ok().flatten();
        let body = json!({
            "arguments": part.arguments,
            "token": part.token,
            "runs": running.is_some(),
            "wanted": wanted.map(|wanted| json!({ "arguments": wanted.arguments, "token": wanted.token })),
        });
        Some((body, trouble))
    }

    async fn look_at_stored(
        &self,
        addresses: Vec<(Address, &Value)>,
        scope: Scope<'_>,
    ) -> Result<Vec<Found>, Trouble> {
        let mut found = Vec::new();
        let recorded: BTreeMap<&Address, &Value> = scope.known();
        let mut places: BTreeMap<(String, String), stored::Asked<'_>> = BTreeMap::new();
        for (address, wanted) in addresses {
            // It is where it was made, wherever the file wants it now.
            let at = recorded.get(&address).copied().unwrap_or(wanted);
            let account =
                at["account"].as_str().unwrap_or_else(|| main_account(&self.options.fleet)).to_owned();
            let known = at["cluster"].as_str().map(str::to_owned);
            let Some(cluster) = known.or_else(|| self.cluster_of(&address)) else { continue };
            let asked = places.entry((account, cluster)).or_default();
            asked.insert(stored::stream_name(&address), (address, wanted));
        }
        for ((account, cluster), asked) in places {
            let seen = match self.client(&account, ADMIN, &cluster).await {
                Ok(Some(client)) => stored::look(&client, &account, &cluster, &asked).await.ok(),
                Ok(None) | Err(_) => None,
            };
            let Some(seen) = seen else {
                // It cannot be seen: what was recorded stands in for it.
                let trouble = format!("it cannot be seen while {cluster} is down");
                found.extend(asked.into_values().filter_map(|(address, _)| {
                    let body = json!({ "recorded": recorded.get(&address)? });
                    let data = Data::default();
                    Some(Found { address, body, data, trouble: Some(trouble.clone()), unseen: true })
                }));
                continue;
            };
            found.extend(seen);
        }
        Ok(found)
    }

    // --- Changing -------------------------------------------------------------------------------------------------

    async fn make(
        &self,
        address: &Address,
        body: &Value,
        running: bool,
        permission: Permission,
    ) -> Result<(), Trouble> {
        match address.kind {
            Kind::Operator => authority::operator(&self.options).map(|_| ()),
            Kind::Account => self.make_account(&address.name).await,
            Kind::User => self.make_user(body).await,
            Kind::Server => self.make_server(address, running).await,
            Kind::Cluster => self.settle(&address.name).await,
            Kind::Stream | Kind::Objects | Kind::Kv | Kind::Consumer => {
                let at = stored::Body(body);
                let client = self.need_client(&at.text("account"), &at.text("cluster")).await?;
                stored::ensure(&client, self.options.fleet.name(), address, body, permission).await
            }
            Kind::Receiver => self.make_receiver().await,
        }
    }

    async fn make_account(&self, name: &str) -> Result<(), Trouble> {
        self.publish_account(name).await?;
        // A server that learned of an import before what it imports from looks again when it is told again.
        for importer in authority::importers(&self.options, name) {
            if authority::account_file(&self.options, importer).is_file() {
                self.publish_account(importer).await?;
            }
        }
        Ok(())
    }

    /// Issues an account's token, and tells every server.
    async fn publish_account(&self, name: &str) -> Result<(), Trouble> {
        let issued = authority::account(&self.options, name)?;
        for (cluster_name, cluster) in &self.options.fleet.clusters {
            let servers = Servers::known(&self.options, cluster_name.as_str(), cluster);
            for index in 0..servers.count() {
                let place = servers.place(index);
                if place.config.is_file() {
                    place_token(&place, &issued.public_key, &issued.token)?;
                }
            }
            // Servers that are going need not be told any more: they read it when they come back.
            tokio::select! {
                told = self.tell(cluster_name.as_str(), &issued.token) => told?,
                () = self.gone(cluster_name.as_str()) => {}
            }
        }
        Ok(())
    }

    /// Tells the cluster's running servers an account's token. It has patience with one that takes no connection or gives
    /// no answer: it may be going, and is then soon gone or back.
    async fn tell(&self, cluster: &str, token: &str) -> Result<(), Trouble> {
        let deadline = tokio::time::Instant::now() + super::agent::grace(PartKind::Server);
        loop {
            let told = match self.client(SYSTEM_ACCOUNT, ADMIN, cluster).await {
                Ok(None) => return Ok(()),
                Ok(Some(system)) => authority::push(&system, token).await?,
                Err(trouble) => Err(trouble),
            };
            match told {
                Err(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                told => return told,
            }
        }
    }

    /// Waits until no server of the cluster runs.
    async fn gone(&self, cluster: &str) {
        while self.reachable(cluster).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Gives a user its credentials; when they replace others, the servers are told that those count no more.
    async fn make_user(&self, body: &Value) -> Result<(), Trouble> {
        let at = stored::Body(body);
        let (account, user) = (at.text("account"), at.text("name"));
        authority::user(&self.options, body)?;
        // Windlass's own connections were made with what it had before.
        let its_own = format!("{account}/{user}@");
        self.clients.lock().await.retain(|key, _| !key.starts_with(&its_own));
        self.publish_revocations(&account).await
    }

    /// Publishes an account's token again if what it says of its users is no longer so.
    async fn publish_revocations(&self, account: &str) -> Result<(), Trouble> {
        match authority::is_current(&self.options, account) {
            Some(false) => self.publish_account(account).await,
            Some(true) | None => Ok(()),
        }
    }

    async fn make_server(&self, address: &Address, running: bool) -> Result<(), Trouble> {
        self.choose_ports().await?;
        let unknown =
            || Trouble::new("WL0508", format!("{address} is not in the fleet file"), "windlass plan");
        let (servers, index) = self.server(address).ok_or_else(unknown)?;
        let place = servers.place(index);
        let (operator, system) = authority::operator(&self.options)?;
        let checked = authority::open(&self.options)?.check_data(&place.home.join("jetstream"));
        checked.map_err(from_nats)?;
        for directory in [&place.home, &place.resolver] {
            std::fs::create_dir_all(directory)
                .map_err(|error| trouble("make the server's directory", &error))?;
        }
        for name in windlass_engine::wanted::accounts(&self.options.fleet) {
            if authority::account_file(&self.options, name).is_file() {
                let issued = authority::account(&self.options, name)?;
                place_token(&place, &issued.public_key, &issued.token)?;
            }
        }
        let text = servers.config(index, &operator.token, &system);
        let certificates = servers.make_certificates(index)?;
        write_config(&place, &text)?;
        let binary = find_binary(&servers).map_err(from_nats)?;
        let digest = config::check(&binary, &place.config).map_err(from_nats)?;
        let mut part = Part {
            name: place.part.clone(),
            kind: PartKind::Server,
            program: binary.path.clone(),
            arguments: vec!["--config".to_owned(), place.config.display().to_string()],
            log: Some(place.log.clone()),
            monitor: Some(place.monitor),
            store: Some(place.home.clone()),
            listens: place.listens.clone(),
            drain: servers.drain(),
            // Another version under the same path needs a new process, too.
            token: format!("{} {}", compare::digest_of(&compare::needs_restart(&text)), binary.version),
            loaded: Loaded { config: digest, certificates, tls: servers.encrypts_clients() },
        };
        if let Some(running) = self.control.running(&part.name).filter(|running| part.succeeds(&running.part))
        {
            part.token.clone_from(&running.part.token);
            if self.reload(&servers, &part, &place).await? {
                return Ok(());
            }
            // It did not take it over: only another process does.
            part.token = format!("{} {}", part.token, jiff::Timestamp::now().as_second());
        }
        let goes_on = running && servers.goes_on();
        if goes_on {
            // The others must carry what this one is about to put down; what an agent that is gone left behind, the next one
            // starts again.
            self.control.ensure_agent().await.map_err(|error| trouble("start the agent", &error))?;
            self.settle_without(&servers, Some(index)).await?;
        }
        self.control.want(&part).await.map_err(|error| trouble("want a server", &error))?;
        self.started(&servers, &part, &place).await?;
        if goes_on {
            self.settle_without(&servers, None).await?;
        }
        Ok(())
    }

    /// Lets a running server read its configuration and its certificates again. False when it does not take them over.
    async fn reload(&self, servers: &Servers<'_>, part: &Part, place: &Place) -> Result<bool, Trouble> {
        self.control.want(part).await.map_err(|error| trouble("want a server", &error))?;
        let Some(process) = self.control.wait(part, RELOADS_WITHIN).await else { return Ok(false) };
        let monitor = Monitor::new(place.monitor);
        let is_as_wanted = async || {
            let varz = monitor.varz().await.ok();
            varz.is_some_and(|varz| varz.config_digest.as_ref() == Some(&part.loaded.config))
                && servers.shows(place).await.is_ok()
        };
        process.signal(rustix::process::Signal::HUP);
        let deadline = tokio::time::Instant::now() + RELOADS_WITHIN;
        while tokio::time::Instant::now() < deadline {
            if is_as_wanted().await {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tracing::warn!(part = part.name, "did not take over its configuration; starting it again");
        Ok(false)
    }

    /// Waits until the server answers, is this one, and runs with this configuration.
    async fn started(&self, servers: &Servers<'_>, part: &Part, place: &Place) -> Result<(), Trouble> {
        let digest = part.loaded.config.as_str();
        let log = place.log.display();
        let failed =
            |what: String| Trouble::new("WL0601", format!("{}: {what}", part.name), format!("see {log}"));
        let within = STARTS_WITHIN + Duration::from_secs(part.drain.unwrap_or(0));
        if self.control.wait(part, within).await.is_none() {
            return Err(failed("it does not start".to_owned()));
        }
        let name = format!("{}-{}", self.options.fleet.name(), place.part);
        let is_it = |varz: &windlass_nats::server::Varz| {
            if varz.server_name != name {
                return Err(format!("another server, {:?}, has its monitoring port", varz.server_name));
            }
            if varz.config_digest.as_deref() != Some(digest) {
                return Err("it runs with another configuration".to_owned());
            }
            Ok(())
        };
        // One of several has JetStream only once it has found the others.
        let monitor = Monitor::new(place.monitor);
        let ready = async {
            if !servers.is_joined() {
                return monitor
                    .wait_ready(STARTS_WITHIN, Health::JetStreamEnabled, is_it)
                    .await
                    .map(|_| ())
                    .map_err(from_nats);
            }
            let deadline = tokio::time::Instant::now() + STARTS_WITHIN;
            loop {
                let reason = match monitor.varz().await {
                    Ok(varz) => match is_it(&varz) {
                        Ok(()) => return Ok(()),
                        Err(reason) => reason,
                    },
                    Err(error) => error.to_string(),
                };
                if tokio::time::Instant::now() >= deadline {
                    return Err(failed(reason));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ends = async {
            // A server that cannot run ends at once, again and again; nobody should wait a minute for that.
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let status = self.control.status();
                if let Some(running) = status.parts.get(&part.name).filter(|one| one.part.runs_as(part))
                    && running.process.is_none()
                    && let Some(ended) = &running.ended
                {
                    let tail =
                        last_lines(&place.log).or_else(|| last_lines(&self.control.places().log(&part.name)));
                    return failed(format!("it ended: {ended}\n{}", tail.unwrap_or_default()));
                }
            }
        };
        tokio::select! {
            ready = ready => ready,
            ended = ends => Err(ended),
        }
    }

    async fn settle(&self, cluster: &str) -> Result<(), Trouble> {
        let (name, cluster) = self
            .cluster(cluster)
            .ok_or_else(|| Trouble::new("WL0508", format!("no cluster {cluster}"), ""))?;
        self.settle_without(&Servers::known(&self.options, name, cluster), None).await
    }

    /// Waits until every server that has been made, but one, is current: in the metadata's group, and in every stream and
    /// consumer.
    async fn settle_without(&self, servers: &Servers<'_>, but: Option<u32>) -> Result<(), Trouble> {
        let deadline = tokio::time::Instant::now() + SETTLES_WITHIN;
        loop {
            let mut lagging = None;
            let system = servers.system();
            let places =
                system.iter().flat_map(|servers| (0..servers.count()).map(|index| servers.place(index)));
            let but = but.map(|index| servers.place(index).part);
            for place in places.filter(|place| Some(&place.part) != but.as_ref()) {
                // One that is still to be made has nothing to catch up with.
                if !place.config.is_file() {
                    continue;
                }
                match Monitor::new(place.monitor).health(Health::Everything).await {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => lagging = Some(format!("{}: {reason}", place.part)),
                    Err(error) => lagging = Some(format!("{}: {error}", place.part)),
                }
            }
            let Some(reason) = lagging else { return Ok(()) };
            if tokio::time::Instant::now() >= deadline {
                return Err(Trouble::new(
                    "WL0607",
                    format!("the cluster has not caught up: {reason}"),
                    "windlass status",
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn receiver_part(&self, create: bool) -> Result<Option<Part>, Trouble> {
        let fleet = &self.options.fleet;
        let (Some(github), Some((_, stream))) = (&fleet.github, fleet.github_stream()) else {
            return Ok(None);
        };
        let Some(secret) = (self.options.secrets)(create)? else { return Ok(None) };
        let Some((name, cluster)) = fleet.cluster_of(stream) else { return Ok(None) };
        let servers = Servers::known(&self.options, name.as_str(), cluster);
        let scheme = if servers.encrypts_clients() { "tls" } else { "nats" };
        let urls: Vec<String> =
            (0..servers.count()).map(|index| format!("{scheme}://{}", servers.place(index).client)).collect();
        let nats = receiver::Nats { url: urls.join(","), authority: servers.authority() };
        Ok(Some(receiver::part(&self.options, github, stream.account.as_str(), &nats, &secret)))
    }

    async fn make_receiver(&self) -> Result<(), Trouble> {
        self.choose_ports().await?;
        let Some(part) = self.receiver_part(true)? else { return Ok(()) };
        self.control.want(&part).await.map_err(|error| trouble("want the receiver", &error))?;
        let log = self.control.places().log(receiver::PART);
        if self.control.wait(&part, STARTS_WITHIN).await.is_none() {
            return Err(Trouble::new(
                "WL0407",
                "the receiver does not start",
                format!("see {}", log.display()),
            ));
        }
        match part.listens.first() {
            Some(address) => receiver::wait_ready(*address, &log).await,
            None => Ok(()),
        }
    }

    async fn remove(&self, address: &Address, body: &Value, permission: Permission) -> Result<(), Trouble> {
        match address.kind {
            Kind::Server => {
                // Whoever is connected to it would only ask for it again and again.
                self.clients.lock().await.clear();
                let ended = self.control.unwant(&address.name).await;
                ended.map_err(|error| trouble("end a server", &error))?;
                // The data stays, under the name that it had: it may be all that there is of it.
                let (cluster, index) = address.name.rsplit_once('-').unwrap_or((&address.name, "0"));
                let home = servers::home(&self.options.directory, cluster, index.parse().unwrap_or(0));
                match std::fs::remove_file(home.join(servers::CONFIG)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(trouble("remove a server's configuration", &error))
                    }
                    _ => Ok(()),
                }
            }
            Kind::Receiver => {
                self.control.unwant(receiver::PART).await.map_err(|error| trouble("end the receiver", &error))
            }
            Kind::Stream | Kind::Objects | Kind::Kv | Kind::Consumer => {
                let at = stored::Body(body);
                let client = self.need_client(&at.text("account"), &at.text("cluster")).await?;
                match address.kind {
                    Kind::Consumer => stored::delete_consumer(&client, body).await,
                    _ => stored::delete(&client, address, permission).await,
                }
            }
            Kind::User => {
                let (account, user) = address.name.split_once('/').unwrap_or((&address.name, ADMIN));
                authority::remove_user(&self.options, account, user)?;
                self.publish_revocations(account).await
            }
            Kind::Account => {
                authority::put_aside(&self.options, &authority::account_file(&self.options, &address.name))
            }
            Kind::Operator => {
                let jwt = self.options.directory.join("jwt").join("operator.jwt");
                authority::put_aside(&self.options, &jwt)
            }
            Kind::Cluster => Ok(()),
        }
    }
}

impl Platform for SelfHosted {
    fn name(&self) -> &'static str {
        windlass_engine::wanted::SELF_HOSTED
    }

    fn supports(&self, resource: &Resource) -> Result<(), String> {
        let hosts = &self.options.fleet.platforms.self_hosted.hosts;
        let body = &resource.body;
        match resource.address.kind {
            Kind::Server if !hosts.contains(&Host::Local) => {
                Err("this version runs servers on \"local\" only, which is not among the hosts".to_owned())
            }
            Kind::Server
                if (body["servers"].as_u64() > Some(1) || body["super_cluster"] == true)
                    && !is_loopback(&body["host"])
                    && body["tls"] == "none" =>
            {
                Err(format!(
                    "its servers would take routes from whoever reaches {}: write tls = \"servers\" or \"all\"",
                    body["host"]
                ))
            }
            Kind::Server if body["leaf_of"].is_string() => {
                let hub = body["leaf_of"].as_str().unwrap_or_default();
                match self.cluster(hub) {
                    Some((_, cluster)) if cluster.platform == PlatformName::SelfHosted => Ok(()),
                    _ => Err(format!("it joins the cluster {hub}, which this version cannot apply")),
                }
            }
            _ => Ok(()),
        }
    }

    fn deletion(&self, address: &Address, found: &Found) -> Result<Risk, String> {
        // A server leaves a cluster that goes on.
        if address.kind == Kind::Server
            && let Some((servers, index)) = self.server(address)
            && index >= servers.count()
            && servers.hold_streams()
        {
            let message = "it leaves a cluster that holds streams, and would take its replicas along";
            return Err(message.to_owned());
        }
        let holds = address.kind.holds_data() && found.data.messages > 0;
        Ok(match address.kind {
            // Its place in the stream is gone.
            Kind::Consumer => Risk::Irreversible,
            Kind::User => Risk::Interrupts,
            _ if holds => Risk::LosesData,
            _ => Risk::None,
        })
    }

    fn find<'a>(&'a self, scope: Scope<'a>) -> BoxFuture<'a, Result<Vec<Found>, Trouble>> {
        self.look(scope).boxed()
    }

    fn compare(&self, wanted: &Resource, found: &Found) -> Result<Option<Difference>, String> {
        let body = &found.body;
        if let Some(recorded) = body.get("recorded") {
            if wanted.address.kind.holds_data() {
                stored::is_where_wanted(&wanted.body, recorded)?;
            }
            let fields = vec![FieldChange::new("as recorded", "another", "as in the file")];
            let difference =
                Difference { how: How::InPlace, fields, risk: Risk::None, why: found.trouble.clone() };
            return Ok((*recorded != wanted.body).then_some(difference));
        }
        match wanted.address.kind {
            Kind::Account => Ok(authority::compare_account(body)),
            Kind::User => Ok(authority::compare_user(body, &wanted.body)),
            Kind::Server => compare::server(wanted, found),
            Kind::Cluster => Ok(compare::cluster(wanted, found)),
            Kind::Stream | Kind::Objects | Kind::Kv => {
                stored::compare(self.options.fleet.name(), &wanted.address, &wanted.body, body)
            }
            Kind::Consumer => stored::compare_consumer(self.options.fleet.name(), &wanted.body, body),
            Kind::Receiver => Ok(compare::receiver(found)),
            Kind::Operator => Ok(None),
        }
    }

    fn loss(&self, wanted: &Resource, found: &Found) -> Loss {
        stored::loss(self.options.fleet.name(), &wanted.address, &wanted.body, &found.body)
            .unwrap_or_else(|| found.data.into())
    }

    fn apply<'a>(&'a self, step: Step<'a>) -> BoxFuture<'a, Result<(), Trouble>> {
        match step {
            Step::Create(wanted) => {
                self.make(&wanted.address, &wanted.body, false, Permission::KeepMessages).boxed()
            }
            Step::Change { wanted, found, how, allow_data_loss } => async move {
                let (address, permission) = (&wanted.address, permission(allow_data_loss));
                // What holds data is replaced by whoever makes it, in the last moment and only if it must be.
                if how == How::Replace && !address.kind.holds_data() {
                    let at = (address.kind == Kind::Consumer)
                        .then(|| stored::consumer_place(&found.body))
                        .flatten();
                    self.remove(address, at.as_ref().unwrap_or(&wanted.body), permission).await?;
                }
                self.make(address, &wanted.body, found.body["runs"] == true, permission).await
            }
            .boxed(),
            Step::Delete { address, body, allow_data_loss } => {
                self.remove(address, body, permission(allow_data_loss)).boxed()
            }
        }
    }
}

fn permission(allow_data_loss: bool) -> Permission {
    if allow_data_loss { Permission::LoseMessages } else { Permission::KeepMessages }
}

fn place_token(place: &Place, public_key: &str, token: &str) -> Result<(), Trouble> {
    let path = place.resolver.join(format!("{public_key}.jwt"));
    if std::fs::read_to_string(&path).is_ok_and(|there| there == token) {
        return Ok(());
    }
    let written = std::fs::create_dir_all(&place.resolver).and_then(|()| std::fs::write(&path, token));
    written.map_err(|error| trouble("write an account's token", &error))
}

fn write_config(place: &Place, text: &str) -> Result<(), Trouble> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let next = place.config.with_extension("conf.next");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&next);
    let written = file
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&next, &place.config));
    written.map_err(|error| trouble("write a server's configuration", &error))
}

fn last_lines(path: &std::path::Path) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    let lines: Vec<String> = lines.into_iter().rev().map(|line| format!("    {line}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The nats-server that the cluster is to run.
fn find_binary(servers: &Servers<'_>) -> Result<Binary, windlass_nats::Error> {
    servers.version().map_or_else(Binary::find, Binary::find_version)
}

fn is_loopback(host: &Value) -> bool {
    host.as_str().and_then(|host| host.parse::<IpAddr>().ok()).is_some_and(|host| host.is_loopback())
}
