//! The calls that run commands beside what runs in a container.

use super::super::container::Container;
use super::super::exec::{Exec, ExecState, Work};
use super::super::server::Shared;
use super::super::wrapped::{self, Wrapped};
use super::{Answer, Problem, empty, found, parsed, read, signal_of, with};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    cmd: Vec<String>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    attach_stdin: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Start {
    detach: bool,
}

pub(super) fn find(shared: &Shared, id: &str) -> Result<Arc<Exec>, Problem> {
    let found = shared.execs.lock().get(id).map(Arc::clone);
    found.ok_or_else(|| Problem(StatusCode::NOT_FOUND, format!("No such exec instance: {id}")))
}

pub(super) fn create(shared: &Shared, container: Arc<Container>, create: Create) -> Answer {
    let not_running = || Problem::conflict(format!("container {} is not running", container.name));
    let (image, env) = container.running().ok_or_else(not_running)?;
    let (command, key) = match wrapped::read(&create.cmd) {
        Wrapped::Run { key, command } => (command, Some(key.to_owned())),
        Wrapped::Plain => (create.cmd.as_slice(), None),
        Wrapped::Signal { key, signal } => {
            let other =
                shared.execs.lock().values().find(|exec| exec.key.as_deref() == Some(key)).map(Arc::clone);
            let (Some(other), Some(signal)) = (other, signal_of(signal)) else {
                return Err(Problem::bad("a signal for a command that is not there"));
            };
            return Ok(insert(shared, container, Work::Signal(other, signal), None, false));
        }
    };
    let start = image.exec(command, &env, &create.env.unwrap_or_default(), std::path::Path::exists);
    let work = Work::Program(start.map_err(Problem::bad)?, image.root);
    Ok(insert(shared, container, work, key, create.attach_stdin))
}

fn insert(
    shared: &Shared,
    container: Arc<Container>,
    work: Work,
    key: Option<String>,
    with_input: bool,
) -> Response<Full<Bytes>> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let exec = Exec { id: id.clone(), container, work, key, with_input, state: Mutex::default() };
    shared.execs.lock().insert(id.clone(), Arc::new(exec));
    with(StatusCode::CREATED, &json!({ "Id": id }))
}

pub(super) async fn start(exec: Arc<Exec>, mut request: Request<Incoming>) -> Answer {
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let connection = hyper::upgrade::on(&mut request);
    let body = read(request).await?;
    let start: Start = if body.is_empty() { Start::default() } else { parsed(&body)? };
    let failed = |error: std::io::Error| Problem::bad(format!("the command did not start: {error}"));
    if start.detach || !is_upgrade {
        exec.start(None).map_err(failed)?;
        return Ok(empty(StatusCode::OK));
    }
    exec.start(Some(connection)).map_err(failed)?;
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("tcp"));
    let kind = "application/vnd.docker.multiplexed-stream";
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}

pub(super) fn inspect(exec: &Exec) -> Answer {
    let state = *exec.state.lock();
    let (pid, code) = match state {
        ExecState::Created => (0, None),
        ExecState::Running(pid) => (pid, None),
        ExecState::Exited(code) => (0, Some(code)),
    };
    found(&json!({
        "ID": exec.id, "ContainerID": exec.container.id, "Running": matches!(state, ExecState::Running(_)),
        "ExitCode": code, "Pid": pid,
    }))
}
