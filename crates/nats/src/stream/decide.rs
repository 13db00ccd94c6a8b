//! What to do about one stream: a pure decision over what is wanted and what the server says.
//!
//! An update keeps every field that Windlass does not manage. It is refused when the server could not do it in place, or
//! would drop messages to do it: a limit may shrink only as far as what is stored fits.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::FLEET_TAG;
use super::spec::Wanted;
use crate::Error;

/// Metadata that the server writes itself.
const SERVER_METADATA: &str = "_nats.";

/// A stream as the server describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    config: Map<String, Value>,
    messages: u64,
    bytes: u64,
    oldest: Option<Timestamp>,
    now: Option<Timestamp>,
}

impl Found {
    /// Reads the answer to `STREAM.INFO`, `STREAM.CREATE` or `STREAM.UPDATE`.
    ///
    /// # Errors
    /// The reason, when the answer has no configuration.
    pub fn parse(mut answer: Value) -> Result<Self, String> {
        let Value::Object(config) = answer["config"].take() else {
            return Err("the answer has no configuration".to_owned());
        };
        let time = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let state = &answer["state"];
        Ok(Self {
            config,
            messages: state["messages"].as_u64().unwrap_or_default(),
            bytes: state["bytes"].as_u64().unwrap_or_default(),
            oldest: time(&state["first_ts"]),
            now: time(&answer["ts"]),
        })
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Send this to `STREAM.CREATE`.
    Create(Value),
    /// Send this to `STREAM.UPDATE`.
    Update {
        /// The whole new configuration.
        config: Value,
        /// What is different in it.
        fields: Vec<FieldChange>,
    },
    /// Nothing.
    Unchanged,
    /// It must not be done.
    Refuse(Refusal),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It would lose messages or cannot be done in place.
    WouldLose(String),
    /// Another fleet manages it.
    Foreign(String),
}

impl Refusal {
    pub(super) fn into_error(self, resource: &str) -> Error {
        let resource = resource.to_owned();
        match self {
            Self::WouldLose(reason) => Error::WouldLose { resource, reason },
            Self::Foreign(owner) => Error::Foreign { resource, owner },
        }
    }
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// The field, as JetStream names it.
    pub field: String,
    /// What it was, as JSON.
    pub from: String,
    /// What it becomes, as JSON.
    pub to: String,
}

impl std::fmt::Display for FieldChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} → {}", self.field, self.from, self.to)
    }
}

/// Decides what to do so that `found` becomes `wanted`.
#[must_use]
pub fn decide(wanted: &Wanted, found: Option<&Found>) -> Decision {
    let Some(found) = found else {
        let mut config = wanted.initial.clone();
        config.extend(wanted.config.clone());
        return Decision::Create(Value::Object(config));
    };
    let owner = |config: &Map<String, Value>| {
        config.get("metadata").and_then(|metadata| metadata[FLEET_TAG].as_str()).map(str::to_owned)
    };
    if let Some(theirs) = owner(&found.config)
        && owner(&wanted.config).is_some_and(|ours| ours != theirs)
    {
        return Decision::Refuse(Refusal::Foreign(theirs));
    }
    let mut config = found.config.clone();
    let mut fields = Vec::new();
    for (field, value) in &wanted.config {
        let before = found.config.get(field).cloned().unwrap_or_else(|| absent(field));
        let after = if field == "metadata" { merged(&before, value) } else { value.clone() };
        if same(field, &before, &after) {
            continue;
        }
        if let Some(reason) = loss(field, &before, &after, found) {
            return Decision::Refuse(Refusal::WouldLose(reason));
        }
        fields.push(FieldChange { field: field.clone(), from: before.to_string(), to: after.to_string() });
        config.insert(field.clone(), after);
    }
    if fields.is_empty() {
        return Decision::Unchanged;
    }
    if found.config.get("sealed").is_some_and(|sealed| *sealed == json!(true)) {
        let reason = "it is sealed, and a sealed stream cannot be changed".to_owned();
        return Decision::Refuse(Refusal::WouldLose(reason));
    }
    fields.sort_by(|one, other| one.field.cmp(&other.field));
    Decision::Update { config: Value::Object(config), fields }
}

/// What the server means by leaving a field out.
fn absent(field: &str) -> Value {
    match field {
        "description" => json!(""),
        "compression" => json!("none"),
        "metadata" => json!({}),
        "subjects" => json!([]),
        "allow_rollup_hdrs" | "allow_direct" | "deny_delete" | "deny_purge" => json!(false),
        _ => json!(0),
    }
}

fn is_limit(field: &str) -> bool {
    matches!(field, "max_bytes" | "max_msgs" | "max_msg_size" | "max_msgs_per_subject" | "max_age")
}

fn same(field: &str, before: &Value, after: &Value) -> bool {
    if is_limit(field) {
        return limit(before) == limit(after);
    }
    if let ("subjects", Value::Array(before), Value::Array(after)) = (field, before, after) {
        return before.len() == after.len() && before.iter().all(|subject| after.contains(subject));
    }
    before == after
}

/// A limit, or `None` for none, which the server writes as -1 or 0.
fn limit(value: &Value) -> Option<u64> {
    value.as_u64().filter(|limit| *limit > 0)
}

/// The found metadata with ours on top; the server's own is left to the server.
fn merged(before: &Value, ours: &Value) -> Value {
    let mut merged = before.as_object().cloned().unwrap_or_default();
    for (key, value) in
        ours.as_object().into_iter().flatten().filter(|(key, _)| !key.starts_with(SERVER_METADATA))
    {
        merged.insert(key.clone(), value.clone());
    }
    Value::Object(merged)
}

/// Why this change would lose messages or cannot be made in place, if so.
fn loss(field: &str, before: &Value, after: &Value, found: &Found) -> Option<String> {
    match field {
        "name" | "storage" => {
            return Some(format!("{field} cannot change in place from {before} to {after}"));
        }
        "deny_delete" | "deny_purge" if before == &json!(true) => {
            return Some(format!("{field} cannot be taken back: the server refuses"));
        }
        "retention" if before == "interest" && after == "limits" => return None,
        "retention" => {
            return Some(format!("retention {before} → {after} would drop messages or is not possible"));
        }
        _ => {}
    }
    let new = limit(after).filter(|_| is_limit(field))?;
    if limit(before).is_some_and(|old| old <= new) || found.messages == 0 {
        return None;
    }
    let holds = match field {
        "max_bytes" if found.bytes > new => format!("it holds {} bytes", found.bytes),
        "max_msgs" if found.messages > new => format!("it holds {} messages", found.messages),
        // How many messages each subject has is not known here, so any smaller number may lose some.
        "max_msgs_per_subject" => "it holds messages that may be older than that".to_owned(),
        "max_age" => match (found.oldest, found.now) {
            (Some(oldest), Some(now)) => {
                let age = now.duration_since(oldest).as_nanos();
                if u64::try_from(age).unwrap_or(0) <= new {
                    return None;
                }
                format!("its oldest message is from {oldest}")
            }
            _ => "the age of its oldest message is not known".to_owned(),
        },
        _ => return None,
    };
    Some(format!("{field} {before} → {after} would drop messages: {holds}"))
}
