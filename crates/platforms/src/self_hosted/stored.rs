//! What stores messages: streams and buckets, seen and changed over JetStream's API.

use super::from_nats;
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_engine::{Address, Data, Difference, FieldChange, How, Kind, Loss, Risk, Trouble};
use windlass_fleet::{Bytes, Period};
use windlass_nats::async_nats::Client;
use windlass_nats::consumer::{self, ConsumerSpec};
use windlass_nats::stream::{
    self, Compression, Decision, Discard, Found, KvBucketSpec, ObjectBucketSpec, Permission, Retention, Spec,
    Storage, StreamSpec, decide,
};

/// Pages of streams that are asked for at once.
const PAGES_AT_ONCE: usize = 2;

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

/// What is asked for at one place, by the stream's name.
pub(super) type Asked<'a> = BTreeMap<String, (Address, &'a Value)>;

/// Looks at every stream of the account, and answers those that are asked for.
pub(super) async fn look(
    client: &Client,
    account: &str,
    cluster: &str,
    asked: &Asked<'_>,
) -> Result<Vec<windlass_engine::Found>, Trouble> {
    let page = async |offset: u64| -> Result<Value, Trouble> {
        let body = json!({ "offset": offset });
        let answer = stream::ask(client, "list the streams", "STREAM.LIST".to_owned(), &body).await;
        answer.map_err(|error| {
            Trouble::new("WL0603", format!("the streams cannot be listed: {error}"), "windlass status")
        })
    };
    // Each page is read and dropped before many more have come: of thousands of streams most of it is not needed.
    let take = async |answer: Result<Value, Trouble>| -> Result<Vec<windlass_engine::Found>, Trouble> {
        let mut found = Vec::new();
        for stream in answer?["streams"].as_array_mut().into_iter().flatten() {
            let asked = stream["config"]["name"].as_str().and_then(|name| asked.get(name));
            let Some((address, wanted)) = asked else { continue };
            stream::measure(client, &spec(address, wanted), stream).await;
            let data = data(stream);
            let body = needed(stream, account, cluster);
            let address = address.clone();
            found.push(windlass_engine::Found { address, body, data, trouble: None, unseen: false });
        }
        Ok(found)
    };
    let first = page(0).await?;
    let total = first["total"].as_u64().unwrap_or(0);
    let limit = first["limit"].as_u64().unwrap_or(256).max(1);
    let mut all = take(Ok(first)).await?;
    let pages = (1..total.div_ceil(limit)).map(|number| page(number * limit));
    let mut rest = futures::stream::iter(pages).buffered(PAGES_AT_ONCE);
    while let Some(answer) = rest.next().await {
        all.extend(take(answer).await?);
    }
    Ok(all)
}

/// What of a stream's description is looked at, as text: as a tree, thousands of them would be most of the memory.
fn needed(stream: &mut Value, account: &str, cluster: &str) -> Value {
    let mut state = stream["state"].take();
    if let Value::Object(state) = &mut state {
        state.retain(|field, _| {
            matches!(field.as_str(), "messages" | "bytes" | "first_ts" | "consumer_count")
        });
    }
    let mut kept = json!({
        "config": stream["config"].take(), "state": state, "ts": stream["ts"].take(),
        "at": { "account": account, "cluster": cluster },
    });
    if let Some(measured) = stream.get_mut("measured") {
        kept["measured"] = measured.take();
    }
    Value::String(kept.to_string())
}

/// A description that was kept as text.
fn kept(body: &Value) -> Result<Value, String> {
    serde_json::from_str(body.as_str().unwrap_or_default()).map_err(|error| error.to_string())
}

