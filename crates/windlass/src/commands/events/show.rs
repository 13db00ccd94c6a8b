//! `windlass events show`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use jiff::tz::TimeZone;
use windlass_events::consume::{StoredEvent, json};

use super::connection::ConnectionArgs;
use super::json_text;
use super::line::plain;
use super::view::View;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, CYAN, paint};

const LONG_ABOUT: &str = "\
Print one event: its subject, its headers, and its payload.

It is found by its delivery GUID, which GitHub shows under Recent Deliveries and `windlass events tail --delivery` \
prints. The stream is searched from its newest event backwards; of a GUID that is there twice, the newest is shown.";

const EXAMPLES: &str = "\
Examples:
  windlass events show 72d3162e-cc78-11e3-81ab-4c9367dc0958
  windlass events show 72d3162e-cc78-11e3-81ab-4c9367dc0958 --format json | jq .payload.head_commit
  windlass events show 72d3162e-cc78-11e3-81ab-4c9367dc0958 --body > payload.json
  windlass events show --sequence 7";

/// Arguments of `windlass events show`.
#[derive(Debug, clap::Args)]
#[command(about = "Print one event: subject, headers, payload", long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub struct Args {
    /// The delivery GUID
    #[arg(value_name = "GUID", required_unless_present = "sequence", conflicts_with = "sequence")]
    delivery: Option<String>,
    /// Find it by its place in the stream instead
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Write the exact bytes that GitHub sent, and nothing else
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let (_client, reader) = args.connection.open(context).await?;
    let event = match (&args.delivery, args.sequence) {
        (Some(delivery), _) => reader.find(delivery).await?,
        (None, sequence) => reader.at(sequence.unwrap_or_default()).await?,
    };
    let view = View::of(event, reader.payloads()).await;
    if args.body {
        let mut out = io::stdout();
        out.write_all(&view.body?)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if context.json() {
        let mut out = BufWriter::new(io::stdout());
        view.write_json(&mut out)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = BufWriter::new(output::out());
    write_head(&view.event, &mut out)?;
    out.flush()?;
    // What there is of the event was printed; that the rest is missing is a failure still.
    let body = view.body?;
    let payload = json(&view.event, &body)?;
    writeln!(out)?;
    json_text::pretty(&payload, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn write_head(event: &StoredEvent, out: &mut impl Write) -> io::Result<()> {
    let local = event.time.to_zoned_datetime(TimeZone::system());
    let place = match event.claim() {
        Some(claim) => format!(" in {}", plain(claim.reference)),
        None => String::new(),
    };
    let rows = [
        ["subject".to_owned(), plain(&event.subject)],
        ["sequence".to_owned(), event.sequence.to_string()],
        ["time".to_owned(), format!("{} ({})", event.time, local.strftime("%Y-%m-%d %H:%M:%S %Z"))],
        ["size".to_owned(), format!("{} bytes{place}", event.size())],
    ];
    for [name, value] in &rows {
        writeln!(out, "{}  {value}", paint(BOLD, format_args!("{name:<8}")))?;
    }
    writeln!(out)?;
    for (name, value) in &event.headers {
        writeln!(out, "{}: {}", paint(CYAN, plain(name)), plain(value))?;
    }
    Ok(())
}
