//! `windlass state diff`: what is different between two versions.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};
use windlass_state::terraform::diff::{self, Attribute, What};

use super::own;
use super::place::{HowArgs, WorkspaceArgs, is_version};
use super::show::{CURRENT, version};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, DIM, GREEN, RED, YELLOW, paint};

const EXAMPLES: &str = "\
Says which resources came, went and changed, and in which attributes. With --values it says from what to what, except for \
attributes that are sensitive or called like a secret: those are never printed.

Examples:
  windlass state diff 11                 what has changed in the fleet's own state since serial 11
  windlass state diff r2://states/nats/terraform.tfstate 11 12
  windlass state diff r2://states/nats/terraform.tfstate 11 --values";

/// Compare two versions of a state, resource by resource
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = EXAMPLES,
    override_usage = "windlass state diff [OPTIONS] [ADDRESS] <A> [B]"
)]
pub struct Args {
    /// Where the state is [default: the fleet's own state], the older version, and the newer one [default: current]; a version
    /// is a serial, or SERIAL-DIGEST
    #[arg(value_name = "[ADDRESS] A [B]", required = true, num_args = 1..=3)]
    what: Vec<String>,
    /// Which
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// Show the values that are no secrets
    #[arg(long)]
    values: bool,
    /// How
    #[command(flatten)]
    how: HowArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let words: Vec<&str> = args.what.iter().map(String::as_str).collect();
    let (address, a, b) = match *words.as_slice() {
        [a] => (None, a, CURRENT),
        [a, b] if is_version(a) => (None, a, b),
        [address, a] => (Some(address), a, CURRENT),
        [address, a, b] => (Some(address), a, b),
        _ => (None, CURRENT, CURRENT),
    };
    let place = args.how.open(address, context)?;
    let workspace = &args.workspace.workspace;
    let a = version(&place, workspace, a).await?;
    let b = version(&place, workspace, b).await?;
    let name = place.place_of(workspace);
    let changes = if place.session.is_some() || own::is_own(&b.content) {
        own::diff(&name, &a, &b, args.values)?
    } else {
        diff::diff((&name, &a.content), (&name, &b.content), args.values)?
    };
    if context.json() {
        output::json(&json!({ "place": name, "a": a.sha256, "b": b.sha256, "changes": changes }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::out();
    if changes.is_empty() {
        writeln!(out, "no resource is different")?;
    }
    for change in &changes {
        let mark = match change.what {
            What::Added => paint(GREEN, "+"),
            What::Removed => paint(RED, "-"),
            What::Changed => paint(YELLOW, "~"),
        };
        writeln!(out, "{mark} {}", change.address)?;
        for attribute in &change.attributes {
            writeln!(out, "    {}{}", attribute.name, values(attribute, args.values))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn values(attribute: &Attribute, asked: bool) -> String {
    if attribute.sensitive {
        return paint(DIM, " (sensitive)");
    }
    if !asked {
        return String::new();
    }
    let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    format!(": {} → {}", text(&attribute.before), text(&attribute.after))
}
