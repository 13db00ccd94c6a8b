//! The Worker's own API: what runs at the edge, said by the nodes themselves.

use super::Error;
use super::client::http_client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What runs at the edge.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The Worker's version, where it knows it.
    pub version: Option<String>,
    /// The hash of what nodes are started with now.
    pub config_hash: String,
    /// The regions by name.
    pub regions: BTreeMap<String, Region>,
    /// Events that are on their way.
    pub outbox: OutboxStatus,
}

/// A region.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, Deserialize)]
#[serde(default)]
pub struct Region {
    /// At least so many nodes.
    pub min: u32,
    /// At most so many.
    pub max: u32,
    /// Those that there are.
    pub nodes: Vec<Node>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `running`, `starting`, `asleep`, `draining` or `failed`.
    pub state: String,
    /// The version of nats-server that runs.
    pub running_version: Option<String>,
    /// The hash of what it was started with.
    pub config_hash: Option<String>,
    /// Its clients.
    pub connections: Option<u64>,
    /// Why it failed last.
    pub last_error: Option<String>,
}

/// Events that wait for the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(default)]
pub struct OutboxStatus {
    /// How many.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where a Worker answers.
pub struct WorkerApi {
    http: reqwest::Client,
    url: String,
    token: Option<SecretString>,
}

impl std::fmt::Debug for WorkerApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerApi").field("url", &self.url).finish_non_exhaustive()
    }
}

impl WorkerApi {
    /// The Worker at `url`, with what opens its API.
    ///
    /// # Errors
    /// When no client can be made here.
    pub fn new(url: &str, token: Option<SecretString>) -> Result<Self, super::client::Error> {
        Ok(Self { http: http_client()?, url: url.trim_end_matches('/').to_owned(), token })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn silent(&self, cause: impl Into<String>) -> Error {
        Error::Silent { url: self.url.clone(), cause: cause.into() }
    }

    async fn ask(&self, method: reqwest::Method, path: &str) -> Result<Vec<u8>, Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).timeout(ANSWER_WITHIN);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await.map_err(|error| self.silent(error.without_url().to_string()))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.silent(error.without_url().to_string()))?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        let said = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        let error = &said["error"];
        let words = match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => format!("{message} ({code}, {status})"),
            _ => format!("HTTP status {status}"),
        };
        Err(self.silent(words))
    }

    /// Whether it answers and can work.
    ///
    /// # Errors
    /// Why not.
    pub async fn health(&self) -> Result<(), Error> {
        self.ask(reqwest::Method::GET, "/health").await.map(drop)
    }

    /// What runs.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Status, Error> {
        let body = self.ask(reqwest::Method::GET, "/api/status").await?;
        serde_json::from_slice(&body).map_err(|error| self.silent(error.to_string()))
    }

    /// Does `restart`, `drain` or `wake` with a node: the `index`-th of a region.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn node(&self, region: &str, index: usize, what: &str) -> Result<(), Error> {
        self.ask(reqwest::Method::POST, &format!("/api/nodes/{region}/{index}/{what}")).await.map(drop)
    }

    /// Lets events that wait go to the hub now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn drain_outbox(&self) -> Result<(), Error> {
        self.ask(reqwest::Method::POST, "/api/outbox/drain").await.map(drop)
    }
}

/// What of a status is not as it should be, one sentence for each, with the node that a restart would mend. Pure.
#[must_use]
pub fn wrong(status: &Status, version: &str, config_hash: &str) -> Vec<(String, Option<(String, usize)>)> {
    let mut all = Vec::new();
    if status.config_hash != config_hash {
        all.push(("the Worker answers with the configuration from before".to_owned(), None));
    }
    for (name, region) in &status.regions {
        let mut running = 0;
        for (index, node) in region.nodes.iter().enumerate() {
            let index = index_of(&node.name).unwrap_or(index);
            let restart = Some((name.clone(), index));
            let says = |what: String| format!("{}: {what}", node.name);
            match node.state.as_str() {
                "running" => {
                    let runs = node.running_version.as_deref().unwrap_or_default();
                    if runs != version {
                        all.push((says(format!("it runs nats-server {runs}, not {version}")), restart));
                    } else if node.config_hash.as_deref() != Some(config_hash) {
                        all.push((says("it runs with the configuration from before".to_owned()), restart));
                    } else {
                        running += 1;
                    }
                }
                "failed" => {
                    let error = node.last_error.as_deref().unwrap_or("it does not say why");
                    all.push((says(format!("it failed: {error}")), restart));
                }
                _ => {}
            }
        }
        let faulty = all.iter().any(|(_, node)| node.as_ref().is_some_and(|(region, _)| region == name));
        if running < region.min as usize && !faulty {
            all.push((format!("{name}: {running} of at least {} nodes run", region.min), None));
        }
    }
    all
}

/// The number at the end of a node's name.
fn index_of(name: &str) -> Option<usize> {
    name.rsplit_once('-').and_then(|(_, index)| index.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(nodes: &serde_json::Value) -> Status {
        serde_json::from_value(json!({
            "version": "v", "config_hash": "h", "regions": { "weur": { "min": 1, "max": 2, "nodes": nodes } },
            "outbox": { "events": 0, "bytes": 0, "oldest_ms": 0, "delivered": 7 },
        }))
        .unwrap()
    }

    #[test]
    fn a_node_proves_what_it_runs() {
        let good = json!({ "name": "acme-edge-weur-0", "state": "running", "running_version": "2.15.1", "config_hash": "h" });
        assert_eq!(wrong(&status(&json!([good])), "2.15.1", "h"), []);
        let with = |key: &str, value: &str| {
            let mut node = good.clone();
            node[key] = value.into();
            wrong(&status(&json!([node])), "2.15.1", "h")
        };
        assert!(with("running_version", "2.14.0")[0].0.contains("2.14.0, not 2.15.1"));
        assert_eq!(with("config_hash", "old")[0].1, Some(("weur".to_owned(), 0)));
        assert!(with("state", "failed")[0].0.contains("it failed"));
        assert_eq!(with("state", "asleep")[0].0, "weur: 0 of at least 1 nodes run");
        assert_eq!(wrong(&status(&json!([])), "2.15.1", "h").len(), 1);
        assert_eq!(wrong(&status(&json!([good])), "2.15.1", "other").len(), 2);
    }
}
