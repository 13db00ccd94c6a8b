//! From a fleet to its resources: what there is to make, what each needs, in words that do not change by themselves.

pub mod edge;

use crate::{Address, Kind, Resource};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use windlass_fleet::{Cluster, Fleet, Name, Period, PlatformName, ReceiveAt, Stream};

/// The platform of what lives on your own machines.
pub const SELF_HOSTED: &str = "self-hosted";
/// The platform of what lives at Cloudflare.
pub const CLOUDFLARE: &str = "cloudflare";
/// The user that may do everything within its account: for people, and for Windlass itself.
pub const ADMIN: &str = "admin";
/// The user of the webhook receiver.
pub const RECEIVER: &str = "receiver";
/// The user with which the nodes of an edge join the hub.
pub const EDGE: &str = "edge";
/// The user with which an edge's receiver publishes.
pub const OUTBOX: &str = "outbox";
/// The bucket of payloads that are too large for a message.
pub const PAYLOADS: &str = "GITHUB_PAYLOADS";
/// The account where the file names none.
pub const DEFAULT_ACCOUNT: &str = "GITHUB";

/// Everything that the fleet wants.
#[must_use]
pub fn resources(fleet: &Fleet) -> Vec<Resource> {
    let operator = Address::new(Kind::Operator, fleet.name());
    let mut all = vec![Resource::new(operator.clone(), SELF_HOSTED, json!({ "name": fleet.name() }))];
    let accounts = accounts(fleet);
    for account in &accounts {
        add_account(&mut all, fleet, account, &operator);
    }
    // A server starts with the accounts that it is to know; those that come later are pushed to it.
    let known: BTreeSet<Address> =
        accounts.iter().map(|account| Address::new(Kind::Account, *account)).collect();
    for (name, cluster) in &fleet.clusters {
        add_cluster(&mut all, fleet, name, cluster, &operator, &known);
    }
    for (name, stream) in &fleet.streams {
        let address = Address::new(Kind::Stream, name.as_str());
        all.push(At::of(fleet, &stream.account, stream.cluster.as_ref()).stored(address, stream.to_json()));
    }
    for (name, bucket) in &fleet.kv {
        let address = Address::new(Kind::Kv, name.as_str());
        all.push(At::of(fleet, &bucket.account, bucket.cluster.as_ref()).stored(address, bucket.to_json()));
    }
    for (name, bucket) in &fleet.objects {
        let address = Address::new(Kind::Objects, name.as_str());
        all.push(At::of(fleet, &bucket.account, bucket.cluster.as_ref()).stored(address, bucket.to_json()));
    }
    for (name, consumer) in &fleet.consumers {
        let Some(stream) = fleet.streams.get(consumer.stream.as_str()) else { continue };
        let mut body = consumer.to_json();
        body["name"] = consumer.name.as_ref().unwrap_or(name).as_str().into();
        let address = Address::new(Kind::Consumer, name.as_str());
        let resource = At::of(fleet, &stream.account, stream.cluster.as_ref()).stored(address, body);
        all.push(resource.after([Address::new(Kind::Stream, consumer.stream.as_str())]));
    }
    if let (Some(github), Some((name, stream))) = (&fleet.github, fleet.github_stream()) {
        let bucket = Address::new(Kind::Objects, PAYLOADS);
        let user = |user: &str| Address::new(Kind::User, format!("{}/{user}", stream.account));
        // Under another name at the edge: the one is made and the other deleted when it moves.
        let at_the_edge = github.receive_at == ReceiveAt::Edge;
        let address = Address::new(Kind::Receiver, if at_the_edge { "edge" } else { "github" });
        let receiver = if at_the_edge {
            let cluster = edge::cluster(fleet).map(|(name, _)| Address::new(Kind::Cluster, name.as_str()));
            let secrets = edge::secrets(fleet).into_iter().map(|name| edge::secret(fleet, name));
            Resource::new(address, CLOUDFLARE, github.to_json())
                .after([user(OUTBOX)])
                .after(cluster)
                .after(secrets)
        } else {
            Resource::new(address, SELF_HOSTED, github.to_json()).after([user(RECEIVER)])
        };
        let receiver = receiver.after([Address::new(Kind::Stream, name.as_str()), bucket.clone()]);
        let body = payloads(stream);
        all.extend([At::of(fleet, &stream.account, stream.cluster.as_ref()).stored(bucket, body), receiver]);
    }
    all
}

