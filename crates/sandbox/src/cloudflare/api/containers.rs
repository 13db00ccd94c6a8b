//! `/accounts/{a}/containers`: applications, their rollouts and instances, and credentials of the registry.
//!
//! A rollout is done when it is answered: the Worker's workerd is given the new image, and so its containers end and
//! come back with it as they are needed. As with Cloudflare, "completed" means that they were started, no more.

mod instances;
mod rollouts;

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::request::{Request, cut_after};
use super::state::{Application, State, new_uuid, timestamp};
use super::switches::Quota;
use crate::registry::Permission;
use http::Method;
use instances::{all_instances, instances, views};
use rollouts::{act, roll_out};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The registry whose credentials are given out.
pub const REGISTRY: &str = "registry.cloudflare.com";

/// The parts of an application that may be changed without a rollout.
const EDITABLE: &[&str] = &[
    "affinities",
    "constraints",
    "instances",
    "max_instances",
    "observability",
    "rollout_active_grace_period",
    "scheduling_policy",
];

/// The operations.
pub fn route(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, ["me"]) => Answer::ok(me(api)),
        (&Method::GET, ["applications"]) => list(api, request),
        // As wrangler lists them.
        (&Method::GET, ["dash", "applications"]) => list(api, request),
        (&Method::GET, ["dash", "applications", id, "instances"]) => {
            let known = api.disk.read(|state| find(state, id).cloned())?;
            instances(api, request, id, &known, true)
        }
        (&Method::POST, ["applications"]) => create(api, request),
        (method, ["applications", id, rest @ ..]) => application(api, request, method, id, rest),
        (&Method::POST, ["registries", domain, "credentials"]) => credentials(api, request, domain),
        (&Method::GET, ["registries"]) => Answer::ok(
            json!([{ "domain": REGISTRY, "kind": "default", "created_at": "2025-06-24T00:00:00Z" }]),
        ),
        (&Method::POST, ["image-preparations"]) => {
            let image = request.object()?.remove("image").unwrap_or_default();
            Answer::ok(json!({ "image": image, "status": "ready" }))
        }
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn application(api: &Api, request: &Request, method: &Method, id: &str, rest: &[&str]) -> Outcome {
    let known = api.disk.read(|state| find(state, id).cloned())?;
    match (method, rest) {
        (&Method::GET, []) => Answer::ok(told(api, id, &known)),
        (&Method::PATCH, []) => edit(api, request, id),
        (&Method::DELETE, []) => delete(api, id, &known),
        (&Method::GET, ["instances-v2"]) => instances(api, request, id, &known, false),
        (&Method::GET, ["instances"]) => instances(api, request, id, &known, true),
        (&Method::GET, ["instances", instance]) => {
            let all = all_instances(api, id, &known);
            let found = all.into_iter().find(|(name, _)| name == instance);
            Answer::ok(found.ok_or_else(|| not_found("INSTANCE_NOT_FOUND"))?.1)
        }
        (&Method::GET, ["versions"]) => Answer::ok(versions(&known)),
        (&Method::GET, ["rollouts"]) => Answer::ok(known.rollouts.into_iter().rev().collect()),
        (&Method::POST, ["rollouts"]) => roll_out(api, request, id),
        (&Method::GET, ["rollouts", rollout]) => {
            let found = known.rollouts.into_iter().find(|one| one["id"] == *rollout);
            Answer::ok(found.ok_or_else(|| not_found("ROLLOUT_NOT_FOUND"))?)
        }
        (&Method::POST | &Method::PATCH, ["rollouts", rollout]) => act(api, request, id, rollout),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn not_found(code: &str) -> Refusal {
    Refusal::new(404, 1000, code)
}

fn invalid(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(400, 1000, format!("VALIDATE_INPUT: {why}"))
}

fn find<'state>(state: &'state State, id: &str) -> Result<&'state Application, Refusal> {
    state.applications.get(id).ok_or_else(|| not_found("APPLICATION_NOT_FOUND"))
}

fn find_mut<'state>(state: &'state mut State, id: &str) -> Result<&'state mut Application, Refusal> {
    state.applications.get_mut(id).ok_or_else(|| not_found("APPLICATION_NOT_FOUND"))
}

fn me(api: &Api) -> Value {
    let account = api.disk.read(|state| state.account_id.clone());
    json!({
        "external_account_id": account,
        "legacy_identity": account,
        "capabilities": [],
        "limits": { "account_id": account, "vcpu_per_deployment": 4, "memory_mib_per_deployment": 12288 },
        "locations": [],
        "defaults": {},
    })
}

