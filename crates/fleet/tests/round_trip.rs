//! What is printed is read again as what it was, and no text makes the parser fail.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use windlass_fleet::{
    Account, Acknowledge, Alert, AlertMetric, Bytes, Cloudflare, Cluster, Compression, Consumer, Cost,
    Deliver, Discard, Exchange, Export, Flag, Fleet, Github, Identity, Import, Instance, JetStream,
    JetStreamAccess, Jurisdiction, KvBucket, Limits, Line, Machine, Machines, Name, ObjectBucket, Objects,
    Period, PlatformName, Platforms, Ports, ReceiveAt, Region, Retention, Rollout, Scaling, ScalingMetric,
    SecretSource, SelfHosted, Severity, Spool, State, Storage, Stream, SubjectPattern, Synadia, Sync, TlsUse,
    User, embedded, parse, parse_bytes, parse_environment, print,
};

fn pick<T: Clone + std::fmt::Debug + 'static>(all: &[T]) -> impl Strategy<Value = T> + use<T> {
    proptest::sample::select(all.to_vec())
}

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_][A-Za-z0-9_-]{0,12}".prop_map(|text| text.parse().unwrap())
}

fn host() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u16; 8]>().prop_map(IpAddr::from)]
}

fn secret() -> impl Strategy<Value = SecretSource> {
    prop_oneof![
        "[A-Z_][A-Z0-9_]{0,20}".prop_map(SecretSource::Env),
        "[^\0\n]{1,20}".prop_map(|path| SecretSource::File(path.into())),
        ("[^\0]{1,10}", proptest::collection::vec("[^\0]{0,10}", 0..3)).prop_map(|(program, arguments)| {
            SecretSource::Command(std::iter::once(program).chain(arguments).collect())
        }),
    ]
}

prop_compose! {
    fn cluster(ports: Ports)(
        host in host(),
        storage in (1_u64 << 50)..=Bytes::MAX.get(),
        domain in proptest::option::of(name()),
        sync in prop_oneof![Just(Sync::Always), (1..=Period::MAX.as_millis()).prop_map(|millis| Sync::Every(Period::millis(millis)))],
        max_payload in 1024_u64..=64 << 20,
        max_connections in proptest::option::of(1_u64..=10_000_000),
        lame_duck in 30_u64..=3600,
        version in proptest::option::of("[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}"),
        super_cluster in any::<bool>(),
        tls in pick(TlsUse::ALL),
        advertise in proptest::option::of("wss?://[a-z0-9]{1,9}(:[1-9][0-9]{0,3})?(/[a-z]{1,9})?"),
        host_names in proptest::collection::btree_set("(\\*\\.)?[a-z0-9]{1,9}(\\.[a-z0-9]{1,9}){0,2}", 0..3),
    ) -> Cluster {
        Cluster {
            platform: PlatformName::SelfHosted,
            servers: 1,
            host,
            ports: ports.clone(),
            jetstream: JetStream { storage: Bytes::new(storage), domain, sync },
            max_payload: Bytes::new(max_payload),
            max_connections,
            advertise: advertise.map(|text| text.parse().unwrap()),
            lame_duck: Period::seconds(lame_duck),
            version: version.map(|text| text.parse().unwrap()),
            leaf_of: None,
            super_cluster,
            tls,
            host_names: host_names.iter().map(|name| name.parse().unwrap()).collect(),
            regions: std::collections::BTreeMap::new(),
            image: None,
            instance: Instance::Basic,
            sleep_after: Period::seconds(300),
        }
    }
}

