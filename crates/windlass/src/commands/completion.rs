//! `windlass completion`: a completion script for a shell.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  windlass completion bash > ~/.local/share/bash-completion/completions/windlass
  windlass completion zsh > \"${fpath[1]}/_windlass\"
  windlass completion fish > ~/.config/fish/completions/windlass.fish";

/// Arguments of `windlass completion`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The shell: bash, elvish, fish, powershell or zsh
    #[arg(hide_possible_values = true)]
    shell: Shell,
}

/// Runs the command.
#[allow(clippy::needless_pass_by_value)] // All commands take their arguments by value.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "windlass", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
