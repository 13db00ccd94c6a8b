//! `windlass cloudflare test`: end to end against what is deployed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reqwest::Url;
use secrecy::SecretString;
use serde_json::json;

use super::trial::{self, Outcome, Target, Trial};
use crate::context::Context;
use crate::failure::{Error, FAILED, Failure};
use crate::output::{self, BOLD, DIM, GREEN, RED, YELLOW, paint};
use crate::run_directory::RunDirectory;
use crate::run_record::RunRecord;
use crate::secrets;

const LONG_ABOUT: &str = "\
Try the deployed edge, end to end, with real clients.

A webhook goes in and its event comes out of the hub's stream, once and byte for byte; a NATS client connects over \
WebSocket in each region, asks the hub and is answered; a nats-server joins as a leaf node; who has no credentials is \
turned away; and each node says itself which version and which configuration it runs. Cold and warm start times are \
measured; with --cold one more node is started in each region and sent away again, so that there is one to see.

What is sent is a `ping` of its own under a new delivery, and messages on random subjects. Nothing else is touched.";

const EXAMPLES: &str = "\
Examples:
  windlass cloudflare test
  windlass cloudflare test --cold
  windlass cloudflare test --format json | jq '.trials[] | select(.outcome != \"passed\")'

Exit codes: 0 everything passed; 1 something did not.";

/// Arguments of `windlass cloudflare test`.
#[derive(Debug, clap::Args)]
#[command(about = "Try the deployed edge, end to end", long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub struct Args {
    /// The Worker's address [default: that of the fleet that was applied here]
    #[arg(long, value_name = "URL")]
    worker_url: Option<Url>,
    /// File with what opens the Worker's API [default: the fleet's own]
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
    /// Start one more node in each region as well, to see it start cold
    #[arg(long)]
    cold: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let target = target(args, context)?;
    let quiet = context.json();
    let trials = Box::pin(trial::run(&target, &mut |trial| {
        if !quiet {
            // Nobody may be reading any more; the trials go on.
            let _ = writeln!(output::out(), "{}", line(trial));
        }
    }))
    .await;
    let count = |outcome| trials.iter().filter(|trial| trial.outcome == outcome).count();
    let (passed, failed, skipped) = (count(Outcome::Passed), count(Outcome::Failed), count(Outcome::Skipped));
    if context.json() {
        let totals = json!({ "passed": passed, "failed": failed, "skipped": skipped });
        output::json(&json!({ "worker_url": target.worker.as_str(), "trials": trials, "totals": totals }))?;
    } else {
        let totals = format!("{passed} passed, {failed} failed, {skipped} skipped");
        writeln!(output::out(), "\n{}", paint(if failed > 0 { RED } else { GREEN }, totals))?;
    }
    Ok(if failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn line(trial: &Trial) -> String {
    let mark = match trial.outcome {
        Outcome::Passed => paint(GREEN, "✓"),
        Outcome::Failed => paint(RED, "✗"),
        Outcome::Skipped => paint(YELLOW, "–"),
    };
    let took = match trial.outcome {
        Outcome::Skipped => String::new(),
        _ => paint(DIM, format_args!("  {:.0} ms", trial.milliseconds)),
    };
    format!("{mark} {}  {}{took}", paint(BOLD, &trial.name), trial.detail)
}

fn target(args: Args, context: &Context) -> Result<Target, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let record = RunRecord::read(&directory);
    let nowhere = || super::error::Error::NoEdge { directory: directory.root().to_owned() };
    let record = record.ok_or_else(nowhere)?;
    let edge = record.endpoints.cloudflare.as_ref();
    let worker = match args.worker_url {
        Some(url) => url,
        None => edge.and_then(|edge| edge.worker_url.parse().ok()).ok_or_else(nowhere)?,
    };
    let hub = record.endpoints.nats.clone().ok_or_else(nowhere)?;
    let token =
        args.api_token_file.unwrap_or_else(|| directory.root().join("secrets").join("edge-api-token"));
    let webhook_secret = match &record.endpoints.receiver {
        Some(receiver) if receiver.url.starts_with(worker.as_str().trim_end_matches('/')) => {
            Some(first(Path::new(&receiver.secret_file))?)
        }
        _ => None,
    };
    Ok(Target {
        api_token: first(&token)?,
        worker,
        webhook_secret,
        hub: hub.url,
        creds: hub.creds.into(),
        authority: hub.ca_file.map(PathBuf::from),
        stream: record.stream.unwrap_or_else(|| "GITHUB".to_owned()),
        cold: args.cold,
    })
}

/// Of several in a file it is the first: each of them is good.
fn first(path: &Path) -> Result<SecretString, Failure> {
    let empty = || Error::Unreadable {
        path: path.to_owned(),
        cause: std::io::Error::new(std::io::ErrorKind::InvalidData, "it is empty"),
    };
    Ok(secrets::read(path)?.into_iter().next().ok_or_else(empty)?)
}