fn text<'fields>(fields: &'fields Map<String, Value>, name: &str) -> Result<&'fields str, Refusal> {
    let found = fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.ok_or_else(|| invalid(format!("{name} is missing")))
}

fn namespace(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("durable_objects")?["namespace_id"].as_str()
}

fn image(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("configuration")?["image"].as_str()
}

fn told(api: &Api, id: &str, application: &Application) -> Value {
    let active = views(api, application).iter().filter(|view| view.status == "running").count();
    let mut value = json!({
        "id": id,
        "account_id": api.disk.read(|state| state.account_id.clone()),
        "created_at": application.created,
        "updated_at": application.updated,
        "version": application.version,
        "health": {
            "summary": "healthy",
            "errors": [],
            "instances": {
                "active": active, "assigned": active, "healthy": active, "failed": 0, "starting": 0,
                "scheduling": 0, "stopped": 0, "durable_objects_active": active,
            },
        },
    });
    if let Value::Object(fields) = &mut value {
        fields.extend(application.fields.clone());
    }
    value
}

fn list(api: &Api, request: &Request) -> Outcome {
    let all = api.disk.read(|state| state.applications.clone());
    let fits = |wanted: Option<&str>, found: Option<&str>| wanted.is_none_or(|wanted| found == Some(wanted));
    let name = |one: &Application| one.fields.get("name").and_then(Value::as_str).map(str::to_owned);
    let found = all.iter().filter(|(_, one)| {
        fits(request.query("name"), name(one).as_deref()) && fits(request.query("image"), image(&one.fields))
    });
    let found = found.map(|(id, one)| (id.clone(), told(api, id, one))).collect();
    let per_page = request.query_as("per_page")?.unwrap_or(usize::MAX).max(1);
    let (page, next) = cut_after(found, request.query("page_token"), per_page);
    Ok(Answer::new(json!(page)).info(page_info(per_page, next)))
}

fn page_info(per_page: usize, next: Option<String>) -> Value {
    let mut info = json!({});
    if per_page != usize::MAX {
        info["per_page"] = json!(per_page);
    }
    if let Some(next) = next {
        info["next_page_token"] = json!(next);
    }
    info
}

/// Refuses what could not run: no image, an instance type or a size that there is not.
fn check(fields: &Map<String, Value>) -> Result<(), Refusal> {
    const TYPES: &[&str] =
        &["lite", "dev", "basic", "standard", "standard-1", "standard-2", "standard-3", "standard-4"];
    let configuration = fields.get("configuration").ok_or_else(|| invalid("configuration is missing"))?;
    if image(fields).is_none_or(str::is_empty) {
        return Err(invalid("configuration.image is missing"));
    }
    match &configuration["instance_type"] {
        Value::Null => {}
        Value::String(kind) if TYPES.contains(&kind.as_str()) => {}
        other => {
            return Err(invalid(format!(
                "configuration.instance_type {other} is none of {}",
                TYPES.join(", ")
            )));
        }
    }
    if !matches!(
        text(fields, "scheduling_policy")?,
        "default" | "durable_object" | "moon" | "gpu" | "regional"
    ) {
        return Err(invalid("scheduling_policy is unknown"));
    }
    let max = fields.get("max_instances").unwrap_or(&Value::Null);
    if !max.is_null() && max.as_u64().is_none() {
        return Err(invalid("max_instances is not a number"));
    }
    Ok(())
}

/// Refuses more instances than the account may have.
fn check_instances(state: &State, most: u64) -> Result<(), Refusal> {
    let of = |one: &Application| one.fields.get("max_instances").and_then(Value::as_u64).unwrap_or(20);
    let sum: u64 = state.applications.values().map(of).sum();
    if sum > most { Err(Quota::Instances.refusal(most)) } else { Ok(()) }
}

