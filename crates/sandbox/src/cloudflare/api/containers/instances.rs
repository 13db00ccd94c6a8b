//! The instances of an application: the containers that the engine has of it.

use super::{namespace, page_info};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome};
use crate::cloudflare::api::request::{Request, cut_after};
use crate::cloudflare::api::state::{Application, timestamp};
use crate::cloudflare::engine::View;
use serde_json::{Value, json};

/// The containers of an application: those that the engine named by its namespace.
pub fn views(api: &Api, application: &Application) -> Vec<View> {
    let Some(namespace) = namespace(&application.fields) else {
        return Vec::new();
    };
    let begin = format!("workerd-{namespace}-");
    let all = api.containers().into_iter();
    all.filter(|view| view.name.starts_with(&begin) && !view.name.ends_with("-proxy")).collect()
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

/// The instances by id.
pub fn all_instances(api: &Api, id: &str, application: &Application) -> Vec<(String, Value)> {
    let mut all: Vec<_> =
        views(api, application).iter().map(|view| instance(id, application, view)).collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

/// `GET …/instances`, in the older form and the newer one.
pub fn instances(api: &Api, request: &Request, id: &str, known: &Application, older: bool) -> Outcome {
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
