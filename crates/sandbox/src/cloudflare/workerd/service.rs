//! Keeps a workerd running.

use super::process::{Launch, Running};
use super::{Options, Worker, binary, config, containers};
use crate::cloudflare::backoff::Backoff;
use crate::cloudflare::{Error, left, own};
use std::fs::{self, File};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How the workerd is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes requests.
    Ready {
        /// Its process.
        pid: u32,
        /// How often it has ended by itself and was started again.
        restarts: u64,
    },
    /// It ended by itself, or could not be started, and will be started again.
    Down {
        /// What it said.
        said: String,
    },
    /// It was stopped.
    Stopped,
}

/// A Worker to run from now on, and whom to tell.
type Deployment = (Worker, oneshot::Sender<Result<(), Error>>);

/// A workerd that is ready, and supervised once [`Service::run`] is called.
pub struct Service {
    options: Options,
    binary: PathBuf,
    listener: TcpListener,
    address: SocketAddr,
    running: Running,
    /// The number of the configuration that runs.
    number: u64,
    state: watch::Sender<State>,
    deployments: (mpsc::Sender<Deployment>, mpsc::Receiver<Deployment>),
    _lock: File,
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |source| Error::Listen { address: address.to_string(), source };
    if !address.ip().is_loopback() {
        return Err(refused(std::io::Error::other("it listens on loopback only")));
    }
    let listener = TcpListener::bind(address).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    // workerd waits for connections in a loop of its own.
    listener.set_nonblocking(true).map_err(refused)?;
    Ok((listener, address))
}

/// Whether the real workerd takes this Worker: its code is run as far as its first request, with storage in memory, no
/// engine and no address that anybody knows. Its directory is for the time of the trial.
///
/// # Errors
/// [`Error::Description`] or [`Error::Worker`] with what is wrong, or as [`start`].
pub async fn validate(
    binary: &Path,
    directory: &Path,
    worker: &Worker,
    within: Duration,
) -> Result<(), Error> {
    check(worker)?;
    let (listener, _) = listen((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
    let around = config::Surroundings { storage: None, engine: None, trusted: &[] };
    let launch = Launch { binary, directory, around, listener: &listener, name: "trial", within };
    let mut running = Running::start(&launch, worker).await?;
    running.kill().await;
    let said = running.said();
    if said.contains(NO_CLASS) { Err(Error::Worker { worker: worker.name.clone(), said }) } else { Ok(()) }
}

/// What workerd only warns of, and Cloudflare refuses: a class that the main module does not export.
const NO_CLASS: &str = "no such Durable Object class is exported";

fn check(worker: &Worker) -> Result<(), Error> {
    match worker.mistake() {
        Some(wrong) => Err(Error::Description { worker: worker.name.clone(), wrong }),
        None => Ok(()),
    }
}

impl Service {
    /// Opens the directory, ends a workerd that was left behind there, and starts one. When this returns, the Worker
    /// takes requests.
    ///
    /// # Errors
    /// [`Error`] when the directory or the address is not to be had, there is no workerd, or it does not take the Worker.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        check(&options.worker)?;
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => binary::find()?,
        };
        let lock = own(&options.directory)?;
        let in_directory = |source| Error::Directory { directory: options.directory.clone(), source };
        let ended = left::end(&options.directory).await.map_err(in_directory)?;
        if ended > 0 {
            tracing::info!("a workerd that had been left behind was ended");
        }
        fs::create_dir_all(options.directory.join("storage")).map_err(in_directory)?;
        let (listener, address) = listen(options.listen)?;
        let running = launch(&options, &binary, &listener, 0, &options.worker).await?;
        let state = watch::Sender::new(ready(&running, 0));
        let deployments = mpsc::channel(1);
        Ok(Self { options, binary, listener, address, running, number: 0, state, deployments, _lock: lock })
    }

    /// Where the Worker is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps it running until `shutdown` is ready; then asks it to end, and returns.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let (sender, mut deployments) = std::mem::replace(&mut self.deployments, mpsc::channel(1));
        // Whoever deploys has one of its own; without any, there is nothing more to receive.
        drop(sender);
        let mut shutdown = std::pin::pin!(shutdown);
        let mut backoff = Backoff::default();
        let mut restarts = 0;
        loop {
            let mut is_down = tokio::select! {
                () = &mut shutdown => break,
                Some((worker, answer)) = deployments.recv() => {
                    let _ = answer.send(self.deploy(worker, restarts).await);
                    continue;
                }
                status = self.running.ended() => {
                    let said = self.running.said();
                    tracing::warn!(?status, said, "workerd ended and is started again");
                    self.state.send_replace(State::Down { said });
                    true
                }
            };
            while is_down {
                let wait = backoff.after(self.running.since.elapsed());
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(wait) => {}
                }
                self.number += 1;
                match launch(&self.options, &self.binary, &self.listener, self.number, &self.options.worker)
                    .await
                {
                    Ok(running) => {
                        restarts += 1;
                        self.state.send_replace(ready(&running, restarts));
                        self.running = running;
                        is_down = false;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "workerd did not start");
                        self.state.send_replace(State::Down { said: error.to_string() });
                    }
                }
            }
            if is_down {
                break;
            }
        }
        self.stop().await;
        self.state.send_replace(State::Stopped);
    }

    /// Ends workerd and its containers.
    async fn stop(&mut self) {
        if self.running.stop(self.options.grace).await {
            return;
        }
        // It waits for connections that never end, such as WebSockets; its containers are still there then.
        let Some(engine) = &self.options.engine else { return };
        let worker = &self.options.worker;
        let with_container = worker.durable_objects.iter().filter(|object| object.container.is_some());
        let keys: Vec<String> = with_container.map(|object| object.key(&worker.name)).collect();
        if let Err(error) = containers::end(engine, &keys).await {
            tracing::warn!(%error, "the containers of a workerd that was killed are left");
        }
    }

    /// Runs another Worker in the place of this one. One that workerd does not take changes nothing.
    async fn deploy(&mut self, worker: Worker, restarts: u64) -> Result<(), Error> {
        validate(&self.binary, &self.options.directory, &worker, self.options.ready_within).await?;
        self.stop().await;
        self.number += 1;
        match launch(&self.options, &self.binary, &self.listener, self.number, &worker).await {
            Ok(running) => {
                self.state.send_replace(ready(&running, restarts));
                self.running = running;
                self.options.worker = worker;
                Ok(())
            }
            // What ended is started again with the former Worker, as after any end.
            Err(error) => Err(error),
        }
    }
}

