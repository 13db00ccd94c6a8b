//! What is around scripts: services, the newer `workers/workers`, the subdomain, domains, Durable Object namespaces.

use super::{find, no_script, scripts};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome, Refusal};
use crate::cloudflare::api::request::Request;
use crate::cloudflare::api::state::{Script, State, new_id};
use http::Method;
use serde_json::{Value, json};

/// The operations.
pub fn route(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, ["scripts-search"]) => {
            let wanted = request.query("name").unwrap_or_default();
            let all = api.disk.read(|state| state.scripts.clone());
            let found = all.iter().filter(|(name, _)| name.contains(wanted));
            Answer::ok(found.map(|(name, script)| search_result(name, script)).collect())
        }
        (&Method::GET, ["services", name]) => api.disk.read(|state| service(state, name)),
        (&Method::DELETE, ["services", name]) => scripts::delete(api, request, name),
        (&Method::GET, ["services", name, "environments", _]) => api
            .disk
            .read(|state| Answer::ok(environment(name, state.scripts.get(*name).ok_or_else(no_service)?))),
        (&Method::GET, ["workers"]) => {
            let all = api.disk.read(|state| state.scripts.clone());
            let all = all.iter().map(|(name, script)| worker(name, script)).collect();
            let (page, info) = request.page(10, 100)?.cut(all);
            Ok(Answer::new(json!(page)).info(info))
        }
        (method, ["workers", name]) => one_worker(api, method, request, name),
        (&Method::GET, ["subdomain"]) => {
            let known = api.disk.read(|state| state.subdomain.clone());
            let text = "You do not have a workers.dev subdomain yet.";
            Answer::ok(json!({ "subdomain": known.ok_or_else(|| Refusal::new(404, 10_007, text))? }))
        }
        (&Method::PUT, ["subdomain"]) => set_subdomain(api, request),
        (&Method::DELETE, ["subdomain"]) => {
            api.disk.change(|state| {
                state.subdomain = None;
                Ok(())
            })?;
            super::empty()
        }
        (_, ["domains", ..]) => domains(api, request, rest.get(1..).unwrap_or_default()),
        (&Method::GET, ["durable_objects", "namespaces"]) => namespaces(api, request),
        (&Method::GET, ["durable_objects", "namespaces", id, "objects"]) => objects(api, request, id),
        (&Method::GET, ["account-settings"]) => {
            Answer::ok(json!({ "default_usage_model": "standard", "green_compute": false }))
        }
        _ => Err(Refusal::no_route(&request.path)),
    }
}

/// What Cloudflare says of a service that is not there.
fn no_service() -> Refusal {
    Refusal::new(404, 10_090, "This Worker does not exist on your account.")
}

fn search_result(name: &str, script: &Script) -> Value {
    json!({
        "id": script.tag,
        "script_name": name,
        "service_name": name,
        "environment_name": "production",
        "environment_is_default": true,
        "created_on": script.created,
        "modified_on": script.modified,
        "etag": script.current().map(|version| version.etag.clone()),
    })
}

fn environment(name: &str, script: &Script) -> Value {
    json!({
        "environment": "production",
        "created_on": script.created,
        "modified_on": script.modified,
        "script": scripts::listed(name, script),
    })
}

fn service(state: &State, name: &str) -> Outcome {
    let script = state.scripts.get(name).ok_or_else(no_service)?;
    let environment = environment(name, script);
    Answer::ok(json!({
        "id": name,
        "created_on": script.created,
        "modified_on": script.modified,
        "default_environment": environment,
        "environments": [environment],
    }))
}

fn worker(name: &str, script: &Script) -> Value {
    json!({
        "id": script.tag,
        "name": name,
        "created_on": script.created,
        "updated_on": script.modified,
        "deployed_on": script.deployment().map(|deployment| deployment.created.clone()),
        "logpush": script.settings.get("logpush").cloned().unwrap_or(json!(false)),
        "observability": script.settings.get("observability").cloned().unwrap_or(json!({ "enabled": false })),
        "tags": script.settings.get("tags").cloned().unwrap_or(json!([])),
        "tail_consumers": script.settings.get("tail_consumers").filter(|one| one.is_array()).cloned().unwrap_or(json!([])),
        "subdomain": { "enabled": script.workers_dev, "previews_enabled": script.previews },
        "references": {
            "dispatch_namespace_outbounds": [], "domains": [], "durable_objects": [], "queues": [], "workers": [],
        },
    })
}

