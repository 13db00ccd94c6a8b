//! A stand-in for Cloudflare's REST API, on loopback, on a directory.
//!
//! ```text
//! server        HTTP: faults that were ordered, the limit of requests, the token ─► routes
//! routes        what each path means: r2, workers, kv, containers, zones, user, graphql
//! state         what the account holds, in one file; kv_store and the local R2 hold the rest
//! running       what was uploaded, in the real workerd; its bindings come back to ─► bindings
//! registry      (crate::registry) the account's images: credentials are given here, and the engine pulls from it
//! front         the address of all Workers: which one a request is for, and what of it is counted
//! ```
//!
//! What is decided (permissions, pages, migrations, bindings, patterns, limits) are pure functions. Requests are answered
//! on threads that may block. Where this and Cloudflare differ is in `docs/cloudflare-differences.md`.

mod admin;
pub mod answer;
mod bindings;
mod containers;
mod form;
mod front;
mod graphql;
mod handle;
mod invocations;
mod kv;
mod kv_store;
mod local;
pub mod permission;
mod r2;
pub mod rate;
pub mod request;
mod routes;
mod running;
mod server;
mod state;
pub mod switches;
pub mod temporary;
mod time;
mod user;
mod workers;
mod zones;

pub use crate::r2::{Effect, Fault};
pub use handle::{Handle, start};
pub use server::{Addresses, Logged, Service};
pub use switches::Switches;

use super::engine;
use crate::r2::Keys;
use crate::r2::store::Store;
use crate::registry::Registry;
use kv_store::KvStore;
use parking_lot::Mutex;
use running::Workers;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use state::Disk;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Every code of this module, in order. Each has a page in `docs/errors/`.
pub const CODES: &[&str] = &["WL0815", "WL0816", "WL0817", "WL0818", "WL0819"];

/// What the stand-in needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is. One stand-in at a time uses it.
    pub directory: PathBuf,
    /// The address of the API, of loopback; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address of the Workers.
    pub worker_listen: SocketAddr,
    /// The address of the S3 API.
    pub r2_listen: SocketAddr,
    /// The address of the container registry.
    pub registry_listen: SocketAddr,
    /// Where the objects of the default jurisdiction are, if not below `directory`: a local R2 may serve the same ones.
    pub r2_directory: Option<PathBuf>,
    /// The address of the admin endpoint (faults, switches, tokens, the log of requests), if there is to be one.
    pub admin: Option<SocketAddr>,
    /// The account's id and the value of a token that may do everything. Without it, those of the directory are used, and
    /// made where there are none.
    pub account: Option<Account>,
    /// The account's domain below `workers.dev`, where it has none yet.
    pub subdomain: Option<String>,
    /// What the containers' images stand for.
    pub images: engine::Images,
    /// Whether what is uploaded is run. Without, it is only kept.
    pub run_workers: bool,
    /// workerd; without it, the one that is found.
    pub workerd: Option<PathBuf>,
    /// What is switched on.
    pub switches: Switches,
}

/// Who a client says it is.
#[derive(Clone, Debug)]
pub struct Account {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The value of the token: 40 characters.
    pub token: SecretString,
}

impl Options {
    /// A stand-in on ports that the system chooses, which runs what is uploaded.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        Self {
            directory: directory.into(),
            listen: any,
            worker_listen: any,
            r2_listen: any,
            registry_listen: any,
            r2_directory: None,
            admin: None,
            account: None,
            subdomain: None,
            images: engine::Images::new(),
            run_workers: true,
            workerd: None,
            switches: Switches::default(),
        }
    }
}

/// Why the stand-in could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not to be had.
    #[error("the stand-in's directory {} cannot be used: {source}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address is not to be had.
    #[error("the stand-in cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Others than this machine would reach it.
    #[error("the stand-in listens on loopback only, and {0} is another address")]
    NotLoopback(SocketAddr),
    /// An account or a token that Cloudflare would not have.
    #[error("{0}")]
    Option(String),
    /// Another one runs in the directory.
    #[error("another stand-in runs in {}", .0.display())]
    InUse(PathBuf),
    /// Its registry could not start.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// Its R2 could not start.
    #[error(transparent)]
    R2(#[from] crate::r2::Error),
    /// The container engine could not start, or there is no workerd.
    #[error(transparent)]
    Engine(#[from] super::Error),
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "WL0815",
            Self::Listen { .. } => "WL0816",
            Self::NotLoopback(_) => "WL0817",
            Self::Option(_) => "WL0818",
            Self::InUse(_) => "WL0819",
            Self::Registry(error) => error.code(),
            Self::R2(error) => error.code(),
            Self::Engine(error) => error.code(),
        }
    }

    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Directory { .. } => {
                "make the directory writable for this user, or name another with --directory"
            }
            Self::Listen { .. } => "choose another address (port 0: any), or stop what uses this one",
            Self::NotLoopback(_) => {
                "choose an address of 127.0.0.0/8 or [::1]: this is a stand-in, with no TLS"
            }
            Self::Option(_) => "give an account id and a token as Cloudflare has them, or none of them",
            Self::InUse(_) => "stop the other one, or name another directory with --directory",
            Self::Registry(error) => error.help(),
            Self::R2(error) => error.help(),
            Self::Engine(error) => error.help(),
        }
    }

    /// Whether the options were wrong, as opposed to the world.
    pub const fn is_bad_input(&self) -> bool {
        match self {
            Self::NotLoopback(_) | Self::Option(_) => true,
            Self::Registry(error) => error.is_bad_input(),
            Self::R2(error) => error.is_bad_input(),
            _ => false,
        }
    }
}

/// What all operations work on.
pub struct Api {
    disk: Disk,
    stores: BTreeMap<&'static str, Store>,
    kv: KvStore,
    workers: Workers,
    engine: Mutex<Option<engine::Handle>>,
    registry: Registry,
    /// Where the registry answers: the name that it goes by beside Cloudflare's.
    registry_host: String,
    switches: Mutex<Switches>,
    r2_keys: Keys,
    invocations: invocations::Invocations,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    /// The buckets of a jurisdiction, if there is such a one.
    fn buckets(&self, jurisdiction: &str) -> Option<&Store> {
        self.stores.get(jurisdiction)
    }

    /// What is switched on.
    fn switches(&self) -> Switches {
        self.switches.lock().clone()
    }

    /// The containers that there are.
    fn containers(&self) -> Vec<engine::View> {
        self.engine.lock().as_ref().map(engine::Handle::containers).unwrap_or_default()
    }

    /// Ends the containers and the engine.
    async fn stop_engine(&self) {
        let engine = self.engine.lock().take();
        if let Some(engine) = engine {
            engine.shutdown().await;
        }
    }

    /// The access key id of the account's token, and its secret.
    fn r2_keys(&self) -> (&str, &str) {
        (&self.r2_keys.access_key_id, self.r2_keys.secret_access_key.expose_secret())
    }

    /// Credentials of R2 that end.
    fn temporary_credentials(&self, wanted: &temporary::Wanted, jurisdiction: &str) -> Value {
        let (_, secret) = self.r2_keys();
        let grant = temporary::Grant::new(wanted, jurisdiction, time::now());
        let token = grant.token(secret);
        json!({
            "accessKeyId": grant.id,
            "secretAccessKey": temporary::secret_of(&token),
            "sessionToken": token,
        })
    }
}
