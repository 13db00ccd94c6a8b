//! `windlass events replay`.
//!
//! One task reads the stream and hands each event to one of a few workers, chosen by its repository: so the events of
//! a repository are delivered in their order, and as many repositories at once as there are workers. Queues are
//! short: what is read ahead is bounded whatever the target's speed.

mod tally;
mod target;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use windlass_events::consume::{Names, Query, Reader, Start, StoredEvent};

use self::tally::{Outcome, Report, Tally};
use self::target::{Options, Target};
use super::connection::ConnectionArgs;
use super::interrupted;
use super::selection::FilterArgs;
use super::tail::Printer;
use super::view::View;
use super::when;
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};
use crate::output;

const QUEUE: usize = 8;

const LONG_ABOUT: &str = "\
Deliver stored events again, to a URL or to a subject.

To a URL, each event is posted as GitHub posted it: the exact bytes, GitHub's headers, and a fresh signature made \
with the secret of --secret-file, else GITHUB_WEBHOOK_SECRET, else that of the fleet that runs here. The delivery \
GUID stays the same, so that a receiver that has the event already can tell; --new-delivery makes new ones. No answer, \
408, 425, 429 and 5xx are tried again with growing pauses; any other answer than 2xx is a refusal and final.

To a subject, each event is published as it is stored (headers and body; a claim check stays a claim check) to \
SUBJECT.<owner>.<repository>.<event>.<action>: SUBJECT takes the place of the stream's own prefix, `github`. With \
--keep-subject the whole original subject is put behind it: SUBJECT.github.<owner>.… If a stream takes these \
subjects, each message is acknowledged by it, and one that it has within its duplicate window is not added again; \
otherwise they go to whoever is subscribed now.

The events of one repository are delivered in their order, those of different repositories at once. What is \
stored after the command began is not delivered, so replaying into the same stream comes to an end. Running it again \
is safe wherever the receiver recognizes deliveries by their GUID, as Windlass's does.";

const EXAMPLES: &str = "\
Examples:
  windlass events replay --since 1h --to http://127.0.0.1:3000/webhook --secret-file secret
  windlass events replay --since 2026-01-31 --until 2026-02-01 --repository acme/api --to replayed
  windlass events replay --last 1 --event push --to http://127.0.0.1:3000/webhook --new-delivery
  windlass events replay --all --dry-run

Exit codes: 0 all were taken; 1 some were not: `help` then says how to go on; 130 Ctrl-C.";

