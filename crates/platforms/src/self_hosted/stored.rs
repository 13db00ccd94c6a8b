//! What stores messages: streams and buckets, seen and changed over JetStream's API.

use super::from_nats;
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_engine::{Address, Data, Difference, FieldChange, How, Kind, Risk, Trouble};
use windlass_fleet::{Bytes, Period};
use windlass_nats::async_nats::Client;
use windlass_nats::consumer::{self, ConsumerSpec};
use windlass_nats::stream::{
    self, Compression, Decision, Discard, Found, KvBucketSpec, ObjectBucketSpec, Refusal, Retention, Spec,
    Storage, StreamSpec, decide,
};

/// The stream underneath: `OBJ_…` for an object bucket, `KV_…` for a key-value bucket.
pub(super) fn stream_name(address: &Address) -> String {
    match address.kind {
        Kind::Objects => format!("OBJ_{}", address.name),
        Kind::Kv => format!("KV_{}", address.name),
        _ => address.name.clone(),
    }
}

/// A resource's body, in the fleet file's words, read key by key.
#[derive(Clone, Copy)]
pub(super) struct Body<'a>(pub(super) &'a Value);

impl Body<'_> {
    pub(super) fn text(&self, key: &str) -> String {
        self.0[key].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        self.0[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.0[key].as_u64()
    }

    pub(super) fn bytes(&self, key: &str) -> Option<u64> {
        let written = self.0[key].as_str().and_then(|text| text.parse::<Bytes>().ok()).map(Bytes::get);
        written.or_else(|| self.number(key))
    }

    pub(super) fn period(&self, key: &str) -> Option<Duration> {
        Some(self.0[key].as_str()?.parse::<Period>().ok()?.duration())
    }

    fn size(&self, key: &str) -> Option<u32> {
        self.bytes(key).and_then(|bytes| u32::try_from(bytes).ok())
    }

    fn replicas(&self) -> u8 {
        self.number("replicas").and_then(|replicas| u8::try_from(replicas).ok()).unwrap_or(1)
    }

    fn storage(&self) -> Storage {
        if self.0["storage"] == "memory" { Storage::Memory } else { Storage::File }
    }

    fn compression(&self) -> Compression {
        if self.0["compression"] == "s2" { Compression::S2 } else { Compression::None }
    }
}

/// What is to be, in JetStream's terms.
fn spec(address: &Address, body: &Value) -> Spec {
    let body = Body(body);
    let name = address.name.clone();
    match address.kind {
        Kind::Kv => KvBucketSpec {
            name,
            storage: body.storage(),
            replicas: body.replicas(),
            history: body.number("history").and_then(|history| u8::try_from(history).ok()).unwrap_or(1),
            max_age: body.period("ttl"),
            max_bytes: body.bytes("max_bytes"),
            max_value_size: body.size("max_value_size"),
            compression: body.compression(),
            description: body.text("description"),
            ..KvBucketSpec::default()
        }
        .into(),
        Kind::Objects => ObjectBucketSpec {
            name,
            storage: body.storage(),
            replicas: body.replicas(),
            max_age: body.period("max_age"),
            max_bytes: body.bytes("max_bytes"),
            compression: body.compression(),
            description: body.text("description"),
            ..ObjectBucketSpec::default()
        }
        .into(),
        _ => StreamSpec {
            name,
            subjects: body.texts("subjects"),
            storage: body.storage(),
            replicas: body.replicas(),
            max_age: body.period("max_age"),
            max_bytes: body.bytes("max_bytes"),
            max_messages: body.number("max_messages"),
            max_message_size: body.size("max_message_size"),
            discard: if body.0["discard"] == "new" { Discard::New } else { Discard::Old },
            retention: match body.0["retention"].as_str() {
                Some("interest") => Retention::Interest,
                Some("workqueue") => Retention::WorkQueue,
                _ => Retention::Limits,
            },
            duplicate_window: body.period("duplicate_window"),
            compression: body.compression(),
            max_messages_per_subject: body.number("max_messages_per_subject"),
            deny_delete: body.0["allow_delete"] == false,
            description: body.text("description"),
            ..StreamSpec::default()
        }
        .into(),
    }
}

