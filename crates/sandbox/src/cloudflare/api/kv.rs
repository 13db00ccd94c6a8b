//! `/accounts/{a}/storage/kv/namespaces`.

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::form::Form;
use super::kv_store::{About, Entry};
use super::request::Request;
use super::state::{KvNamespace, new_id};
use super::switches::Quota;
use super::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, Method};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The most keys of one bulk read.
const MOST_READ: usize = 100;

/// The most entries of one bulk write.
const MOST_WRITTEN: usize = 10_000;

/// The operations.
pub fn route(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, []) => list(api, request),
        (&Method::POST, []) => create(api, request),
        (method, [id, rest @ ..]) => {
            let namespace = api.disk.read(|state| state.kv.get(*id).cloned());
            let namespace = namespace.ok_or_else(|| Refusal::new(404, 10013, "namespace not found"))?;
            match (method, rest) {
                (&Method::GET, []) => Answer::ok(described(id, &namespace)),
                (&Method::PUT, []) => rename(api, id, request),
                (&Method::DELETE, []) => remove(api, id),
                (&Method::GET, ["keys"]) => keys(api, id, request),
                (&Method::GET, ["values", key]) => value(api, id, key),
                (&Method::PUT, ["values", key]) => write(api, id, key, request),
                (&Method::DELETE, ["values", key]) => {
                    api.kv.delete(id, key)?;
                    Answer::ok(json!({}))
                }
                (&Method::GET, ["metadata", key]) => {
                    Answer::ok(found(api, id, key)?.about.metadata.unwrap_or(Value::Null))
                }
                (&Method::PUT, ["bulk"]) => write_many(api, id, request),
                (&Method::DELETE, ["bulk"]) | (&Method::POST, ["bulk", "delete"]) => {
                    delete_many(api, id, request)
                }
                (&Method::POST, ["bulk", "get"]) => read_many(api, id, request),
                _ => Err(Refusal::no_route(&request.path)),
            }
        }
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn seconds() -> u64 {
    time::now() / 1000
}

fn described(id: &str, namespace: &KvNamespace) -> Value {
    let mut value = json!({ "id": id, "title": namespace.title, "supports_url_encoding": true });
    if let Some(jurisdiction) = &namespace.jurisdiction {
        value["jurisdiction"] = json!(jurisdiction);
    }
    value
}

fn list(api: &Api, request: &Request) -> Outcome {
    let mut all: Vec<_> = api.disk.read(|state| state.kv.clone()).into_iter().collect();
    if request.query("order") == Some("title") {
        all.sort_by(|(_, one), (_, other)| one.title.cmp(&other.title));
    }
    if request.query("direction") == Some("desc") {
        all.reverse();
    }
    let all = all.iter().map(|(id, namespace)| described(id, namespace)).collect();
    let (page, info) = request.page(20, 1000)?.cut(all);
    Ok(Answer::new(json!(page)).info(info))
}

#[derive(Deserialize)]
struct Titled {
    title: String,
    #[serde(default)]
    jurisdiction: Option<String>,
}

const TAKEN: &str = "a namespace with this account ID and title already exists";

fn create(api: &Api, request: &Request) -> Outcome {
    let wanted: Titled = request.json()?;
    if wanted.title.is_empty() || wanted.title.len() > 512 {
        return Err(Refusal::new(400, 10019, "A namespace's title has 1 to 512 characters"));
    }
    let most = api.switches().max_namespaces;
    let namespace = KvNamespace { title: wanted.title, jurisdiction: wanted.jurisdiction };
    let id = new_id();
    // The entries' place first: one without a name is only space, a name without a place would fail.
    api.kv.create(&id)?;
    let value = described(&id, &namespace);
    let made = api.disk.change(|state| {
        if state.kv.values().any(|other| other.title == namespace.title) {
            return Err(Refusal::new(400, 10014, TAKEN));
        }
        if state.kv.len() >= most {
            return Err(Quota::Namespaces.refusal(most as u64));
        }
        state.kv.insert(id.clone(), namespace);
        Ok(())
    });
    if made.is_err() {
        api.kv.remove(&id)?;
    }
    made.map(|()| Answer::new(value))
}

fn rename(api: &Api, id: &str, request: &Request) -> Outcome {
    let wanted: Titled = request.json()?;
    api.disk.change(|state| {
        if state.kv.iter().any(|(other, namespace)| other != id && namespace.title == wanted.title) {
            return Err(Refusal::new(400, 10014, TAKEN));
        }
        let namespace =
            state.kv.get_mut(id).ok_or_else(|| Refusal::new(404, 10013, "namespace not found"))?;
        namespace.title = wanted.title;
        Ok(Answer::new(described(id, namespace)))
    })
}

fn remove(api: &Api, id: &str) -> Outcome {
    api.disk.change(|state| {
        state.kv.remove(id);
        Ok(())
    })?;
    api.kv.remove(id)?;
    Answer::ok(Value::Null)
}

