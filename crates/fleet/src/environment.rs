//! Environments: parts of the file that are laid over the rest of it.
//!
//! They are laid over the parsed tree, before anything is read from it: tables merge, everything else replaces what is
//! there. So an environment may say whatever the file may say, and each value keeps the place where it was written.

use crate::code;
use crate::model::{Cluster, Fleet, PlatformName, TlsUse};
use crate::reader::Reader;
use crate::suggest::{list, nearest};
use crate::types::Name;
use crate::value::{Node, Text as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The environment whose defaults are for machines that others rely on.
const PRODUCTION: &str = "production";
/// Enough for every stream to survive the end of one server.
const SAFE: u32 = 3;

/// The file once for each of its environments. Mistakes about the environments themselves are reported.
pub(crate) fn all<'i>(
    document: &Node<'i>,
    reader: &mut Reader<'_>,
    asked: Option<&str>,
) -> Vec<(Name, Node<'i>)> {
    let root = document.get_ref().as_table();
    let node = root.and_then(|root| root.get("environments"));
    let table = node.and_then(|node| node.get_ref().as_table());
    if let Some(node) = node.filter(|_| table.is_none()) {
        let problem = "environments: a table of environments belongs here".to_owned();
        reader.report(
            code::WRONG_TYPE,
            node.span(),
            problem,
            "add one such as [environments.development]".into(),
        );
    }
    let mut overlaid = Vec::new();
    let mut names = Vec::new();
    for (key, overlay) in table.into_iter().flat_map(|table| table.iter()) {
        names.push(key.get_ref().to_string());
        let name = match Name::from_text(key.get_ref()) {
            Ok(name) => name,
            Err(invalid) => {
                let problem = format!("environments: {}", invalid.problem);
                reader.report(invalid.code, key.span(), problem, invalid.remedy);
                continue;
            }
        };
        let Some(part) = overlay.get_ref().as_table() else {
            let problem = format!("environments.{name}: a table belongs here");
            let remedy = format!("add [environments.{name}] with what is different there");
            reader.report(code::WRONG_TYPE, overlay.span(), problem, remedy);
            continue;
        };
        if let Some((inner, _)) = part.iter().find(|(key, _)| key.get_ref() == "environments") {
            let problem = format!("environments.{name}: an environment has no environments");
            reader.report(code::ENVIRONMENT, inner.span(), problem, "remove it".to_owned());
            continue;
        }
        overlaid.extend(root.map(|root| {
            let mut whole = root.clone();
            lay_over(&mut whole, part);
            (name, Spanned::new(document.span(), DeValue::Table(whole)))
        }));
    }
    if let Some(asked) = asked.filter(|asked| !names.iter().any(|name| name == asked)) {
        let known = || names.iter().map(String::as_str);
        let remedy = match nearest(asked, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if names.is_empty() => format!("add [environments.{asked}]"),
            None => format!("the file has {}", list(known(), "and")),
        };
        let problem = format!("there is no [environments.{}]", crate::suggest::echo(asked).trim_matches('`'));
        reader.report(code::ENVIRONMENT, node.map_or(0..0, Spanned::span), problem, remedy);
    }
    overlaid
}

fn lay_over<'i>(table: &mut DeTable<'i>, part: &DeTable<'i>) {
    for (key, value) in part.iter() {
        if let Some(there) = table.get_mut(&**key.get_ref())
            && let (DeValue::Table(inner), DeValue::Table(part)) = (there.get_mut(), value.get_ref())
        {
            lay_over(inner, part);
            continue;
        }
        // The key is taken out before, so that its place is the new one's too.
        table.remove(&**key.get_ref());
        table.insert(key.clone(), value.clone());
    }
}

/// Gives what is not written the value that is right for the environment.
///
/// In `production` each stream and bucket on a cluster of several servers has three copies, elsewhere one; and what goes
/// between servers and clients is encrypted.
pub(crate) fn settle(fleet: &mut Fleet, document: &Node<'_>, environment: Option<&Name>) {
    if environment.is_none_or(|name| name.as_str() != PRODUCTION) {
        return;
    }
    let root = document.get_ref().as_table();
    let has = |table: &str, name: &str, key: &str| {
        let one =
            root.and_then(|root| root.get(table)?.get_ref().as_table()?.get(name)?.get_ref().as_table());
        one.is_some_and(|one| one.contains_key(key))
    };
    let is_written = |table: &str, name: &str| has(table, name, "replicas");
    let own = |cluster: &Cluster| cluster.platform == PlatformName::SelfHosted;
    for (_, cluster) in
        fleet.clusters.iter_mut().filter(|(name, cluster)| own(cluster) && !has("clusters", name, "tls"))
    {
        cluster.tls = TlsUse::All;
    }
    let servers: std::collections::BTreeMap<Name, u32> =
        fleet.clusters.iter().map(|(name, cluster)| (name.clone(), cluster.servers)).collect();
    let only = servers.values().next().copied().filter(|_| servers.len() == 1);
    let copies = |cluster: &Option<Name>| {
        let of = cluster.as_ref().map_or(only, |name| servers.get(name).copied());
        if of.is_some_and(|servers| servers >= SAFE) { SAFE } else { 1 }
    };
    for (_, stream) in fleet.streams.iter_mut().filter(|(name, _)| !is_written("streams", name)) {
        stream.replicas = copies(&stream.cluster);
    }
    for (_, bucket) in fleet.kv.iter_mut().filter(|(name, _)| !is_written("kv", name)) {
        bucket.replicas = copies(&bucket.cluster);
    }
    for (_, bucket) in fleet.objects.iter_mut().filter(|(name, _)| !is_written("objects", name)) {
        bucket.replicas = copies(&bucket.cluster);
    }
}
