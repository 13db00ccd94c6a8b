//! `windlass up`: applies the fleet file on this machine and keeps it running, in the foreground or detached.
//!
//! There is no second way to start something: it is an apply whose question is answered. In the foreground this process
//! is the agent itself; detached, the agent is a process of its own that the apply starts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing_subscriber::filter::LevelFilter;
use windlass_engine::plan::Wish;
use windlass_engine::store::Locked;
use windlass_engine::wanted::{self, SELF_HOSTED};
use windlass_platforms::cloudflare::edge;
use windlass_platforms::self_hosted::agent::{self, End, Error as AgentError};

use super::image;
use crate::context::Context;
use crate::failure::{Error, Failure, INTERRUPTED};
use crate::fleet_file::Source;
use crate::fleet_session::{ApplyOptions, Session};
use crate::local_edge::LocalEdge;
use crate::logging;
use crate::output::{self, BOLD, CYAN, DIM, GREEN, paint};
use crate::process::Identity;
use crate::run_directory::RunDirectory;
use crate::run_record::{CLOUDFLARE, NATS, R2, RECEIVER, RunRecord, SUPERVISOR};

/// How long another process that is starting in the same directory is waited for.
const OTHERS_WITHIN: Duration = Duration::from_secs(90);
const PARALLELISM: usize = 16;
/// How often ports are chosen for the local Cloudflare while others take them.
const ATTEMPTS: usize = 10;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Start NATS, the receiver and a local R2 on this machine.

Applies the fleet file and keeps it running: nats-servers with JetStream, accounts and credentials, streams, and the \
webhook receiver; and a local R2, which Terraform's state or the fleet's own can be in. Run again with a changed file, it changes what runs. Without --file it takes windlass.toml from the current \
directory, and without that a built-in default.

A port that is taken gives way to the next free one, and is named. The webhook secret is GITHUB_WEBHOOK_SECRET if \
that is set, else what the file names, else one that is generated and kept in the run directory.

In the foreground, Ctrl-C stops everything cleanly; a second Ctrl-C does not wait. Data stays in the run directory \
and is there again after the next `up`.";

const EXAMPLES: &str = "\
Examples:
  windlass up                         in the foreground, until Ctrl-C
  windlass up --detach                in the background, until `windlass down`
  windlass up --file staging.toml --directory .windlass-staging
  GITHUB_WEBHOOK_SECRET=… windlass up --detach --format json";

/// Arguments of `windlass up`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// With an edge: the Worker in workerd and its nodes, in a Cloudflare that runs on this machine
    #[arg(long)]
    edge: bool,
    /// Return when everything is ready, and leave it running in the background
    #[arg(short, long)]
    detach: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let source = Source::find(args.file.as_deref())?;
    let session = if args.edge {
        with_edge(&source, context).await?
    } else {
        Session::without_local_edge(&source, context)?
    };
    let session = session.may_begin_locally();
    session.directory.create()?;
    if args.detach {
        logging::start(LevelFilter::WARN, context.verbosity, None);
        detached(&session, context).await
    } else {
        foreground(&session, context).await
    }
}

/// The fleet with its edge in the local Cloudflare, whose addresses are chosen and noted.
async fn with_edge(source: &Source, context: &Context) -> Result<Session, Failure> {
    // Better now than as a part that does not start.
    windlass_sandbox::cloudflare::workerd::binary::find()
        .map_err(|error| Failure::new(error.code(), error.to_string(), error.help()))?;
    let directory = RunDirectory::at(&context.directory);
    directory.create()?;
    if LocalEdge::read(&directory).is_none() {
        LocalEdge::default().write(&directory)?;
    }
    // A session holds the ports that it has chosen, and asks the Cloudflare that was noted when it was opened. Between two
    // sessions another `up` may take a port: only one that finds noted what it has chosen itself is right.
    for _ in 0..ATTEMPTS {
        let session = Session::open(source, context)?;
        let chosen = match session.platform.local_cloudflare().await {
            Ok(addresses) => LocalEdge::at(addresses),
            Err(trouble) => {
                LocalEdge::forget(&directory);
                return Err(from_trouble(trouble));
            }
        };
        if LocalEdge::read(&directory).as_ref() == Some(&chosen) {
            return Ok(session);
        }
        chosen.write(&directory)?;
    }
    LocalEdge::forget(&directory);
    Err(Error::Directory {
        action: "choose ports for",
        path: directory.root().to_owned(),
        cause: std::io::ErrorKind::AddrInUse.into(),
    }
    .into())
}

