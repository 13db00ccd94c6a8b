//! `windlass state unlock`: break a lock whose owner is gone.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::place::{HowArgs, confirm};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, GREEN, paint};

const EXAMPLES: &str = "\
Only for a lock whose owner is surely gone: two that change one state at once destroy it. The ID is in Terraform's message \
and in `windlass state locks`.

Examples:
  windlass state unlock 6c0a6c5e-3d6e-4f0a-9d5e-7f6b2f3a1c20          of the fleet's own state
  windlass state locks r2://states/nats/terraform.tfstate
  windlass state unlock r2://states/nats/terraform.tfstate 6c0a6c5e-3d6e-4f0a-9d5e-7f6b2f3a1c20";

/// Break the lock of this ID
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, allow_missing_positional = true)]
pub struct Args {
    /// Where the state is: a file, s3://BUCKET/KEY or r2://BUCKET/KEY [default: the fleet's own state]
    address: Option<String>,
    /// The lock's ID
    id: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How
    #[command(flatten)]
    how: HowArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let place = args.how.open(args.address.as_deref(), context)?;
    let locks = place.locks().await?;
    let found = locks.iter().find(|(_, lock)| lock.id == args.id);
    let Some((workspace, lock)) = found else {
        let others: Vec<&str> = locks.iter().map(|(_, lock)| lock.id.as_str()).collect();
        let found = match others.as_slice() {
            [] => "nothing is locked".to_owned(),
            others => format!("there is {}", others.join(", ")),
        };
        let place = place.place_of(windlass_state::location::DEFAULT_WORKSPACE);
        return Err(windlass_state::Error::NoLock { place, id: args.id, found }.into());
    };
    let question =
        format!("Break the lock of {} (for {}, since {})?", lock.who, lock.operation, lock.created);
    confirm(&question, args.yes, context)?;
    let lock = place.store.release(&place.key_of(workspace), &args.id).await?;
    if context.json() {
        output::json(&json!({ "workspace": workspace, "unlocked": lock.id, "who": lock.who }))?;
    } else {
        writeln!(output::out(), "{} the lock of {} is gone", paint(GREEN, "✓"), lock.who)?;
    }
    Ok(ExitCode::SUCCESS)
}
