//! `windlass state locks`: who holds what.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;
use windlass_state::location::DEFAULT_WORKSPACE;

use super::own;
use super::place::PlaceArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, YELLOW, paint};

const EXAMPLES: &str = "\
Shows Terraform's locks and those of Windlass, in every workspace. A lock of Windlass whose process is gone is taken over by \
the next command on that machine; any other stays until `windlass state unlock`.

Examples:
  windlass state locks                   of the fleet's own state
  windlass state locks r2://states/nats/terraform.tfstate
  windlass state locks r2://states/nats/terraform.tfstate --format json";

/// Show who holds a state's locks
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where
    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let place = args.place.open(context)?;
    let mut locks = place.locks().await?;
    if let Some(session) = &place.session
        && let Some(holder) = session.store()?.local_holder()?
    {
        locks.push((DEFAULT_WORKSPACE.to_owned(), own::lock_of(holder)));
    }
    if context.json() {
        let rows: Vec<_> = locks
            .iter()
            .map(|(workspace, lock)| {
                json!({ "workspace": workspace, "id": lock.id, "operation": lock.operation, "who": lock.who,
                        "created": lock.created, "version": lock.version, "info": lock.info,
                        "owner_is_gone": lock.is_orphaned() })
            })
            .collect();
        output::json(&json!({ "locks": rows }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::out();
    if locks.is_empty() {
        writeln!(out, "nothing is locked")?;
    }
    for (workspace, lock) in &locks {
        let gone = if lock.is_orphaned() { paint(YELLOW, "; its process is gone") } else { String::new() };
        writeln!(
            out,
            "{} {} by {}, for {}, since {}{gone}",
            paint(BOLD, workspace),
            lock.id,
            lock.who,
            lock.operation,
            lock.created
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
