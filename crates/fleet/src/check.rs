//! What no single key can show: references, overlaps, and sizes that disagree.
//!
//! Each check looks only at values that were read without a mistake, so that one mistake is reported once; and where
//! the syntax is broken, nothing is concluded from what is absent.

use crate::code;
use crate::model::{Fleet, REDELIVERY, Storage, TlsUse, not_the_system_account};
use crate::reader::Reader;
use crate::suggest::{list, nearest};
use crate::types::{Bytes, Invalid, Name, StoreAddress, Subject, SubjectSet};
use crate::value::Node;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use toml::de::DeTable;

/// The bucket that the receiver's large payloads go into.
const PAYLOADS: &str = "GITHUB_PAYLOADS";

pub(crate) fn check(fleet: &mut Fleet, root: &Node<'_>, reader: &mut Reader<'_>) {
    let Some(root) = root.get_ref().as_table() else { return };
    let file = File { root };
    place_streams(fleet, &file, reader);
    overlaps(fleet, &file, reader);
    names(fleet, &file, reader);
    leaf_nodes(fleet, &file, reader);
    super_cluster(fleet, &file, reader);
    scaling(fleet, &file, reader);
    consumers(fleet, &file, reader);
    imports(fleet, &file, reader);
    state(fleet, &file, reader);
    if !reader.broken {
        replicas(fleet, &file, reader);
        storage(fleet, &file, reader);
        addresses(fleet, &file, reader);
    }
    github(fleet, &file, reader);
}

/// Finds where in the file a value stands.
struct File<'f, 'i> {
    root: &'f DeTable<'i>,
}

impl<'f, 'i> File<'f, 'i> {
    fn node(&self, path: &[&str]) -> Option<&'f Node<'i>> {
        let (last, tables) = path.split_last()?;
        let mut table = self.root;
        for key in tables {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        table.get(*last)
    }

    /// The value at the path, or the nearest table around it.
    fn span(&self, path: &[&str]) -> Range<usize> {
        (1..=path.len()).rev().find_map(|length| self.node(&path[..length])).map_or(0..0, toml::Spanned::span)
    }

    /// The element of the array at the path, or what [`Self::span`] gives.
    fn element(&self, path: &[&str], index: usize) -> Range<usize> {
        let array = self.node(path).and_then(|node| node.get_ref().as_array());
        array.and_then(|array| array.get(index)).map_or_else(|| self.span(path), toml::Spanned::span)
    }

    /// Whether no mistake is in what is written at the path. What is not written has none.
    fn clean(&self, path: &[&str], reader: &Reader<'_>) -> bool {
        for length in 1..=path.len() {
            match self.node(&path[..length]) {
                None => return true,
                Some(node) if length == path.len() || !node.get_ref().is_table() => {
                    return reader.clean(&node.span());
                }
                Some(_) => {}
            }
        }
        true
    }
}

/// What stores messages, as far as the checks care.
struct Store<'f> {
    table: &'static str,
    name: &'f Name,
    cluster: Option<&'f Name>,
    storage: Storage,
    replicas: u32,
    max_bytes: Option<Bytes>,
}

fn stores(fleet: &Fleet) -> Vec<Store<'_>> {
    macro_rules! all_of {
        ($($table:ident $key:literal),*) => {
            std::iter::empty()$(.chain(fleet.$table.iter().map(|(name, one)| Store {
                table: $key,
                name,
                cluster: one.cluster.as_ref(),
                storage: one.storage,
                replicas: one.replicas,
                max_bytes: one.max_bytes,
            })))*.collect()
        };
    }
    all_of!(streams "streams", kv "kv", objects "objects")
}

