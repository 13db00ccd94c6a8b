//! What a fleet costs: from its resources and the assumptions of its file to bills.
//!
//! Resources of the file and resources of the state are counted by the same function, so that a plan can say what it adds.
//! What nothing is charged for is named, never left out in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use windlass_cost::bill::{Provenance, Terms};
use windlass_cost::workload::{Assumptions, Objects, Servers, Size, Zone, n};
use windlass_cost::{Bill, Currency, Decimal, Money, Platform, PriceList, Workload};
use windlass_engine::plan::{Do, Plan, Wish};
use windlass_engine::{Address, Kind, Recorded, Resource, State};
use windlass_fleet::{Bytes, Cost, Fleet, Machines, StoreAddress};

use crate::failure::{Error, Failure};

impl From<windlass_cost::Error> for Failure {
    fn from(error: windlass_cost::Error) -> Self {
        let failure = Self::new(error.code(), error.to_string(), error.help());
        match error {
            windlass_cost::Error::Mixed { .. } | windlass_cost::Error::TooLarge => failure,
            _ => failure.bad_input(),
        }
    }
}

/// The day, as prices are dated.
pub fn today() -> Date {
    jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
}

/// The price list with a file of the user's own over it, if there is one.
pub fn prices(file: Option<&Path>) -> Result<PriceList, Failure> {
    let Some(path) = file else { return Ok(PriceList::built_in()?) };
    let text =
        std::fs::read_to_string(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?;
    Ok(PriceList::with(&text, &path.display().to_string())?)
}

/// The price list of a fleet; what is said on the command line goes before what the file says.
pub fn prices_of(fleet: &Fleet, base: Option<&Path>, asked: Option<&Path>) -> Result<PriceList, Failure> {
    let written = fleet.cost.prices.as_ref().map(|file| base.unwrap_or(Path::new("")).join(file.as_str()));
    prices(asked.or(written.as_deref()))
}

/// A cluster, as far as it matters for its cost.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cluster {
    /// Servers of one's own.
    own: u64,
    /// At Cloudflare: how large a server is, and how many each region has at least and at most.
    instance: Option<String>,
    regions: BTreeMap<String, (u64, u64)>,
    /// It is an account of Synadia's.
    synadia: bool,
    /// It joins another one.
    leaf_of: Option<String>,
}

/// What of a fleet costs something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    clusters: BTreeMap<String, Cluster>,
    /// Whether webhooks are received at Cloudflare.
    edge: bool,
    /// Whether objects are kept at Cloudflare, or in S3.
    r2: bool,
    s3: bool,
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
    fn of_things(fleet: &Fleet, things: &Things) -> Self {
        let mut parts = Self::default();
        if !things.is_empty() {
            parts.store_of(fleet);
        }
        for (address, (platform, body)) in things {
            parts.add(address, platform, body);
        }
        parts
    }

    /// Of one resource.
    pub fn of(address: &Address, platform: &str, body: &Value) -> Self {
        let mut parts = Self::default();
        parts.add(address, platform, body);
        parts
    }

    fn store_of(&mut self, fleet: &Fleet) {
        match &fleet.state.store {
            Some(StoreAddress::R2 { .. }) => self.r2 = true,
            Some(StoreAddress::S3 { .. }) => self.s3 = true,
            _ => {}
        }
    }

    fn add(&mut self, address: &Address, platform: &str, body: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        match (address.kind, platform) {
            (Kind::Server, _) => {
                let name = body["cluster"].as_str().unwrap_or_default().to_owned();
                self.clusters.entry(name).or_default().own += 1;
            }
            (Kind::Cluster, "cloudflare") => {
                let cluster = self.clusters.entry(address.name.clone()).or_default();
                cluster.instance = Some(body["instance"].as_str().unwrap_or("basic").to_owned());
                let regions = body["regions"].as_object().into_iter().flatten();
                let count = |(name, region): (&String, &Value)| {
                    (name.clone(), (number(&region["min"]), number(&region["max"])))
                };
                cluster.regions = regions.map(count).collect();
                if cluster.regions.is_empty() {
                    // One server, somewhere in Europe or North America.
                    cluster.regions.insert("weur".to_owned(), (0, 1));
                }
            }
            (Kind::Cluster, "synadia") => {
                self.clusters.entry(address.name.clone()).or_default().synadia = true;
            }
            (Kind::Receiver, "cloudflare") => self.edge = true,
            _ => {}
        }
        if matches!(address.kind, Kind::Server | Kind::Cluster) {
            let name = body["cluster"].as_str().unwrap_or(&address.name);
            if let (Some(hub), Some(cluster)) = (body["leaf_of"].as_str(), self.clusters.get_mut(name)) {
                cluster.leaf_of = Some(hub.to_owned());
            }
        }
    }

    fn has_cloudflare(&self) -> bool {
        self.edge || self.r2 || self.clusters.values().any(|cluster| cluster.instance.is_some())
    }
}

fn gb(bytes: Bytes) -> Decimal {
    n(bytes.get()) / n(1_000_000_000)
}

