//! The local R2, served inside this process: for a state in it, and for commands that ask R2 with nothing set.
//!
//! Several processes may serve one directory at once, so it does not matter whether `windlass up` keeps one running, too.

use std::path::Path;

use secrecy::ExposeSecret;
use tokio::sync::oneshot;
use windlass_sandbox::r2;

use crate::failure::{Error, Failure};
use crate::own_state::{ENDPOINT, KEY_ID, SECRET, variable};
use crate::run_directory::RunDirectory;

/// A local R2 inside this process, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct LocalR2 {
    endpoint: String,
    keys: r2::Keys,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl LocalR2 {
    /// Serves the objects of a directory, with a bucket that is made where it is missing.
    pub fn serve(directory: &Path, bucket: &str) -> Result<Self, Failure> {
        let told = |error: r2::Error| Failure::new(error.code(), error.to_string(), error.help());
        let keys = r2::keys_of(directory).map_err(told)?;
        let options = r2::Options { bucket: Some(bucket.to_owned()), ..r2::Options::new(directory) };
        let (stop, stopped) = oneshot::channel();
        let (ready, begun) = std::sync::mpsc::channel();
        let failed =
            |cause: std::io::Error| Error::Environment { what: "the local R2", cause: cause.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let serves = move || {
            runtime.block_on(async move {
                match r2::start(options).await {
                    Ok(handle) => {
                        let _ = ready.send(Ok(handle.endpoint().to_owned()));
                        let _ = stopped.await;
                        handle.shutdown().await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        };
        let thread = std::thread::Builder::new().name("local-r2".into()).spawn(serves).map_err(failed)?;
        let endpoint = begun.recv().map_err(|_| failed(std::io::Error::other("it ended")))?.map_err(told)?;
        Ok(Self { endpoint, keys, stop: Some(stop), thread: Some(thread) })
    }

    /// The one of a run directory for whoever asks R2 with nothing set; `None` where something is, or `windlass up` has made
    /// none.
    pub fn where_nothing_is_set(directory: &RunDirectory, bucket: &str) -> Result<Option<Self>, Failure> {
        let is_set = [ENDPOINT, "AWS_ENDPOINT_URL", KEY_ID, SECRET, "AWS_PROFILE"]
            .into_iter()
            .any(|name| variable(name).is_some());
        if is_set || !directory.r2().is_dir() {
            return Ok(None);
        }
        Self::serve(&directory.r2(), bucket).map(Some)
    }

    /// What a variable is to be for whoever asks it.
    pub fn variable(&self, name: &str) -> Option<String> {
        match name {
            ENDPOINT => Some(self.endpoint.clone()),
            KEY_ID => Some(self.keys.access_key_id.clone()),
            SECRET => Some(self.keys.secret_access_key.expose_secret().to_owned()),
            _ => None,
        }
    }
}

impl Drop for LocalR2 {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
