//! The server: connections, faults, the log of requests. What a request means is [`super::api`]'s.

mod admin;

use super::api::Api;
use super::api::access::{Account, Implemented, Temporary};
use super::fault::{Effect, Fault, Faults};
use super::refusal::Refusal;
use super::store::Store;
use super::{Error, Keys, Options, credentials};
use http::StatusCode;
use hyper::body::Incoming;
use parking_lot::Mutex;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{Body, HttpResponse};
use secrecy::SecretString;
use serde::Serialize;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Requests that the log keeps; older ones are forgotten.
const LOGGED: usize = 10_000;

/// How long a stopping server waits for the answers that it has begun.
const GRACE: Duration = Duration::from_secs(5);

/// A request that was made, as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// `bucket/key`, decoded.
    pub path: String,
    /// The query, as it was sent.
    pub query: String,
    /// `If-Match`, as it was sent.
    pub if_match: Option<String>,
    /// `If-None-Match`, as it was sent.
    pub if_none_match: Option<String>,
    /// The status of the answer; `None` when the connection was cut.
    pub status: Option<u16>,
    /// The fault that it met.
    pub fault: Option<Effect>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    service: S3Service,
    store: Arc<Store>,
    temporary: Arc<Temporary>,
    faults: Mutex<Faults>,
    requests: Mutex<VecDeque<Request>>,
}

/// Every name is let through to the operations, which refuse it as R2 does.
struct AnyName;

impl NameValidation for AnyName {
    fn validate_bucket_name(&self, name: &str) -> bool {
        !name.is_empty()
    }
}

/// A local R2 that listens but does not answer yet.
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    admin: Option<TcpListener>,
    shared: Arc<Shared>,
    keys: Keys,
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

impl Service {
    /// Opens the directory and begins to listen.
    ///
    /// # Errors
    /// [`Error`] when the directory or an address is not to be had, or the options are not R2's.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        if let Some(keys) = &options.keys {
            credentials::check(keys)?;
        }
        let listener = listen(options.listen).await?;
        let admin = match options.admin {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let directory = options.directory.clone();
        let sessions = options.sessions.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(options.directory.clone())?;
            let keys = match options.keys {
                Some(keys) => keys,
                None => credentials::of_directory(&options.directory)?,
            };
            let made = options.bucket.map(|bucket| (store.create_bucket(&bucket), bucket));
            io::Result::Ok((store, keys, made))
        });
        let in_directory = |source| Error::Directory { directory, source };
        let (store, keys, made) = match opened.await {
            Ok(opened) => opened.map_err(in_directory)?,
            Err(panic) => return Err(in_directory(io::Error::other(panic))),
        };
        match made {
            None | Some((Ok(()) | Err(Refusal::BucketExists), _)) => {}
            Some((Err(refusal), bucket)) => {
                return Err(Error::Option(format!("the bucket {bucket:?} cannot be made: {refusal}")));
            }
        }
        store.limit_writes(options.write_interval);
        let store = Arc::new(store);
        let temporary = Arc::new(Temporary::new(sessions));
        let mut builder = S3ServiceBuilder::new(Api::new(Arc::clone(&store)));
        builder.set_auth(Account {
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: keys.secret_access_key.clone(),
            temporary: Arc::clone(&temporary),
        });
        builder.set_access(Implemented {
            access_key_id: keys.access_key_id.clone(),
            temporary: Arc::clone(&temporary),
        });
        builder.set_validation(AnyName);
        let shared = Shared {
            service: builder.build(),
            store,
            temporary,
            faults: Mutex::default(),
            requests: Mutex::default(),
        };
        Ok(Self { listener, admin, shared: Arc::new(shared), keys })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where its admin endpoint listens, if it has one.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn admin_address(&self) -> io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// The keys to sign with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Answers until `shutdown` is ready; then takes no new connection, finishes what it has begun, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, admin, shared, .. } = self;
        let (stop, stopping) = watch::channel(false);
        // If it ended, nobody could order faults any more; R2 itself would go on.
        let admin =
            admin.map(|listener| tokio::spawn(admin::run(listener, Arc::clone(&shared), stopping.clone())));
        let service = hyper::service::service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { shared.answer(request).await }
        });
        let shutdown = async {
            shutdown.await;
            stop.send_replace(true);
        };
        windlass_state::connections::answer(listener, service, shutdown, GRACE).await;
        if let Some(admin) = admin {
            let _ = tokio::time::timeout(GRACE, admin).await;
        }
    }
}

/// The connection is cut: the HTTP library closes it when it is handed this.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