/// Arguments of `windlass events replay`.
#[derive(Debug, clap::Args)]
#[command(about = "Deliver stored events again, to a URL or a subject", long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub struct Args {
    /// Begin this long ago, or at this time
    #[arg(
        long, value_name = "TIME", value_parser = when::parse, conflicts_with_all = ["last", "all"],
        required_unless_present_any = ["last", "all"]
    )]
    since: Option<Timestamp>,
    /// Begin with the last N events that pass the filters
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "all")]
    last: Option<u64>,
    /// Begin with the oldest event in the stream
    #[arg(long)]
    all: bool,
    /// End before this time
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    until: Option<Timestamp>,
    /// Where to: a URL (http:// or https://), or the beginning of a subject
    #[arg(long, value_name = "URL|SUBJECT", required_unless_present = "dry_run")]
    to: Option<String>,
    /// File with the secret to sign with; of several lines, the first counts
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Give every delivery a new GUID
    #[arg(long)]
    new_delivery: bool,
    /// Put the whole original subject behind SUBJECT, rather than SUBJECT in place of its prefix
    #[arg(long)]
    keep_subject: bool,
    /// How many deliveries may be under way at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// How often to try one delivery
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// How long to wait for each answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Print what would be delivered, and deliver nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let start = match (args.since, args.last) {
        (Some(time), _) => Start::At(time),
        (None, Some(count)) => Start::Last(count),
        (None, None) => Start::Oldest,
    };
    let query = Query { start, until: args.until, follow: false, filter: args.filter.filter() };
    let options = Options {
        to: args.to.unwrap_or_default(),
        secret_file: args.secret_file,
        new_delivery: args.new_delivery,
        keep_subject: args.keep_subject,
        attempts: args.attempts,
        within: Duration::from_secs(args.timeout),
    };
    if !args.dry_run {
        options.check()?;
    }
    let (client, reader) = tokio::select! {
        opened = args.connection.open(context) => opened?,
        () = interrupted() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    if args.dry_run {
        return tokio::select! {
            result = rehearse(&reader, &query, context) => result,
            () = interrupted() => Ok(ExitCode::from(INTERRUPTED)),
        };
    }
    let target = Target::new(&options, &client, &reader, context).await?;
    let replay = Replay { target: Arc::new(target), workers: args.concurrency, attempts: options.attempts };
    let (tally, was_interrupted) = replay.run(&reader, &query, context).await?;
    tally.print(context)?;
    if was_interrupted && let Some(since) = tally.since() {
        output::note(&format!("go on with --since {since}"));
    }
    match tally.failure() {
        _ if was_interrupted => Ok(ExitCode::from(INTERRUPTED)),
        Some(failure) => Err(failure.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn rehearse(reader: &Reader, query: &Query, context: &Context) -> Result<ExitCode, Failure> {
    let mut events = reader.read(query).await?;
    let mut printer = Printer::new(context, true);
    let mut count = 0_u64;
    while let Some(event) = events.next().await? {
        printer.print(&View::of(event, reader.payloads()).await)?;
        count += 1;
    }
    printer.flush()?;
    events.close().await;
    if !context.json() && !context.quiet() {
        output::note(&format!("{count} events would be delivered"));
    }
    Ok(ExitCode::SUCCESS)
}

struct Replay {
    target: Arc<Target>,
    workers: u16,
    attempts: u32,
}

impl Replay {
    async fn run(&self, reader: &Reader, query: &Query, context: &Context) -> Result<(Tally, bool), Failure> {
        let mut events = reader.read(query).await?;
        let bar = progress_bar(events.expected(), context);
        let stop = Arc::new(AtomicBool::new(false));
        let (reports, mut results) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let queues: Vec<mpsc::Sender<StoredEvent>> = (0..self.workers)
            .map(|_| {
                let (queue, waiting) = mpsc::channel(QUEUE);
                tasks.spawn(work(self.target.clone(), self.attempts, waiting, reports.clone(), stop.clone()));
                queue
            })
            .collect();
        drop(reports);
        let tally = std::cell::RefCell::new(Tally::default());
        let feeding = async {
            while let Some(event) = events.next().await? {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                tally.borrow_mut().begin(event.sequence, event.time);
                // A worker ends only when its queue does.
                let _ = queues[worker(&event.names, queues.len())].send(event).await;
            }
            drop(queues);
            Ok::<(), Failure>(())
        };
        let collecting = async {
            while let Some(report) = results.recv().await {
                bar.inc(1);
                if let Some(line) = tally.borrow_mut().add(report)
                    && !context.json()
                {
                    bar.suspend(|| output::note(&line));
                }
                if tally.borrow().is_hopeless() {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        };
        let was_interrupted = tokio::select! {
            (fed, ()) = async { tokio::join!(feeding, collecting) } => {
                fed?;
                false
            }
            () = interrupted() => true,
        };
        tasks.abort_all();
        bar.finish_and_clear();
        self.target.finish().await;
        events.close().await;
        Ok((tally.into_inner(), was_interrupted))
    }
}

async fn work(
    target: Arc<Target>,
    attempts: u32,
    mut waiting: mpsc::Receiver<StoredEvent>,
    reports: mpsc::Sender<Report>,
    stop: Arc<AtomicBool>,
) {
    while let Some(event) = waiting.recv().await {
        let outcome = if stop.load(Ordering::Relaxed) {
            Outcome::NotTried
        } else {
            target.deliver(&event, attempts, &stop).await
        };
        let report = Report { sequence: event.sequence, delivery: event.id(), outcome };
        if reports.send(report).await.is_err() {
            return;
        }
    }
}

/// The worker for an event: the same for all of a repository.
fn worker(names: &Names, workers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    (&names.owner, &names.repository).hash(&mut hasher);
    usize::try_from(hasher.finish() % workers.max(1) as u64).unwrap_or_default()
}

/// On a terminal only; elsewhere it draws nothing.
fn progress_bar(expected: u64, context: &Context) -> ProgressBar {
    if context.quiet() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} events  {per_sec}  {eta} left");
    let bar = ProgressBar::new(expected);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_one_worker() {
        let names = |repository: &str, event: &str| Names {
            owner: Some("acme".into()),
            repository: Some(repository.into()),
            event: event.into(),
            action: None,
        };
        assert_eq!(worker(&names("api", "push"), 8), worker(&names("api", "star"), 8));
        let used: std::collections::BTreeSet<usize> =
            (0..100).map(|number| worker(&names(&format!("r{number}"), "push"), 8)).collect();
        assert_eq!(used.len(), 8);
        assert_eq!(worker(&Names::default(), 1), 0);
    }
}
