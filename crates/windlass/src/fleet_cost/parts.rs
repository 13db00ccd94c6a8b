//! What of a fleet costs something, and the workload that it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use windlass_cost::workload::{Assumptions, Objects, Servers, Size, Zone, n};
use windlass_cost::{Decimal, Platform, Workload};
use windlass_engine::wanted::{CLOUDFLARE, SELF_HOSTED};
use windlass_engine::{Address, Kind, Resource};
use windlass_fleet::{Bytes, Cost, Fleet, Machines, StoreAddress};

use super::plan::Things;

/// A cluster, as far as it matters for its cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cluster {
    /// Servers of one's own.
    pub(super) own: u64,
    /// Whether it is at Cloudflare, how large a server is there, and how many each region has at least and at most.
    pub(super) at_cloudflare: bool,
    pub(super) instance: Option<String>,
    pub(super) regions: BTreeMap<String, (u64, u64)>,
    /// It is an account of Synadia's.
    pub(super) synadia: bool,
    /// It joins another one.
    pub(super) leaf_of: Option<String>,
}

/// What of a fleet costs something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    pub(super) clusters: BTreeMap<String, Cluster>,
    /// Whether webhooks are received at Cloudflare.
    pub(super) edge: bool,
    /// Whether objects are kept at Cloudflare, or in S3.
    pub(super) r2: bool,
    pub(super) s3: bool,
    /// At Cloudflare, what a cluster is stands in three resources, which have the Worker's name in common.
    worker_of: BTreeMap<String, String>,
    instances: BTreeMap<String, String>,
    hubs: BTreeMap<String, String>,
}

impl Parts {
    /// Of what the file wants.
    pub fn wanted(fleet: &Fleet, resources: &[Resource]) -> Self {
        let mut parts = Self::default();
        parts.store_of(fleet);
        for resource in resources {
            parts.add(&resource.address, &resource.platform, &resource.body);
        }
        parts
    }

    /// Of resources. Where objects are is the file's to say, and nothing is there before anything else is.
    pub(super) fn of_things(fleet: &Fleet, things: &Things) -> Self {
        let mut parts = Self::default();
        if !things.is_empty() {
            parts.store_of(fleet);
        }
        for (address, (platform, body)) in things {
            parts.add(address, platform, body);
        }
        parts
    }

    fn store_of(&mut self, fleet: &Fleet) {
        match &fleet.state.store {
            Some(StoreAddress::R2(..)) => self.r2 = true,
            Some(StoreAddress::S3(..)) => self.s3 = true,
            _ => {}
        }
    }

    /// Counts a resource in.
    pub(super) fn add(&mut self, address: &Address, platform: &str, body: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match (address.kind, platform) {
            (Kind::Server, SELF_HOSTED) => {
                let cluster = self.clusters.entry(cluster_of(body)).or_default();
                cluster.own += 1;
                cluster.leaf_of = text(&body["leaf_of"]);
            }
            (Kind::Cluster, CLOUDFLARE) => {
                let cluster = self.clusters.entry(address.name.clone()).or_default();
                cluster.at_cloudflare = true;
                cluster.instance = text(&body["instance"]);
                cluster.leaf_of = text(&body["leaf_of"]);
                let regions = body["regions"].as_object().into_iter().flatten();
                let count = |(name, region): (&String, &Value)| {
                    (name.clone(), (number(&region["min"]), number(&region["max"])))
                };
                cluster.regions = regions.map(count).collect();
                if cluster.regions.is_empty() {
                    // One server, somewhere in Europe or North America.
                    cluster.regions.insert("weur".to_owned(), (0, 1));
                }
                if let Some(worker) = text(&body["worker"]) {
                    self.worker_of.insert(address.name.clone(), worker);
                }
            }
            (Kind::Container, CLOUDFLARE) => {
                let (worker, instance) = (text(&body["worker"]), text(&body["instance"]));
                self.instances.extend(worker.zip(instance));
            }
            (Kind::Worker, CLOUDFLARE) => {
                self.hubs.extend(text(&body["leaf_of"]).map(|hub| (address.name.clone(), hub)));
            }
            (Kind::Cluster, "synadia") => {
                let cluster = self.clusters.entry(address.name.clone()).or_default();
                cluster.synadia = true;
                cluster.leaf_of = text(&body["leaf_of"]);
            }
            (Kind::Receiver, CLOUDFLARE) => self.edge = true,
            _ => {}
        }
        for (name, worker) in &self.worker_of {
            let Some(cluster) = self.clusters.get_mut(name) else { continue };
            cluster.instance = self.instances.get(worker).cloned();
            cluster.leaf_of = self.hubs.get(worker).cloned();
        }
    }