async fn foreground(session: &Session, context: &Context) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let directory = &session.directory;
    let log = directory.open_log("agent", false)?;
    logging::start(LevelFilter::WARN, context.verbosity, Some(log));
    let control = session.platform.control();
    if let Some(process) = control.agent() {
        return Err(already_running(directory, process.pid, control.status().since).into());
    }
    let (ready, begun) = tokio::sync::oneshot::channel();
    let keeps = agent::run(directory.root(), || {
        let _ = ready.send(());
    });
    tokio::pin!(keeps);
    let brings_up = async {
        // It ends without a word when there is another agent.
        let _ = begun.await;
        let mut locked = session.lock("up", OTHERS_WITHIN).await?;
        bring_up(session, &mut locked, context).await
    };
    let end = tokio::select! {
        end = &mut keeps => end,
        result = brings_up => match result {
            Ok((record, notes)) => {
                // Nobody may be reading any more; what runs goes on.
                let _ = print(&record, &notes, Some(began.elapsed()), false, directory, context);
                keeps.await
            }
            Err(failure) => {
                if let Some(this) = Identity::of(std::process::id()) {
                    this.ask_to_end();
                }
                let _ = keeps.await;
                forget_parts(session);
                return Err(failure);
            }
        },
    };
    forget_parts(session);
    match end {
        Ok(End::Interrupted) => {
            say_stopped(context);
            Ok(ExitCode::from(INTERRUPTED))
        }
        Ok(End::Terminated) => {
            say_stopped(context);
            Ok(ExitCode::SUCCESS)
        }
        Err(AgentError::Held) => {
            let status = control.status();
            let pid = status.agent.map_or(0, |agent| agent.pid);
            Err(already_running(directory, pid, status.since).into())
        }
        Err(AgentError::Io(cause)) => {
            Err(Error::Directory { action: "use", path: directory.root().to_owned(), cause }.into())
        }
    }
}

/// What was stopped is not to start again by itself.
fn forget_parts(session: &Session) {
    let _ = std::fs::remove_dir_all(session.platform.control().places().parts());
    let _ = std::fs::remove_file(session.directory.run_file());
}

fn say_stopped(context: &Context) {
    if !context.quiet() && !context.json() {
        let _ = writeln!(output::err(), "\nstopped; the data stays in {}", context.directory.display());
    }
}

fn already_running(directory: &RunDirectory, pid: u32, since: String) -> Error {
    Error::AlreadyRunning { directory: directory.root().to_owned(), pid, since }
}

async fn detached(session: &Session, context: &Context) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    // With the lock, nobody else begins or ends anything here until this has come to its end, one way or the other.
    let locked = session.lock("up", OTHERS_WITHIN);
    let mut locked = tokio::select! {
        locked = locked => locked?,
        _ = tokio::signal::ctrl_c() => return Err(interrupted()),
    };
    let ran = session.platform.control().agent().is_some();
    let brought = tokio::select! {
        brought = bring_up(session, &mut locked, context) => brought,
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    match brought {
        Ok((record, notes)) => {
            let took = (!ran).then(|| began.elapsed());
            print(&record, &notes, took, true, &session.directory, context)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            // Half a fleet is of no use to anyone; what ran before is left alone.
            if !ran {
                let _ = session.platform.control().stop_all().await;
                let _ = std::fs::remove_file(session.directory.run_file());
            }
            Err(failure)
        }
    }
}

