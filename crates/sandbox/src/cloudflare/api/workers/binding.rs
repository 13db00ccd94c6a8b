//! Bindings: what a client sends, what is told of them, and what they mean to workerd. Pure.

use crate::cloudflare::api::answer::Refusal;
use crate::cloudflare::api::state::{Module, State, Version};
use serde_json::{Value, json};

/// A Worker as it is to run.
#[derive(Clone, PartialEq, Eq)]
pub struct Spec {
    /// The Worker's name.
    pub script: String,
    /// The version's id.
    pub version: String,
    /// The module that begins, or the whole script.
    pub main: String,
    /// Whether it consists of ES modules.
    pub is_modules: bool,
    /// Its modules.
    pub modules: Vec<Module>,
    /// The date whose behaviour it wants.
    pub compatibility_date: Option<String>,
    /// What it wants beyond that.
    pub compatibility_flags: Vec<String>,
    /// What it is given.
    pub bindings: Vec<(String, Bound)>,
    /// Its classes of Durable Objects.
    pub classes: Vec<Class>,
}

/// What a binding gives to a Worker.
#[derive(Clone, PartialEq, Eq)]
pub enum Bound {
    /// A string.
    Text(String),
    /// A string that is told to nobody else.
    Secret(String),
    /// A value.
    Json(String),
    /// A KV namespace, by id.
    Kv(String),
    /// An R2 bucket, by jurisdiction and name.
    R2 {
        /// `default`, `eu`, …
        jurisdiction: String,
        /// The bucket.
        bucket: String,
    },
    /// A class of Durable Objects of this Worker.
    Objects(String),
    /// Another Worker, or this one, over HTTP.
    Service(String),
    /// Which version it is.
    VersionMetadata {
        /// The version's id.
        id: String,
        /// The tag that it was given.
        tag: String,
        /// When it was made.
        timestamp: String,
    },
}

/// A class of Durable Objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The class.
    pub name: String,
    /// The namespace's id, which is also what its storage and its containers are named by.
    pub namespace: String,
    /// Whether its storage is SQLite.
    pub sqlite: bool,
    /// The image of its containers, if it has any.
    pub image: Option<String>,
}

fn text<'binding>(binding: &'binding Value, name: &str) -> Result<&'binding str, Refusal> {
    let found = binding[name].as_str();
    found.ok_or_else(|| Refusal::new(400, 10021, format!("binding {}: {name} is missing", binding["name"])))
}

/// The namespace of a class of a Worker.
pub fn namespace_of<'state>(state: &'state State, script: &str, class: &str) -> Option<&'state str> {
    let mut all = state.objects.iter();
    let found = all.find(|(_, namespace)| namespace.script == script && namespace.class == class);
    found.map(|(id, _)| id.as_str())
}

/// Refuses a binding to something that is not there, and one that cannot be given here.
pub fn check(
    state: &State,
    bucket_exists: &dyn Fn(&str, &str) -> bool,
    script: &str,
    binding: &Value,
) -> Result<(), Refusal> {
    let name = text(binding, "name")?;
    match text(binding, "type")? {
        "kv_namespace" => {
            let id = text(binding, "namespace_id")?;
            if !state.kv.contains_key(id) {
                return Err(Refusal::new(400, 10041, format!("KV namespace '{id}' not found.")));
            }
        }
        "r2_bucket" => {
            let bucket = text(binding, "bucket_name")?;
            if !bucket_exists(jurisdiction(binding), bucket) {
                let text =
                    format!("R2 bucket '{bucket}' not found. Please use a different name and try again.");
                return Err(Refusal::new(400, 10085, text));
            }
        }
        "durable_object_namespace" => {
            let class = text(binding, "class_name")?;
            let owner = binding["script_name"].as_str().unwrap_or(script);
            if namespace_of(state, owner, class).is_none() {
                let text = format!(
                    "Cannot create binding for class '{class}' in script '{owner}' because it is not currently \
                     configured to implement Durable Objects. Please add a migration."
                );
                return Err(Refusal::new(400, 10061, text));
            }
            if owner != script {
                return Err(not_emulated(name, "a Durable Object of another Worker"));
            }
        }
        "plain_text" | "secret_text" => drop(text(binding, "text")?),
        "json" if !binding["json"].is_null() => {}
        "version_metadata" => {}
        "service" => {
            let service = text(binding, "service")?;
            if service != script && !state.scripts.contains_key(service) {
                let text =
                    format!("Worker \"{name}\" refers to the service '{service}', which was not found.");
                return Err(Refusal::new(400, 10143, text));
            }
        }
        other => return Err(not_emulated(name, other)),
    }
    Ok(())
}