    /// Counts a server out; whether it was one.
    pub(super) fn remove_server(&mut self, address: &Address, platform: &str, body: &Value) -> bool {
        if (address.kind, platform) != (Kind::Server, SELF_HOSTED) {
            return false;
        }
        let name = cluster_of(body);
        if let Some(cluster) = self.clusters.get_mut(&name) {
            cluster.own = cluster.own.saturating_sub(1);
            if *cluster == (Cluster { leaf_of: cluster.leaf_of.clone(), ..Cluster::default() }) {
                self.clusters.remove(&name);
            }
        }
        true
    }

    pub(super) fn has_cloudflare(&self) -> bool {
        self.edge || self.r2 || self.clusters.values().any(|cluster| cluster.at_cloudflare)
    }
}

fn cluster_of(body: &Value) -> String {
    body["cluster"].as_str().unwrap_or_default().to_owned()
}

fn gb(bytes: Bytes) -> Decimal {
    n(bytes.get()) / n(1_000_000_000)
}

fn gib(bytes: Bytes) -> Decimal {
    n(bytes.get()) / n(1 << 30)
}

/// The platform of one's own machines; none where they are not counted.
pub(super) fn hosting(machines: Machines) -> Option<Platform> {
    match machines {
        Machines::Uncounted => None,
        Machines::Own => Some(Platform::Own),
        Machines::Hetzner => Some(Platform::Hetzner),
        Machines::DigitalOcean => Some(Platform::DigitalOcean),
        Machines::AwsEc2 => Some(Platform::AwsEc2),
        Machines::AwsFargate => Some(Platform::AwsFargate),
    }
}

/// A workload with the file's assumptions and nothing in it.
pub(super) fn empty(cost: &Cost) -> Workload {
    Workload {
        message_bytes: n(cost.message_size.get()),
        fan_out: n(u64::from(cost.fan_out)),
        assumptions: Assumptions {
            cpu_micros_per_message: n(u64::from(cost.message_cpu_micros)),
            idle_cpu_percent: n(u64::from(cost.idle_cpu_percent)),
            worker_ms: n(u64::from(cost.worker_cpu_millis)),
            ..Assumptions::default()
        },
        ..Workload::nothing()
    }
}

/// What the clusters that are chosen do.
pub(super) fn work(
    parts: &Parts,
    cost: &Cost,
    chosen: impl Fn(&Cluster) -> bool,
) -> Result<Workload, windlass_cost::Error> {
    let mut workload = empty(cost);
    let clusters: Vec<(&String, &Cluster)> =
        parts.clusters.iter().filter(|(_, cluster)| chosen(cluster)).collect();
    let count = n(clusters.len() as u64);
    workload.connections = n(cost.connections) * count;
    workload.messages = n(cost.messages_per_second) * workload.seconds * count;
    workload.stored_gb = gb(cost.stored) * count;
    let names: BTreeSet<&str> = clusters.iter().map(|(name, _)| name.as_str()).collect();
    let joins = |cluster: &&Cluster| cluster.leaf_of.as_deref().is_some_and(|hub| names.contains(hub));
    workload.leaf_nodes = n(parts.clusters.values().filter(joins).count() as u64);
    for (_, cluster) in &clusters {
        let mut push = |count: u64, size: Size, awake_percent: Decimal| {
            if count > 0 {
                workload.servers.push(Servers { count: n(count), size, awake_percent });
            }
        };
        let machine = &cost.machine;
        let size = Size {
            vcpu: n(u64::from(machine.vcpus)),
            memory_gib: gib(machine.memory),
            disk_gb: gb(machine.disk),
        };
        push(cluster.own, size, n(100));
        let instance = cluster.instance.as_deref().and_then(Size::of_instance);
        for (min, max) in instance.iter().flat_map(|_| cluster.regions.values()) {
            let size = instance.unwrap_or(size);
            push(*min, size, n(100));
            push(max.saturating_sub(*min), size, n(u64::from(cost.awake_percent)));
        }
    }
    workload.egress_gb = egress(&clusters, workload.egress_of_messages()?);
    Ok(workload)
}

/// What leaves, by zone: as many parts as clusters, each split over its regions by their servers.
fn egress(clusters: &[(&String, &Cluster)], gb: Decimal) -> BTreeMap<Zone, Decimal> {
    let mut zones = BTreeMap::new();
    let Some(each) = gb.checked_div(n(clusters.len() as u64)) else { return zones };
    for (_, cluster) in clusters {
        let servers: u64 = cluster.regions.values().map(|(_, max)| max).sum();
        if servers == 0 {
            *zones.entry(Zone::NaEu).or_default() += each;
            continue;
        }
        for (region, (_, max)) in &cluster.regions {
            *zones.entry(Zone::of_region(region)).or_default() += each * n(*max) / n(servers);
        }
    }
    zones
}

pub(super) fn objects(cost: &Cost) -> Objects {
    Objects {
        gb: gb(cost.objects.stored),
        writes: n(cost.objects.writes),
        reads: n(cost.objects.reads),
        egress_gb: gb(cost.objects.egress),
    }
}