prop_compose! {
    fn at_cloudflare()(
        regions in proptest::collection::btree_map(pick(&["weur", "enam", "apac"]), (0..4_u32, 4..9_u32), 0..3),
        instance in pick(Instance::ALL),
        sleep_after in 10_000..=Period::MAX.as_millis(),
        domain in name(),
        image in proptest::option::of("[a-z]{1,9}\\.example/[a-z]{1,9}:[0-9.]{1,9}"),
        hub in any::<bool>(),
    ) -> (Cluster, bool) {
        let text = "[fleet]\nname = \"x\"\n[clusters.c]\nplatform = \"cloudflare\"\n";
        let mut cluster = parse(text, "x").unwrap().clusters.into_values().next().unwrap();
        let region = |(name, (min, max)): (&str, (u32, u32))| (name.parse().unwrap(), Region { min, max });
        cluster.regions = regions.into_iter().map(region).collect();
        cluster.image = image.map(|text| text.parse().unwrap());
        cluster.instance = instance;
        cluster.sleep_after = Period::millis(sleep_after);
        cluster.jetstream.domain = Some(format!("{domain}-edge").parse().unwrap());
        (cluster, hub)
    }
}

prop_compose! {
    fn scaling()(
        metric in pick(ScalingMetric::ALL),
        target in 1..=i64::MAX as u64,
        min in proptest::option::of(0..5_u32),
        max in proptest::option::of(5..1000_u32),
        scale_out_after in 1000..=Period::MAX.as_millis(),
        scale_in_after in 1000..=Period::MAX.as_millis(),
    ) -> Scaling {
        let (scale_out_after, scale_in_after) = (Period::millis(scale_out_after), Period::millis(scale_in_after));
        Scaling { metric, target, min, max, scale_out_after, scale_in_after }
    }
}

prop_compose! {
    fn rollout()(
        steps in proptest::collection::btree_set(1..100_u32, 0..4),
        pause in 0..=Period::MAX.as_millis(),
        max_errors_percent in 0..=100_u32,
        max_p99 in proptest::option::of(1..=Period::MAX.as_millis()),
        automatic_rollback in any::<bool>(),
    ) -> Rollout {
        let steps = steps.into_iter().chain([100]).collect();
        let (pause, max_p99) = (Period::millis(pause), max_p99.map(Period::millis));
        Rollout { steps, pause, max_errors_percent, max_p99, automatic_rollback }
    }
}

prop_compose! {
    fn cost()(
        machines in proptest::sample::select(Machines::ALL),
        (vcpus, memory, disk) in (1..=1024_u32, 128..1000_u64, 1..1000_u64),
        (awake_percent, idle_cpu_percent, fan_out) in (0..=100_u32, 0..=100_u32, 0..=1_000_000_u32),
        (connections, messages_per_second, webhooks_per_day) in (0..=1_000_000_000_u64, 0..=1_000_000_000_u64, 0..=1_000_000_000_u64),
        (message_size, stored, object_size, egress) in (1..=(64_u64 << 20), any::<u64>(), any::<u64>(), any::<u64>()),
        (writes, reads) in (0..=i64::MAX as u64, 0..=i64::MAX as u64),
        (message_cpu_micros, worker_cpu_millis) in (0..=1_000_000_u32, 0..=1_000_000_u32),
        list_prices in any::<bool>(),
        prices in proptest::option::of("[a-z]{1,9}\\.toml"),
    ) -> Cost {
        let (stored, object_size, egress) = (Bytes::new(stored), Bytes::new(object_size), Bytes::new(egress));
        Cost {
            machines,
            machine: Machine { vcpus, memory: Bytes::mib(memory), disk: Bytes::gib(disk) },
            awake_percent,
            connections,
            messages_per_second,
            message_size: Bytes::new(message_size),
            fan_out,
            webhooks_per_day,
            stored,
            objects: Objects { stored: object_size, writes, reads, egress },
            message_cpu_micros,
            idle_cpu_percent,
            worker_cpu_millis,
            list_prices,
            prices: prices.map(|file| file.parse().unwrap()),
        }
    }
}

prop_compose! {
    fn alert()(
        metric in pick(AlertMetric::ALL),
        above in 0..=i64::MAX as u64,
        lasting in 0..=Period::MAX.as_millis(),
        severity in pick(Severity::ALL),
        notify in proptest::option::of(secret()),
    ) -> Alert {
        Alert { metric, above, lasting: Period::millis(lasting), severity, notify: notify.into_iter().collect() }
    }
}

