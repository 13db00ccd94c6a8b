//! What is deleted, and what is not lost by it.

use super::super::worker::WorkerApi;
use super::*;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Objects that are deleted at once.
const AT_ONCE: usize = 16;
/// So many objects are listed before they are deleted.
const LISTED: usize = 1000;
/// How long the last events may take into the hub.
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);
/// How long Cloudflare may take until something is really gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(500);

impl Cloudflare {
    pub(super) async fn remove(
        &self,
        address: &Address,
        body: &Value,
        allow_data_loss: bool,
    ) -> Result<(), Trouble> {
        let client = self.client().await?;
        match address.kind {
            Kind::Bucket => self.remove_bucket(client, &address.name, allow_data_loss).await,
            Kind::Namespace => {
                let there = client.namespaces().await?.into_iter().find(|one| one.title == address.name);
                match there {
                    Some(namespace) => Ok(client.delete_namespace(&namespace.id).await?),
                    None => Ok(()),
                }
            }
            Kind::Worker => self.remove_worker(client, &address.name, allow_data_loss).await,
            Kind::Secret => self.remove_secret(client, address).await,
            Kind::Container => self.remove_container(client, &address.name).await,
            // The nodes go with their containers, the receiver with the Worker.
            Kind::Cluster | Kind::Receiver => Ok(()),
            _ => Err(Trouble::new(
                "WL0508",
                format!("{address} ({body}) is not at Cloudflare"),
                "windlass plan",
            )),
        }
    }

    async fn remove_bucket(&self, client: &Client, name: &str, allow_data_loss: bool) -> Result<(), Trouble> {
        if client.bucket(name).await?.is_none() {
            return Ok(());
        }
        loop {
            let objects = client.objects(name, LISTED).await?;
            if objects.is_empty() {
                break;
            }
            if !allow_data_loss {
                return Err(Error::NotEmpty { bucket: name.to_owned(), objects: objects.len() as u64 }.into());
            }
            let mut deletions = Vec::with_capacity(objects.len());
            for object in &objects {
                deletions.push(client.delete_object(name, &object.key).boxed());
            }
            futures::stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }
        Ok(client.delete_bucket(name).await?)
    }

    /// A secret goes with its Worker: without it the Worker could not say what it still holds. Only one that a Worker no
    /// longer needs is deleted by itself.
    async fn remove_secret(&self, client: &Client, address: &Address) -> Result<(), Trouble> {
        let (script, name) = address.name.split_once('/').unwrap_or_default();
        let stays = self.edge().is_some() && script == self.script();
        if stays && !wanted::edge::secrets(&self.options.fleet).contains(&name) {
            client.delete_secret(script, name).await?;
            self.ledger.note(&address.name, None).await?;
        }
        Ok(())
    }

    async fn remove_container(&self, client: &Client, name: &str) -> Result<(), Trouble> {
        let Some(there) = client.application(name).await? else { return Ok(()) };
        client.delete_application(&there.id).await?;
        let begun = Instant::now();
        while client.application(name).await?.is_some() {
            if begun.elapsed() >= GONE_WITHIN {
                return Err(Error::LeftBehind { what: format!("the container application {name}") }.into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn remove_worker(
        &self,
        client: &Client,
        script: &str,
        allow_data_loss: bool,
    ) -> Result<(), Trouble> {
        if client.script(script).await?.is_some() {
            let secrets = client.secrets(script).await?;
            let received = secrets.iter().any(|name| name == wanted::edge::WEBHOOK_SECRET);
            if received && !allow_data_loss {
                self.deliver(&self.worker().await?).await?;
            }
            client.delete_script(script).await?;
        }
        // With the script its Durable Objects go.
        let begun = Instant::now();
        loop {
            let left = client
                .object_namespaces()
                .await?
                .into_iter()
                .find(|one| one.script.as_deref() == Some(script));
            let Some(left) = left else { break };
            if begun.elapsed() >= GONE_WITHIN {
                let class = left.class.unwrap_or_default();
                return Err(
                    Error::LeftBehind { what: format!("the Durable Objects {class} of {script}") }.into()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        for secret in self.ledger.read().into_keys().filter(|key| key.starts_with(&format!("{script}/"))) {
            self.ledger.note(&secret, None).await?;
        }
        Ok(())
    }

    /// Waits until every event that the Worker holds is in the hub.
    async fn deliver(&self, worker: &WorkerApi) -> Result<(), Trouble> {
        let begun = Instant::now();
        loop {
            let events = worker.status().await?.outbox.events;
            if events == 0 {
                return Ok(());
            }
            if begun.elapsed() >= DELIVERED_WITHIN {
                return Err(Error::Undelivered { events }.into());
            }
            worker.drain_outbox().await?;
            tokio::time::sleep(LOOK).await;
        }
    }
}
