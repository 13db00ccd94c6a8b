//! What a cluster at Cloudflare wants: the Worker and what it is bound to, its secrets, the containers, and the nodes in them.

use super::{EDGE, OUTBOX, accounts, main_account, payloads_kept};
use crate::{Address, Kind, Resource};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use windlass_fleet::{Cluster, Fleet, Name, PlatformName, ReceiveAt, StoreAddress};

/// Opens the Worker's own API.
pub const API_TOKEN: &str = "API_TOKEN";
/// What webhooks are signed with.
pub const WEBHOOK_SECRET: &str = "WEBHOOK_SECRET";
/// With which the Worker publishes into the hub.
pub const HUB_CREDS: &str = "HUB_CREDS";
/// With which the nodes join the hub.
pub const LEAF_CREDS: &str = "LEAF_CREDS";

const CLOUDFLARE: &str = super::CLOUDFLARE;

/// The fleet's cluster at Cloudflare. One Worker serves one cluster, the first.
#[must_use]
pub fn cluster(fleet: &Fleet) -> Option<(&Name, &Cluster)> {
    fleet.clusters.iter().find(|(_, cluster)| cluster.platform == PlatformName::Cloudflare)
}

/// Whether GitHub's events are received there.
#[must_use]
pub fn receives(fleet: &Fleet) -> bool {
    fleet.github.as_ref().is_some_and(|github| github.receive_at == ReceiveAt::Edge)
}

/// The Worker's name.
#[must_use]
pub fn script(fleet: &Fleet) -> String {
    format!("{}-nats-orchestrator", fleet.name())
}

/// The title of the KV namespace of routes and flags.
#[must_use]
pub fn routes(fleet: &Fleet) -> String {
    format!("{}-routes", script(fleet))
}

/// The bucket of payloads that are too large for a message.
#[must_use]
pub fn payloads(fleet: &Fleet) -> String {
    format!("{}-payloads", fleet.name())
}

/// The container application's name. Cloudflare takes no `_` in it, and no capitals.
#[must_use]
pub fn application(fleet: &Fleet, cluster: &str) -> String {
    format!("{}-nats-{}", fleet.name(), cluster.to_ascii_lowercase().replace('_', "-"))
}

/// A secret's address.
#[must_use]
pub fn secret(fleet: &Fleet, name: &str) -> Address {
    Address::new(Kind::Secret, format!("{}/{name}", script(fleet)))
}

/// The secrets that the Worker needs.
#[must_use]
pub fn secrets(fleet: &Fleet) -> Vec<&'static str> {
    let mut all = vec![API_TOKEN, LEAF_CREDS];
    if receives(fleet) {
        all.extend([HUB_CREDS, WEBHOOK_SECRET]);
    }
    all
}

/// The accounts that have no way from an edge node to the hub: a node joins it with the credentials of one account.
#[must_use]
pub fn accounts_apart(fleet: &Fleet) -> Vec<&str> {
    let joined = main_account(fleet);
    accounts(fleet).into_iter().filter(|account| *account != joined).collect()
}

/// The bucket of a state that is kept in R2.
pub(super) fn add_state(all: &mut Vec<Resource>, fleet: &Fleet) {
    // Without access to Cloudflare the bucket is somewhere else, or here: see [`crate::store`].
    let named = fleet.state.store.as_ref().filter(|_| fleet.platforms.cloudflare.is_some());
    if let Some(StoreAddress::R2(bucket, _)) = named {
        let body = json!({ "name": bucket, "for": "state" });
        all.push(Resource::new(Address::new(Kind::Bucket, bucket.as_str()), CLOUDFLARE, body));
    }
}

pub(super) fn add(all: &mut Vec<Resource>, fleet: &Fleet, name: &str, cluster: &Cluster) {
    let user = |user: &str| Address::new(Kind::User, format!("{}/{user}", main_account(fleet)));
    let hub = cluster.leaf_of.as_ref().map(|hub| Address::new(Kind::Cluster, hub.as_str()));
    let mut add = |address: Address, body: Value, needs: BTreeSet<Address>| {
        all.push(Resource::new(address, CLOUDFLARE, body).after(needs));
    };
    let bucket = Address::new(Kind::Bucket, payloads(fleet));
    let kept = fleet.github_stream().and_then(|(_, stream)| payloads_kept(stream));
    let body = json!({
        "name": bucket.name, "for": "payloads", "delete_after_seconds": kept.map(|kept| kept.as_millis() / 1000),
    });
    add(bucket.clone(), body, BTreeSet::new());
    let namespace = Address::new(Kind::Namespace, routes(fleet));
    add(namespace.clone(), json!({ "title": namespace.name }), BTreeSet::new());

    // It is told of every account, and of the hub's address.
    let worker = Address::new(Kind::Worker, script(fleet));
    let mut body = json!({
        "name": worker.name,
        "cluster": name,
        "leaf_of": cluster.leaf_of.as_ref().map(Name::as_str),
        "jetstream": cluster.to_json()["jetstream"],
        "regions": cluster.to_json()["regions"],
        "sleep_after": cluster.sleep_after.to_string(),
        "max_payload": cluster.max_payload.to_string(),
        "version": cluster.version.as_ref().map(windlass_fleet::Version::as_str),
        "payloads": bucket.name,
        "routes": namespace.name,
    });
    if let Some(github) = fleet.github.as_ref().filter(|_| receives(fleet)) {
        body["github"] = json!({
            "organization": github.to_json()["organization"],
            "stream": github.stream.as_str(),
            "claim_check_above": github.claim_check_above.to_string(),
            "spool": github.to_json()["spool"],
        });
    }
    let mut needs: BTreeSet<Address> = [bucket, namespace, user(EDGE)].into();
    needs.extend(accounts(fleet).into_iter().map(|account| Address::new(Kind::Account, account)));
    needs.extend(hub);
    add(worker.clone(), body, needs);

    let mut ready: BTreeSet<Address> = [worker.clone()].into();
    for name in secrets(fleet) {
        let needs = match name {
            LEAF_CREDS => [worker.clone(), user(EDGE)].into(),
            HUB_CREDS => [worker.clone(), user(OUTBOX)].into(),
            _ => [worker.clone()].into(),
        };
        ready.insert(secret(fleet, name));
        add(secret(fleet, name), json!({ "worker": worker.name, "name": name }), needs);
    }
    let most: u64 = cluster.regions.values().map(|region| u64::from(region.max)).sum();
    let container = Address::new(Kind::Container, application(fleet, name));
    let regions: Vec<String> = cluster.regions.keys().map(|region| region.to_ascii_uppercase()).collect();
    let body = json!({
        "name": container.name,
        "worker": worker.name,
        "image": cluster.image.as_ref().map(ToString::to_string),
        "version": cluster.version.as_ref().map(windlass_fleet::Version::as_str),
        "instance": cluster.instance.as_str(),
        "max_instances": most,
        "regions": regions,
    });
    add(container.clone(), body, [worker.clone()].into());
    ready.insert(container);
    // What runs is asked of the nodes themselves.
    let cluster_body = json!({ "worker": worker.name, "regions": cluster.to_json()["regions"] });
    add(Address::new(Kind::Cluster, name), cluster_body, ready);
}