prop_compose! {
    fn state()(
        store in proptest::option::of("(s3|r2)://[a-z0-9]{3,10}(/[a-z]{1,5})?|dir:[a-z/]{1,9}"),
        keep in 1..=100_000_u32,
        keep_for in Period::days(1).as_millis()..=Period::MAX.as_millis(),
        key in proptest::option::of(secret()),
        endpoint in proptest::option::of("https://[a-z]{1,9}\\.example(:[1-9][0-9]{1,3})?(/[a-z]{1,5})?"),
        jurisdiction in proptest::option::of(pick(Jurisdiction::ALL)),
        access in proptest::option::of((secret(), secret())),
    ) -> State {
        let scheme = store.as_deref().and_then(|text| text.split(':').next()).unwrap_or_default().to_owned();
        let in_a_bucket = matches!(&*scheme, "s3" | "r2");
        let (access_key_id, secret_access_key) = access.filter(|_| in_a_bucket).unzip();
        State {
            store: store.map(|text| text.parse().unwrap()),
            endpoint: endpoint.filter(|_| in_a_bucket).map(|text| text.parse().unwrap()),
            jurisdiction: jurisdiction.filter(|_| scheme == "r2"),
            access_key_id,
            secret_access_key,
            keep,
            keep_for: Period::millis(keep_for),
            encrypt_with: key.into_iter().collect(),
        }
    }
}

/// The fleet with what says how it is run.
fn operated(fleet: Fleet) -> impl Strategy<Value = Fleet> {
    let flag = (0..=100_u32, proptest::option::of(name()), description())
        .prop_map(|(percent, env, description)| Flag { percent, env, description });
    let platforms = (proptest::option::of((secret(), secret())), proptest::option::of(secret()));
    (
        proptest::option::of(at_cloudflare()),
        proptest::option::of(scaling()),
        rollout(),
        proptest::collection::btree_map(name(), flag, 0..3),
        proptest::collection::btree_map(name(), alert(), 0..3),
        (state(), cost()),
        platforms,
    )
        .prop_map(
            move |(edge, scaling, rollout, flags, alerts, (state, cost), (cloudflare, synadia))| {
                let mut fleet = fleet.clone();
                let hub = fleet.clusters.keys().next().cloned().unwrap();
                if let Some((mut edge, joins)) = edge {
                    edge.leaf_of = joins.then(|| hub.clone());
                    fleet.clusters.insert("zzz-edge-of-all".parse().unwrap(), edge);
                }
                fleet.scaling = scaling.map(|scaling| (hub, scaling)).into_iter().collect();
                (fleet.rollout, fleet.flags, fleet.alerts, fleet.state) = (rollout, flags, alerts, state);
                fleet.cost = cost;
                fleet.platforms.cloudflare =
                    cloudflare.map(|(account_id, api_token)| Cloudflare { account_id, api_token });
                fleet.platforms.synadia =
                    synadia.map(|token| Synadia { system: "NGS".parse().unwrap(), token });
                fleet
            },
        )
}

prop_compose! {
    /// A stream whose subjects begin with its number, so that no two overlap.
    fn stream(number: usize, clusters: Vec<Name>)(
        account in account_name(),
        cluster in pick(&clusters),
        tails in proptest::collection::btree_set("[a-zäß%_-]{1,8}", 1..4),
        storage in pick(Storage::ALL),
        max_age in proptest::option::of(100..=Period::MAX.as_millis()),
        max_bytes in proptest::option::of(1_u64..=1 << 40),
        max_messages in proptest::option::of(1..=i64::MAX as u64),
        max_message_size in proptest::option::of(1_u64..=64 << 20),
        discard in pick(Discard::ALL),
        retention in pick(Retention::ALL),
        window in 100..=Period::MAX.as_millis(),
        (compression, max_messages_per_subject, allow_delete, description) in
            (pick(Compression::ALL), proptest::option::of(1..=i64::MAX as u64), any::<bool>(), description()),
    ) -> Stream {
        let window = max_age.map_or(window, |max_age| window.min(max_age));
        Stream {
            account,
            cluster: Some(cluster),
            subjects: tails.iter().map(|tail| format!("s{number}.{tail}.*.>").parse().unwrap()).collect(),
            storage,
            replicas: 1,
            max_age: max_age.map(Period::millis),
            max_bytes: max_bytes.map(Bytes::new),
            max_messages,
            max_message_size: max_message_size.map(Bytes::new),
            discard,
            retention,
            duplicate_window: Period::millis(window),
            compression,
            max_messages_per_subject,
            allow_delete,
            description,
        }
    }
}

