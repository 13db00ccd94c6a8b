//! Durable pull consumers: what one should be, what the server says it is, and what can be done about the difference.
//!
//! A consumer is a place in a stream. What nats-server cannot change in place (where it began, how it acknowledges, what
//! waits) can only be had by a new consumer, and the place of the old one is lost with it: that is a decision for a
//! person, so [`decide`] tells it from a change.

use std::time::Duration;

use async_nats::Client;
use serde_json::{Map, Value, json};

use crate::stream::{FLEET_TAG, FieldChange, ask};
use crate::{Error, names};

const NOT_FOUND: [u64; 2] = [10_014, 10_059];

/// A durable pull consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSpec {
    /// The stream that it reads.
    pub stream: String,
    /// Its name.
    pub name: String,
    /// Subjects that it is for; none is all.
    pub filter: Vec<String>,
    /// Where it begins when it is new, in JetStream's words: `all`, `last`, `new`, `last_per_subject`.
    pub deliver: String,
    /// What counts as done, in JetStream's words: `explicit`, `all`, `none`.
    pub acknowledge: String,
    /// After how long a message is delivered again.
    pub ack_wait: Duration,
    /// How often a message is delivered at most.
    pub max_deliver: Option<u64>,
    /// Messages under way.
    pub max_ack_pending: u64,
    /// Requests that may wait.
    pub max_waiting: u64,
    /// After how long without a client it goes.
    pub inactive_threshold: Option<Duration>,
    /// For the reader.
    pub description: String,
}

/// What to do about a consumer.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing.
    Unchanged,
    /// These fields change in place.
    Update(Vec<FieldChange>),
    /// These cannot: it has to be made anew, and its place in the stream is lost.
    Replace(Vec<FieldChange>),
    /// Another fleet manages it.
    Foreign(String),
}

impl ConsumerSpec {
    /// The configuration, in JetStream's words, tagged with the fleet.
    ///
    /// # Errors
    /// When a name cannot be used.
    pub fn config(&self, fleet: &str) -> Result<Map<String, Value>, Error> {
        names::check("stream", &self.stream)?;
        names::check("consumer", &self.name)?;
        let mut config = json!({
            "durable_name": self.name,
            "name": self.name,
            "deliver_policy": self.deliver,
            "ack_policy": self.acknowledge,
            "max_deliver": limit(self.max_deliver),
            "max_waiting": self.max_waiting,
            "replay_policy": "instant",
            "num_replicas": 0,
            "metadata": { FLEET_TAG: fleet },
        });
        if self.acknowledge != "none" {
            config["ack_wait"] = nanoseconds(self.ack_wait);
            config["max_ack_pending"] = self.max_ack_pending.into();
        }
        match self.filter.as_slice() {
            [] => {}
            [one] => config["filter_subject"] = one.as_str().into(),
            many => config["filter_subjects"] = many.into(),
        }
        if let Some(threshold) = self.inactive_threshold {
            config["inactive_threshold"] = nanoseconds(threshold);
        }
        if !self.description.is_empty() {
            config["description"] = self.description.as_str().into();
        }
        match config {
            Value::Object(config) => Ok(config),
            _ => Ok(Map::new()),
        }
    }
}

/// What nats-server refuses to change in place (tried with 2.15).
fn is_fixed(field: &str) -> bool {
    matches!(field, "deliver_policy" | "ack_policy" | "replay_policy" | "max_waiting")
}

/// Fields that Windlass manages, so that one that is no longer wanted is noticed.
const MANAGED: [&str; 12] = [
    "deliver_policy",
    "ack_policy",
    "max_deliver",
    "max_waiting",
    "replay_policy",
    "ack_wait",
    "max_ack_pending",
    "filter_subject",
    "filter_subjects",
    "inactive_threshold",
    "description",
    "num_replicas",
];

/// Decides what to do so that `found` (the `config` of the server's answer) becomes `wanted`.
#[must_use]
pub fn decide(wanted: &Map<String, Value>, found: &Value) -> Decision {
    let owner =
        |metadata: Option<&Value>| metadata.and_then(|all| all[FLEET_TAG].as_str()).map(str::to_owned);
    if let (Some(ours), Some(theirs)) = (owner(wanted.get("metadata")), owner(found.get("metadata")))
        && ours != theirs
    {
        return Decision::Foreign(theirs);
    }
    let mut fields = Vec::new();
    for field in MANAGED {
        let value = |value: Option<&Value>| value.cloned().unwrap_or_else(|| absent(field));
        let (from, to) = (value(found.get(field)), value(wanted.get(field)));
        // Without acknowledgements the server fills these in as it likes.
        let ignored = wanted.get("ack_policy").is_some_and(|policy| policy == "none")
            && matches!(field, "ack_wait" | "max_ack_pending");
        if from != to && !ignored {
            fields.push(FieldChange { field: field.to_owned(), from: from.to_string(), to: to.to_string() });
        }
    }
    if fields.iter().any(|change| is_fixed(&change.field)) {
        return Decision::Replace(fields);
    }
    let tagged = owner(found.get("metadata")).is_some();
    if fields.is_empty() && tagged { Decision::Unchanged } else { Decision::Update(fields) }
}

fn absent(field: &str) -> Value {
    match field {
        "filter_subject" | "description" => json!(""),
        "filter_subjects" => json!([]),
        "max_deliver" => json!(-1),
        _ => json!(0),
    }
}

