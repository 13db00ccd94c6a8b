//! What is there, by Cloudflare's word and the nodes' own.

use super::super::client::containers::Application;
use super::super::client::workers::{ObjectNamespace, Script};
use super::super::worker::{self, Status};
use super::*;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use windlass_engine::Data;

/// So many objects of a bucket are counted one by one; more are counted by Cloudflare's analytics.
const COUNTED: usize = 10_000;
/// Calls at once.
const AT_ONCE: usize = 8;

/// The lists that several resources are found in, each asked for once.
#[derive(Default)]
struct Seen {
    namespaces: BTreeMap<String, String>,
    scripts: Vec<Script>,
    objects: Vec<ObjectNamespace>,
    applications: Vec<Application>,
    /// What the Worker says of itself, and why it says nothing.
    status: Option<Result<Status, String>>,
    /// The names of the Worker's secrets.
    secrets: BTreeSet<String>,
}

impl Seen {
    fn script(&self, name: &str) -> Option<&Script> {
        self.scripts.iter().find(|script| script.id == name)
    }

    fn classes(&self, script: &str) -> impl Iterator<Item = &ObjectNamespace> {
        self.objects.iter().filter(move |one| one.script.as_deref() == Some(script))
    }
}

impl Cloudflare {
    pub(super) async fn look(&self, scope: Scope<'_>) -> Result<Vec<Found>, Trouble> {
        let known = scope.known();
        let mut asked: BTreeMap<&Address, &Value> =
            scope.wanted.iter().map(|one| (&one.address, &one.body)).collect();
        for (address, body) in scope.recorded {
            asked.insert(address, known.get(address).copied().unwrap_or(body));
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.client().await?;
        let seen = self.lists(client, &asked).await?;
        let mut looks = Vec::with_capacity(asked.len());
        for (address, body) in asked {
            looks.push(self.look_at(client, &seen, address, body).boxed());
        }
        let found: Vec<Result<Option<Found>, Trouble>> =
            futures::stream::iter(looks).buffered(AT_ONCE).collect().await;
        found.into_iter().filter_map(Result::transpose).collect()
    }

    async fn lists(&self, client: &Client, asked: &BTreeMap<&Address, &Value>) -> Result<Seen, Trouble> {
        let needs = |kinds: &[Kind]| asked.keys().any(|address| kinds.contains(&address.kind));
        let workers = needs(&[Kind::Worker, Kind::Secret, Kind::Container, Kind::Cluster, Kind::Receiver]);
        let mut seen = Seen::default();
        if needs(&[Kind::Namespace, Kind::Worker]) {
            seen.namespaces = client.namespaces().await?.into_iter().map(|one| (one.title, one.id)).collect();
        }
        if workers {
            (seen.scripts, seen.objects) = tokio::try_join!(client.scripts(), client.object_namespaces())?;
        }
        if needs(&[Kind::Container, Kind::Cluster]) {
            seen.applications = client.applications().await?;
        }
        let script = self.script();
        if seen.script(&script).is_some() {
            seen.secrets = client.secrets(&script).await?.into_iter().collect();
            if needs(&[Kind::Worker, Kind::Cluster]) {
                seen.status = Some(self.status().await);
            }
        }
        Ok(seen)
    }

    /// What the Worker says, or why it says nothing.
    pub(super) async fn status(&self) -> Result<Status, String> {
        let worker = self.worker().await.map_err(|trouble| trouble.to_string())?;
        worker.status().await.map_err(|error| error.to_string())
    }

    async fn look_at(
        &self,
        client: &Client,
        seen: &Seen,
        address: &Address,
        body: &Value,
    ) -> Result<Option<Found>, Trouble> {
        let found = |body: Value| Found {
            address: address.clone(),
            body,
            data: Data::default(),
            trouble: None,
            unseen: false,
        };
        Ok(match address.kind {
            Kind::Bucket => self.look_at_bucket(client, address, body).await?,
            Kind::Namespace => seen.namespaces.get(&address.name).map(|id| found(json!({ "id": id }))),
            Kind::Worker => self.look_at_worker(client, seen, address).await?,
            Kind::Secret => {
                let (script, name) = address.name.split_once('/').unwrap_or_default();
                let there = script == self.script() && seen.secrets.contains(name);
                if there { Some(found(self.look_at_secret(&address.name, name)?)) } else { None }
            }
            Kind::Container => {
                let there = seen.applications.iter().find(|one| one.name == address.name);
                there.map(|there| found(self.look_at_container(client, seen, there)))
            }
            Kind::Cluster => {
                self.look_at_nodes(client, seen, body).map(|(body, trouble)| Found { trouble, ..found(body) })
            }
            Kind::Receiver => self.look_at_receiver(client, seen).await?.map(found),
            _ => None,
        })
    }

    async fn look_at_bucket(
        &self,
        client: &Client,
        address: &Address,
        body: &Value,
    ) -> Result<Option<Found>, Trouble> {
        let name = address.name.as_str();
        if client.bucket(name).await?.is_none() {
            return Ok(None);
        }
        let (rules, objects) = tokio::try_join!(client.lifecycle(name), client.objects(name, COUNTED))?;
        let mut data =
            Data { messages: objects.len() as u64, bytes: objects.iter().map(|object| object.size).sum() };
        if objects.len() >= COUNTED {
            let now = jiff::Timestamp::now();
            let from = now.saturating_sub(jiff::SignedDuration::from_hours(48)).unwrap_or(now);
            let size = client.bucket_size(name, &from.to_string(), &now.to_string()).await.ok().flatten();
            if let Some((objects, bytes)) = size.filter(|(objects, _)| *objects > data.messages) {
                data = Data { messages: objects, bytes };
            }
        }
        let rule = rules.iter().find(|rule| rule.id == make::PAYLOADS_RULE && rule.enabled);
        let after = rule.and_then(|rule| rule.delete.as_ref()).map(|after| after.condition.max_age);
        let body = json!({ "for": body["for"], "delete_after_seconds": after });
        Ok(Some(Found { address: address.clone(), body, data, trouble: None, unseen: false }))
    }

    async fn look_at_worker(
        &self,
        client: &Client,
        seen: &Seen,
        address: &Address,
    ) -> Result<Option<Found>, Trouble> {
        let name = address.name.as_str();
        let Some(script) = seen.script(name) else { return Ok(None) };
        let (settings, modules, answers) =
            tokio::try_join!(client.settings(name), client.modules(name), client.is_on_subdomain(name))?;
        let settings = settings.unwrap_or_default();
        let main = modules.iter().find(|(module, _)| module == edge::MODULE).or_else(|| modules.first());
        let is_secret =
            |binding: &&Value| !binding["type"].as_str().unwrap_or_default().starts_with("secret_");
        let classes: Vec<&str> = seen.classes(name).filter_map(|one| one.class.as_deref()).collect();
        let namespace = seen.namespaces.get(&wanted::edge::routes(&self.options.fleet));
        let would_be = match self.settings(client.account()) {
            Ok(wanted) => {
                let bindings =
                    edge::bindings(&self.options.fleet, &wanted, namespace.map_or("", String::as_str));
                json!({
                    "module": edge::module_digest(self.options.worker.as_bytes()),
                    "bindings": bindings,
                    "compatibility_date": edge::COMPATIBILITY_DATE,
                    "compatibility_flags": edge::COMPATIBILITY_FLAGS,
                })
            }
            Err(error) => json!({ "unknown": error.to_string() }),
        };
        let body = json!({
            "module": main.map(|(_, content)| edge::module_digest(content)),
            "bindings": settings.bindings.iter().filter(is_secret).collect::<Vec<_>>(),
            "compatibility_date": settings.compatibility_date,
            "compatibility_flags": settings.compatibility_flags,
            "migration": script.migration_tag,
            "classes": classes,
            // Where somebody else leads to it, its own address may be off.
            "answers": answers || self.options.worker_url.is_some(),
            "would_be": would_be,
        });
        // One that was never told what deliveries are signed with has taken none.
        let receives = seen.secrets.contains(wanted::edge::WEBHOOK_SECRET);
        let (data, unseen, trouble) = match &seen.status {
            Some(Ok(status)) => {
                (Data { messages: status.outbox.events, bytes: status.outbox.bytes }, false, None)
            }
            Some(Err(reason)) if receives => (Data::default(), true, Some(reason.clone())),
            _ => (Data::default(), false, None),
        };
        Ok(Some(Found { address: address.clone(), body, data, trouble, unseen }))
    }

    fn look_at_secret(&self, key: &str, name: &str) -> Result<Value, Trouble> {
        let value = self.secret_value(name, false)?;
        let is = value.map(|value| ledger::digest(name, value.expose_secret()));
        Ok(json!({ "was": self.ledger.read().get(key), "is": is }))
    }

    fn look_at_container(&self, client: &Client, seen: &Seen, there: &Application) -> Value {
        let namespace =
            seen.classes(&self.script()).find(|one| one.class.as_deref() == Some(edge::NODE_CLASS));
        let namespace = namespace.map(|one| one.id.as_str());
        let id = there.durable_objects.as_ref().map(|objects| objects.namespace_id.as_str());
        let owner = seen.objects.iter().find(|one| Some(one.id.as_str()) == id);
        let would_be = self.edge().map(|(name, cluster)| {
            edge::application(
                &self.options.fleet,
                name,
                cluster,
                client.account(),
                namespace.unwrap_or_default(),
            )
        });
        json!({
            "application": there,
            "owner": owner.and_then(|owner| owner.script.as_deref()),
            "script": self.script(),
            "would_be": would_be,
        })
    }

    /// The nodes, if anything of them is there.
    fn look_at_nodes(&self, client: &Client, seen: &Seen, body: &Value) -> Option<(Value, Option<String>)> {
        let script = body["worker"].as_str().map_or_else(|| self.script(), str::to_owned);
        let (name, cluster) = self.edge().unzip();
        let application = name.map(|name| wanted::edge::application(&self.options.fleet, name.as_str()));
        seen.script(&script)?;
        if let Some(application) = application
            && !seen.applications.iter().any(|one| one.name == application)
        {
            return None;
        }
        let hash = self.settings(client.account()).ok().map(|settings| settings["config_hash"].clone());
        let version = cluster.map(edge::nats_version);
        let (wrong, trouble) = match &seen.status {
            Some(Ok(status)) => {
                let hash = hash.as_ref().and_then(Value::as_str).unwrap_or_default();
                (worker::wrong(status, version.unwrap_or_default(), hash), None)
            }
            Some(Err(reason)) => (Vec::new(), Some(reason.clone())),
            None => (Vec::new(), None),
        };
        let restarts = wrong.iter().any(|(_, node)| node.is_some());
        let wrong: Vec<&str> = wrong.iter().map(|(what, _)| what.as_str()).collect();
        Some((json!({ "wrong": wrong, "restarts": restarts }), trouble))
    }

    async fn look_at_receiver(&self, client: &Client, seen: &Seen) -> Result<Option<Value>, Trouble> {
        let script = self.script();
        if seen.script(&script).is_none() || !wanted::edge::receives(&self.options.fleet) {
            return Ok(None);
        }
        let settings = client.settings(&script).await?.unwrap_or_default();
        let named = |binding: &&Value| binding["name"] == "SETTINGS";
        if settings.bindings.iter().find(named).is_none_or(|binding| binding["json"]["github"].is_null()) {
            return Ok(None);
        }
        let health = match self.worker().await {
            Ok(worker) => worker.health().await.map_err(|error| error.to_string()),
            Err(trouble) => Err(trouble.to_string()),
        };
        Ok(Some(json!({ "wrong": health.err() })))
    }
}