fn account_name() -> impl Strategy<Value = Name> {
    name().prop_filter("the system account", |name| name.as_str() != "SYS")
}

fn description() -> impl Strategy<Value = Option<Line>> {
    proptest::option::of("[^\\p{C}]{1,30}").prop_map(|text| text.map(|text| text.parse().unwrap()))
}

fn patterns() -> impl Strategy<Value = Vec<SubjectPattern>> {
    proptest::collection::btree_set("[a-z$_]{1,6}(\\.[a-z*]){0,2}(\\.>)?", 0..3)
        .prop_map(|set| set.iter().map(|text| text.parse().unwrap()).collect())
}

prop_compose! {
    fn user()(
        publish in patterns(),
        subscribe in patterns(),
        deny_publish in patterns(),
        deny_subscribe in patterns(),
        jetstream in pick(JetStreamAccess::ALL),
        allow_responses in any::<bool>(),
    ) -> User {
        User { publish, subscribe, deny_publish, deny_subscribe, jetstream, allow_responses }
    }
}

prop_compose! {
    fn account()(
        numbers in proptest::collection::vec(proptest::option::of(1..=i64::MAX as u64), 4),
        sizes in proptest::collection::vec(proptest::option::of(1..=64_u64 << 20), 3),
        users in proptest::collection::btree_map(name().prop_filter("admin", |name| name.as_str() != "admin"), user(), 0..3),
        exports in proptest::collection::btree_set("[a-z]{1,6}\\.>", 0..3),
        kind in pick(Exchange::ALL),
    ) -> Account {
        let size = |index: usize| sizes[index].map(Bytes::new);
        Account {
            limits: Limits {
                connections: numbers[0],
                subscriptions: numbers[1],
                max_payload: size(0),
                streams: numbers[2],
                consumers: numbers[3],
                storage: size(1),
                memory: size(2),
            },
            users,
            exports: exports.iter().map(|text| Export { subject: text.parse().unwrap(), kind }).collect(),
            imports: Vec::new(),
        }
    }
}

prop_compose! {
    fn kv(clusters: Vec<Name>)(
        account in account_name(),
        cluster in pick(&clusters),
        history in 1..=64_u32,
        ttl in proptest::option::of(100..=Period::MAX.as_millis()),
        max_bytes in proptest::option::of(1_u64..=1 << 40),
        max_value_size in proptest::option::of(1_u64..=64 << 20),
        storage in pick(Storage::ALL),
        compression in pick(Compression::ALL),
        description in description(),
    ) -> KvBucket {
        KvBucket {
            account,
            cluster: Some(cluster),
            history,
            ttl: ttl.map(Period::millis),
            max_bytes: max_bytes.map(Bytes::new),
            max_value_size: max_value_size.map(Bytes::new),
            storage,
            replicas: 1,
            compression,
            description,
        }
    }
}

prop_compose! {
    fn objects(clusters: Vec<Name>)(
        account in account_name(),
        cluster in pick(&clusters),
        max_age in proptest::option::of(100..=Period::MAX.as_millis()),
        max_bytes in proptest::option::of(1_u64..=1 << 40),
        storage in pick(Storage::ALL),
        compression in pick(Compression::ALL),
        description in description(),
    ) -> ObjectBucket {
        ObjectBucket {
            account,
            cluster: Some(cluster),
            max_age: max_age.map(Period::millis),
            max_bytes: max_bytes.map(Bytes::new),
            storage,
            replicas: 1,
            compression,
            description,
        }
    }
}

