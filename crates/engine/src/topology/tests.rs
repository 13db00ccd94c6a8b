//! The three forms of the drawing against golden files: a fleet as it should be, one with every kind of difference, and one
//! that nobody was asked about. `UPDATE_GOLDEN=1` takes a change over.

use super::seen::{Health, Held, Lag, Receiver, Role, Seen, Server};
use super::*;
use std::collections::{BTreeMap, BTreeSet};

const SMALL: &str = r#"
[fleet]
name = "shop"
[clusters.hub]
servers = 3
jetstream = { domain = "hub" }
[streams.GITHUB]
subjects = ["github.>"]
[github]
organization = "acme"
"#;

const LARGE: &str = r#"
[fleet]
name = "acme"
[platforms.cloudflare]
account_id = { env = "CLOUDFLARE_ACCOUNT_ID" }
api_token = { env = "CLOUDFLARE_API_TOKEN" }
[platforms.synadia]
token = { env = "SYNADIA_TOKEN" }
[clusters.hub]
servers = 3
super_cluster = true
jetstream = { domain = "hub" }
[clusters.west]
super_cluster = true
ports = { client = 5222, websocket = 5322, monitor = 5422, cluster = 5622, gateway = 5522 }
jetstream = { domain = "hub" }
[clusters.asia]
super_cluster = true
ports = { client = 6322, websocket = 6422, monitor = 6522, cluster = 6722, gateway = 6622 }
jetstream = { domain = "hub" }
[clusters.plant]
leaf_of = "hub"
jetstream = { domain = "plant" }
ports = { client = 7322, websocket = 7522, monitor = 7622 }
[clusters.edge]
platform = "cloudflare"
leaf_of = "hub"
regions = { weur = { min = 1, max = 4 }, enam = { min = 0, max = 4 } }
jetstream = { domain = "edge" }
[clusters.cloud]
platform = "synadia"
[streams.GITHUB]
subjects = ["github.>"]
cluster = "hub"
[github]
organization = "acme"
"#;

