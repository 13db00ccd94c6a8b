//! What differs between what is wanted and what was found. Pure.

use super::super::edge;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use windlass_engine::{Difference, FieldChange, Found, How, Resource, Risk};

/// A value for a person, not too long for a line.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn change(field: &str, from: &Value, to: &Value) -> Option<FieldChange> {
    let (was, is) = (shown(from), shown(to));
    // What is cut looks alike.
    let is = if was == is { format!("{is} (another)") } else { is };
    (from != to).then(|| FieldChange::new(field, was, is))
}

pub(super) fn bucket(wanted: &Resource, found: &Found) -> Option<Difference> {
    let (is, to_be) = (&found.body["delete_after_seconds"], &wanted.body["delete_after_seconds"]);
    let field = change("delete_after_seconds", is, to_be)?;
    Some(Difference { how: How::InPlace, fields: vec![field], risk: Risk::None, why: None })
}

/// Whether a Worker is this fleet's: it says so, or has the classes that no other has.
fn is_ours(fleet: &str, body: &Value) -> bool {
    let settings = binding(&body["bindings"], "SETTINGS");
    let classes: Vec<&str> =
        body["classes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match settings.and_then(|settings| settings["json"]["fleet"].as_str()) {
        Some(named) => named == fleet,
        None => edge::CLASSES.iter().all(|(_, class)| classes.contains(class)),
    }
}

fn binding<'v>(bindings: &'v Value, name: &str) -> Option<&'v Value> {
    bindings.as_array().into_iter().flatten().find(|binding| binding["name"] == name)
}

pub(super) fn worker(fleet: &str, found: &Found) -> Result<Option<Difference>, String> {
    let (body, would_be) = (&found.body, &found.body["would_be"]);
    if !is_ours(fleet, body) {
        return Err("a Worker of that name is there, and it is not this fleet's: rename the fleet, or delete that Worker".to_owned());
    }
    if let Some(tag) = body["migration"].as_str().filter(|tag| *tag != edge::MIGRATION) {
        return Err(format!(
            "the classes of its Durable Objects are at {tag:?}, and this version of Windlass knows {:?}: use the one that made it",
            edge::MIGRATION
        ));
    }
    if let Some(reason) = would_be["unknown"].as_str() {
        let fields = vec![FieldChange::new("SETTINGS", "as it is", "known when that is made")];
        let why = Some(reason.to_owned());
        return Ok(Some(Difference { how: How::InPlace, fields, risk: Risk::Interrupts, why }));
    }
    let mut fields = Vec::new();
    for key in ["module", "compatibility_date", "compatibility_flags"] {
        fields.extend(change(key, &body[key], &would_be[key]));
    }
    let names = |bindings: &Value| -> BTreeSet<String> {
        let all = bindings.as_array().into_iter().flatten();
        all.filter_map(|binding| binding["name"].as_str().map(str::to_owned)).collect()
    };
    let all: BTreeSet<String> =
        names(&body["bindings"]).union(&names(&would_be["bindings"])).cloned().collect();
    for name in all {
        match (binding(&body["bindings"], &name), binding(&would_be["bindings"], &name)) {
            (Some(is), Some(to_be)) if name == "SETTINGS" => {
                fields.extend(settings(&is["json"], &to_be["json"]));
            }
            (Some(is), Some(to_be)) => {
                let keys = to_be.as_object().into_iter().flatten();
                fields.extend(
                    keys.filter_map(|(key, value)| change(&format!("{name}.{key}"), &is[key], value)),
                );
            }
            (Some(_), None) => fields.push(FieldChange::new(&name, "bound", "none")),
            (None, _) => fields.push(FieldChange::new(&name, "none", "bound")),
        }
    }
    for (_, class) in edge::CLASSES {
        if !body["classes"].as_array().is_some_and(|classes| classes.iter().any(|one| one == class)) {
            fields.push(FieldChange::new(&format!("class {class}"), "none", "made"));
        }
    }
    if body["answers"] != json!(true) {
        fields.push(FieldChange::new("workers.dev", "off", "on"));
    }
    // Its objects start again, and connections that go through them with them.
    let risk =
        if fields.iter().all(|field| field.field == "workers.dev") { Risk::None } else { Risk::Interrupts };
    Ok((!fields.is_empty()).then_some(Difference { how: How::InPlace, fields, risk, why: None }))
}

