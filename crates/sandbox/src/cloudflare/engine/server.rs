//! The socket and the connections. What a call means is [`super::api`]'s.

use super::container::{Container, View};
use super::exec::Exec;
use super::fault::{Fault, Faults};
use super::image::Image;
use super::{Images, Options, address, api};
use crate::cloudflare::{Error, left, own};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What all connections share.
pub(super) struct Shared {
    pub(super) directory: PathBuf,
    pub(super) images: Images,
    pub(super) containers: Mutex<Vec<Arc<Container>>>,
    pub(super) execs: Mutex<HashMap<String, Arc<Exec>>>,
    pub(super) faults: Mutex<Faults>,
    /// The image that a container of a name ran last.
    pub(super) ran: Mutex<HashMap<String, Image>>,
}

impl Shared {
    /// A container by its name or id.
    pub(super) fn container(&self, name: &str) -> Option<Arc<Container>> {
        let name = name.trim_start_matches('/');
        let containers = self.containers.lock();
        containers.iter().find(|container| container.name == name || container.id == name).map(Arc::clone)
    }

    pub(super) fn views(&self) -> Vec<View> {
        let containers = self.containers.lock();
        containers.iter().filter(|container| container.side_car.is_none()).map(|one| one.view()).collect()
    }
}

/// An engine that listens but does not answer yet.
pub struct Service {
    listener: UnixListener,
    socket: PathBuf,
    shared: Arc<Shared>,
    grace: Duration,
    /// Held while it runs: the next engine in this directory ends what it finds there.
    _lock: File,
}

impl Service {
    /// Opens the directory, ends what an engine that was killed there left behind, and begins to listen.
    ///
    /// # Errors
    /// [`Error`] when the directory or the socket is not to be had, or another engine has it.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let Options { directory, socket, images, grace } = options;
        let in_directory = |source| Error::Directory { directory: directory.clone(), source };
        let lock = own(&directory)?;
        fs::create_dir_all(directory.join("log")).map_err(in_directory)?;
        address::are_there().map_err(Error::Addresses)?;
        let ended = left::end(&directory).await.map_err(in_directory)?;
        if ended > 0 {
            tracing::info!(ended, "processes of containers that a killed engine had left were ended");
        }
        let disks = directory.join("disks");
        match fs::remove_dir_all(&disks) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(in_directory(error)),
            _ => fs::create_dir(&disks).map_err(in_directory)?,
        }
        // The directory's lock is held: a socket that is there belongs to nobody.
        match fs::remove_file(&socket) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Listen { address: socket.display().to_string(), source });
            }
            _ => {}
        }
        let listener = UnixListener::bind(&socket)
            .map_err(|source| Error::Listen { address: socket.display().to_string(), source })?;
        let shared = Shared {
            directory: directory.clone(),
            images,
            containers: Mutex::default(),
            execs: Mutex::default(),
            faults: Mutex::default(),
            ran: Mutex::default(),
        };
        Ok(Self { listener, socket, shared: Arc::new(shared), grace, _lock: lock })
    }

    /// Answers until `shutdown` is ready; then ends every container, and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, socket, shared, grace, _lock } = self;
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(TokioIo::new(stream), Arc::clone(&shared)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection to the container engine could not be taken");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(listener);
        let _ = fs::remove_file(&socket);
        // Nothing is started any more, and whoever waits for an end hears of it.
        connections.abort_all();
        while connections.join_next().await.is_some() {}
        let mut ending = JoinSet::new();
        for container in std::mem::take(&mut *shared.containers.lock()) {
            ending.spawn(async move { container.stop(grace).await });
        }
        while ending.join_next().await.is_some() {}
        for exec in shared.execs.lock().drain() {
            exec.1.kill();
        }
    }
}

async fn connection(io: TokioIo<tokio::net::UnixStream>, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(api::answer(shared, request).await) }
    });
    let builder =
        hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service);
    // Errors are a client that went away.
    let _ = builder.with_upgrades().await;
}

/// An engine that runs in this process. Its containers are killed when this is dropped; [`Handle::shutdown`] lets them
/// end in their own time.
pub struct Handle {
    socket: PathBuf,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Starts an engine in this process.
///
/// # Errors
/// As [`Service::bind`].
pub async fn start(options: Options) -> Result<Handle, Error> {
    let service = Service::bind(options).await?;
    let (stop, mut stopping) = watch::channel(false);
    let (socket, shared) = (service.socket.clone(), Arc::clone(&service.shared));
    // If it ended by itself, workerd would find no engine, which each start of a container says.
    let task = tokio::spawn(service.run(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    }));
    Ok(Handle { socket, shared, stop, task: Some(task) })
}

impl Handle {
    /// The Unix socket, for workerd's configuration or for `DOCKER_HOST`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What references stand for; it may be changed.
    pub fn images(&self) -> &Images {
        &self.shared.images
    }

    /// Every container that there is, without the side-cars.
    pub fn containers(&self) -> Vec<View> {
        self.shared.views()
    }

    /// Orders a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.lock().add(fault);
    }

    /// Takes the faults back that are still to come.
    pub fn clear_faults(&self) {
        self.shared.faults.lock().clear();
    }

    /// Ends every container, and stops.
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
        if self.task.take().is_some() {
            for exec in self.shared.execs.lock().values() {
                exec.kill();
            }
            for container in self.shared.containers.lock().iter() {
                container.kill_all();
            }
        }
    }
}
