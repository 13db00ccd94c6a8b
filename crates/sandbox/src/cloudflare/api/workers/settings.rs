//! Settings of a Worker: those of its version, which make a new one, and those that belong to all versions.

use super::{binding, find, find_mut, source, upload};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome, Refusal};
use crate::cloudflare::api::form::Form;
use crate::cloudflare::api::request::Request;
use crate::cloudflare::api::state::{State, new_uuid, timestamp};
use http::Method;
use serde_json::{Value, json};

/// The operations.
pub fn route(api: &Api, request: &Request, name: &str, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, ["settings"]) => api.disk.read(|state| told(state, name)),
        (&Method::PATCH, ["settings"]) => patch(api, request, name),
        (&Method::GET, ["script-settings"]) => api.disk.read(|state| of_script(state, name)),
        (&Method::PATCH, ["script-settings"]) => patch_script(api, request, name),
        (&Method::GET, ["subdomain"]) => subdomain(api, name),
        (&Method::POST, ["subdomain"]) => set_subdomain(api, request, name),
        (&Method::DELETE, ["subdomain"]) => {
            api.disk.change(|state| {
                let script = find_mut(state, name)?;
                (script.workers_dev, script.previews) = (false, false);
                Ok(())
            })?;
            subdomain(api, name)
        }
        (&Method::GET, ["schedules"]) => schedules(api, name),
        (&Method::PUT, ["schedules"]) => set_schedules(api, request, name),
        (&Method::POST, ["domains", "changeset"]) => changeset(api, request, name),
        (&Method::PUT, ["domains", "records"]) => records(api, request, name),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn told(state: &State, name: &str) -> Outcome {
    let script = find(state, name)?;
    let Some(version) = script.current() else {
        return Err(super::no_script());
    };
    let bindings = version.bindings.iter().map(|bound| binding::described(state, name, bound));
    let mut value = json!({
        "bindings": bindings.collect::<Vec<_>>(),
        "compatibility_date": version.compatibility_date,
        "compatibility_flags": version.compatibility_flags,
        "usage_model": "standard",
        "tags": [],
        "tail_consumers": null,
        "logpush": false,
        "placement": {},
        "limits": {},
        "migration_tag": script.migration_tag,
    });
    if let Value::Object(fields) = &mut value {
        fields.extend(version.others.clone());
        fields.extend(script.settings.clone());
    }
    Answer::ok(value)
}