fn not_emulated(name: &str, what: &str) -> Refusal {
    Refusal::new(501, 10021, format!("binding {name}: this stand-in does not have {what}"))
}

fn jurisdiction(binding: &Value) -> &str {
    binding["jurisdiction"].as_str().unwrap_or("default")
}

/// A binding as clients see it: without what is secret, with what Cloudflare adds.
pub fn described(state: &State, script: &str, binding: &Value) -> Value {
    let mut value = binding.clone();
    match binding["type"].as_str() {
        Some("secret_text") => value = json!({ "name": binding["name"], "type": "secret_text" }),
        Some("durable_object_namespace") => {
            let owner = binding["script_name"].as_str().unwrap_or(script);
            let class = binding["class_name"].as_str().unwrap_or_default();
            if let Some(id) = namespace_of(state, owner, class) {
                value["namespace_id"] = json!(id);
            }
        }
        _ => {}
    }
    value
}

/// The bindings of a new version: those that were sent, those that are to be inherited, and those whose kind is to be
/// kept.
pub fn merged(
    sent: &[Value],
    former: Option<&Version>,
    keep: &[String],
    strict: bool,
) -> Result<Vec<Value>, Refusal> {
    let former = former.map(|version| version.bindings.as_slice()).unwrap_or_default();
    let named = |name: &Value| former.iter().find(|binding| binding["name"] == *name);
    let mut bindings = Vec::with_capacity(sent.len());
    for binding in sent {
        if binding["type"] != "inherit" {
            bindings.push(binding.clone());
            continue;
        }
        let old = if binding["old_name"].is_null() { &binding["name"] } else { &binding["old_name"] };
        match named(old) {
            Some(found) => {
                let mut found = found.clone();
                found["name"] = binding["name"].clone();
                bindings.push(found);
            }
            None if strict => {
                let text = format!("Binding {old} cannot be inherited, because the former version has none.");
                return Err(Refusal::new(400, 10057, text));
            }
            None => {}
        }
    }
    for binding in former {
        let kept = keep.iter().any(|kind| binding["type"] == kind.as_str());
        if kept && !bindings.iter().any(|other| other["name"] == binding["name"]) {
            bindings.push(binding.clone());
        }
    }
    Ok(bindings)
}

/// What a version needs to run, with the classes and images of the state.
pub fn spec(state: &State, script: &str, version: &Version) -> Result<Spec, Refusal> {
    let mut bindings = Vec::with_capacity(version.bindings.len());
    for binding in &version.bindings {
        bindings.push((text(binding, "name")?.to_owned(), bound(version, binding)?));
    }
    let classes = state.objects.iter().filter(|(_, namespace)| namespace.script == script);
    let classes = classes
        .map(|(id, namespace)| Class {
            name: namespace.class.clone(),
            namespace: id.clone(),
            sqlite: namespace.sqlite,
            image: image_of(state, version, id, &namespace.class),
        })
        .collect();
    Ok(Spec {
        script: script.to_owned(),
        version: version.id.clone(),
        main: version.main.clone(),
        is_modules: version.is_modules,
        modules: version.modules.clone(),
        compatibility_date: version.compatibility_date.clone(),
        compatibility_flags: version.compatibility_flags.clone(),
        bindings,
        classes,
    })
}

