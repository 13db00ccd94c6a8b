//! A script that is uploaded: metadata and modules become a version, which is started before it is taken.

use super::migration::Migrations;
use super::{binding, described, source};
use crate::cloudflare::api::Api;
use crate::cloudflare::api::answer::{Answer, Outcome, Refusal};
use crate::cloudflare::api::form::{Form, Part};
use crate::cloudflare::api::request::Request;
use crate::cloudflare::api::state::{
    Deployment, Module, Script, State, Version, hash, new_id, new_uuid, timestamp,
};
use crate::cloudflare::api::switches::Quota;
use serde_json::{Map, Value, json};

/// The most bytes of a Worker, uncompressed.
const LARGEST: usize = 64 * 1024 * 1024;

/// Settings of the script, not of the version, that come with an upload.
const OF_SCRIPT: &[&str] = &["logpush", "observability", "tail_consumers", "tags"];

/// What else is kept of a version.
const OF_VERSION: &[&str] = &["limits", "placement", "usage_model"];

/// `PUT /workers/scripts/{name}`: a new version, and a deployment of it.
pub fn script(api: &Api, request: &Request, name: &str) -> Outcome {
    check_name(name)?;
    let upload = Upload::read(api, request)?;
    let former = objects_of(api, name);
    let id = upload.take(api, name, true)?;
    api.workers.reconcile(api, name);
    let now = objects_of(api, name);
    for deleted in former.iter().filter(|id| !now.contains(id)) {
        api.workers.forget_objects(deleted);
    }
    api.disk.read(|state| {
        let script = super::find(state, name)?;
        let version = script.version(&id).ok_or_else(super::no_script)?;
        Answer::ok(json!({
            "id": name,
            "tag": script.tag,
            "etag": version.etag,
            "handlers": handlers(version),
            "has_assets": false,
            "has_modules": version.is_modules,
            "created_on": script.created,
            "modified_on": script.modified,
            "last_deployed_from": version.source,
            "compatibility_date": version.compatibility_date,
            "compatibility_flags": version.compatibility_flags,
            "migration_tag": script.migration_tag,
            "usage_model": "standard",
            "startup_time_ms": version.startup_ms,
            "deployment_id": id.replace('-', ""),
            "entry_point": version.main,
        }))
    })
}

/// The namespaces of a script's Durable Objects.
fn objects_of(api: &Api, script: &str) -> Vec<String> {
    api.disk.read(|state| {
        let mine = state.objects.iter().filter(|(_, namespace)| namespace.script == script);
        mine.map(|(id, _)| id.clone()).collect()
    })
}

/// `POST /workers/scripts/{name}/versions`: a new version that nobody gets yet.
pub fn version(api: &Api, request: &Request, name: &str) -> Outcome {
    api.disk.read(|state| super::find(state, name).map(drop))?;
    let upload = Upload::read(api, request)?;
    if upload.migrations.is_some() {
        let text = "Version upload failed. You attempted to upload a version of a Worker that includes a Durable \
                    Object migration, but migrations must be fully applied by running \"wrangler deploy\".";
        return Err(Refusal::new(400, 10211, text));
    }
    let id = upload.take(api, name, false)?;
    api.disk.read(|state| {
        let script = super::find(state, name)?;
        let version = script.version(&id).ok_or_else(super::no_script)?;
        let mut value = described(state, name, script, version);
        value["startup_time_ms"] = json!(version.startup_ms);
        Answer::ok(value)
    })
}

/// `PUT /workers/scripts/{name}/content`: the same settings, other modules.
pub fn content(api: &Api, request: &Request, name: &str) -> Outcome {
    let mut upload = Upload::read(api, request)?;
    let former = api.disk.read(|state| super::find(state, name).map(|script| script.current().cloned()))?;
    if let Some(former) = former {
        upload.bindings.clone_from(&former.bindings);
        upload.version.compatibility_date = former.compatibility_date;
        upload.version.compatibility_flags = former.compatibility_flags;
        upload.version.containers = former.containers;
        upload.version.others = former.others;
    }
    upload.take(api, name, true)?;
    api.workers.reconcile(api, name);
    api.disk.read(|state| Answer::ok(super::scripts::listed(name, super::find(state, name)?)))
}

/// Names that a Worker may have.
fn check_name(name: &str) -> Result<(), Refusal> {
    let legible =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let fits = (1..=255).contains(&name.len()) && name.bytes().all(legible);
    if fits && name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Ok(());
    }
    let text = "Script name must be lowercase, contain only letters, digits, hyphens and underscores, and begin with a \
                letter or digit.";
    Err(Refusal::new(400, 10016, text))
}

