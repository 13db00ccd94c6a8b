//! What differs between what is wanted on this machine and what was found. Pure.

use serde_json::Value;
use std::collections::BTreeMap;
use windlass_engine::{Difference, FieldChange, Found, How, Resource, Risk};

pub(super) fn server(wanted: &Resource, found: &Found) -> Result<Option<Difference>, String> {
    if let Some(reason) = strands(&wanted.body, &found.body) {
        return Err(reason);
    }
    if let Some(address) = found.body["stranger"].as_str() {
        return Err(format!(
            "somebody else runs a nats-server in its place, with its data; it answers on {address}. Two on the same \
             data would destroy it: stop that one, and apply again"
        ));
    }
    if let Some(reason) = found.body["installed"]["missing"].as_str() {
        return Err(reason.to_owned());
    }
    Ok(differs(found))
}

/// Why a cluster cannot become as large or small as it is wanted, if its streams would be lost on the way.
///
/// A server alone keeps its streams by itself; one of several keeps them for a group that has agreed on them, and
/// nats-server removes what no group knows when it joins one. A server that leaves a cluster takes its replicas along.
fn strands(wanted: &Value, found: &Value) -> Option<String> {
    if found["streams"] != true {
        return None;
    }
    let to = wanted["servers"].as_u64()?;
    let cluster = wanted["cluster"].as_str().unwrap_or_default();
    let from = found["servers"].as_u64()?;
    let (joined, joins) = (found["joined"] == true, to > 1 || wanted["super_cluster"] == true);
    let reason = match (joined, joins) {
        (false, true) if to == from => {
            return Some(format!(
                "the cluster {cluster} holds streams and cannot join a super-cluster: a server alone keeps its streams by \
                 itself, and would lose them. Make another cluster, and streams on it; or delete this one's streams first"
            ));
        }
        (false, true) => {
            "a server alone keeps its streams by itself, and would lose them when it joins others"
        }
        (true, false) => "its streams belong to several servers, and would be lost by one alone",
        _ if to < from => "the servers that leave it would take their replicas of its streams along",
        _ => return None,
    };
    Some(format!(
        "the cluster {cluster} holds streams and cannot go from {from} to {to} servers: {reason}. Make another \
         cluster of {to}, and streams on it; or delete this one's streams first"
    ))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

/// Settings that a running nats-server takes over when it reads its configuration again (`reload.go` of nats-server).
const RELOADED: [&str; 4] =
    ["max_payload", "max_connections", "lame_duck_duration", "lame_duck_grace_period"];

/// What of a configuration needs a new process: everything but the settings that are taken over by reading it again.
pub(super) fn needs_restart(text: &str) -> String {
    let reloaded = |line: &str| {
        line.split_once(':').is_some_and(|(name, _)| RELOADED.contains(&name)) || line.starts_with('#')
    };
    text.lines().filter(|line| !reloaded(line)).collect::<Vec<_>>().join("\n")
}

/// Whether servers with this configuration encrypt what they say to the others of their cluster. Those that do and those
/// that do not cannot talk to each other.
pub(super) fn encrypts_routes(text: &str) -> bool {
    settings(text).contains_key("cluster.tls.cert_file")
}

fn differs(found: &Found) -> Option<Difference> {
    let body = &found.body;
    let runs = body["runs"] == true;
    let restart = |fields, why: Option<&str>| {
        let risk = if runs { Risk::Interrupts } else { Risk::None };
        Some(Difference { how: How::Restart, fields, risk, why: why.map(str::to_owned) })
    };
    let in_place = |fields, why: Option<&str>| {
        let why = why.map(str::to_owned);
        Some(Difference { how: How::InPlace, fields, risk: Risk::None, why })
    };
    if body["file"] != body["wanted"] {
        let lines = body["differs"].as_array().into_iter().flatten();
        let fields = lines
            .filter_map(|line| {
                Some(FieldChange::new(line[0].as_str()?, line[1].as_str()?, line[2].as_str()?))
            })
            .collect();
        if runs && body["reloads"] == true {
            return in_place(fields, None);
        }
        let silent = body["silences"] == true;
        let why = "servers that encrypt cannot talk to servers that do not: until all are changed there is no majority";
        return restart(fields, silent.then_some(why));
    }
    if !runs {
        return restart(Vec::new(), Some("it is not running"));
    }
    if body["running_digest"].is_null() {
        return restart(Vec::new(), Some("it runs and does not answer"));
    }
    if body["running_digest"] != body["expected_digest"] {
        return restart(Vec::new(), Some("it runs with another configuration than its file has"));
    }
    if body["version"] != body["installed"] {
        let fields = vec![FieldChange::new("version", text(&body["version"]), text(&body["installed"]))];
        return restart(fields, None);
    }
    if let Some(why) = body["certificate"].as_str() {
        return in_place(Vec::new(), Some(why));
    }
    if body["looked_after"] == false {
        return in_place(Vec::new(), Some("its agent is gone: it runs, and would not be started again"));
    }
    None
}

pub(super) fn cluster(wanted: &Resource, found: &Found) -> Option<Difference> {
    let (from, to) = (&found.body["servers"], &wanted.body["servers"]);
    let difference = |fields, why| Some(Difference { how: How::InPlace, fields, risk: Risk::None, why });
    if from != to {
        return difference(vec![FieldChange::new("servers", from.to_string(), to.to_string())], None);
    }
    let healthy = found.body["healthy"].as_u64().unwrap_or(0);
    if healthy < to.as_u64().unwrap_or(0) {
        let quorum = to.as_u64().unwrap_or(0) / 2 + 1;
        let all = to.as_u64().unwrap_or(0);
        let why = match (all, healthy >= quorum) {
            (1, _) => "its server is down: nothing can be stored".to_owned(),
            (_, true) => format!(
                "{healthy} of {all} servers are healthy: it has its majority, and loses it with {} more",
                healthy - quorum + 1
            ),
            (_, false) => {
                format!("{healthy} of {all} servers are healthy: without a majority nothing can be stored")
            }
        };
        return difference(Vec::new(), Some(why));
    }
    None
}

pub(super) fn receiver(found: &Found) -> Option<Difference> {
    let body = &found.body;
    let runs = body["runs"] == true;
    let difference = |why: &str| {
        let risk = if runs { Risk::Interrupts } else { Risk::None };
        Some(Difference { how: How::Restart, fields: Vec::new(), risk, why: Some(why.to_owned()) })
    };
    if !runs {
        return difference("it is not running");
    }
    let wanted = &body["wanted"];
    if !wanted.is_null() && body["arguments"] != wanted["arguments"] {
        return difference("its settings have changed");
    }
    if !wanted.is_null() && body["token"] != wanted["token"] {
        return difference("the webhook's secret or its credentials have changed");
    }
    None
}

pub(super) fn digest_of(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text))
}

