//! The server: connections, faults, the limit of requests, tokens. What a request means is [`super::routes`]'.

use super::answer::{Answer, Refusal};
use super::front::{self, Front};
use super::invocations::Invocations;
use super::kv_store::KvStore;
use super::rate::{Rate, Standing};
use super::request::{BASE, Request};
use super::running::{Place, Workers};
use super::state::Disk;
use super::temporary::Grants;
use super::{Account, Api, Error, Options, admin, local, permission, routes, time};
use crate::cloudflare::{engine, workerd};
use crate::r2::fault::{Effect, Fault, Faults};
use crate::r2::store::Store;
use crate::r2::{self as local_r2};
use crate::registry::{self, Registry};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The most bytes of a request's body.
const LARGEST_BODY: usize = 128 * 1024 * 1024;

/// Requests that the log keeps; older ones are forgotten.
const LOGGED: usize = 10_000;

/// How long a stopping server waits for the answers that it has begun.
const GRACE: Duration = Duration::from_secs(5);

/// A request that was made, as tests look at it. Headers and bodies are not kept: they hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Logged {
    /// The HTTP method.
    pub method: String,
    /// The path behind `/client/v4/`.
    pub path: String,
    /// The query, as it was sent.
    pub query: String,
    /// The status of the answer; `None` when the connection was cut.
    pub status: Option<u16>,
    /// The fault that it met.
    pub fault: Option<Effect>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) api: Arc<Api>,
    front: Front,
    pub(super) faults: Mutex<Faults>,
    pub(super) requests: Mutex<VecDeque<Logged>>,
    rate: Mutex<Rate>,
}

/// A stand-in that listens but does not answer yet.
pub struct Service {
    api: TcpListener,
    workers: TcpListener,
    bindings: TcpListener,
    admin: Option<TcpListener>,
    pub(super) shared: Arc<Shared>,
    account: Account,
    r2: BTreeMap<&'static str, local_r2::Handle>,
    registry: registry::Handle,
    /// Held while it lives.
    lock: File,
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Makes the directory, which only its owner reads, and takes its lock.
fn own(directory: &Path) -> Result<File, Error> {
    use std::os::unix::fs::DirBuilderExt;
    let opened = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let file = File::options().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        io::Result::Ok(file)
    };
    opened().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => Error::InUse(directory.to_owned()),
        _ => Error::Directory { directory: directory.to_owned(), source },
    })
}

impl Service {
    /// Opens the directory, begins to listen, and starts what was deployed.
    ///
    /// # Errors
    /// [`Error`] when the directory or an address is not to be had, the options are not Cloudflare's, or Workers are to
    /// run and there is no workerd.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let api = listen(options.listen).await?;
        let workers = listen(options.worker_listen).await?;
        let bindings = listen((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let admin = match options.admin {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let binary = match (options.run_workers, options.workerd.clone()) {
            (false, _) => None,
            (true, Some(binary)) => Some(binary),
            (true, None) => Some(workerd::binary::find()?),
        };
        let directory = options.directory.clone();
        let in_directory = |source| Error::Directory { directory: directory.clone(), source };
        let lock = own(&directory)?;
        let account = local::account(&directory, options.account)?;
        let disk = Disk::open(&directory).map_err(in_directory)?;
        let r2_keys =
            local::enter(&disk, &account).map_err(|refusal| in_directory(io::Error::other(refusal)))?;
        if let Some(subdomain) = options.subdomain {
            let named = disk.change(|state| {
                state.subdomain.get_or_insert(subdomain);
                Ok(())
            });
            named.map_err(|refusal: super::answer::Refusal| in_directory(io::Error::other(refusal)))?;
        }
        let mut stores = BTreeMap::new();
        let mut r2 = BTreeMap::new();
        for jurisdiction in super::r2::JURISDICTIONS {
            let (name, address) = match *jurisdiction {
                "default" => ("r2".to_owned(), options.r2_listen),
                other => (format!("r2-{other}"), (Ipv4Addr::LOCALHOST, 0).into()),
            };
            let own = directory.join(name);
            let place = match &options.r2_directory {
                Some(shared) if *jurisdiction == "default" => shared.clone(),
                _ => own,
            };
            stores.insert(*jurisdiction, Store::open(place.clone()).map_err(in_directory)?);
            let options = local_r2::Options {
                listen: address,
                keys: Some(r2_keys.clone()),
                sessions: Some(Arc::new(Grants { jurisdiction, secret: r2_keys.secret_access_key.clone() })),
                ..local_r2::Options::new(place)
            };
            r2.insert(*jurisdiction, local_r2::start(options).await?);
        }
        let own_images = registry::Options {
            namespace: Some(account.id.clone()),
            ..registry::Options::new(directory.join("registry"))
        };
        let own_images = Registry::open(own_images)?;
        let served = own_images.serve(options.registry_listen).await?;
        let registry_host = served.address().to_string();
        let hosts = vec![super::containers::REGISTRY.to_owned(), registry_host.clone()];
        let images = options.images.pulled(own_images.clone(), hosts, &directory.join("images"));
        let engine = match &binary {
            Some(_) => Some(engine::start(engine::Options::new(directory.join("engine"), images)).await?),
            None => None,
        };
        let place = Place {
            directory: directory.join("workers"),
            binary,
            engine: engine.as_ref().map(|engine| engine.socket().to_owned()),
            bindings: bindings.local_addr().map_err(in_directory)?,
        };
        let workers_place = Workers::new(place);
        workers_place.end_trials().await.map_err(in_directory)?;
        let limit = options.switches.rate_limit;
        let shared = Arc::new(Api {
            kv: KvStore::open(&directory.join("kv")).map_err(in_directory)?,
            disk,
            stores,
            workers: workers_place,
            engine: Mutex::new(engine),
            registry: own_images,
            registry_host,
            switches: Mutex::new(options.switches),
            r2_keys,
            invocations: Invocations::default(),
        });
        let shared = Arc::new(Shared {
            front: Front::new(Arc::clone(&shared)),
            api: shared,
            faults: Mutex::default(),
            requests: Mutex::default(),
            rate: Mutex::new(Rate::new(limit)),
        });
        Ok(Self { api, workers, bindings, admin, shared, account, r2, registry: served, lock })
    }

    /// What clients need: where it listens, and with which keys.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> io::Result<Addresses> {
        let url = |listener: &TcpListener| io::Result::Ok(format!("http://{}", listener.local_addr()?));
        Ok(Addresses {
            api_url: format!("{}{BASE}", url(&self.api)?),
            worker_url: url(&self.workers)?,
            admin_url: self.admin.as_ref().map(url).transpose()?,
            account: self.account.clone(),
            r2: self.r2.iter().map(|(name, handle)| (*name, handle.endpoint().to_owned())).collect(),
            r2_keys: self.shared.api.r2_keys.clone(),
            registry: self.registry.address().to_string(),
        })
    }

    /// Orders a fault. Its `key` is the path behind `/client/v4/`.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.lock().add(fault);
    }

