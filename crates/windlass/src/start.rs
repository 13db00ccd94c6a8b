//! Starting a run's parts: ports, secret, nats-server, streams, receiver, each proved ready before the next counts.
//!
//! This is on the path of every `up`, and people wait for it: nothing sleeps, what can overlap does (the receiver
//! starts while the streams are being made), and readiness is asked for every few milliseconds.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use windlass_nats::hub::{self, Hub};
use windlass_nats::server::Binary;

use crate::failure::{Error, Failure};
use crate::health;
use crate::jetstream_watch::JetStreamWatch;
use crate::ports::{self, Choice, Reservations, Wish};
use crate::run_directory::{RunDirectory, log_length, log_tail, read_json, write_json};
use crate::run_record::{NATS, NatsEndpoints, RECEIVER, ReceiverEndpoints, SUPERVISOR};
use crate::secrets::{self, Origin};
use crate::supervisor::{self, Run, Spec, grace};
use crate::wanted::{CLIENT, MONITOR, Receiver, WEBSOCKET, Wanted};

/// JetStream reads its data before it is ready.
const NATS_READY_WITHIN: Duration = Duration::from_secs(60);
const RECEIVER_READY_WITHIN: Duration = Duration::from_secs(15);
/// How often the receiver is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(5);
/// How often ports are chosen anew when one was taken between choosing and listening.
const ATTEMPTS: u32 = 5;

/// Why an attempt to start ended.
enum Trouble {
    /// Someone else took a port first: another attempt may do.
    PortTaken(Failure),
    Other(Failure),
}

impl<E: Into<Failure>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Starts everything. Gives notes for the person. After a failure, what was started is still in `run.parts`.
pub async fn start(
    run: &mut Run,
    wanted: &Wanted,
    reservations: &mut Reservations,
) -> Result<Vec<String>, Failure> {
    let binary = Binary::find().map_err(|error| nats_failure(&error))?;
    let mut notes = Vec::new();
    let secret_file = match &wanted.receiver {
        Some(receiver) => Some(settle_secret(&run.directory, receiver, &mut notes)?),
        None => None,
    };
    let receiver = wanted.receiver.as_ref().zip(secret_file.as_deref());
    for attempt in 1.. {
        match try_start(run, wanted, receiver, &binary, reservations).await {
            Ok(more) => {
                notes.extend(more);
                break;
            }
            Err(Trouble::PortTaken(_)) if attempt < ATTEMPTS => {
                tracing::info!("a port was taken meanwhile, choosing others");
                for (part, process) in run.record.alive() {
                    if part != SUPERVISOR {
                        process.stop(grace(&part)).await;
                    }
                }
                run.parts.clear();
            }
            Err(Trouble::PortTaken(failure) | Trouble::Other(failure)) => return Err(failure),
        }
    }
    Ok(notes)
}

fn settle_secret(
    directory: &RunDirectory,
    receiver: &Receiver,
    notes: &mut Vec<String>,
) -> Result<PathBuf, Error> {
    let configured = || secrets::from_sources(&receiver.secrets, receiver.base.as_deref());
    let (path, origin) = secrets::settle(directory, secrets::from_variable()?, configured)?;
    tracing::debug!(?origin, "webhook secret");
    if origin == Origin::Generated && !receiver.secrets.is_empty() {
        notes.push("the fleet file's webhook secret is not set here; using a generated one".to_owned());
    }
    Ok(path)
}

async fn try_start(
    run: &mut Run,
    wanted: &Wanted,
    receiver: Option<(&Receiver, &Path)>,
    binary: &Binary,
    reservations: &mut Reservations,
) -> Result<Vec<String>, Trouble> {
    let began = Instant::now();
    let choice = choose_ports(&run.directory, wanted, reservations)?;
    let port = |part: &str| choice.get(part).map_or(0, |chosen| chosen.port);
    let ports = hub::Ports { client: port(CLIENT), websocket: port(WEBSOCKET), monitor: port(MONITOR) };
    let options = wanted.hub(run.directory.root(), ports, binary.clone());
    let hub = Hub::prepare(&options, Timestamp::now()).map_err(|error| nats_failure(&error))?;
    let creds = |creds: Option<&Path>| {
        let reason = || format!("the account {} has no credentials", wanted.account);
        creds.map(Path::to_owned).ok_or_else(|| Error::Fleet { reason: reason() })
    };
    run.record.endpoints.nats = Some(NatsEndpoints {
        url: hub.client_url(),
        websocket_url: hub.websocket_url(),
        creds: creds(hub.admin_creds(&wanted.account))?.display().to_string(),
        monitor_url: hub.monitor_url(),
    });
    tracing::debug!(after = ?began.elapsed(), "prepared");

    start_nats(run, &hub).await?;
    tracing::debug!(after = ?began.elapsed(), "nats-server is ready");

    let ensure = async {
        for account in wanted.accounts() {
            let changes = hub.ensure(&account.name, &account.streams, &account.buckets).await;
            for change in changes.map_err(|error| nats_failure(&error))? {
                tracing::debug!(account = account.name, "{change}");
            }
        }
        tracing::debug!(after = ?began.elapsed(), "streams are there");
        Ok::<(), Trouble>(())
    };
    match receiver {
        None => ensure.await?,
        Some((receiver, secret_file)) => {
            let listen = SocketAddr::new(receiver.listen.ip(), port(RECEIVER));
            run.record.endpoints.receiver = Some(ReceiverEndpoints {
                url: format!("http://{}/github", reachable(listen)),
                secret_file: secret_file.display().to_string(),
            });
            let creds = creds(hub.receiver_creds(&wanted.account))?;
            let arguments =
                receiver_arguments(&run.directory, receiver, listen, &hub.client_url(), &creds, secret_file);
            let spec =
                Spec { name: RECEIVER, program: own_program()?, arguments, log: None, jetstream: None };
            tokio::try_join!(ensure, start_receiver(run, spec, listen))?;
            tracing::debug!(after = ?began.elapsed(), "the receiver is ready");
        }
    }
    Ok(ports::told(&choice))
}