/// The server's answer about a consumer; `None` when there is none, or its stream is not there.
///
/// # Errors
/// When the server refuses to say.
pub async fn find(client: &Client, stream: &str, name: &str) -> Result<Option<Value>, Error> {
    let what = format!("look at consumer {stream}/{name}");
    match ask(client, &what, format!("CONSUMER.INFO.{stream}.{name}"), &json!({})).await {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::JetStream { code: Some(code), .. }) if NOT_FOUND.contains(&code) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the consumer what is wanted, and compares the server's answer. It never replaces one.
///
/// # Errors
/// When a name cannot be used, or the server refuses or makes something else of it.
pub async fn ensure(client: &Client, fleet: &str, spec: &ConsumerSpec) -> Result<(), Error> {
    let mut config = spec.config(fleet)?;
    let what = format!("make consumer {}/{}", spec.stream, spec.name);
    let found = find(client, &spec.stream, &spec.name).await?;
    let action = if found.is_some() { "update" } else { "create" };
    if let Some(Value::Object(metadata)) = found.as_ref().map(|found| found["config"]["metadata"].clone()) {
        // What others noted on it stays.
        let mut merged = metadata;
        merged.insert(FLEET_TAG.to_owned(), fleet.into());
        merged.retain(|key, _| !key.starts_with("_nats."));
        config.insert("metadata".to_owned(), merged.into());
    }
    let subject = format!("CONSUMER.CREATE.{}.{}", spec.stream, spec.name);
    let body = json!({ "stream_name": spec.stream, "config": config, "action": action });
    let mut answer = ask(client, &what, subject, &body).await?;
    if decide(&config, &answer["config"]) != Decision::Unchanged {
        // The first answer about a consumer that the server has found at its start may say what it was then
        // (`initialInfo` in nats-server's `consumer.go`).
        answer = find(client, &spec.stream, &spec.name).await?.unwrap_or_default();
    }
    match decide(&config, &answer["config"]) {
        Decision::Unchanged => Ok(()),
        other => {
            let reason = format!("the server made something else of it: {other:?}");
            Err(Error::JetStream { what, reason, code: None })
        }
    }
}

/// Deletes the consumer; that it is gone already is fine.
///
/// # Errors
/// When the server refuses.
pub async fn delete(client: &Client, stream: &str, name: &str) -> Result<(), Error> {
    let what = format!("delete consumer {stream}/{name}");
    match ask(client, &what, format!("CONSUMER.DELETE.{stream}.{name}"), &json!({})).await {
        Err(Error::JetStream { code: Some(code), .. }) if NOT_FOUND.contains(&code) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn limit(limit: Option<u64>) -> Value {
    limit.map_or(json!(-1), |limit| json!(i64::try_from(limit).unwrap_or(i64::MAX)))
}

fn nanoseconds(duration: Duration) -> Value {
    json!(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ConsumerSpec {
        ConsumerSpec {
            stream: "ORDERS".to_owned(),
            name: "billing".to_owned(),
            filter: vec!["orders.paid".to_owned()],
            deliver: "all".to_owned(),
            acknowledge: "explicit".to_owned(),
            ack_wait: Duration::from_secs(30),
            max_deliver: None,
            max_ack_pending: 1000,
            max_waiting: 512,
            inactive_threshold: None,
            description: String::new(),
        }
    }

    fn decided(change: impl FnOnce(&mut ConsumerSpec)) -> Decision {
        let found = Value::Object(spec().config("acme").unwrap());
        let mut wanted = spec();
        change(&mut wanted);
        decide(&wanted.config("acme").unwrap(), &found)
    }

    #[test]
    fn what_is_as_wanted_is_left_alone() {
        assert_eq!(decided(|_| ()), Decision::Unchanged);
        let mut found = Value::Object(spec().config("acme").unwrap());
        found["metadata"]["somebody"] = json!("else");
        found["metadata"]["_nats.level"] = json!("1");
        assert_eq!(decide(&spec().config("acme").unwrap(), &found), Decision::Unchanged);
    }

    #[test]
    fn what_can_change_in_place_does_and_what_cannot_is_told_apart() {
        let fields = |decision: Decision| match decision {
            Decision::Update(fields) => (true, fields),
            Decision::Replace(fields) => (false, fields),
            other => panic!("{other:?}"),
        };
        let (in_place, changes) = fields(decided(|spec| spec.filter = Vec::new()));
        assert!(in_place);
        assert_eq!(changes[0].to_string(), "filter_subject \"orders.paid\" → \"\"");
        assert!(fields(decided(|spec| spec.max_deliver = Some(3))).0);
        assert!(!fields(decided(|spec| spec.acknowledge = "all".to_owned())).0);
        assert!(!fields(decided(|spec| spec.max_waiting = 7)).0);
    }

    #[test]
    fn a_strangers_consumer_is_not_touched() {
        let found = Value::Object(spec().config("other").unwrap());
        assert_eq!(decide(&spec().config("acme").unwrap(), &found), Decision::Foreign("other".to_owned()));
    }

    #[test]
    fn names_that_would_split_a_subject_are_refused() {
        let wrong = ConsumerSpec { name: "a.b".to_owned(), ..spec() };
        assert_eq!(wrong.config("acme").unwrap_err().code(), "WL0204");
    }
}
