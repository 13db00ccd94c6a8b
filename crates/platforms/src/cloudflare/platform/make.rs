//! What is made and changed. Each can be done twice, and goes on where it was killed: all is found again by its name.

use super::super::client::r2::{After, LifecycleRule, Prefix};
use super::super::worker;
use super::*;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// The rule by which payloads go.
pub(super) const PAYLOADS_RULE: &str = "windlass-payloads";
/// How long a Worker may take until it answers, everywhere.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
/// How long nodes may take until they run what they are to run. Images are pulled, and starts are cold.
const RUNS_WITHIN: Duration = Duration::from_secs(300);
/// A node that failed is given up after this: it says why, and waiting longer tells nothing new.
const FAILS_WITHIN: Duration = Duration::from_secs(45);
const LOOK: Duration = Duration::from_millis(500);
/// How often an upload is begun whose answer was lost.
const UPLOADS: u32 = 4;

impl Cloudflare {
    pub(super) async fn make(&self, address: &Address, body: &Value) -> Result<(), Trouble> {
        let client = self.client().await?;
        match address.kind {
            Kind::Bucket => self.make_bucket(client, address, body).await,
            Kind::Namespace => Ok(client.ensure_namespace(&address.name).await.map(drop)?),
            Kind::Worker => self.make_worker(client).await,
            Kind::Secret => self.make_secret(client, address).await,
            Kind::Container => self.make_container(client).await,
            Kind::Cluster => self.settle(client).await,
            Kind::Receiver => self.receive().await,
            _ => Err(Trouble::new("WL0508", format!("{address} cannot be at Cloudflare"), "windlass plan")),
        }
    }

    async fn make_bucket(&self, client: &Client, address: &Address, body: &Value) -> Result<(), Trouble> {
        client.ensure_bucket(&address.name).await?;
        if body["for"] != "payloads" {
            return Ok(());
        }
        let before = client.lifecycle(&address.name).await?;
        let mut rules: Vec<LifecycleRule> =
            before.iter().filter(|rule| rule.id != PAYLOADS_RULE).cloned().collect();
        if let Some(seconds) = body["delete_after_seconds"].as_u64() {
            rules.push(LifecycleRule {
                id: PAYLOADS_RULE.to_owned(),
                enabled: true,
                conditions: Prefix::default(),
                delete: Some(After::seconds(seconds)),
                abort_uploads: None,
            });
        }
        if rules != before {
            client.set_lifecycle(&address.name, &rules).await?;
        }
        Ok(())
    }

    async fn make_worker(&self, client: &Client) -> Result<(), Trouble> {
        let script = self.script();
        let settings = self.settings(client.account())?;
        // Nobody could reach it: better known before than after.
        self.worker_url().await?;
        let namespace = client.ensure_namespace(&wanted::edge::routes(&self.options.fleet)).await?;
        let bindings = edge::bindings(&self.options.fleet, &settings, &namespace);
        for attempt in 1.. {
            // The classes are made once: an upload whose answer was lost may have made them.
            let there = client.script(&script).await?;
            let is_new = there.and_then(|there| there.migration_tag).is_none();
            let metadata = edge::metadata(&bindings, is_new);
            match client.upload(&script, &metadata, edge::MODULE, self.options.worker).await {
                Err(error) if error.is_uncertain() && attempt < UPLOADS => {
                    tokio::time::sleep(LOOK * attempt).await;
                }
                uploaded => {
                    uploaded?;
                    break;
                }
            }
        }
        if self.options.worker_url.is_none() && !client.is_on_subdomain(&script).await? {
            client.put_on_subdomain(&script).await?;
        }
        Ok(())
    }

    async fn make_secret(&self, client: &Client, address: &Address) -> Result<(), Trouble> {
        let (script, name) = address.name.split_once('/').unwrap_or_default();
        let value = self.secret_value(name, true)?;
        let value = value.ok_or_else(|| Error::NotYet { what: format!("the value of {name}") })?;
        client.set_secret(script, name, &value).await?;
        Ok(self.ledger.note(&address.name, Some(ledger::digest(name, value.expose_secret()))).await?)
    }