    /// Does something with the container engine, if Workers are run.
    pub fn with_engine<T>(&self, work: impl FnOnce(&engine::Handle) -> T) -> Option<T> {
        self.shared.api.engine.lock().as_ref().map(work)
    }

    /// Answers until `shutdown` is ready; then takes no new connection, finishes what it has begun, ends the Workers and
    /// their containers, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { api, workers, bindings, admin, shared, r2, registry, lock, .. } = self;
        let (stop, stopping) = watch::channel(false);
        let (end, ending) = watch::channel(false);
        // If one of these ended, its requests would not be answered any more, which whoever makes them notices.
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(api, Arc::clone(&shared), Kind::Api, stopping.clone()));
        tasks.spawn(serve(workers, Arc::clone(&shared), Kind::Worker, stopping.clone()));
        if let Some(admin) = admin {
            tasks.spawn(serve(admin, Arc::clone(&shared), Kind::Admin, stopping.clone()));
        }
        // Workers need their bindings until they have ended.
        let bindings = tokio::spawn(serve(bindings, Arc::clone(&shared), Kind::Binding, ending));
        let scripts = shared.api.disk.read(|state| state.scripts.keys().cloned().collect::<Vec<_>>());
        for script in scripts {
            let shared = Arc::clone(&shared);
            let _ =
                tokio::task::spawn_blocking(move || shared.api.workers.reconcile(&shared.api, &script)).await;
        }
        shutdown.await;
        stop.send_replace(true);
        let finished = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, finished).await;
        tasks.abort_all();
        shared.api.workers.stop().await;
        end.send_replace(true);
        let _ = tokio::time::timeout(GRACE, bindings).await;
        shared.api.stop_engine().await;
        drop(registry);
        for handle in r2.into_values() {
            handle.shutdown().await;
        }
        drop(lock);
    }
}

/// What clients need to know of a stand-in.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// What `CLOUDFLARE_API_BASE_URL` is set to.
    pub api_url: String,
    /// Where the Workers answer.
    pub worker_url: String,
    /// Where the admin endpoint is, if there is one.
    pub admin_url: Option<String>,
    /// The account and its token.
    pub account: Account,
    /// The S3 endpoint of each jurisdiction.
    pub r2: BTreeMap<&'static str, String>,
    /// The keys of S3 requests.
    pub r2_keys: local_r2::Keys,
    /// What `CLOUDFLARE_CONTAINER_REGISTRY` is set to: the registry's address and port.
    pub registry: String,
}