/// The settings that differ, key by key; tokens by themselves say nothing to a person.
fn settings(is: &Value, to_be: &Value) -> Vec<FieldChange> {
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let mut fields = Vec::new();
    for key in keys(is).union(&keys(to_be)) {
        let (from, to) = (&is[key], &to_be[key]);
        if from.is_object() && to.is_object() {
            for inner in keys(from).union(&keys(to)) {
                fields.extend(change(&format!("SETTINGS.{key}.{inner}"), &from[inner], &to[inner]));
            }
        } else {
            fields.extend(change(&format!("SETTINGS.{key}"), from, to));
        }
    }
    fields
}

pub(super) fn secret(found: &Found) -> Option<Difference> {
    let (was, is) = (&found.body["was"], &found.body["is"]);
    let why = match (was.as_str(), is.as_str()) {
        (Some(was), Some(is)) if was == is => return None,
        (_, None) => "its value is made anew",
        (None, Some(_)) => "nobody here knows what it was set to, and Cloudflare does not show it",
        (Some(_), Some(_)) => "its value has changed",
    };
    let fields = vec![FieldChange::new("value", "another", "as here")];
    Some(Difference { how: How::InPlace, fields, risk: Risk::Interrupts, why: Some(why.to_owned()) })
}

pub(super) fn container(found: &Found) -> Result<Option<Difference>, String> {
    let (is, to_be) = (&found.body["application"], &found.body["would_be"]);
    let (namespace, wanted) =
        (&is["durable_objects"]["namespace_id"], &to_be["durable_objects"]["namespace_id"]);
    let owner = found.body["owner"].as_str();
    if let Some(owner) = owner.filter(|owner| Some(*owner) != found.body["script"].as_str()) {
        return Err(format!(
            "a container application of that name belongs to the Worker {owner}: rename the cluster"
        ));
    }
    let mut fields = Vec::new();
    let mut restarts = false;
    for key in ["image", "instance_type"] {
        let (from, to) = (&is["configuration"][key], &to_be["configuration"][key]);
        // An application may not say its size in the words in which it was wanted.
        let field = change(key, from, to).filter(|_| !from.is_null());
        restarts |= field.is_some();
        fields.extend(field);
    }
    fields.extend(change("max_instances", &is["max_instances"], &to_be["max_instances"]));
    fields.extend(change(
        "regions",
        &sorted(&is["constraints"]["regions"]),
        &sorted(&to_be["constraints"]["regions"]),
    ));
    let grace = "rollout_active_grace_period";
    fields.extend(change(grace, &is[grace], &to_be[grace]));
    if namespace != wanted && wanted.as_str().is_some_and(|wanted| !wanted.is_empty()) {
        fields.extend(change("durable_objects", namespace, wanted));
        let why = "its Durable Objects are gone: the Worker was made anew".to_owned();
        return Ok(Some(Difference { how: How::Replace, fields, risk: Risk::Interrupts, why: Some(why) }));
    }
    let risk = if restarts { Risk::Interrupts } else { Risk::None };
    Ok((!fields.is_empty()).then_some(Difference { how: How::InPlace, fields, risk, why: None }))
}

/// In an order of its own: where something may run is a set.
fn sorted(regions: &Value) -> Value {
    let all = regions.as_array().into_iter().flatten().filter_map(Value::as_str);
    json!(all.map(str::to_ascii_uppercase).collect::<BTreeSet<String>>())
}

pub(super) fn cluster(found: &Found) -> Option<Difference> {
    let wrong: Vec<&str> =
        found.body["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let why = match (&found.trouble, wrong.is_empty()) {
        (Some(trouble), _) => trouble.clone(),
        (None, false) => wrong.join("; "),
        (None, true) => return None,
    };
    let restarts = found.body["restarts"] == true;
    let (how, risk) = if restarts { (How::Restart, Risk::Interrupts) } else { (How::InPlace, Risk::None) };
    Some(Difference { how, fields: Vec::new(), risk, why: Some(why) })
}