fn fleet(text: &str) -> Fleet {
    windlass_fleet::parse(text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn server(name: &str, port: u16) -> Server {
    Server {
        name: name.to_owned(),
        cluster: name.rsplit_once('-').unwrap().0.to_owned(),
        health: Health::Healthy,
        pid: Some(u32::from(port)),
        restarts: 0,
        url: Some(format!("nats://127.0.0.1:{port}")),
        version: Some("2.15.1".to_owned()),
        role: Some(Role::Follower),
        routes: BTreeSet::new(),
        leaf_nodes: BTreeSet::new(),
        gateways: BTreeSet::new(),
        streams: Vec::new(),
    }
}

fn receiver() -> Option<Receiver> {
    Some(Receiver {
        health: Health::Healthy,
        pid: Some(1),
        restarts: 0,
        url: Some("http://127.0.0.1:8080/github".to_owned()),
        backlog: Some((0, 0)),
    })
}

fn healthy() -> Seen {
    let mut servers: Vec<Server> =
        (0..3).map(|index| server(&format!("hub-{index}"), 4222 + index)).collect();
    servers[0].routes = set(&["hub-1", "hub-2"]);
    servers[1].routes = set(&["hub-0", "hub-2"]);
    servers[1].role = Some(Role::Leader);
    Seen { servers, receiver: receiver() }
}

/// One server is down, one route is missing, one is of no wanted cluster, one was never made, a gateway and a leaf node
/// are not joined, and the receiver has lost NATS.
fn troubled() -> Seen {
    let mut seen = healthy();
    seen.servers[0].routes = BTreeSet::new();
    seen.servers[0].gateways = set(&["west"]);
    seen.servers[1].routes = BTreeSet::new();
    seen.servers[1].gateways = set(&["west"]);
    seen.servers[2].health = Health::Down("no process".to_owned());
    let mut west = server("west-0", 5222);
    west.role = Some(Role::Standalone);
    west.gateways = set(&["hub"]);
    let mut plant = server("plant-0", 7322);
    plant.health = Health::Impaired(
        "answers 503: JetStream is \"not\" <current> & has not been for quite a while".to_owned(),
    );
    let mut extra = server("hub-3", 4225);
    extra.role = None;
    seen.servers.extend([west, plant, extra, server("old-0", 4300)]);
    let trouble = "NATS is not connected; events go to the spool".to_owned();
    seen.receiver = seen.receiver.map(|receiver| Receiver { health: Health::Impaired(trouble), ..receiver });
    seen
}

fn golden(name: &str, topology: &Topology) {
    let forms = [
        ("txt", terminal(topology, false)),
        ("ansi", terminal(topology, true)),
        ("svg", svg(topology)),
        ("mmd", mermaid(topology)),
        ("json", serde_json::to_string_pretty(topology).unwrap() + "\n"),
    ];
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/topology/golden");
    for (form, text) in forms {
        let path = format!("{directory}/{name}.{form}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(directory).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == text, "{path} differs");
    }
}

#[test]
fn a_fleet_that_is_as_it_should_be() {
    let topology = Topology::of(&fleet(SMALL), None, Some(&healthy()));
    assert!(topology.differences.is_empty(), "{:?}", topology.differences);
    golden("healthy", &topology);
}

#[test]
fn a_fleet_with_every_kind_of_difference() {
    let topology = Topology::of(&fleet(LARGE), Some("production"), Some(&troubled()));
    let differences: Vec<(&str, Mark)> =
        topology.differences.iter().map(|one| (one.what.as_str(), one.mark)).collect();
    let expected = [
        ("the receiver", Mark::Impaired),
        ("server hub-2", Mark::Down),
        ("server hub-3", Mark::Extra),
        ("route hub-0 – hub-1", Mark::Down),
        ("server plant-0", Mark::Impaired),
        ("server asia-0", Mark::Missing),
        ("server old-0", Mark::Extra),
        ("leaf node plant → hub", Mark::Down),
        ("gateway hub – west", Mark::Impaired),
    ];
    assert_eq!(differences, expected);
    golden("troubled", &topology);
}

#[test]
fn a_fleet_that_nobody_was_asked_about() {
    let topology = Topology::of(&fleet(LARGE), None, None);
    assert!(topology.differences.is_empty());
    golden("file", &topology);
}

#[test]
fn nothing_that_was_never_started_is_as_it_should_be() {
    let topology = Topology::of(&fleet(SMALL), None, Some(&Seen::default()));
    assert!(topology.differences.iter().all(|one| one.mark == Mark::Missing));
    assert_eq!(topology.differences.len(), 4, "{:?}", topology.differences);
}

#[test]
fn another_version_than_the_wanted_one_is_a_difference() {
    let text = SMALL.replace("servers = 3", "servers = 3\nversion = \"2.15.0\"");
    let topology = Topology::of(&fleet(&text), None, Some(&healthy()));
    assert_eq!(topology.differences.len(), 3);
    assert_eq!(topology.differences[0].why.as_deref(), Some("version 2.15.0 is wanted"));
}

#[test]
fn a_terminal_of_a_hundred_columns_is_wide_enough() {
    for (text, seen) in [(SMALL, Some(healthy())), (LARGE, Some(troubled())), (LARGE, None)] {
        let text = terminal(&Topology::of(&fleet(text), None, seen.as_ref()), false);
        let widths: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with(['│', '╭', '╰']))
            .map(|line| line.chars().count())
            .collect();
        assert!(widths.iter().all(|width| *width == 100), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}

#[test]
fn a_stream_is_as_its_leader_says() {
    let held = |leader: &str, messages, lags| Held {
        account: "GITHUB".into(),
        stream: "GITHUB".into(),
        messages,
        bytes: messages * 10,
        leader: Some(leader.to_owned()),
        lags,
        source_lag: None,
    };
    let mut seen = healthy();
    let lag = Lag { current: false, lag: 3, offline: false };
    seen.servers[0].streams = vec![held("hub-1", 4, BTreeMap::new())];
    seen.servers[1].streams = vec![held("hub-1", 7, BTreeMap::from([("hub-0".to_owned(), lag)]))];
    let streams = seen.streams();
    assert_eq!((streams.len(), streams[0].messages, streams[0].replicas["hub-0"].lag), (1, 7, 3));
}
