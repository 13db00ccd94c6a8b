//! The tables of the file, each defined once. To add a key, add a line.

use crate::code;
use crate::reader::Reader;
use crate::types::{
    Bytes, EventName, FleetName, Host, HostName, Invalid, Line, Name, Organization, Period, SecretSource,
    Subject, Sync, Version, WebSocketUrl,
};
use crate::value::Value as _;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use toml::de::DeTable;

mod account;
mod cost;
mod operations;
mod platform;
mod stored;
pub use crate::value::Environments;
pub use account::{Account, Exchange, Export, Import, JetStreamAccess, Limits, User};
pub use cost::{Cost, Machine, Machines, Objects};
pub use operations::{
    Alert, AlertMetric, Flag, Jurisdiction, Rollout, Scaling, ScalingMetric, Severity, State,
};
pub use platform::{Cloudflare, Instance, Region, Synadia};
pub use stored::{Acknowledge, Consumer, Deliver, KvBucket, ObjectBucket};

/// GitHub redelivers what failed for as long as this, so a stream that forgets sooner may take a delivery twice.
pub(crate) const REDELIVERY: Period = Period::days(3);

table! {
    /// A fleet: what is wanted.
    pub struct Fleet {
        /// Who this fleet is.
        identity as "fleet": Identity;
        /// Where clusters can run.
        platforms: Platforms;
        /// Accounts by name. One that streams name need not be here: then it has no limits and no users but `admin`.
        accounts: BTreeMap<Name, Account>;
        /// Clusters by name.
        clusters: BTreeMap<Name, Cluster>;
        /// Streams by name. The name is the stream's in JetStream.
        streams: BTreeMap<Name, Stream>;
        /// Durable consumers by name.
        consumers: BTreeMap<Name, Consumer>;
        /// Key-value buckets by name. The name is the bucket's in JetStream.
        kv: BTreeMap<Name, KvBucket>;
        /// Object buckets by name. The name is the bucket's in JetStream.
        objects: BTreeMap<Name, ObjectBucket>;
        /// GitHub's events. Without this table no receiver runs.
        github: Option<Github>;
        /// When clusters grow and shrink, by the cluster's name.
        scaling: BTreeMap<Name, Scaling>;
        /// How changes go through the fleet.
        rollout: Rollout;
        /// Switches by name.
        flags: BTreeMap<Name, Flag>;
        /// Alerts by name.
        alerts: BTreeMap<Name, Alert>;
        /// Where Windlass keeps what it knows of the fleet.
        state: State;
        /// What costs are estimated with.
        cost: Cost;
        /// Parts of this file by the environment that they are for, laid over the rest of it: `windlass plan --environment NAME`.
        environments: Environments;
    }
}

impl Fleet {
    /// The fleet's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The cluster that a stream is on; every stream of a fleet that was read has one.
    #[must_use]
    pub fn cluster_of(&self, stream: &Stream) -> Option<(&Name, &Cluster)> {
        self.cluster_named(stream.cluster.as_ref())
    }

    /// The cluster of that name, or the only one.
    #[must_use]
    pub fn cluster_named(&self, name: Option<&Name>) -> Option<(&Name, &Cluster)> {
        match name {
            Some(name) => self.clusters.get_key_value(name),
            None => self.only_cluster(),
        }
    }

    /// Whether another cluster joins this one as a leaf node.
    #[must_use]
    pub fn is_joined(&self, name: &str) -> bool {
        self.clusters.values().any(|cluster| cluster.leaf_of.as_deref() == Some(name))
    }

    /// The cluster, if there is exactly one.
    #[must_use]
    pub fn only_cluster(&self) -> Option<(&Name, &Cluster)> {
        let mut clusters = self.clusters.iter();
        clusters.next().filter(|_| clusters.next().is_none())
    }

    /// The stream that takes GitHub's events, with its name.
    #[must_use]
    pub fn github_stream(&self) -> Option<(&Name, &Stream)> {
        self.github.as_ref().and_then(|github| self.streams.get_key_value(&github.stream))
    }
}

table! {
    /// Who this fleet is.
    pub struct Identity {
        /// The fleet's name: lower-case letters, digits and `-`, at most 40. It is the operator's name in NATS, and a part of what is created for the fleet.
        name: FleetName;
    }
}

table! {
    /// Where clusters can run.
    pub struct Platforms {
        /// Your own machines.
        self_hosted as "self-hosted": SelfHosted;
        /// Synadia Cloud.
        synadia: Option<Synadia>;
        /// Cloudflare.
        cloudflare: Option<Cloudflare>;
    }
}

table! {
    /// Your own machines.
    pub struct SelfHosted {
        /// The machines. `local` is the one that windlass runs on.
        hosts: Vec<Host> = vec![Host::Local];
    }
}

