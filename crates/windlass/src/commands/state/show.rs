//! `windlass state show`: what is in a version.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;
use windlass_state::location::Place;
use windlass_state::store::Stored;
use windlass_state::terraform::{self, diff};

use super::own;
use super::place::{HowArgs, WorkspaceArgs, is_version};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, paint};

/// The version that is there now.
pub const CURRENT: &str = "current";

const EXAMPLES: &str = "\
Shows which resources there are, and none of their values. --raw prints the state as it was written, with every secret that \
Terraform keeps in it.

Examples:
  windlass state show                    the fleet's own state
  windlass state show 12
  windlass state show r2://states/nats/terraform.tfstate
  windlass state show r2://states/nats/terraform.tfstate 12
  windlass state show r2://states/nats/terraform.tfstate 12 --raw > old.tfstate";

/// Show a version of a state: what is in it, or its exact bytes
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where the state is: a file, s3://BUCKET/KEY or r2://BUCKET/KEY [default: the fleet's own state]
    address: Option<String>,
    /// Serial of the version, SERIAL-DIGEST where there are several of one serial, or `current` [default: current]
    serial: Option<String>,
    /// Which
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// Print the exact bytes, secrets included
    #[arg(long)]
    raw: bool,
    /// How
    #[command(flatten)]
    how: HowArgs,
}

/// A version, by what a person calls it.
pub async fn version(place: &Place, workspace: &str, serial: &str) -> Result<Stored, Failure> {
    let key = place.key_of(workspace);
    if serial == CURRENT {
        let absent = || windlass_state::Error::Absent { place: place.place_of(workspace) };
        return Ok(place.store.read(&key).await?.ok_or_else(absent)?);
    }
    match place.store.find(&key, serial).await {
        Ok(past) => Ok(place.store.past(&past).await?),
        // The current version may be one that Terraform wrote itself.
        Err(error) => match place.store.read(&key).await {
            Ok(Some(current))
                if own::summary("", &current.content)
                    .is_ok_and(|found| found.serial.to_string() == serial) =>
            {
                Ok(current)
            }
            _ => Err(error.into()),
        },
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    // A version alone is one of the fleet's own state.
    let (address, serial) = match (args.address, args.serial) {
        (Some(word), None) if is_version(&word) => (None, Some(word)),
        given => given,
    };
    let place = args.how.open(address.as_deref(), context)?;
    let workspace = &args.workspace.workspace;
    let stored = version(&place, workspace, serial.as_deref().unwrap_or(CURRENT)).await?;
    if args.raw {
        output::out().write_all(&stored.content)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = place.place_of(workspace);
    if place.session.is_some() || own::is_own(&stored.content) {
        return own::show(&name, &stored, context);
    }
    let summary = terraform::parse(&name, &stored.content)?;
    let all = diff::diff((&name, b"{}"), (&name, &stored.content), false)?;
    let addresses: Vec<&str> = all.iter().map(|change| change.address.as_str()).collect();
    if context.json() {
        output::json(&json!({
            "place": name, "summary": summary, "sha256": stored.sha256, "encrypted": stored.sealed,
            "addresses": addresses,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::out();
    writeln!(out, "{}", paint(BOLD, &name))?;
    let encrypted = if stored.sealed { "yes" } else { "no" };
    let rows = [
        ["serial", &summary.serial.to_string()],
        ["lineage", &summary.lineage],
        ["Terraform", &summary.terraform_version],
        ["SHA-256", &stored.sha256],
        ["encrypted", encrypted],
        ["resources", &summary.resources.to_string()],
    ]
    .map(|row| row.map(str::to_owned));
    output::table(&mut out, &rows)?;
    for address in addresses {
        writeln!(out, "  {address}")?;
    }
    Ok(ExitCode::SUCCESS)
}
