//! Secrets of a Worker. Each change of one is a new version of the Worker, and a deployment of it, as with Cloudflare.

use super::{find, find_mut, source, upload};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome, Refusal};
use crate::cloudflare::api::request::Request;
use crate::cloudflare::api::state::{new_uuid, timestamp};
use http::Method;
use serde_json::{Value, json};

/// The operations.
pub fn route(api: &Api, request: &Request, name: &str, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, ["secrets"]) => list(api, name),
        (&Method::PUT, ["secrets"]) => {
            let secret = request.json::<Value>()?;
            let told = checked(&secret)?;
            change(api, request, name, &[secret], &[])?;
            Answer::ok(told)
        }
        (&Method::GET, ["secrets", secret]) => {
            let all = names(api, name)?;
            let found = all.into_iter().find(|told| told["name"] == *secret);
            Answer::ok(found.ok_or_else(|| no_secret(secret))?)
        }
        (&Method::DELETE, ["secrets", secret]) => {
            if !names(api, name)?.iter().any(|told| told["name"] == *secret) {
                return Err(no_secret(secret));
            }
            change(api, request, name, &[], &[(*secret).to_owned()])?;
            super::empty()
        }
        (&Method::PATCH, ["secrets-bulk"]) => bulk(api, request, name),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn no_secret(secret: &str) -> Refusal {
    Refusal::new(404, 10_056, format!("Binding '{secret}' not found."))
}

fn checked(secret: &Value) -> Result<Value, Refusal> {
    let name = secret["name"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::malformed("name is missing"))?;
    if secret["type"] != "secret_text" {
        return Err(Refusal::new(501, 10_021, "this stand-in has secrets of the type secret_text alone"));
    }
    if !secret["text"].is_string() {
        return Err(Refusal::malformed("text is missing"));
    }
    Ok(json!({ "name": name, "type": "secret_text" }))
}

fn names(api: &Api, script: &str) -> Result<Vec<Value>, Refusal> {
    api.disk.read(|state| {
        let version = find(state, script)?.current();
        let bindings = version.map(|version| version.bindings.as_slice()).unwrap_or_default();
        let secrets = bindings.iter().filter(|binding| binding["type"] == "secret_text");
        Ok(secrets.map(|binding| json!({ "name": binding["name"], "type": "secret_text" })).collect())
    })
}

fn list(api: &Api, script: &str) -> Outcome {
    Answer::ok(json!(names(api, script)?))
}

/// `PATCH …/secrets-bulk`: secrets by name; null removes one.
fn bulk(api: &Api, request: &Request, name: &str) -> Outcome {
    let body = request.object()?;
    let secrets = match body.get("secrets") {
        Some(Value::Object(secrets)) => secrets.clone(),
        _ => body,
    };
    let mut written = Vec::new();
    let mut removed = Vec::new();
    let mut told = serde_json::Map::new();
    for (key, secret) in secrets {
        if secret.is_null() {
            removed.push(key);
            continue;
        }
        let mut secret = secret;
        if secret["name"].is_null() {
            secret["name"] = json!(key);
        }
        if secret["type"].is_null() {
            secret["type"] = json!("secret_text");
        }
        told.insert(key, checked(&secret)?);
        written.push(secret);
    }
    change(api, request, name, &written, &removed)?;
    Answer::ok(Value::Object(told))
}

fn change(
    api: &Api,
    request: &Request,
    name: &str,
    written: &[Value],
    removed: &[String],
) -> Result<(), Refusal> {
    api.disk.change(|state| {
        let script = find_mut(state, name)?;
        let current = script.current().cloned();
        let mut version =
            current.ok_or_else(|| Refusal::new(404, 10_215, "The Worker has no deployed version."))?;
        let gone = |binding: &Value| {
            removed.iter().any(|name| binding["name"] == name.as_str())
                || written.iter().any(|secret| secret["name"] == binding["name"])
        };
        version.bindings.retain(|binding| !gone(binding));
        let kept = ["name", "type", "text"];
        version.bindings.extend(written.iter().map(|secret| {
            kept.iter().map(|field| ((*field).to_owned(), secret[*field].clone())).collect::<Value>()
        }));
        version.id = new_uuid();
        version.created = timestamp();
        version.source = source(request);
        version.annotations = serde_json::Map::new();
        version.annotations.insert("workers/triggered_by".into(), json!("secret"));
        upload::add(script, version, true);
        Ok(())
    })?;
    api.workers.reconcile(api, name);
    Ok(())
}
