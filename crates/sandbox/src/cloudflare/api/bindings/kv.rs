//! A KV namespace, as workerd's binding asks for it.
//!
//! `GET /KEY?urlencoded=true`, `PUT /KEY?expiration=&expiration_ttl=` with `CF-KV-Metadata`, `DELETE /KEY`,
//! `GET /?prefix=&key_count_limit=&cursor=`, `POST /bulk/get`. An answer has the value, `CF-Expiration` and
//! `CF-KV-Metadata`.

use super::{Answered, Asked, plain};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::Refusal;
use crate::cloudflare::api::kv_store::{About, Entry};
use crate::cloudflare::api::time;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Answers a request.
pub fn answer(api: &Api, namespace: &str, asked: &Asked) -> Answered {
    route(api, namespace, asked).unwrap_or_else(|refusal| {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        plain(status, refusal.message)
    })
}

fn route(api: &Api, namespace: &str, asked: &Asked) -> Result<Answered, Refusal> {
    let query: Vec<(String, String)> =
        form_urlencoded::parse(asked.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number = |name: &str| match value(name).map(str::parse) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(Refusal::new(400, 10_033, format!("Invalid {name}"))),
    };
    let path = asked.uri.path().trim_start_matches('/');
    let encoded = value("urlencoded").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let key =
        if encoded { percent_decode_str(path).decode_utf8_lossy().into_owned() } else { path.to_owned() };
    let now = time::now() / 1000;
    match asked.method {
        Method::GET if path.is_empty() => {
            let limit = number("key_count_limit")?.unwrap_or(1000).clamp(1, 1000);
            let limit = usize::try_from(limit).unwrap_or(1000);
            let prefix = value("prefix").unwrap_or_default();
            let (keys, next) = api.kv.list(namespace, prefix, value("cursor"), limit, now)?;
            Ok(plain(StatusCode::OK, listed(&keys, next).to_string()))
        }
        Method::GET => match api.kv.get(namespace, &key, now)? {
            Some(entry) => Ok(found(entry)),
            None => Ok(plain(StatusCode::NOT_FOUND, "Not Found")),
        },
        Method::PUT => {
            let metadata =
                asked.headers.get("cf-kv-metadata").map(|value| serde_json::from_slice(value.as_bytes()));
            let metadata = metadata.transpose().map_err(Refusal::malformed)?;
            let about = About::new(number("expiration")?, number("expiration_ttl")?, metadata, now)?;
            api.kv.put(namespace, &key, &asked.body, &about)?;
            Ok(plain(StatusCode::OK, ""))
        }
        Method::DELETE => {
            api.kv.delete(namespace, &key)?;
            Ok(plain(StatusCode::OK, ""))
        }
        Method::POST if path == "bulk/get" => many(api, namespace, &asked.body, now),
        _ => Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "")),
    }
}

fn found(entry: Entry) -> Answered {
    let mut answer = plain(StatusCode::OK, entry.value);
    let headers = answer.headers_mut();
    let end = entry.about.expiration.map(|end| end.to_string());
    let metadata = entry.about.metadata.map(|value| value.to_string());
    for (name, value) in [("cf-expiration", end), ("cf-kv-metadata", metadata)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            headers.insert(name, value);
        }
    }
    answer
}

fn listed(keys: &[(String, About)], next: Option<String>) -> Value {
    let keys: Vec<_> = keys
        .iter()
        .map(|(name, about)| {
            let mut key = Map::new();
            key.insert("name".into(), json!(name));
            key.extend(about.expiration.map(|end| ("expiration".to_owned(), json!(end))));
            // workerd takes it as a text.
            key.extend(
                about.metadata.as_ref().map(|value| ("metadata".to_owned(), json!(value.to_string()))),
            );
            Value::Object(key)
        })
        .collect();
    let mut value = json!({ "keys": keys, "list_complete": next.is_none(), "cacheStatus": null });
    if let Some(next) = next {
        value["cursor"] = json!(next);
    }
    value
}

#[derive(Deserialize)]
struct Wanted {
    keys: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "withMetadata", default)]
    with_metadata: bool,
}

fn many(api: &Api, namespace: &str, body: &[u8], now: u64) -> Result<Answered, Refusal> {
    let wanted: Wanted = serde_json::from_slice(body).map_err(Refusal::malformed)?;
    if !(1..=100).contains(&wanted.keys.len()) {
        return Err(Refusal::new(400, 10_026, "You can request 1 to 100 keys"));
    }
    let mut values = Map::new();
    for key in wanted.keys {
        let value = match api.kv.get(namespace, &key, now)? {
            None => Value::Null,
            Some(entry) => {
                let value = if wanted.kind.as_deref() == Some("json") {
                    serde_json::from_slice(&entry.value).map_err(Refusal::malformed)?
                } else {
                    json!(String::from_utf8_lossy(&entry.value))
                };
                if wanted.with_metadata {
                    json!({ "value": value, "metadata": entry.about.metadata })
                } else {
                    value
                }
            }
        };
        values.insert(key, value);
    }
    Ok(plain(StatusCode::OK, Value::Object(values).to_string()))
}