fn create(api: &Api, request: &Request) -> Outcome {
    let mut fields = request.object()?;
    let name = text(&fields, "name")?.to_owned();
    check(&fields)?;
    fields.entry("instances").or_insert(json!(0));
    fields.entry("max_instances").or_insert(json!(20));
    let switches = api.switches();
    let now = timestamp();
    let made = Application {
        running_image: image(&fields).unwrap_or_default().to_owned(),
        fields,
        created: now.clone(),
        updated: now,
        version: 1,
        rollouts: Vec::new(),
    };
    let id = new_uuid();
    let script = api.disk.change(|state| {
        if state.applications.values().any(|other| other.fields.get("name") == Some(&json!(name))) {
            return Err(Refusal::new(400, 1608, "APPLICATION_NAME_ALREADY_EXISTS"));
        }
        if state.applications.len() >= switches.max_applications {
            return Err(Quota::Applications.refusal(switches.max_applications as u64));
        }
        let script = match namespace(&made.fields) {
            None => None,
            Some(namespace) => {
                let owner = |other: &Application| self::namespace(&other.fields) == Some(namespace);
                if state.applications.values().any(owner) {
                    return Err(Refusal::new(400, 1607, "DURABLE_OBJECT_ALREADY_HAS_APPLICATION"));
                }
                let known = state.objects.get(namespace);
                Some(known.ok_or_else(|| Refusal::new(400, 1606, "DURABLE_OBJECT_NOT_FOUND"))?.script.clone())
            }
        };
        state.applications.insert(id.clone(), made.clone());
        check_instances(state, switches.max_instances)?;
        Ok(script)
    })?;
    if let Some(script) = script {
        api.workers.reconcile(api, &script);
    }
    Ok(Answer::new(told(api, &id, &made)).status(201))
}

fn edit(api: &Api, request: &Request, id: &str) -> Outcome {
    let sent = request.object()?;
    let most = api.switches().max_instances;
    let known = api.disk.change(|state| {
        let application = find_mut(state, id)?;
        for (field, value) in sent {
            if field == "configuration" {
                // Only what is no part of a version takes effect at once; the rest is a rollout's.
                continue;
            }
            if EDITABLE.contains(&field.as_str()) {
                application.fields.insert(field, value);
            }
        }
        check(&application.fields)?;
        application.updated = timestamp();
        let known = application.clone();
        check_instances(state, most)?;
        Ok(known)
    })?;
    Answer::ok(told(api, id, &known))
}

fn script_of(state: &State, application: &Application) -> Option<String> {
    Some(state.objects.get(namespace(&application.fields)?)?.script.clone())
}

fn delete(api: &Api, id: &str, known: &Application) -> Outcome {
    let script = api.disk.change(|state| {
        state.applications.remove(id);
        Ok(script_of(state, known))
    })?;
    if let Some(script) = script {
        api.workers.reconcile(api, &script);
    }
    Answer::ok(json!({ "message": "deleted" }))
}

fn versions(application: &Application) -> Value {
    let configuration = application.fields.get("configuration").cloned().unwrap_or_default();
    let former = application.rollouts.iter().map(|rollout| {
        json!({
            "version": rollout["current_version"],
            "percentage": 0,
            "configuration": rollout["current_configuration"],
        })
    });
    let now = json!({ "version": application.version, "percentage": 100, "configuration": configuration });
    former.chain([now]).collect()
}

fn credentials(api: &Api, request: &Request, domain: &str) -> Outcome {
    // wrangler asks for the registry that it is told to push to.
    if domain != REGISTRY && domain != api.registry_host {
        return Err(not_found("IMAGE_REGISTRY_NOT_FOUND"));
    }
    let sent = request.object()?;
    let minutes = sent.get("expiration_minutes").and_then(Value::as_u64).unwrap_or(15);
    if !(1..=60 * 24 * 7).contains(&minutes) {
        return Err(invalid("expiration_minutes is 1 to 10080"));
    }
    let wanted = sent.get("permissions").and_then(Value::as_array).cloned().unwrap_or_default();
    let permission = |name: &Value| match name.as_str() {
        Some("pull" | "list") => Some(Permission::Pull),
        Some("push") => Some(Permission::Push),
        _ => None,
    };
    let permissions: Option<Vec<_>> = wanted.iter().map(permission).collect();
    let permissions = permissions.filter(|all| !all.is_empty());
    let permissions = permissions.ok_or_else(|| invalid("permissions are pull, push and list"))?;
    let seconds = api.switches().registry_seconds.unwrap_or(minutes * 60);
    let issued = api.registry.issue(&permissions, Duration::from_secs(seconds));
    Answer::ok(json!({
        "account_id": api.disk.read(|state| state.account_id.clone()),
        "registry_host": domain,
        "username": issued.username,
        "password": issued.password.expose_secret(),
    }))
}
