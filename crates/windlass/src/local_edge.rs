//! `windlass up --edge`: the fleet's edge in the local Cloudflare.
//!
//! That it is there is written down in the run directory (`edge.json`), so that every later command on that directory asks
//! the stand-in as well, and no other Cloudflare. A fleet file without a cluster at Cloudflare gets one laid over it.

use std::fs;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use windlass_engine::wanted::{self, edge};
use windlass_fleet::{Fleet, Name, ReceiveAt};
use windlass_image::cloudflare::Account;
use windlass_platforms::cloudflare;

use crate::failure::Error;
use crate::run_directory::{RunDirectory, read_json, write_json};
use crate::run_record::CloudflareEndpoints;

/// What is laid over a fleet that has no edge.
const EDGE: &str = r#"
[fleet]
name = "edge"

[platforms.cloudflare]
account_id = { env = "CLOUDFLARE_ACCOUNT_ID" }
api_token = { env = "CLOUDFLARE_API_TOKEN" }

[clusters.hub]
jetstream = { domain = "hub" }

[clusters.edge]
platform = "cloudflare"
leaf_of = "hub"
jetstream = { domain = "edge", storage = "2GiB" }
regions = { weur = { min = 1, max = 2 }, enam = { min = 1, max = 2 } }
"#;

/// Where the local Cloudflare of a run directory answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalEdge {
    /// The API.
    pub api_url: String,
    /// The Worker.
    pub worker_url: String,
    /// The container registry, as `ADDRESS:PORT`.
    #[serde(default)]
    pub registry: String,
}

impl LocalEdge {
    /// At these addresses.
    pub fn at([api, worker, registry]: [std::net::SocketAddr; 3]) -> Self {
        Self {
            api_url: format!("http://{api}/client/v4"),
            worker_url: format!("http://{worker}"),
            registry: registry.to_string(),
        }
    }

    /// The one of a run directory, if it has one.
    pub fn read(directory: &RunDirectory) -> Option<Self> {
        read_json(&directory.edge_file())
    }

    /// Notes that the run directory has one.
    pub fn write(&self, directory: &RunDirectory) -> Result<(), Error> {
        write_json(&directory.edge_file(), self)
    }

    /// Notes that it has none any more.
    pub fn forget(directory: &RunDirectory) {
        let _ = fs::remove_file(directory.edge_file());
    }

    /// Lets Cloudflare be asked there.
    pub fn apply_to(&self, options: &mut cloudflare::Options, directory: &RunDirectory) {
        let line = |at: usize| -> cloudflare::Source {
            let directory = directory.clone();
            Arc::new(move || Ok(credentials(&directory).map(|mut lines| lines.swap_remove(at))))
        };
        (options.account_id, options.api_token) = (line(0), line(1));
        options.base.clone_from(&self.api_url);
        options.worker_url = Some(self.worker_url.clone());
    }

    /// Who asks its API, and where its registry is. Nobody else's Cloudflare is meant in a run directory that has its own.
    pub fn account(&self, directory: &RunDirectory) -> Option<(Account, String)> {
        let lines = credentials(directory)?;
        let [id, token] = <[SecretString; 2]>::try_from(lines).ok()?;
        let (id, api) = (id.expose_secret().to_owned(), self.api_url.clone());
        (!self.registry.is_empty()).then(|| (Account { id, token, api }, self.registry.clone()))
    }

    /// What scripts get.
    pub fn endpoints(&self, directory: &RunDirectory) -> CloudflareEndpoints {
        let lines = credentials(directory).unwrap_or_default();
        let text = |at: usize| lines.get(at).map(|line| line.expose_secret().to_owned()).unwrap_or_default();
        CloudflareEndpoints {
            api_url: self.api_url.clone(),
            account_id: text(0),
            api_token: text(1),
            worker_url: self.worker_url.clone(),
        }
    }
}

/// The account and the token of the local Cloudflare, once it has made them.
fn credentials(directory: &RunDirectory) -> Option<Vec<SecretString>> {
    let text = fs::read_to_string(directory.root().join("cloudflare").join("credentials")).ok()?;
    let lines: Vec<SecretString> = text.lines().map(SecretString::from).collect();
    (lines.len() == 2).then_some(lines)
}

/// The fleet with an edge that receives GitHub's events. Its hub is reached on this machine, whatever it advertises to others.
pub fn laid_over(mut fleet: Fleet) -> Fleet {
    let Ok(mut other) = windlass_fleet::parse(EDGE, "the edge") else { return fleet };
    let hub = wanted::main_cluster(&fleet).map(|(name, _)| name.clone());
    if edge::cluster(&fleet).is_none()
        && let (Some(hub), Some((name, mut cluster))) = (&hub, other.clusters.remove_entry("edge"))
    {
        cluster.leaf_of = Some(hub.clone());
        fleet.clusters.insert(name, cluster);
        if let Some(github) = &mut fleet.github {
            github.receive_at = ReceiveAt::Edge;
        }
    }
    if fleet.platforms.cloudflare.is_none() {
        fleet.platforms.cloudflare = other.platforms.cloudflare.take();
    }
    let hub = edge::cluster(&fleet).and_then(|(_, cluster)| cluster.leaf_of.clone()).or(hub);
    if let Some(hub) = hub.and_then(|hub| fleet.clusters.get_mut(hub.as_str())) {
        hub.advertise = None;
        // JetStream on both sides of a leaf connection is told apart by its domain.
        if hub.jetstream.domain.is_none() {
            hub.jetstream.domain = "hub".parse::<Name>().ok();
        }
    }
    fleet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_without_an_edge_gets_one() {
        let fleet = windlass_fleet::parse(windlass_fleet::embedded(), "windlass.toml").unwrap();
        let fleet = laid_over(fleet);
        let (name, cluster) = edge::cluster(&fleet).unwrap();
        assert_eq!((name.as_str(), cluster.leaf_of.as_ref().unwrap().as_str()), ("edge", "hub"));
        assert_eq!(cluster.regions.len(), 2);
        assert!(edge::receives(&fleet));
        // What is laid over is a fleet that could have been written.
        let printed = windlass_fleet::print(&fleet);
        assert_eq!(windlass_fleet::parse(&printed, "printed").unwrap(), fleet);
        // And once is enough.
        assert_eq!(laid_over(fleet.clone()), fleet);
    }

    #[test]
    fn a_fleet_with_an_edge_keeps_it() {
        let file = EDGE
            .replace("max = 2", "max = 7")
            .replace("[clusters.hub]", "[clusters.hub]\nadvertise = \"wss://a.example\"");
        let fleet = laid_over(windlass_fleet::parse(&file, "x").unwrap());
        let (_, cluster) = edge::cluster(&fleet).unwrap();
        assert!(cluster.regions.values().all(|region| region.max == 7));
        assert_eq!(fleet.clusters.get("hub").unwrap().advertise, None);
    }
}