/// What a consumer is to be.
fn consumer_spec(body: &Value) -> ConsumerSpec {
    let body = Body(body);
    ConsumerSpec {
        stream: body.text("stream"),
        name: body.text("name"),
        filter: body.texts("filter"),
        deliver: body.text("deliver"),
        acknowledge: body.text("acknowledge"),
        ack_wait: body.period("ack_wait").unwrap_or_default(),
        max_deliver: body.number("max_deliver"),
        max_ack_pending: body.number("max_ack_pending").unwrap_or_default(),
        max_waiting: body.number("max_waiting").unwrap_or_default(),
        inactive_threshold: body.period("inactive_threshold"),
        description: body.text("description"),
    }
}

/// Every stream of the account, as the server answers it.
pub(super) async fn list(client: &Client) -> Result<BTreeMap<String, Value>, Trouble> {
    let page = async |offset: u64| -> Result<Value, Trouble> {
        let body = json!({ "offset": offset });
        let answer = stream::ask(client, "list the streams", "STREAM.LIST".to_owned(), &body).await;
        answer.map_err(|error| {
            Trouble::new("WL0603", format!("the streams cannot be listed: {error}"), "windlass status")
        })
    };
    let first = page(0).await?;
    let total = first["total"].as_u64().unwrap_or(0);
    let limit = first["limit"].as_u64().unwrap_or(256).max(1);
    let rest: Vec<Result<Value, Trouble>> =
        futures::stream::iter((1..total.div_ceil(limit)).map(|number| page(number * limit)))
            .buffered(4)
            .collect()
            .await;
    let mut all = BTreeMap::new();
    for answer in std::iter::once(Ok(first)).chain(rest) {
        let mut answer = answer?;
        for stream in answer["streams"].as_array_mut().into_iter().flatten() {
            if let Some(name) = stream["config"]["name"].as_str() {
                all.insert(name.to_owned(), needed(stream));
            }
        }
    }
    Ok(all)
}

/// What of a stream's description is looked at: of thousands of streams the rest would be most of it.
fn needed(stream: &mut Value) -> Value {
    let state = &mut stream["state"];
    let state = json!({
        "messages": state["messages"].take(), "bytes": state["bytes"].take(), "first_ts": state["first_ts"].take(),
    });
    json!({ "config": stream["config"].take(), "state": state, "ts": stream["ts"].take() })
}

pub(super) fn data(found: &Value) -> Data {
    let number = |name: &str| found["state"][name].as_u64().unwrap_or(0);
    Data { messages: number("messages"), bytes: number("bytes") }
}

/// Refuses what would have to be moved with its messages.
pub(super) fn is_where_wanted(wanted: &Value, at: &Value) -> Result<(), String> {
    for place in ["account", "cluster"] {
        if let (Some(to), Some(from)) = (wanted[place].as_str(), at[place].as_str())
            && to != from
        {
            return Err(format!(
                "it is in the {place} {from}, and its messages are not moved to {to}: give the new one another name"
            ));
        }
    }
    Ok(())
}

pub(super) fn compare(
    fleet: &str,
    address: &Address,
    body: &Value,
    found: &Value,
) -> Result<Option<Difference>, String> {
    let wanted = spec(address, body).wanted(fleet).map_err(|error| error.to_string())?;
    let parsed = Found::parse(found.clone())?;
    match decide(&wanted, Some(&parsed)) {
        Decision::Unchanged | Decision::Create(_) => Ok(None),
        Decision::Update { fields, .. } => {
            let fields = fields.iter().map(|one| {
                FieldChange::new(&one.field, readable(&one.field, &one.from), readable(&one.field, &one.to))
            });
            Ok(Some(Difference { how: How::InPlace, fields: fields.collect(), risk: Risk::None, why: None }))
        }
        Decision::Refuse(Refusal::WouldLose(reason)) => Err(reason),
        Decision::Refuse(Refusal::Foreign(owner)) => Err(format!("it belongs to the fleet {owner}")),
    }
}

