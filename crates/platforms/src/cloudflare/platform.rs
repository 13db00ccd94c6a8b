//! The [`Platform`] of Cloudflare: which kind of resource is seen, compared and made how.

mod compare;
mod look;
mod make;
mod remove;

use super::client::Client;
use super::edge::{self, Hub, Identity};
use super::ledger::{self, Ledger};
use super::worker::WorkerApi;
use super::{Error, export, hub, identity};
use crate::self_hosted::Secrets;
use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OnceCell;
use windlass_engine::wanted::{self, CLOUDFLARE};
use windlass_engine::{
    Address, Difference, Found, How, Kind, Platform, Resource, Risk, Scope, Step, Trouble,
};
use windlass_fleet::{Cluster, Fleet, Name, PlatformName, TlsUse};

/// Where a secret comes from; nothing, when its source gives none.
pub type Source = Arc<dyn Fn() -> Result<Option<SecretString>, Trouble> + Send + Sync>;

/// What the platform works with.
#[derive(Clone)]
pub struct Options {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// The directory of everything, absolute; usually `.windlass`.
    pub directory: PathBuf,
    /// The account's identifier.
    pub account_id: Source,
    /// The API's token.
    pub api_token: Source,
    /// Where the webhook secrets are.
    pub secrets: Secrets,
    /// The API's base, as a rule [`super::client::base_url`].
    pub base: String,
    /// Where the Worker answers, if not on the account's domain below `workers.dev`.
    pub worker_url: Option<String>,
    /// The Worker's module, as a rule [`super::WORKER`].
    pub worker: &'static str,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("directory", &self.directory)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// Cloudflare. One value serves one plan or apply.
pub struct Cloudflare {
    options: Options,
    client: OnceCell<Client>,
    ledger: Ledger,
}

impl std::fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloudflare").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Cloudflare {
    /// The platform for one fleet and directory. Nothing is asked yet, and no secret read.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let ledger = Ledger::at(&options.directory);
        Self { options, client: OnceCell::new(), ledger }
    }

    /// What an apply would make, as files for wrangler and Terraform.
    ///
    /// # Errors
    /// When the fleet has no edge, or something that the Worker is told of is not made yet.
    pub async fn export(&self) -> Result<Vec<export::File>, Trouble> {
        let gone = || Error::NotYet { what: "a cluster at the edge".to_owned() };
        let (name, cluster) = self.edge().ok_or_else(gone)?;
        let account = (self.options.account_id)()?;
        let account = account.ok_or(Error::NoAccess { what: "platforms.cloudflare.account_id" })?;
        let settings = self.settings(account.expose_secret())?;
        // Without a token the files are the same, but for an identifier that wrangler finds by itself.
        let title = wanted::edge::routes(&self.options.fleet);
        let namespace = match (self.options.api_token)()? {
            Some(_) => self.client().await?.namespaces().await.ok(),
            None => None,
        };
        let namespace = namespace.into_iter().flatten().find(|one| one.title == title).map(|one| one.id);
        let subject = export::Subject {
            fleet: &self.options.fleet,
            name: name.as_str(),
            cluster,
            account: account.expose_secret(),
            settings: &settings,
            namespace: namespace.as_deref(),
        };
        Ok(export::files(subject, self.options.worker))
    }

    /// The client of the account.
    ///
    /// # Errors
    /// When the account or the token is not known.
    pub async fn client(&self) -> Result<&Client, Trouble> {
        let open = || async {
            let known = |what: &'static str, source: &Source| {
                source()?.ok_or_else(|| Trouble::from(Error::NoAccess { what }))
            };
            let account = known("platforms.cloudflare.account_id", &self.options.account_id)?;
            let token = known("platforms.cloudflare.api_token", &self.options.api_token)?;
            Ok(Client::new(&self.options.base, account.expose_secret(), token)?)
        };
        self.client.get_or_try_init(open).await
    }

    /// Whether it was said where the Worker answers.
    #[must_use]
    pub fn has_address(&self) -> bool {
        self.options.worker_url.is_some()
    }

    /// Where the Worker answers.
    ///
    /// # Errors
    /// When the account has no domain for it.
    pub async fn worker_url(&self) -> Result<String, Trouble> {
        if let Some(url) = &self.options.worker_url {
            return Ok(url.clone());
        }
        let subdomain = self.client().await?.subdomain().await?.ok_or(Error::NoAddress)?;
        Ok(format!("https://{}.{subdomain}.workers.dev", self.script()))
    }

    /// The Worker's own API.
    ///
    /// # Errors
    /// As [`Self::worker_url`].
    pub async fn worker(&self) -> Result<WorkerApi, Trouble> {
        Ok(WorkerApi::new(&self.worker_url().await?, self.api_token_file_content())?)
    }

    /// The file with what opens the Worker's API.
    #[must_use]
    pub fn api_token_file(&self) -> PathBuf {
        self.options.directory.join("secrets").join("edge-api-token")
    }

    fn api_token_file_content(&self) -> Option<SecretString> {
        let text = std::fs::read_to_string(self.api_token_file()).ok()?;
        Some(text.trim().to_owned()).filter(|token| !token.is_empty()).map(SecretString::from)
    }

    fn script(&self) -> String {
        wanted::edge::script(&self.options.fleet)
    }

    /// The fleet's cluster at the edge, as the file has it.
    fn edge(&self) -> Option<(&Name, &Cluster)> {
        wanted::edge::cluster(&self.options.fleet)
    }

    fn hub_cluster(&self) -> Option<&Cluster> {
        let (_, cluster) = self.edge()?;
        self.options.fleet.clusters.get(cluster.leaf_of.as_ref()?.as_str())
    }

    /// Whether what is asked is Cloudflare itself, and not something on this machine.
    fn is_remote(&self) -> bool {
        let host = self.options.base.split_once("://").map_or("", |(_, rest)| rest);
        !["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
    }

    fn identity(&self) -> Result<Identity, Error> {
        identity::read(&self.options.directory, &self.options.fleet).map_err(|what| Error::NotYet { what })
    }

    fn hub(&self, cluster: &Cluster) -> Result<Hub, Error> {
        hub::address(&self.options.directory, &self.options.fleet, cluster)
            .map_err(|what| Error::NotYet { what })
    }

    /// The settings that the Worker is to have.
    fn settings(&self, account: &str) -> Result<serde_json::Value, Error> {
        let (name, cluster) =
            self.edge().ok_or_else(|| Error::NotYet { what: "a cluster at the edge".to_owned() })?;
        let (identity, hub) = (self.identity()?, self.hub(cluster)?);
        let image = edge::image(cluster, account);
        let settings = edge::settings(&self.options.fleet, name, cluster, &identity, &hub, &image);
        let size = settings.to_string().len();
        if size > edge::LARGEST_VARIABLE {
            return Err(Error::TooLarge { size, most: edge::LARGEST_VARIABLE });
        }
        Ok(settings)
    }

    /// What a secret is to be now, if it is known yet.
    fn secret_value(&self, name: &str, create: bool) -> Result<Option<SecretString>, Trouble> {
        use windlass_engine::wanted::edge::{API_TOKEN, HUB_CREDS, LEAF_CREDS, WEBHOOK_SECRET};
        let (directory, fleet) = (&self.options.directory, &self.options.fleet);
        let file = |path: PathBuf| std::fs::read_to_string(path).ok().map(SecretString::from);
        Ok(match name {
            API_TOKEN => {
                if create && self.api_token_file_content().is_none() {
                    let mut random = [0_u8; 32];
                    rustls::crypto::ring::default_provider().secure_random.fill(&mut random).map_err(
                        |_| {
                            Trouble::from(Error::File {
                                action: "make",
                                path: self.api_token_file().display().to_string(),
                                cause: "the system gives no random numbers".to_owned(),
                            })
                        },
                    )?;
                    ledger::write_private(&self.api_token_file(), hex::encode(random).as_bytes())?;
                }
                self.api_token_file_content()
            }
            HUB_CREDS => file(identity::hub_creds(directory, fleet)),
            LEAF_CREDS => file(identity::leaf_creds(directory, fleet)),
            WEBHOOK_SECRET => (self.options.secrets)(create)?.and_then(|(path, _)| file(path)),
            _ => None,
        })
    }
}

