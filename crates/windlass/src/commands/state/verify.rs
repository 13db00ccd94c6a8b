//! `windlass state verify`: is a state sound?

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;
use windlass_state::verify::{self, Outcome};

use super::own;
use super::place::PlaceArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, GREEN, RED, YELLOW, paint};

const EXAMPLES: &str = "\
Looks at every workspace: is the state whole and of a known format, is it the newest of its history, is it encrypted when a \
key is given, is it locked and by whom. With --deep, every old version is read and compared with its digest. Changes \
nothing. Exit code 1 when something is wrong.

Examples:
  windlass state verify                  the fleet's own state
  windlass state verify r2://states/nats/terraform.tfstate
  windlass state verify r2://states/nats/terraform.tfstate --deep --format json";

/// Check a state and its history, and change nothing
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where
    #[command(flatten)]
    place: PlaceArgs,
    /// Read every old version as well
    #[arg(long)]
    deep: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let place = args.place.open(context)?;
    let mut checks = verify::verify_with(&place, args.deep, &own::summary).await?;
    if let Some(session) = &place.session {
        checks.extend(own::more_checks(session).await?);
    }
    let verdict = verify::judge(&checks);
    if context.json() {
        output::json(&json!({ "sound": verdict.is_ok(), "checks": checks }))?;
    } else {
        let mut out = output::out();
        for check in &checks {
            let mark = match check.outcome {
                Outcome::Good => paint(GREEN, "✓"),
                Outcome::Note => paint(YELLOW, "·"),
                Outcome::Bad => paint(RED, "✗"),
            };
            writeln!(out, "{mark} {} {}: {}", paint(BOLD, &check.workspace), check.what, check.found)?;
        }
    }
    verdict?;
    Ok(ExitCode::SUCCESS)
}
