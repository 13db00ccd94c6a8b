//! `windlass schema` and `windlass show`: the fleet file's form, and one fleet as it is read.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::{self, Source};
use crate::output;

/// Arguments of `windlass schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Arguments of `windlass show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The addresses of its resources instead
    #[arg(long)]
    resources: bool,
}

/// Prints the JSON Schema.
pub fn run(_args: &Args) -> Result<ExitCode, Failure> {
    output::json(&windlass_fleet::schema())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the fleet.
#[allow(clippy::needless_pass_by_value)] // All commands take their arguments by value.
pub fn show(args: ShowArgs, context: &Context) -> Result<ExitCode, Failure> {
    let source = Source::find(args.file.as_deref())?;
    let fleet = source
        .parse(context.environment.as_deref())
        .map_err(|mistakes| fleet_file::tell(&mistakes, context.format))?;
    let mut out = output::out();
    if args.resources {
        let resources = windlass_engine::wanted::resources(&fleet);
        if context.json() {
            let addresses: Vec<String> = resources.iter().map(|one| one.address.to_string()).collect();
            output::json(&addresses)?;
        } else {
            for resource in resources {
                writeln!(out, "{}", resource.address)?;
            }
        }
    } else if context.json() {
        output::json(&fleet.to_json())?;
    } else {
        write!(out, "{}", windlass_fleet::print(&fleet))?;
    }
    Ok(ExitCode::SUCCESS)
}
