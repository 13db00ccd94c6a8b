//! `windlass events tail`.

use std::io::{self, BufWriter, Write};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use windlass_events::consume::{Query, Start};

use super::connection::ConnectionArgs;
use super::line::Lines;
use super::selection::FilterArgs;
use super::view::View;
use super::when;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// What `--no-follow` shows when it is not told where to begin.
const LAST: u64 = 10;
const BUFFER: usize = 64 * 1024;

const LONG_ABOUT: &str = "\
Print events as they come.

Begins with what comes now, or further back with --since, --last or --all, and goes on until Ctrl-C; with \
--no-follow it ends with what is in the stream now. NATS may go away meanwhile: every event is printed once, in \
the stream's order.

For people, each event is one line: time, repository, event and action, sender, and what happened. With \
--format json each is one JSON object on a line: sequence, time, delivery, event, action, owner, repository, sender, \
subject, headers, size, and payload, which is always there, wherever it is kept and however it was encoded. \
(If a payload cannot be read, it is null, and `problem` has a code and a message.)";

const EXAMPLES: &str = "\
Examples:
  windlass events tail
  windlass events tail --repository acme/api --event 'pull_request*' --action opened,closed
  windlass events tail --since 1h --sender octocat
  windlass events tail --last 20 --no-follow --delivery
  windlass events tail --all --no-follow --format json | jq -r .delivery

Times: 90s, 15m, 1h30m, '2 days' (ago), 18:00, 2026-01-31, '2026-01-31 18:00' (local), 2026-01-31T18:00:00Z. The \
time of an event is when the stream took it.

Exit codes: 0 the end was reached, or the reader of the output went away; 130 Ctrl-C.";

/// Arguments of `windlass events tail`.
#[derive(Debug, clap::Args)]
#[command(about = "Print events as they come", long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub struct Args {
    /// Begin this long ago, or at this time
    #[arg(long, value_name = "TIME", value_parser = when::parse, conflicts_with_all = ["last", "all"])]
    since: Option<Timestamp>,
    /// Begin with the last N events that pass the filters
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "all")]
    last: Option<u64>,
    /// Begin with the oldest event in the stream
    #[arg(long)]
    all: bool,
    /// Go on with what comes (the default)
    #[arg(long, short = 'f', conflicts_with = "no_follow")]
    follow: bool,
    /// End with what is in the stream now; without a beginning, print the last 10
    #[arg(long)]
    no_follow: bool,
    /// Print the delivery GUID of each event too (`show` takes it)
    #[arg(long, short = 'd')]
    delivery: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl Args {
    fn start(&self) -> Start {
        match (self.since, self.last, self.all) {
            (Some(time), ..) => Start::At(time),
            (_, Some(count), _) => Start::Last(count),
            (_, _, true) => Start::Oldest,
            _ if self.no_follow => Start::Last(LAST),
            _ => Start::New,
        }
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let start = args.start();
    let query = Query { start, until: None, follow: !args.no_follow, filter: args.filter.filter() };
    let (_client, reader) = args.connection.open(context).await?;
    let mut events = reader.read(&query).await?;
    let mut printer = Printer::new(context, args.delivery);
    let mut gone = pin!(output::reader_gone());
    loop {
        let mut next = pin!(events.next());
        // While more is there, lines are collected; before waiting, they go out.
        let event = match futures::poll!(&mut next) {
            Poll::Ready(event) => event,
            Poll::Pending => {
                printer.flush()?;
                tokio::select! {
                    event = next => event,
                    () = &mut gone => return Ok(ExitCode::SUCCESS),
                }
            }
        };
        let Some(event) = event? else { break };
        let view = View::of(event, reader.payloads()).await;
        printer.print(&view)?;
    }
    printer.flush()?;
    events.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Prints events in the wanted format.
pub enum Printer {
    /// Lines for people.
    Text(Lines, Box<BufWriter<anstream::AutoStream<io::Stdout>>>),
    /// One JSON object a line, exactly as it is.
    Json(BufWriter<io::Stdout>),
}

impl Printer {
    /// Prints to standard output.
    pub fn new(context: &Context, deliveries: bool) -> Self {
        if context.json() {
            Self::Json(BufWriter::with_capacity(BUFFER, io::stdout()))
        } else {
            let lines = Lines::new(TimeZone::system(), deliveries);
            Self::Text(lines, Box::new(BufWriter::with_capacity(BUFFER, output::out())))
        }
    }

    /// Prints an event.
    pub fn print(&mut self, view: &View) -> io::Result<()> {
        match self {
            Self::Text(lines, out) => writeln!(out, "{}", lines.line(view)),
            Self::Json(out) => view.write_json(out),
        }
    }

    /// Lets out what was collected.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Text(_, out) => out.flush(),
            Self::Json(out) => out.flush(),
        }
    }
}
