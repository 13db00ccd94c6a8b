//! Every field of the fleet file: what changing it does to what runs, as the servers themselves say; or why it is refused.
//!
//! The fields are those of `windlass schema`. A field without a row in one of the tables fails the first test, and so does
//! a row without a field.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};
use windlass_tests::engine::{apply_all, blocked, code_of, plan};
use windlass_tests::furniture::ports;
use windlass_tests::s3::servers;
use windlass_tests::{Delivery, Fleet, Github, free_port, get, nats_server, repository};

/// What is asked, and of whom.
enum Ask {
    /// A server's `/varz`.
    Varz(&'static str, &'static str),
    /// A server's `/jsz`.
    Jsz(&'static str, &'static str),
    /// The claims of an account, as the hub has them.
    Claims(&'static str, &'static str),
    /// The hub's answer to `$JS.API.INFO` in the account.
    Limits(&'static str, &'static str),
    /// The configuration of a stream in the account SHOP, on the server.
    Stream(&'static str, &'static str, &'static str),
    /// The configuration of a consumer of the stream ORDERS.
    Consumer(&'static str, &'static str),
    /// Whether a user of SHOP may publish.
    Publish(&'static str, &'static str),
    /// Whether a user of SHOP may subscribe.
    Subscribe(&'static str, &'static str),
    /// What follows an option on the command line of the receiver that runs.
    Receiver(&'static str),
    /// Something that is seen by doing it: see [`does`].
    Does(&'static str),
}
use Ask::{Claims, Consumer, Does, Jsz, Limits, Publish, Receiver, Stream, Subscribe, Varz};

/// A change that goes through: the field, the edit of the file, and what the server says before and after.
type Change = (&'static str, &'static str, &'static str, Ask, &'static str, &'static str);

/// The fleet of [`CHANGES`] and [`REFUSALS`]. `@name` is a free port.
const LIVE: &str = r#"
[fleet]
name = "fields"

[clusters.hub]
ports = { client = @client, websocket = @websocket, monitor = @monitor, leaf = @leaf }
jetstream = { storage = "2GiB", domain = "hub" }

[clusters.edge]
ports = @edge
jetstream = { domain = "edge" }
leaf_of = "hub"

[clusters.side]
ports = @side
jetstream = { domain = "side" }

[accounts.SHOP]
limits = { connections = 50, subscriptions = 500, max_payload = "700KiB", streams = 20, consumers = 30, storage = "1GiB", memory = "32MiB" }
exports = [{ subject = "rates.>" }, { subject = "quote.>" }]

[accounts.SHOP.users]
writer = { publish = ["orders.>"] }
hearer = { subscribe = ["rates.>"] }
voider = { publish = ["orders.>"], deny_publish = ["orders.none"] }
eavesdropper = { subscribe = ["rates.>"], deny_subscribe = ["rates.none"] }
reader = { jetstream = "read" }
quoter = { subscribe = ["questions"] }

[accounts.BANK]
exports = [{ subject = "rates.>" }, { subject = "quote.>", kind = "service" }]

[accounts.REPORTS]
imports = [{ account = "SHOP", subject = "rates.>" }]

[streams.ORDERS]
account = "SHOP"
cluster = "hub"
subjects = ["orders.>"]

[streams.PLAIN]
account = "SHOP"
cluster = "hub"
subjects = ["plain.>"]

[streams.WORK]
account = "SHOP"
cluster = "hub"
subjects = ["work.>"]
retention = "interest"

[streams.GITHUB]
cluster = "hub"
subjects = ["github.>"]

[streams.EVENTS]
account = "BANK"
cluster = "hub"
subjects = ["github.>"]

[consumers.billing]
stream = "ORDERS"

[consumers.fixed]
stream = "ORDERS"

[consumers.named]
stream = "ORDERS"

[consumers.moved]
stream = "ORDERS"

[kv.SETTINGS]
account = "SHOP"
cluster = "hub"

[objects.INVOICES]
account = "SHOP"
cluster = "hub"

[github]
listen = "127.0.0.1:@listen"
secret = { file = "secret" }
"#;

/// What one apply changes in a fleet that runs.
#[rustfmt::skip] // A line is a row.
const CHANGES: &[Change] = &[
    // Servers.
    ("clusters.*.host", "[clusters.hub]", "[clusters.hub]\nhost = \"127.0.0.2\"", Varz("hub-0", "/host"), r#""127.0.0.1""#, r#""127.0.0.2""#),
    ("clusters.*.ports.client", "client = @client", "client = @client2", Varz("hub-0", "/port"), "@client", "@client2"),
    ("clusters.*.ports.websocket", "websocket = @websocket", "websocket = @websocket2", Varz("hub-0", "/websocket/port"), "@websocket", "@websocket2"),
    ("clusters.*.ports.monitor", "monitor = @monitor", "monitor = @monitor2", Varz("hub-0", "/http_port"), "@monitor", "@monitor2"),
    ("clusters.*.ports.leaf", "leaf = @leaf", "leaf = @leaf2", Varz("hub-0", "/leaf/port"), "@leaf", "@leaf2"),
    ("clusters.*.jetstream.storage", r#"storage = "2GiB""#, r#"storage = "3GiB""#, Varz("hub-0", "/jetstream/config/max_storage"), "2147483648", "3221225472"),
    ("clusters.*.jetstream.domain", r#"domain = "hub""#, r#"domain = "core", sync = "5s""#, Varz("hub-0", "/jetstream/config/domain"), r#""hub""#, r#""core""#),
    ("clusters.*.jetstream.sync", "", "", Varz("hub-0", "/jetstream/config/sync_interval"), "120000000000", "5000000000"),
    ("clusters.*.max_payload", "[clusters.hub]", "[clusters.hub]\nmax_payload = \"2MiB\"", Varz("hub-0", "/max_payload"), "1048576", "2097152"),
    ("clusters.*.max_connections", "[clusters.hub]", "[clusters.hub]\nmax_connections = 1000", Varz("hub-0", "/max_connections"), "65536", "1000"),
    ("clusters.*.lame_duck", "[clusters.hub]", "[clusters.hub]\nlame_duck = \"45s\"", Does("lame_duck"), r#""30s""#, r#""45s""#),
    ("clusters.*.leaf_of", "[clusters.side]", "[clusters.side]\nleaf_of = \"hub\"", Varz("side-0", "/leafnodes"), "0", "4"),
    // Accounts.
    ("accounts.*.limits.connections", "connections = 50", "connections = 60", Claims("SHOP", "/limits/conn"), "50", "60"),
    ("accounts.*.limits.subscriptions", "subscriptions = 500", "subscriptions = 600", Claims("SHOP", "/limits/subs"), "500", "600"),
    ("accounts.*.limits.max_payload", r#"max_payload = "700KiB""#, r#"max_payload = "800KiB""#, Does("payload"), "false", "true"),
    ("accounts.*.limits.streams", "streams = 20", "streams = 21", Limits("SHOP", "/limits/max_streams"), "20", "21"),
    ("accounts.*.limits.consumers", "consumers = 30", "consumers = 31", Limits("SHOP", "/limits/max_consumers"), "30", "31"),
    ("accounts.*.limits.storage", r#"storage = "1GiB""#, r#"storage = "1536MiB""#, Limits("SHOP", "/limits/max_storage"), "1073741824", "1610612736"),
    ("accounts.*.limits.memory", r#"memory = "32MiB""#, r#"memory = "64MiB""#, Limits("SHOP", "/limits/max_memory"), "33554432", "67108864"),
    ("accounts.*.exports[].subject", r#"subject = "quote.>" }"#, r#"subject = "prices.>", kind = "service" }"#, Claims("SHOP", "/exports/1/subject"), r#""quote.>""#, r#""prices.>""#),
    ("accounts.*.exports[].kind", "", "", Claims("SHOP", "/exports/1/type"), r#""stream""#, r#""service""#),
    (
        "accounts.*.imports[].account",
        r#"imports = [{ account = "SHOP", subject = "rates.>" }]"#,
        r#"imports = [{ account = "BANK", subject = "quote.>", kind = "service", to = "bank.quote.>" }]"#,
        Claims("REPORTS", "/imports/0/account"),
        r#""SHOP""#,
        r#""BANK""#,
    ),
    ("accounts.*.imports[].subject", "", "", Does("import"), r#"{ "rates": true, "bank.quote": false }"#, r#"{ "rates": false, "bank.quote": true }"#),
    ("accounts.*.imports[].kind", "", "", Claims("REPORTS", "/imports/0/type"), r#""stream""#, r#""service""#),
    ("accounts.*.imports[].to", "", "", Claims("REPORTS", "/imports/0/local_subject"), "null", r#""bank.quote.>""#),
    // Users.
    ("accounts.*.users.*.publish", r#"writer = { publish = ["orders.>"]"#, r#"writer = { publish = ["orders.>", "notes"]"#, Publish("writer", "notes"), "false", "true"),
    ("accounts.*.users.*.subscribe", r#"hearer = { subscribe = ["rates.>"]"#, r#"hearer = { subscribe = ["notes"]"#, Subscribe("hearer", "rates.eur"), "true", "false"),
    ("accounts.*.users.*.deny_publish", r#"deny_publish = ["orders.none"]"#, r#"deny_publish = ["orders.void"]"#, Publish("voider", "orders.void"), "true", "false"),
    ("accounts.*.users.*.deny_subscribe", r#"deny_subscribe = ["rates.none"]"#, r#"deny_subscribe = ["rates.eur"]"#, Subscribe("eavesdropper", "rates.eur"), "true", "false"),
    ("accounts.*.users.*.jetstream", r#"jetstream = "read""#, r#"jetstream = "manage""#, Publish("reader", "$JS.API.STREAM.PURGE.NONE"), "false", "true"),
    ("accounts.*.users.*.allow_responses", r#"subscribe = ["questions"]"#, r#"subscribe = ["questions"], allow_responses = true"#, Does("answer"), "false", "true"),
    // Streams.
    ("streams.*.subjects", r#"subjects = ["plain.>"]"#, r#"subjects = ["plain.>", "more.>"]"#, Stream("hub-0", "PLAIN", "/subjects"), r#"["plain.>"]"#, r#"["plain.>", "more.>"]"#),
    ("streams.*.max_age", "[streams.PLAIN]", "[streams.PLAIN]\nmax_age = \"10d\"", Stream("hub-0", "PLAIN", "/max_age"), "0", "864000000000000"),
    ("streams.*.max_bytes", "[streams.PLAIN]", "[streams.PLAIN]\nmax_bytes = \"10MiB\"", Stream("hub-0", "PLAIN", "/max_bytes"), "-1", "10485760"),
    ("streams.*.max_messages", "[streams.PLAIN]", "[streams.PLAIN]\nmax_messages = 99", Stream("hub-0", "PLAIN", "/max_msgs"), "-1", "99"),
    ("streams.*.max_message_size", "[streams.PLAIN]", "[streams.PLAIN]\nmax_message_size = \"4KiB\"", Stream("hub-0", "PLAIN", "/max_msg_size"), "-1", "4096"),
    ("streams.*.max_messages_per_subject", "[streams.PLAIN]", "[streams.PLAIN]\nmax_messages_per_subject = 9", Stream("hub-0", "PLAIN", "/max_msgs_per_subject"), "-1", "9"),
    ("streams.*.discard", "[streams.PLAIN]", "[streams.PLAIN]\ndiscard = \"new\"", Stream("hub-0", "PLAIN", "/discard"), r#""old""#, r#""new""#),
    ("streams.*.duplicate_window", "[streams.PLAIN]", "[streams.PLAIN]\nduplicate_window = \"5m\"", Stream("hub-0", "PLAIN", "/duplicate_window"), "259200000000000", "300000000000"),
    ("streams.*.compression", "[streams.PLAIN]", "[streams.PLAIN]\ncompression = \"s2\"", Stream("hub-0", "PLAIN", "/compression"), r#""none""#, r#""s2""#),
    ("streams.*.allow_delete", "[streams.PLAIN]", "[streams.PLAIN]\nallow_delete = false", Stream("hub-0", "PLAIN", "/deny_delete"), "false", "true"),
    ("streams.*.description", "[streams.PLAIN]", "[streams.PLAIN]\ndescription = \"sold\"", Stream("hub-0", "PLAIN", "/description"), "null", r#""sold""#),
    ("streams.*.storage", "[streams.WORK]", "[streams.WORK]\nstorage = \"memory\"", Stream("hub-0", "WORK", "/storage"), r#""file""#, r#""memory""#),
    ("kv.*.storage", "[kv.SETTINGS]", "[kv.SETTINGS]\nstorage = \"memory\"", Stream("hub-0", "KV_SETTINGS", "/storage"), r#""file""#, r#""memory""#),
    ("objects.*.storage", "[objects.INVOICES]", "[objects.INVOICES]\nstorage = \"memory\"", Stream("hub-0", "OBJ_INVOICES", "/storage"), r#""file""#, r#""memory""#),
    ("streams.*.retention", r#"retention = "interest""#, r#"retention = "limits""#, Stream("hub-0", "WORK", "/retention"), r#""interest""#, r#""limits""#),
    // Buckets.
    ("kv.*.history", "[kv.SETTINGS]", "[kv.SETTINGS]\nhistory = 7", Stream("hub-0", "KV_SETTINGS", "/max_msgs_per_subject"), "1", "7"),
    ("kv.*.ttl", "[kv.SETTINGS]", "[kv.SETTINGS]\nttl = \"2d\"", Stream("hub-0", "KV_SETTINGS", "/max_age"), "0", "172800000000000"),
    ("kv.*.max_bytes", "[kv.SETTINGS]", "[kv.SETTINGS]\nmax_bytes = \"3MiB\"", Stream("hub-0", "KV_SETTINGS", "/max_bytes"), "-1", "3145728"),
    ("kv.*.max_value_size", "[kv.SETTINGS]", "[kv.SETTINGS]\nmax_value_size = \"2KiB\"", Stream("hub-0", "KV_SETTINGS", "/max_msg_size"), "-1", "2048"),
    ("kv.*.compression", "[kv.SETTINGS]", "[kv.SETTINGS]\ncompression = \"s2\"", Stream("hub-0", "KV_SETTINGS", "/compression"), r#""none""#, r#""s2""#),
    ("kv.*.description", "[kv.SETTINGS]", "[kv.SETTINGS]\ndescription = \"set\"", Stream("hub-0", "KV_SETTINGS", "/description"), "null", r#""set""#),
    ("objects.*.max_age", "[objects.INVOICES]", "[objects.INVOICES]\nmax_age = \"3d\"", Stream("hub-0", "OBJ_INVOICES", "/max_age"), "0", "259200000000000"),
    ("objects.*.max_bytes", "[objects.INVOICES]", "[objects.INVOICES]\nmax_bytes = \"5MiB\"", Stream("hub-0", "OBJ_INVOICES", "/max_bytes"), "-1", "5242880"),
    ("objects.*.compression", "[objects.INVOICES]", "[objects.INVOICES]\ncompression = \"s2\"", Stream("hub-0", "OBJ_INVOICES", "/compression"), r#""none""#, r#""s2""#),
    ("objects.*.description", "[objects.INVOICES]", "[objects.INVOICES]\ndescription = \"paid\"", Stream("hub-0", "OBJ_INVOICES", "/description"), "null", r#""paid""#),
    // Consumers.
    ("consumers.*.filter", "[consumers.billing]", "[consumers.billing]\nfilter = [\"orders.paid\"]", Consumer("billing", "/filter_subject"), "null", r#""orders.paid""#),
    ("consumers.*.ack_wait", "[consumers.billing]", "[consumers.billing]\nack_wait = \"1m\"", Consumer("billing", "/ack_wait"), "30000000000", "60000000000"),
    ("consumers.*.max_deliver", "[consumers.billing]", "[consumers.billing]\nmax_deliver = 4", Consumer("billing", "/max_deliver"), "-1", "4"),
    ("consumers.*.max_ack_pending", "[consumers.billing]", "[consumers.billing]\nmax_ack_pending = 8", Consumer("billing", "/max_ack_pending"), "1000", "8"),
    ("consumers.*.inactive_threshold", "[consumers.billing]", "[consumers.billing]\ninactive_threshold = \"1d\"", Consumer("billing", "/inactive_threshold"), "null", "86400000000000"),
    ("consumers.*.description", "[consumers.billing]", "[consumers.billing]\ndescription = \"bills\"", Consumer("billing", "/description"), "null", r#""bills""#),
    ("consumers.*.deliver", "[consumers.fixed]", "[consumers.fixed]\ndeliver = \"new\"", Consumer("fixed", "/deliver_policy"), r#""all""#, r#""new""#),
    ("consumers.*.acknowledge", "[consumers.fixed]", "[consumers.fixed]\nacknowledge = \"all\"", Consumer("fixed", "/ack_policy"), r#""explicit""#, r#""all""#),
    ("consumers.*.max_waiting", "[consumers.fixed]", "[consumers.fixed]\nmax_waiting = 16", Consumer("fixed", "/max_waiting"), "512", "16"),
    ("consumers.*.name", "[consumers.named]", "[consumers.named]\nname = \"renamed\"", Does("names"), r#"{ "ORDERS": ["billing", "fixed", "moved", "named"], "WORK": [] }"#, r#"{ "ORDERS": ["billing", "fixed", "renamed"], "WORK": ["moved"] }"#),
    ("consumers.*.stream", "[consumers.moved]\nstream = \"ORDERS\"", "[consumers.moved]\nstream = \"WORK\"", Does("names"), r#"{ "ORDERS": ["billing", "fixed", "moved", "named"], "WORK": [] }"#, r#"{ "ORDERS": ["billing", "fixed", "renamed"], "WORK": ["moved"] }"#),
    // The receiver.
    ("github.listen", "127.0.0.1:@listen", "127.0.0.1:@listen2", Does("receives"), "@listen", "@listen2"),
    ("github.secret", r#"secret = { file = "secret" }"#, r#"secret = { file = "another" }"#, Does("secret"), r#""one""#, r#""two""#),
    ("github.claim_check_above", "[github]", "[github]\nclaim_check_above = \"1KiB\"", Does("claim_check"), "false", "true"),
    ("github.in_flight", "[github]", "[github]\nin_flight = 7", Receiver("--in-flight"), r#""4096""#, r#""7""#),
    ("github.spool.max_size", "[github]", "[github]\nspool = { max_size = \"64MiB\" }", Receiver("--spool-max-size"), r#""1073741824""#, r#""67108864""#),
];

/// The fleet of [`OF_THREE`].
const THREE: &str = r#"
[fleet]
name = "three"

[clusters.hub]
servers = 1
ports = { client = @client, websocket = @websocket, monitor = @monitor, cluster = @cluster }

[clusters.trio]
servers = 3
ports = @trio

[streams.ORDERS]
account = "SHOP"
cluster = "trio"
subjects = ["orders.>"]

[kv.SETTINGS]
account = "SHOP"
cluster = "trio"

[objects.INVOICES]
account = "SHOP"
cluster = "trio"
"#;

/// What one apply changes in a fleet of clusters of several servers.
#[rustfmt::skip] // A line is a row.
const OF_THREE: &[Change] = &[
    ("clusters.*.servers", "servers = 1", "servers = 3", Jsz("hub-0", "/meta_cluster/cluster_size"), "null", "3"),
    ("clusters.*.ports.cluster", "cluster = @cluster", "cluster = @cluster2", Varz("hub-0", "/cluster/cluster_port"), "null", "@cluster2"),
    ("streams.*.replicas", "[streams.ORDERS]", "[streams.ORDERS]\nreplicas = 3", Stream("trio-0", "ORDERS", "/num_replicas"), "1", "3"),
    ("kv.*.replicas", "[kv.SETTINGS]", "[kv.SETTINGS]\nreplicas = 3", Stream("trio-0", "KV_SETTINGS", "/num_replicas"), "1", "3"),
    ("objects.*.replicas", "[objects.INVOICES]", "[objects.INVOICES]\nreplicas = 3", Stream("trio-0", "OBJ_INVOICES", "/num_replicas"), "1", "3"),
];

/// The fleet of [`JOINED`].
const ALONE: &str = r#"
[fleet]
name = "fields"

[clusters.solo]
ports = { client = @client, websocket = @websocket, monitor = @monitor, cluster = @cluster, gateway = @gateway }
"#;

/// What one apply changes in a server that is to be reached from elsewhere.
#[rustfmt::skip] // A line is a row.
const JOINED: &[Change] = &[
    ("clusters.*.super_cluster", "[clusters.solo]", "[clusters.solo]\nsuper_cluster = true\ntls = \"all\"\nhost_names = [\"nats.acme.example\"]", Varz("solo-0", "/gateway/name"), "null", r#""solo""#),
    ("clusters.*.ports.gateway", "gateway = @gateway", "gateway = @gateway2", Varz("solo-0", "/gateway/port"), "null", "@gateway2"),
    ("clusters.*.tls", "", "", Varz("solo-0", "/tls_required"), "null", "true"),
    ("clusters.*.host_names", "", "", Does("host_names"), "false", "true"),
];

/// What is said of the state itself, and shown in a test of its own.
const STATE: &[&str] = &[
    "state.store",
    "state.endpoint",
    "state.jurisdiction",
    "state.access_key_id",
    "state.secret_access_key",
    "state.keep",
    "state.keep_for",
    "state.encrypt_with",
];

/// How a change is refused, or shown to do nothing.
enum Refusal {
    /// A mistake in the file, with this code.
    Mistake(&'static str),
    /// The plan says that this address is blocked, and why.
    Blocked(&'static str, &'static str),
    /// The plan ends with this code.
    Ends(&'static str),
    /// The plan notes that this version does nothing with it.
    Unused(&'static str),
}
use Refusal::{Blocked, Ends, Mistake, Unused};

/// A table that is added for each of its fields.
const SCALING: &str = "[scaling.side]\nmetric = \"connections\"\ntarget = 500\nmin = 1\nmax = 3\nscale_out_after = \"1m\"\nscale_in_after = \"20m\"\n\n[streams.ORDERS]";
const FLAG: &str = "[flags.edge]\npercent = 10\nenv = \"EDGE\"\ndescription = \"x\"\n\n[streams.ORDERS]";
const ALERT: &str = "[alerts.lag]\nmetric = \"lag\"\nabove = 10\nlasting = \"1m\"\nseverity = \"critical\"\nnotify = { env = \"HOOK\" }\n\n[streams.ORDERS]";
const SYNADIA: &str =
    "[platforms.synadia]\nsystem = \"OWN\"\ntoken = { env = \"TOKEN\" }\n\n[streams.ORDERS]";
const CLOUDFLARE: &str = "[platforms.cloudflare]\naccount_id = { env = \"ID\" }\napi_token = { env = \"TOKEN\" }\n\n[clusters.far]\nplatform = \"cloudflare\"\n\n[streams.ORDERS]";
const AT_CLOUDFLARE: &str = "[clusters.far]\nplatform = \"cloudflare\"\nregions = { weur = { min = 1, max = 4 } }\ninstance = \"lite\"\nsleep_after = \"1m\"\n\n[streams.ORDERS]";

/// Assumptions under which nothing is used but what a row says, and a cluster at Cloudflare that they are about.
const IDLE: &str = "awake_percent = 0\nconnections = 0\nmessages_per_second = 0\nfan_out = 0\nidle_cpu_percent = 0\nworker_cpu_millis = 0\nmessage_cpu_micros = 0\nstored = 0\n";
const FAR: &str = "[clusters.far]\nplatform = \"cloudflare\"\nregions = { weur = { max = 1 } }\njetstream = { domain = \"far\" }\n\n";

/// What is assumed, and what it then costs, in dollars and to the last digit. `cost.rs` in the crate has the arithmetic of
/// bills; here it is shown that each key arrives.
#[rustfmt::skip] // A line is a row.
const COSTS: &[(&str, bool, &str, &str)] = &[
    // Three machines of one's own, 16.88 each.
    ("cost.machines", false, "machines = \"own\"", "50.64"),
    // Droplets: 12 with 2 GiB, 6 with 1 GiB.
    ("cost.machine.vcpus", false, "machines = \"digital-ocean\"\nmachine = { vcpus = 1 }", "36"),
    ("cost.machine.memory", false, "machines = \"digital-ocean\"\nmachine = { vcpus = 1, memory = \"1GiB\" }", "18"),
    // Fargate: 3 × 730 h × (0.04048 + 2 × 0.004445 + 8.52516352 GB above 20 GiB × 0.000111 + 0.005), and a balancer for 16.425.
    ("cost.machine.disk", false, "machines = \"aws-fargate\"\nmachine = { vcpus = 1, memory = \"2GiB\", disk = \"30GB\" }", "137.5676820000768"),
    // 90 GiB on Droplets of 75: 15 × 0.10.
    ("cost.stored", false, "machines = \"digital-ocean\"\nmachine = { vcpus = 1, memory = \"1GiB\" }\nstored = \"30GiB\"", "19.5"),
    ("cost.prices", false, "machines = \"own\"\nprices = \"own.toml\"", "88.14"),
    ("cost.awake_percent", true, "awake_percent = 100", "12.03044"),
    ("cost.list_prices", true, "awake_percent = 100\nlist_prices = true", "16.51064"),
    ("cost.idle_cpu_percent", true, "awake_percent = 100\nidle_cpu_percent = 1", "12.10604"),
    // 30,417 connections × (0.30 + 0.15 + 0.50) ÷ 1,000,000; and 10 ms each × 0.02 ÷ 1,000,000.
    ("cost.connections", true, "list_prices = true\nconnections = 1000", "5.02889615"),
    ("cost.worker_cpu_millis", true, "list_prices = true\nconnections = 1000\nworker_cpu_millis = 10", "5.03497955"),
    // 262.8 M messages ÷ 20 × 0.15; 10 µs each; 1,000 bytes to one client are 262.8 GB × 0.025; and 2,000.
    ("cost.messages_per_second", true, "awake_percent = 100\nlist_prices = true\nmessages_per_second = 100", "18.48164"),
    ("cost.message_cpu_micros", true, "awake_percent = 100\nlist_prices = true\nmessages_per_second = 100\nmessage_cpu_micros = 10", "18.5342"),
    ("cost.fan_out", true, "awake_percent = 100\nlist_prices = true\nmessages_per_second = 100\nfan_out = 1\nmessage_size = \"1KB\"", "25.05164"),
    ("cost.message_size", true, "awake_percent = 100\nlist_prices = true\nmessages_per_second = 100\nfan_out = 1\nmessage_size = \"2KB\"", "31.62164"),
    // 3,041,667 webhooks × (0.30 + 0.15 + 0.50 + 2 × 1.00 + 2 × 0.001) ÷ 1,000,000.
    ("cost.webhooks_per_day", true, "list_prices = true\nwebhooks_per_day = 100000", "13.979000984"),
    ("cost.objects.stored", true, "list_prices = true\nobjects = { stored = \"100GB\" }", "6.5"),
    ("cost.objects.writes", true, "list_prices = true\nobjects = { writes = 1000000 }", "9.5"),
    ("cost.objects.reads", true, "list_prices = true\nobjects = { reads = 1000000 }", "5.36"),
    // What leaves R2 is free; of S3, 100 GB at 0.09.
    ("cost.objects.egress", false, "list_prices = true\nobjects = { egress = \"100GB\" }\n\n[state]\nstore = \"s3://bucket/prefix\"", "9"),
];

/// What is refused, or does nothing, and says so.
#[rustfmt::skip] // A line is a row.
const REFUSALS: &[(&str, &str, &str, Refusal)] = &[
    ("fleet.name", r#"name = "fields""#, r#"name = "others""#, Ends("WL0503")),
    ("environments.*", "[streams.ORDERS]", "[environments.other.clusters.hub]\nservers = 2\n\n[streams.ORDERS]", Mistake("WL0109")),
    ("platforms.self-hosted.hosts", "[streams.ORDERS]", "[platforms.self-hosted]\nhosts = [\"ssh://nats@10.0.0.5\"]\n\n[streams.ORDERS]", Mistake("WL0107")),
    ("platforms.synadia.system", "[streams.ORDERS]", SYNADIA, Unused("platforms.synadia")),
    ("platforms.synadia.token", "[streams.ORDERS]", SYNADIA, Unused("platforms.synadia")),
    ("platforms.cloudflare.account_id", "[streams.ORDERS]", CLOUDFLARE, Ends("WL0650")),
    ("platforms.cloudflare.api_token", "[streams.ORDERS]", CLOUDFLARE, Ends("WL0650")),
    ("clusters.*.platform", "[streams.ORDERS]", "[clusters.far]\nplatform = \"synadia\"\n\n[streams.ORDERS]", Blocked("cluster.far", "cannot apply the platform synadia")),
    ("clusters.*.regions.*.min", "[streams.ORDERS]", AT_CLOUDFLARE, Ends("WL0650")),
    ("clusters.*.regions.*.max", "[clusters.side]", "[clusters.side]\nregions = { weur = { max = 2 } }", Mistake("WL0133")),
    ("clusters.*.advertise", "[clusters.side]", "[clusters.side]\nadvertise = \"nats://side.example\"", Mistake("WL0119")),
    ("clusters.*.image", "[clusters.side]", "[clusters.side]\nimage = \"nats:1\"", Mistake("WL0133")),
    ("clusters.*.instance", "[clusters.side]", "[clusters.side]\ninstance = \"lite\"", Mistake("WL0133")),
    ("clusters.*.sleep_after", "[clusters.side]", "[clusters.side]\nsleep_after = \"1m\"", Mistake("WL0133")),
    ("clusters.*.version", "[clusters.side]", "[clusters.side]\nversion = \"2.99.0\"", Blocked("server.side-0", "2.99.0")),
    ("streams.*.account", "[streams.WORK]\naccount = \"SHOP\"", "[streams.WORK]\naccount = \"REPORTS\"", Blocked("stream.WORK", "in the account SHOP")),
    ("streams.*.cluster", "[streams.GITHUB]\ncluster = \"hub\"", "[streams.GITHUB]\ncluster = \"edge\"", Blocked("stream.GITHUB", "in the cluster hub")),
    ("kv.*.account", "[kv.SETTINGS]\naccount = \"SHOP\"", "[kv.SETTINGS]\naccount = \"REPORTS\"", Blocked("kv.SETTINGS", "in the account SHOP")),
    ("kv.*.cluster", "[kv.SETTINGS]\naccount = \"SHOP\"\ncluster = \"hub\"", "[kv.SETTINGS]\naccount = \"SHOP\"\ncluster = \"edge\"", Blocked("kv.SETTINGS", "in the cluster hub")),
    ("objects.*.account", "[objects.INVOICES]\naccount = \"SHOP\"", "[objects.INVOICES]\naccount = \"REPORTS\"", Blocked("objects.INVOICES", "in the account SHOP")),
    ("objects.*.cluster", "[objects.INVOICES]\naccount = \"SHOP\"\ncluster = \"hub\"", "[objects.INVOICES]\naccount = \"SHOP\"\ncluster = \"edge\"", Blocked("objects.INVOICES", "in the cluster hub")),
    ("github.receive_at", "[github]", "[github]\nreceive_at = \"edge\"", Mistake("WL0117")),
    ("github.stream", "[github]", "[github]\nstream = \"EVENTS\"", Blocked("objects.GITHUB_PAYLOADS", "not moved to BANK")),
    ("github.organization", "[github]", "[github]\norganization = \"acme\"", Unused("github.organization")),
    ("github.events", "[github]", "[github]\nevents = [\"push\"]", Unused("github.events")),
    ("scaling.*.metric", "[streams.ORDERS]", SCALING, Unused("scaling")),
    ("scaling.*.target", "[streams.ORDERS]", SCALING, Unused("scaling")),
    ("scaling.*.min", "[streams.ORDERS]", SCALING, Unused("scaling")),
    ("scaling.*.max", "[streams.ORDERS]", SCALING, Unused("scaling")),
    ("scaling.*.scale_out_after", "[streams.ORDERS]", SCALING, Unused("scaling")),
    ("scaling.*.scale_in_after", "[streams.ORDERS]", SCALING, Unused("scaling")),
    ("rollout.steps", "[streams.ORDERS]", "[rollout]\nsteps = [50, 100]\n\n[streams.ORDERS]", Unused("rollout")),
    ("rollout.pause", "[streams.ORDERS]", "[rollout]\npause = \"5m\"\n\n[streams.ORDERS]", Unused("rollout")),
    ("rollout.max_errors_percent", "[streams.ORDERS]", "[rollout]\nmax_errors_percent = 7\n\n[streams.ORDERS]", Unused("rollout")),
    ("rollout.max_p99", "[streams.ORDERS]", "[rollout]\nmax_p99 = \"1s\"\n\n[streams.ORDERS]", Unused("rollout")),
    ("rollout.automatic_rollback", "[streams.ORDERS]", "[rollout]\nautomatic_rollback = false\n\n[streams.ORDERS]", Unused("rollout")),
    ("flags.*.percent", "[streams.ORDERS]", FLAG, Unused("flags")),
    ("flags.*.env", "[streams.ORDERS]", FLAG, Unused("flags")),
    ("flags.*.description", "[streams.ORDERS]", FLAG, Unused("flags")),
    ("alerts.*.metric", "[streams.ORDERS]", ALERT, Unused("alerts")),
    ("alerts.*.above", "[streams.ORDERS]", ALERT, Unused("alerts")),
    ("alerts.*.lasting", "[streams.ORDERS]", ALERT, Unused("alerts")),
    ("alerts.*.severity", "[streams.ORDERS]", ALERT, Unused("alerts")),
    ("alerts.*.notify", "[streams.ORDERS]", ALERT, Unused("alerts")),
];

/// The fields of the schema, by their paths: `*` is a name, `[]` an element.
fn fields(schema: &Value) -> BTreeSet<String> {
    fn walk(schema: &Value, node: &Value, path: &str, all: &mut BTreeSet<String>) {
        let referred = node["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        if let Some(name) = referred {
            return walk(schema, &schema["$defs"][name], path, all);
        }
        let keys = |one: &Value| one.as_object().map(|keys| keys.keys().cloned().collect::<Vec<_>>());
        let is_secret = |keys: &[String]| keys == ["command", "env", "file"];
        if node["items"]["$ref"].is_string() {
            walk(schema, &node["items"], &format!("{path}[]"), all);
        } else if node["additionalProperties"].is_object() {
            walk(schema, &node["additionalProperties"], &format!("{path}.*"), all);
        } else if let Some(keys) = keys(&node["properties"]).filter(|keys| !is_secret(keys)) {
            for key in keys {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(schema, &node["properties"][&key], &below, all);
            }
        } else {
            all.insert(path.to_owned());
        }
    }
    let mut all = BTreeSet::new();
    walk(schema, schema, "", &mut all);
    all
}

#[test]
fn every_field_has_its_row() {
    let output = Fleet::command_in(&repository(), &["schema"]).output().unwrap();
    let fields = fields(&serde_json::from_slice(&output.stdout).unwrap());
    assert!(fields.len() > 100, "{fields:?}");
    let changes = CHANGES.iter().chain(OF_THREE).chain(JOINED).map(|(field, ..)| *field);
    let costs = COSTS.iter().map(|(field, ..)| *field);
    let rows =
        changes.chain(REFUSALS.iter().map(|(field, ..)| *field)).chain(STATE.iter().copied()).chain(costs);
    let mut seen = BTreeSet::new();
    for row in rows {
        assert!(fields.contains(row), "the row {row} has no field");
        assert!(seen.insert(row.to_owned()), "{row} has two rows");
    }
    let missing: Vec<&String> = fields.difference(&seen).collect();
    assert!(missing.is_empty(), "fields without a row, which says what changing them does: {missing:?}");
}

/// A file with ports in place of `@name`; the same name is the same port.
struct Ports(Vec<(String, String)>);

impl Ports {
    fn new(names: &[&str], clusters: &[(&str, u16)]) -> Self {
        let mut all = Vec::new();
        for name in names.iter().flat_map(|name| [format!("@{name}2"), format!("@{name}")]) {
            let port = free_port();
            // A cluster's second and third server have the next ones.
            let _ = (free_port(), free_port());
            all.push((name, port.to_string()));
        }
        all.extend(clusters.iter().map(|(name, servers)| (format!("@{name}"), ports(*servers))));
        Self(all)
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, port)| text.replace(name, port))
    }

    fn value(&self, text: &str) -> Value {
        let text = self.fill(text);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

/// The file with one edit; what is to be replaced is there once.
fn edited(file: &str, from: &str, to: &str) -> String {
    assert_eq!(file.matches(from).count(), 1, "{from} is not there once in {file}");
    file.replacen(from, to, 1)
}

async fn ask(fleet: &Fleet, ask: &Ask) -> Value {
    match ask {
        Varz(server, pointer) => at(&fleet.monitor(server, "/varz").await, pointer),
        Jsz(server, pointer) => at(&fleet.monitor(server, "/jsz").await, pointer),
        Claims(account, pointer) => at(&fleet.account_at("hub-0", account).await, pointer),
        Limits(account, pointer) => at(&fleet.jetstream("hub-0", account, "INFO").await, pointer),
        Stream(server, stream, pointer) => {
            let info = fleet.jetstream(server, "SHOP", &format!("STREAM.INFO.{stream}")).await;
            assert!(info["config"].is_object(), "{stream}: {info}");
            at(&info["config"], pointer)
        }
        Consumer(consumer, pointer) => {
            let info = fleet.jetstream("hub-0", "SHOP", &format!("CONSUMER.INFO.ORDERS.{consumer}")).await;
            assert!(info["config"].is_object(), "{consumer}: {info}");
            at(&info["config"], pointer)
        }
        Publish(user, subject) => fleet.may_publish("hub-0", "SHOP", user, subject).await.into(),
        Subscribe(user, subject) => fleet.may_subscribe("hub-0", "SHOP", user, subject).await.into(),
        Receiver(option) => {
            let pid = fleet.pid("receiver").unwrap();
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            let arguments: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let at = arguments.iter().position(|argument| argument == option).unwrap();
            arguments[at + 1].clone().into()
        }
        Does(what) => does(fleet, what).await,
    }
}

fn at(answer: &Value, pointer: &str) -> Value {
    answer.pointer(pointer).cloned().unwrap_or_default()
}

/// What is seen by doing it.
async fn does(fleet: &Fleet, what: &str) -> Value {
    match what {
        "lame_duck" => lame_duck(fleet).await,
        "host_names" => {
            let authority = fleet.state().join("tls/ca.crt");
            let shown =
                windlass_nats::server::certificate(fleet.listens("solo-0")[0], true, &authority).await;
            let name = b"nats.acme.example";
            shown.is_ok_and(|shown| shown.windows(name.len()).any(|part| part == name)).into()
        }
        "payload" => {
            let client = fleet.client("hub-0", "SHOP", "admin").await;
            let mut heard = client.subscribe("large").await.unwrap();
            client.publish("large", vec![b'x'; 750 << 10].into()).await.unwrap();
            tokio::time::timeout(Duration::from_secs(1), heard.next()).await.is_ok().into()
        }
        "import" => json!({
            "rates": hears(fleet).await,
            "bank.quote": is_answered(fleet, ("BANK", "admin", "quote.x"), ("REPORTS", "bank.quote.x")).await,
        }),
        "answer" => is_answered(fleet, ("SHOP", "quoter", "questions"), ("SHOP", "questions")).await.into(),
        "names" => {
            let mut all = json!({});
            for stream in ["ORDERS", "WORK"] {
                let answer = fleet.jetstream("hub-0", "SHOP", &format!("CONSUMER.NAMES.{stream}")).await;
                let mut names: Vec<String> =
                    serde_json::from_value(answer["consumers"].clone()).unwrap_or_default();
                names.sort();
                all[stream] = names.into();
            }
            all
        }
        "receives" => {
            let address = fleet.listens("receiver")[0];
            assert_eq!(get(&format!("http://{address}/healthz")).await.0, 200);
            address.port().into()
        }
        "secret" => {
            let mut accepted = Vec::new();
            for (name, secret) in SECRETS {
                let answer = github(fleet, secret).deliver(&Delivery::push("acme", "api", 0)).await;
                assert!(matches!(answer.status, 200 | 401), "{answer:?}");
                accepted.extend((answer.status == 200).then_some(name));
            }
            accepted.join(" ").into()
        }
        "claim_check" => {
            let delivery = Delivery::json("push", &json!({ "padding": "x".repeat(8 << 10) }));
            deliver(fleet, &delivery).await.contains("Windlass-Payload-Size").into()
        }
        other => panic!("{other}"),
    }
}

/// The setting of the file that the hub runs with: it gives the digest that a check of the file gives.
async fn lame_duck(fleet: &Fleet) -> Value {
    let path = fleet.state().join("nats/hub/nats-server.conf");
    let checked = Command::new(nats_server()).arg("-t").arg("-c").arg(&path).output().unwrap();
    let checked = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    let runs_with = fleet.monitor("hub-0", "/varz").await["config_digest"].as_str().unwrap().to_owned();
    assert!(checked.contains(&runs_with), "{runs_with} is not the digest of the file: {checked}");
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lame_duck_duration: "));
    line.unwrap().trim_matches('"').into()
}

/// Whether a message of SHOP is heard in REPORTS.
async fn hears(fleet: &Fleet) -> bool {
    let shop = fleet.client("hub-0", "SHOP", "admin").await;
    let mut heard = fleet.client("hub-0", "REPORTS", "admin").await.subscribe("rates.>").await.unwrap();
    for _ in 0..20 {
        shop.publish("rates.eur", "1.1".into()).await.unwrap();
        if tokio::time::timeout(Duration::from_millis(50), heard.next()).await.is_ok() {
            return true;
        }
    }
    false
}

/// Whether a request of an account's administrator is answered by a user that listens.
async fn is_answered(fleet: &Fleet, by: (&str, &str, &str), asked: (&str, &str)) -> bool {
    let answering = fleet.client("hub-0", by.0, by.1).await;
    let mut questions = answering.subscribe(by.2.to_owned()).await.unwrap();
    answering.flush().await.unwrap();
    let answers = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            answering.publish(question.reply.unwrap(), "42".into()).await.unwrap();
        }
    });
    let asking = fleet.client("hub-0", asked.0, "admin").await;
    let mut is_answered = false;
    for _ in 0..10 {
        let answer = asking.request(asked.1.to_owned(), "?".into());
        let answer = tokio::time::timeout(Duration::from_millis(100), answer).await;
        is_answered |= answer.is_ok_and(|answer| answer.is_ok());
    }
    answers.abort();
    is_answered
}

/// Secrets by the words of the table.
const SECRETS: [(&str, &str); 2] =
    [("one", "the-first-secret-of-this-fleet"), ("two", "the-second-secret-of-this-fleet")];

fn github(fleet: &Fleet, secret: &str) -> Github {
    Github::new(&format!("http://{}/github", fleet.listens("receiver")[0]), secret)
}

/// Delivers as GitHub would, with every secret: the delivery's headers in the stream.
async fn deliver(fleet: &Fleet, delivery: &Delivery) -> String {
    let mut taken = false;
    for (_, secret) in SECRETS {
        taken |= github(fleet, secret).deliver(delivery).await.is_success();
    }
    assert!(taken);
    let context = async_nats::jetstream::new(fleet.client("hub-0", "GITHUB", "admin").await);
    let stream = context.get_stream("GITHUB").await.unwrap();
    let message = stream.get_raw_message(stream.cached_info().state.last_sequence).await.unwrap();
    assert_eq!(message.headers.get("X-GitHub-Delivery").unwrap().as_str(), delivery.id);
    format!("{:?}", message.headers)
}

/// Starts a fleet, and makes every change of the table at once.
async fn change_all(fleet: &Fleet, ports: &Ports, changes: &[Change]) {
    for (field, _, _, asked, before, _) in changes {
        assert_eq!(ask(fleet, asked).await, ports.value(before), "{field} before");
    }
    let mut file = fleet.file();
    for (_, from, to, ..) in changes.iter().filter(|(_, from, ..)| !from.is_empty()) {
        file = edited(&file, &ports.fill(from), &ports.fill(to));
    }
    fleet.write(&file);
    apply_all(fleet, &["--allow-data-loss"]);
    for (field, _, _, asked, _, after) in changes {
        let after = ports.value(after);
        let mut said = ask(fleet, asked).await;
        // Leaf nodes join when they find the time.
        for _ in 0..100 {
            if said == after {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            said = ask(fleet, asked).await;
        }
        assert_eq!(said, after, "{field} after");
    }
    assert_eq!(plan(fleet)["actions"], json!([]), "nothing is left to do");
}

#[tokio::test]
async fn what_is_changed_in_the_file_is_changed_in_what_runs() {
    let ports = Ports::new(
        &["client", "websocket", "monitor", "leaf", "listen"],
        &[("edge", 1), ("side", 1), ("other", 1)],
    );
    let fleet = Fleet::of(&ports.fill(LIVE));
    for (file, (_, secret)) in ["secret", "another"].iter().zip(SECRETS) {
        fs::write(fleet.path().join(file), secret).unwrap();
    }
    apply_all(&fleet, &[]);
    let file = fleet.file();
    for (field, from, to, refusal) in REFUSALS {
        fleet.write(&edited(&file, &ports.fill(from), &ports.fill(to)));
        check_refused(&fleet, field, refusal);
    }
    fleet.write(&file);
    change_all(&fleet, &ports, CHANGES).await;
}

fn check_refused(fleet: &Fleet, field: &str, refusal: &Refusal) {
    match refusal {
        Mistake(code) => {
            let output = fleet.run(&["validate", "--format", "json"]);
            assert_eq!(output.status.code(), Some(3), "{field}: {output:?}");
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(said.contains(code), "{field}: {said}");
        }
        Ends(code) => {
            let output = fleet.run(&["plan", "--format", "json"]);
            assert_eq!(code_of(&output), *code, "{field}");
        }
        Blocked(address, why) => {
            let plan = plan(fleet);
            let reason = blocked(&plan, address);
            assert!(reason.contains(why), "{field}: {reason}");
        }
        Unused(what) => {
            let output = fleet.run(&["plan"]);
            assert!(output.status.success(), "{field}: {output:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let note = said.lines().find(|line| line.contains("this version does nothing with it"));
            assert!(note.is_some_and(|note| note.contains(&format!("[{what}]"))), "{field}: {said}");
        }
    }
}

/// The keys of [cost] change no server, and what `windlass cost estimate` says.
#[test]
fn what_is_assumed_is_what_is_counted_with() {
    let ports = Ports::new(
        &["client", "websocket", "monitor", "leaf", "listen"],
        &[("edge", 1), ("side", 1), ("other", 1)],
    );
    let file = ports.fill(LIVE);
    let file = file.trim_end();
    let fleet = Fleet::of(file);
    let own = "[[price]]\nid = \"own.server\"\nprice = \"1200\"\nread = \"2026-11-01\"\n";
    fs::write(fleet.path().join("own.toml"), own).unwrap();
    let cost = |before: &str, assumed: &str| {
        let said: Vec<&str> =
            assumed.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
        let rest = IDLE.lines().filter(|line| !said.iter().any(|key| line.starts_with(&format!("{key} = "))));
        let rest = rest.collect::<Vec<_>>().join("\n");
        fleet.write(&format!("{file}\n{before}[cost]\n{rest}\n{assumed}\n"));
        let output = fleet.run(&["cost", "estimate", "--format", "json"]);
        assert!(output.status.success(), "{assumed}: {output:?}");
        let estimate: Value = serde_json::from_slice(&output.stdout).unwrap();
        estimate["environments"][0]["total_exact"].as_str().unwrap().to_owned()
    };
    assert_eq!((cost("", ""), cost(FAR, "")), ("0".to_owned(), "5".to_owned()));
    for (field, at_cloudflare, assumed, total) in COSTS {
        // The file ends with [github].
        let received = if *field == "cost.webhooks_per_day" { "receive_at = \"edge\"\n\n" } else { "" };
        let before = if *at_cloudflare { FAR } else { "" };
        assert_eq!(cost(&format!("{received}{before}"), assumed), *total, "{field}");
    }
}

#[tokio::test]
async fn what_is_changed_in_the_file_of_a_cluster_of_several_is_changed_in_what_runs() {
    let ports = Ports::new(&["client", "websocket", "monitor", "cluster"], &[("trio", 3)]);
    let fleet = Fleet::of(&ports.fill(THREE));
    apply_all(&fleet, &[]);
    change_all(&fleet, &ports, OF_THREE).await;
}

#[tokio::test]
async fn what_is_changed_in_the_file_of_a_server_that_is_reached_from_elsewhere_is_changed_in_what_runs() {
    let ports = Ports::new(&["client", "websocket", "monitor", "cluster", "gateway"], &[]);
    let fleet = Fleet::of(&ports.fill(ALONE));
    apply_all(&fleet, &[]);
    change_all(&fleet, &ports, JOINED).await;
}

/// Makes every version of the history ten days older, and says how many there are.
fn grow_older(directory: &Path) -> usize {
    let versions = fs::read_dir(directory.join("history/state.json")).unwrap();
    let ten_days = Duration::from_secs(10 * 86_400);
    versions
        .map(|version| {
            let file = fs::File::options().write(true).open(version.unwrap().path()).unwrap();
            file.set_modified(SystemTime::now() - ten_days).unwrap();
        })
        .count()
}

/// Which host is asked, by a proxy that answers nobody.
fn asked_host(fleet: &Fleet, more: &[(&str, &str)]) -> String {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    });
    let mut command = fleet.command(&["plan", "--format", "json"]);
    command.env("HTTPS_PROXY", url).env("WINDLASS_STATE_PATIENCE", "1").env_remove("NO_PROXY");
    let output = command.envs(more.iter().copied()).output().unwrap();
    assert_eq!(code_of(&output), "WL0703", "{output:?}");
    heard.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_the_state_is_what_is_done_with_it() {
    let ports = Ports::new(&["client", "websocket", "monitor", "cluster", "gateway"], &[]);
    let fleet = Fleet::of(&ports.fill(ALONE));
    let file = fleet.file();
    let with = |state: &str| fleet.write(&format!("{file}\n[state]\n{state}\n"));
    let kept = fleet.path().join("kept");
    let mut size = 1;
    let mut changed = |state: &str| {
        size += 1;
        with(state);
        fleet.edit("[clusters.solo]", &format!("[clusters.solo]\njetstream = {{ storage = \"{size}GiB\" }}"));
        apply_all(&fleet, &[]);
    };
    // store: relative to the fleet file.
    changed("store = \"dir:kept\"");
    assert!(kept.join("state.json").is_file() && !fleet.state().join("state").exists());
    changed("store = \"dir:kept\"");
    assert_eq!(grow_older(&kept), 2);
    // keep_for: what is younger is kept, however much it is.
    changed("store = \"dir:kept\"\nkeep = 1\nkeep_for = \"30d\"");
    assert_eq!(grow_older(&kept), 3);
    // keep: so many are kept, however old they are.
    changed("store = \"dir:kept\"\nkeep = 2\nkeep_for = \"1d\"");
    assert_eq!(grow_older(&kept), 2);
    // encrypt_with: not without the key.
    with("store = \"dir:kept\"\nencrypt_with = { file = \"key\" }");
    assert_eq!(code_of(&fleet.run(&["plan", "--format", "json"])), "WL0431");
    fs::write(fleet.path().join("key"), "correct horse battery staple\n").unwrap();
    changed("store = \"dir:kept\"\nencrypt_with = { file = \"key\" }");
    assert!(fs::read(kept.join("state.json")).unwrap().starts_with(b"age-encryption.org/v1"));

    // endpoint, access_key_id, secret_access_key: of a real server.
    let server = servers::sandbox(1);
    let bucket = |secret: &str| {
        fs::write(fleet.path().join("secret"), secret).unwrap();
        fs::write(fleet.path().join("id"), &server.keys.id).unwrap();
        with(&format!(
            "store = \"r2://states\"\nendpoint = \"{}\"\naccess_key_id = {{ file = \"id\" }}\n\
             secret_access_key = {{ file = \"secret\" }}\nencrypt_with = {{ file = \"key\" }}",
            server.endpoints[0]
        ));
    };
    bucket("another secret");
    assert_eq!(code_of(&fleet.run(&["plan", "--format", "json"])), "WL0704");
    bucket(&server.keys.secret);
    assert_eq!(code_of(&fleet.run(&["plan", "--format", "json"])), "WL0430", "it is not there yet");
    let moved = fleet.run(&["state", "move", "--yes"]);
    assert!(moved.status.success(), "{moved:?}");
    apply_all(&fleet, &[]);
    assert_eq!(plan(&fleet)["actions"], json!([]));

    // jurisdiction: an address of its own.
    let cloudflare =
        "\n[platforms.cloudflare]\naccount_id = { env = \"ID\" }\napi_token = { env = \"TOKEN\" }";
    let keys = [("ID", "0a1b2c"), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y")];
    with(&format!("store = \"r2://states\"\n{cloudflare}"));
    assert!(asked_host(&fleet, &keys).starts_with("CONNECT 0a1b2c.r2.cloudflarestorage.com:443 "));
    with(&format!("store = \"r2://states\"\njurisdiction = \"eu\"\n{cloudflare}"));
    assert!(asked_host(&fleet, &keys).starts_with("CONNECT 0a1b2c.eu.r2.cloudflarestorage.com:443 "));
    with("store = \"s3://states\"");
    assert_eq!(code_of(&fleet.run(&["plan", "--format", "json"])), "WL0702", "without any key");
}
