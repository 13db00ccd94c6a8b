//! What to do about one stream: a pure decision over what is wanted and what the server says.
//!
//! An update keeps every field that Windlass does not manage. What the server cannot change in place is replaced. Either
//! may drop messages; then the decision says how many, and whoever carries it out asks for permission first.
//!
//! What a smaller limit drops is counted over the whole configuration that is to be, and not field by field: whether
//! `max_msgs` drops anything depends on `discard`, and two limits drop the same oldest messages.

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
    consumers: u64,
    oldest: Option<Timestamp>,
    now: Option<Timestamp>,
    /// What a smaller `max_age` would drop, where the server was asked.
    aged: Option<Measured>,
    /// What a smaller `max_msgs_per_subject` would drop, where the server was asked.
    crowded: Option<Measured>,
}

/// What one limit would drop, as the server was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) limit: u64,
    pub(super) messages: u64,
    pub(super) at_most: bool,
}

impl Measured {
    fn parse(value: &Value) -> Option<Self> {
        Some(Self {
            limit: value["limit"].as_u64()?,
            messages: value["messages"].as_u64()?,
            at_most: value["at_most"] == true,
        })
    }

    pub(super) fn to_json(self) -> Value {
        json!({ "limit": self.limit, "messages": self.messages, "at_most": self.at_most })
    }
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
            consumers: state["consumer_count"].as_u64().unwrap_or_default(),
            oldest: time(&state["first_ts"]),
            now: time(&answer["ts"]),
            aged: Measured::parse(&answer["measured"]["max_age"]),
            crowded: Measured::parse(&answer["measured"]["max_msgs_per_subject"]),
        })
    }
}

/// What a change would lose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Messages.
    pub messages: u64,
    /// Their bytes, where they are known.
    pub bytes: Option<u64>,
    /// There may be fewer: how many exactly, the server does not say.
    pub at_most: bool,
    /// Consumers that go with the stream, and with them their places in it.
    pub consumers: u64,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let up_to = if self.at_most { "up to " } else { "" };
        match (self.messages, self.consumers) {
            (0, consumers) => write!(formatter, "{} and their places", plural(consumers, "consumer")),
            (messages, 0) => write!(formatter, "{up_to}{}", plural(messages, "message")),
            (messages, consumers) => write!(
                formatter,
                "{up_to}{}, and {} and their places",
                plural(messages, "message"),
                plural(consumers, "consumer")
            ),
        }
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
        /// What the server drops to do it.
        loses: Option<Loss>,
    },
    /// Delete it and send this to `STREAM.CREATE`: the server changes none of it in place.
    Replace {
        /// The whole new configuration.
        config: Value,
        /// What is different in it.
        fields: Vec<FieldChange>,
        /// What is in it.
        loses: Option<Loss>,
    },
    /// Nothing.
    Unchanged,
    /// It must not be done.
    Refuse(Refusal),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody sealed it: it is never to be changed.
    Sealed,
    /// Another fleet manages it.
    Foreign(String),
}

/// Why a sealed stream is left alone.
const SEALED: &str = "it is sealed, and a sealed stream cannot be changed";

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sealed => formatter.write_str(SEALED),
            Self::Foreign(owner) => write!(formatter, "it belongs to the fleet {owner}"),
        }
    }
}

