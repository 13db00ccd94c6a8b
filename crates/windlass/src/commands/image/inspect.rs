//! `windlass image inspect`.

use std::io::Write as _;
use std::process::ExitCode;

use super::{LayoutArgs, asked, megabytes};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, paint};

/// Show what an image is and what it runs
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
    let images = asked(&layout, args.reference.as_deref())?;
    let described: Vec<_> = images.iter().map(windlass_image::Image::describe).collect();
    if context.json() {
        output::json(&described)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::out();
    for image in described {
        writeln!(out, "{}", paint(BOLD, &image.reference))?;
        let row = |name: &str, value: String| [name.to_owned(), value];
        let mut rows = vec![
            row("digest", image.digest),
            row("platform", format!("{}, {}", image.platform, megabytes(image.size))),
            row("runs", format!("{}, as {}", image.entrypoint.join(" "), image.user)),
            row("serves", image.ports.join(", ")),
        ];
        rows.extend(
            image
                .layers
                .into_iter()
                .map(|(digest, size)| row("layer", format!("{digest}, {}", megabytes(size)))),
        );
        rows.extend(image.env.into_iter().map(|line| row("env", line)));
        rows.extend(image.labels.iter().map(|(name, value)| row("label", format!("{name}={value}"))));
        output::table(&mut out, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}
