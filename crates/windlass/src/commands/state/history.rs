//! `windlass state history`: every version that was written.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use windlass_state::store::{Past, Retention};

use super::place::{PlaceArgs, WorkspaceArgs, confirm, short, size};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
With --prune, versions are deleted that neither --keep nor --keep-days keeps. The newest is always kept.

Examples:
  windlass state history                 of the fleet's own state
  windlass state history r2://states/nats/terraform.tfstate
  windlass state history r2://states/nats/terraform.tfstate --workspace dev --format json
  windlass state history r2://states/nats/terraform.tfstate --prune --keep 100 --keep-days 90";

/// List every version of a state, the newest first
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where
    #[command(flatten)]
    place: PlaceArgs,
    /// Which
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// Delete old versions
    #[arg(long)]
    prune: bool,
    /// Keep the newest so many
    #[arg(long, value_name = "COUNT", requires = "prune")]
    keep: Option<usize>,
    /// Keep those of so many days
    #[arg(long, value_name = "DAYS", requires = "prune")]
    keep_days: Option<u32>,
    /// Do not ask
    #[arg(short, long, requires = "prune")]
    yes: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let place = args.place.open(context)?;
    let key = place.key_of(&args.workspace.workspace);
    let mut pruned = Vec::new();
    if args.prune {
        if args.keep.is_none() && args.keep_days.is_none() {
            let help = "say --keep COUNT, --keep-days DAYS, or both";
            return Err(Failure::new("WL0401", "nothing says what is to be kept", help).bad_input());
        }
        confirm("Delete old versions for good?", args.yes, context)?;
        let age = args.keep_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let retention = Retention { count: args.keep, age };
        pruned = place.store.prune(&key, retention, jiff::Timestamp::now()).await?;
    }
    let history = place.store.history(&key).await?;
    let row = |past: &Past| {
        json!({ "serial": past.serial, "sha256": past.sha256, "written": past.written.to_string(),
                "size": past.size, "key": past.key })
    };
    if context.json() {
        output::json(&json!({
            "place": place.store.place(&key),
            "versions": history.iter().map(row).collect::<Vec<_>>(),
            "pruned": pruned.iter().map(row).collect::<Vec<_>>(),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if history.is_empty() {
        output::note("there is no history: nothing was written here with Windlass yet");
    }
    let rows: Vec<[String; 4]> = history
        .iter()
        .map(|past| {
            let written = past.written.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            [past.serial.to_string(), written, size(past.size), short(&past.sha256).to_owned()]
        })
        .collect();
    let mut out = output::out();
    output::table(&mut out, &rows)?;
    if args.prune {
        writeln!(out, "{} old versions were deleted", pruned.len())?;
    }
    Ok(ExitCode::SUCCESS)
}