/// Gives each stream and bucket its cluster.
fn place_streams(fleet: &mut Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let known: Vec<Name> = fleet.clusters.keys().cloned().collect();
    for (name, stream) in &mut fleet.streams {
        place(&known, "streams", name, &mut stream.cluster, file, reader);
    }
    for (name, bucket) in &mut fleet.kv {
        place(&known, "kv", name, &mut bucket.cluster, file, reader);
    }
    for (name, bucket) in &mut fleet.objects {
        place(&known, "objects", name, &mut bucket.cluster, file, reader);
    }
}

fn place(
    known: &[Name],
    table: &str,
    name: &Name,
    cluster: &mut Option<Name>,
    file: &File<'_, '_>,
    reader: &mut Reader<'_>,
) {
    let names = || known.iter().map(Name::as_str);
    let path = [table, name, "cluster"];
    let span = file.span(&path);
    match &*cluster {
        Some(wanted) if !known.contains(wanted) => {
            if file.clean(&path, reader) && !reader.headers_lost {
                let problem = format!("{table}.{name}.cluster: there is no [clusters.{wanted}]");
                dangling(reader, span, problem, wanted, names(), "clusters");
            }
        }
        Some(_) => {}
        None if file.node(&path).is_some() || reader.broken => {}
        None => match known {
            [only] => *cluster = Some(only.clone()),
            [] => {
                let problem = format!("{table}.{name} has no cluster to be on");
                let remedy = "add a table such as [clusters.hub]".to_owned();
                reader.report(code::WHICH_CLUSTER, span, problem, remedy);
            }
            _ => {
                let problem = format!("{table}.{name} does not say which cluster it is on");
                let remedy = format!("add `cluster`: {}", list(names(), "or"));
                reader.report(code::WHICH_CLUSTER, span, problem, remedy);
            }
        },
    }
}

fn dangling<'k>(
    reader: &mut Reader<'_>,
    span: Range<usize>,
    problem: String,
    wanted: &str,
    known: impl Iterator<Item = &'k str> + Clone,
    table: &str,
) {
    let remedy = match nearest(wanted, known.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.clone().next().is_none() => format!("add [{table}.{wanted}]"),
        None => format!("add [{table}.{wanted}], or name one that is there: {}", list(known, "or")),
    };
    reader.report(code::DANGLING, span, problem, remedy);
}

/// Two streams of an account that take the same message would both store it, and the server refuses the second.
fn overlaps(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let mut by_account: BTreeMap<&Name, Vec<(&Name, usize)>> = BTreeMap::new();
    for (name, stream) in &fleet.streams {
        if file.clean(&["streams", name, "account"], reader) {
            let subjects = (0..stream.subjects.len()).map(|index| (name, index));
            by_account.entry(&stream.account).or_default().extend(subjects);
        }
    }
    let place = |(name, index): (&Name, usize)| {
        let array = file.node(&["streams", name, "subjects"])?.get_ref().as_array()?;
        array.get(index).map(toml::Spanned::span)
    };
    for (account, all) in by_account {
        // By position, so that the later one is the mistake whatever the streams' names are.
        let mut placed: Vec<_> = all.into_iter().filter_map(|at| Some((place(at)?, at))).collect();
        placed.retain(|(span, _)| reader.clean(span));
        placed.sort_by_key(|(span, _)| span.start);
        let subject_of = |(name, at): (&Name, usize)| &fleet.streams[name].subjects[at];
        let mut taken_before = SubjectSet::default();
        for (index, (span, at)) in placed.iter().enumerate() {
            let (name, subject) = (at.0, subject_of(*at));
            let overlapping = taken_before.overlapping(subject);
            taken_before.add(subject, index);
            let Some((_, earlier)) = overlapping.map(|index| &placed[index]) else { continue };
            let (other, taken) = (earlier.0, subject_of(*earlier));
            let problem = match other == name {
                true => format!("`{subject}` and `{taken}` of the stream {name} overlap"),
                false => format!(
                    "`{subject}` of the stream {name} overlaps `{taken}` of the stream {other}, in the account {account}"
                ),
            };
            let remedy = match other == name {
                true => "keep the wider of the two",
                false => "let each message belong to one stream of an account: narrow one of the two",
            };
            reader.report(code::OVERLAP, span.clone(), problem, remedy.to_owned());
        }
    }
}

