//! What stores messages: streams and buckets, seen and changed over JetStream's API.

use super::from_nats;
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_engine::wanted::PAYLOADS;
use windlass_engine::{Address, Data, Difference, FieldChange, How, Kind, Risk, Trouble};
use windlass_fleet::{Fleet, Period, Stream};
use windlass_nats::async_nats::Client;
use windlass_nats::async_nats::jetstream;
use windlass_nats::stream::{
    Compression, Decision, Discard, Found, ObjectBucketSpec, Refusal, Retention, Spec, Storage, StreamSpec,
    decide,
};

/// A payload outlives the message that points at it by as long as a redelivery may still come.
const PAYLOAD_GRACE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// What an address is to be, in JetStream's terms; `None` where the fleet has no such thing.
pub(super) fn spec(fleet: &Fleet, address: &Address) -> Option<Spec> {
    match address.kind {
        Kind::Stream => {
            let (name, stream) = fleet.streams.get_key_value(address.name.as_str())?;
            Some(stream_spec(name.as_str(), stream).into())
        }
        Kind::Objects if address.name == PAYLOADS => {
            fleet.github_stream().map(|(_, stream)| payloads(stream).into())
        }
        _ => None,
    }
}

/// The stream underneath: `OBJ_…` for an object bucket, `KV_…` for a key-value bucket.
pub(super) fn stream_name(address: &Address) -> String {
    match address.kind {
        Kind::Objects => format!("OBJ_{}", address.name),
        Kind::Kv => format!("KV_{}", address.name),
        _ => address.name.clone(),
    }
}

fn stream_spec(name: &str, stream: &Stream) -> StreamSpec {
    StreamSpec {
        name: name.to_owned(),
        subjects: stream.subjects.iter().map(|subject| subject.as_str().to_owned()).collect(),
        storage: storage(stream),
        replicas: replicas(stream),
        max_age: stream.max_age.map(Period::duration),
        max_bytes: stream.max_bytes.map(windlass_fleet::Bytes::get),
        max_messages: stream.max_messages,
        max_message_size: stream.max_message_size.and_then(|size| u32::try_from(size.get()).ok()),
        discard: match stream.discard {
            windlass_fleet::Discard::Old => Discard::Old,
            windlass_fleet::Discard::New => Discard::New,
        },
        retention: match stream.retention {
            windlass_fleet::Retention::Limits => Retention::Limits,
            windlass_fleet::Retention::Interest => Retention::Interest,
            windlass_fleet::Retention::WorkQueue => Retention::WorkQueue,
        },
        duplicate_window: Some(stream.duplicate_window.duration()),
        compression: match stream.compression {
            windlass_fleet::Compression::None => Compression::None,
            windlass_fleet::Compression::S2 => Compression::S2,
        },
        ..StreamSpec::default()
    }
}

/// The bucket of large payloads: kept as its stream is kept, and a little longer.
fn payloads(stream: &Stream) -> ObjectBucketSpec {
    ObjectBucketSpec {
        name: PAYLOADS.to_owned(),
        storage: storage(stream),
        replicas: replicas(stream),
        max_age: stream.max_age.map(|age| age.duration().saturating_add(PAYLOAD_GRACE)),
        description: "Payloads of GitHub's events that are too large for a message".to_owned(),
        ..ObjectBucketSpec::default()
    }
}

fn storage(stream: &Stream) -> Storage {
    match stream.storage {
        windlass_fleet::Storage::File => Storage::File,
        windlass_fleet::Storage::Memory => Storage::Memory,
    }
}

fn replicas(stream: &Stream) -> u8 {
    u8::try_from(stream.replicas).unwrap_or(1)
}

/// Every stream of the account, as the server answers it.
pub(super) async fn list(client: &Client) -> Result<BTreeMap<String, Value>, Trouble> {
    let context = jetstream::new(client.clone());
    let page = async |offset: u64| -> Result<Value, Trouble> {
        let failed = |reason: String| {
            Trouble::new("WL0603", format!("the streams cannot be listed: {reason}"), "windlass status")
        };
        let answer: Result<Value, _> = context.request("STREAM.LIST", &json!({ "offset": offset })).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        match answer.get("error") {
            None => Ok(answer),
            Some(error) => Err(failed(error["description"].as_str().unwrap_or("refused").to_owned())),
        }
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

pub(super) fn compare(fleet: &Fleet, address: &Address, found: &Value) -> Result<Option<Difference>, String> {
    let Some(spec) = spec(fleet, address) else { return Ok(None) };
    let wanted = spec.wanted(fleet.name()).map_err(|error| error.to_string())?;
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

/// JetStream's own notation in a person's: nanoseconds as durations, sizes with units.
fn readable(field: &str, value: &str) -> String {
    let number = value.parse::<i64>();
    match (field, number) {
        ("max_age" | "duplicate_window", Ok(0)) => "for ever".to_owned(),
        ("max_age" | "duplicate_window", Ok(nanoseconds)) => {
            Period::millis(u64::try_from(nanoseconds / 1_000_000).unwrap_or(0)).to_string()
        }
        (_, Ok(-1)) => "no limit".to_owned(),
        ("max_bytes" | "max_msg_size", Ok(bytes)) => {
            windlass_fleet::Bytes::new(u64::try_from(bytes).unwrap_or(0)).to_string()
        }
        _ => value.trim_matches('"').to_owned(),
    }
}

/// Makes it, or makes it what is wanted.
pub(super) async fn ensure(client: &Client, fleet: &Fleet, address: &Address) -> Result<(), Trouble> {
    let Some(spec) = spec(fleet, address) else { return Ok(()) };
    windlass_nats::stream::ensure(client, fleet.name(), &[spec]).await.map_err(from_nats)?;
    Ok(())
}

/// Deletes it with everything in it.
pub(super) async fn delete(client: &Client, address: &Address) -> Result<(), Trouble> {
    let context = jetstream::new(client.clone());
    let failed = |reason: String| {
        Trouble::new("WL0604", format!("{address} could not be deleted: {reason}"), "windlass status")
    };
    let subject = format!("STREAM.DELETE.{}", stream_name(address));
    let answer: Value =
        context.request(subject, &json!({})).await.map_err(|error| failed(error.to_string()))?;
    match answer.get("error") {
        // It is gone already.
        Some(error) if error["err_code"] == 10_059 => Ok(()),
        Some(error) => Err(failed(error["description"].as_str().unwrap_or("refused").to_owned())),
        None => Ok(()),
    }
}