/// What differs between two configurations, by setting. Tokens are not shown.
pub(super) fn differing_lines(from: &str, to: &str) -> Vec<[String; 3]> {
    let (from, to) = (settings(from), settings(to));
    let names: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    names
        .into_iter()
        .filter(|name| from.get(*name) != to.get(*name))
        .map(|name| {
            let shown = |value: Option<&String>| match value {
                None => "not set".to_owned(),
                Some(value) if value.len() > 120 => "…".to_owned(),
                Some(value) => value.trim_matches('"').to_owned(),
            };
            [name.clone(), shown(from.get(name)), shown(to.get(name))]
        })
        .collect()
}

/// A configuration's settings by their names, those of a block behind its name: `cluster.listen`.
fn settings(text: &str) -> BTreeMap<String, String> {
    let mut blocks: Vec<&str> = Vec::new();
    let mut all = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(block) = line.strip_suffix('{') {
            blocks.push(block.trim().trim_end_matches(':'));
        } else if line == "}" {
            blocks.pop();
        } else if let Some((name, value)) = line.split_once(": ").filter(|_| !line.starts_with('#')) {
            let path: Vec<&str> = blocks.iter().copied().chain([name.trim()]).collect();
            all.insert(path.join("."), value.trim_end_matches(',').to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_of_different_blocks_are_told_apart() {
        let from = "listen: \"a:1\"\ncluster {\n  listen: \"a:2\"\n}\n";
        let to = "listen: \"a:1\"\ncluster {\n  listen: \"a:3\"\n}\nmax_payload: 5\n";
        let expected = [["cluster.listen", "a:2", "a:3"], ["max_payload", "not set", "5"]];
        assert_eq!(differing_lines(from, to), expected.map(|line| line.map(str::to_owned)));
    }

    #[test]
    fn what_is_read_again_needs_no_restart() {
        let text = "# x\nlisten: \"a:1\"\nmax_payload: 5\ncluster {\n  tls {\n    cert_file: \"x\"\n  }\n}\n";
        let same = |from: &str, to: &str| needs_restart(text) == needs_restart(&text.replace(from, to));
        assert!(same("max_payload: 5", "max_payload: 6\nmax_connections: 7"));
        assert!(!same("a:1", "a:2"));
        assert!(!same("cert_file", "key_file"));
        assert!(encrypts_routes(text) && !encrypts_routes("cluster {\n  name: \"x\"\n}\n"));
    }

    #[test]
    fn no_size_is_changed_at_the_cost_of_streams() {
        let reason = |from: u64, joined: bool, streams: bool, to: u64| {
            let wanted = json!({ "servers": to, "cluster": "hub" });
            strands(&wanted, &json!({ "servers": from, "joined": joined, "streams": streams }))
        };
        assert!(reason(1, false, true, 3).is_some_and(|reason| reason.contains("from 1 to 3")));
        assert!(reason(3, true, true, 1).is_some_and(|reason| reason.contains("by one alone")));
        assert!(reason(5, true, true, 3).is_some_and(|reason| reason.contains("take their replicas")));
        for (from, joined, streams, to) in
            [(3, true, true, 5), (1, false, false, 3), (3, true, true, 3), (1, false, true, 1)]
        {
            assert_eq!(reason(from, joined, streams, to), None);
        }
    }
}
