//! A stand-in that runs in this process.

use super::answer::Refusal;
use super::server::{Addresses, Logged, Service, Shared};
use super::{Error, Options};
use crate::cloudflare::engine;
use crate::r2::Fault;
use secrecy::ExposeSecret;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A stand-in that runs in this process. It stops when this is dropped; [`Handle::shutdown`] waits for the end.
pub struct Handle {
    addresses: Addresses,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Starts a stand-in in this process.
///
/// # Errors
/// As [`Service::bind`].
pub async fn start(options: Options) -> Result<Handle, Error> {
    let (address, directory) = (options.listen, options.directory.clone());
    let service = Service::bind(options).await?;
    let addresses = service.addresses().map_err(|source| Error::Listen { address, source })?;
    tracing::debug!(directory = %directory.display(), "the stand-in listens");
    let (stop, mut stopping) = watch::channel(false);
    let shared = Arc::clone(&service.shared);
    // If it ended by itself, every request would fail, which whoever makes them notices.
    let task = tokio::spawn(service.run(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    }));
    Ok(Handle { addresses, shared, stop, task: Some(task) })
}

impl Handle {
    /// What clients need to know.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The value of the token that may do everything.
    pub fn token(&self) -> &str {
        self.addresses.account.token.expose_secret()
    }

    /// A new token with these permissions, as Cloudflare names them (`Workers Scripts Write`).
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn add_token(&self, permissions: &[&str]) -> Result<String, Refusal> {
        let permissions = permissions.iter().map(|name| (*name).to_owned()).collect();
        super::user::add(&self.shared.api, "limited", permissions).map(|(_, value, _)| value)
    }

    /// Orders a fault. Its `key` is the path behind `/client/v4/`.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.lock().add(fault);
    }

    /// Forgets the faults that are still to come.
    pub fn clear_faults(&self) {
        self.shared.faults.lock().clear();
    }

    /// What is switched on from now on.
    pub fn switch(&self, change: impl FnOnce(&mut super::Switches)) {
        change(&mut self.shared.api.switches.lock());
    }

    /// Does something with the container engine, if Workers are run.
    pub fn with_engine<T>(&self, work: impl FnOnce(&engine::Handle) -> T) -> Option<T> {
        self.shared.api.engine.lock().as_ref().map(work)
    }

    /// The requests that were answered or cut, in the order of that.
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.requests.lock().iter().cloned().collect()
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
