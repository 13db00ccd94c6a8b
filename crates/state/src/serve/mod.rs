//! An endpoint on loopback in front of any store, for Terraform: its S3 dialect and its `http` backend.
//!
//! ```text
//! server (here)   one port ─► s3 (bucket paths), http (/-/http/KEY)
//! gate            read, write, lock, unlock: guarded, written down ─► store
//! ```
//!
//! Every version goes into the history, is encrypted before it leaves the machine, and is written only over the version
//! that Terraform could have seen. A bucket's name in a request is not looked at: a key is a key of the store.

mod audit;
mod error;
mod gate;
mod http;
mod s3;

use crate::connections;
use crate::lock::Owner;
use crate::store::Store;
use ::http::{Method, Request, Response, StatusCode};
use audit::Audit;
use bytes::Bytes;
pub use error::Error;
use gate::Gate;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use s3s::Body;
use s3s::service::{S3Service, S3ServiceBuilder};
use secrecy::{ExposeSecret, SecretString};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a stopping endpoint waits for the answers that it has begun.
const GRACE: Duration = Duration::from_secs(70);

/// What an endpoint is to be.
#[derive(Debug)]
pub struct Options {
    /// Where the states are.
    pub store: Store,
    /// Put before every key; may be empty.
    pub prefix: String,
    /// Where to listen: an address of this machine alone.
    pub listen: SocketAddr,
    /// The file that gets a line for each operation.
    pub audit: Option<PathBuf>,
}

/// An endpoint that listens but does not answer yet.
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    keys: Keys,
    shared: Arc<Shared>,
}

/// Keys that were made for one run of an endpoint.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key's ID, and the user of the `http` backend.
    pub access_key_id: String,
    /// The secret access key, and the password of the `http` backend.
    pub secret_access_key: SecretString,
}

#[derive(Debug)]
struct Shared {
    gate: Arc<Gate>,
    s3: S3Service,
    password: http::Password,
}

impl Service {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Error`] when the address or the audit is not to be had.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let address = options.listen;
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback(address));
        }
        let audit = Audit::open(options.audit.as_deref())?;
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let keys = Keys {
            access_key_id: hex::encode(rand::random::<[u8; 16]>()),
            secret_access_key: SecretString::from(hex::encode(rand::random::<[u8; 32]>())),
        };
        let gate = Arc::new(Gate::new(options.store, &options.prefix, audit));
        let mut builder = S3ServiceBuilder::new(s3::Dialect::new(Arc::clone(&gate)));
        builder.set_auth(s3::Account {
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: keys.secret_access_key.clone(),
        });
        let password = http::Password::new(&keys.access_key_id, keys.secret_access_key.expose_secret());
        let shared = Arc::new(Shared { gate, s3: builder.build(), password });
        Ok(Self { listener, address, keys, shared })
    }

    /// Its URL for S3.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its URL for the `http` backend, of one state.
    #[must_use]
    pub fn http_address(&self, key: &str) -> String {
        format!("http://{}{}{key}", self.address, http::PATH)
    }

    /// The keys to sign with.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Answers until `shutdown` is ready; then takes no new connection, finishes what it has begun, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared, .. } = self;
        let service = hyper::service::service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(shared.answer(request).await) }
        });
        connections::answer(listener, service, shutdown, GRACE).await;
    }

    /// Answers in the background.
    #[must_use]
    pub fn start(self) -> Handle {
        let (stop, mut stopping) = watch::channel(false);
        let gate = Arc::clone(&self.shared.gate);
        let task = tokio::spawn(self.run(async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        }));
        Handle { gate, stop, task }
    }
}

/// An endpoint that answers. Dropped, it stops.
#[derive(Debug)]
pub struct Handle {
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Handle {
    /// From now on, every lock that is given belongs to this process, and is an orphan when it is gone.
    pub fn owned_by(&self, process: u32) {
        self.gate.owned_by(Owner::of(process));
    }

    /// Stops it, and releases every lock that was given and not released: whoever had them is gone. Where they were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish(self) -> Result<Vec<String>, crate::Error> {
        self.stop.send_replace(true);
        let _ = self.task.await;
        self.gate.heal().await
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with(http::PATH) {
            return body(http::answer(&self.gate, &self.password, request).await);
        }
        // Terraform asks who it is before it asks for a state, unless its block says not to.
        if path == "/" && request.method() == Method::POST {
            return body(identity(request).await);
        }
        match Box::pin(self.s3.call(request.map(Body::from))).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(?error, "a request was not answered");
                body(http::with(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()))
            }
        }
    }
}

fn body(answer: Response<Full<Bytes>>) -> Response<Body> {
    answer.map(|body| Body::http_body_unsync(body.map_err(|never| match never {})))
}

/// STS's `GetCallerIdentity`: says nothing that is not fixed, so no signature is looked at.
async fn identity(request: Request<Incoming>) -> Response<Full<Bytes>> {
    const ANSWER: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
        <GetCallerIdentityResult><Arn>arn:aws:iam::000000000000:user/windlass</Arn><UserId>windlass</UserId>\
        <Account>000000000000</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
    let form = http_body_util::Limited::new(request.into_body(), 1 << 16).collect().await;
    let form = form.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if !form.split(|byte| *byte == b'&').any(|pair| pair == b"Action=GetCallerIdentity") {
        return http::with(StatusCode::NOT_IMPLEMENTED, Bytes::new());
    }
    let mut answer = http::with(StatusCode::OK, Bytes::from_static(ANSWER.as_bytes()));
    answer.headers_mut().insert(::http::header::CONTENT_TYPE, ::http::HeaderValue::from_static("text/xml"));
    answer
}