choice! {
    /// Where a cluster runs.
    pub enum PlatformName {
        /// Your own machines.
        SelfHosted = "self-hosted",
        /// Synadia Cloud.
        Synadia = "synadia",
        /// Cloudflare's containers.
        Cloudflare = "cloudflare",
    }
}

choice! {
    /// What is encrypted on the way between servers and clients.
    pub enum TlsUse {
        /// Nothing: for servers that are reached over loopback or a private network.
        None = "none",
        /// What servers say to each other (routes, gateways, leaf nodes); each proves who it is.
        Servers = "servers",
        /// That, and what clients say to them.
        All = "all",
    }
}

table! {
    /// A cluster: servers that act as one.
    pub struct Cluster {
        /// Where it runs.
        platform: PlatformName = PlatformName::SelfHosted;
        /// How many servers it has: 1, 3 or 5. With 3 one may fail, with 5 two, and streams with as many replicas go on.
        servers: u32 = 1, in 1..=64, check majority;
        /// The IP address that its servers listen on. Anything but loopback is reachable from other machines.
        host: IpAddr = Ipv4Addr::LOCALHOST.into();
        /// The ports that its first server listens on; each further one uses the next higher ones. Where one is taken, the next free one is used.
        ports: Ports;
        /// Its streams' storage.
        jetstream: JetStream;
        /// The largest message that a client may send.
        max_payload: Bytes = Bytes::mib(1), in Bytes::kib(1)..=Bytes::mib(64);
        /// How many clients a server takes. Without this key, 65536.
        max_connections: Option<u64>, in 1..=10_000_000;
        /// What is encrypted, with certificates of the fleet's own authority. The default is `all` in `production`, else `none`.
        tls: TlsUse = TlsUse::None;
        /// Host names by which clients and other clusters reach its servers, for their certificates. `localhost` and `host` are among them anyway.
        host_names: Vec<HostName> = Vec::new();
        /// The address at which its servers are reached over WebSocket from outside, such as `wss://nats.acme.example`: for clusters and receivers at an edge. Without this key, its servers' own.
        advertise: Option<WebSocketUrl>;
        /// Over how long a server that is stopped on purpose sends its clients away, so that they do not all come back at once.
        lame_duck: Period = Period::seconds(30), in Period::seconds(30)..=Period::seconds(3600);
        /// The version of nats-server that it must be. Without this key, whichever is installed.
        version: Option<Version>;
        /// Another cluster that its servers join as leaf nodes: each account's subjects are one there and here, and each cluster goes on alone while the other is away.
        leaf_of: Option<Name>;
        /// It is joined with every other cluster that has this key, by gateways: one system, whose streams and subjects are reached from everywhere.
        super_cluster: bool = false;
        /// Only for `cloudflare`: how many servers each region has, such as `{ weur = { min = 1, max = 4 } }`.
        regions: BTreeMap<Name, Region>, check known_regions;
        /// Only for `cloudflare`: the image that its servers run. Without this key, the one that `windlass image push` puts into the account's registry.
        image: Option<Line>;
        /// Only for `cloudflare`: how large a server is.
        instance: Instance = Instance::Basic;
        /// Only for `cloudflare`: after how long without clients a server sleeps.
        sleep_after: Period = Period::seconds(300), in Period::seconds(10)..=Period::MAX;
    }
    finish fits_its_platform;
}

/// https://developers.cloudflare.com/durable-objects/reference/data-location/
const REGIONS: [&str; 9] = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"];

fn known_regions(regions: &BTreeMap<Name, Region>) -> Result<(), Invalid> {
    for (name, region) in regions {
        if !REGIONS.contains(&name.as_str()) {
            let problem = format!("unknown region `{}`", &**name);
            let remedy = format!("write one of {}", REGIONS.join(", "));
            return Err(Invalid::new(code::UNKNOWN_VALUE, problem, remedy));
        }
        if region.min > region.max {
            let problem = format!("{}: at least {} servers and at most {}", &**name, region.min, region.max);
            return Err(Invalid::new(code::OUT_OF_RANGE, problem, "let `max` be no less than `min`"));
        }
    }
    Ok(())
}