    async fn make_container(&self, client: &Client) -> Result<(), Trouble> {
        let gone = || Error::NotYet { what: "a cluster at the edge".to_owned() };
        let (name, cluster) = self.edge().ok_or_else(gone)?;
        let script = self.script();
        let namespaces = client.object_namespaces().await?;
        let of_nodes = namespaces.into_iter().find(|one| {
            one.script.as_deref() == Some(&script) && one.class.as_deref() == Some(edge::NODE_CLASS)
        });
        let namespace = of_nodes.ok_or_else(|| Error::NotYet { what: format!("the Worker {script}") })?;
        let wanted = edge::application(&self.options.fleet, name, cluster, client.account(), &namespace.id);
        let there = client.ensure_application(&wanted).await?;
        let regions = |application: &super::super::client::containers::Application| {
            let mut regions = application.constraints.clone().unwrap_or_default().regions;
            regions.sort_unstable();
            regions
        };
        let keeps = there.max_instances == wanted.max_instances
            && regions(&there) == regions(&wanted)
            && there.rollout_active_grace_period == wanted.rollout_active_grace_period;
        if !keeps {
            client.change_application(&there.id, &wanted).await?;
        }
        let (runs, to_run) = (&there.configuration, &wanted.configuration);
        let same_size = runs.instance_type.is_none() || runs.instance_type == to_run.instance_type;
        if runs.image != to_run.image || !same_size {
            client.roll_out(&there.id, to_run, "windlass apply").await?;
        }
        Ok(())
    }

    /// Waits until every node says itself that it runs what is wanted, and helps those along that do not.
    async fn settle(&self, client: &Client) -> Result<(), Trouble> {
        let gone = || Error::NotYet { what: "a cluster at the edge".to_owned() };
        let (_, cluster) = self.edge().ok_or_else(gone)?;
        let settings = self.settings(client.account())?;
        let hash = settings["config_hash"].as_str().unwrap_or_default().to_owned();
        let api = self.worker().await?;
        let begun = Instant::now();
        let mut restarted = std::collections::BTreeSet::new();
        let mut failing: Option<Instant> = None;
        loop {
            let wrong = match api.status().await {
                Ok(status) => worker::wrong(&status, edge::nats_version(cluster), &hash),
                Err(error) if begun.elapsed() >= ANSWERS_WITHIN => return Err(error.into()),
                Err(error) => vec![(error.to_string(), None)],
            };
            if wrong.is_empty() {
                return Ok(());
            }
            // A Worker that answers as before tells its nodes what was before.
            let current = !wrong.iter().any(|(what, _)| what.starts_with("the Worker"));
            for (region, index) in wrong.iter().filter_map(|(_, node)| node.clone()).filter(|_| current) {
                if restarted.insert((region.clone(), index)) {
                    // It may be restarting by itself.
                    if let Err(error) = api.node(&region, index, "restart").await {
                        tracing::debug!(region, index, %error, "the node is not restarted");
                    }
                }
            }
            let fails = wrong.iter().any(|(what, _)| what.contains("it failed"));
            failing = if fails { failing.or_else(|| Some(Instant::now())) } else { None };
            let given_up = failing.is_some_and(|since| since.elapsed() >= FAILS_WITHIN);
            if given_up || begun.elapsed() >= RUNS_WITHIN {
                let what: Vec<String> = wrong.into_iter().map(|(what, _)| what).collect();
                return Err(Error::NotRunning { what: what.join("; ") }.into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the Worker takes webhooks.
    async fn receive(&self) -> Result<(), Trouble> {
        let api = self.worker().await?;
        let begun = Instant::now();
        loop {
            match api.health().await {
                Err(error) if begun.elapsed() >= ANSWERS_WITHIN => return Err(error.into()),
                Err(_) => tokio::time::sleep(LOOK).await,
                Ok(()) => return Ok(()),
            }
        }
    }
}
