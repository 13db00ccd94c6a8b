//! Scripts as such: which there are, what they consist of, and their end.

use super::find;
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome, Refusal};
use crate::cloudflare::api::form::{Form, Part};
use crate::cloudflare::api::request::Request;
use crate::cloudflare::api::state::Script;
use serde_json::{Value, json};

/// A script as lists have it.
pub fn listed(name: &str, script: &Script) -> Value {
    let mut value = json!({
        "id": name,
        "tag": script.tag,
        "created_on": script.created,
        "modified_on": script.modified,
        "has_assets": false,
        "logpush": script.settings.get("logpush").cloned().unwrap_or(json!(false)),
        "usage_model": "standard",
    });
    if let Some(version) = script.current() {
        value["etag"] = json!(version.etag);
        value["handlers"] = json!(super::upload::handlers(version));
        value["has_modules"] = json!(version.is_modules);
        value["compatibility_date"] = json!(version.compatibility_date);
        value["compatibility_flags"] = json!(version.compatibility_flags);
        value["last_deployed_from"] = json!(version.source);
    }
    if let Some(tag) = &script.migration_tag {
        value["migration_tag"] = json!(tag);
    }
    value
}

/// `GET /workers/scripts`
pub fn list(api: &Api) -> Outcome {
    let all = api.disk.read(|state| state.scripts.clone());
    Answer::ok(all.iter().map(|(name, script)| listed(name, script)).collect())
}

/// `GET /workers/scripts/{name}/content/v2`: the modules, as a form.
pub fn content(api: &Api, name: &str) -> Outcome {
    let version = api.disk.read(|state| find(state, name).map(|script| script.current().cloned()))?;
    let version = version.ok_or_else(super::no_script)?;
    let mut form = Form::default();
    for module in &version.modules {
        form.parts.push(Part {
            name: module.name.clone(),
            file_name: Some(module.name.clone()),
            content_type: Some(module.content_type.clone()).filter(|kind| !kind.is_empty()),
            bytes: std::fs::read(api.disk.module(&module.hash))?.into(),
        });
    }
    let (bytes, content_type) = form.write();
    let main = http::HeaderName::from_static("cf-entrypoint");
    Ok(Answer::raw(bytes, content_type).header(main, version.main))
}

/// `DELETE /workers/scripts/{name}`: with its Durable Objects and what they stored, if that is forced or there are none.
pub fn delete(api: &Api, request: &Request, name: &str) -> Outcome {
    let forced = request.query("force") == Some("true");
    let removed = api.disk.change(|state| {
        find(state, name)?;
        let objects: Vec<_> = state.objects.iter().filter(|(_, one)| one.script == name).collect();
        let applications = state.applications.values().filter(|application| {
            let owner = application.fields.get("durable_objects").map(|objects| &objects["namespace_id"]);
            owner.is_some_and(|owner| objects.iter().any(|(id, _)| owner == id.as_str()))
        });
        if let Some(application) = applications.into_iter().next().filter(|_| !forced) {
            let text = format!(
                "Cannot delete this Worker as its Durable Objects are used by the container application {}. Use \
                 force=true to delete it all the same.",
                application.fields.get("name").unwrap_or(&Value::Null)
            );
            return Err(Refusal::new(400, 10_064, text));
        }
        let ids: Vec<_> = objects.into_iter().map(|(id, _)| id.clone()).collect();
        state.objects.retain(|id, _| !ids.contains(id));
        state.domains.retain(|_, domain| domain["service"] != name);
        for zone in state.zones.values_mut() {
            zone.routes.retain(|_, route| route["script"] != name);
        }
        state.scripts.remove(name);
        Ok(ids)
    })?;
    api.workers.reconcile(api, name);
    for id in removed {
        api.workers.forget_objects(&id);
    }
    super::empty()
}
