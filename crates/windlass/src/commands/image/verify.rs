//! `windlass image verify`.

use std::io::Write as _;
use std::process::ExitCode;

use super::{LayoutArgs, asked, failure, megabytes};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, GREEN, paint};

/// Read every blob of an image and compare it with its digest
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the image in the layout [default: every image]
    #[arg(value_name = "REF")]
    reference: Option<String>,
    #[command(flatten)]
    layout: LayoutArgs,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let layout = args.layout.open(context)?;
    let mut all = Vec::new();
    for image in asked(&layout, args.reference.as_deref())? {
        all.push(layout.verify(&image).map_err(failure)?);
    }
    if context.json() {
        output::json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::out();
    for one in all {
        let (blobs, bytes) = (one.blobs, megabytes(one.bytes));
        writeln!(
            out,
            "{}  {}  {blobs} blobs, {bytes}, all as their digests say",
            paint(GREEN, "whole"),
            one.reference
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