fn interrupted() -> Failure {
    Failure::from(Error::Interrupted).exit_with(INTERRUPTED)
}

/// Applies the file, and says where everything is.
async fn bring_up(
    session: &Session,
    locked: &mut Locked,
    context: &Context,
) -> Result<(RunRecord, Vec<String>), Failure> {
    let mut notes = Vec::new();
    if locked.recovered > 0 {
        notes.push("an earlier apply was ended half-way; this one went on from there".to_owned());
    }
    let own = session.own_state()?;
    if own.address.local_r2 {
        notes.push("the state is in the local R2, because nothing says where another one is".to_owned());
    }
    // It starts while the rest is applied.
    windlass_sandbox::r2::keys_of(&session.directory.r2())
        .map_err(|error| Failure::new(error.code(), error.to_string(), error.help()))?;
    session.platform.want_r2(&session.asked().local_bucket()).await.map_err(from_trouble)?;
    let edge = LocalEdge::read(&session.directory);
    if edge.is_some() {
        session.platform.start_local_cloudflare().await.map_err(from_trouble)?;
        provide_image(session, context)?;
    }
    let wish = Wish::default();
    let planned = session.plan(&locked.state, &wish).await?;
    let losses = planned.plan.losses();
    if !losses.is_empty() {
        return Err(windlass_engine::Error::LosesData { what: losses.join(", ") }.into());
    }
    let elsewhere = |blocked: &&windlass_engine::plan::Blocked| blocked.platform != SELF_HOSTED;
    for blocked in planned.plan.blocked.iter().filter(elsewhere) {
        notes.push(format!("{} is left out: {}", blocked.address, blocked.reason));
    }
    if let Some(blocked) = planned.plan.blocked.iter().find(|blocked| !elsewhere(blocked)) {
        let (address, reason) = (blocked.address.clone(), blocked.reason.clone());
        return Err(windlass_engine::Error::Blocked { address, reason }.into());
    }
    let (_keep, stop) = watch::channel(false);
    let options = ApplyOptions { parallelism: PARALLELISM, allow_data_loss: false, stop };
    let log = |event: windlass_engine::apply::Event<'_>| {
        if let windlass_engine::apply::Event::Done(action, took) = event {
            tracing::debug!(address = %action.address, ?took, "done");
        }
    };
    let report = session.apply(&planned, &mut locked.state, options.clone(), &log).await?;
    if let Some(first) = report.failed.first() {
        return Err(Failure::new(first.code.clone(), first.message.clone(), first.help.clone()));
    }
    if let Some(address) = session.verify(&mut locked.state, &wish, options, &log).await?.into_iter().next() {
        let reason = "after the apply it is still not as wanted; windlass plan shows what differs".to_owned();
        return Err(windlass_engine::Error::Blocked { address, reason }.into());
    }
    session.platform.r2_is_ready().await.map_err(from_trouble)?;
    if edge.is_some() && wanted::edge::cluster(&session.fleet).is_none() {
        // It was only needed to delete what was there.
        session.platform.stop_local_cloudflare().await.map_err(from_trouble)?;
        LocalEdge::forget(&session.directory);
    }
    notes.extend(session.platform.notes());
    let record = session.record()?;
    Ok((record, notes))
}

/// The image of the nodes, where the local Cloudflare looks for it.
fn provide_image(session: &Session, context: &Context) -> Result<(), Failure> {
    let Some((_, cluster)) =
        wanted::edge::cluster(&session.fleet).filter(|(_, cluster)| cluster.image.is_none())
    else {
        return Ok(());
    };
    let account =
        LocalEdge::read(&session.directory).map(|edge| edge.endpoints(&session.directory).account_id);
    let reference = edge::image(cluster, &account.unwrap_or_default());
    image::build_once(&reference, context).map(drop)
}

fn from_trouble(trouble: windlass_engine::Trouble) -> Failure {
    Failure::new(trouble.code, trouble.message, trouble.help)
}

