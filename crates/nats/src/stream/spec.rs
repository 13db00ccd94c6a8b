//! What a stream or bucket should be, as plain values, and as the JSON that JetStream reads.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::FLEET_TAG;
use crate::{Error, names};

/// Where messages are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory: gone with the server.
    Memory,
}

/// What goes when a limit is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Discard {
    /// The oldest message.
    #[default]
    Old,
    /// The new message is refused.
    New,
}

/// What keeps a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retention {
    /// The limits alone.
    #[default]
    Limits,
    /// Consumers that have not acknowledged it.
    Interest,
    /// The one consumer that has not acknowledged it.
    WorkQueue,
}

/// How messages are compressed on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    #[default]
    None,
    /// With S2.
    S2,
}

/// A stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// The subjects that it keeps.
    pub subjects: Vec<String>,
    /// Where messages are kept.
    pub storage: Storage,
    /// On how many servers; 0 counts as 1.
    pub replicas: u8,
    /// How long messages are kept.
    pub max_age: Option<Duration>,
    /// How many bytes are kept.
    pub max_bytes: Option<u64>,
    /// How many messages are kept.
    pub max_messages: Option<u64>,
    /// Largest message in bytes.
    pub max_message_size: Option<u32>,
    /// What goes when a limit is reached.
    pub discard: Discard,
    /// What keeps a message.
    pub retention: Retention,
    /// How long a message id is remembered; the server's default without.
    pub duplicate_window: Option<Duration>,
    /// How messages are compressed on disk.
    pub compression: Compression,
    /// How many messages of each subject are kept.
    pub max_messages_per_subject: Option<u64>,
    /// Messages may not be deleted one by one, nor the stream purged.
    pub deny_delete: bool,
    /// For the reader.
    pub description: String,
    /// For programs. Keys that are not here and not Windlass's own stay as they are.
    pub metadata: BTreeMap<String, String>,
}

/// An object store bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectBucketSpec {
    /// Its name.
    pub name: String,
    /// Where objects are kept.
    pub storage: Storage,
    /// On how many servers; 0 counts as 1.
    pub replicas: u8,
    /// How long objects are kept.
    pub max_age: Option<Duration>,
    /// How many bytes are kept; when they are reached, new objects are refused.
    pub max_bytes: Option<u64>,
    /// How objects are compressed on disk.
    pub compression: Compression,
    /// For the reader.
    pub description: String,
    /// For programs.
    pub metadata: BTreeMap<String, String>,
}

/// A key-value bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvBucketSpec {
    /// Its name.
    pub name: String,
    /// Where values are kept.
    pub storage: Storage,
    /// On how many servers; 0 counts as 1.
    pub replicas: u8,
    /// Values kept of one key, 1 to 64; 0 counts as 1.
    pub history: u8,
    /// How long values are kept.
    pub max_age: Option<Duration>,
    /// How many bytes are kept; when they are reached, new values are refused.
    pub max_bytes: Option<u64>,
    /// Largest value in bytes.
    pub max_value_size: Option<u32>,
    /// How values are compressed on disk.
    pub compression: Compression,
    /// For the reader.
    pub description: String,
    /// For programs.
    pub metadata: BTreeMap<String, String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// A stream.
    Stream(StreamSpec),
    /// An object store bucket.
    ObjectBucket(ObjectBucketSpec),
    /// A key-value bucket.
    KvBucket(KvBucketSpec),
}

impl From<StreamSpec> for Spec {
    fn from(spec: StreamSpec) -> Self {
        Self::Stream(spec)
    }
}

impl From<ObjectBucketSpec> for Spec {
    fn from(spec: ObjectBucketSpec) -> Self {
        Self::ObjectBucket(spec)
    }
}

impl From<KvBucketSpec> for Spec {
    fn from(spec: KvBucketSpec) -> Self {
        Self::KvBucket(spec)
    }
}

/// A spec in JetStream's terms: each bucket is a stream underneath.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What a person calls it, such as `object bucket PAYLOADS`.
    pub resource: String,
    /// The stream's name.
    pub stream: String,
    /// The fields that Windlass manages.
    pub config: Map<String, Value>,
    /// Fields that are only set when the stream is new.
    pub initial: Map<String, Value>,
}

impl Spec {
    /// The limits of which the server's description of a stream does not say what they would drop: how long a message
    /// is kept, and how many of each subject.
    pub(super) fn unforeseeable(&self) -> (Option<Duration>, Option<u64>) {
        match self {
            Self::Stream(spec) => (spec.max_age, spec.max_messages_per_subject),
            Self::ObjectBucket(spec) => (spec.max_age, None),
            Self::KvBucket(spec) => (spec.max_age, Some(spec.history.max(1).into())),
        }
    }

    /// The stream underneath.
    pub(super) fn stream_name(&self) -> String {
        match self {
            Self::Stream(spec) => spec.name.clone(),
            Self::ObjectBucket(spec) => format!("OBJ_{}", spec.name),
            Self::KvBucket(spec) => format!("KV_{}", spec.name),
        }
    }

    /// The spec in JetStream's terms, tagged with the fleet.
    ///
    /// # Errors
    /// When a name cannot be used or the spec contradicts itself.
    pub fn wanted(&self, fleet: &str) -> Result<Wanted, Error> {
        match self {
            Self::Stream(spec) => stream(spec, fleet),
            Self::ObjectBucket(spec) => object_bucket(spec, fleet),
            Self::KvBucket(spec) => kv_bucket(spec, fleet),
        }
    }
}

