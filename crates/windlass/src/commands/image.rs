//! `windlass image`: the container image of an edge node, built, looked into, checked, unpacked and pushed without Docker.

mod build;
mod error;
mod inspect;
mod push;
mod unpack;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use windlass_image::push::Pushed;
use windlass_image::{Architecture, Certificates, Image, Layout, Program, Recipe};
use windlass_nats::server::Binary;

use self::error::Error;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

const MORE: &str = "\
An image is kept in an OCI layout, a directory that other tools read as well: by default `images` in the run directory. It \
is the same to the byte wherever it is built, so its digest says what runs.

Examples:
  windlass image build --environment staging
  windlass image push registry.cloudflare.com/nats:2.15.1
  windlass image verify && windlass image inspect --format json";

/// Build the container image of an edge node, and push it
#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Each documents itself: a comment here would take the place of its description.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Build(build::Args),
    Push(push::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Unpack(unpack::Args),
}

/// Builds the image of an edge node under a name into the run directory's layout, unless it is there: of this nats-server, for
/// this environment.
pub fn build_once(name: &str, context: &Context) -> Result<(Layout, Image), Failure> {
    let environment = build::environment(context)?;
    let binary =
        Binary::find().map_err(|error| Failure::new(error.code(), error.to_string(), error.help()))?;
    let layout = Layout::create(&default_layout(context)).map_err(failure)?;
    if let Ok(image) = layout.image(name) {
        let labels = image.describe().labels;
        let says = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
        if says(VERSION_LABEL, &binary.version.to_string()) && says(ENVIRONMENT_LABEL, environment.name()) {
            return Ok((layout, image));
        }
    }
    let recipe = Recipe {
        program: Program::read(&binary.path, Architecture::Amd64).map_err(failure)?,
        version: binary.version.to_string(),
        certificates: Certificates::mozilla(),
        environment,
    };
    let image = layout.build(&recipe, name).map_err(failure)?;
    Ok((layout, image))
}

/// Sees that the registry has the image of an edge node under this name.
pub async fn provide(reference: &str, context: &Context) -> Result<Pushed, Failure> {
    let (layout, image) = build_once(reference, context)?;
    let pushed = push::send(&layout, &image, reference, context).await?;
    if !context.json() && !context.quiet() {
        output::note(&format!("{} is {}", pushed.reference, pushed.digest));
    }
    Ok(pushed)
}

/// The labels that say what is in an image.
const VERSION_LABEL: &str = "org.opencontainers.image.version";
const ENVIRONMENT_LABEL: &str = "windlass.environment";

/// Where an image is.
#[derive(Debug, clap::Args)]
struct LayoutArgs {
    /// OCI layout that holds the image [default: images in the run directory]
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
}

impl LayoutArgs {
    fn open(&self, context: &Context) -> Result<Layout, Failure> {
        let path = self.layout.clone().unwrap_or_else(|| default_layout(context));
        Layout::open(&path).map_err(failure)
    }
}

fn default_layout(context: &Context) -> PathBuf {
    context.directory.join("images")
}

/// The image of this name; without a name, the only one that there is.
fn chosen(layout: &Layout, name: Option<&str>) -> Result<Image, Failure> {
    if let Some(name) = name {
        return layout.image(name).map_err(failure);
    }
    let names = layout.names().map_err(failure)?;
    match names.as_slice() {
        [name] => layout.image(name).map_err(failure),
        [] => layout.image("of any name").map_err(failure),
        _ => Err(Error::Several { known: names }.into()),
    }
}

/// The images that are asked about: the one of this name, or all.
fn asked(layout: &Layout, name: Option<&str>) -> Result<Vec<Image>, Failure> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => layout.names().map_err(failure)?,
    };
    if names.is_empty() {
        return chosen(layout, None).map(|image| vec![image]);
    }
    names.iter().map(|name| layout.image(name).map_err(failure)).collect()
}

#[allow(clippy::needless_pass_by_value)] // the form that map_err takes
fn failure(error: windlass_image::Error) -> Failure {
    let failure = Failure::new(error.code(), error.to_string(), error.help());
    if error.is_bad_input() { failure.bad_input() } else { failure }
}

fn megabytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // for people
    let millions = bytes as f64 / 1e6;
    format!("{millions:.1} MB")
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Build(args) => build::run(&args, context),
        Command::Push(args) => push::run(args, context).await,
        Command::Inspect(args) => inspect::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
        Command::Unpack(args) => unpack::run(&args, context),
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    /// The help of each is a golden file; run the tests with `UPDATE_GOLDEN=1` to take a change over.
    #[test]
    fn the_help_is_as_written_down() {
        let mut command = super::Args::augment_args(
            clap::Command::new("windlass image").term_width(100).bin_name("windlass image"),
        );
        command.build();
        let mut text = String::new();
        for sub in command.get_subcommands_mut() {
            let name = sub.get_name().to_owned();
            text.push_str(&format!("# windlass image {name} --help\n\n{}\n", sub.render_long_help()));
        }
        let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/help-image.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert!(golden == text, "golden/help-image.txt differs; look at it after UPDATE_GOLDEN=1");
    }
}
