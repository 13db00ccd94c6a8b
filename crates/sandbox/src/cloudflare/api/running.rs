//! What was uploaded, running: one workerd for each version of a Worker that answers.
//!
//! Whoever changed a script calls [`Workers::reconcile`], which makes what runs what the state says. A Durable Object
//! lives in one process at a time, so of a Worker that has any, one version runs: the one with the largest share.

use super::Api;
use super::answer::Refusal;
use super::state::{Deployment, Script};
use super::workers::{Bound, Spec, spec};
use crate::cloudflare::Error;
use crate::cloudflare::left;
use crate::cloudflare::workerd::{self, Binding, DurableObject, Endpoint, Module, ModuleKind, Value, Worker};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The date whose behaviour a Worker gets that names none.
const OLDEST_DATE: &str = "2021-11-02";

/// Where Workers are tried. No Worker can be called so.
const TRIALS: &str = ".trials";

/// How long a Worker may take to start.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The header by which the stand-in knows which binding a request belongs to.
pub const BINDING: &str = "x-windlass-binding";

/// The header by which it knows that a request comes from a Worker.
pub const PASS: &str = "x-windlass-pass";

/// The Workers that run.
pub struct Workers {
    directory: PathBuf,
    /// workerd; without it, what is uploaded is kept and not run.
    binary: Option<PathBuf>,
    engine: Option<PathBuf>,
    /// Where bindings are served.
    bindings: SocketAddr,
    /// What a request to a binding carries.
    pass: String,
    running: Mutex<BTreeMap<String, Vec<Part>>>,
    /// One change at a time.
    turn: Mutex<()>,
}

/// A version of a Worker that runs.
struct Part {
    spec: Spec,
    share: f64,
    workerd: workerd::Handle,
}

/// What runs on, where something else was to run.
struct Stayed {
    part: Option<Part>,
    refusal: Refusal,
}

/// What the stand-in needs to run Workers.
pub struct Place {
    /// Where their storage and logs are.
    pub directory: PathBuf,
    /// workerd; without it, what is uploaded is kept and not run.
    pub binary: Option<PathBuf>,
    /// The container engine's socket.
    pub engine: Option<PathBuf>,
    /// Where bindings are served.
    pub bindings: SocketAddr,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Workers").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What runs of a deployment: each version and its share.
fn wanted<'script>(
    script: &'script Script,
    deployment: &'script Deployment,
    is_one: bool,
) -> Vec<(&'script str, f64)> {
    if is_one {
        let current = script.current();
        return current.map(|version| (version.id.as_str(), 100.0)).into_iter().collect();
    }
    deployment.shares.iter().map(|(id, share)| (id.as_str(), *share)).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    Handle::current().block_on(work)
}

