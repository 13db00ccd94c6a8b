//! From a fleet to its resources: what there is to make, what each needs, in words that do not change by themselves.

use crate::{Address, Kind, Resource};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use windlass_fleet::{Cluster, Fleet, PlatformName, Stream};

/// The platform of what lives on your own machines.
pub const SELF_HOSTED: &str = "self-hosted";
/// The user that may do everything within its account: for people, and for Windlass itself.
pub const ADMIN: &str = "admin";
/// The user of the webhook receiver.
pub const RECEIVER: &str = "receiver";
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
        let address = Address::new(Kind::Account, *account);
        all.push(
            Resource::new(address.clone(), SELF_HOSTED, json!({ "name": account })).after([operator.clone()]),
        );
        all.push(user(account, ADMIN, "everything").after([address]));
    }
    // A server starts with the accounts that it is to know; those that come later are pushed to it.
    let known: BTreeSet<Address> =
        accounts.iter().map(|account| Address::new(Kind::Account, *account)).collect();
    for (name, cluster) in &fleet.clusters {
        add_cluster(&mut all, name, cluster, &operator, &known);
    }
    for (name, stream) in &fleet.streams {
        let address = Address::new(Kind::Stream, name.as_str());
        all.push(stored(fleet, address, stream, stream.to_json()));
    }
    if let (Some(github), Some((name, stream))) = (&fleet.github, fleet.github_stream()) {
        let account = stream.account.as_str();
        let user = user(account, RECEIVER, "receiver").after([Address::new(Kind::Account, account)]);
        let bucket = Address::new(Kind::Objects, PAYLOADS);
        let body = json!({ "of": name.as_str(), "max_age": stream.to_json()["max_age"], "storage": stream.storage.as_str(),
            "replicas": stream.replicas });
        let receiver = Resource::new(Address::new(Kind::Receiver, "github"), SELF_HOSTED, github.to_json())
            .after([Address::new(Kind::Stream, name.as_str()), bucket.clone(), user.address.clone()]);
        all.extend([stored(fleet, bucket, stream, body), user, receiver]);
    }
    all
}

/// Every account that the file names, or means.
#[must_use]
pub fn accounts(fleet: &Fleet) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = fleet.streams.values().map(|stream| stream.account.as_str()).collect();
    names.insert(main_account(fleet));
    names
}

/// The account that scripts and people get credentials for: that of GitHub's events, else of the first stream.
#[must_use]
pub fn main_account(fleet: &Fleet) -> &str {
    let stream = fleet.github_stream().map(|(_, stream)| stream).or_else(|| fleet.streams.values().next());
    stream.map_or(DEFAULT_ACCOUNT, |stream| stream.account.as_str())
}

/// A server's name within the fleet: `hub-0`.
#[must_use]
pub fn server_name(cluster: &str, index: u32) -> String {
    format!("{cluster}-{index}")
}

fn user(account: &str, name: &str, may: &str) -> Resource {
    let address = Address::new(Kind::User, format!("{account}/{name}"));
    Resource::new(address, SELF_HOSTED, json!({ "account": account, "name": name, "may": may }))
}

fn add_cluster(
    all: &mut Vec<Resource>,
    name: &str,
    cluster: &Cluster,
    operator: &Address,
    accounts: &BTreeSet<Address>,
) {
    let address = Address::new(Kind::Cluster, name);
    let platform = cluster.platform.as_str();
    if cluster.platform != PlatformName::SelfHosted {
        all.push(Resource::new(address, platform, cluster.to_json()).after([operator.clone()]));
        return;
    }
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
        resource.group = Some(address.to_string());
        all.push(resource);
        servers.insert(server);
    }
    all.push(Resource::new(address, platform, json!({ "servers": cluster.servers })).after(servers));
}

/// Something that stores messages: it needs its cluster, and its account's administrator who makes it.
fn stored(fleet: &Fleet, address: Address, stream: &Stream, mut body: Value) -> Resource {
    let account = stream.account.as_str();
    let cluster = fleet.cluster_of(stream).map(|(name, cluster)| (name.as_str(), cluster));
    body["account"] = account.into();
    body["cluster"] = cluster.map(|(name, _)| name).into();
    let platform = cluster.map_or(SELF_HOSTED, |(_, cluster)| cluster.platform.as_str());
    Resource::new(address, platform, body)
        .after(cluster.map(|(name, _)| Address::new(Kind::Cluster, name)))
        .after([Address::new(Kind::User, format!("{account}/{ADMIN}"))])
}
