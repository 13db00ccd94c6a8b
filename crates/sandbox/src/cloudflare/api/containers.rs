//! `/accounts/{a}/containers`: applications, their rollouts and instances, and credentials of the registry.
//!
//! A rollout is done when it is answered: the Worker's workerd is given the new image, and so its containers end and
//! come back with it as they are needed. As with Cloudflare, "completed" means that they were started, no more.

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::request::{Request, cut_after};
use super::state::{Application, RegistryCredential, State, hash, new_uuid, timestamp};
use super::switches::Quota;
use super::time;
use crate::cloudflare::engine::View;
use http::Method;
use serde_json::{Map, Value, json};

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

/// The containers of an application: those that the engine named by its namespace.
fn views(api: &Api, application: &Application) -> Vec<View> {
    let Some(namespace) = namespace(&application.fields) else {
        return Vec::new();
    };
    let begin = format!("workerd-{namespace}-");
    let all = api.containers().into_iter();
    all.filter(|view| view.name.starts_with(&begin) && !view.name.ends_with("-proxy")).collect()
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

fn instance(id: &str, application: &Application, view: &View) -> (String, Value) {
    let object = view.name.rsplit('-').next().unwrap_or_default();
    let mut status = json!({ "state": state_of(view), "updated_at": timestamp() });
    if let Some(code) = view.exit_code {
        status["exit_code"] = json!(code);
    }
    let kind = application.fields.get("configuration").map(|one| one["instance_type"].clone());
    let (vcpu, memory, disk) = size(kind.as_ref().and_then(Value::as_str).unwrap_or("lite"));
    let value = json!({
        "id": object,
        "application_id": id,
        "image": view.image,
        "name": object,
        "status": status,
        "configuration": { "vcpu": vcpu, "memory": memory, "disk": disk },
        "location": { "name": "local", "region": region(application) },
    });
    (object.to_owned(), value)
}

fn state_of(view: &View) -> &'static str {
    match (view.status, view.exit_code) {
        ("running", _) => "running",
        ("created", _) => "provisioning",
        (_, Some(0)) => "stopped",
        _ => "failed",
    }
}

fn region(application: &Application) -> String {
    let constraints = application.fields.get("constraints").cloned().unwrap_or_default();
    constraints["regions"][0].as_str().unwrap_or("WEUR").to_owned()
}

/// vCPUs, MiB of memory and MB of disk of an instance type.
fn size(kind: &str) -> (f64, u64, u64) {
    match kind {
        "basic" => (0.25, 1024, 4000),
        "standard" | "standard-1" => (0.5, 4096, 8000),
        "standard-2" => (1.0, 6144, 12_000),
        "standard-3" => (2.0, 8192, 16_000),
        "standard-4" => (4.0, 12_288, 20_000),
        _ => (0.0625, 256, 2000),
    }
}

