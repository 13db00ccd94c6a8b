//! `windlass cloudflare migrate-state`: Terraform's state and the fleet's own, to R2.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::FromArgMatches;
use serde_json::{Value, json};
use windlass_fleet::StoreAddress;

use super::error::Error;
use crate::commands::state::{migrate, moving};
use crate::context::Context;
use crate::failure::{self, Failure};
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::output::{self, GREEN, paint};

const LONG_ABOUT: &str = "\
Move Terraform's state and the fleet's own to R2.

Terraform's goes by `windlass state migrate`: every workspace, locked, byte for byte, with lineage and serial, and read \
back. The fleet's own goes by `windlass state move`, with its history. What is there already is left as it is, so this can \
be run again at any time; the way back are the same two commands with the places exchanged.";

const EXAMPLES: &str = "\
Examples:
  windlass cloudflare migrate-state --dry-run
  windlass cloudflare migrate-state --terraform infra/terraform.tfstate --yes
  windlass cloudflare migrate-state --to r2://acme-state/infra/terraform.tfstate";

/// Where Terraform keeps its state when nobody says otherwise.
const TERRAFORM: &str = "terraform.tfstate";

/// Arguments of `windlass cloudflare migrate-state`.
#[derive(Debug, clap::Args)]
#[command(about = "Move Terraform's state and the fleet's own to R2", long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub struct Args {
    /// Terraform's state [default: terraform.tfstate, if it is here]
    #[arg(long, value_name = "FILE")]
    terraform: Option<PathBuf>,
    /// Where Terraform's goes [default: terraform/terraform.tfstate in the bucket of the fleet's own state]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Check everything, say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let session = Session::open(&Source::find(args.file.as_deref())?, context)?;
    let own = match &session.fleet.state.store {
        Some(StoreAddress::R2(bucket, _)) => Some(bucket.clone()),
        _ => None,
    };
    let here = || Path::new(TERRAFORM).is_file().then(|| PathBuf::from(TERRAFORM));
    let terraform = args.terraform.clone().or_else(here);
    let flags = |dry_run: bool| {
        let dry_run = (args.dry_run && dry_run).then_some("--dry-run");
        dry_run.into_iter().chain(args.yes.then_some("--yes")).map(str::to_owned)
    };
    if terraform.is_none() && own.is_none() {
        return Err(Error::NoStore.into());
    }
    // Checked before the first of the two is moved.
    let to = match (&terraform, &args.to, &own) {
        (None, ..) => None,
        (Some(_), Some(to), _) => Some(to.clone()),
        (Some(_), None, Some(bucket)) => Some(format!("r2://{bucket}/terraform/{TERRAFORM}")),
        (Some(_), None, None) => return Err(Error::NoStore.into()),
    };
    let mut document = json!({ "dry_run": args.dry_run, "terraform": null, "own": null });
    match terraform.as_ref().zip(to) {
        Some((path, to)) => {
            let mut words = vec!["--from".to_owned(), path.display().to_string(), "--to".to_owned(), to];
            words.extend(flags(true));
            document["terraform"] = json!(migrate::carry_out(arguments(words)?, context).await?);
        }
        None if !context.quiet() => {
            output::note("there is no Terraform state here; --terraform FILE names one");
        }
        None => {}
    }
    if own.is_some() {
        document["own"] = move_own(&session, &args, flags(false).collect(), context).await?;
    }
    if context.json() {
        output::json(&document)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Moves the fleet's own state, unless it is where the file says, and says so.
async fn move_own(
    session: &Session,
    args: &Args,
    mut words: Vec<String>,
    context: &Context,
) -> Result<Value, Failure> {
    let (asked, state) = (session.asked(), session.own_state()?);
    let from = asked.elsewhere(&state.address).filter(|from| *from != state.address);
    let (tells, to) = (!context.json(), &state.address);
    match from {
        Some(from) if args.dry_run => {
            if tells {
                let mut out = output::out();
                writeln!(out, "· the fleet's own state would be moved")?;
                writeln!(out, "    {from} → {to}")?;
            }
            Ok(json!({ "from": from.to_string(), "to": to.to_string(), "already": false }))
        }
        Some(_) => {
            if let Some(file) = &args.file {
                words.extend(["--file".to_owned(), file.display().to_string()]);
            }
            moving::carry_out(arguments(words)?, context).await
        }
        None => {
            if tells {
                let mark = paint(GREEN, "✓");
                writeln!(output::out(), "{mark} the fleet's own state belongs in {to}, and is nowhere else")?;
            }
            Ok(json!({ "to": to.to_string(), "already": true }))
        }
    }
}

/// The arguments of another command.
fn arguments<A: clap::Args + FromArgMatches>(words: Vec<String>) -> Result<A, Failure> {
    let command = A::augment_args(clap::Command::new("windlass").no_binary_name(true));
    let read = command.try_get_matches_from(words).and_then(|matches| A::from_arg_matches(&matches));
    read.map_err(|error| {
        failure::Error::Usage { message: error.to_string(), help: "see windlass state --help".to_owned() }
            .into()
    })
}
