//! The fleet as a drawing has it: what the file wants beside what runs, each part with a mark that says how they differ.
//!
//! [`Topology::of`] puts both together; [`terminal`], [`svg`] and [`mermaid`] draw it. All of it is pure.

mod drawing;
mod mermaid;
pub mod seen;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

pub use mermaid::mermaid;
pub use svg::svg;
pub use terminal::terminal;

use seen::{Health, Seen};
use serde::Serialize;
use view::View;
use windlass_fleet::Fleet;

/// How a part that runs differs from what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// It runs as the file says.
    AsWanted,
    /// It runs, but not as it should.
    Impaired,
    /// It was made, and does not run.
    Down,
    /// The file has it, and it was never made.
    Missing,
    /// It runs, and the file does not have it.
    Extra,
    /// Nobody was asked.
    NotAsked,
}

impl Mark {
    /// In a word or two.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsWanted => "as wanted",
            Self::Impaired => "impaired",
            Self::Down => "down",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::NotAsked => "not asked",
        }
    }

    /// Whether what runs is not what is wanted.
    #[must_use]
    pub const fn is_difference(self) -> bool {
        !matches!(self, Self::AsWanted | Self::NotAsked)
    }

    fn of(health: &Health) -> Self {
        match health {
            Health::Healthy => Self::AsWanted,
            Health::Impaired(_) => Self::Impaired,
            Health::Down(_) => Self::Down,
        }
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its name within the fleet.
    pub name: String,
    /// How it differs.
    pub mark: Mark,
    /// Why.
    pub why: Option<String>,
    /// Whether it leads JetStream's metadata.
    pub leader: bool,
    /// Where clients reach it.
    pub url: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub platform: String,
    /// What else there is to know of it, in a few words each.
    pub notes: Vec<String>,
    /// How it differs as a whole.
    pub mark: Mark,
    /// Its servers.
    pub servers: Vec<Server>,
    /// The routes between its servers that are wanted, with those that are there.
    pub routes: Vec<Link>,
}

/// What kind of link it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// Between two servers of a cluster.
    Route,
    /// From a cluster to the one that it joins.
    LeafNode,
    /// Between two clusters of a super-cluster.
    Gateway,
}

impl LinkKind {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::LeafNode => "leaf node",
            Self::Gateway => "gateway",
        }
    }
}

/// A link between two servers or clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// How it differs.
    pub mark: Mark,
    /// Why.
    pub why: Option<String>,
}

/// The receiver of webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receiver {
    /// Where it runs.
    pub platform: String,
    /// How it differs.
    pub mark: Mark,
    /// Why.
    pub why: Option<String>,
    /// Where GitHub posts to.
    pub url: Option<String>,
    /// The stream that it publishes into.
    pub stream: Option<String>,
    /// The cluster of that stream.
    pub cluster: Option<String>,
}

/// GitHub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Github {
    /// The organization, if the file names it.
    pub organization: Option<String>,
}

/// One thing in which what runs differs from the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is: `server hub-2`.
    pub what: String,
    /// How it differs.
    pub mark: Mark,
    /// Why.
    pub why: Option<String>,
}

/// The whole fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// The fleet's name.
    pub fleet: String,
    /// The environment, if one is laid over the file.
    pub environment: Option<String>,
    /// Whether anything that runs was asked.
    pub asked: bool,
    /// Where events come from.
    pub github: Option<Github>,
    /// What takes them.
    pub receiver: Option<Receiver>,
    /// The clusters, each before those that join it.
    pub clusters: Vec<Cluster>,
    /// The links between clusters.
    pub links: Vec<Link>,
    /// Everything that differs.
    pub differences: Vec<Difference>,
}

impl Topology {
    /// The fleet of a file beside what was seen of it; `None` is nobody asked.
    #[must_use]
    pub fn of(fleet: &Fleet, environment: Option<&str>, seen: Option<&Seen>) -> Self {
        let view = View::of(fleet, seen);
        let mut clusters: Vec<Cluster> = view
            .in_order()
            .into_iter()
            .filter_map(|name| Some(view.cluster(name, fleet.clusters.get(name)?)))
            .collect();
        clusters.extend(view.extra_clusters());
        let mut topology = Self {
            fleet: fleet.name().to_owned(),
            environment: environment.map(str::to_owned),
            asked: seen.is_some(),
            github: fleet
                .github
                .as_ref()
                .map(|github| Github { organization: github.organization.as_ref().map(ToString::to_string) }),
            receiver: view.receiver(),
            clusters,
            links: view.links(),
            differences: Vec::new(),
        };
        topology.differences = topology.find_differences();
        topology
    }

    fn find_differences(&self) -> Vec<Difference> {
        let mut all = Vec::new();
        let mut add = |what: String, mark: Mark, why: &Option<String>| {
            if mark.is_difference() {
                all.push(Difference { what, mark, why: why.clone() });
            }
        };
        if let Some(receiver) = &self.receiver {
            add("the receiver".to_owned(), receiver.mark, &receiver.why);
        }
        for cluster in &self.clusters {
            if cluster.servers.is_empty() {
                add(format!("cluster {}", cluster.name), cluster.mark, &None);
            }
            for server in &cluster.servers {
                add(format!("server {}", server.name), server.mark, &server.why);
            }
            for route in &cluster.routes {
                add(format!("route {} – {}", route.from, route.to), route.mark, &route.why);
            }
        }
        for link in &self.links {
            let between = if link.kind == LinkKind::Gateway { "–" } else { "→" };
            add(format!("{} {} {between} {}", link.kind.as_str(), link.from, link.to), link.mark, &link.why);
        }
        all
    }
}
