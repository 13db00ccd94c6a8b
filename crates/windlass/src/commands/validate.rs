//! `windlass validate`: every mistake in a fleet file at once.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::context::Context;
use crate::failure::{BAD_INPUT, Failure};
use crate::fleet_file::{self, Source};
use crate::output::{self, GREEN, paint};

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Check a fleet file and report every mistake in it.

Each mistake is reported with file, line and column, what is wrong, and what would be right. Nothing is started, \
contacted or written, and no secret is read. Without FILE it checks windlass.toml in the current directory.";

const EXAMPLES: &str = "\
Examples:
  windlass validate
  windlass validate staging.toml --format json | jq '.mistakes[].line'

Exit code 0: the file is valid. 3: it has mistakes, or cannot be read.";

/// Arguments of `windlass validate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    file: Option<PathBuf>,
}

/// Runs the command.
#[allow(clippy::needless_pass_by_value)] // All commands take their arguments by value.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let source = Source::find(args.file.as_deref())?;
    let name = source.name();
    match source.parse(context.environment.as_deref()) {
        Ok(fleet) => {
            let summary = fleet_file::summary(&fleet);
            if context.json() {
                output::json(&serde_json::json!({ "file": name, "valid": true, "mistakes": [] }))?;
            } else if !context.quiet() {
                writeln!(output::out(), "{} {name}: {summary}", paint(GREEN, "valid"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) if context.json() => {
            let list = mistakes.to_json();
            output::json(&serde_json::json!({ "file": name, "valid": false, "mistakes": list }))?;
            Err(Failure::told(BAD_INPUT))
        }
        Err(mistakes) => Err(fleet_file::tell(&mistakes, context.format)),
    }
}