fn ready(running: &Running, restarts: u64) -> State {
    State::Ready { pid: running.identity.as_ref().map_or(0, |identity| identity.pid), restarts }
}

async fn launch(
    options: &Options,
    binary: &Path,
    listener: &TcpListener,
    number: u64,
    worker: &Worker,
) -> Result<Running, Error> {
    let storage = options.directory.join("storage");
    let storage = fs::canonicalize(&storage)
        .map_err(|source| Error::Directory { directory: options.directory.clone(), source })?;
    let around = config::Surroundings {
        storage: Some(&storage),
        engine: options.engine.as_deref(),
        trusted: &options.trusted_certificates,
    };
    let (directory, name) = (options.directory.as_path(), number.to_string());
    let launch = Launch { binary, directory, around, listener, name: &name, within: options.ready_within };
    Running::start(&launch, worker).await
}

/// A supervised workerd in this process. It is killed when this is dropped; [`Handle::shutdown`] lets it end.
pub struct Handle {
    address: SocketAddr,
    deployments: mpsc::Sender<Deployment>,
    state: watch::Receiver<State>,
    log: PathBuf,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Starts a workerd and supervises it in this process. When this returns, the Worker takes requests.
///
/// # Errors
/// As [`Service::bind`].
pub async fn start(options: Options) -> Result<Handle, Error> {
    let log = options.directory.join("workerd.log");
    let service = Service::bind(options).await?;
    let (address, state, deployments) =
        (service.address, service.state.subscribe(), service.deployments.0.clone());
    let (stop, mut stopping) = watch::channel(false);
    // If it ended by itself, a workerd that crashes would stay down, and `state` would say so.
    let task = tokio::spawn(service.run(async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    }));
    Ok(Handle { address, deployments, state, log, stop, task: Some(task) })
}

impl Handle {
    /// Where the Worker is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How it is now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// How it is, and will be.
    pub fn states(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The file with what workerd and the Worker print.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Runs another Worker in the place of this one, at the same address and on the same storage. Requests wait
    /// meanwhile. Containers of the former one are ended by workerd, and started again as they are needed.
    ///
    /// # Errors
    /// [`Error::Description`] or [`Error::Worker`] when it cannot be run; then the former one goes on undisturbed.
    pub async fn deploy(&self, worker: Worker) -> Result<(), Error> {
        let stopped = || Error::Worker { worker: String::new(), said: "it is stopped".to_owned() };
        let (answer, answered) = oneshot::channel();
        self.deployments.send((worker, answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Asks workerd to end, and waits for it.
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
        if let Some(task) = self.task.take() {
            // Dropping the task drops the process, which kills it.
            task.abort();
        }
    }
}
