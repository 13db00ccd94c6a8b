//! The HTTP service: takes GitHub's deliveries, answers when they are safe.
//!
//! [`http`] reads a request and decides whether it is a delivery; [`store`] makes it durable; [`connection`] keeps one
//! TCP connection; [`drain`] is the background task that empties the spool.
//!
//! Every wait has an end that is counted from the request's head, so that an answer leaves before GitHub's ten seconds
//! are over whatever happens behind: see [`Timeline`].

mod connection;
mod drain;
mod http;
mod store;

use crate::metrics::Metrics;
use crate::publish::{self, Publisher};
use crate::signature::Keys;
use crate::spool::{self, Spool};
use secrecy::SecretString;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// GitHub's own limit for a payload: 25 MiB. A larger body is no delivery of GitHub's.
pub const MAX_BODY: usize = 25 * 1024 * 1024;

/// How long a stopping receiver waits for the deliveries that it has begun to take.
const GRACE: Duration = Duration::from_secs(10);

/// What the receiver needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Secrets that a delivery may be signed with; at least one.
    pub secrets: Vec<SecretString>,
    /// The first token of every subject.
    pub subject_prefix: String,
    /// How to reach NATS.
    pub nats: publish::Options,
    /// Where events wait while NATS is away.
    pub spool: spool::Options,
    /// The most deliveries handled at once; more wait for a while, then are refused.
    pub in_flight: usize,
}

/// Why the receiver could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The spool cannot be used.
    #[error("the spool in {directory} cannot be used: {source}")]
    Spool {
        /// Its directory.
        directory: PathBuf,
        /// Why.
        source: spool::Error,
    },
    /// There is no secret, so nothing could be verified.
    #[error("the receiver has no webhook secret")]
    NoSecret,
    /// NATS cannot be reached in a way that waiting does not mend.
    #[error(transparent)]
    Nats(#[from] publish::ConnectError),
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "WL0320",
            Self::Spool { .. } => "WL0321",
            Self::NoSecret => "WL0322",
            Self::Nats(publish::ConnectError::Credentials { .. }) => "WL0323",
            Self::Nats(publish::ConnectError::Url { .. }) => "WL0324",
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "choose another address with --listen, or stop what uses this one",
            Self::Spool { .. } => {
                "make the directory writable for this user, or name another with --spool-directory"
            }
            Self::NoSecret => "name a file with the webhook's secret with --secret-file",
            Self::Nats(publish::ConnectError::Credentials { .. }) => {
                "name a readable .creds file with --creds"
            }
            Self::Nats(publish::ConnectError::Url { .. }) => "check --nats-url and the .creds file",
        }
    }
}

/// When each step of an answer has to be done, counted from the request's head.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    /// There is room to handle it.
    room: Instant,
    /// The body is here.
    body: Instant,
    /// JetStream has acknowledged.
    acknowledged: Instant,
    /// The spool has it.
    spooled: Instant,
}

impl Timeline {
    fn begin(head: Instant) -> Self {
        let after = |millis| head + Duration::from_millis(millis);
        Self { room: after(4_000), body: after(7_500), acknowledged: after(8_000), spooled: after(8_900) }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    keys: Keys,
    subject_prefix: String,
    store: Store,
    metrics: Arc<Metrics>,
    limits: http::Limits,
}

/// A receiver that listens but does not answer yet.
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    shared: Arc<Shared>,
    drain: spool::Drain,
}

impl Service {
    /// Opens the spool and begins to listen and to connect. NATS need not be there.
    ///
    /// # Errors
    /// [`Error`] when something is missing that waiting does not mend.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let keys = Keys::new(&options.secrets);
        if keys.is_empty() {
            return Err(Error::NoSecret);
        }
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|source| Error::Listen { address: options.listen, source })?;
        let directory = options.spool.directory.clone();
        let (spool, drain) =
            Spool::open(options.spool).map_err(|source| Error::Spool { directory, source })?;
        let publisher = Arc::new(Publisher::start(options.nats)?);
        // A moment's patience: otherwise the first events would take the way over the spool for no reason.
        let _ = tokio::time::timeout(Duration::from_secs(1), publisher.wait_until_connected()).await;
        let shared = Shared {
            keys,
            subject_prefix: options.subject_prefix,
            store: Store { publisher, spool, stalled: Arc::default() },
            metrics: Arc::new(Metrics::default()),
            limits: http::Limits {
                in_flight: Semaphore::new(options.in_flight),
                small_bodies: Semaphore::new(http::SMALL_BODIES_KIB),
                large_bodies: Semaphore::new(http::LARGE_BODIES),
            },
        };
        Ok(Self { listener, shared: Arc::new(shared), drain })
    }

    /// Where it listens: the port is chosen by the system when the options said 0.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown` is ready; then takes no new connection, finishes what it has begun, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared, drain } = self;
        let drained = Arc::clone(&shared.metrics);
        // If the drain ended, the spool would fill up and /readyz would turn to 503: it ends only with the process.
        let drain = tokio::spawn(drain::run(
            drain,
            Arc::clone(&shared.store.publisher),
            Arc::clone(&shared.store.stalled),
            drained,
        ));
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let answers = http::Answers::new(Arc::clone(&shared));
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection::serve(stream, answers.clone(), stopping.clone()));
                    }
                    // Out of file descriptors, or the peer has gone: neither ends the service.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut shutdown => break,
            }
        }
        drop(listener);
        stop.send_replace(true);
        let finish = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, finish).await.is_err() {
            tracing::warn!("some connections did not end in time; their deliveries were not acknowledged");
        }
        drain.abort();
    }
}