fn all_instances(api: &Api, id: &str, application: &Application) -> Vec<(String, Value)> {
    let mut all: Vec<_> =
        views(api, application).iter().map(|view| instance(id, application, view)).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn instances(api: &Api, request: &Request, id: &str, known: &Application, older: bool) -> Outcome {
    let mut all = all_instances(api, id, known);
    if let Some(prefix) = request.query("name_prefix") {
        all.retain(|(name, _)| name.starts_with(prefix));
    }
    if let Some(wanted) = request.query("state") {
        let active =
            |value: &Value| matches!(value["status"]["state"].as_str(), Some("running" | "provisioning"));
        all.retain(|(_, value)| active(value) == (wanted == "active"));
    }
    let per_page = request.query_as("per_page")?.unwrap_or(50_usize).clamp(1, 1000);
    let (page, next) = cut_after(all, request.query("page_token"), per_page);
    let info = page_info(per_page, next);
    let result = if older { json!({ "instances": page, "durable_objects": [] }) } else { json!(page) };
    Ok(Answer::new(result).info(info))
}

/// The steps of a rollout: those that were sent, or of one size until all is done.
fn steps(sent: &Map<String, Value>) -> Result<Vec<u64>, Refusal> {
    let last = |percentages: &[u64]| percentages.last() == Some(&100);
    if let Some(steps) = sent.get("steps").and_then(Value::as_array) {
        let percentages: Vec<_> =
            steps.iter().filter_map(|step| step["step_size"]["percentage"].as_u64()).collect();
        let rising = percentages.windows(2).all(|pair| pair[0] < pair[1]);
        if percentages.len() != steps.len() || !rising || !last(&percentages) {
            return Err(invalid("the steps' percentages rise to 100"));
        }
        return Ok(percentages);
    }
    match sent.get("step_percentage").and_then(Value::as_u64).unwrap_or(100) {
        size @ (5 | 10 | 20 | 25 | 50 | 100) => Ok((1..=100 / size).map(|number| number * size).collect()),
        _ => Err(invalid("step_percentage is 5, 10, 20, 25, 50 or 100")),
    }
}

fn roll_out(api: &Api, request: &Request, id: &str) -> Outcome {
    let sent = request.object()?;
    let steps = steps(&sent)?;
    let strategy = text(&sent, "strategy")?.to_owned();
    let target = sent.get("target_configuration").and_then(Value::as_object).cloned();
    let target = target.ok_or_else(|| invalid("target_configuration is missing"))?;
    let stale = api.switches().stale_rollouts;
    let (rollout, script) = api.disk.change(|state| {
        let application = find_mut(state, id)?;
        let current = application.fields.get("configuration").cloned().unwrap_or_default();
        let mut next = current.clone();
        if let Value::Object(fields) = &mut next {
            fields.extend(target);
        }
        let now = timestamp();
        let done = steps.iter().enumerate().map(|(number, percentage)| {
            json!({
                "id": number + 1,
                "description": sent.get("description").cloned().unwrap_or_default(),
                "step_size": { "percentage": percentage },
                "status": "completed",
                "started_at": now,
                "completed_at": now,
            })
        });
        let rollout = json!({
            "id": new_uuid(),
            "created_at": now,
            "started_at": now,
            "last_updated_at": now,
            "description": sent.get("description").cloned().unwrap_or(json!("")),
            "kind": sent.get("kind").cloned().unwrap_or(json!("full_auto")),
            "strategy": strategy,
            "status": "completed",
            "current_version": application.version,
            "target_version": application.version + 1,
            "current_configuration": current,
            "target_configuration": next,
            "health": { "errors": [], "instances": { "active": 0, "assigned": 0 }, "summary": "healthy" },
            "steps": done.collect::<Vec<_>>(),
            "progress": {
                "current_step": steps.len(), "total_steps": steps.len(),
                "total_instances": 0, "updated_instances": 0,
            },
            "version_distribution": { "current_version_percentage": 0, "target_version_percentage": 100 },
        });
        application.fields.insert("configuration".into(), next);
        check(&application.fields)?;
        application.version += 1;
        application.updated = now;
        if !stale {
            application.running_image = image(&application.fields).unwrap_or_default().to_owned();
        }
        application.rollouts.push(rollout.clone());
        let known = application.clone();
        Ok((rollout, script_of(state, &known)))
    })?;
    if let Some(script) = script {
        api.workers.reconcile(api, &script);
    }
    Answer::ok(rollout)
}

/// A rollout is done when it is answered, so all that can be wanted of it is to go back.
fn act(api: &Api, request: &Request, id: &str, rollout: &str) -> Outcome {
    let action = request.object()?.remove("action").unwrap_or_default();
    if action != "revert" {
        return Err(invalid("the rollout is completed: the one action that there is is \"revert\""));
    }
    let (told, script) = api.disk.change(|state| {
        let application = find_mut(state, id)?;
        let at = application.rollouts.iter().position(|one| one["id"] == rollout);
        let at = at.ok_or_else(|| not_found("ROLLOUT_NOT_FOUND"))?;
        if at + 1 != application.rollouts.len() {
            return Err(invalid("only the last rollout can be reverted"));
        }
        let now = timestamp();
        let Some(last) = application.rollouts.last_mut() else {
            return Err(not_found("ROLLOUT_NOT_FOUND"));
        };
        last["status"] = json!("reverted");
        last["last_updated_at"] = json!(now);
        let (told, configuration) = (last.clone(), last["current_configuration"].clone());
        application.fields.insert("configuration".into(), configuration);
        application.version += 1;
        application.updated = now;
        application.running_image = image(&application.fields).unwrap_or_default().to_owned();
        let known = application.clone();
        Ok((told, script_of(state, &known)))
    })?;
    if let Some(script) = script {
        api.workers.reconcile(api, &script);
    }
    Answer::ok(told)
}

fn credentials(api: &Api, request: &Request, domain: &str) -> Outcome {
    if domain != REGISTRY {
        return Err(not_found("IMAGE_REGISTRY_NOT_FOUND"));
    }
    let sent = request.object()?;
    let minutes = sent.get("expiration_minutes").and_then(Value::as_u64).unwrap_or(15);
    if !(1..=60 * 24 * 7).contains(&minutes) {
        return Err(invalid("expiration_minutes is 1 to 10080"));
    }
    let wanted = sent.get("permissions").and_then(Value::as_array).cloned().unwrap_or_default();
    let permissions: Vec<_> = wanted.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if permissions.is_empty()
        || permissions.iter().any(|one| !matches!(one.as_str(), "pull" | "push" | "list"))
    {
        return Err(invalid("permissions are pull, push and list"));
    }
    let lasts = std::time::Duration::from_secs(minutes * 60);
    let (username, password) = match &api.registry {
        Some(registry) => (registry.issue)(&permissions, lasts),
        None => ("v1".to_owned(), hex::encode(rand::random::<[u8; 32]>()).into()),
    };
    let password = secrecy::ExposeSecret::expose_secret(&password);
    let now = time::now();
    let expires = now.saturating_add(minutes * 60_000);
    api.disk.change(|state| {
        state.registry.retain(|_, known| known.expires > now);
        state.registry.insert(hash(password.as_bytes()), RegistryCredential { expires, permissions });
        Answer::ok(json!({
            "account_id": state.account_id,
            "registry_host": domain,
            "username": username,
            "password": password,
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &Value) -> Result<Vec<u64>, u32> {
        steps(value.as_object().unwrap()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn steps_of_a_rollout() {
        let step = |percentage: u64| json!({ "step_size": { "percentage": percentage } });
        assert_eq!(of(&json!({ "steps": [step(10), step(100)] })), Ok(vec![10, 100]));
        assert_eq!(of(&json!({ "step_percentage": 25 })), Ok(vec![25, 50, 75, 100]));
        assert_eq!(of(&json!({})), Ok(vec![100]));
        assert_eq!(of(&json!({ "steps": [step(100), step(10)] })), Err(1000));
        assert_eq!(of(&json!({ "steps": [step(10)] })), Err(1000));
        assert_eq!(of(&json!({ "step_percentage": 7 })), Err(1000));
    }
}