pub(super) fn compare_consumer(
    fleet: &str,
    body: &Value,
    found: &Value,
) -> Result<Option<Difference>, String> {
    let wanted = consumer_spec(body).config(fleet).map_err(|error| error.to_string())?;
    let difference = |how, changes: &[windlass_nats::stream::FieldChange], risk, why: Option<&str>| {
        let fields = changes.iter().map(|one| {
            FieldChange::new(&one.field, readable(&one.field, &one.from), readable(&one.field, &one.to))
        });
        Ok(Some(Difference { how, fields: fields.collect(), risk, why: why.map(str::to_owned) }))
    };
    let moved: Vec<_> = ["stream", "name"]
        .into_iter()
        .filter_map(|key| Some((key, found["at"][key].as_str()?, body[key].as_str()?)))
        .filter(|(_, from, to)| from != to)
        .map(|(key, from, to)| FieldChange::new(key, from, to))
        .collect();
    if !moved.is_empty() {
        let why =
            "a consumer of another name or stream is another one, and begins where the file says".to_owned();
        let (how, risk) = (How::Replace, Risk::Irreversible);
        return Ok(Some(Difference { how, fields: moved, risk, why: Some(why) }));
    }
    match consumer::decide(&wanted, &found["config"]) {
        consumer::Decision::Unchanged => Ok(None),
        consumer::Decision::Update(fields) => difference(How::InPlace, &fields, Risk::None, None),
        consumer::Decision::Replace(fields) => {
            let why = "the server cannot change it in place: a new one begins where the file says";
            difference(How::Replace, &fields, Risk::Irreversible, Some(why))
        }
        consumer::Decision::Foreign(owner) => Err(format!("it belongs to the fleet {owner}")),
    }
}

/// JetStream's own notation in a person's: nanoseconds as durations, sizes with units.
fn readable(field: &str, value: &str) -> String {
    let number = value.parse::<i64>();
    match (field, number) {
        ("max_age" | "duplicate_window" | "inactive_threshold", Ok(0)) => "for ever".to_owned(),
        ("max_age" | "duplicate_window" | "ack_wait" | "inactive_threshold", Ok(nanoseconds)) => {
            Period::millis(u64::try_from(nanoseconds / 1_000_000).unwrap_or(0)).to_string()
        }
        (_, Ok(-1)) => "no limit".to_owned(),
        ("max_bytes" | "max_msg_size", Ok(bytes)) => {
            Bytes::new(u64::try_from(bytes).unwrap_or(0)).to_string()
        }
        _ => value.trim_matches('"').to_owned(),
    }
}

/// Makes it, or makes it what is wanted.
pub(super) async fn ensure(
    client: &Client,
    fleet: &str,
    address: &Address,
    body: &Value,
) -> Result<(), Trouble> {
    if address.kind == Kind::Consumer {
        return consumer::ensure(client, fleet, &consumer_spec(body)).await.map_err(from_nats);
    }
    let spec = spec(address, body);
    windlass_nats::stream::ensure(client, fleet, &[spec]).await.map_err(from_nats)?;
    Ok(())
}

/// What a consumer is, as the server says, and where; `None` when it is not there.
pub(super) async fn find_consumer(client: &Client, at: &Value) -> Result<Option<Value>, Trouble> {
    let body = Body(at);
    let found = consumer::find(client, &body.text("stream"), &body.text("name")).await.map_err(from_nats)?;
    Ok(found.map(|mut found| json!({ "config": found["config"].take(), "at": at })))
}

pub(super) async fn delete_consumer(client: &Client, body: &Value) -> Result<(), Trouble> {
    let body = Body(body);
    consumer::delete(client, &body.text("stream"), &body.text("name")).await.map_err(from_nats)
}

/// Deletes it with everything in it.
pub(super) async fn delete(client: &Client, address: &Address) -> Result<(), Trouble> {
    let subject = format!("STREAM.DELETE.{}", stream_name(address));
    match stream::ask(client, &format!("delete {address}"), subject, &json!({})).await {
        // It is gone already.
        Err(windlass_nats::Error::JetStream { code: Some(10_059), .. }) | Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("{address} could not be deleted: {error}");
            Err(Trouble::new("WL0604", message, "windlass status"))
        }
    }
}
