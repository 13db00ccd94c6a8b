//! The calls of Docker's Engine API that workerd and miniflare make, and the admin calls.

mod execs;

use super::container::{Container, Refused, Spec};
use super::fault::Fault;
use super::filter::Filter;
use super::lifecycle::{Condition, State, Step};
use super::name::{is_container_name, is_side_car_image};
use super::server::Shared;
use super::side_car::Network;
use super::{address, image};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The largest body that a call may have: environments with tokens of many accounts come in it.
const BODY: usize = 16 << 20;

type Answer = Result<Response<Full<Bytes>>, Problem>;

/// A call that cannot be done, as Docker words it.
#[derive(Debug)]
pub(super) struct Problem(StatusCode, String);

impl Problem {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    fn no_container(name: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("No such container: {name}"))
    }

    fn conflict(message: impl Into<String>) -> Self {
        Self(StatusCode::CONFLICT, message.into())
    }
}

fn refused(name: &str, refused: Refused) -> Problem {
    match refused {
        Refused::Gone => Problem::no_container(name),
        Refused::Failed(message) => {
            Problem(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to start {name}: {message}"))
        }
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn with(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn found(value: &Value) -> Answer {
    Ok(with(StatusCode::OK, value))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    image: String,
    #[serde(default)]
    cmd: Option<Vec<String>>,
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    host_config: Option<HostConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: Option<String>,
}

/// `%xx` in a path's segment.
fn decoded(text: &str) -> String {
    form_urlencoded::parse(text.replace('+', "%2B").as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

/// A signal by its name or number.
fn signal_of(text: &str) -> Option<Signal> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    Some(match name {
        "" | "KILL" | "9" => Signal::KILL,
        "TERM" | "15" => Signal::TERM,
        "INT" | "2" => Signal::INT,
        "HUP" | "1" => Signal::HUP,
        "QUIT" | "3" => Signal::QUIT,
        "USR1" | "10" => Signal::USR1,
        "USR2" | "12" => Signal::USR2,
        "STOP" | "19" => Signal::STOP,
        "CONT" | "18" => Signal::CONT,
        _ => return None,
    })
}

/// Answers one call. Whatever goes wrong is an answer, too.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    let response = route(shared, request)
        .await
        .unwrap_or_else(|Problem(status, message)| with(status, &json!({ "message": message })));
    tracing::debug!(%method, target, status = response.status().as_u16(), "call");
    response
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Problem> {
    let body = Limited::new(request.into_body(), BODY).collect().await;
    Ok(body.map_err(|error| Problem::bad(error.to_string()))?.to_bytes())
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad(error.to_string()))
}

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let mut segments: Vec<String> =
        path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect();
    // Clients that negotiate put the API's version first.
    if segments.first().is_some_and(|first| first.starts_with("v1.")) {
        segments.remove(0);
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = request.method().clone();
    match (&method, segments.as_slice()) {
        (&Method::GET | &Method::HEAD, ["_ping"]) => Ok(Response::new(Full::new(Bytes::from_static(b"OK")))),
        (&Method::GET, ["version"]) => found(&json!({ "Version": "windlass", "ApiVersion": "1.43" })),
        (&Method::GET, ["volumes"]) => found(&json!({ "Volumes": [], "Warnings": [] })),
        // workerd listens on the gateway for what leaves a container.
        (&Method::GET, ["networks", name]) => found(&json!({
            "Name": name, "IPAM": { "Config": [{ "Subnet": "127.0.0.0/8", "Gateway": "127.0.0.1" }] }
        })),
        (&Method::GET, ["images", name @ .., "json"]) => image(&shared, &name.join("/")).await,
        (&Method::GET, ["containers", "json"]) => list(&shared, &query),
        (&Method::POST, ["containers", "create"]) => {
            let name = query.get("name").cloned().unwrap_or_default();
            create(&shared, name, parsed(&read(request).await?)?).await
        }
        (&Method::GET, ["containers", name, "json"]) => {
            inspect(&*shared.container(name).ok_or_else(|| Problem::no_container(name))?)
        }
        (&Method::DELETE, ["containers", name]) => remove(&shared, name, is_true(query.get("force"))).await,
        (&Method::POST, ["containers", name, call]) => {
            let container = shared.container(name).ok_or_else(|| Problem::no_container(name))?;
            match *call {
                "start" => start(&shared, container).await,
                "wait" => {
                    let condition = Condition::parse(query.get("condition").map(String::as_str));
                    let condition = condition.ok_or_else(|| Problem::bad("invalid condition"))?;
                    found(&json!({ "StatusCode": container.wait(condition).await }))
                }
                "kill" => kill(&container, query.get("signal").map_or("KILL", String::as_str)).await,
                "stop" => stop(&container, query.get("t")).await,
                "exec" => execs::create(&shared, container, parsed(&read(request).await?)?),
                _ => Err(unknown(&method, &path)),
            }
        }
        (&Method::GET, ["exec", id, "json"]) => execs::inspect(&*execs::find(&shared, id)?),
        (&Method::POST, ["exec", id, "start"]) => execs::start(execs::find(&shared, id)?, request).await,
        (&Method::POST, ["exec", id, "resize"]) => execs::find(&shared, id).map(|_| empty(StatusCode::OK)),
        (&Method::GET, ["windlass", "faults"]) => found(&json!(shared.faults.lock().waiting())),
        (&Method::DELETE, ["windlass", "faults"]) => {
            shared.faults.lock().clear();
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::POST, ["windlass", "faults"]) => {
            let fault: Fault = parsed(&read(request).await?)?;
            shared.faults.lock().add(fault);
            Ok(empty(StatusCode::CREATED))
        }
        (&Method::GET, ["windlass", "containers"]) => found(&json!(shared.views())),
        _ => Err(unknown(&method, &path)),
    }
}

fn unknown(method: &Method, path: &str) -> Problem {
    tracing::warn!(%method, path, "a call that this engine does not have");
    Problem(StatusCode::NOT_FOUND, format!("this engine has no {method} {path}"))
}

fn is_true(value: Option<&String>) -> bool {
    value.is_some_and(|value| matches!(value.as_str(), "1" | "true" | "True"))
}

async fn image(shared: &Shared, reference: &str) -> Answer {
    let image = shared.image(reference).await?;
    let image::Config { env, entrypoint, cmd, user } = &image.config;
    found(&json!({
        "Id": reference, "RepoTags": [reference], "Os": "linux",
        "Config": { "Env": env, "Entrypoint": entrypoint, "Cmd": cmd, "User": user },
    }))
}

fn list(shared: &Shared, query: &BTreeMap<String, String>) -> Answer {
    let filter = Filter::parse(query.get("filters").map_or("", String::as_str)).map_err(Problem::bad)?;
    let all = is_true(query.get("all"));
    let containers = shared.containers.lock();
    let asked = containers.iter().filter(|container| {
        let state = container.state();
        (all || state == State::Running)
            && filter.matches(&container.name, &container.spec.labels, state.name())
    });
    let rows: Vec<Value> = asked
        .map(|container| {
            json!({
                "Id": container.id, "Names": [format!("/{}", container.name)], "Image": container.spec.image,
                "State": container.state().name(), "Labels": container.spec.labels,
            })
        })
        .collect();
    found(&Value::Array(rows))
}

async fn create(shared: &Shared, name: String, create: Create) -> Answer {
    let name = if name.is_empty() { format!("windlass-{}", uuid::Uuid::new_v4().simple()) } else { name };
    if !is_container_name(&name) {
        return Err(Problem::bad(format!("Invalid container name ({name})")));
    }
    let is_side_car = is_side_car_image(&create.image);
    if !is_side_car {
        shared.image(&create.image).await?;
    }
    let mode = create.host_config.unwrap_or_default().network_mode.unwrap_or_default();
    let network = match mode.strip_prefix("container:") {
        Some(other) => {
            let other = shared.container(other).ok_or_else(|| Problem::no_container(other))?;
            Arc::clone(&other.network)
        }
        None => {
            let claimed = address::claim();
            Network::new(
                claimed.map_err(|error| Problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?,
            )
        }
    };
    let mut command = create.entrypoint.unwrap_or_default();
    command.extend(create.cmd.unwrap_or_default());
    let spec = Spec {
        image: create.image,
        command,
        env: create.env.unwrap_or_default(),
        labels: create.labels.unwrap_or_default(),
    };
    let mut containers = shared.containers.lock();
    if containers.iter().any(|container| container.name == name) {
        return Err(Problem::conflict(format!("Conflict. The container name \"/{name}\" is already in use")));
    }
    let container = Container::new(name, spec, network, is_side_car, shared.directory.clone());
    let id = container.id.clone();
    containers.push(Arc::new(container));
    Ok(with(StatusCode::CREATED, &json!({ "Id": id, "Warnings": [] })))
}

fn inspect(container: &Container) -> Answer {
    let state = container.state();
    let port = container.side_car.as_ref().and_then(|side_car| side_car.lock().as_ref().map(|car| car.port));
    let ports =
        port.map(|port| json!({ "39001/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }] }));
    // Without the environment: secrets come in it.
    found(&json!({
        "Id": container.id,
        "Name": format!("/{}", container.name),
        "Image": container.spec.image,
        "State": {
            "Status": state.name(), "Running": state == State::Running, "ExitCode": state.exit_code().unwrap_or(0),
            "Pid": container.view().pid.unwrap_or(0),
        },
        "Config": { "Image": container.spec.image, "Labels": container.spec.labels },
        "NetworkSettings": {
            "IPAddress": container.network.address.ip.to_string(),
            "Ports": ports.unwrap_or_else(|| json!({})),
        },
    }))
}

async fn start(shared: &Shared, container: Arc<Container>) -> Answer {
    if container.state().start() == Step::Nothing {
        return Ok(empty(StatusCode::NOT_MODIFIED));
    }
    let name = container.name.clone();
    let (image, effects) =
        if container.side_car.is_some() { (None, Vec::new()) } else { shared.to_run(&container).await? };
    container.start(image, &effects).await.map_err(|problem| refused(&name, problem))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn kill(container: &Arc<Container>, signal: &str) -> Answer {
    let signal = signal_of(signal).ok_or_else(|| Problem::bad(format!("Invalid signal: {signal}")))?;
    match container.state().signal() {
        Step::Do if container.side_car.is_some() => container.kill().await,
        Step::Do => {
            container.signal(signal);
        }
        Step::Gone => return Err(Problem::no_container(&container.name)),
        _ => return Err(Problem::conflict(format!("container {} is not running", container.name))),
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn stop(container: &Container, seconds: Option<&String>) -> Answer {
    if container.state() != State::Running {
        return Ok(empty(StatusCode::NOT_MODIFIED));
    }
    let seconds = seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(10);
    container.stop(Duration::from_secs(seconds)).await;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn remove(shared: &Shared, name: &str, force: bool) -> Answer {
    let container = shared.container(name).ok_or_else(|| Problem::no_container(name))?;
    match container.state().remove(force) {
        Step::Gone => return Err(Problem::no_container(name)),
        Step::Conflict => {
            return Err(Problem::conflict(format!(
                "cannot remove container {name}: it is running: stop it first or use force"
            )));
        }
        Step::Do | Step::Nothing => {}
    }
    container.kill().await;
    container.state.send_modify(|state| *state = state.removed());
    shared.containers.lock().retain(|other| other.id != container.id);
    shared.execs.lock().retain(|_, exec| exec.container.id != container.id);
    Ok(empty(StatusCode::NO_CONTENT))
}

impl Shared {
    async fn image(&self, reference: &str) -> Result<image::Image, Problem> {
        let (images, reference) = (self.images.clone(), reference.to_owned());
        let found = tokio::task::spawn_blocking(move || images.find(&reference)).await;
        match found {
            Ok(found) => found.map_err(|why| Problem(StatusCode::NOT_FOUND, why)),
            Err(panic) => Err(Problem(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string())),
        }
    }

    /// What to run for a container, and which faults its start meets.
    async fn to_run(
        &self,
        container: &Container,
    ) -> Result<(Option<image::Image>, Vec<super::Effect>), Problem> {
        let asked = self.image(&container.spec.image).await?;
        let effects = self.faults.lock().meet(&container.name, &container.spec.image);
        let mut ran = self.ran.lock();
        let run = match ran.get(&container.name) {
            Some(old) if effects.contains(&super::Effect::KeepOldImage) => old.clone(),
            _ => asked,
        };
        ran.insert(container.name.clone(), run.clone());
        Ok((Some(run), effects))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, signal) in
            [("SIGTERM", Signal::TERM), ("USR2", Signal::USR2), ("12", Signal::USR2), ("", Signal::KILL)]
        {
            assert_eq!(signal_of(text), Some(signal), "{text}");
        }
        assert_eq!(signal_of("SIGNAL"), None);
    }

    #[test]
    fn segments() {
        assert_eq!(decoded("a%2Fb+c"), "a/b+c");
    }
}