prop_compose! {
    fn consumer(streams: Vec<Name>)(
        stream in pick(&streams),
        deliver in pick(Deliver::ALL),
        acknowledge in pick(Acknowledge::ALL),
        ack_wait in 1..=Period::MAX.as_millis(),
        max_deliver in proptest::option::of(1..=i64::MAX as u64),
        max_ack_pending in 1..=i64::MAX as u64,
        max_waiting in 1..=i64::MAX as u64,
        inactive_threshold in proptest::option::of(100..=Period::MAX.as_millis()),
        description in description(),
    ) -> Consumer {
        Consumer {
            stream,
            name: None,
            filter: Vec::new(),
            deliver,
            acknowledge,
            ack_wait: Period::millis(ack_wait),
            max_deliver,
            max_ack_pending,
            max_waiting,
            inactive_threshold: inactive_threshold.map(Period::millis),
            description,
        }
    }
}

/// The fleet with accounts, buckets and consumers, and an import of each export.
fn furnished(fleet: Fleet) -> impl Strategy<Value = Fleet> {
    let on: Vec<Name> = fleet.clusters.keys().cloned().collect();
    let streams: Vec<Name> = fleet.streams.keys().cloned().collect();
    let few = 0..3_usize;
    let consumers = if streams.is_empty() {
        Just(std::collections::BTreeMap::new()).boxed()
    } else {
        proptest::collection::btree_map(name(), consumer(streams), few.clone()).boxed()
    };
    (
        proptest::collection::btree_map(account_name(), account(), few.clone()),
        proptest::collection::btree_map(name(), kv(on.clone()), few.clone()),
        proptest::collection::btree_map(name(), objects(on), few),
        consumers,
    )
        .prop_map(move |(accounts, kv, objects, consumers)| {
            let mut fleet = fleet.clone();
            fleet.accounts = accounts;
            let exporter = fleet.accounts.keys().next().cloned();
            if let (Some(exporter), Some(name)) = (exporter, fleet.accounts.keys().nth(1).cloned()) {
                let exports = fleet.accounts[&exporter].exports.clone();
                let import = |export: &Export| Import {
                    account: exporter.clone(),
                    subject: export.subject.clone(),
                    kind: export.kind,
                    to: format!("to.{}", export.subject).parse().ok(),
                };
                fleet.accounts.get_mut(&name).unwrap().imports = exports.iter().map(import).collect();
            }
            (fleet.kv, fleet.objects, fleet.consumers) = (kv, objects, consumers);
            for (number, consumer) in fleet.consumers.values_mut().enumerate() {
                let stream = &fleet.streams[&consumer.stream];
                consumer.filter = stream.subjects.iter().take(number).cloned().collect();
                consumer.name = (number % 2 == 1).then(|| format!("reader-{number}").parse().unwrap());
            }
            fleet
        })
}

prop_compose! {
    fn github()(
        organization in proptest::option::of("[A-Za-z0-9][A-Za-z0-9_-]{0,38}"),
        secret in proptest::collection::vec(secret(), 0..4),
        events in prop_oneof![Just(vec!["*".to_owned()]), proptest::collection::btree_set("[a-z0-9_]{1,20}", 1..4).prop_map(|set| set.into_iter().collect())],
        stream in name(),
        host in host(),
        claim_check_above in 1024_u64..=25 << 20,
        in_flight in 1..=1_000_000_u32,
        max_size in (32_u64 << 20)..=Bytes::MAX.get(),
    ) -> Github {
        let mut secrets: Vec<SecretSource> = Vec::new();
        for source in secret {
            if !secrets.contains(&source) {
                secrets.push(source);
            }
        }
        Github {
            organization: organization.map(|text| text.parse().unwrap()),
            secret: secrets,
            events: events.iter().map(|text| text.parse().unwrap()).collect(),
            receive_at: ReceiveAt::SelfHosted,
            stream,
            // A port that no cluster of these tests has.
            listen: SocketAddr::new(host, 9),
            claim_check_above: Bytes::new(claim_check_above),
            in_flight,
            spool: Spool { max_size: Bytes::new(max_size) },
        }
    }
}