impl Workers {
    /// Nothing runs yet.
    pub fn new(place: Place) -> Self {
        let Place { directory, binary, engine, bindings } = place;
        Self {
            directory,
            binary,
            engine,
            bindings,
            pass: super::state::new_id(),
            running: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    /// Ends the trials that a stand-in left behind that was killed.
    pub async fn end_trials(&self) -> io::Result<()> {
        for trial in read_dir(&self.directory.join(TRIALS))? {
            left::end(&trial).await?;
            remove(&trial)?;
        }
        Ok(())
    }

    /// What a request to a binding carries.
    pub fn pass(&self) -> &str {
        &self.pass
    }

    /// Whether Workers run at all.
    pub fn are_run(&self) -> bool {
        self.binary.is_some()
    }

    /// Where a script answers: one of its versions, by their shares. `lot` is 0 to 100.
    pub fn address(&self, script: &str, lot: f64) -> Option<SocketAddr> {
        let running = self.running.lock();
        let parts = running.get(script)?;
        let mut sum = 0.0;
        let mut last = None;
        for part in parts {
            sum += part.share;
            last = Some(part.workerd.address());
            if lot < sum {
                break;
            }
        }
        last
    }

    /// How many milliseconds a Worker takes to start, with nothing of its storage.
    pub fn try_start(&self, api: &Api, spec: &Spec) -> Result<u64, Refusal> {
        let worker = self.worker(api, spec)?;
        let Some(binary) = &self.binary else {
            return Ok(0);
        };
        let directory = self.directory.join(TRIALS).join(super::state::new_id());
        // Records of what is started are kept there.
        fs::create_dir_all(directory.join("running"))?;
        let begun = Instant::now();
        let tried = block_on(workerd::validate(binary, &directory, &worker, READY_WITHIN));
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        fs::remove_dir_all(&directory)?;
        match tried {
            Ok(()) => Ok(took),
            Err(Error::Worker { said, .. }) => Err(Refusal::new(400, 10_021, said)),
            Err(Error::Description { wrong, .. }) => Err(Refusal::new(400, 10_021, wrong)),
            Err(error) => Err(Refusal::new(500, 10_001, error.to_string())),
        }
    }

    /// Makes what runs of a script what the state says of it. What cannot be started is told in the log, and its
    /// requests are answered with the error.
    pub fn reconcile(&self, api: &Api, name: &str) {
        if self.binary.is_none() {
            return;
        }
        let _turn = self.turn.lock();
        if let Err(error) = self.turn_to(api, name) {
            tracing::error!(script = name, %error, "a Worker does not run as it was deployed");
        }
    }

    fn turn_to(&self, api: &Api, name: &str) -> Result<(), Refusal> {
        let specs = api.disk.read(|state| -> Result<Vec<(Spec, f64)>, Refusal> {
            let Some(script) = state.scripts.get(name) else { return Ok(Vec::new()) };
            let Some(deployment) = script.deployment() else { return Ok(Vec::new()) };
            let is_one = state.objects.values().any(|namespace| namespace.script == name);
            let versions = wanted(script, deployment, is_one).into_iter();
            let known = versions.filter_map(|(id, share)| Some((script.version(id)?, share)));
            known.map(|(version, share)| Ok((spec(state, name, version)?, share))).collect()
        })?;
        let mut parts = self.running.lock().remove(name).unwrap_or_default();
        let surplus = parts.split_off(specs.len().min(parts.len()));
        for part in surplus {
            block_on(part.workerd.shutdown());
        }
        if specs.is_empty() {
            return remove(&self.directory.join(name)).map_err(Refusal::from);
        }
        // What runs goes on answering meanwhile, and requests wait while one workerd takes another's place.
        let mut outcome = Ok(());
        let mut kept = parts.into_iter();
        let mut next = Vec::with_capacity(specs.len());
        for (number, (spec, share)) in specs.into_iter().enumerate() {
            match self.part(api, number, kept.next(), spec, share) {
                Ok(part) => next.push(part),
                Err(stayed) => {
                    next.extend(stayed.part);
                    outcome = Err(stayed.refusal);
                }
            }
        }
        self.running.lock().insert(name.to_owned(), next);
        outcome
    }

    fn part(
        &self,
        api: &Api,
        number: usize,
        former: Option<Part>,
        spec: Spec,
        share: f64,
    ) -> Result<Part, Box<Stayed>> {
        let stayed = |part, refusal| Box::new(Stayed { part, refusal });
        let failed = |error: Error| Refusal::new(500, 10_021, error.to_string());
        let worker = match self.worker(api, &spec) {
            Ok(worker) => worker,
            Err(refusal) => return Err(stayed(former, refusal)),
        };
        match former {
            Some(part) if part.spec == spec => Ok(Part { share, ..part }),
            Some(part) => match block_on(part.workerd.deploy(worker)) {
                Ok(()) => Ok(Part { spec, share, ..part }),
                Err(error) => Err(stayed(Some(part), failed(error))),
            },
            None => {
                let directory = self.directory.join(&spec.script).join(number.to_string());
                let options = workerd::Options {
                    engine: self.engine.clone(),
                    binary: self.binary.clone(),
                    ready_within: READY_WITHIN,
                    ..workerd::Options::new(directory, worker)
                };
                match block_on(workerd::start(options)) {
                    Ok(workerd) => Ok(Part { spec, share, workerd }),
                    Err(error) => Err(stayed(None, failed(error))),
                }
            }
        }
    }

    /// A Worker as workerd takes it.
    fn worker(&self, api: &Api, spec: &Spec) -> Result<Worker, Refusal> {
        if !spec.is_modules {
            let text = "this stand-in runs ES modules alone, and no service worker scripts";
            return Err(Refusal::new(501, 10_021, text));
        }
        let mut modules = Vec::with_capacity(spec.modules.len());
        for module in &spec.modules {
            if module.content_type.starts_with("application/source-map") {
                continue;
            }
            let kind = ModuleKind::from_media_type(&module.content_type).ok_or_else(|| {
                let text =
                    format!("the module {} is {:?}, which is not run here", module.name, module.content_type);
                Refusal::new(501, 10_021, text)
            })?;
            let content = fs::read(api.disk.module(&module.hash))?.into();
            modules.push(Module { name: module.name.clone(), kind, content });
        }
        // The first one is the main one.
        modules.sort_by_key(|module| module.name != spec.main);
        let objects = spec.classes.iter().map(|class| DurableObject {
            class_name: class.name.clone(),
            sqlite: class.sqlite,
            container: class.image.clone(),
            unique_key: Some(class.namespace.clone()),
        });
        let bindings = spec.bindings.iter().map(|(name, bound)| Ok(Binding::new(name, self.value(bound)?)));
        Ok(Worker {
            name: spec.script.clone(),
            modules,
            compatibility_date: spec.compatibility_date.clone().unwrap_or_else(|| OLDEST_DATE.to_owned()),
            compatibility_flags: spec.compatibility_flags.clone(),
            bindings: bindings.collect::<Result<_, Refusal>>()?,
            durable_objects: objects.collect(),
        })
    }

    fn value(&self, bound: &Bound) -> Result<Value, Refusal> {
        let endpoint = |binding: String| Endpoint {
            address: self.bindings,
            headers: vec![(BINDING.to_owned(), binding), (PASS.to_owned(), self.pass.clone())],
        };
        Ok(match bound {
            Bound::Text(text) => Value::Text(text.clone()),
            Bound::Secret(text) => Value::Secret(text.clone().into()),
            Bound::Json(text) => Value::Json(serde_json::from_str(text).map_err(Refusal::malformed)?),
            Bound::Kv(namespace) => Value::Kv(endpoint(format!("kv/{namespace}"))),
            Bound::R2 { jurisdiction, bucket } => Value::R2(endpoint(format!("r2/{jurisdiction}/{bucket}"))),
            Bound::Service(service) => Value::Service(endpoint(format!("service/{service}"))),
            Bound::Objects(class) => Value::DurableObject { class_name: class.clone() },
            Bound::VersionMetadata { id, tag, timestamp } => {
                Value::VersionMetadata { id: id.clone(), tag: tag.clone(), timestamp: timestamp.clone() }
            }
        })
    }

    fn stores(&self, namespace: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for script in read_dir(&self.directory)? {
            let store = script.join("0/storage").join(namespace);
            if store.is_dir() {
                found.push(store);
            }
        }
        Ok(found)
    }

    /// The objects of a namespace that have stored something, in order.
    pub fn objects(&self, namespace: &str) -> io::Result<Vec<String>> {
        let mut ids = std::collections::BTreeSet::new();
        for store in self.stores(namespace)? {
            for file in read_dir(&store)? {
                let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
                if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    ids.insert(name.to_owned());
                }
            }
        }
        Ok(ids.into_iter().collect())
    }

    /// Removes what the objects of a namespace stored, after the last of them has ended.
    pub fn forget_objects(&self, namespace: &str) {
        let removed =
            self.stores(namespace).and_then(|stores| stores.iter().try_for_each(|store| remove(store)));
        if let Err(error) = removed {
            tracing::warn!(namespace, %error, "what Durable Objects stored could not be removed");
        }
    }

    /// Ends all of them.
    pub async fn stop(&self) {
        let all = std::mem::take(&mut *self.running.lock());
        let parts = all.into_values().flatten();
        futures::future::join_all(parts.map(|part| part.workerd.shutdown())).await;
    }
}

fn read_dir(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
