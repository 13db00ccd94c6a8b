//! `windlass up`: starts NATS and the receiver on this machine, in the foreground or detached.
//!
//! Detached, a second process (`supervise`) does the work in a session of its own and says through a pipe how it went:
//! this process waits on that pipe, so it knows of success and failure the moment they happen.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tracing_subscriber::filter::LevelFilter;

use super::supervise::Word;
use crate::context::Context;
use crate::failure::{Error, Failure, INTERRUPTED};
use crate::fleet_file::{Loaded, Source};
use crate::output::{self, BOLD, CYAN, DIM, GREEN, paint};
use crate::process::Identity;
use crate::run_directory::{Holder, RunDirectory, log_length, log_tail};
use crate::run_record::{NATS, RECEIVER, RunRecord, SUPERVISOR, State};
use crate::session::{self, Refused};
use crate::supervisor::{End, STOP_WITHIN};
use crate::{logging, secrets, start};

/// How long another process that is starting or stopping in the same directory is waited for.
const OTHERS_WITHIN: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(5);

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Start NATS and the receiver on this machine.

Runs what the fleet file describes: a nats-server with JetStream, accounts and credentials, the stream for GitHub's \
events, and the webhook receiver; and keeps them running. Without --file it takes windlass.toml from the current \
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
    /// Return when everything is ready, and leave it running in the background
    #[arg(short, long)]
    detach: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let loaded = Source::find(args.file.as_deref())?.settle(context)?;
    let directory = RunDirectory::at(&context.directory);
    directory.create()?;
    if args.detach {
        logging::start(LevelFilter::WARN, context.verbosity, None);
        detached(&loaded, &directory, context).await
    } else {
        foreground(&loaded, &directory, context).await
    }
}

async fn foreground(
    loaded: &Loaded,
    directory: &RunDirectory,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    logging::start(LevelFilter::WARN, context.verbosity, Some(directory.open_log(SUPERVISOR, false)?));
    let end = session::run(directory, loaded, |record, notes| {
        // Nobody may be reading any more; what runs goes on.
        let _ = print(record, notes, Some(began.elapsed()), false, directory, context);
    })
    .await;
    match end {
        Ok(End::Interrupted) => {
            say_stopped(context);
            Ok(ExitCode::from(INTERRUPTED))
        }
        Ok(End::Terminated) => {
            say_stopped(context);
            Ok(ExitCode::SUCCESS)
        }
        Err(Refused::Failed(failure)) => Err(failure),
        Err(Refused::Held(holder)) => Err(already_running(directory, holder).into()),
    }
}

fn say_stopped(context: &Context) {
    if !context.quiet() && !context.json() {
        let _ = writeln!(output::err(), "\nstopped; the data stays in {}", context.directory.display());
    }
}

fn already_running(directory: &RunDirectory, holder: Option<Holder>) -> Error {
    let (pid, since) =
        holder.map_or((0, "a moment ago".to_owned()), |holder| (holder.process.pid, holder.since));
    Error::AlreadyRunning { directory: directory.root().to_owned(), pid, since }
}

async fn detached(loaded: &Loaded, directory: &RunDirectory, context: &Context) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    loop {
        let log = directory.log(SUPERVISOR);
        let logged = log_length(&log);
        let mut child = spawn(loaded, directory, context)?;
        let word = tokio::select! {
            word = listen(&mut child) => word,
            _ = tokio::signal::ctrl_c() => return interrupted(&mut child).await,
        };
        match word {
            Some(Word::Ready { record, notes }) => {
                print(&record, &notes, Some(began.elapsed()), true, directory, context)?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(Word::Failed { code, message, help, exit }) => {
                return Err(Failure::new(code, message, help).exit_with(exit));
            }
            Some(Word::Held { holder }) => {
                let deadline = began + OTHERS_WITHIN;
                if let Some(record) = wait_for_other(directory, holder.as_ref(), deadline).await {
                    check_same(loaded, &record, directory)?;
                    print(&record, &[], None, true, directory, context)?;
                    return Ok(ExitCode::SUCCESS);
                }
                if Instant::now() >= deadline {
                    return Err(already_running(directory, holder).into());
                }
                // Whoever it was is gone: the directory is free.
            }
            None => {
                let status =
                    child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(Error::SupervisorEnded { status, tail: log_tail(&log, logged), log }.into());
            }
        }
    }
}

fn spawn(loaded: &Loaded, directory: &RunDirectory, context: &Context) -> Result<Child, Failure> {
    let log = directory.open_log(SUPERVISOR, true)?;
    let mut command = Command::new(start::own_program()?);
    command.arg("supervise").arg("--directory").arg(directory.root());
    if let Some(path) = &loaded.path {
        command.arg("--file").arg(path);
    }
    command.args((0..context.verbosity).map(|_| "-v"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let failed = |cause: std::io::Error| Error::NotStarted {
        part: SUPERVISOR,
        cause: cause.to_string(),
        log: directory.log(SUPERVISOR),
    };
    Ok(command.spawn().map_err(failed)?)
}

/// The one word that the supervisor says; `None` if it ended without it.
async fn listen(child: &mut Child) -> Option<Word> {
    let mut line = String::new();
    BufReader::new(child.stdout.take()?).read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

async fn interrupted(child: &mut Child) -> Result<ExitCode, Failure> {
    if let Some(identity) = child.id().and_then(Identity::of) {
        identity.ask_to_end();
    }
    let _ = tokio::time::timeout(STOP_WITHIN, child.wait()).await;
    Err(Failure::from(Error::Interrupted).exit_with(INTERRUPTED))
}

/// Waits until the other run is ready. `None` when there is none any more, or the deadline is over.
async fn wait_for_other(
    directory: &RunDirectory,
    holder: Option<&Holder>,
    deadline: Instant,
) -> Option<RunRecord> {
    while Instant::now() < deadline {
        if !holder?.process.is_alive() {
            return None;
        }
        let record = RunRecord::read(directory).filter(|record| record.state == State::Running);
        let is_alive = |record: &RunRecord| record.processes.get(SUPERVISOR).is_some_and(Identity::is_alive);
        if let Some(record) = record.filter(is_alive) {
            return Some(record);
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

/// What runs already satisfies what was asked for only if it is the same.
fn check_same(loaded: &Loaded, record: &RunRecord, directory: &RunDirectory) -> Result<(), Failure> {
    let secret_file = record.endpoints.receiver.as_ref().map(|receiver| Path::new(&receiver.secret_file));
    let secret = secrets::from_variable()?;
    let difference = if loaded.digest != record.digest {
        Some("another fleet file")
    } else if secret.zip(secret_file).is_some_and(|(secret, file)| !secrets::is_kept_in(file, &secret)) {
        Some("another webhook secret")
    } else {
        None
    };
    match difference {
        None => Ok(()),
        Some(difference) => Err(Error::RunningOtherwise {
            directory: directory.root().to_owned(),
            pid: record.processes.get(SUPERVISOR).map_or(0, |process| process.pid),
            since: record.since.clone(),
            difference,
        }
        .into()),
    }
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
    row(SUPERVISOR, if detached { "in the background" } else { "here" }, pid(SUPERVISOR));
    output::table(&mut out, &rows)?;
    writeln!(out)?;
    let creds = record.endpoints.nats.as_ref().map(|nats| nats.creds.as_str());
    let secret = record.endpoints.receiver.as_ref().map(|receiver| receiver.secret_file.as_str());
    let logs = directory.logs().display().to_string();
    let files = [("credentials", creds), ("webhook secret", secret), ("logs", Some(logs.as_str()))];
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