fn keys(api: &Api, id: &str, request: &Request) -> Outcome {
    let limit = request.query_as("limit")?.unwrap_or(1000_usize);
    if !(10..=1000).contains(&limit) {
        return Err(Refusal::new(400, 10031, "limit must be between 10 and 1000"));
    }
    let prefix = request.query("prefix").unwrap_or_default();
    let (found, next) = api.kv.list(id, prefix, request.query("cursor"), limit, seconds())?;
    let keys: Vec<_> = found
        .into_iter()
        .map(|(name, about)| {
            let mut key = json!({ "name": name });
            key["expiration"] = about.expiration.map_or(Value::Null, Value::from);
            key["metadata"] = about.metadata.unwrap_or(Value::Null);
            if let Value::Object(fields) = &mut key {
                fields.retain(|_, value| !value.is_null());
            }
            key
        })
        .collect();
    let info = json!({ "count": keys.len(), "cursor": next.unwrap_or_default() });
    Ok(Answer::new(json!(keys)).info(info))
}

fn found(api: &Api, id: &str, key: &str) -> Result<Entry, Refusal> {
    let entry = api.kv.get(id, key, seconds())?;
    entry.ok_or_else(|| Refusal::new(404, 10009, "get: 'key not found'"))
}

fn value(api: &Api, id: &str, key: &str) -> Outcome {
    let entry = found(api, id, key)?;
    let answer = Answer::raw(entry.value, "application/octet-stream");
    Ok(match entry.about.expiration {
        Some(end) => answer.header(HeaderName::from_static("expiration"), end.to_string()),
        None => answer,
    })
}

fn write(api: &Api, id: &str, key: &str, request: &Request) -> Outcome {
    let form = Form::of(request)?;
    let (value, metadata) = match &form {
        Some(form) => {
            let part = form.part("value").ok_or_else(|| Refusal::malformed("the part `value` is missing"))?;
            (part.bytes.clone(), form.value("metadata")?)
        }
        None => (request.body.clone(), None),
    };
    let about = About::new(
        request.query_as("expiration")?,
        request.query_as("expiration_ttl")?,
        metadata,
        seconds(),
    )?;
    api.kv.put(id, key, &value, &about)?;
    Answer::ok(json!({}))
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    value: String,
    #[serde(default)]
    base64: bool,
    expiration: Option<u64>,
    expiration_ttl: Option<u64>,
    metadata: Option<Value>,
}

fn write_many(api: &Api, id: &str, request: &Request) -> Outcome {
    let pairs: Vec<Pair> = request.json()?;
    if pairs.len() > MOST_WRITTEN {
        return Err(Refusal::new(400, 10026, "At most 10000 pairs may be written at once"));
    }
    let now = seconds();
    let mut written = 0;
    let mut failed = Vec::new();
    for pair in pairs {
        let value = if pair.base64 {
            STANDARD.decode(&pair.value).map_err(Refusal::malformed)?
        } else {
            pair.value.into_bytes()
        };
        let about = About::new(pair.expiration, pair.expiration_ttl, pair.metadata, now);
        match about.and_then(|about| api.kv.put(id, &pair.key, &value, &about)) {
            Ok(()) => written += 1,
            Err(_) => failed.push(pair.key),
        }
    }
    Answer::ok(json!({ "successful_key_count": written, "unsuccessful_keys": failed }))
}

fn delete_many(api: &Api, id: &str, request: &Request) -> Outcome {
    let keys: Vec<String> = request.json()?;
    let mut failed = Vec::new();
    for key in &keys {
        if api.kv.delete(id, key).is_err() {
            failed.push(key);
        }
    }
    let count = keys.len() - failed.len();
    Answer::ok(json!({ "successful_key_count": count, "unsuccessful_keys": failed }))
}

#[derive(Deserialize)]
struct Wanted {
    keys: Vec<String>,
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(rename = "withMetadata", default)]
    with_metadata: bool,
}

fn read_many(api: &Api, id: &str, request: &Request) -> Outcome {
    let wanted: Wanted = request.json()?;
    if wanted.keys.len() > MOST_READ {
        return Err(Refusal::new(400, 10026, "At most 100 keys may be read at once"));
    }
    let mut values = Map::new();
    for key in wanted.keys {
        let Some(entry) = api.kv.get(id, &key, seconds())? else {
            values.insert(key, Value::Null);
            continue;
        };
        let value = if wanted.kind.as_deref() == Some("json") {
            serde_json::from_slice(&entry.value).map_err(Refusal::malformed)?
        } else {
            json!(String::from_utf8_lossy(&entry.value))
        };
        let value = if wanted.with_metadata {
            json!({ "value": value, "metadata": entry.about.metadata, "expiration": entry.about.expiration })
        } else {
            value
        };
        values.insert(key, value);
    }
    Answer::ok(json!({ "values": values }))
}
