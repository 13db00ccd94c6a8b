//! What the Worker is uploaded with, and what its nodes are started with. Pure.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use windlass_engine::wanted::edge;
use windlass_fleet::{Cluster, Fleet, Instance};

use super::client::containers::{Application, Configuration, Constraints, DurableObjects, REGISTRY};

/// From which day on the runtime does not change for the Worker.
pub const COMPATIBILITY_DATE: &str = "2026-11-01";
/// What the Worker needs of the runtime.
pub const COMPATIBILITY_FLAGS: [&str; 1] = ["nodejs_compat"];
/// The module's name.
pub const MODULE: &str = "worker.js";
/// The one change of the Durable Objects' classes that there was: they were made.
pub const MIGRATION: &str = "v1";
/// The Durable Objects' classes, with the names of their bindings.
pub const CLASSES: [(&str, &str); 3] = [("NODE", "NatsNode"), ("FLEET", "Fleet"), ("OUTBOX", "Outbox")];
/// The class whose objects have containers.
pub const NODE_CLASS: &str = "NatsNode";
/// The nats-server that nodes run, where the file names none.
pub const NATS_VERSION: &str = "2.15.1";
/// The largest variable that Cloudflare takes.
pub const LARGEST_VARIABLE: usize = 5 * 1024;
/// How long a container that is in use has before a rollout replaces it, in seconds: clients are sent away meanwhile.
pub const GRACE: u64 = 60;
/// The largest webhook that GitHub sends.
const MAX_BODY: u64 = 25 << 20;
const MAX_EVENTS: u64 = 100_000;

/// Who the nodes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The operator's token.
    pub operator: String,
    /// The system account's public key.
    pub system_account: String,
    /// Tokens by the account's public key.
    pub accounts: BTreeMap<String, String>,
    /// The account that joins the hub.
    pub account: String,
    /// A digest of the credentials with which it does.
    pub creds: String,
}

/// Where the hub is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// For clients.
    pub websocket_url: String,
    /// For leaf nodes.
    pub leaf_url: String,
    /// JetStream's domain there.
    pub domain: Option<String>,
    /// Who has signed its certificates (PEM), where that is nobody whom everybody trusts.
    pub ca: String,
}

/// The nats-server that a cluster's nodes run.
#[must_use]
pub fn nats_version(cluster: &Cluster) -> &str {
    cluster.version.as_ref().map_or(NATS_VERSION, windlass_fleet::Version::as_str)
}

/// The image that a cluster's nodes run. In Cloudflare's registry an image is below its account.
#[must_use]
pub fn image(cluster: &Cluster, account: &str) -> String {
    match &cluster.image {
        Some(image) => match image.as_str().strip_prefix(&format!("{REGISTRY}/")) {
            Some(rest) if !rest.contains('/') => format!("{REGISTRY}/{account}/{rest}"),
            _ => image.to_string(),
        },
        None => format!("{REGISTRY}/{account}/windlass-nats:{}", nats_version(cluster)),
    }
}

/// Memory and disk of a container, in bytes.
#[must_use]
pub fn size(instance: Instance) -> (u64, u64) {
    const MIB: u64 = 1 << 20;
    const GB: u64 = 1_000_000_000;
    match instance {
        Instance::Lite => (256 * MIB, 2 * GB),
        Instance::Basic => (1024 * MIB, 4 * GB),
        Instance::Standard1 => (4096 * MIB, 8 * GB),
        Instance::Standard2 => (6144 * MIB, 12 * GB),
        Instance::Standard3 => (8192 * MIB, 16 * GB),
        Instance::Standard4 => (12_288 * MIB, 20 * GB),
    }
}

/// The variable SETTINGS: all that the Worker and the nodes are told. It holds no secrets.
#[must_use]
pub fn settings(
    fleet: &Fleet,
    name: &str,
    cluster: &Cluster,
    identity: &Identity,
    hub: &Hub,
    image: &str,
) -> Value {
    let (memory, disk) = size(cluster.instance);
    let domain = cluster.jetstream.domain.as_ref().map_or(name, |domain| domain.as_str());
    let node = json!({
        "operator": identity.operator,
        "system_account": identity.system_account,
        "accounts": identity.accounts,
        "account": identity.account,
        // The image has its part of the disk.
        "max_file": cluster.jetstream.storage.get().min(disk / 4 * 3),
        "max_memory": memory / 4,
        "max_payload": cluster.max_payload.get(),
        "nats_version": nats_version(cluster),
    });
    let hub = json!({
        "websocket_url": hub.websocket_url,
        "leaf_url": hub.leaf_url,
        "jetstream_domain": hub.domain.clone().unwrap_or_default(),
        "ca": hub.ca,
    });
    // Everything that a node is started with, but for the secret itself.
    let started_with = json!({
        "fleet": fleet.name(), "cluster": name, "domain": domain, "hub": hub, "node": node, "image": image,
        "creds": identity.creds,
    });
    let regions: serde_json::Map<String, Value> = cluster
        .regions
        .iter()
        .map(|(region, count)| (region.to_string(), json!({ "min": count.min, "max": count.max })))
        .collect();
    let mut settings = json!({
        "fleet": fleet.name(),
        "cluster": name,
        "domain": domain,
        "config_hash": hex::encode(Sha256::digest(started_with.to_string())),
        "regions": regions,
        "sleep_after_seconds": cluster.sleep_after.as_millis() / 1000,
        "hub": hub,
        "node": node,
    });
    if let Some(github) = fleet.github.as_ref().filter(|_| edge::receives(fleet)) {
        settings["github"] = json!({
            "stream": github.stream.as_str(),
            "subject_prefix": "github",
            "max_body": MAX_BODY,
            "inline_limit": github.claim_check_above.get(),
        });
        if let Some(organization) = &github.organization {
            settings["github"]["organization"] = organization.as_str().into();
        }
        settings["outbox"] = json!({ "max_events": MAX_EVENTS, "max_bytes": github.spool.max_size.get() });
    }
    settings
}