fn patch(api: &Api, request: &Request, name: &str) -> Outcome {
    let settings: Value = match Form::of(request)? {
        Some(form) => {
            let part =
                form.part("settings").ok_or_else(|| Refusal::malformed("the part `settings` is missing"))?;
            serde_json::from_slice(&part.bytes).map_err(Refusal::malformed)?
        }
        None => request.json()?,
    };
    let exists = |jurisdiction: &str, bucket: &str| {
        api.buckets(jurisdiction).is_some_and(|store| store.check_bucket(bucket).is_ok())
    };
    api.disk.change(|state| {
        let current = find(state, name)?.current().cloned();
        let mut version = current.ok_or_else(super::no_script)?;
        if let Some(sent) = settings["bindings"].as_array() {
            version.bindings = binding::merged(sent, Some(&version), &[], true)?;
            for bound in &version.bindings {
                binding::check(state, &exists, name, bound)?;
            }
        }
        if let Some(date) = settings["compatibility_date"].as_str() {
            version.compatibility_date = Some(date.to_owned());
        }
        if let Some(flags) = settings["compatibility_flags"].as_array() {
            version.compatibility_flags = flags.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        for field in ["limits", "placement"] {
            if !settings[field].is_null() {
                version.others.insert(field.to_owned(), settings[field].clone());
            }
        }
        version.id = new_uuid();
        version.created = timestamp();
        version.source = source(request);
        let script = find_mut(state, name)?;
        upload::add(script, version, true);
        take_script_settings(&mut script.settings, &settings);
        Ok(())
    })?;
    api.workers.reconcile(api, name);
    api.disk.read(|state| told(state, name))
}

const OF_SCRIPT: &[&str] = &["logpush", "observability", "tail_consumers", "tags"];

fn take_script_settings(to: &mut serde_json::Map<String, Value>, from: &Value) {
    for field in OF_SCRIPT {
        if let Some(value) = from.get(field) {
            to.insert((*field).to_owned(), value.clone());
        }
    }
}

fn of_script(state: &State, name: &str) -> Outcome {
    let script = find(state, name)?;
    let mut value = json!({ "logpush": false, "tail_consumers": null, "tags": [], "observability": { "enabled": false } });
    if let Value::Object(fields) = &mut value {
        fields.extend(script.settings.clone());
    }
    Answer::ok(value)
}

fn patch_script(api: &Api, request: &Request, name: &str) -> Outcome {
    let settings: Value = request.json()?;
    api.disk.change(|state| {
        take_script_settings(&mut find_mut(state, name)?.settings, &settings);
        of_script(state, name)
    })
}

fn subdomain(api: &Api, name: &str) -> Outcome {
    api.disk.read(|state| {
        let script = find(state, name)?;
        Answer::ok(json!({ "enabled": script.workers_dev, "previews_enabled": script.previews }))
    })
}

fn set_subdomain(api: &Api, request: &Request, name: &str) -> Outcome {
    let wanted: Value = request.json()?;
    api.disk.change(|state| {
        if state.subdomain.is_none() && wanted["enabled"] == true {
            return Err(Refusal::new(400, 10_063, "You need a workers.dev subdomain in order to proceed."));
        }
        let script = find_mut(state, name)?;
        script.workers_dev = wanted["enabled"].as_bool().unwrap_or(script.workers_dev);
        script.previews = wanted["previews_enabled"].as_bool().unwrap_or(script.workers_dev);
        Ok(())
    })?;
    subdomain(api, name)
}

fn schedules(api: &Api, name: &str) -> Outcome {
    api.disk.read(|state| Answer::ok(json!({ "schedules": find(state, name)?.schedules })))
}

fn set_schedules(api: &Api, request: &Request, name: &str) -> Outcome {
    let wanted: Vec<Value> = request.json()?;
    let now = timestamp();
    let mut kept = Vec::with_capacity(wanted.len());
    for schedule in wanted {
        let cron = schedule["cron"].as_str().filter(|cron| cron.split_whitespace().count() == 5);
        let cron = cron.ok_or_else(|| Refusal::new(400, 10_100, "A cron expression has five fields"))?;
        kept.push(json!({ "cron": cron, "created_on": now, "modified_on": now }));
    }
    api.disk.change(|state| {
        find_mut(state, name)?.schedules = kept;
        Ok(())
    })?;
    schedules(api, name)
}

/// What would change if these domains were the Worker's.
fn changeset(api: &Api, request: &Request, name: &str) -> Outcome {
    let wanted: Vec<Value> = request.json()?;
    api.disk.read(|state| {
        find(state, name)?;
        let owner = |hostname: &Value| state.domains.values().find(|domain| domain["hostname"] == *hostname);
        let (mut added, mut conflicting, mut updated) = (Vec::new(), Vec::new(), Vec::new());
        for domain in &wanted {
            match owner(&domain["hostname"]) {
                None => added.push(domain.clone()),
                Some(known) if known["service"] == name => updated.push(known.clone()),
                Some(known) => conflicting.push(known.clone()),
            }
        }
        Answer::ok(json!({ "added": added, "removed": [], "updated": updated, "conflicting": conflicting }))
    })
}

/// The domains that the Worker has from now on, beside those that it has.
fn records(api: &Api, request: &Request, name: &str) -> Outcome {
    let wanted: Value = request.json()?;
    let origins = wanted["origins"].as_array().cloned().unwrap_or_default();
    api.disk.change(|state| {
        find(state, name)?;
        let mut told = Vec::new();
        for origin in origins {
            told.push(super::surroundings::take_domain(state, name, &origin)?);
        }
        Answer::ok(json!(told))
    })
}