/// Prints what runs where, and what to do with it. `took` is `None` when it was running already.
fn print(
    record: &RunRecord,
    notes: &[String],
    took: Option<Duration>,
    detached: bool,
    directory: &RunDirectory,
    context: &Context,
) -> Result<(), Failure> {
    if !context.quiet() {
        notes.iter().for_each(|note| output::note(note));
    }
    if context.json() {
        return output::json(&record.report(Identity::is_alive));
    }
    let mut out = output::out();
    let ready = took.map_or_else(
        || format!("was running already, since {}", record.since),
        |took| format!("is ready after {:.2} s", took.as_secs_f64()),
    );
    writeln!(out, "{} {ready}\n", paint(GREEN.bold(), format_args!("fleet {}", record.fleet)))?;
    let pid = |part: &str| {
        record.processes.get(part).map_or_else(String::new, |process| format!("pid {}", process.pid))
    };
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &str, pid: String| rows.push([name.to_owned(), value.to_owned(), pid]);
    if let Some(nats) = &record.endpoints.nats {
        row("nats", &nats.url, pid(NATS));
        row("  websocket", &nats.websocket_url, String::new());
        row("  monitor", &nats.monitor_url, String::new());
    }
    if let Some(receiver) = &record.endpoints.receiver {
        row("receiver", &receiver.url, pid(RECEIVER));
    }
    if let Some(cloudflare) = &record.endpoints.cloudflare {
        row("edge", &cloudflare.worker_url, pid(CLOUDFLARE));
        row("  Cloudflare's API", &cloudflare.api_url, String::new());
    }
    if let Some(r2) = &record.endpoints.r2 {
        row("local R2", &r2.endpoint, pid(R2));
    }
    row(SUPERVISOR, if detached { "in the background" } else { "here" }, pid(SUPERVISOR));
    output::table(&mut out, &rows)?;
    writeln!(out)?;
    let creds = record.endpoints.nats.as_ref().map(|nats| nats.creds.as_str());
    let secret = record.endpoints.receiver.as_ref().map(|receiver| receiver.secret_file.as_str());
    let logs = directory.logs().display().to_string();
    let authority = record.endpoints.nats.as_ref().and_then(|nats| nats.ca_file.as_deref());
    let files = [
        ("credentials", creds),
        ("authority", authority),
        ("webhook secret", secret),
        ("logs", Some(logs.as_str())),
    ];
    let files: Vec<[String; 2]> =
        files.into_iter().filter_map(|(name, path)| Some([name.to_owned(), shorten(path?)])).collect();
    output::table(&mut out, &files)?;
    if context.quiet() {
        return Ok(());
    }
    let place = if detached { "" } else { " in another terminal" };
    writeln!(out, "\n{}", paint(BOLD, format_args!("Try next{place}:")))?;
    let flag = directory_flag(directory);
    let events = [
        format!("windlass{flag} events tail"),
        format!("echo '{{\"zen\":\"It works.\"}}' | windlass{flag} events send - --event ping"),
    ];
    let events = events.into_iter().filter(|_| record.endpoints.receiver.is_some());
    let last = format!("windlass{flag} {}", if detached { "down" } else { "status" });
    for command in events.chain([last]) {
        writeln!(out, "  {}", paint(CYAN, command))?;
    }
    if !detached {
        writeln!(out, "\n{}", paint(DIM, "Ctrl-C stops everything; the data stays."))?;
    }
    Ok(())
}

/// The path as one would type it here.
fn shorten(path: &str) -> String {
    let here = std::env::current_dir().ok();
    let relative =
        here.and_then(|here| Path::new(path).strip_prefix(here).ok().map(|path| path.display().to_string()));
    relative.unwrap_or_else(|| path.to_owned())
}

fn directory_flag(directory: &RunDirectory) -> String {
    let default = std::path::absolute(".windlass").is_ok_and(|default| default == directory.root());
    if default {
        String::new()
    } else {
        format!(" --directory {}", shorten(&directory.root().display().to_string()))
    }
}