fn fleet() -> impl Strategy<Value = Fleet> {
    let clusters =
        (proptest::collection::btree_set(name(), 1..4), 10..60_000_u16).prop_flat_map(|(names, first)| {
            let one = |(index, name): (usize, Name)| {
                let port = first + 6 * u16::try_from(index).unwrap();
                let ports = Ports {
                    client: port,
                    websocket: port + 1,
                    monitor: port + 2,
                    cluster: port + 3,
                    gateway: port + 4,
                    leaf: port + 5,
                };
                cluster(ports).prop_map(move |cluster| (name.clone(), cluster))
            };
            names.into_iter().enumerate().map(one).collect::<Vec<_>>()
        });
    let names = proptest::collection::btree_set(name(), 0..4);
    (clusters, names, "[a-z0-9][a-z0-9-]{0,39}", proptest::option::of(github()))
        .prop_flat_map(|(clusters, names, fleet_name, github)| {
            let on: Vec<Name> = clusters.iter().map(|(name, _)| name.clone()).collect();
            let one = |(number, name): (usize, Name)| {
                stream(number, on.clone()).prop_map(move |it| (name.clone(), it))
            };
            let streams: Vec<_> = names.into_iter().enumerate().map(one).collect();
            (streams, Just((clusters, fleet_name, github))).prop_map(
                |(streams, (clusters, fleet_name, github))| assemble(clusters, streams, &fleet_name, github),
            )
        })
        .prop_flat_map(furnished)
        .prop_flat_map(operated)
}

/// Clusters of a super-cluster are one system.
fn agree(mut clusters: Vec<(Name, Cluster)>) -> std::collections::BTreeMap<Name, Cluster> {
    let mut members = clusters.iter_mut().map(|(_, cluster)| cluster).filter(|cluster| cluster.super_cluster);
    if let Some(first) = members.next() {
        let (domain, tls) = (first.jetstream.domain.clone(), first.tls);
        for cluster in members {
            (cluster.jetstream.domain, cluster.tls) = (domain.clone(), tls);
        }
    }
    clusters.into_iter().collect()
}

fn assemble(
    clusters: Vec<(Name, Cluster)>,
    streams: Vec<(Name, Stream)>,
    fleet_name: &str,
    github: Option<Github>,
) -> Fleet {
    let mut fleet = Fleet {
        identity: Identity { name: fleet_name.parse().unwrap() },
        platforms: Platforms {
            self_hosted: SelfHosted { hosts: vec![windlass_fleet::Host::Local] },
            synadia: None,
            cloudflare: None,
        },
        accounts: std::collections::BTreeMap::new(),
        clusters: agree(clusters),
        streams: streams.into_iter().collect(),
        consumers: std::collections::BTreeMap::new(),
        kv: std::collections::BTreeMap::new(),
        objects: std::collections::BTreeMap::new(),
        github,
        ..parse("[fleet]\nname = \"x\"\n[clusters.x]\n", "x").unwrap()
    };
    if let Some(github) = &fleet.github {
        // The stream that GitHub's events need.
        let cluster = fleet.clusters.keys().next().unwrap().clone();
        let mut text = embedded().replace("[streams.GITHUB]", &format!("[streams.{}]", github.stream));
        text = text.replace("\n[github]\n", &format!("\n[github]\nstream = \"{}\"\n", github.stream));
        let mut stream = parse(&text, "x").unwrap().streams.into_values().next().unwrap();
        stream.cluster = Some(cluster);
        fleet.streams.insert(github.stream.clone(), stream);
    }
    fleet
}