fn replicas(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    for Store { table, name, cluster, replicas, .. } in stores(fleet) {
        let path = [table, name, "replicas"];
        let Some((cluster_name, cluster)) = fleet.cluster_named(cluster) else { continue };
        let servers = ["clusters", cluster_name, "servers"];
        if replicas > cluster.servers && file.clean(&path, reader) && file.clean(&servers, reader) {
            let servers = cluster.servers;
            let many = if servers == 1 { "server" } else { "servers" };
            let problem = format!(
                "{table}.{name}.replicas: {replicas}, but the cluster {cluster_name} has {servers} {many}"
            );
            let most = [5, 3, 1].into_iter().find(|replicas| *replicas <= servers).unwrap_or(1);
            reader.report(code::REPLICAS, file.span(&path), problem, format!("write {most}, or add servers"));
        }
    }
}

/// JetStream sets `max_bytes` aside when it creates a stream, and refuses when there is not that much left.
fn storage(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let mut by_cluster: BTreeMap<&Name, Vec<(Store<'_>, u64)>> = BTreeMap::new();
    for store in stores(fleet).into_iter().filter(|store| store.storage == Storage::File) {
        let Some((cluster, _)) = fleet.cluster_named(store.cluster) else { continue };
        let clean = |key| file.clean(&[store.table, store.name, key], reader);
        if clean("max_bytes") && clean("storage") {
            let bytes = store.max_bytes.map_or(0, Bytes::get);
            by_cluster.entry(cluster).or_default().push((store, bytes));
        }
    }
    for (cluster_name, reserving) in by_cluster {
        let sum = reserving.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let path = ["clusters", cluster_name, "jetstream", "storage"];
        let available = fleet.clusters[cluster_name].jetstream.storage;
        if sum > available.get() && file.clean(&path, reader) && file.clean(&path[..3], reader) {
            let Some((store, _)) = reserving.iter().max_by_key(|(_, bytes)| *bytes) else { continue };
            let sum = Bytes::new(sum);
            let problem = format!(
                "the streams of the cluster {cluster_name} reserve {sum} (max_bytes), but it has {available}"
            );
            let remedy =
                format!("lower `max_bytes`, or raise the storage: jetstream = {{ storage = \"{sum}\" }}");
            let span = file.span(&[store.table, store.name, "max_bytes"]);
            reader.report(code::STORAGE, span, problem, remedy);
        }
    }
}

/// A leaf node joins another cluster, and no chain of them comes back to where it began.
fn leaf_nodes(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    for (name, cluster) in &fleet.clusters {
        let at = ["clusters", name, "leaf_of"];
        let Some(hub) = cluster.leaf_of.as_ref().filter(|_| file.clean(&at, reader)) else { continue };
        if !fleet.clusters.contains_key(hub) {
            if !reader.headers_lost {
                let problem = format!("clusters.{name}.leaf_of: there is no [clusters.{hub}]");
                let known = fleet.clusters.keys().map(Name::as_str).filter(|known| **known != **name);
                dangling(reader, file.span(&at), problem, hub, known, "clusters");
            }
            continue;
        }
        let next = |name: &Name| fleet.clusters.get(name).and_then(|cluster| cluster.leaf_of.clone());
        let chain = std::iter::successors(Some(name.clone()), next);
        if let Some(way) = chain.skip(1).take(fleet.clusters.len()).position(|one| one == *name) {
            let problem = match way {
                0 => format!("clusters.{name}.leaf_of: it would be a leaf node of itself"),
                _ => format!("clusters.{name}.leaf_of: it comes back to {name}, so that nobody is the hub"),
            };
            let remedy = "leave it out at the cluster that the others join".to_owned();
            reader.report(code::CIRCLE, file.span(&at), problem, remedy);
            continue;
        }
        let domain = |cluster: &crate::model::Cluster| cluster.jetstream.domain.clone();
        let theirs = fleet.clusters.get(hub).and_then(domain);
        if domain(cluster).is_none() || domain(cluster) == theirs {
            let problem = format!(
                "clusters.{name}.leaf_of: streams here and in {hub} can only be told apart by JetStream's domain"
            );
            let remedy =
                format!("give each its own, such as [clusters.{name}] jetstream = {{ domain = \"{name}\" }}");
            reader.report(code::WHICH_CLUSTER, file.span(&at), problem, remedy);
        }
    }
}

/// Clusters that are joined by gateways are one system: with one domain, and with TLS between all of them or none.
fn super_cluster(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let mut members = fleet.clusters.iter().filter(|(name, cluster)| {
        let clean = ["super_cluster", "tls", "jetstream"]
            .iter()
            .all(|key| file.clean(&["clusters", name, key], reader));
        cluster.super_cluster && clean
    });
    let Some((first, one)) = members.next() else { return };
    let members: Vec<_> = members.collect();
    for (name, cluster) in members {
        let mut report = |key: &str, problem: String| {
            let remedy = format!("write the same in [clusters.{first}] and [clusters.{name}]");
            reader.report(code::SUPER_CLUSTER, file.span(&["clusters", name, key]), problem, remedy);
        };
        let domain = |cluster: &crate::model::Cluster| cluster.jetstream.domain.clone();
        if domain(one) != domain(cluster) {
            let problem = format!(
                "clusters.{name}.jetstream: it is one system with {first}, and its domain is another one"
            );
            report("jetstream", problem);
        }
        let encrypts = |cluster: &crate::model::Cluster| cluster.tls != TlsUse::None;
        if encrypts(one) != encrypts(cluster) {
            let problem = format!("clusters.{name}.tls: gateways to {first} are encrypted on one side only");
            report("tls", problem);
        }
    }
}

/// What is scaled is a cluster of the file.
fn scaling(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    for (name, scaling) in &fleet.scaling {
        let span = file.span(&["scaling", name]);
        if !fleet.clusters.contains_key(name) {
            if !reader.headers_lost {
                let problem = format!("scaling.{name}: there is no [clusters.{name}]");
                dangling(reader, span, problem, name, fleet.clusters.keys().map(Name::as_str), "clusters");
            }
        } else if let (Some(min), Some(max)) = (scaling.min, scaling.max)
            && min > max
        {
            let problem = format!("scaling.{name}: at least {min} servers and at most {max}");
            let at = file.span(&["scaling", name, "max"]);
            reader.report(code::OUT_OF_RANGE, at, problem, "let `max` be no less than `min`".to_owned());
        }
    }
}

/// Names that are somebody else's.
fn names(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    for name in fleet.accounts.keys() {
        if let Err(Invalid { code, problem, remedy }) = not_the_system_account(name) {
            reader.report(
                code,
                file.span(&["accounts", name]),
                format!("accounts.{name}: {problem}"),
                remedy,
            );
        }
    }
    for name in fleet.streams.keys().filter(|name| name.starts_with("KV_") || name.starts_with("OBJ_")) {
        let problem = format!("streams.{name}: JetStream calls the streams of buckets so");
        let remedy = "make a bucket with [kv.NAME] or [objects.NAME], or choose another name".to_owned();
        reader.report(code::NAME, file.span(&["streams", name]), problem, remedy);
    }
}

/// A consumer reads a stream of the file, and subjects that the stream takes.
fn consumers(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let mut names: BTreeMap<(&Name, &Name), &Name> = BTreeMap::new();
    for (key, consumer) in &fleet.consumers {
        let at = ["consumers", key, "stream"];
        if !file.clean(&at, reader) || file.node(&at).is_none() {
            continue;
        }
        let Some(stream) = fleet.streams.get(&consumer.stream) else {
            if !reader.headers_lost {
                let problem = format!("consumers.{key}.stream: there is no [streams.{}]", consumer.stream);
                let known = fleet.streams.keys().map(Name::as_str);
                dangling(reader, file.span(&at), problem, &consumer.stream, known, "streams");
            }
            continue;
        };
        let name = consumer.name.as_ref().unwrap_or(key);
        if let Some(other) = names.insert((&consumer.stream, name), key) {
            let problem = format!(
                "consumers.{key}: the stream {} has a consumer {name} already, consumers.{other}",
                consumer.stream
            );
            let remedy = "give one of the two another `name`".to_owned();
            reader.report(code::TWICE, file.span(&["consumers", key, "name"]), problem, remedy);
        }
        let filter = ["consumers", key, "filter"];
        let subjects = ["streams", consumer.stream.as_str(), "subjects"];
        if !file.clean(&filter, reader) || !file.clean(&subjects, reader) || stream.subjects.is_empty() {
            continue;
        }
        for (index, subject) in consumer.filter.iter().enumerate() {
            if !stream.subjects.iter().any(|taken| taken.overlaps(subject)) {
                let problem = format!(
                    "consumers.{key}.filter: the stream {} takes nothing of `{subject}`",
                    consumer.stream
                );
                let taken = list(stream.subjects.iter().map(Subject::as_str), "and");
                let remedy = format!("choose from what it takes: {taken}");
                reader.report(code::NOT_COVERED, file.element(&filter, index), problem, remedy);
            }
        }
        for (index, subject) in consumer.filter.iter().enumerate() {
            if let Some(other) = consumer.filter[..index].iter().find(|other| other.overlaps(subject)) {
                let problem = format!("consumers.{key}.filter: `{subject}` and `{other}` overlap");
                reader.report(
                    code::OVERLAP,
                    file.element(&filter, index),
                    problem,
                    "keep the wider of the two".to_owned(),
                );
            }
        }
    }
}

/// What is imported must be exported.
fn imports(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    for (name, account) in &fleet.accounts {
        let at = ["accounts", name, "imports"];
        if !file.clean(&at, reader) {
            continue;
        }
        for (index, import) in account.imports.iter().enumerate() {
            let span = file.element(&at, index);
            if import.account == *name {
                let problem = format!("accounts.{name}.imports: an account has its own subjects anyway");
                reader.report(code::DANGLING, span, problem, "name another account".to_owned());
                continue;
            }
            let Some(other) = fleet.accounts.get(&import.account) else {
                if !reader.headers_lost {
                    let problem =
                        format!("accounts.{name}.imports: there is no [accounts.{}]", import.account);
                    let known = fleet.accounts.keys().map(Name::as_str).filter(|known| **known != **name);
                    dangling(reader, span, problem, &import.account, known, "accounts");
                }
                continue;
            };
            let exported = |export: &crate::model::Export| {
                export.kind == import.kind && export.subject.covers(import.subject.as_str())
            };
            let exports = ["accounts", import.account.as_str(), "exports"];
            if !other.exports.iter().any(exported) && file.clean(&exports, reader) {
                let (kind, subject) = (import.kind, &import.subject);
                let problem = format!(
                    "accounts.{name}.imports: {} does not export the {kind} `{subject}`",
                    import.account
                );
                let remedy = format!(
                    "add it to [accounts.{}]: exports = [{{ subject = \"{subject}\", kind = \"{kind}\" }}]",
                    import.account
                );
                reader.report(code::NOT_EXPORTED, span, problem, remedy);
            }
        }
    }
}

/// What is said of a bucket needs one.
fn state(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let state = &fleet.state;
    if reader.broken || !file.clean(&["state", "store"], reader) {
        return;
    }
    let is_r2 = matches!(state.store, Some(StoreAddress::R2(..)));
    let in_a_bucket = is_r2 || matches!(state.store, Some(StoreAddress::S3(..)));
    let given = [
        ("endpoint", state.endpoint.is_some(), in_a_bucket),
        ("jurisdiction", state.jurisdiction.is_some(), is_r2),
        ("access_key_id", state.access_key_id.is_some(), in_a_bucket),
        ("secret_access_key", state.secret_access_key.is_some(), in_a_bucket),
    ];
    for (key, _, _) in given.into_iter().filter(|(_, given, has)| *given && !has) {
        let wanted = if key == "jurisdiction" { "r2://BUCKET" } else { "r2://BUCKET or s3://BUCKET" };
        let problem = format!("state.{key}: the state is not in a bucket that has one");
        let remedy = format!("write store = \"{wanted}\", or leave the key out");
        reader.report(code::NO_BUCKET, file.span(&["state", key]), problem, remedy);
    }
    if in_a_bucket && state.access_key_id.is_some() != state.secret_access_key.is_some() {
        let (there, missing) = match state.access_key_id {
            Some(_) => ("access_key_id", "secret_access_key"),
            None => ("secret_access_key", "access_key_id"),
        };
        if file.clean(&["state", missing], reader) {
            let problem = format!("state.{there}: without state.{missing} it opens nothing");
            let remedy =
                format!("add {missing} = {{ env = \"NAME\" }}, or leave both to the usual variables");
            reader.report(code::HALF_A_KEY, file.span(&["state", there]), problem, remedy);
        }
    }
}

/// A port that is taken by somebody else gives way to the next free one, but a file that wants the same twice is wrong.
fn addresses(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let mut wanted: Vec<(SocketAddr, String, Range<usize>)> = Vec::new();
    let here = |cluster: &&crate::model::Cluster| cluster.platform == crate::model::PlatformName::SelfHosted;
    for (name, cluster) in fleet.clusters.iter().filter(|(_, cluster)| here(cluster)) {
        let ports = &cluster.ports;
        let whole = ["clusters", name, "ports"];
        let host = ["clusters", name, "host"];
        if !file.clean(&host, reader) || !file.clean(&whole, reader) {
            continue;
        }
        let keys = [("client", ports.client), ("websocket", ports.websocket), ("monitor", ports.monitor)];
        let routes = (cluster.servers > 1 || cluster.super_cluster).then_some(("cluster", ports.cluster));
        let gateway = cluster.super_cluster.then_some(("gateway", ports.gateway));
        let leaf = fleet.is_joined(name).then_some(("leaf", ports.leaf));
        for (key, port) in keys.into_iter().chain(routes).chain(gateway).chain(leaf) {
            let path = ["clusters", name, "ports", key];
            for server in 0..cluster.servers {
                let which = if server == 0 { String::new() } else { format!(" of server {server}") };
                wanted.push((
                    SocketAddr::new(cluster.host, port.saturating_add(server as u16)),
                    format!("clusters.{name}.ports.{key}{which}"),
                    file.span(&path),
                ));
            }
        }
    }
    if let Some(github) = &fleet.github
        && file.clean(&["github", "listen"], reader)
    {
        wanted.push((github.listen, "github.listen".to_owned(), file.span(&["github", "listen"])));
    }
    wanted.sort_by_key(|(_, _, span)| span.start);
    let mut last = None;
    for (index, (address, what, span)) in wanted.iter().enumerate() {
        if let Some((_, other, _)) = wanted[..index].iter().find(|(taken, ..)| collide(taken, address)) {
            let problem = format!("{what}: {address} is also {other}");
            let remedy =
                "give each its own port: ports = { client = …, websocket = …, monitor = … }".to_owned();
            // Of ports that are all defaults, one is enough.
            if last.replace(span) != Some(span) {
                reader.report(code::ADDRESS_TWICE, span.clone(), problem, remedy);
            }
        }
    }
}

fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same_host = |a: IpAddr, b: IpAddr| a == b || a.is_unspecified() || b.is_unspecified();
    one.port() == other.port() && same_host(one.ip(), other.ip())
}

