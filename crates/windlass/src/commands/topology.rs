//! `windlass topology`: the fleet drawn, as the file has it and as it runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use windlass_engine::topology::{self, Topology};
use windlass_platforms::self_hosted::look;
use windlass_platforms::self_hosted::part::{Places, Status};

use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::{self, Source};
use crate::local_edge::{self, LocalEdge};
use crate::output;
use crate::run_directory::{RunDirectory, read_json, replace};

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Draw the fleet: as the file has it, and as it runs.

Clusters with their servers, routes, leaf nodes and gateways, the receiver, and GitHub. The servers on this machine are \
asked, and what differs from the file is marked in every form: missing (in the file, never made), down, impaired, extra \
(runs, and is not in the file). The server that leads JetStream's metadata has a star.";

const EXAMPLES: &str = "\
Examples:
  windlass topology
  windlass topology --draw svg --output fleet.svg
  windlass topology --wanted --draw mermaid     from the file alone, for a README
  windlass topology --format json | jq -e '.differences == []'

Exit code 0: it is drawn, whether it differs or not. 3: the file has mistakes.";

/// The form of a drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Draw {
    /// Lines, for a terminal.
    #[default]
    Terminal,
    /// A picture, for a browser.
    Svg,
    /// A flow chart, for a README.
    Mermaid,
}

/// Arguments of `windlass topology`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The form: terminal, svg or mermaid
    #[arg(long, value_name = "FORM", default_value = "terminal", hide_possible_values = true)]
    draw: Draw,
    /// Write into a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw the file alone; ask nothing that runs
    #[arg(long)]
    wanted: bool,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let source = Source::find(args.file.as_deref())?;
    let fleet = source
        .parse(context.environment.as_deref())
        .map_err(|mistakes| fleet_file::tell(&mistakes, context.format))?;
    let directory = RunDirectory::at(&context.directory);
    // An edge that `up --edge` has laid over the file belongs to what is drawn.
    let fleet = if LocalEdge::read(&directory).is_some() { local_edge::laid_over(fleet) } else { fleet };
    let seen = if args.wanted {
        None
    } else {
        let status: Status = read_json(&Places::at(directory.root()).status()).unwrap_or_default();
        Some(look::look(&status, fleet.name()).await)
    };
    let topology = Topology::of(&fleet, context.environment.as_deref(), seen.as_ref());
    let text = if context.json() {
        let mut text = serde_json::to_string_pretty(&topology).map_err(std::io::Error::from)?;
        text.push('\n');
        text
    } else {
        match args.draw {
            // Where it is no terminal, the stream drops the colour.
            Draw::Terminal => topology::terminal(&topology, args.output.is_none()),
            Draw::Svg => topology::svg(&topology),
            Draw::Mermaid => topology::mermaid(&topology),
        }
    };
    match args.output {
        Some(path) => replace(&path, text.as_bytes(), 0o644)?,
        None => write!(output::out(), "{text}")?,
    }
    Ok(ExitCode::SUCCESS)
}
