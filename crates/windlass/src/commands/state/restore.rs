//! `windlass state restore`: put an older version back.

use std::io::Write;
use std::process::ExitCode;

use windlass_state::restore;

use super::own;
use super::place::{HowArgs, WaitArgs, WorkspaceArgs, confirm, interrupted, short};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, GREEN, paint};

const EXAMPLES: &str = "\
The old content comes back under a serial above the current one and with the same lineage, so that Terraform goes on from \
it. What was there stays in the history. Terraform's `plan` then says how the world differs from it.

Examples:
  windlass state restore 12              of the fleet's own state: `windlass plan` then says what differs
  windlass state history r2://states/nats/terraform.tfstate
  windlass state restore r2://states/nats/terraform.tfstate 12
  windlass state restore r2://states/nats/terraform.tfstate 12-0a1b2c3d --yes";

/// Put an older version back, under a new serial
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, allow_missing_positional = true)]
pub struct Args {
    /// Where the state is: a file, s3://BUCKET/KEY or r2://BUCKET/KEY [default: the fleet's own state]
    address: Option<String>,
    /// Serial of the version, or SERIAL-DIGEST where there are several of one serial
    serial: String,
    /// Which
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// How long
    #[command(flatten)]
    wait: WaitArgs,
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
    let workspace = &args.workspace.workspace;
    confirm(
        &format!("Replace {} by its serial {}?", place.place_of(workspace), args.serial),
        args.yes,
        context,
    )?;
    if let Some(session) = &place.session {
        return own::restore(session, &args.serial, args.wait.wait(), context).await;
    }
    let done = restore::restore(&place, workspace, &args.serial, args.wait.wait(), interrupted()).await?;
    if context.json() {
        output::json(&done)?;
        return Ok(ExitCode::SUCCESS);
    }
    let before = done.before.map_or_else(|| "nothing".to_owned(), |serial| format!("serial {serial}"));
    let mut out = output::out();
    if done.already {
        writeln!(out, "{} {before} is that version already; nothing was changed", paint(GREEN, "✓"))?;
    } else {
        writeln!(
            out,
            "{} serial {} is back as serial {} in place of {before}: {} resources, SHA-256 {}, read back",
            paint(GREEN, "✓"),
            done.restored,
            done.after,
            done.resources,
            short(&done.sha256)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