pub(super) fn receiver(found: &Found) -> Option<Difference> {
    let why = found.body["wrong"].as_str()?.to_owned();
    Some(Difference { how: How::InPlace, fields: Vec::new(), risk: Risk::None, why: Some(why) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_engine::{Address, Data, Kind};

    fn found(kind: Kind, body: Value) -> Found {
        Found { address: Address::new(kind, "x"), body, data: Data::default(), trouble: None, unseen: false }
    }

    fn worker_body() -> Value {
        let bindings = json!([
            { "type": "durable_object_namespace", "name": "NODE", "class_name": "NatsNode" },
            { "type": "json", "name": "SETTINGS", "json": { "fleet": "acme", "regions": { "weur": 1 } } },
        ]);
        json!({
            "module": "m", "bindings": bindings, "compatibility_date": "d", "compatibility_flags": [],
            "migration": "v1", "classes": ["NatsNode", "Fleet", "Outbox"], "answers": true,
            "would_be": { "module": "m", "bindings": bindings, "compatibility_date": "d", "compatibility_flags": [] },
        })
    }

    fn fields(difference: &Difference) -> Vec<&str> {
        difference.fields.iter().map(|field| field.field.as_str()).collect()
    }

    #[test]
    fn each_difference_of_a_worker_is_named() {
        let worker = |body: Value| worker("acme", &found(Kind::Worker, body));
        assert_eq!(worker(worker_body()), Ok(None));
        let mut body = worker_body();
        // Cloudflare adds what it knows; that is no difference.
        body["bindings"][0]["namespace_id"] = "id".into();
        assert_eq!(worker(body.clone()), Ok(None));
        body["module"] = "edited".into();
        body["bindings"][1]["json"]["regions"]["weur"] = 2.into();
        let more = json!({ "type": "plain_text", "name": "DEBUG", "text": "1" });
        body["bindings"].as_array_mut().unwrap().push(more);
        body["classes"] = json!(["NatsNode", "Fleet"]);
        body["answers"] = false.into();
        let difference = worker(body).unwrap().unwrap();
        let expected = ["module", "DEBUG", "SETTINGS.regions.weur", "class Outbox", "workers.dev"];
        assert_eq!(fields(&difference), expected);
        assert_eq!(difference.risk, Risk::Interrupts);
    }

    #[test]
    fn a_strangers_worker_is_left_alone() {
        let mut body = worker_body();
        body["bindings"][1]["json"]["fleet"] = "other".into();
        assert!(worker("acme", &found(Kind::Worker, body.clone())).unwrap_err().contains("not this fleet's"));
        body["bindings"] = json!([]);
        assert!(worker("acme", &found(Kind::Worker, body.clone())).is_ok(), "its classes are ours");
        body["classes"] = json!([]);
        assert!(worker("acme", &found(Kind::Worker, body)).is_err());
    }

    #[test]
    fn a_secret_is_as_it_was_set() {
        let secret = |was: Value, is: Value| secret(&found(Kind::Secret, json!({ "was": was, "is": is })));
        assert_eq!(secret("a".into(), "a".into()), None);
        for (was, is, why) in [
            (json!("a"), json!("b"), "has changed"),
            (Value::Null, json!("b"), "does not show it"),
            (json!("a"), Value::Null, "made anew"),
        ] {
            assert!(secret(was, is).unwrap().why.unwrap().contains(why));
        }
    }

    fn container_body() -> Value {
        let application = json!({
            "name": "x", "configuration": { "image": "i:1", "instance_type": "basic" }, "max_instances": 4,
            "constraints": { "regions": ["WEUR", "ENAM"] }, "durable_objects": { "namespace_id": "n" },
            "rollout_active_grace_period": 60,
        });
        json!({ "application": application, "owner": "s", "script": "s", "would_be": application })
    }

    #[test]
    fn a_container_is_rolled_out_or_made_anew() {
        let container = |body: &Value| container(&found(Kind::Container, body.clone()));
        let mut body = container_body();
        body["application"]["constraints"]["regions"] = json!(["ENAM", "WEUR"]);
        assert_eq!(container(&body), Ok(None));
        body["would_be"]["max_instances"] = 8.into();
        let difference = container(&body).unwrap().unwrap();
        assert_eq!(
            (difference.how, difference.risk, fields(&difference)),
            (How::InPlace, Risk::None, vec!["max_instances"])
        );
        body["would_be"]["configuration"]["image"] = "i:2".into();
        assert_eq!(container(&body).unwrap().unwrap().risk, Risk::Interrupts);
        body["owner"] = Value::Null;
        body["application"]["durable_objects"]["namespace_id"] = "gone".into();
        assert_eq!(container(&body).unwrap().unwrap().how, How::Replace);
        body["owner"] = "another".into();
        assert!(container(&body).unwrap_err().contains("belongs to the Worker another"));
    }
}
