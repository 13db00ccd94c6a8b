//! `windlass cloudflare`: what there is to do with an edge beside `plan` and `apply`.

mod export;

use std::process::ExitCode;

use crate::context::Context;
use crate::failure::Failure;

/// Arguments of `windlass cloudflare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Write the edge as files for wrangler and Terraform
    Export(export::Args),
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.part {
        Part::Export(args) => export::run(args, context).await,
    }
}