/// The Worker's bindings but for its secrets. `namespace` is the identifier of the KV namespace.
#[must_use]
pub fn bindings(fleet: &Fleet, settings: &Value, namespace: &str) -> Vec<Value> {
    let object = |(name, class): (&str, &str)| json!({ "type": "durable_object_namespace", "name": name, "class_name": class });
    let mut all: Vec<Value> = CLASSES.map(object).to_vec();
    all.extend([
        json!({ "type": "kv_namespace", "name": "ROUTES", "namespace_id": namespace }),
        json!({ "type": "r2_bucket", "name": "PAYLOADS", "bucket_name": edge::payloads(fleet) }),
        json!({ "type": "version_metadata", "name": "VERSION" }),
        json!({ "type": "json", "name": "SETTINGS", "json": settings }),
    ]);
    all
}

/// What is uploaded beside the module. The classes are made with the first upload.
#[must_use]
pub fn metadata(bindings: &[Value], is_new: bool) -> Value {
    let mut metadata = json!({
        "main_module": MODULE,
        "compatibility_date": COMPATIBILITY_DATE,
        "compatibility_flags": COMPATIBILITY_FLAGS,
        "bindings": bindings,
        "containers": [{ "class_name": NODE_CLASS }],
        // Secrets are set one by one, and stay.
        "keep_bindings": ["secret_text", "secret_key"],
        "observability": { "enabled": true },
    });
    if is_new {
        let classes: Vec<&str> = CLASSES.iter().map(|(_, class)| *class).collect();
        metadata["migrations"] =
            json!({ "new_tag": MIGRATION, "steps": [{ "new_sqlite_classes": classes }] });
    }
    metadata
}

/// The container application.
#[must_use]
pub fn application(
    fleet: &Fleet,
    name: &str,
    cluster: &Cluster,
    account: &str,
    namespace: &str,
) -> Application {
    Application {
        id: String::new(),
        name: edge::application(fleet, name),
        scheduling_policy: "default".to_owned(),
        configuration: Configuration {
            image: image(cluster, account),
            instance_type: Some(cluster.instance.as_str().to_owned()),
        },
        instances: 0,
        max_instances: Some(max_instances(cluster)),
        constraints: Some(Constraints { regions: regions(cluster), tiers: Vec::new() }),
        durable_objects: Some(DurableObjects { namespace_id: namespace.to_owned() }),
        rollout_active_grace_period: Some(GRACE),
        version: None,
        health: Value::Null,
    }
}

/// How many nodes there may be.
#[must_use]
pub fn max_instances(cluster: &Cluster) -> u64 {
    cluster.regions.values().map(|region| u64::from(region.max)).sum()
}

/// Where nodes may be, as Cloudflare writes it.
#[must_use]
pub fn regions(cluster: &Cluster) -> Vec<String> {
    cluster.regions.keys().map(|region| region.to_ascii_uppercase()).collect()
}

/// A module's digest.
#[must_use]
pub fn module_digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A fleet with a hub and an edge that receives GitHub's events.
    pub(in super::super) const FILE: &str = r#"
[fleet]
name = "acme"

[platforms.cloudflare]
account_id = { env = "CLOUDFLARE_ACCOUNT_ID" }
api_token = { env = "CLOUDFLARE_API_TOKEN" }

[clusters.hub]
jetstream = { domain = "hub" }
advertise = "wss://nats.acme.example"

[clusters.edge]
platform = "cloudflare"
leaf_of = "hub"
jetstream = { domain = "edge" }
regions = { weur = { min = 1, max = 4 }, enam = { min = 0, max = 4 } }
instance = "basic"
sleep_after = "5m"