/// The whole fleet's workload, to be billed on one platform or another.
pub fn workload(parts: &Parts, cost: &Cost) -> Result<Workload, windlass_cost::Error> {
    let mut workload = work(parts, cost, |_| true)?;
    workload.webhooks = n(cost.webhooks_per_day) * workload.seconds / n(86_400);
    workload.webhooks = workload.webhooks.ceil();
    workload.objects = objects(cost);
    Ok(workload)
}

#[cfg(test)]
mod tests {
    use windlass_engine::wanted;

    use super::*;

    fn of(file: &str) -> (Fleet, Parts) {
        let fleet = windlass_fleet::parse(&format!("[fleet]\nname = \"x\"\n{file}"), "x").unwrap();
        let parts = Parts::wanted(&fleet, &wanted::resources(&fleet));
        (fleet, parts)
    }

    #[test]
    fn a_regions_least_is_always_awake_and_egress_follows_the_servers() {
        let (fleet, parts) = of("
            [clusters.edge]
            platform = \"cloudflare\"
            regions = { weur = { min = 2, max = 3 }, oc = { max = 1 } }
            [cost]
            awake_percent = 10
            messages_per_second = 1000
            message_size = 1000
        ");
        let workload = workload(&parts, &fleet.cost).unwrap();
        let servers: Vec<(String, String)> = workload
            .servers
            .iter()
            .map(|servers| (servers.count.to_string(), servers.awake_percent.to_string()))
            .collect();
        let expected =
            [("1", "10"), ("2", "100"), ("1", "10")].map(|(count, awake)| (count.into(), awake.into()));
        assert_eq!(servers, expected);
        // 1,000 B × 1,000 a second × 2,628,000 s are 2,628 GB; three servers of four are in Europe.
        let zone = |zone| workload.egress_gb[&zone].normalize().to_string();
        assert_eq!((zone(Zone::NaEu).as_str(), zone(Zone::Oceania).as_str()), ("1971", "657"));
    }

    #[test]
    fn leaf_nodes_are_those_that_join_what_is_billed() {
        let (fleet, parts) = of("
            [clusters.cloud]
            platform = \"synadia\"
            [clusters.a]
            leaf_of = \"cloud\"
            jetstream = { domain = \"a\" }
            servers = 3
            [clusters.b]
            ports = { client = 5222, websocket = 10222, monitor = 9322, cluster = 7222 }
            jetstream = { domain = \"b\" }
        ");
        let cloud = work(&parts, &fleet.cost, |cluster| cluster.synadia).unwrap();
        assert_eq!((cloud.leaf_nodes, cloud.server_count()), (n(1), n(0)));
        let own = work(&parts, &fleet.cost, |cluster| cluster.own > 0).unwrap();
        assert_eq!((own.leaf_nodes, own.server_count()), (n(0), n(4)));
        assert!(!parts.has_cloudflare());
    }

    #[test]
    fn each_instance_has_a_bill_of_its_own_and_a_leaf_its_hub() {
        // A month awake, 2,628,000 s, nothing else, at what is free: memory in GiB × s − 90,000 at 0.0000025, disk in GB × s −
        // 720,000 at 0.00000007, the plan 5, one object within what is free.
        // lite:       657,000 → 1.4175;     5,256,000 → 0.31752.
        // basic:      2,628,000 → 6.345;    10,512,000 → 0.68544.
        // standard-1: 10,512,000 → 26.055;  21,024,000 → 1.42128.
        // standard-2: 15,768,000 → 39.195;  31,536,000 → 2.15712.
        for (instance, total) in [
            ("lite", "6.73502"),
            ("basic", "12.03044"),
            ("standard-1", "32.47628"),
            ("standard-2", "46.35212"),
        ] {
            let (fleet, parts) = of(&format!(
                "
                [clusters.hub]
                jetstream = {{ domain = \"hub\" }}
                [clusters.edge]
                platform = \"cloudflare\"
                leaf_of = \"hub\"
                jetstream = {{ domain = \"edge\" }}
                regions = {{ weur = {{ min = 1, max = 1 }} }}
                instance = \"{instance}\"
                [cost]
                awake_percent = 100
                connections = 0
                messages_per_second = 0
                idle_cpu_percent = 0
            "
            ));
            assert_eq!(parts.clusters["edge"].leaf_of.as_deref(), Some("hub"));
            let work = work(&parts, &fleet.cost, |cluster| cluster.at_cloudflare).unwrap();
            let work = Workload { stored_gb: Decimal::ZERO, ..work };
            let prices = windlass_cost::PriceList::built_in().unwrap();
            let terms = windlass_cost::Terms::default();
            let bill = Platform::Cloudflare.bill(&work, &prices, terms).unwrap();
            assert_eq!(bill.total().unwrap().exact(), total, "{instance}");
        }
    }
}
