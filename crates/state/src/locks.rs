//! The locks that one command holds, so that they end with it however it ends.

use crate::error::Error;
use crate::lock::LockInfo;
use crate::store::{Held, Store};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// What a command holds.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: Vec<(Store, Held)>,
    /// Locks that were taken over, for whoever reports.
    pub took_over: Vec<LockInfo>,
}

impl Locks {
    /// Takes one more.
    pub(crate) async fn take(
        &mut self,
        store: &Store,
        key: &str,
        operation: &str,
        wait: Duration,
    ) -> Result<(), Error> {
        let held = store.lock(key, operation, wait).await?;
        self.took_over.extend(held.took_over.clone());
        self.held.push((store.clone(), held));
        Ok(())
    }

    /// Releases those whose store is a bucket. Those of files stay.
    pub(crate) async fn release_remote(&mut self) -> Result<(), Error> {
        let (local, remote) =
            std::mem::take(&mut self.held).into_iter().partition(|(_, held)| held.is_local());
        self.held = local;
        release(remote).await
    }

    /// Releases all.
    pub(crate) async fn release(self) -> Result<(), Error> {
        release(self.held).await
    }
}

async fn release(held: Vec<(Store, Held)>) -> Result<(), Error> {
    let mut result = Ok(());
    for (store, held) in held.into_iter().rev() {
        // One that cannot be released does not keep the others.
        result = result.and(store.unlock(held).await);
    }
    result
}

/// Runs `work` until it ends or `stop` does, and releases what it held.
pub(crate) async fn until<T>(
    stop: impl Future<Output = ()>,
    work: impl AsyncFnOnce(&mut Locks) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut locks = Locks::default();
    let result = {
        let (stop, work) = (pin!(stop), pin!(work(&mut locks)));
        tokio::select! {
            biased;
            result = work => result,
            () = stop => Err(Error::Interrupted),
        }
    };
    let released = locks.release().await;
    // What went wrong first is what counts.
    let value = result?;
    released.map(|()| value)
}