/// A key that does nothing would be found out too late.
fn fits_its_platform(cluster: &mut Cluster, entries: &DeTable<'_>, reader: &mut Reader<'_>) {
    const OWN: &[&str] = &[
        "servers",
        "host",
        "host_names",
        "ports",
        "tls",
        "max_connections",
        "advertise",
        "lame_duck",
        "super_cluster",
    ];
    const CLOUDFLARE: &[&str] = &["regions", "image", "instance", "sleep_after"];
    const SYNADIA: &[&str] = &["jetstream", "max_payload", "version", "leaf_of"];
    let foreign: Vec<&str> = match cluster.platform {
        PlatformName::SelfHosted => CLOUDFLARE.to_vec(),
        PlatformName::Cloudflare => OWN.to_vec(),
        PlatformName::Synadia => [OWN, CLOUDFLARE, SYNADIA].concat(),
    };
    // One that is written as it would be without being written changes nothing.
    let default = Cluster::absent().map(|cluster| cluster.to_json()).unwrap_or_default();
    let written = cluster.to_json();
    let differs = |key: &str| written[key] != default[key];
    for (key, _) in entries.iter().filter(|(key, _)| foreign.contains(&&**key.get_ref())) {
        if !differs(key.get_ref()) {
            continue;
        }
        let problem = format!(
            "{}.{}: a cluster on {} has no such thing",
            reader.here(),
            key.get_ref(),
            cluster.platform
        );
        reader.report(
            code::OTHER_PLATFORM,
            key.span(),
            problem,
            "remove it, or change `platform`".to_owned(),
        );
    }
}

fn majority(servers: &u32) -> Result<(), Invalid> {
    if matches!(servers, 1 | 3 | 5) {
        return Ok(());
    }
    let problem =
        format!("{servers} servers: decisions need a majority, and one more than an odd number adds none");
    Err(Invalid::new(code::OUT_OF_RANGE, problem, "write 1, 3 or 5"))
}

table! {
    /// The ports that a cluster's first server listens on; each further one uses the next higher ones.
    pub struct Ports (inline) {
        /// Clients.
        client: u16 = 4222, in 1..=65535;
        /// Clients over WebSocket.
        websocket: u16 = 9222, in 1..=65535;
        /// Monitoring over HTTP. It asks nobody who they are.
        monitor: u16 = 8222, in 1..=65535;
        /// The cluster's other servers, where it has more than one.
        cluster: u16 = 6222, in 1..=65535;
        /// Other clusters, where it is part of a super-cluster.
        gateway: u16 = 7222, in 1..=65535;
        /// Leaf nodes, where another cluster joins it.
        leaf: u16 = 7422, in 1..=65535;
    }
}

table! {
    /// A cluster's storage for streams.
    pub struct JetStream (inline) {
        /// The most that streams may have on disk, for each server.
        storage: Bytes = Bytes::gib(10), in Bytes::mib(1)..=Bytes::MAX;
        /// JetStream's domain: its name among other JetStream systems that leaf nodes join.
        domain: Option<Name>;
        /// How often written messages are synced to the disk: a duration, or `always` for before each acknowledgement. With a duration an acknowledged message survives the server's death; with `always` the machine's too, and publishing is slower.
        sync: Sync = Sync::Every(Period::seconds(120));
    }
}

choice! {
    /// Where a stream keeps its messages.
    pub enum Storage {
        /// On disk.
        File = "file",
        /// In memory: gone when the server stops.
        Memory = "memory",
    }
}

choice! {
    /// What a full stream does.
    pub enum Discard {
        /// It removes the oldest messages.
        Old = "old",
        /// It refuses new ones.
        New = "new",
    }
}

choice! {
    /// When messages leave a stream, apart from its limits.
    pub enum Retention {
        /// Never.
        Limits = "limits",
        /// When every consumer has acknowledged them.
        Interest = "interest",
        /// When one consumer has acknowledged them.
        WorkQueue = "workqueue",
    }
}

choice! {
    /// How a stream's messages are compressed on disk.
    pub enum Compression {
        /// They are not.
        None = "none",
        /// With S2, which is fast and halves JSON.
        S2 = "s2",
    }
}

table! {
    /// A stream of messages.
    pub struct Stream {
        /// The account that it belongs to.
        account: Name = Name::unchecked("GITHUB"), check not_the_system_account;
        /// The cluster that it is on. The default is the only cluster there is.
        cluster: Option<Name>;
        /// The subjects that it takes. No two streams of an account may take the same.
        subjects: Vec<Subject>;
        /// Where it keeps its messages.
        storage: Storage = Storage::File;
        /// How many servers have a copy of each message: 1, 3 or 5, and no more than the cluster has servers.
        replicas: u32 = 1, check odd_replicas;
        /// How long it keeps a message. Without this key, for ever.
        max_age: Option<Period>, in SHORTEST..=Period::MAX;
        /// How much it keeps. Without this key, as much as the cluster's storage takes.
        max_bytes: Option<Bytes>, in Bytes::new(1)..=Bytes::MAX;
        /// How many messages it keeps. Without this key, any number.
        max_messages: Option<u64>, in 1..=i64::MAX as u64;
        /// The largest message that it takes, headers included. Without this key, what the cluster's `max_payload` lets through.
        max_message_size: Option<Bytes>, in Bytes::new(1)..=Bytes::mib(64);
        /// What it does when a limit is reached.
        discard: Discard = Discard::Old;
        /// When messages leave it, apart from the limits.
        retention: Retention = Retention::Limits;
        /// How long it remembers a message's id, to drop what it has seen. The default is 3 days, as long as GitHub can redeliver, or `max_age` where that is shorter.
        duplicate_window: Period = REDELIVERY, in SHORTEST..=Period::MAX;
        /// How its messages are compressed on disk.
        compression: Compression = Compression::None;
        /// How many messages it keeps of each subject. Without this key, any number.
        max_messages_per_subject: Option<u64>, in 1..=i64::MAX as u64;
        /// Messages may be deleted one by one, and the stream purged.
        allow_delete: bool = true;
        /// A line for the reader.
        description: Option<Line>;
    }
    finish settle_window;
}

