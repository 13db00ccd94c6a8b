//! For tests: ends the process before or after the n-th thing that is done to a store.

use super::{Blobs, Condition, Meta, Put, Reading, Tag};
use crate::error::Error;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Called before and after each step with its number, which counts up over all stores that share it.
#[derive(Clone)]
pub struct Probe(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}

impl Probe {
    /// Calls `step` with 1, 2, 3, …
    pub fn new(step: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let count = AtomicU64::new(0);
        Self(Arc::new(move || step(count.fetch_add(1, Ordering::SeqCst) + 1)))
    }

    /// A step is about to begin, or has ended.
    pub fn step(&self) {
        (self.0)();
    }
}

/// What a kill at the n-th step does: ends the process there, without any cleaning up.
#[must_use]
pub fn abort_at(step: u64) -> Probe {
    Probe::new(move |now| {
        if now == step {
            std::process::abort();
        }
    })
}

/// A store with a probe around everything that is done to it.
#[derive(Clone, Debug)]
pub struct Probed {
    inner: Arc<dyn Blobs>,
    probe: Probe,
}

impl Probed {
    /// Puts the probe around the store.
    #[must_use]
    pub fn new(inner: Arc<dyn Blobs>, probe: Probe) -> Self {
        Self { inner, probe }
    }

    fn around<'a, T: Send + 'a>(
        &'a self,
        step: BoxFuture<'a, Result<T, Error>>,
    ) -> BoxFuture<'a, Result<T, Error>> {
        async move {
            self.probe.step();
            let result = step.await;
            self.probe.step();
            result
        }
        .boxed()
    }
}

impl Blobs for Probed {
    fn place(&self, key: &str) -> String {
        self.inner.place(key)
    }

    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Reading>, Error>> {
        self.around(self.inner.read(key))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Meta>, Error>> {
        self.around(self.inner.head(key))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        content: Bytes,
        condition: &'a Condition,
    ) -> BoxFuture<'a, Result<Put, Error>> {
        self.around(self.inner.put(key, content, condition))
    }

    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a Tag>) -> BoxFuture<'a, Result<bool, Error>> {
        self.around(self.inner.delete(key, tag))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Meta>, Error>> {
        self.around(self.inner.list(prefix))
    }
}