/// The bucket of large payloads: kept as its stream is kept, and a little longer.
fn payloads(stream: &Stream) -> Value {
    json!({
        "max_age": payloads_kept(stream).map(|age| age.to_string()),
        "storage": stream.storage.as_str(),
        "replicas": stream.replicas,
        "compression": "none",
        "description": "Payloads of GitHub's events that are too large for a message",
    })
}

/// How long payloads are kept: as long as the messages that speak of them, and a little longer.
#[must_use]
pub fn payloads_kept(stream: &Stream) -> Option<Period> {
    let grace = Period::days(3);
    stream.max_age.map(|age| Period::millis(age.as_millis().saturating_add(grace.as_millis())))
}

fn add_account(all: &mut Vec<Resource>, fleet: &Fleet, name: &str, operator: &Address) {
    let address = Address::new(Kind::Account, name);
    let account = fleet.accounts.get(name);
    let mut body = account.map_or_else(|| json!({}), windlass_fleet::Account::to_json);
    body["name"] = name.into();
    let users = body.as_object_mut().and_then(|body| body.remove("users")).unwrap_or_default();
    all.push(Resource::new(address.clone(), SELF_HOSTED, body).after([operator.clone()]));
    let mut bodies = BTreeMap::from([(ADMIN.to_owned(), json!({ "may": "everything" }))]);
    for (user, body) in users.as_object().into_iter().flatten() {
        bodies.insert(user.clone(), body.clone());
    }
    if let Some((stream, _)) = fleet.github_stream().filter(|(_, stream)| *stream.account == *name) {
        // What the file allows a user of that name comes on top.
        let body = bodies.entry(RECEIVER.to_owned()).or_insert_with(|| json!({}));
        body["may"] = "receive".into();
        body["stream"] = stream.as_str().into();
    }
    if name == main_account(fleet) && edge::cluster(fleet).is_some() {
        // A leaf connection carries what its account's clients say to each other.
        bodies.entry(EDGE.to_owned()).or_insert_with(|| json!({}))["may"] = "everything".into();
    }
    if let Some((stream, _)) = fleet.github_stream().filter(|(_, stream)| *stream.account == *name)
        && edge::receives(fleet)
    {
        let body = bodies.entry(OUTBOX.to_owned()).or_insert_with(|| json!({}));
        body["may"] = "receive".into();
        body["stream"] = stream.as_str().into();
    }
    for (user, mut body) in bodies {
        body["account"] = name.into();
        body["name"] = user.as_str().into();
        let user = Address::new(Kind::User, format!("{name}/{user}"));
        all.push(Resource::new(user, SELF_HOSTED, body).after([address.clone()]));
    }
}

/// Every account that the file names, or means.
#[must_use]
pub fn accounts(fleet: &Fleet) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = fleet.accounts.keys().map(Name::as_str).collect();
    names.extend(fleet.streams.values().map(|stream| stream.account.as_str()));
    names.extend(fleet.kv.values().map(|bucket| bucket.account.as_str()));
    names.extend(fleet.objects.values().map(|bucket| bucket.account.as_str()));
    names.insert(main_account(fleet));
    names
}

/// The account that scripts and people get credentials for: that of GitHub's events, else of the first stream.
#[must_use]
pub fn main_account(fleet: &Fleet) -> &str {
    let stream = fleet.github_stream().map(|(_, stream)| stream).or_else(|| fleet.streams.values().next());
    stream.map_or(DEFAULT_ACCOUNT, |stream| stream.account.as_str())
}

