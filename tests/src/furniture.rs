//! A fleet file with each kind of resource, and ports for it.

use crate::free_port;

/// Accounts with users, exports and imports, a stream, a consumer and buckets.
pub const FURNITURE: &str = r#"
[accounts.SHOP]
limits = { connections = 50, streams = 10, storage = "100MiB" }
exports = [{ subject = "rates.>" }, { subject = "quote", kind = "service" }]

[accounts.SHOP.users]
till = { publish = ["orders.>"], subscribe = ["rates.>"], deny_publish = ["orders.void.>"] }
reader = { jetstream = "read" }
keeper = { publish = ["orders.>"], jetstream = "manage" }
quoter = { subscribe = ["quote"], allow_responses = true }
rater = { publish = ["rates.>"] }
nobody = {}

[accounts.REPORTS]
imports = [{ account = "SHOP", subject = "rates.>", to = "shop.rates.>" }, { account = "SHOP", subject = "quote", kind = "service" }]

[accounts.REPORTS.users]
analyst = { publish = ["quote"], subscribe = ["shop.rates.>"] }

[streams.ORDERS]
account = "SHOP"
subjects = ["orders.>"]
max_messages_per_subject = 100
description = "What the shop sold"

[consumers.billing]
stream = "ORDERS"
filter = ["orders.paid"]
ack_wait = "1m"
max_deliver = 5

[kv.SETTINGS]
account = "SHOP"
history = 5
ttl = "10d"

[objects.INVOICES]
account = "SHOP"
max_bytes = "10MiB"
"#;

/// The ports of a cluster of so many servers, as the value of `ports`. Each further server has the next higher ones.
pub fn ports(servers: u16) -> String {
    let port = || {
        let first = free_port();
        for _ in 1..servers {
            free_port();
        }
        first
    };
    let listeners = ["client", "websocket", "monitor", "cluster", "gateway", "leaf"];
    let all: Vec<String> = listeners.iter().map(|listener| format!("{listener} = {}", port())).collect();
    format!("{{ {} }}", all.join(", "))
}

/// A hub with each kind of resource, a receiver, and a cluster that joins it as a leaf node.
pub fn each_kind() -> String {
    let furniture = FURNITURE
        .replace("[streams.ORDERS]", "[streams.ORDERS]\ncluster = \"hub\"")
        .replace("[kv.SETTINGS]", "[kv.SETTINGS]\ncluster = \"hub\"")
        .replace("[objects.INVOICES]", "[objects.INVOICES]\ncluster = \"edge\"");
    format!(
        r#"[fleet]
name = "each-kind"

[clusters.hub]
ports = {}
jetstream = {{ storage = "1GiB", domain = "hub" }}

[clusters.edge]
leaf_of = "hub"
ports = {}
jetstream = {{ storage = "1GiB", domain = "edge" }}
{furniture}
[streams.GITHUB]
cluster = "hub"
subjects = ["github.>"]

[github]
listen = "127.0.0.1:{}"
"#,
        ports(1),
        ports(1),
        free_port()
    )
}