/// The stream that takes GitHub's events must be there, take them, remember them, and take the largest of them.
fn github(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let Some(github) = &fleet.github else { return };
    if !file.clean(&["github", "stream"], reader) {
        return;
    }
    let at_the_edge = github.receive_at == crate::model::ReceiveAt::Edge;
    let cloudflare = crate::model::PlatformName::Cloudflare;
    let sure = fleet.clusters.keys().all(|name| file.clean(&["clusters", name, "platform"], reader));
    if at_the_edge && sure && !reader.broken && !fleet.clusters.values().any(|one| one.platform == cloudflare)
    {
        let problem = "github.receive_at: no cluster is on cloudflare, so there is no edge".to_owned();
        let remedy = "add one such as [clusters.edge] with platform = \"cloudflare\"".to_owned();
        reader.report(code::WHICH_CLUSTER, file.span(&["github", "receive_at"]), problem, remedy);
    }
    let wanted = &github.stream;
    let Some(stream) = fleet.streams.get(wanted) else {
        let unsure = reader.headers_lost || (reader.broken && file.node(&["github", "stream"]).is_none());
        if !unsure {
            let problem = format!("github.stream: there is no [streams.{wanted}]");
            let known = fleet.streams.keys().map(Name::as_str);
            dangling(reader, file.span(&["github", "stream"]), problem, wanted, known, "streams");
        }
        return;
    };
    if fleet.objects.get(PAYLOADS).is_some_and(|bucket| bucket.account == stream.account) {
        let problem =
            format!("objects.{PAYLOADS} is the bucket of payloads that are too large for a message");
        let remedy = "it is there anyway; choose another name for yours".to_owned();
        reader.report(code::NAME, file.span(&["objects", PAYLOADS]), problem, remedy);
    }
    let at = |key: &'static str| ["streams", wanted.as_str(), key];
    let subjects = at("subjects");
    if !stream.subjects.is_empty()
        && file.clean(&subjects, reader)
        && !stream.subjects.iter().any(|subject| subject.covers("github.>"))
    {
        let problem = format!("streams.{wanted}.subjects: GitHub's events (`github.>`) are not among them");
        let remedy = format!("add \"github.>\", or let `github.stream` name another stream than {wanted}");
        reader.report(code::NOT_COVERED, file.span(&subjects), problem, remedy);
    }
    if reader.broken {
        return;
    }
    let (window, age) = (at("duplicate_window"), at("max_age"));
    if stream.duplicate_window < REDELIVERY && file.clean(&window, reader) && file.clean(&age, reader) {
        let forgets = stream.duplicate_window;
        // Without a window of its own the stream's is cut to how long messages live.
        let place = if file.node(&window).is_some() { window } else { age };
        let key = place[2];
        let problem = format!(
            "streams.{wanted}.{key}: the stream forgets a delivery after {forgets}, but GitHub can redeliver it for \
             {REDELIVERY}"
        );
        let remedy = format!("write \"{REDELIVERY}\" or more, so that a redelivery is not stored again");
        reader.report(code::FORGETS, file.span(&place), problem, remedy);
    }
    let size = at("max_message_size");
    if let Some(max_message_size) = stream.max_message_size
        && max_message_size < github.claim_check_above
        && file.clean(&size, reader)
        && file.clean(&["github", "claim_check_above"], reader)
    {
        let above = github.claim_check_above;
        let problem = format!(
            "streams.{wanted}.max_message_size: {max_message_size}, but the receiver sends up to {above}"
        );
        let remedy = "raise it, or lower github.claim_check_above below it".to_owned();
        reader.report(code::TOO_SMALL, file.span(&size), problem, remedy);
    }
}
