//! What is different between two versions of a state, by resource. Which attributes changed is always said; what they
//! are, only where that was asked for and the attribute is not sensitive.

use super::plain;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It is in the second alone.
    Added,
    /// It is in the first alone.
    Removed,
    /// It is in both, and different.
    Changed,
}

/// A resource that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its address, as Terraform writes it.
    pub address: String,
    /// What happened to it.
    pub what: What,
    /// The attributes that differ.
    pub attributes: Vec<Attribute>,
}

/// An attribute that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Whether its value may not be shown.
    pub sensitive: bool,
    /// Its value in the first; never of a sensitive one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value in the second; never of a sensitive one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    resources: Option<Vec<Resource>>,
    #[serde(default)]
    outputs: Option<BTreeMap<String, Output>>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    value: Value,
    #[serde(default)]
    sensitive: bool,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    instances: Vec<Value>,
}

struct Instance {
    attributes: Map<String, Value>,
    sensitive: BTreeSet<String>,
}

/// Names whose values are not shown, whatever the provider says of them.
const SUSPICIOUS: [&str; 9] =
    ["secret", "token", "passw", "credential", "creds", "private", "apikey", "seed", "certificate"];

fn is_suspicious(name: &str) -> bool {
    let plain: String = name.to_lowercase().chars().filter(|c| !matches!(c, '_' | '-')).collect();
    SUSPICIOUS.iter().any(|part| plain.contains(part))
}

/// What is different between two versions.
///
/// # Errors
/// When one of them cannot be read.
pub fn diff(before: (&str, &[u8]), after: (&str, &[u8]), values: bool) -> Result<Vec<Change>, Error> {
    let (before, after) = (instances(before)?, instances(after)?);
    let addresses: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for address in addresses {
        let (one, other) = (before.get(address), after.get(address));
        let what = match (one, other) {
            (None, _) => What::Added,
            (_, None) => What::Removed,
            _ => What::Changed,
        };
        let attributes = match (one, other) {
            (Some(one), Some(other)) => attributes(one, other, values),
            _ => Vec::new(),
        };
        if what != What::Changed || !attributes.is_empty() {
            changes.push(Change { address: address.clone(), what, attributes });
        }
    }
    Ok(changes)
}

fn attributes(before: &Instance, after: &Instance, values: bool) -> Vec<Attribute> {
    let names: BTreeSet<&String> = before.attributes.keys().chain(after.attributes.keys()).collect();
    let different = |name: &&&String| before.attributes.get(**name) != after.attributes.get(**name);
    names
        .iter()
        .filter(different)
        .map(|name| {
            let sensitive =
                before.sensitive.contains(*name) || after.sensitive.contains(*name) || is_suspicious(name);
            let value = |of: &Instance| of.attributes.get(*name).filter(|_| values && !sensitive).cloned();
            Attribute { name: (*name).clone(), sensitive, before: value(before), after: value(after) }
        })
        .collect()
}

fn instances((place, content): (&str, &[u8])) -> Result<BTreeMap<String, Instance>, Error> {
    let document: Document = serde_json::from_slice(content)
        .map_err(|error| Error::Corrupt { place: place.to_owned(), reason: plain(&error) })?;
    let mut found = BTreeMap::new();
    for resource in document.resources.unwrap_or_default() {
        let mut address = String::new();
        if !resource.module.is_empty() {
            address = format!("{}.", resource.module);
        }
        if resource.mode == "data" {
            address.push_str("data.");
        }
        address = format!("{address}{}.{}", resource.r#type, resource.name);
        for instance in resource.instances {
            let key = match instance.get("index_key") {
                None | Some(Value::Null) => String::new(),
                Some(key) => format!("[{key}]"),
            };
            // An object that was replaced and is still to be destroyed.
            let deposed = instance.get("deposed").and_then(Value::as_str);
            let deposed = deposed.map_or_else(String::new, |key| format!(" (deposed {key})"));
            found.insert(format!("{address}{key}{deposed}"), read(instance));
        }
    }
    for (name, output) in document.outputs.unwrap_or_default() {
        let sensitive = if output.sensitive { BTreeSet::from(["value".to_owned()]) } else { BTreeSet::new() };
        let attributes = Map::from_iter([("value".to_owned(), output.value)]);
        // An output called `password` is one, whatever its attribute is called.
        let sensitive = if is_suspicious(&name) { BTreeSet::from(["value".to_owned()]) } else { sensitive };
        found.insert(format!("output.{name}"), Instance { attributes, sensitive });
    }
    Ok(found)
}

fn read(mut instance: Value) -> Instance {
    let sensitive = instance.get("sensitive_attributes").and_then(Value::as_array);
    // Each is a path; its first step names the attribute.
    let sensitive = sensitive
        .into_iter()
        .flatten()
        .filter_map(|path| path.get(0)?.get("value")?.as_str().map(str::to_owned))
        .collect();
    let mut attributes = match instance.get_mut("attributes").map(Value::take) {
        Some(Value::Object(attributes)) => attributes,
        _ => Map::new(),
    };
    if let Some(status) = instance.get("status") {
        attributes.insert("(status)".to_owned(), status.clone());
    }
    Instance { attributes, sensitive }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(instances: &Value) -> Vec<u8> {
        let resource =
            json!({ "mode": "managed", "type": "terraform_data", "name": "a", "instances": instances });
        json!({ "resources": [resource], "outputs": { "db_password": { "value": "hunter2" } } })
            .to_string()
            .into()
    }

    #[test]
    fn it_says_what_changed_and_never_what_is_secret() {
        let one = state(&json!([
            { "index_key": "x", "attributes": { "id": "1", "size": 1, "token": "s3cret", "marked": "s3cret" } },
            { "index_key": "gone", "attributes": {} },
        ]));
        let other = state(&json!([
            { "index_key": "x", "attributes": { "id": "1", "size": 2, "token": "s4cret", "marked": "s4cret" },
              "sensitive_attributes": [[{ "type": "get_attr", "value": "marked" }]] },
            { "index_key": "new", "attributes": {} },
        ]));
        let changes = diff(("a", &one), ("b", &other), true).unwrap();
        let told: Vec<_> = changes.iter().map(|change| (change.address.as_str(), change.what)).collect();
        assert_eq!(
            told,
            [
                ("terraform_data.a[\"gone\"]", What::Removed),
                ("terraform_data.a[\"new\"]", What::Added),
                ("terraform_data.a[\"x\"]", What::Changed),
            ]
        );
        let text = serde_json::to_string(&changes).unwrap();
        assert!(!text.contains("cret\""), "{text}");
        let names: Vec<_> = changes[2].attributes.iter().map(|a| (a.name.as_str(), a.sensitive)).collect();
        assert_eq!(names, [("marked", true), ("size", false), ("token", true)]);
        assert_eq!(changes[2].attributes[1].after, Some(json!(2)));
        let quiet = diff(("a", &one), ("b", &other), false).unwrap();
        assert_eq!(quiet[2].attributes[1].after, None);
    }

    #[test]
    fn an_output_is_shown_only_when_nothing_speaks_against_it() {
        let state = |value: &str| json!({ "outputs": { "db_password": { "value": value } } }).to_string();
        let changes = diff(("a", state("one").as_bytes()), ("b", state("two").as_bytes()), true).unwrap();
        assert!(changes[0].attributes[0].sensitive && changes[0].attributes[0].after.is_none());
    }
}
