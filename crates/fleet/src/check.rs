//! What no single key can show: references, overlaps, and sizes that disagree.
//!
//! Each check looks only at values that were read without a mistake, so that one mistake is reported once; and where
//! the syntax is broken, nothing is concluded from what is absent.

use crate::code;
use crate::model::{Fleet, REDELIVERY, Storage, Stream};
use crate::reader::Reader;
use crate::suggest::{list, nearest};
use crate::types::{Bytes, Name, SubjectSet};
use crate::value::Node;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use toml::de::DeTable;

pub(crate) fn check(fleet: &mut Fleet, root: &Node<'_>, reader: &mut Reader<'_>) {
    let Some(root) = root.get_ref().as_table() else { return };
    let file = File { root };
    place_streams(fleet, &file, reader);
    overlaps(fleet, &file, reader);
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

/// Gives each stream its cluster.
fn place_streams(fleet: &mut Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let known: Vec<Name> = fleet.clusters.keys().cloned().collect();
    let names = || known.iter().map(Name::as_str);
    for (name, stream) in &mut fleet.streams {
        let path = ["streams", name, "cluster"];
        let span = file.span(&path);
        match &stream.cluster {
            Some(wanted) if !known.contains(wanted) => {
                if file.clean(&path, reader) && !reader.headers_lost {
                    let problem = format!("streams.{name}.cluster: there is no [clusters.{wanted}]");
                    dangling(reader, span, problem, wanted, names(), "clusters");
                }
            }
            Some(_) => {}
            None if file.node(&path).is_some() || reader.broken => {}
            None => match known.as_slice() {
                [only] => stream.cluster = Some(only.clone()),
                [] => {
                    let problem = format!("streams.{name} has no cluster to be on");
                    reader.report(
                        code::WHICH_CLUSTER,
                        span,
                        problem,
                        "add a table such as [clusters.hub]".into(),
                    );
                }
                _ => {
                    let problem = format!("streams.{name} does not say which cluster it is on");
                    let remedy = format!("add `cluster`: {}", list(names(), "or"));
                    reader.report(code::WHICH_CLUSTER, span, problem, remedy);
                }
            },
        }
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
    for (name, stream) in &fleet.streams {
        let path = ["streams", name, "replicas"];
        let Some((cluster_name, cluster)) = fleet.cluster_of(stream) else { continue };
        let servers = ["clusters", cluster_name, "servers"];
        if stream.replicas > cluster.servers && file.clean(&path, reader) && file.clean(&servers, reader) {
            let (replicas, servers) = (stream.replicas, cluster.servers);
            let many = if servers == 1 { "server" } else { "servers" };
            let problem = format!(
                "streams.{name}.replicas: {replicas}, but the cluster {cluster_name} has {servers} {many}"
            );
            let most = [5, 3, 1].into_iter().find(|replicas| *replicas <= servers).unwrap_or(1);
            reader.report(code::REPLICAS, file.span(&path), problem, format!("write {most}, or add servers"));
        }
    }
}

/// JetStream sets `max_bytes` aside when it creates a stream, and refuses when there is not that much left.
fn storage(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    for (cluster_name, cluster) in &fleet.clusters {
        let on_disk = |(name, stream): &(&Name, &Stream)| {
            stream.storage == Storage::File
                && fleet.cluster_of(stream).is_some_and(|(on, _)| on == cluster_name)
                && file.clean(&["streams", name, "max_bytes"], reader)
                && file.clean(&["streams", name, "storage"], reader)
        };
        let reserving: Vec<_> = fleet.streams.iter().filter(on_disk).collect();
        let sum = reserving
            .iter()
            .fold(0_u64, |sum, (_, stream)| sum.saturating_add(stream.max_bytes.map_or(0, Bytes::get)));
        let path = ["clusters", cluster_name, "jetstream", "storage"];
        let available = cluster.jetstream.storage;
        if sum > available.get() && file.clean(&path, reader) && file.clean(&path[..3], reader) {
            let largest = reserving.iter().max_by_key(|(_, stream)| stream.max_bytes);
            let Some((name, _)) = largest else { continue };
            let sum = Bytes::new(sum);
            let problem = format!(
                "the streams of the cluster {cluster_name} reserve {sum} (max_bytes), but it has {available}"
            );
            let remedy =
                format!("lower `max_bytes`, or raise the storage: jetstream = {{ storage = \"{sum}\" }}");
            reader.report(code::STORAGE, file.span(&["streams", name, "max_bytes"]), problem, remedy);
        }
    }
}

/// A port that is taken by somebody else gives way to the next free one, but a file that wants the same twice is wrong.
fn addresses(fleet: &Fleet, file: &File<'_, '_>, reader: &mut Reader<'_>) {
    let mut wanted: Vec<(SocketAddr, String, Range<usize>)> = Vec::new();
    for (name, cluster) in &fleet.clusters {
        let ports = &cluster.ports;
        let whole = ["clusters", name, "ports"];
        let host = ["clusters", name, "host"];
        if !file.clean(&host, reader) || !file.clean(&whole, reader) {
            continue;
        }
        let keys = [("client", ports.client), ("websocket", ports.websocket), ("monitor", ports.monitor)];
        let routes = (cluster.servers > 1).then_some(("cluster", ports.cluster));
        for (key, port) in keys.into_iter().chain(routes) {
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