impl Shared {
    async fn answer(&self, request: http::Request<Incoming>) -> Result<HttpResponse, Cut> {
        let header = |name| {
            request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut entry = Request {
            method: request.method().to_string(),
            path: decoded(request.uri().path()),
            query: request.uri().query().unwrap_or_default().to_owned(),
            if_match: header(http::header::IF_MATCH),
            if_none_match: header(http::header::IF_NONE_MATCH),
            status: None,
            fault: None,
        };
        entry.fault = self.faults.lock().meet(&entry.method, &entry.path);
        let answer = self.answer_with(request, entry.fault).await;
        entry.status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        tracing::debug!(method = entry.method, path = entry.path, status = entry.status, "request");
        let mut requests = self.requests.lock();
        if requests.len() == LOGGED {
            requests.pop_front();
        }
        requests.push_back(entry);
        answer
    }

    async fn answer_with(
        &self,
        request: http::Request<Incoming>,
        fault: Option<Effect>,
    ) -> Result<HttpResponse, Cut> {
        match fault {
            Some(Effect::LoseRequest) => return Err(Cut),
            Some(Effect::Error(status)) => return Ok(error_answer(status)),
            Some(Effect::Delay(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Some(Effect::LoseAnswer) | None => {}
        }
        self.temporary.announce(request.headers(), request.uri().query());
        let answer = self.service.call(request.map(Body::from)).await.map_err(|_| Cut)?;
        if fault == Some(Effect::LoseAnswer) { Err(Cut) } else { Ok(answer) }
    }
}

/// An ordered failure, as R2 words it.
fn error_answer(status: u16) -> HttpResponse {
    let (code, message) = match status {
        // What a bucket lock rule answers to whoever would replace or delete what it keeps.
        409 => ("ObjectLockedByBucketPolicy", "The object is locked by the bucket policy."),
        429 => ("TooManyRequests", "Reduce your concurrent request rate for the same object."),
        503 => ("ServiceUnavailable", "Service is temporarily unavailable."),
        500 => ("InternalError", "We encountered an internal error. Please try again."),
        _ => ("InternalError", "This failure was ordered."),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut answer = HttpResponse::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/xml"));
    answer
}

/// `bucket/key` of a path: without the first slash, with `%xx` decoded.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.strip_prefix('/').unwrap_or(path).as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match after.split_at_checked(2) {
            Some((digits, behind)) if first == b'%' && digits.iter().all(u8::is_ascii_hexdigit) => {
                bytes.extend(hex::decode(digits).unwrap_or_default());
                rest = behind;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A local R2 that runs in this process. It stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    endpoint: String,
    admin_url: Option<String>,
    keys: Keys,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Starts a local R2 in this process.
///
/// # Errors
/// As [`Service::bind`].
pub async fn start(options: Options) -> Result<Handle, Error> {
    let address = options.listen;
    let service = Service::bind(options).await?;
    let unknown = |source| Error::Listen { address, source };
    let endpoint = format!("http://{}", service.local_address().map_err(unknown)?);
    let admin_url = service.admin_address().map_err(unknown)?.map(|address| format!("http://{address}"));
    let (stop, mut stopping) = watch::channel(false);
    let (keys, shared) = (service.keys.clone(), Arc::clone(&service.shared));
    // If it ended by itself, every request would fail, which whoever makes them notices.
    let task = tokio::spawn(service.run(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    }));
    Ok(Handle { endpoint, admin_url, keys, shared, stop, task: Some(task) })
}

impl Handle {
    /// The URL of the S3 API.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The URL of the admin endpoint, if there is one.
    pub fn admin_url(&self) -> Option<&str> {
        self.admin_url.as_deref()
    }

    /// The access key id.
    pub fn access_key_id(&self) -> &str {
        &self.keys.access_key_id
    }

    /// The secret access key.
    pub fn secret_access_key(&self) -> &SecretString {
        &self.keys.secret_access_key
    }

    /// Orders a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.lock().add(fault);
    }

    /// Forgets the faults that are still to come.
    pub fn clear_faults(&self) {
        self.shared.faults.lock().clear();
    }

    /// Keeps R2's limit from now on, or no limit.
    pub fn limit_writes(&self, interval: Option<Duration>) {
        self.shared.store.limit_writes(interval);
    }

    /// The requests that were answered or cut, in the order of that.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().iter().cloned().collect()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        self.shared.requests.lock().clear();
    }

    /// Stops it, and waits until what it had begun is done.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn paths() {
        assert_eq!(decoded("/b/env%3A/a%20b"), "b/env:/a b");
        assert_eq!(decoded("/b/100%"), "b/100%");
        assert_eq!(decoded("/"), "");
    }
}
