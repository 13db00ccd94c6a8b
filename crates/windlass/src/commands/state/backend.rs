//! `windlass state backend`: the block that tells Terraform where the state is.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use serde_json::{Value, json};
use windlass_state::location::Location;
use windlass_state::terraform::backend::{self, Options, Version, WITH_LOCKFILE};

use super::place::{AddressArgs, confirm};
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::output::{self, GREEN, paint};

const EXAMPLES: &str = "\
The block is for the Terraform that is installed here, or for --terraform-version. The endpoint of AWS_ENDPOINT_URL_S3 is \
written into it; with --endpoint-from-environment it is left out, and Terraform takes that variable itself. Keys are never \
written.

Examples:
  windlass state backend r2://states/nats/terraform.tfstate
  windlass state backend r2://states/nats/terraform.tfstate --write backend.tf";

/// Print or write the backend block for a state in a bucket
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where
    #[command(flatten)]
    place: AddressArgs,
    /// Write it to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// For this version, not the one that is installed
    #[arg(long, value_name = "VERSION")]
    terraform_version: Option<Version>,
    /// Leave the endpoint to AWS_ENDPOINT_URL_S3
    #[arg(long)]
    endpoint_from_environment: bool,
    /// Replace a file that says something else, without asking
    #[arg(short, long)]
    yes: bool,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let location = args.place.location()?;
    let version = args.terraform_version.or_else(installed);
    let known = version.unwrap_or(Version(1, 11));
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let r2 = matches!(&location, Location::Bucket { scheme: "r2", .. });
    let options = Options {
        endpoint: variable("AWS_ENDPOINT_URL_S3").filter(|_| !args.endpoint_from_environment),
        region: variable("AWS_REGION"),
        customer_key: args.place.has_customer_key(),
    };
    if r2 && options.endpoint.is_none() && !args.endpoint_from_environment {
        return Err(windlass_state::Error::Setup {
            place: location.to_string(),
            missing: "AWS_ENDPOINT_URL_S3 is not set".to_owned(),
        }
        .into());
    }
    let Some(block) = backend::block(&location, known, &options) else {
        let (address, reason) = (location.to_string(), "a local file needs no backend block".to_owned());
        return Err(windlass_state::Error::Address { address, reason }.into());
    };
    let written = match &args.write {
        Some(path) => Some(write(path, &block, args.yes, context)?),
        None => None,
    };
    if context.json() {
        output::json(&json!({
            "block": block, "terraform": format!("{}.{}", known.0, known.1),
            "installed": args.terraform_version.is_none() && version.is_some(),
            "file": args.write, "changed": written,
        }))?;
    } else if let Some(path) = &args.write {
        let what = if written == Some(true) { "was written" } else { "says that already" };
        writeln!(output::out(), "{} {} {what}", paint(GREEN, "✓"), path.display())?;
    } else {
        output::out().write_all(block.as_bytes())?;
    }
    if version.is_none() && !context.quiet() {
        output::note("terraform was not found, so this is for 1.11; --terraform-version names another");
    }
    if known < WITH_LOCKFILE && !context.quiet() {
        output::note("this Terraform cannot lock in a bucket; the first that can is 1.10");
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &PathBuf, block: &str, yes: bool, context: &Context) -> Result<bool, Failure> {
    let failed = |action| move |cause| Error::Directory { action, path: path.clone(), cause };
    match fs::read_to_string(path) {
        Ok(there) if there == block => return Ok(false),
        Ok(_) => confirm(&format!("Replace {}, which says something else?", path.display()), yes, context)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read")(error).into()),
    }
    fs::write(path, block).map_err(failed("write"))?;
    Ok(true)
}

/// The version of the Terraform that is installed.
fn installed() -> Option<Version> {
    let output = Command::new("terraform")
        .args(["version", "-json"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
    answer.get("terraform_version")?.as_str()?.parse().ok()
}
