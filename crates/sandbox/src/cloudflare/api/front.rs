//! The one address of all Workers. Which of them a request is for, its `Host` says: a custom domain, a route, the first
//! label of `NAME.anything`; and where it says nothing, the Worker that is there alone or was deployed last.
//!
//! What is passed on is passed as it is, WebSockets and bodies as they come.

use super::Api;
use super::bindings;
use super::state::State;
use super::time;
use super::zones::fits;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// An answer, whose body may still come.
pub type Answered = Response<UnsyncBoxBody<Bytes, Broken>>;

/// Why a body did not come to its end.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// The proxy before the Workers.
#[derive(Debug)]
pub struct Front {
    api: Arc<Api>,
    client: Client<HttpConnector, Incoming>,
}

/// The Worker that a request is for.
fn choose(state: &State, host: &str, path: &str) -> Option<String> {
    let host = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let host = host.to_lowercase();
    let domain = state.domains.values().find(|domain| domain["hostname"] == host.as_str());
    if let Some(service) = domain.and_then(|domain| domain["service"].as_str()) {
        return Some(service.to_owned());
    }
    let routes = state.zones.values().flat_map(|zone| zone.routes.values());
    let fitting = routes.filter_map(|route| Some((route["pattern"].as_str()?, route["script"].as_str()?)));
    let longest =
        fitting.filter(|(pattern, _)| fits(pattern, &host, path)).max_by_key(|(pattern, _)| pattern.len());
    if let Some((_, script)) = longest {
        return Some(script.to_owned());
    }
    let named = host.split('.').next().filter(|name| host.contains('.') && state.scripts.contains_key(*name));
    if let Some(name) = named {
        return Some(name.to_owned());
    }
    let deployed = |name: &String| {
        let script = state.scripts.get(name)?;
        Some(script.deployment()?.created.clone())
    };
    state.scripts.keys().filter(|name| deployed(name).is_some()).max_by_key(|name| deployed(name)).cloned()
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Answered {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

impl Front {
    /// A proxy before the Workers of an account.
    pub fn new(api: Arc<Api>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { api, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Answers a request from outside.
    pub async fn answer(&self, request: Request<Incoming>, from: SocketAddr) -> Answered {
        let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = header.or(request.uri().host()).unwrap_or_default().to_owned();
        let path = request.uri().path().to_owned();
        match self.api.disk.read(|state| choose(state, &host, &path)) {
            Some(script) => self.pass(request, &script, from).await,
            None => plain(StatusCode::NOT_FOUND, "There is no Worker here.\n"),
        }
    }

    /// Passes a request on to a Worker.
    pub async fn pass(&self, mut request: Request<Incoming>, script: &str, from: SocketAddr) -> Answered {
        if !self.api.workers.are_run() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "This stand-in was told to run no Workers.\n");
        }
        let Some(address) = self.api.workers.address(script, rand::random_range(0.0..100.0)) else {
            return plain(StatusCode::NOT_FOUND, format!("The Worker {script} does not run.\n"));
        };
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let Ok(uri) =
            Uri::builder().scheme("http").authority(address.to_string()).path_and_query(path).build()
        else {
            return plain(StatusCode::BAD_REQUEST, "The path is none.\n");
        };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.remove(super::running::PASS);
        headers.remove(super::running::BINDING);
        for (name, value) in [
            ("cf-connecting-ip", from.ip().to_string()),
            ("x-real-ip", from.ip().to_string()),
            ("cf-ray", format!("{:016x}-WDL", rand::random::<u64>())),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        let begun = Instant::now();
        let client_side = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        let passed = self.client.request(request).await;
        let status = match &passed {
            Ok(answer) if answer.status() == StatusCode::INTERNAL_SERVER_ERROR => "scriptThrewException",
            Ok(_) => "success",
            Err(_) => "internalError",
        };
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.api.invocations.count(script, status, micros, time::now());
        match passed {
            Ok(mut answer) => {
                if answer.status() == StatusCode::SWITCHING_PROTOCOLS
                    && let Some(client_side) = client_side
                {
                    // It ends when one of the two does; nobody else needs to know.
                    tokio::spawn(join(client_side, hyper::upgrade::on(&mut answer)));
                }
                answer.map(|body| body.map_err(Broken::from).boxed_unsync())
            }
            Err(error) => {
                tracing::warn!(script, %error, "a Worker did not answer");
                plain(StatusCode::BAD_GATEWAY, format!("The Worker {script} did not answer: {error}\n"))
            }
        }
    }

    /// Answers a request of a Worker's binding.
    pub async fn binding(&self, request: Request<Incoming>, from: SocketAddr) -> Answered {
        if let Some(script) = bindings::service_of(&self.api, request.headers()) {
            return self.pass(request, &script, from).await;
        }
        let (head, body) = request.into_parts();
        match body.collect().await {
            Ok(body) => {
                let answer = bindings::answer(Arc::clone(&self.api), head, body.to_bytes()).await;
                answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
            }
            Err(error) => plain(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

/// How many bytes of an upgraded connection are copied at once: a publisher sends many messages in one write.
const AT_ONCE: usize = 64 * 1024;

/// Copies bytes between the two sides of an upgraded connection.
async fn join(client: hyper::upgrade::OnUpgrade, worker: hyper::upgrade::OnUpgrade) {
    let (Ok(client), Ok(worker)) = tokio::join!(client, worker) else { return };
    let (mut client, mut worker) = (TokioIo::new(client), TokioIo::new(worker));
    let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut worker, AT_ONCE, AT_ONCE).await;
}

#[cfg(test)]
mod tests {
    use super::super::state::{Deployment, Script, Zone};
    use super::*;
    use serde_json::json;

    #[test]
    fn which_worker() {
        let mut state = State::default();
        assert_eq!(choose(&state, "127.0.0.1:8787", "/"), None);
        for (name, created) in [("one", "2026-01-01"), ("two", "2026-01-02")] {
            let deployment = Deployment { created: created.into(), ..Deployment::default() };
            let script = Script { deployments: vec![deployment], ..Script::default() };
            state.scripts.insert(name.into(), script);
        }
        state.domains.insert("d".into(), json!({ "hostname": "nats.example.com", "service": "one" }));
        let mut zone = Zone { name: "example.com".into(), ..Zone::default() };
        zone.routes.insert("r".into(), json!({ "pattern": "example.com/*", "script": "two" }));
        zone.routes.insert("s".into(), json!({ "pattern": "example.com/one*", "script": "one" }));
        state.zones.insert("z".into(), zone);
        for (host, path, wanted) in [
            ("127.0.0.1:8787", "/", "two"),
            ("one.localhost:8787", "/", "one"),
            ("one.acme.workers.dev", "/", "one"),
            ("nats.example.com", "/", "one"),
            ("example.com", "/x", "two"),
            ("EXAMPLE.com:80", "/one/2", "one"),
        ] {
            assert_eq!(choose(&state, host, path).as_deref(), Some(wanted), "{host}{path}");
        }
    }
}