/// The cluster that scripts and people are led to: that of GitHub's events, else of the first stream, else the first that
/// joins no other.
#[must_use]
pub fn main_cluster(fleet: &Fleet) -> Option<(&Name, &Cluster)> {
    let stream = fleet.github_stream().map(|(_, stream)| stream).or_else(|| fleet.streams.values().next());
    let of_stream = stream.and_then(|stream| fleet.cluster_of(stream));
    of_stream.or_else(|| fleet.clusters.iter().find(|(_, cluster)| cluster.leaf_of.is_none()))
}

/// A server's name within the fleet: `hub-0`.
#[must_use]
pub fn server_name(cluster: &str, index: u32) -> String {
    format!("{cluster}-{index}")
}

fn add_cluster(
    all: &mut Vec<Resource>,
    fleet: &Fleet,
    name: &str,
    cluster: &Cluster,
    operator: &Address,
    accounts: &BTreeSet<Address>,
) {
    let address = Address::new(Kind::Cluster, name);
    let platform = cluster.platform.as_str();
    if cluster.platform == PlatformName::Cloudflare
        && edge::cluster(fleet).is_some_and(|(first, _)| first.as_str() == name)
    {
        edge::add(all, fleet, name, cluster);
        return;
    }
    if cluster.platform != PlatformName::SelfHosted {
        all.push(Resource::new(address, platform, cluster.to_json()).after([operator.clone()]));
        return;
    }
    // The servers of a super-cluster decide together, so one is changed at a time, and none is ready before a majority is.
    let group = if cluster.super_cluster { "super-cluster".to_owned() } else { address.to_string() };
    let mut servers = BTreeSet::new();
    for index in 0..cluster.servers {
        let server = Address::new(Kind::Server, server_name(name, index));
        let mut body = cluster.to_json();
        body["index"] = index.into();
        body["cluster"] = name.into();
        let mut resource = Resource::new(server.clone(), platform, body)
            .after([operator.clone()])
            .after(accounts.iter().cloned());
        // The first one decides whether the cluster can have the size that is wanted.
        if index > 0 {
            resource = resource.after([Address::new(Kind::Server, server_name(name, 0))]);
        }
        if cluster.leaf_of.is_some() {
            // It joins the other cluster with each account's credentials.
            let admin = |account: &Address| Address::new(Kind::User, format!("{}/{ADMIN}", account.name));
            resource = resource.after(accounts.iter().map(admin));
        }
        resource.group = Some(group.clone());
        all.push(resource);
        servers.insert(server);
    }
    if cluster.super_cluster {
        let here = |other: &&Cluster| other.super_cluster && other.platform == PlatformName::SelfHosted;
        for (other, cluster) in fleet.clusters.iter().filter(|(_, cluster)| here(cluster)) {
            let server = |index| Address::new(Kind::Server, server_name(other, index));
            servers.extend((0..cluster.servers).map(server));
        }
    }
    all.push(Resource::new(address, platform, json!({ "servers": cluster.servers })).after(servers));
}

/// Where something that stores messages is.
struct At<'f> {
    account: &'f str,
    cluster: Option<(&'f str, &'f Cluster)>,
}

impl<'f> At<'f> {
    fn of(fleet: &'f Fleet, account: &'f Name, cluster: Option<&Name>) -> Self {
        let cluster = fleet.cluster_named(cluster).map(|(name, cluster)| (name.as_str(), cluster));
        Self { account: account.as_str(), cluster }
    }

    /// It needs its cluster, and its account's administrator who makes it.
    fn stored(&self, address: Address, mut body: Value) -> Resource {
        body["account"] = self.account.into();
        body["cluster"] = self.cluster.map(|(name, _)| name).into();
        let platform = self.cluster.map_or(SELF_HOSTED, |(_, cluster)| cluster.platform.as_str());
        Resource::new(address, platform, body)
            .after(self.cluster.map(|(name, _)| Address::new(Kind::Cluster, name)))
            .after([Address::new(Kind::User, format!("{}/{ADMIN}", self.account))])
    }
}
