//! `windlass state rekey`: encrypt with another key.

use std::io::Write;
use std::process::ExitCode;

use windlass_state::rekey;

use super::own;
use super::place::{PlaceArgs, WaitArgs, confirm, interrupted, progress};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, GREEN, paint};

const EXAMPLES: &str = "\
Every workspace and all of its history is encrypted with the first --key; the others only open what is there. Afterwards \
they open nothing any more. What was not encrypted yet is encrypted. Killed at any moment, the same command again goes on.

The fleet's own state takes its keys from [state] encrypt_with: put the new one first, run this, take the old one out.

Examples:
  windlass state rekey
  windlass state rekey r2://states/nats/terraform.tfstate --key file:new.txt --key file:old.txt
  windlass state rekey r2://states/nats/terraform.tfstate --key env:STATE_KEY --yes";

/// Encrypt a state and its history with another key
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where
    #[command(flatten)]
    place: PlaceArgs,
    /// How long
    #[command(flatten)]
    wait: WaitArgs,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let place = args.place.open(context)?;
    confirm("Encrypt everything with the first key?", args.yes, context)?;
    let bar = progress(context);
    let tell = |done: usize, all: usize| bar.set_message(format!("{done} of {all}"));
    let _exclusive = match &place.session {
        Some(session) => own::ready_for_rekey(session, args.wait.wait()).await?,
        None => None,
    };
    let done = rekey::rekey(&place, args.wait.wait(), &tell, interrupted()).await;
    bar.finish_and_clear();
    let done = done?;
    if context.json() {
        output::json(&done)?;
    } else {
        let mut out = output::out();
        let mark = paint(GREEN, "✓");
        writeln!(
            out,
            "{mark} {} objects were encrypted anew, {} had the first key already",
            done.changed, done.unchanged
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