impl Refusal {
    pub(super) fn into_error(self, resource: &str) -> Error {
        let resource = resource.to_owned();
        match self {
            Self::Sealed => Error::WouldLose { resource, reason: SEALED.to_owned() },
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
    let mut replaces = false;
    for (field, value) in &wanted.config {
        let before = found.config.get(field).cloned().unwrap_or_else(|| absent(field));
        let after = if field == "metadata" { merged(&before, value) } else { value.clone() };
        if same(field, &before, &after) {
            continue;
        }
        replaces |= is_fixed(field, &before, &after);
        fields.push(FieldChange { field: field.clone(), from: before.to_string(), to: after.to_string() });
        config.insert(field.clone(), after);
    }
    if fields.is_empty() {
        return Decision::Unchanged;
    }
    if found.config.get("sealed").is_some_and(|sealed| *sealed == json!(true)) {
        return Decision::Refuse(Refusal::Sealed);
    }
    fields.sort_by(|one, other| one.field.cmp(&other.field));
    if replaces {
        let loses = found.everything();
        if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
            metadata.retain(|key, _| !key.starts_with(SERVER_METADATA));
        }
        return Decision::Replace { config: Value::Object(config), fields, loses };
    }
    let loses = found.dropped_by(&config);
    Decision::Update { config: Value::Object(config), fields, loses }
}

/// Whether the server refuses to change this in place, whatever is stored.
fn is_fixed(field: &str, before: &Value, after: &Value) -> bool {
    match field {
        "storage" => true,
        "deny_delete" | "deny_purge" => *before == json!(true),
        "retention" => before == "workqueue" || after == "workqueue",
        _ => false,
    }
}

impl Found {
    fn everything(&self) -> Option<Loss> {
        (self.messages > 0 || self.consumers > 0).then_some(Loss {
            messages: self.messages,
            bytes: Some(self.bytes),
            at_most: false,
            consumers: self.consumers,
        })
    }

    /// What the server drops when the stream, as it is, gets this configuration.
    fn dropped_by(&self, config: &Map<String, Value>) -> Option<Loss> {
        let get = |field: &str| config.get(field).and_then(limit);
        let before = |field: &str| self.config.get(field).and_then(limit);
        let shrinks = |field: &str| get(field).filter(|new| before(field).is_none_or(|old| old > *new));
        // With `discard` "new" these two refuse new messages, and touch no old one.
        let drops_old = config.get("discard").is_none_or(|discard| discard != "new");
        let by_count =
            get("max_msgs").filter(|_| drops_old).map_or(0, |max| self.messages.saturating_sub(max));
        let by_size = get("max_bytes").filter(|_| drops_old).map_or(0, |max| self.bytes.saturating_sub(max));
        let by_age = shrinks("max_age").map_or((0, false), |limit| self.aged_over(limit));
        let by_subject = shrinks("max_msgs_per_subject").map_or((0, false), |limit| {
            let measured = self.crowded.filter(|measured| measured.limit == limit);
            measured.map_or((self.messages, true), |measured| (measured.messages, measured.at_most))
        });
        let unheard = config.get("retention").is_some_and(|retention| retention == "interest")
            && self.config.get("retention").is_none_or(|retention| retention == "limits");

        let mut messages = by_count.max(by_age.0);
        let mut at_most = by_age.1 && by_age.0 >= messages;
        if by_subject.0 > 0 {
            // Some of these may be among the oldest, and counted already.
            at_most |= by_subject.1 || messages > 0;
            messages = messages.saturating_add(by_subject.0).min(self.messages);
        }
        if by_size > 0 || (unheard && self.messages > 0) {
            // Nobody says how large the oldest ones are, or which nobody waits for; without consumers it is all.
            at_most = !(unheard && self.consumers == 0);
            messages = self.messages;
        }
        let bytes = (messages == self.messages && !at_most).then_some(self.bytes);
        (messages > 0).then_some(Loss { messages, bytes, at_most, consumers: 0 })
    }

    /// How many messages are older than that, and whether there may be fewer.
    fn aged_over(&self, limit: u64) -> (u64, bool) {
        if let Some(measured) = self.aged.filter(|measured| measured.limit == limit) {
            return (measured.messages, measured.at_most);
        }
        match (self.oldest, self.now) {
            (Some(oldest), Some(now)) if !is_older(oldest, now, limit) => (0, false),
            _ => (self.messages, true),
        }
    }
}

/// Whether a message of then is older now than so many nanoseconds.
pub(super) fn is_older(then: Timestamp, now: Timestamp, nanoseconds: u64) -> bool {
    u128::try_from(now.duration_since(then).as_nanos()).is_ok_and(|age| age > u128::from(nanoseconds))
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
pub(super) fn limit(value: &Value) -> Option<u64> {
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