impl Platform for Cloudflare {
    fn name(&self) -> &'static str {
        CLOUDFLARE
    }

    fn supports(&self, resource: &Resource) -> Result<(), String> {
        let fleet = &self.options.fleet;
        match resource.address.kind {
            Kind::Stream | Kind::Kv | Kind::Objects | Kind::Consumer => {
                let hub = self.edge().and_then(|(_, cluster)| cluster.leaf_of.as_ref());
                let hub = hub.map_or("a hub".to_owned(), |hub| format!("\"{hub}\""));
                return Err(format!(
                    "an edge node's disk is empty after each start, and nothing elsewhere would have a copy: write cluster = {hub}"
                ));
            }
            Kind::Bucket | Kind::Namespace | Kind::Worker | Kind::Secret | Kind::Container => {}
            Kind::Cluster => {
                let first = self.edge().map(|(name, _)| name.as_str());
                if first != Some(resource.address.name.as_str()) {
                    return Err(format!(
                        "a fleet has one cluster at Cloudflare, and that is {}: give that one more regions",
                        first.unwrap_or_default()
                    ));
                }
            }
            Kind::Receiver => {}
            kind => return Err(format!("Cloudflare has no {}", kind.as_str())),
        }
        if fleet.platforms.cloudflare.is_none() {
            return Err(
                "write [platforms.cloudflare] with the sources of account_id and api_token".to_owned()
            );
        }
        let Some((name, cluster)) = self.edge() else { return Ok(()) };
        if resource.address.kind == Kind::Bucket {
            return Ok(());
        }
        let Some(hub_name) = &cluster.leaf_of else {
            return Err(format!(
                "its nodes keep nothing, so they have to join a hub: write leaf_of in [clusters.{name}]"
            ));
        };
        let hub = fleet.clusters.get(hub_name.as_str());
        match hub {
            Some(hub) if hub.platform != PlatformName::SelfHosted => Err(format!(
                "it joins the cluster {hub_name}, and this version joins those on self-hosted only"
            )),
            Some(hub) if self.is_remote() && !hub::is_public(hub) => Err(format!(
                "Cloudflare cannot reach the cluster {hub_name}: write advertise = \"wss://…\" in [clusters.{hub_name}]"
            )),
            _ if cluster.regions.is_empty() => Err(format!(
                "it has no region: write regions = {{ weur = {{ min = 1, max = 4 }} }} in [clusters.{name}]"
            )),
            _ => Ok(()),
        }
    }

    fn warnings(&self, resource: &Resource) -> Vec<String> {
        let Some((name, cluster)) = self.edge() else { return Vec::new() };
        if resource.address.kind != Kind::Cluster || resource.address.name != name.as_str() {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        let fleet = &self.options.fleet;
        let apart = wanted::edge::accounts_apart(fleet);
        if !apart.is_empty() {
            warnings.push(format!(
                "a node joins the hub with one account, {}; {} cannot be used there, unless {0} imports from them",
                wanted::main_account(fleet),
                apart.join(", ")
            ));
        }
        if let Some(hub) = self.hub_cluster() {
            if wanted::edge::receives(fleet)
                && hub.tls == TlsUse::All
                && hub::needs_authority(hub)
                && self.is_remote()
            {
                warnings.push(
                    "a Worker trusts public certificate authorities only, so it cannot publish into the hub, which shows \
                     certificates of the fleet's own: advertise an address with a public certificate"
                        .to_owned(),
                );
            }
            if hub.servers > 1 && hub.advertise.is_none() {
                warnings.push(
                    "it joins the hub at its first server only, and waits while that one is down: advertise an address that \
                     leads to all of them"
                        .to_owned(),
                );
            }
        }
        let (_, disk) = edge::size(cluster.instance);
        if cluster.jetstream.storage.get() > disk / 4 * 3 {
            let gigabytes = disk / 1_000_000_000;
            warnings.push(format!(
                "a node of the size {} has {gigabytes} GB of disk, so its streams get {} of them and not {}",
                cluster.instance,
                windlass_fleet::Bytes::new(disk / 4 * 3),
                cluster.jetstream.storage
            ));
        }
        warnings
    }

    fn find<'a>(&'a self, scope: Scope<'a>) -> BoxFuture<'a, Result<Vec<Found>, Trouble>> {
        self.look(scope).boxed()
    }

    fn compare(&self, wanted: &Resource, found: &Found) -> Result<Option<Difference>, String> {
        match wanted.address.kind {
            Kind::Bucket => Ok(compare::bucket(wanted, found)),
            Kind::Worker => compare::worker(self.options.fleet.name(), found),
            Kind::Secret => Ok(compare::secret(found)),
            Kind::Container => compare::container(found),
            Kind::Cluster => Ok(compare::cluster(found)),
            Kind::Receiver => Ok(compare::receiver(found)),
            _ => Ok(None),
        }
    }

    fn deletion(&self, address: &Address, found: &Found) -> Result<Risk, String> {
        if found.body["for"] == "state" {
            return Err("it holds the state of this fleet; delete it in Cloudflare's dashboard when it is no longer needed".to_owned());
        }
        Ok(match address.kind {
            kind if kind.holds_data() && found.data.messages > 0 => Risk::LosesData,
            Kind::Worker | Kind::Container => Risk::Interrupts,
            _ => Risk::None,
        })
    }

    fn apply<'a>(&'a self, step: Step<'a>) -> BoxFuture<'a, Result<(), Trouble>> {
        match step {
            Step::Create(wanted) => self.make(&wanted.address, &wanted.body).boxed(),
            Step::Change { wanted, how, allow_data_loss, .. } => async move {
                if how == How::Replace {
                    self.remove(&wanted.address, &wanted.body, allow_data_loss).await?;
                }
                self.make(&wanted.address, &wanted.body).await
            }
            .boxed(),
            Step::Delete { address, body, allow_data_loss } => {
                self.remove(address, body, allow_data_loss).boxed()
            }
        }
    }
}