fn bound(version: &Version, binding: &Value) -> Result<Bound, Refusal> {
    Ok(match text(binding, "type")? {
        "kv_namespace" => Bound::Kv(text(binding, "namespace_id")?.to_owned()),
        "r2_bucket" => Bound::R2 {
            jurisdiction: jurisdiction(binding).to_owned(),
            bucket: text(binding, "bucket_name")?.to_owned(),
        },
        "durable_object_namespace" => Bound::Objects(text(binding, "class_name")?.to_owned()),
        "json" => Bound::Json(binding["json"].to_string()),
        "service" => Bound::Service(text(binding, "service")?.to_owned()),
        "version_metadata" => Bound::VersionMetadata {
            id: version.id.clone(),
            tag: version
                .annotations
                .get("workers/tag")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            timestamp: version.created.clone(),
        },
        "secret_text" => Bound::Secret(text(binding, "text")?.to_owned()),
        _ => Bound::Text(text(binding, "text")?.to_owned()),
    })
}

/// The image of a class's containers: what its application runs, if the version says that the class has containers.
fn image_of(state: &State, version: &Version, namespace: &str, class: &str) -> Option<String> {
    if !version.containers.iter().any(|container| container["class_name"] == class) {
        return None;
    }
    let owned = |fields: &serde_json::Map<String, Value>| {
        fields.get("durable_objects").is_some_and(|objects| objects["namespace_id"] == namespace)
    };
    let application = state.applications.values().find(|application| owned(&application.fields))?;
    Some(application.running_image.clone()).filter(|image| !image.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudflare::api::state::{Application, ObjectNamespace};

    fn version(bindings: &Value) -> Version {
        Version {
            id: "v".into(),
            bindings: bindings.as_array().unwrap().clone(),
            containers: vec![json!({ "class_name": "Node" })],
            ..Version::default()
        }
    }

    #[test]
    fn what_is_secret_is_not_told() {
        let told =
            described(&State::default(), "s", &json!({ "name": "A", "type": "secret_text", "text": "x" }));
        assert_eq!(told, json!({ "name": "A", "type": "secret_text" }));
    }

    #[test]
    fn inherited_and_kept() {
        let former = version(&json!([
            { "name": "A", "type": "secret_text", "text": "a" },
            { "name": "B", "type": "plain_text", "text": "b" },
            { "name": "C", "type": "kv_namespace", "namespace_id": "c" },
        ]));
        let sent = [json!({ "name": "D", "type": "inherit", "old_name": "C" })];
        let keep = ["secret_text".to_owned()];
        let names =
            |bindings: &[Value]| -> Vec<_> { bindings.iter().map(|one| one["name"].clone()).collect() };
        let bindings = merged(&sent, Some(&former), &keep, true).unwrap();
        assert_eq!(names(&bindings), ["D", "A"]);
        assert_eq!(bindings[0]["namespace_id"], "c");
        let missing = [json!({ "name": "X", "type": "inherit" })];
        assert_eq!(merged(&missing, Some(&former), &[], true).unwrap_err().code, 10057);
        assert!(merged(&missing, Some(&former), &[], false).unwrap().is_empty());
    }

    #[test]
    fn the_image_is_the_one_that_runs() {
        let mut state = State::default();
        let namespace = ObjectNamespace { script: "s".into(), class: "Node".into(), sqlite: true };
        state.objects.insert("n".into(), namespace);
        let version =
            version(&json!([{ "name": "NODE", "type": "durable_object_namespace", "class_name": "Node" }]));
        assert_eq!(spec(&state, "s", &version).unwrap().classes[0].image, None);
        let fields = json!({ "durable_objects": { "namespace_id": "n" } }).as_object().unwrap().clone();
        let application = Application { fields, running_image: "i:1".into(), ..Application::default() };
        state.applications.insert("a".into(), application);
        assert_eq!(spec(&state, "s", &version).unwrap().classes[0].image.as_deref(), Some("i:1"));
    }

    #[test]
    fn bindings_to_what_is_not_there() {
        let refused =
            |binding: Value| check(&State::default(), &|_, _| false, "s", &binding).unwrap_err().code;
        assert_eq!(refused(json!({ "name": "A", "type": "kv_namespace", "namespace_id": "x" })), 10041);
        assert_eq!(refused(json!({ "name": "A", "type": "r2_bucket", "bucket_name": "x" })), 10085);
        assert_eq!(
            refused(json!({ "name": "A", "type": "durable_object_namespace", "class_name": "X" })),
            10061
        );
        assert_eq!(refused(json!({ "name": "A", "type": "d1", "id": "x" })), 10021);
    }
}