fn stream(spec: &StreamSpec, fleet: &str) -> Result<Wanted, Error> {
    names::check("stream", &spec.name)?;
    let resource = format!("stream {}", spec.name);
    let wrong = |reason: &str| Err(Error::Spec { resource: resource.clone(), reason: reason.to_owned() });
    if spec.subjects.is_empty() {
        return wrong("it has no subjects");
    }
    if let (Some(age), Some(window)) = (spec.max_age, spec.duplicate_window)
        && window > age
    {
        return wrong("duplicate_window is longer than max_age");
    }
    let common = Common {
        storage: spec.storage,
        replicas: spec.replicas,
        max_age: spec.max_age,
        max_bytes: spec.max_bytes,
        compression: spec.compression,
        description: &spec.description,
        metadata: &spec.metadata,
    };
    let mut config = common.config(&spec.name, fleet);
    let retention = match spec.retention {
        Retention::Limits => "limits",
        Retention::Interest => "interest",
        Retention::WorkQueue => "workqueue",
    };
    let discard = match spec.discard {
        Discard::Old => "old",
        Discard::New => "new",
    };
    config.extend(object(json!({
        "subjects": spec.subjects,
        "retention": retention,
        "discard": discard,
        "max_msgs": or_unlimited(spec.max_messages),
        "max_msg_size": or_unlimited(spec.max_message_size.map(u64::from)),
        "max_msgs_per_subject": or_unlimited(spec.max_messages_per_subject),
        "deny_delete": spec.deny_delete,
        "deny_purge": spec.deny_delete,
    })));
    if let Some(window) = spec.duplicate_window {
        config.insert("duplicate_window".to_owned(), nanoseconds(window));
    }
    let initial = object(json!({ "max_consumers": -1 }));
    Ok(Wanted { resource, stream: spec.name.clone(), config, initial })
}

fn object_bucket(spec: &ObjectBucketSpec, fleet: &str) -> Result<Wanted, Error> {
    names::check("bucket", &spec.name)?;
    let name = &spec.name;
    let stream = format!("OBJ_{name}");
    let common = Common {
        storage: spec.storage,
        replicas: spec.replicas,
        max_age: spec.max_age,
        max_bytes: spec.max_bytes,
        compression: spec.compression,
        description: &spec.description,
        metadata: &spec.metadata,
    };
    let mut config = common.config(&stream, fleet);
    config.extend(object(json!({
        "subjects": [format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        "retention": "limits",
        "discard": "new",
        "allow_rollup_hdrs": true,
        "allow_direct": true,
    })));
    let initial = object(
        json!({ "max_consumers": -1, "max_msgs_per_subject": -1, "max_msgs": -1, "max_msg_size": -1 }),
    );
    Ok(Wanted { resource: format!("object bucket {name}"), stream, config, initial })
}

fn kv_bucket(spec: &KvBucketSpec, fleet: &str) -> Result<Wanted, Error> {
    names::check("bucket", &spec.name)?;
    let name = &spec.name;
    let resource = format!("key-value bucket {name}");
    if spec.history > 64 {
        return Err(Error::Spec { resource, reason: "history is more than 64".to_owned() });
    }
    let stream = format!("KV_{name}");
    let common = Common {
        storage: spec.storage,
        replicas: spec.replicas,
        max_age: spec.max_age,
        max_bytes: spec.max_bytes,
        compression: spec.compression,
        description: &spec.description,
        metadata: &spec.metadata,
    };
    let mut config = common.config(&stream, fleet);
    config.extend(object(json!({
        "subjects": [format!("$KV.{name}.>")],
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": spec.history.max(1),
        "max_msg_size": or_unlimited(spec.max_value_size.map(u64::from)),
        "allow_rollup_hdrs": true,
        "allow_direct": true,
        "deny_delete": true,
    })));
    let initial = object(json!({ "max_consumers": -1, "max_msgs": -1 }));
    Ok(Wanted { resource, stream, config, initial })
}

struct Common<'a> {
    storage: Storage,
    replicas: u8,
    max_age: Option<Duration>,
    max_bytes: Option<u64>,
    compression: Compression,
    description: &'a str,
    metadata: &'a BTreeMap<String, String>,
}

impl Common<'_> {
    fn config(&self, stream: &str, fleet: &str) -> Map<String, Value> {
        let mut metadata = self.metadata.clone();
        metadata.insert(FLEET_TAG.to_owned(), fleet.to_owned());
        object(json!({
            "name": stream,
            "storage": match self.storage { Storage::File => "file", Storage::Memory => "memory" },
            "num_replicas": self.replicas.max(1),
            "max_age": nanoseconds(self.max_age.unwrap_or_default()),
            "max_bytes": or_unlimited(self.max_bytes),
            "compression": match self.compression { Compression::None => "none", Compression::S2 => "s2" },
            "description": self.description,
            "metadata": metadata,
        }))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// JetStream writes "no limit" as -1 and takes 0 as the same.
fn or_unlimited(limit: Option<u64>) -> Value {
    limit.map_or(json!(-1), |limit| json!(i64::try_from(limit).unwrap_or(i64::MAX)))
}

fn nanoseconds(duration: Duration) -> Value {
    json!(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}