/// The shortest that the server takes.
const SHORTEST: Period = Period::millis(100);

pub(crate) fn not_the_system_account(account: &Name) -> Result<(), Invalid> {
    if account.as_str() != "SYS" {
        return Ok(());
    }
    let problem = "`SYS` is the servers' own account, which has no streams";
    Err(Invalid::new(code::NAME, problem, "choose another name, such as \"GITHUB\""))
}

fn odd_replicas(replicas: &u32) -> Result<(), Invalid> {
    if matches!(replicas, 1 | 3 | 5) {
        return Ok(());
    }
    let problem = format!("{replicas} is not a number of replicas that can agree by majority");
    Err(Invalid::new(code::OUT_OF_RANGE, problem, "write 1, 3 or 5"))
}

/// The server refuses a window that is longer than messages live, so the default gives way and a longer one that is
/// written is a mistake.
fn settle_window(stream: &mut Stream, entries: &DeTable<'_>, reader: &mut Reader<'_>) {
    let Some(max_age) = stream.max_age.filter(|max_age| *max_age < stream.duplicate_window) else {
        return;
    };
    match (entries.get("duplicate_window"), entries.get("max_age")) {
        (None, _) => stream.duplicate_window = max_age,
        (Some(window), Some(age)) if reader.clean(&window.span()) && reader.clean(&age.span()) => {
            let written = stream.duplicate_window;
            let problem =
                format!("duplicate_window: {written} is longer than messages live, which is {max_age}");
            let problem = format!("{}.{problem} (max_age)", reader.here());
            let remedy = format!("write at most \"{max_age}\", or let messages live longer");
            reader.report(code::WINDOW, window.span(), problem, remedy);
        }
        _ => {}
    }
}

choice! {
    /// Where GitHub's events are received.
    pub enum ReceiveAt {
        /// By windlass, on your own machine.
        SelfHosted = "self-hosted",
        /// By a Worker at Cloudflare.
        Edge = "edge",
    }
}

table! {
    /// GitHub's events, received and put into a stream.
    pub struct Github {
        /// The organization that the events come from.
        organization: Option<Organization>;
        /// What deliveries are signed with: a source, or an array of sources while the secret is being changed. A source is `{ env = "NAME" }`, `{ file = "path" }` or `{ command = ["program", "argument"] }`. Without this key `windlass up` makes a secret and keeps it.
        secret: Vec<SecretSource> = Vec::new();
        /// The events that are wanted, as GitHub names them; `*` is all of them.
        events: Vec<EventName> = vec![EventName::unchecked("*")], check all_alone;
        /// Where they are received.
        receive_at: ReceiveAt = ReceiveAt::SelfHosted;
        /// The stream that takes them. Its subjects must cover `github.>`, and its `duplicate_window` must be at least 3 days.
        stream: Name = Name::unchecked("GITHUB");
        /// The IP address and port that the receiver listens on. Where the port is taken, the next free one is used.
        listen: SocketAddr = (Ipv4Addr::LOCALHOST, 8080).into();
        /// Payloads larger than this go into an object bucket, with a message that says where.
        claim_check_above: Bytes = Bytes::kib(512), in Bytes::kib(1)..=Bytes::mib(25);
        /// How many deliveries are handled at once; more wait, then are refused.
        in_flight: u32 = 4096, in 1..=1_000_000;
        /// Where events wait while NATS is away.
        spool: Spool;
    }
}

fn all_alone(events: &[EventName]) -> Result<(), Invalid> {
    if events.len() < 2 || !events.iter().any(EventName::is_all) {
        return Ok(());
    }
    let problem = "`*` is every event, so the others say nothing";
    Err(Invalid::new(code::TWICE, problem, "write [\"*\"], or name the events without it"))
}

table! {
    /// Where events wait while NATS is away.
    pub struct Spool (inline) {
        /// The most that it may have on disk.
        max_size: Bytes = Bytes::gib(1), in Bytes::mib(32)..=Bytes::MAX;
    }
}
