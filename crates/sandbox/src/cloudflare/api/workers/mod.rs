//! `/accounts/{a}/workers`: scripts with their versions, deployments, secrets and settings, and what belongs to them.
//!
//! A script that is uploaded is started before it is taken, so that one that does not start is refused as Cloudflare
//! refuses it, and what ran before goes on.

mod binding;
mod deployments;
mod migration;
mod scripts;
mod secrets;
mod settings;
mod surroundings;
mod upload;

use super::Api;
use super::answer::{Answer, Outcome, Refusal};
use super::request::Request;
use super::state::{Script, State, Version};
use http::Method;
use serde_json::{Value, json};

pub use binding::{Bound, Spec, spec};

/// The operations.
pub fn route(api: &Api, request: &Request, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::GET, ["scripts"]) => scripts::list(api),
        (_, ["scripts", name, rest @ ..]) => script(api, request, name, rest),
        _ => surroundings::route(api, request, rest),
    }
}

fn script(api: &Api, request: &Request, name: &str, rest: &[&str]) -> Outcome {
    match (&request.method, rest) {
        (&Method::PUT, []) => upload::script(api, request, name),
        (&Method::PUT, ["content"]) => upload::content(api, request, name),
        (&Method::POST, ["versions"]) => upload::version(api, request, name),
        (&Method::DELETE, []) => scripts::delete(api, request, name),
        (&Method::GET, [] | ["content"] | ["content", "v2"]) => scripts::content(api, name),
        (&Method::GET, ["versions"]) => deployments::versions(api, request, name),
        (&Method::GET, ["versions", id]) => deployments::version(api, name, id),
        (&Method::GET, ["deployments"]) => deployments::list(api, name),
        (&Method::POST, ["deployments"]) => deployments::create(api, request, name),
        (&Method::GET, ["deployments", id]) => deployments::get(api, name, id),
        (&Method::DELETE, ["deployments", id]) => deployments::delete(api, name, id),
        (_, ["secrets" | "secrets-bulk", ..]) => secrets::route(api, request, name, rest),
        _ => settings::route(api, request, name, rest),
    }
}

/// What Cloudflare says of a Worker that is not there.
fn no_script() -> Refusal {
    Refusal::new(404, 10007, "This Worker does not exist on your account.")
}

fn find<'state>(state: &'state State, name: &str) -> Result<&'state Script, Refusal> {
    state.scripts.get(name).ok_or_else(no_script)
}

fn find_mut<'state>(state: &'state mut State, name: &str) -> Result<&'state mut Script, Refusal> {
    state.scripts.get_mut(name).ok_or_else(no_script)
}

/// A version with everything that is said of it.
fn described(state: &State, name: &str, script: &Script, version: &Version) -> Value {
    let mut runtime = json!({
        "compatibility_date": version.compatibility_date,
        "compatibility_flags": version.compatibility_flags,
        "usage_model": "standard",
        "limits": version.others.get("limits").cloned().unwrap_or(json!({})),
    });
    if let Some(tag) = &script.migration_tag {
        runtime["migration_tag"] = json!(tag);
    }
    if !version.containers.is_empty() {
        runtime["containers"] = json!(version.containers);
    }
    let bindings: Vec<_> =
        version.bindings.iter().map(|binding| binding::described(state, name, binding)).collect();
    let mut value = summary(version);
    value["resources"] = json!({
        "bindings": bindings,
        "script": {
            "etag": version.etag,
            "handlers": upload::handlers(version),
            "last_deployed_from": version.source,
        },
        "script_runtime": runtime,
    });
    value
}

/// A version as lists have it.
fn summary(version: &Version) -> Value {
    json!({
        "id": version.id,
        "number": version.number,
        "metadata": {
            "created_on": version.created,
            "modified_on": version.created,
            "source": version.source,
            "author_email": super::user::EMAIL,
            "author_id": super::user::ID,
            "hasPreview": false,
            "has_preview": false,
        },
        "annotations": version.annotations,
    })
}

/// Which kind of client a request comes from, as Cloudflare names it.
fn source(request: &Request) -> String {
    let agent = request.header("user-agent").unwrap_or_default();
    let kinds = [("wrangler", "wrangler"), ("terraform", "terraform")];
    let found = kinds.iter().find(|(part, _)| agent.to_lowercase().contains(part));
    found.map_or("api", |(_, kind)| kind).to_owned()
}

fn empty() -> Outcome {
    Answer::ok(Value::Null)
}