struct Upload {
    version: Version,
    bindings: Vec<Value>,
    keep: Vec<String>,
    strict: bool,
    migrations: Option<Migrations>,
    settings: Map<String, Value>,
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

impl Upload {
    fn read(api: &Api, request: &Request) -> Result<Self, Refusal> {
        let form = Form::of(request)?;
        let (metadata, parts) = match form {
            Some(form) => {
                let metadata = form.value("metadata")?.ok_or_else(|| {
                    Refusal::new(
                        400,
                        10021,
                        "The uploaded script has no metadata: a part of this name is needed.",
                    )
                })?;
                let is_module = |part: &Part| part.name != "metadata" && !part.name.starts_with("metadata[");
                (metadata, form.parts.into_iter().filter(is_module).collect())
            }
            // The oldest form: the body is the script.
            None => {
                let part = Part {
                    name: "script".into(),
                    file_name: None,
                    content_type: request.header("content-type").map(str::to_owned),
                    bytes: request.body.clone(),
                };
                (json!({ "body_part": "script" }), vec![part])
            }
        };
        let (main, is_modules) = match (metadata["main_module"].as_str(), metadata["body_part"].as_str()) {
            (Some(main), _) => (main.to_owned(), true),
            (None, Some(part)) => (part.to_owned(), false),
            (None, None) => {
                return Err(Refusal::new(400, 10021, "metadata names neither main_module nor body_part"));
            }
        };
        if parts.iter().map(|part| part.bytes.len()).sum::<usize>() > LARGEST {
            let text = "Your Worker exceeded the size limit of 64 MiB before compression.";
            return Err(Refusal::new(413, 10027, text));
        }
        let mut modules = Vec::with_capacity(parts.len());
        for part in &parts {
            modules.push(Module {
                name: part.file_name.clone().unwrap_or_else(|| part.name.clone()),
                content_type: part.content_type.clone().unwrap_or_default(),
                hash: api.disk.keep_module(&part.bytes)?,
            });
        }
        if !modules.iter().any(|module| module.name == main) {
            return Err(Refusal::new(400, 10021, format!("No such module \"{main}\".")));
        }
        let all: String = modules.iter().map(|module| format!("{} {}\n", module.name, module.hash)).collect();
        let picked = |names: &[&str]| {
            let given = names.iter().filter(|name| !metadata[**name].is_null());
            given.map(|name| ((*name).to_owned(), metadata[*name].clone())).collect::<Map<_, _>>()
        };
        let version = Version {
            id: new_uuid(),
            created: timestamp(),
            source: source(request),
            annotations: metadata["annotations"].as_object().cloned().unwrap_or_default(),
            main,
            is_modules,
            modules,
            compatibility_date: metadata["compatibility_date"].as_str().map(str::to_owned),
            compatibility_flags: strings(&metadata["compatibility_flags"]),
            containers: array(&metadata["containers"]),
            others: picked(OF_VERSION),
            etag: hash(all.as_bytes()),
            ..Version::default()
        };
        Ok(Self {
            version,
            bindings: array(&metadata["bindings"]),
            keep: strings(&metadata["keep_bindings"]),
            strict: request.query("bindings_inherit") == Some("strict"),
            migrations: Migrations::read(&metadata)?,
            settings: picked(OF_SCRIPT),
        })
    }

    /// Starts the version, and takes it when it does.
    fn take(mut self, api: &Api, name: &str, deploy: bool) -> Result<String, Refusal> {
        let exists = |jurisdiction: &str, bucket: &str| {
            api.buckets(jurisdiction).is_some_and(|store| store.check_bucket(bucket).is_ok())
        };
        let most = api.switches().max_scripts;
        let mut trial = api.disk.read(Clone::clone);
        self.apply(&mut trial, &exists, most, name, deploy)?;
        let version = trial.scripts.get(name).and_then(|script| script.versions.last().cloned());
        let version = version.ok_or_else(super::no_script)?;
        self.version.startup_ms = api.workers.try_start(api, &binding::spec(&trial, name, &version)?)?;
        api.disk.change(|state| self.apply(state, &exists, most, name, deploy))?;
        Ok(self.version.id)
    }

    fn apply(
        &self,
        state: &mut State,
        bucket_exists: &dyn Fn(&str, &str) -> bool,
        most: usize,
        name: &str,
        deploy: bool,
    ) -> Result<(), Refusal> {
        if !state.scripts.contains_key(name) && state.scripts.len() >= most {
            return Err(Quota::Scripts.refusal(most as u64));
        }
        let former = state.scripts.get(name).cloned();
        let tag = former.as_ref().and_then(|script| script.migration_tag.clone());
        let migration_tag = match &self.migrations {
            Some(migrations) => migrations.apply(state, name, tag.as_deref())?,
            None => tag,
        };
        let current = former.as_ref().and_then(Script::current);
        let mut version = self.version.clone();
        version.bindings = binding::merged(&self.bindings, current, &self.keep, self.strict)?;
        for bound in &version.bindings {
            binding::check(state, bucket_exists, name, bound)?;
        }
        let mut script = former.unwrap_or_else(|| Script {
            tag: new_id(),
            created: version.created.clone(),
            ..Script::default()
        });
        script.migration_tag = migration_tag;
        add(&mut script, version, deploy);
        if deploy {
            script.settings.extend(self.settings.clone());
        }
        state.scripts.insert(name.to_owned(), script);
        Ok(())
    }
}

/// Adds a version, and with `deploy` gives it to everybody.
pub fn add(script: &mut Script, mut version: Version, deploy: bool) {
    version.number = script.versions.last().map_or(1, |last| last.number + 1);
    script.modified.clone_from(&version.created);
    if deploy {
        script.deployments.push(Deployment {
            id: new_uuid(),
            created: version.created.clone(),
            source: version.source.clone(),
            shares: vec![(version.id.clone(), 100.0)],
            annotations: version.annotations.clone(),
        });
    }
    script.versions.push(version);
}

/// What a script answers to. Cloudflare finds it out by running it; here it is what the script is bound to say.
pub fn handlers(_version: &Version) -> Vec<&'static str> {
    vec!["fetch"]
}