fn gib(bytes: Bytes) -> Decimal {
    n(bytes.get()) / n(1 << 30)
}

/// The platform of one's own machines; none where they are not counted.
fn hosting(machines: Machines) -> Option<Platform> {
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
fn empty(cost: &Cost) -> Workload {
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
fn work(parts: &Parts, cost: &Cost, chosen: impl Fn(&Cluster) -> bool) -> Workload {
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
    workload.egress_gb = egress(&clusters, workload.egress_of_messages());
    workload
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

fn objects(cost: &Cost) -> Objects {
    Objects {
        gb: gb(cost.objects.stored),
        writes: n(cost.objects.writes),
        reads: n(cost.objects.reads),
        egress_gb: gb(cost.objects.egress),
    }
}

/// The whole fleet's workload, to be billed on one platform or another.
pub fn workload(parts: &Parts, cost: &Cost) -> Workload {
    let mut workload = work(parts, cost, |_| true);
    workload.webhooks = n(cost.webhooks_per_day) * workload.seconds / n(86_400);
    workload.webhooks = workload.webhooks.ceil();
    workload.objects = objects(cost);
    workload
}

/// What a fleet costs in a month.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// A bill for each platform that it uses.
    pub bills: Vec<Bill>,
    /// All of them together, in dollars.
    pub total: Money,
    /// What has no bill.
    pub not_counted: Vec<String>,
}

impl Estimate {
    /// From the parts of a fleet. `change` puts what was measured in the place of what is assumed.
    pub fn of(
        parts: &Parts,
        cost: &Cost,
        prices: &PriceList,
        terms: Terms,
        change: &dyn Fn(Workload) -> Result<Workload, windlass_cost::Error>,
    ) -> Result<Self, windlass_cost::Error> {
        let (mut bills, mut not_counted) = (Vec::new(), Vec::new());
        if parts.has_cloudflare() {
            let mut workload = work(parts, cost, |cluster| cluster.instance.is_some());
            // What its servers have on disk is gone when they sleep: the hub's disks are counted where the hub is.
            workload.stored_gb = Decimal::ZERO;
            if parts.edge {
                workload.webhooks = (n(cost.webhooks_per_day) * workload.seconds / n(86_400)).ceil();
            }
            if !parts.s3 {
                workload.objects = objects(cost);
            }
            bills.push(Platform::Cloudflare.bill(&workload, prices, terms)?);
        }
        let own = work(parts, cost, |cluster| cluster.own > 0);
        if own.server_count() > Decimal::ZERO {
            let mut workload = change(own)?;
            if parts.s3 {
                workload.objects = objects(cost);
            }
            match hosting(cost.machines) {
                Some(platform) => bills.push(platform.bill(&workload, prices, terms)?),
                None => not_counted.push("your own machines ([cost] machines)".to_owned()),
            }
        }
        if parts.s3 && !matches!(cost.machines, Machines::AwsEc2 | Machines::AwsFargate) {
            let workload = Workload { objects: objects(cost), ..empty(cost) };
            bills.push(Platform::AwsEc2.bill(&workload, prices, terms)?);
        }
        if parts.clusters.values().any(|cluster| cluster.synadia) {
            let workload = work(parts, cost, |cluster| cluster.synadia);
            bills.push(Platform::Synadia.bill(&workload, prices, terms)?);
        }
        let mut total = Money::zero(Currency::Usd);
        for bill in &bills {
            match bill.total_in(Currency::Usd, prices)? {
                Some(amount) => total = total.plus(amount)?,
                None => not_counted.push(format!(
                    "{}: {}",
                    bill.platform.name(),
                    bill.impossible.as_deref().unwrap_or_default()
                )),
            }
        }
        Ok(Self { bills, total, not_counted })
    }

    /// Where its figures come from.
    pub fn provenance(&self, prices: &PriceList) -> Provenance {
        Provenance::of_bills(&self.bills, prices, Currency::Usd, today())
    }

    /// Everything that is not counted, once.
    pub fn left_out(&self) -> Vec<String> {
        let of_bills = self.bills.iter().flat_map(|bill| bill.not_counted.iter().cloned());
        let mut seen = BTreeSet::new();
        self.not_counted.iter().cloned().chain(of_bills).filter(|what| seen.insert(what.clone())).collect()
    }
}

/// What a month costs before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
    /// The difference, with its sign.
    pub change: String,
    #[serde(skip)]
    difference: Decimal,
}

impl Change {
    fn of(before: Money, after: Money) -> Result<Self, windlass_cost::Error> {
        let difference = after.minus(before)?;
        let sign = if difference.amount() > Decimal::ZERO { "+" } else { "" };
        let change = format!("{sign}{}", difference.cents());
        Ok(Self {
            before: before.cents(),
            after: after.cents(),
            change: if change.ends_with("0.00") && change.len() <= 5 { "0.00".to_owned() } else { change },
            difference: difference.amount(),
        })
    }

    /// Whether nothing changes.
    pub fn is_nothing(&self) -> bool {
        self.difference.is_zero()
    }
}

/// Resources that cost something, with their platforms and what they are.
type Things = BTreeMap<Address, (String, Value)>;

fn matters(address: &Address) -> bool {
    matches!(address.kind, Kind::Server | Kind::Cluster | Kind::Receiver)
}

/// What is there when the plan is done.
fn after(before: &Things, wanted: &[Resource], plan: &Plan, wish: &Wish) -> Things {
    let mut things = before.clone();
    let actions: BTreeMap<&Address, Do> =
        plan.actions.iter().map(|action| (&action.address, action.what)).collect();
    let blocked: BTreeSet<&Address> = plan.blocked.iter().map(|blocked| &blocked.address).collect();
    things.retain(|address, _| actions.get(address) != Some(&Do::Delete));
    for resource in wanted.iter().filter(|resource| matters(&resource.address)) {
        let address = &resource.address;
        // What is as wanted has no action; what is no target has none either, and stays as it is.
        let as_wanted = wish.targets.is_empty() && !wish.destroy && !blocked.contains(address);
        let made = match actions.get(address) {
            Some(Do::Delete) => false,
            Some(_) => true,
            None => as_wanted,
        };
        if made {
            things.insert(address.clone(), (resource.platform.clone(), resource.body.clone()));
        }
    }
    things
}

/// What a plan does to the bill.
#[derive(Clone, Debug, Serialize)]
pub struct PlanCost {
    /// In which currency everything is.
    pub currency: Currency,
    /// The month's total, with what is free on each platform taken off.
    pub monthly: Change,
    /// What each action changes, at list prices and without fees of plans: what is free is shared by all of them.
    pub actions: BTreeMap<Address, Change>,
    /// What is not counted.
    pub not_counted: Vec<String>,
    /// Where the figures come from.
    pub prices: Provenance,
}

impl PlanCost {
    /// Of a plan: what was recorded, and what will be when all of it is done.
    pub fn of(
        fleet: &Fleet,
        base: Option<&Path>,
        (wanted, state): (&[Resource], &State),
        plan: &Plan,
        wish: &Wish,
    ) -> Result<Self, Failure> {
        let prices = prices_of(fleet, base, None)?;
        let cost = &fleet.cost;
        let terms = Terms { list_prices: cost.list_prices };
        let estimate =
            |parts: &Parts, terms: Terms| Estimate::of(parts, cost, &prices, terms, &|workload| Ok(workload));
        let recorded = |(address, there): (&'_ Address, &'_ Recorded)| {
            (address.clone(), (there.platform.clone(), there.body.clone()))
        };
        let before: Things =
            state.resources.iter().filter(|(address, _)| matters(address)).map(recorded).collect();
        let after = after(&before, wanted, plan, wish);
        let total = |things: &Things| estimate(&Parts::of_things(fleet, things), terms);
        let (total_before, total_after) = (total(&before)?, total(&after)?);
        let alone = |address: &Address, things: &Things| -> Result<Money, windlass_cost::Error> {
            let mut sum = Money::zero(Currency::Usd);
            let Some((platform, body)) = things.get(address) else { return Ok(sum) };
            let list = Terms { list_prices: true };
            for mut bill in estimate(&Parts::of(address, platform, body), list)?.bills {
                bill.lines.retain(|line| !line.id.starts_with("plan."));
                if let Some(amount) = bill.total_in(Currency::Usd, &prices)? {
                    sum = sum.plus(amount)?;
                }
            }
            Ok(sum)
        };
        let mut actions = BTreeMap::new();
        for address in plan.actions.iter().map(|action| &action.address).filter(|address| matters(address)) {
            let change = Change::of(alone(address, &before)?, alone(address, &after)?)?;
            if !change.is_nothing() {
                actions.insert(address.clone(), change);
            }
        }
        let mut not_counted = total_after.left_out();
        let blocked = plan.blocked.iter().filter(|blocked| matters(&blocked.address));
        not_counted.extend(blocked.map(|blocked| format!("{}, which cannot be made", blocked.address)));
        Ok(Self {
            currency: Currency::Usd,
            monthly: Change::of(total_before.total, total_after.total)?,
            actions,
            not_counted,
            prices: total_after.provenance(&prices),
        })
    }

    /// The column beside an action.
    pub fn column(&self) -> BTreeMap<Address, String> {
        let text = |change: &Change| format!("{} {}/month", change.change, self.currency);
        self.actions.iter().map(|(address, change)| (address.clone(), text(change))).collect()
    }

    /// The line below the plan.
    pub fn line(&self) -> String {
        let mut line = format!("Costs {} {} a month", self.monthly.after, self.currency);
        if !self.monthly.is_nothing() {
            line.push_str(&format!(" ({} with this plan)", self.monthly.change));
        }
        if self.prices.prices > 0 {
            line.push_str(&format!("; {}", lower(&self.prices.sentence())));
        } else {
            line.push('.');
        }
        if !self.not_counted.is_empty() {
            line.push_str(&format!(" Not counted: {}.", self.not_counted.join("; ")));
        }
        line
    }
}

fn lower(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