/// A Worker by name or by id.
fn one_worker(api: &Api, method: &Method, request: &Request, wanted: &str) -> Outcome {
    let name = api.disk.read(|state| {
        let mut all = state.scripts.iter();
        let found = all.find(|(name, script)| *name == wanted || script.tag == wanted);
        found.map(|(name, _)| name.clone()).ok_or_else(no_script)
    })?;
    match *method {
        Method::GET => api.disk.read(|state| Answer::ok(worker(&name, find(state, &name)?))),
        Method::PATCH | Method::PUT => {
            let sent: Value = request.json()?;
            api.disk.change(|state| {
                let script = super::find_mut(state, &name)?;
                let subdomain = &sent["subdomain"];
                script.workers_dev = subdomain["enabled"].as_bool().unwrap_or(script.workers_dev);
                script.previews = subdomain["previews_enabled"].as_bool().unwrap_or(script.previews);
                for field in ["logpush", "observability", "tags", "tail_consumers"] {
                    if !sent[field].is_null() {
                        script.settings.insert(field.to_owned(), sent[field].clone());
                    }
                }
                Answer::ok(worker(&name, script))
            })
        }
        Method::DELETE => scripts::delete(api, request, &name),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn set_subdomain(api: &Api, request: &Request) -> Outcome {
    let sent: Value = request.json()?;
    let wanted = sent["subdomain"].as_str().unwrap_or_default();
    let legible = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if wanted.is_empty() || wanted.len() > 63 || !wanted.bytes().all(legible) {
        return Err(Refusal::new(
            400,
            10_032,
            "The subdomain has 1 to 63 lowercase letters, digits and hyphens.",
        ));
    }
    api.disk.change(|state| {
        if state.subdomain.as_deref().is_some_and(|known| known != wanted) {
            return Err(Refusal::new(409, 10_036, "Account already has an associated subdomain."));
        }
        state.subdomain = Some(wanted.to_owned());
        Answer::ok(json!({ "subdomain": wanted }))
    })
}

/// Gives a domain to a Worker. One that another has is refused, unless it may be taken.
pub fn take_domain(state: &mut State, service: &str, sent: &Value) -> Result<Value, Refusal> {
    let hostname = sent["hostname"].as_str().filter(|name| name.contains('.'));
    let hostname = hostname.ok_or_else(|| Refusal::malformed("hostname is missing"))?;
    let known = state.domains.iter().find(|(_, domain)| domain["hostname"] == hostname);
    if known
        .is_some_and(|(_, domain)| domain["service"] != service && sent["override_existing_origin"] != true)
    {
        let text = format!("Hostname '{hostname}' already has an externally managed origin.");
        return Err(Refusal::new(409, 100_117, text));
    }
    let id = known.map_or_else(new_id, |(id, _)| id.clone());
    let fits = |name: &str| hostname == name || hostname.ends_with(&format!(".{name}"));
    let zone = state.zones.iter().find(|(_, zone)| fits(&zone.name));
    let (zone_id, zone_name) = match zone {
        Some((id, zone)) => (id.clone(), zone.name.clone()),
        None => {
            let text = format!(
                "Could not find zone for `{hostname}`. Make sure the domain is set up to be proxied by Cloudflare."
            );
            return Err(Refusal::new(400, 100_114, text));
        }
    };
    let domain = json!({
        "id": id,
        "hostname": hostname,
        "service": service,
        "environment": "production",
        "zone_id": zone_id,
        "zone_name": zone_name,
        "cert_id": id,
        "enabled": true,
        "previews_enabled": false,
    });
    state.domains.insert(id, domain.clone());
    Ok(domain)
}

fn domains(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, []) => {
            let all = api.disk.read(|state| state.domains.clone());
            let wanted =
                |field: &str, domain: &Value| request.query(field).is_none_or(|value| domain[field] == value);
            let fields = ["hostname", "service", "environment", "zone_id", "zone_name"];
            let found = all.into_values().filter(|domain| fields.iter().all(|field| wanted(field, domain)));
            Answer::ok(found.collect())
        }
        (&Method::PUT, []) => {
            let sent: Value = request.json()?;
            let service = sent["service"].as_str().ok_or_else(|| Refusal::malformed("service is missing"))?;
            api.disk.change(|state| {
                find(state, service)?;
                Answer::ok(take_domain(state, service, &sent)?)
            })
        }
        (&Method::GET, [id]) => {
            let found = api.disk.read(|state| state.domains.get(*id).cloned());
            Answer::ok(found.ok_or_else(|| Refusal::new(404, 100_100, "Domain not found"))?)
        }
        (&Method::DELETE, [id]) => api.disk.change(|state| {
            state.domains.remove(*id).ok_or_else(|| Refusal::new(404, 100_100, "Domain not found"))?;
            Answer::ok(Value::Null)
        }),
        _ => Err(Refusal::no_route(&request.path)),
    }
}

fn namespaces(api: &Api, request: &Request) -> Outcome {
    let all = api.disk.read(|state| state.objects.clone());
    let all = all.iter().map(|(id, one)| {
        json!({
            "id": id,
            "name": format!("{}_{}", one.script, one.class),
            "script": one.script,
            "class": one.class,
            "use_sqlite": one.sqlite,
        })
    });
    let (page, info) = request.page(20, 1000)?.cut(all.collect());
    Ok(Answer::new(json!(page)).info(info))
}

/// The objects of a namespace that have stored something.
fn objects(api: &Api, request: &Request, id: &str) -> Outcome {
    if !api.disk.read(|state| state.objects.contains_key(id)) {
        return Err(Refusal::new(404, 10_066, "Durable Object namespace not found."));
    }
    let limit = request.query_as("limit")?.unwrap_or(1000_usize).clamp(1, 10_000);
    let all = api.workers.objects(id)?;
    let all = all.into_iter().map(|object| (object.clone(), json!({ "id": object, "hasStoredData": true })));
    let (page, next) = super::super::request::cut_after(all.collect(), request.query("cursor"), limit);
    let info = json!({ "count": page.len(), "cursor": next.unwrap_or_default() });
    Ok(Answer::new(json!(page)).info(info))
}
