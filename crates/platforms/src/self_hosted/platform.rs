//! The [`Platform`] of your own machines: which kind of resource is seen and changed by which module.

mod look;
mod make;
mod server;

use super::control::Control;
use super::part::{Kind as PartKind, Loaded, Part};
use super::ports::Reservations;
use super::servers::{self, Place, Servers};
use super::{Options, authority, compare, from_nats, local_cloudflare, r2, stored, trouble};
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

    /// Lets the agent keep a local R2 with this bucket. One that runs with another goes on with the new one as well.
    ///
    /// # Errors
    /// When there is no port for it, or no agent.
    pub async fn want_r2(&self, bucket: &str) -> Result<(), Trouble> {
        self.choose_ports().await?;
        let Some(part) = r2::part(&self.options, bucket) else { return Ok(()) };
        self.control.want(&part).await.map_err(|error| trouble("want the local R2", &error))
    }

    /// Waits until the local R2 that was wanted answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn r2_is_ready(&self) -> Result<(), Trouble> {
        let wanted = self.control.places().wanted().remove(r2::PART);
        let Some(part) = wanted else { return Ok(()) };
        let log = self.control.places().log(r2::PART);
        if self.control.wait(&part, STARTS_WITHIN).await.is_none() {
            let help = format!("see {}", log.display());
            return Err(Trouble::new("WL0434", "the local R2 does not start", help));
        }
        match part.listens.first() {
            Some(address) => r2::wait_ready(*address, &log).await,
            None => Ok(()),
        }
    }

    /// Where the local Cloudflare's API and its Workers answer, or will.
    ///
    /// # Errors
    /// When there is no port for them.
    pub async fn local_cloudflare(&self) -> Result<[std::net::SocketAddr; 3], Trouble> {
        self.choose_ports().await?;
        local_cloudflare::addresses(&self.options)
            .ok_or_else(|| Trouble::new("WL0457", "the local Cloudflare has no port", "run it again"))
    }

    /// Lets the agent keep a local Cloudflare, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_local_cloudflare(&self) -> Result<(), Trouble> {
        let addresses = self.local_cloudflare().await?;
        let part = local_cloudflare::part(&self.options, addresses);
        self.control.want(&part).await.map_err(|error| trouble("want the local Cloudflare", &error))?;
        let log = self.control.places().log(local_cloudflare::PART);
        if self.control.wait(&part, STARTS_WITHIN).await.is_none() {
            let help = format!("see {}", log.display());
            return Err(Trouble::new("WL0457", "the local Cloudflare does not start", help));
        }
        local_cloudflare::wait_ready(addresses[0], &log).await
    }

    /// No longer wants the local Cloudflare; what it holds stays.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop_local_cloudflare(&self) -> Result<(), Trouble> {
        let stopped = self.control.unwant(local_cloudflare::PART).await;
        stopped.map_err(|error| trouble("stop the local Cloudflare", &error))
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
            Kind::Bucket | Kind::Namespace | Kind::Worker | Kind::Secret | Kind::Container => {
                Err(format!("your own machines have no {}", resource.address.kind.as_str()))
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
            kind => Err(format!("your own machines have no {}", kind.as_str())),
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

fn is_loopback(host: &Value) -> bool {
    host.as_str().and_then(|host| host.parse::<IpAddr>().ok()).is_some_and(|host| host.is_loopback())
}