fn data(found: &Value) -> Data {
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
    let found = kept(found)?;
    is_where_wanted(body, &found["at"])?;
    let changes = |fields: &[stream::FieldChange]| {
        let change = |one: &stream::FieldChange| {
            FieldChange::new(&one.field, readable(&one.field, &one.from), readable(&one.field, &one.to))
        };
        fields.iter().map(change).collect()
    };
    match decision(fleet, address, body, found)? {
        Decision::Unchanged | Decision::Create(_) => Ok(None),
        Decision::Update { fields, loses, .. } => {
            let risk = if loses.is_some() { Risk::LosesData } else { Risk::None };
            Ok(Some(Difference { how: How::InPlace, fields: changes(&fields), risk, why: None }))
        }
        Decision::Replace { fields, loses, .. } => {
            let mut why = "the server does not change this in place".to_owned();
            let risk = match loses {
                None => Risk::None,
                Some(loss) if loss.messages == 0 => Risk::Irreversible,
                Some(_) => Risk::LosesData,
            };
            if let Some(consumers) = loses.map(|loss| loss.consumers).filter(|count| *count > 0) {
                let plural = if consumers == 1 { " goes" } else { "s go" };
                why = format!("{why}; {consumers} consumer{plural} with it");
            }
            Ok(Some(Difference { how: How::Replace, fields: changes(&fields), risk, why: Some(why) }))
        }
        Decision::Refuse(refusal) => Err(refusal.to_string()),
    }
}

/// What making it what is wanted loses; `None` when that cannot be said.
pub(super) fn loss(fleet: &str, address: &Address, body: &Value, found: &Value) -> Option<Loss> {
    if !address.kind.holds_data() {
        return None;
    }
    match decision(fleet, address, body, kept(found).ok()?).ok()? {
        Decision::Update { loses, .. } | Decision::Replace { loses, .. } => {
            let loss = loses?;
            Some(Loss { messages: loss.messages, bytes: loss.bytes, at_most: loss.at_most })
        }
        _ => None,
    }
}

fn decision(fleet: &str, address: &Address, body: &Value, found: Value) -> Result<Decision, String> {
    let wanted = spec(address, body).wanted(fleet).map_err(|error| error.to_string())?;
    Ok(decide(&wanted, Some(&Found::parse(found)?)))
}

pub(super) fn compare_consumer(
    fleet: &str,
    body: &Value,
    found: &Value,
) -> Result<Option<Difference>, String> {
    let wanted = consumer_spec(body).config(fleet).map_err(|error| error.to_string())?;
    let difference = |how, changes: &[stream::FieldChange], risk, why: Option<&str>| {
        let fields = changes.iter().map(|one| {
            FieldChange::new(&one.field, readable(&one.field, &one.from), readable(&one.field, &one.to))
        });
        Ok(Some(Difference { how, fields: fields.collect(), risk, why: why.map(str::to_owned) }))
    };
    let found = &kept(found)?;
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
    permission: Permission,
) -> Result<(), Trouble> {
    if address.kind == Kind::Consumer {
        return consumer::ensure(client, fleet, &consumer_spec(body)).await.map_err(from_nats);
    }
    let spec = spec(address, body);
    stream::ensure(client, fleet, &[spec], permission).await.map_err(from_nats)?;
    Ok(())
}

/// What a consumer is, as the server says, and where, as text; `None` when it is not there.
pub(super) async fn find_consumer(client: &Client, at: &Value) -> Result<Option<Value>, Trouble> {
    let body = Body(at);
    let found = consumer::find(client, &body.text("stream"), &body.text("name")).await.map_err(from_nats)?;
    let text = |mut found: Value| json!({ "config": found["config"].take(), "at": at }).to_string();
    Ok(found.map(|found| Value::String(text(found))))
}

/// Where a consumer was found, which is not always where it is wanted.
pub(super) fn consumer_place(found: &Value) -> Option<Value> {
    kept(found).ok().map(|mut found| found["at"].take()).filter(Value::is_object)
}

pub(super) async fn delete_consumer(client: &Client, body: &Value) -> Result<(), Trouble> {
    let body = Body(body);
    consumer::delete(client, &body.text("stream"), &body.text("name")).await.map_err(from_nats)
}

/// Deletes it with everything in it, or only if nothing is in it.
pub(super) async fn delete(
    client: &Client,
    address: &Address,
    permission: Permission,
) -> Result<(), Trouble> {
    let removed = stream::remove(client, &stream_name(address), &address.to_string(), permission).await;
    removed.map_err(|error| match from_nats(error) {
        trouble if trouble.code == "WL0213" => trouble,
        trouble => {
            Trouble::new("WL0604", format!("{address} could not be deleted: {trouble}"), "windlass status")
        }
    })
}
