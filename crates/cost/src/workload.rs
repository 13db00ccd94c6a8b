//! What a fleet does in a month: servers, connections, messages, bytes. The same workload is billed on each platform.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::Error;
use crate::money::quantity;

/// A month: 730 hours, a twelfth of 365 days.
pub const MONTH_SECONDS: u64 = 2_628_000;

/// The most that any figure may be. Beyond it products of figures and constants might not fit into 28 digits.
const MOST: Decimal = Decimal::from_parts(0x6310_0000, 0x6bc7_5e2d, 0x5, false, 0);

/// A whole number as a decimal.
#[must_use]
pub fn n(number: u64) -> Decimal {
    Decimal::from(number)
}

/// A sum, or the most there is: [`Workload::check`] refuses that.
fn sum(figures: impl Iterator<Item = Decimal>) -> Decimal {
    figures.fold(Decimal::ZERO, |sum, figure| sum.checked_add(figure).unwrap_or(Decimal::MAX))
}

/// Where Cloudflare's prices of egress differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    /// North America and Europe.
    NaEu,
    /// Oceania, Korea and Taiwan.
    Oceania,
    /// Everywhere else.
    Elsewhere,
}

impl Zone {
    /// Every zone.
    pub const ALL: [Self; 3] = [Self::NaEu, Self::Oceania, Self::Elsewhere];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NaEu => "na-eu",
            Self::Oceania => "oceania",
            Self::Elsewhere => "elsewhere",
        }
    }

    /// The zone of one of Cloudflare's regions, as the fleet file names them. `apac` counts as elsewhere, although Korea
    /// and Taiwan, which are in it, cost more: the region does not say where in it a server runs.
    #[must_use]
    pub fn of_region(region: &str) -> Self {
        match region {
            "wnam" | "enam" | "weur" | "eeur" => Self::NaEu,
            "oc" => Self::Oceania,
            _ => Self::Elsewhere,
        }
    }
}

/// Cloudflare's instance types, the smallest first: sixteenths of a processor, MiB of memory, GB of disk.
const INSTANCES: [(&str, u32, u32, u32); 6] = [
    ("lite", 1, 256, 2),
    ("basic", 4, 1024, 4),
    ("standard-1", 8, 4096, 8),
    ("standard-2", 16, 6144, 12),
    ("standard-3", 32, 8192, 16),
    ("standard-4", 64, 12_288, 20),
];

/// How large a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Processors, or a part of one.
    pub vcpu: Decimal,
    /// Memory.
    pub memory_gib: Decimal,
    /// Disk of its own.
    pub disk_gb: Decimal,
}

impl Size {
    /// From sixteenths of a processor, MiB of memory, and GB of disk.
    #[must_use]
    pub fn new(sixteenths: u32, memory_mib: u32, disk_gb: u32) -> Self {
        Self {
            vcpu: Decimal::new(i64::from(sixteenths) * 625, 4),
            memory_gib: Decimal::from(memory_mib) / Decimal::from(1024),
            disk_gb: Decimal::from(disk_gb),
        }
    }

    /// The size of one of Cloudflare's instance types.
    #[must_use]
    pub fn of_instance(name: &str) -> Option<Self> {
        let instance = INSTANCES.iter().find(|(known, ..)| *known == name);
        instance.map(|&(_, sixteenths, mib, disk)| Self::new(sixteenths, mib, disk))
    }

    /// The smallest of Cloudflare's instance types that has as many processors and as much memory, with its size. Its disk
    /// keeps nothing, so that is not asked for.
    #[must_use]
    pub fn instance(self) -> Option<(&'static str, Self)> {
        let sized =
            INSTANCES.iter().map(|&(name, sixteenths, mib, disk)| (name, Self::new(sixteenths, mib, disk)));
        sized.into_iter().find(|(_, size)| size.vcpu >= self.vcpu && size.memory_gib >= self.memory_gib)
    }
}

/// Servers of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// How many.
    pub count: Decimal,
    /// How large each is.
    pub size: Size,
    /// Which share of the time each is awake, in percent. It matters only where a sleeping server costs nothing.
    pub awake_percent: Decimal,
}

/// What is kept in an object store: state, backups, large payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// How much is there, on average.
    pub gb: Decimal,
    /// Writes, lists and the like in the month.
    pub writes: Decimal,
    /// Reads in the month.
    pub reads: Decimal,
    /// How much is read by others than the platform itself.
    pub egress_gb: Decimal,
}

/// What nobody can measure beforehand, and what is built on AWS around the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumptions {
    /// Microseconds of a processor for each message that comes in or goes out.
    pub cpu_micros_per_message: Decimal,
    /// How much of a processor an awake server takes while it has nothing to do, in percent.
    pub idle_cpu_percent: Decimal,
    /// Milliseconds of a processor that the Worker takes for a webhook or a new connection.
    pub worker_ms: Decimal,
    /// How often each client connects anew, a day.
    pub reconnects_a_day: Decimal,
    /// On AWS: whether a load balancer stands in front.
    pub load_balancer: bool,
    /// On AWS: whether the servers are in a private network, behind a NAT gateway.
    pub nat: bool,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            cpu_micros_per_message: n(10),
            idle_cpu_percent: Decimal::ONE,
            worker_ms: n(2),
            reconnects_a_day: Decimal::ONE,
            load_balancer: true,
            nat: false,
        }
    }
}

