//! `windlass image unpack`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{LayoutArgs, chosen, failure};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Unpack an image into a directory, as a root file system
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory to make; it must not be there yet
    #[arg(value_name = "DIR")]
    target: PathBuf,
    /// Name of the image in the layout [default: the only one]
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    #[command(flatten)]
    layout: LayoutArgs,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let layout = args.layout.open(context)?;
    let image = chosen(&layout, args.image.as_deref())?;
    windlass_image::unpack(&layout, &image, &args.target).map_err(failure)?;
    if context.json() {
        output::json(&json!({
            "reference": image.reference,
            "digest": image.digest,
            "directory": args.target,
        }))?;
    } else {
        writeln!(output::out(), "{} is in {}", image.reference, args.target.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