/// Text that looks like a fleet file, with something wrong in it.
fn mangled() -> impl Strategy<Value = String> {
    let edit = (0..embedded().len(), 0..40_usize, "[\\[\\]{}=\"'.,#\\n a-z0-9äß]{0,6}");
    proptest::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut text: Vec<char> = embedded().chars().filter(|c| *c != '#').collect();
        for (at, length, new) in edits {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, new.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_again(fleet in fleet()) {
        let text = print(&fleet);
        match parse(&text, "printed.toml") {
            Ok(again) => {
                prop_assert_eq!(&again, &fleet);
                prop_assert_eq!(print(&again), text);
            }
            Err(mistakes) => return Err(TestCaseError::fail(format!("{mistakes}\n{text}"))),
        }
    }

    #[test]
    fn no_text_makes_it_fail(text in "\\PC{0,200}") {
        look_at_all(text.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        look_at_all(&bytes);
    }

    #[test]
    fn no_secret_is_shown_whatever_else_is_wrong(text in leaking()) {
        let mistakes = parse(&text, "x.toml").unwrap_err();
        let shown = format!("{mistakes}{mistakes:?}{}", mistakes.to_json());
        prop_assert!(!shown.contains("hunter2"), "{}\n{}", shown, text);
    }

    /// An environment is what one would get by writing its values into the file.
    #[test]
    fn an_environment_is_the_file_with_its_values_written_in(fleet in fleet(), other in fleet(), keys in any::<u16>()) {
        let base = print(&fleet).parse::<toml::Table>().unwrap();
        let part = print(&other).parse::<toml::Table>().unwrap();
        // Parts that can stand for themselves, so that most overlays are valid.
        let tables =
            ["accounts", "kv", "rollout", "flags", "alerts", "state", "consumers", "clusters", "cost"];
        let chosen = tables.iter().enumerate().filter(|(bit, _)| keys & (1 << bit) != 0);
        let overlay: toml::Table =
            chosen.filter_map(|(_, key)| Some(((*key).to_owned(), part.get(*key)?.clone()))).collect();
        let mut written = base.clone();
        lay_over(&mut written, &overlay);
        let mut with = base;
        with.insert("environments".to_owned(), toml::toml! { [test] }.into());
        with["environments"]["test"] = overlay.into();
        let expected = parse(&written.to_string(), "x");
        let found = parse_environment(&with.to_string(), "x", Some("test"));
        match (expected, found) {
            (Ok(expected), Ok(found)) => prop_assert_eq!(expected, found),
            (Err(expected), Err(found)) => {
                let codes = |mistakes: &windlass_fleet::Mistakes| {
                    mistakes.iter().map(|mistake| mistake.code).collect::<std::collections::BTreeSet<_>>()
                };
                prop_assert_eq!(codes(&expected), codes(&found));
            }
            (expected, found) => prop_assert!(false, "{:?}\n{:?}", expected.is_ok(), found),
        }
    }

    #[test]
    fn no_mangled_file_makes_it_fail(text in mangled()) {
        look_at_all(text.as_bytes());
    }
}

/// A secret is where it does not belong, and the file is damaged anywhere else.
fn leaking() -> impl Strategy<Value = String> {
    let line = pick(&[
        "secret = \"hunter2\"",
        "secret = ['hunter2', { env = \"A\" }, {env = \"hunter2 2\"}]",
        "secret = { value = \"hunter2\" }",
        "x.secret = \"hunter2\"",
        "secrets = [\n\"hunter2\"\n]",
        "secret = \"hunter2",
        "secret = '''\nhunter2\n'''",
        "listen = 5\napi_token = \"hunter2\"",
        "platforms.synadia = { token = \"hunter2\" }",
    ]);
    (mangled(), line, 0..60_usize).prop_map(|(text, line, at)| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.insert(at.min(lines.len()), line);
        lines.join("\n")
    })
}

fn lay_over(table: &mut toml::Table, part: &toml::Table) {
    for (key, value) in part {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(part)) => lay_over(inner, part),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

fn look_at_all(bytes: &[u8]) {
    match parse_bytes(bytes, "x.toml") {
        Ok(fleet) => assert_eq!(parse(&print(&fleet), "x.toml").as_ref(), Ok(&fleet)),
        Err(mistakes) => {
            assert!(mistakes.len() > 0);
            assert!(mistakes.render(true).len() >= mistakes.render(false).len());
            assert!(mistakes.to_json().is_array());
        }
    }
}

#[test]
fn the_embedded_fleet_is_printed_and_read_again() {
    let fleet = parse(embedded(), "windlass.toml").unwrap();
    assert_eq!(parse(&print(&fleet), "x").unwrap(), fleet);
}