fn choose_ports(
    directory: &RunDirectory,
    wanted: &Wanted,
    reservations: &mut Reservations,
) -> Result<Choice, Error> {
    let (wishes, hosts): (Vec<Wish>, Vec<IpAddr>) = wanted.wishes().into_iter().unzip();
    let last = read_json(&directory.ports_file()).unwrap_or_default();
    *reservations = Reservations::default();
    let choice = ports::choose(&wishes, &last, |index, port| reservations.take(hosts[index], port))?;
    write_json(&directory.ports_file(), &choice)?;
    Ok(choice)
}

async fn start_nats(run: &mut Run, hub: &Hub) -> Result<(), Trouble> {
    let (program, arguments) = hub.command();
    let log = hub.log_file().to_owned();
    let logged = log_length(&log);
    let output = run.directory.log(NATS);
    let said = log_length(&output);
    let jetstream = Some(JetStreamWatch::new(hub.monitor(), run.directory.root().to_owned()));
    let part = run.start(Spec { name: NATS, program, arguments, log: Some(log.clone()), jetstream })?;
    tokio::select! {
        status = part.ended() => {
            // What it says before its log is open goes to standard error.
            let (tail, log) = match log_tail(&log, logged) {
                tail if tail.is_empty() => (log_tail(&output, said), output),
                tail => (tail, log),
            };
            Err(ended_early(NATS, status, &tail, log))
        }
        ready = hub.wait_ready(NATS_READY_WITHIN) => {
            ready.map_err(|error| nats_failure(&error))?;
            Ok(())
        }
    }
}

async fn start_receiver(run: &mut Run, spec: Spec, listen: SocketAddr) -> Result<(), Trouble> {
    let log = spec.log(&run.directory);
    let logged = log_length(&log);
    let part = run.start(spec)?;
    tokio::select! {
        status = part.ended() => Err(ended_early(RECEIVER, status, &log_tail(&log, logged), log)),
        ready = receiver_ready(reachable(listen), &log) => Ok(ready?),
    }
}

/// Waits until the receiver takes deliveries and is connected to NATS, so that the first event is not spooled.
async fn receiver_ready(address: SocketAddr, log: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + RECEIVER_READY_WITHIN;
    loop {
        let answer = health::get(address, "/readyz", Duration::from_secs(2)).await;
        let connected =
            |answer: &health::Answer| answer.json().is_some_and(|body| body["nats"] == "connected");
        if answer.as_ref().is_ok_and(|answer| answer.is_ok() && connected(answer)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let last = answer.map_or_else(|_| String::new(), |answer| format!(": {}", answer.body));
            let seconds = RECEIVER_READY_WITHIN.as_secs();
            return Err(Error::NotReady { part: RECEIVER, seconds, last, log: log.to_owned() });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn ended_early(
    part: &'static str,
    status: Option<std::process::ExitStatus>,
    tail: &str,
    log: PathBuf,
) -> Trouble {
    let status = supervisor::told(status);
    let cause = if tail.is_empty() { status } else { format!("{status}\n{tail}") };
    let failure = Error::NotStarted { part, cause, log }.into();
    if tail.to_ascii_lowercase().contains("address already in use") {
        Trouble::PortTaken(failure)
    } else {
        Trouble::Other(failure)
    }
}

fn receiver_arguments(
    directory: &RunDirectory,
    receiver: &Receiver,
    listen: SocketAddr,
    nats_url: &str,
    creds: &Path,
    secret_file: &Path,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["receive".into()];
    let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    add("--directory", directory.root().into());
    add("--listen", listen.to_string().into());
    add("--nats-url", nats_url.into());
    add("--creds", creds.into());
    add("--stream", receiver.stream.clone().into());
    add("--bucket", receiver.bucket.clone().into());
    add("--subject-prefix", receiver.subject_prefix.clone().into());
    add("--secret-file", secret_file.into());
    add("--spool-directory", directory.spool().into());
    add("--spool-max-size", receiver.spool_max_size.to_string().into());
    add("--claim-check-above", receiver.claim_check_above.to_string().into());
    add("--in-flight", receiver.in_flight.to_string().into());
    arguments
}

/// This program, for the parts that it runs itself.
pub fn own_program() -> Result<PathBuf, Error> {
    std::env::current_exe()
        .map_err(|cause| Error::Environment { what: "the path of this program", cause: cause.to_string() })
}

fn nats_failure(error: &windlass_nats::Error) -> Failure {
    Failure::new(error.code(), error.to_string(), error.help())
}

/// Where something that listens on `address` is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