/// What a fleet does in a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// How long the fleet is there, in seconds: a month, or less.
    pub seconds: Decimal,
    /// Its servers.
    pub servers: Vec<Servers>,
    /// Clients at once.
    pub connections: Decimal,
    /// Leaf nodes that join from elsewhere.
    pub leaf_nodes: Decimal,
    /// Messages that come in.
    pub messages: Decimal,
    /// How large a message is.
    pub message_bytes: Decimal,
    /// To how many clients each goes.
    pub fan_out: Decimal,
    /// What leaves the servers, in GB of 10⁹ bytes.
    pub egress_gb: BTreeMap<Zone, Decimal>,
    /// Webhooks that are received.
    pub webhooks: Decimal,
    /// What the streams have on disk, replicas included.
    pub stored_gb: Decimal,
    /// What is in the object store.
    pub objects: Objects,
    /// What is assumed.
    pub assumptions: Assumptions,
}

impl Workload {
    /// A month in which nothing happens on no servers.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            seconds: n(MONTH_SECONDS),
            servers: Vec::new(),
            connections: Decimal::ZERO,
            leaf_nodes: Decimal::ZERO,
            messages: Decimal::ZERO,
            message_bytes: n(1024),
            fan_out: Decimal::ONE,
            egress_gb: BTreeMap::new(),
            webhooks: Decimal::ZERO,
            stored_gb: Decimal::ZERO,
            objects: Objects::default(),
            assumptions: Assumptions::default(),
        }
    }

    /// Whether it is a usage that can be.
    ///
    /// # Errors
    /// With the figure that cannot.
    pub fn check(&self) -> Result<(), Error> {
        let assumed = &self.assumptions;
        let mut figures = vec![
            ("the time", self.seconds),
            ("the number of connections", self.connections),
            ("the number of leaf nodes", self.leaf_nodes),
            ("the number of messages", self.messages),
            ("the size of a message", self.message_bytes),
            ("the fan-out", self.fan_out),
            ("the number of webhooks", self.webhooks),
            ("what is stored", self.stored_gb),
            ("what is stored as objects", self.objects.gb),
            ("the number of writes", self.objects.writes),
            ("the number of reads", self.objects.reads),
            ("the objects' egress", self.objects.egress_gb),
            ("the processor time of a message", assumed.cpu_micros_per_message),
            ("the processor time of the Worker", assumed.worker_ms),
            ("the reconnects a day", assumed.reconnects_a_day),
        ];
        figures.extend(self.egress_gb.values().map(|egress| ("the egress", *egress)));
        figures.extend(self.servers.iter().map(|servers| ("the number of servers", servers.count)));
        let mut shares = vec![("the idle share of a processor", assumed.idle_cpu_percent)];
        shares.extend(self.servers.iter().map(|servers| ("the share of time awake", servers.awake_percent)));
        let wrong =
            |(what, value): (&'static str, Decimal)| Err(Error::Usage { what, value: value.to_string() });
        if let Some(figure) = figures.iter().chain(&shares).find(|(_, value)| *value < Decimal::ZERO) {
            return wrong(*figure);
        }
        if let Some(share) = shares.into_iter().find(|(_, value)| *value > Decimal::ONE_HUNDRED) {
            return wrong(share);
        }
        if self.seconds > n(MONTH_SECONDS) {
            return wrong(("the time, in seconds of a month of 2628000,", self.seconds));
        }
        if figures.iter().any(|(_, value)| *value > MOST) {
            return Err(Error::TooLarge);
        }
        self.check_products().ok_or(Error::TooLarge)
    }

    /// Whether what is multiplied in bills stays within what a decimal holds, with room for the constants. Whoever has passed
    /// this can be billed with plain arithmetic; prices are multiplied by [`crate::Money::times`], which looks for itself.
    fn check_products(&self) -> Option<()> {
        let within = |value: Decimal| (value <= MOST).then_some(value);
        let mut served = Decimal::ZERO;
        for servers in &self.servers {
            let size = servers.size;
            let largest = size.vcpu.max(size.memory_gib).max(size.disk_gb).max(Decimal::ONE);
            // Disk of other sizes than the list's, and what a machine of the list has in it.
            within(largest)?;
            let all = servers.count.checked_mul(largest)?.checked_mul(n(MONTH_SECONDS))?;
            served = within(served.checked_add(all)?)?;
        }
        let daily = self.connections.checked_mul(self.assumptions.reconnects_a_day)?;
        let connects = within(daily)?.checked_mul(self.seconds)?;
        let requests = self.webhooks.checked_add(connects)?;
        requests.checked_mul(self.assumptions.worker_ms)?.checked_mul(n(2))?;
        let handled = within(self.messages.checked_mul(self.fan_out.checked_add(Decimal::ONE)?)?)?;
        handled.checked_mul(self.assumptions.cpu_micros_per_message)?;
        self.messages.checked_mul(self.message_bytes)?;
        let mut egress = self.objects.egress_gb;
        for gb in self.egress_gb.values() {
            egress = egress.checked_add(*gb)?;
        }
        within(egress).map(drop)
    }

    /// The hours for which it is there.
    #[must_use]
    pub fn hours(&self) -> Decimal {
        self.seconds / n(3600)
    }

    /// Which part of a month it is there: 1 for a whole one.
    #[must_use]
    pub fn of_month(&self) -> Decimal {
        self.seconds / n(MONTH_SECONDS)
    }

    /// How many servers there are.
    #[must_use]
    pub fn server_count(&self) -> Decimal {
        sum(self.servers.iter().map(|servers| servers.count))
    }

    /// What leaves the servers, all zones together.
    #[must_use]
    pub fn egress(&self) -> Decimal {
        sum(self.egress_gb.values().copied())
    }

    /// How often clients connect.
    #[must_use]
    pub fn connects(&self) -> Decimal {
        (self.connections * self.assumptions.reconnects_a_day * self.seconds / n(86_400)).ceil()
    }

    /// How much of processors the messages take, in seconds of one.
    #[must_use]
    pub fn busy(&self) -> Decimal {
        let handled = self.messages * (Decimal::ONE + self.fan_out);
        handled * self.assumptions.cpu_micros_per_message / n(1_000_000)
    }

    /// How much of processors the servers have while they are awake, in seconds of one.
    #[must_use]
    pub fn capacity(&self) -> Decimal {
        let of = |servers: &Servers| servers.count * servers.size.vcpu * servers.awake_percent / n(100);
        self.servers.iter().map(of).sum::<Decimal>() * self.seconds
    }

    /// What leaves when each message goes to `fan_out` clients, in GB.
    ///
    /// # Errors
    /// When that is too large.
    pub fn egress_of_messages(&self) -> Result<Decimal, Error> {
        let bytes = self.messages.checked_mul(self.message_bytes).ok_or(Error::TooLarge)?;
        (bytes / n(1_000_000_000)).checked_mul(self.fan_out).ok_or(Error::TooLarge)
    }

    /// In a line: `1 server of 0.25 vCPU and 1 GiB, awake 25 %; 20 clients; …`.
    #[must_use]
    pub fn describe(&self) -> String {
        let plural = |count: Decimal, what: &str| {
            format!("{} {what}{}", quantity(count), if count == Decimal::ONE { "" } else { "s" })
        };
        let mut parts: Vec<String> = Vec::new();
        for servers in &self.servers {
            let size = servers.size;
            parts.push(format!(
                "{} of {} vCPU and {} GiB, awake {} %",
                plural(servers.count, "server"),
                quantity(size.vcpu),
                quantity(size.memory_gib),
                quantity(servers.awake_percent)
            ));
        }
        let month = |what: &str| format!("{what} a month");
        parts.push(plural(self.connections, "client"));
        parts.push(month(&format!(
            "{} of {} B to {}",
            plural(self.messages, "message"),
            quantity(self.message_bytes),
            plural(self.fan_out, "client")
        )));
        parts.push(format!("{} GB of egress", quantity(self.egress())));
        parts.push(format!("{} GB of streams", quantity(self.stored_gb)));
        parts.push(plural(self.webhooks, "webhook"));
        let objects = &self.objects;
        if !objects.gb.is_zero() || !objects.reads.is_zero() || !objects.writes.is_zero() {
            parts.push(format!(
                "{} GB of objects, {} and {}",
                quantity(objects.gb),
                plural(objects.writes, "write"),
                plural(objects.reads, "read")
            ));
        }
        parts.join("; ")
    }

    /// The first of that, for under a title.
    #[must_use]
    pub fn brief(&self) -> String {
        self.describe().split("; ").take(2).collect::<Vec<_>>().join("; ")
    }

    /// The same with another share of time awake.
    #[must_use]
    pub fn awake(mut self, percent: Decimal) -> Self {
        self.servers.iter_mut().for_each(|servers| servers.awake_percent = percent);
        self
    }

    /// The same with this much egress, split over the zones as it was.
    ///
    /// # Errors
    /// When that is too large.
    pub fn leaving(mut self, gb: Decimal) -> Result<Self, Error> {
        let before = self.egress();
        if before.is_zero() {
            self.egress_gb = BTreeMap::from([(Zone::NaEu, gb)]);
        } else {
            for egress in self.egress_gb.values_mut() {
                let product = egress.checked_mul(gb).ok_or(Error::TooLarge)?;
                *egress = product / before;
            }
        }
        Ok(self)
    }

    /// The same with this many messages a second, and with what leaves because of them.
    ///
    /// # Errors
    /// When that is too large.
    pub fn talking(mut self, messages_a_second: Decimal) -> Result<Self, Error> {
        self.messages = messages_a_second.checked_mul(self.seconds).ok_or(Error::TooLarge)?;
        let egress = self.egress_of_messages()?;
        self.leaving(egress)
    }
}
