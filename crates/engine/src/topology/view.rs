//! What is wanted and what was seen, put together part by part.

use super::seen::{self, Health, Role, Seen};
use super::{Cluster, Link, LinkKind, Mark, Receiver, Server};
use crate::wanted::server_name;
use std::collections::{BTreeMap, BTreeSet};
use windlass_fleet::{Cluster as WantedCluster, Fleet, PlatformName, ReceiveAt};

fn by_name(seen: &Seen) -> BTreeMap<&str, &seen::Server> {
    seen.servers.iter().map(|server| (server.name.as_str(), server)).collect()
}

/// The file beside what was seen.
pub(super) struct View<'a> {
    fleet: &'a Fleet,
    seen: Option<&'a Seen>,
    known: BTreeMap<&'a str, &'a seen::Server>,
}

impl<'a> View<'a> {
    pub(super) fn of(fleet: &'a Fleet, seen: Option<&'a Seen>) -> Self {
        Self { fleet, seen, known: seen.map(by_name).unwrap_or_default() }
    }

    /// The clusters of the file: that of GitHub's events first, each before those that join it.
    pub(super) fn in_order(&self) -> Vec<&'a str> {
        let first = self
            .fleet
            .github_stream()
            .and_then(|(_, stream)| self.fleet.cluster_of(stream))
            .map(|(name, _)| name);
        let mut left: Vec<&str> = first.map(windlass_fleet::Name::as_str).into_iter().collect();
        let all = self.fleet.clusters.iter();
        // Those that are joined by gateways are beside each other.
        for joined in [true, false] {
            let roots = all.clone().filter(|(_, one)| one.leaf_of.is_none() && one.super_cluster == joined);
            left.extend(roots.map(|(name, _)| name.as_str()));
        }
        left.extend(all.clone().map(|(name, _)| name.as_str()));
        left.reverse();
        let mut order = Vec::new();
        while let Some(name) = left.pop() {
            if order.contains(&name) {
                continue;
            }
            order.push(name);
            let joins = all.clone().rev().filter(|(_, one)| one.leaf_of.as_deref() == Some(name));
            left.extend(joins.map(|(name, _)| name.as_str()));
        }
        order
    }

    pub(super) fn cluster(&self, name: &str, wanted: &WantedCluster) -> Cluster {
        let here = wanted.platform == PlatformName::SelfHosted;
        let names: Vec<String> = if here {
            (0..wanted.servers).map(|index| server_name(name, index)).collect()
        } else {
            Vec::new()
        };
        let mut servers: Vec<Server> = names
            .iter()
            .map(|name| self.server(name, wanted.version.as_ref().map(windlass_fleet::Version::as_str)))
            .collect();
        servers.extend(self.extra_servers(name, &names));
        Cluster {
            name: name.to_owned(),
            platform: wanted.platform.as_str().to_owned(),
            notes: notes(wanted),
            mark: worst(&servers),
            routes: self.routes(&names),
            servers,
        }
    }

    fn server(&self, name: &str, version: Option<&str>) -> Server {
        let seen = self.known.get(name);
        let (mut mark, mut why) = match (self.seen, seen) {
            (None, _) => (Mark::NotAsked, None),
            (_, None) => (Mark::Missing, None),
            (_, Some(seen)) => (Mark::of(&seen.health), seen.health.why().map(str::to_owned)),
        };
        let found = seen.and_then(|seen| seen.version.clone());
        if let (Some(wanted), Some(found), Mark::AsWanted) = (version, found.as_deref(), mark)
            && wanted != found
        {
            (mark, why) = (Mark::Impaired, Some(format!("version {wanted} is wanted")));
        }
        Server {
            name: name.to_owned(),
            mark,
            why,
            leader: seen.is_some_and(|seen| seen.role == Some(Role::Leader)),
            url: seen.and_then(|seen| seen.url.clone()),
            version: found,
        }
    }

    fn extra_servers(&self, cluster: &str, wanted: &[String]) -> Vec<Server> {
        let servers = self.known.values().filter(|seen| seen.cluster == cluster);
        servers
            .filter(|seen| !wanted.contains(&seen.name))
            .map(|seen| Server { mark: Mark::Extra, ..self.server(&seen.name, None) })
            .collect()
    }

    /// Clusters that run, and that the file does not have on this platform.
    pub(super) fn extra_clusters(&self) -> Vec<Cluster> {
        let names: BTreeSet<&str> = self.known.values().map(|seen| seen.cluster.as_str()).collect();
        let extra = names.into_iter().filter(|name| !self.fleet.clusters.contains_key(*name));
        extra
            .map(|name| Cluster {
                name: name.to_owned(),
                platform: PlatformName::SelfHosted.as_str().to_owned(),
                notes: Vec::new(),
                mark: Mark::Extra,
                servers: self.extra_servers(name, &[]),
                routes: Vec::new(),
            })
            .collect()
    }

    /// Whether a server runs, so that it can have links.
    fn runs(&self, name: &str) -> Option<&'a seen::Server> {
        self.known.get(name).copied().filter(|seen| !matches!(seen.health, Health::Down(_)))
    }

    fn routes(&self, servers: &[String]) -> Vec<Link> {
        let mut routes = Vec::new();
        for (at, from) in servers.iter().enumerate() {
            for to in &servers[at + 1..] {
                let mark = match (self.seen, self.runs(from), self.runs(to)) {
                    (None, ..) => Mark::NotAsked,
                    (_, Some(a), Some(b)) if a.routes.contains(to) || b.routes.contains(from) => {
                        Mark::AsWanted
                    }
                    (_, Some(_), Some(_)) => Mark::Down,
                    // That the server is away is said once.
                    _ => Mark::NotAsked,
                };
                let (from, to) = (from.clone(), to.clone());
                routes.push(Link { kind: LinkKind::Route, from, to, mark, why: None });
            }
        }
        routes
    }

    fn servers_of(&self, cluster: &str) -> impl Iterator<Item = &'a seen::Server> + use<'_, 'a> {
        let cluster = cluster.to_owned();
        let all = self.known.values().copied();
        all.filter(move |seen| seen.cluster == cluster && !matches!(seen.health, Health::Down(_)))
    }

    pub(super) fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for name in self.in_order() {
            let Some(hub) = self.fleet.clusters.get(name).and_then(|cluster| cluster.leaf_of.as_ref()) else {
                continue;
            };
            let hub = hub.as_str();
            let joined: BTreeSet<&str> =
                self.servers_of(hub).flat_map(|server| &server.leaf_nodes).map(String::as_str).collect();
            let alone = self.servers_of(name).filter(|server| {
                !joined.contains(server.name.as_str())
                    && !server
                        .leaf_nodes
                        .iter()
                        .any(|other| self.known.get(&**other).is_some_and(|o| o.cluster == hub))
            });
            let alone: Vec<&str> = alone.map(|server| server.name.as_str()).collect();
            links.push(self.link(LinkKind::LeafNode, name, hub, &alone));
        }
        let joined: Vec<&str> = self
            .in_order()
            .into_iter()
            .filter(|name| self.fleet.clusters.get(*name).is_some_and(|cluster| cluster.super_cluster))
            .collect();
        for (at, from) in joined.iter().enumerate() {
            for to in &joined[at + 1..] {
                let mut alone: Vec<&str> = Vec::new();
                for (one, other) in [(from, to), (to, from)] {
                    let without = self.servers_of(one).filter(|server| !server.gateways.contains(*other));
                    alone.extend(without.map(|server| server.name.as_str()));
                }
                links.push(self.link(LinkKind::Gateway, from, to, &alone));
            }
        }
        links
    }

    /// A link that all running servers should have, apart from those that are `alone`.
    fn link(&self, kind: LinkKind, from: &str, to: &str, alone: &[&str]) -> Link {
        let (ours, theirs) = (self.servers_of(from).count(), self.servers_of(to).count());
        let all = if kind == LinkKind::Gateway { ours + theirs } else { ours };
        let mark = match self.seen {
            // A cluster that does not run is said once.
            None => Mark::NotAsked,
            Some(_) if ours == 0 || theirs == 0 => Mark::NotAsked,
            Some(_) if alone.is_empty() => Mark::AsWanted,
            Some(_) if alone.len() >= all => Mark::Down,
            Some(_) => Mark::Impaired,
        };
        let why = mark.is_difference().then(|| format!("not of {}", alone.join(", ")));
        Link { kind, from: from.to_owned(), to: to.to_owned(), mark, why }
    }

    pub(super) fn receiver(&self) -> Option<Receiver> {
        let seen = self.seen.and_then(|seen| seen.receiver.as_ref());
        let here = PlatformName::SelfHosted.as_str();
        let Some(github) = &self.fleet.github else {
            return seen.map(|seen| Receiver {
                platform: here.to_owned(),
                mark: Mark::Extra,
                why: seen.health.why().map(str::to_owned),
                url: seen.url.clone(),
                stream: None,
                cluster: None,
            });
        };
        let platform =
            if github.receive_at == ReceiveAt::Edge { PlatformName::Cloudflare.as_str() } else { here };
        let (mark, why) = match (self.seen, seen) {
            (None, _) => (Mark::NotAsked, None),
            (Some(_), None) if platform != here => (Mark::NotAsked, None),
            (Some(_), None) => (Mark::Missing, None),
            (Some(_), Some(seen)) => (Mark::of(&seen.health), seen.health.why().map(str::to_owned)),
        };
        let cluster = self.fleet.github_stream().and_then(|(_, stream)| self.fleet.cluster_of(stream));
        Some(Receiver {
            platform: platform.to_owned(),
            mark,
            why,
            url: seen.and_then(|seen| seen.url.clone()),
            stream: Some(github.stream.as_str().to_owned()),
            cluster: cluster.map(|(name, _)| name.as_str().to_owned()),
        })
    }
}

/// What else there is to know of a cluster.
fn notes(cluster: &WantedCluster) -> Vec<String> {
    let domain = cluster.jetstream.domain.as_ref().map(|domain| format!("domain {}", domain.as_str()));
    let regions = cluster
        .regions
        .iter()
        .map(|(name, region)| format!("{} {}–{}", name.as_str(), region.min, region.max));
    let synadia = (cluster.platform == PlatformName::Synadia).then(|| "servers are Synadia's".to_owned());
    domain.into_iter().chain(regions).chain(synadia).collect()
}

fn worst(servers: &[Server]) -> Mark {
    let all = |mark| servers.iter().all(|server| server.mark == mark);
    if servers.is_empty() {
        return Mark::NotAsked;
    }
    let of_one = [Mark::Missing, Mark::Down, Mark::Extra, Mark::NotAsked].into_iter().find(|mark| all(*mark));
    of_one.unwrap_or_else(|| if all(Mark::AsWanted) { Mark::AsWanted } else { Mark::Impaired })
}