[streams.GITHUB]
cluster = "hub"
subjects = ["github.>"]
max_age = "30d"

[github]
organization = "acme"
receive_at = "edge"
"#;

    pub(in super::super) fn fleet(file: &str) -> Fleet {
        windlass_fleet::parse(file, "windlass.toml").unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    pub(in super::super) fn identity() -> Identity {
        Identity {
            operator: "operator.jwt".to_owned(),
            system_account: "ASYS".to_owned(),
            accounts: [("ASYS", "sys.jwt"), ("AGITHUB", "github.jwt")]
                .map(|(key, token)| (key.to_owned(), token.to_owned()))
                .into(),
            account: "AGITHUB".to_owned(),
            creds: "c0ffee".to_owned(),
        }
    }

    pub(in super::super) fn hub() -> Hub {
        Hub {
            websocket_url: "wss://nats.acme.example".to_owned(),
            leaf_url: "wss://nats.acme.example/leafnode".to_owned(),
            domain: Some("hub".to_owned()),
            ca: String::new(),
        }
    }

    fn settings_of(fleet: &Fleet, identity: &Identity) -> Value {
        let (name, cluster) = edge::cluster(fleet).unwrap();
        settings(fleet, name, cluster, identity, &hub(), &image(cluster, "acc"))
    }

    #[test]
    fn the_settings_are_those_that_the_worker_reads() {
        let settings = settings_of(&fleet(FILE), &identity());
        let expected = json!({
            "fleet": "acme", "cluster": "edge", "domain": "edge", "config_hash": settings["config_hash"],
            "regions": { "enam": { "min": 0, "max": 4 }, "weur": { "min": 1, "max": 4 } },
            "sleep_after_seconds": 300,
            "hub": {
                "websocket_url": "wss://nats.acme.example", "leaf_url": "wss://nats.acme.example/leafnode",
                "jetstream_domain": "hub", "ca": "",
            },
            "node": {
                "operator": "operator.jwt", "system_account": "ASYS",
                "accounts": { "ASYS": "sys.jwt", "AGITHUB": "github.jwt" }, "account": "AGITHUB",
                "max_file": 3_000_000_000_u64, "max_memory": 268_435_456, "max_payload": 1_048_576,
                "nats_version": "2.15.1",
            },
            "github": {
                "organization": "acme", "stream": "GITHUB", "subject_prefix": "github", "max_body": 26_214_400,
                "inline_limit": 524_288,
            },
            "outbox": { "max_events": 100_000, "max_bytes": 1_073_741_824 },
        });
        assert_eq!(settings, expected);
        assert_eq!(settings["config_hash"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn the_hash_is_of_what_a_node_is_started_with() {
        let fleet_of = |from: &str, to: &str| fleet(&FILE.replace(from, to));
        let before = settings_of(&fleet(FILE), &identity());
        for (from, to, changes) in [
            ("weur = { min = 1", "weur = { min = 2", false),
            ("sleep_after = \"5m\"", "sleep_after = \"6m\"", false),
            ("organization = \"acme\"", "organization = \"other\"", false),
            ("jetstream = { domain = \"edge\" }", "jetstream = { domain = \"edge2\" }", true),
            ("instance = \"basic\"", "instance = \"lite\"", true),
            ("instance = \"basic\"", "instance = \"basic\"\nimage = \"registry.example/nats:2\"", true),
        ] {
            let after = settings_of(&fleet_of(from, to), &identity());
            assert_eq!(after["config_hash"] != before["config_hash"], changes, "{to}");
        }
        let other = Identity { creds: "other".to_owned(), ..identity() };
        assert_ne!(settings_of(&fleet(FILE), &other)["config_hash"], before["config_hash"]);
    }

    #[test]
    fn classes_are_made_once() {
        let metadata_of =
            |is_new| metadata(&[json!({ "type": "version_metadata", "name": "VERSION" })], is_new);
        assert_eq!(metadata_of(true)["migrations"]["new_tag"], "v1");
        assert_eq!(metadata_of(false).get("migrations"), None);
    }

    #[test]
    fn an_image_in_the_registry_is_below_the_account() {
        for (key, expected) in [
            ("", "registry.cloudflare.com/acc/windlass-nats:2.15.1"),
            ("version = \"2.14.0\"", "registry.cloudflare.com/acc/windlass-nats:2.14.0"),
            ("image = \"registry.cloudflare.com/nats:1\"", "registry.cloudflare.com/acc/nats:1"),
            ("image = \"registry.cloudflare.com/acc/nats:1\"", "registry.cloudflare.com/acc/nats:1"),
            ("image = \"ghcr.io/acme/nats:1\"", "ghcr.io/acme/nats:1"),
        ] {
            let fleet = fleet(&FILE.replace("instance = \"basic\"", key));
            assert_eq!(image(edge::cluster(&fleet).unwrap().1, "acc"), expected);
        }
    }
}