/// What a listener is for.
#[derive(Clone, Copy)]
enum Kind {
    Api,
    Worker,
    Binding,
    Admin,
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, kind: Kind, stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut stop = stopping.clone();
    loop {
        tokio::select! {
            () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    // Small answers leave at once.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection(stream, from, Arc::clone(&shared), kind, stopping.clone()));
                }
                // Too many open files, mostly: the next moment may be better.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared>,
    kind: Kind,
    mut stopping: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request, from, kind).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // Errors are a client that went away, or a connection that was cut on purpose.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The connection is cut: the HTTP library closes it when it is handed this.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

fn boxed(answer: http::Response<Full<Bytes>>) -> front::Answered {
    answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

impl Shared {
    async fn answer(
        self: &Arc<Self>,
        request: http::Request<Incoming>,
        from: SocketAddr,
        kind: Kind,
    ) -> Result<front::Answered, Cut> {
        match kind {
            Kind::Api => self.api(request).await.map(boxed),
            Kind::Worker => Ok(self.front.answer(request, from).await),
            Kind::Binding => Ok(self.front.binding(request, from).await),
            Kind::Admin => {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
                let shared = Arc::clone(self);
                let work = move || admin::answer(&shared, &Request::new(head, body));
                Ok(boxed(tokio::task::spawn_blocking(work).await.map_err(|_| Cut)?))
            }
        }
    }

    async fn api(
        self: &Arc<Self>,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, Cut> {
        let path = request.uri().path();
        let mut entry = Logged {
            method: request.method().to_string(),
            path: path.strip_prefix(BASE).unwrap_or(path).trim_matches('/').to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            status: None,
            fault: None,
        };
        entry.fault = self.faults.lock().meet(&entry.method, &entry.path);
        let answer = self.api_with(request, entry.fault).await;
        entry.status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        tracing::debug!(method = entry.method, path = entry.path, status = entry.status, "request");
        let mut requests = self.requests.lock();
        if requests.len() == LOGGED {
            requests.pop_front();
        }
        requests.push_back(entry);
        answer
    }

    async fn api_with(
        self: &Arc<Self>,
        request: http::Request<Incoming>,
        fault: Option<Effect>,
    ) -> Result<http::Response<Full<Bytes>>, Cut> {
        match fault {
            Some(Effect::LoseRequest) => return Err(Cut),
            Some(Effect::Error(status)) => return Ok(error_answer(status)),
            Some(Effect::Delay(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Some(Effect::LoseAnswer) | None => {}
        }
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return Ok(Refusal::new(413, 10_001, "The request is too large.").into_http());
        };
        let request = Request::new(head, body.to_bytes());
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || shared.work(&request)).await;
        let answer = done.unwrap_or_else(|panic| Refusal::new(500, 10_001, panic.to_string()).into_http());
        if fault == Some(Effect::LoseAnswer) { Err(Cut) } else { Ok(answer) }
    }

    fn work(&self, request: &Request) -> http::Response<Full<Bytes>> {
        if !request.path.starts_with(BASE) {
            return Refusal::no_route(&request.path).into_http();
        }
        let now = time::now();
        let authorization = request.header("authorization");
        let known = self.api.disk.read(|state| {
            let found = permission::token_of(state, authorization, now)?;
            Ok::<_, Refusal>((found.0.to_owned(), found.1.clone()))
        });
        let (id, token) = match known {
            Ok(known) => known,
            Err(refusal) => return refusal.into_http(),
        };
        let limit = self.api.switches().rate_limit;
        let standing = {
            let mut rate = self.rate.lock();
            if rate.limit != limit {
                rate.limit = limit;
                rate.forget();
            }
            rate.count(&id, now)
        };
        let outcome = if standing.exceeded {
            let refusal = Refusal::new(429, 10_429, "Rate limited. Please wait and try again.");
            Err(Refusal { retry_after: Some(standing.resets_in), ..refusal })
        } else {
            let segments: Vec<_> = request.segments.iter().map(String::as_str).collect();
            let allowed =
                self.api.disk.read(|state| permission::check(state, &token, &request.method, &segments));
            allowed.and_then(|()| routes::route(&self.api, request, &id, &token))
        };
        let answer = outcome.map_or_else(Refusal::into_http, Answer::into_http);
        with_standing(answer, standing)
    }
}

fn with_standing(mut answer: http::Response<Full<Bytes>>, standing: Standing) -> http::Response<Full<Bytes>> {
    let ray = format!("{:016x}-WDL", rand::random::<u64>());
    for (name, value) in
        [("ratelimit", standing.header()), ("ratelimit-policy", standing.policy()), ("cf-ray", ray)]
    {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    answer
}

/// An ordered failure, as Cloudflare words it.
fn error_answer(status: u16) -> http::Response<Full<Bytes>> {
    let (code, message) = match status {
        429 => (10_429, "Rate limited. Please wait and try again."),
        500 => (10_001, "Internal server error"),
        502 => (10_002, "Bad gateway"),
        503 => (10_013, "Service temporarily unavailable"),
        _ => (10_001, "This failure was ordered."),
    };
    let retry_after = (status == 429).then_some(1);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).as_u16();
    Refusal { retry_after, ..Refusal::new(status, code, message) }.into_http()
}
