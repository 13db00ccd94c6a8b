//! `windlass image build`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;
use windlass_image::{Architecture, Certificates, Environment, Layout, Program, Recipe};
use windlass_nats::server::{Binary, Version};

use super::{Error, default_layout, failure, megabytes};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, DIM, paint};

const MORE: &str = "\
The image is one static nats-server, its configuration, the authorities that it trusts and an empty /data: no shell, no \
system, no secret. It runs as user 65532. What differs between nodes comes from the environment when one starts; what \
differs between development, staging and production (--environment, else production) is in the image's own variables.

The same program and the same authorities give the same digest, on any machine.";

/// Build the image of an edge node, without Docker
#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub struct Args {
    /// OCI layout that gets the image; one that is there keeps its others [default: images in the run directory]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Name of the image in the layout [default: windlass-nats:VERSION-ENVIRONMENT]
    #[arg(long, value_name = "REF")]
    tag: Option<String>,
    /// Static nats-server for Linux [default: the one that `windlass up` runs]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
    /// Its version, where it does not run here and cannot be asked
    #[arg(long, value_name = "VERSION")]
    nats_version: Option<Version>,
    /// What the image runs on: amd64 (Cloudflare's containers) or arm64
    #[arg(long, value_name = "ARCH", default_value = "amd64", hide_possible_values = true)]
    architecture: Machine,
    /// Certificates of the authorities to trust, as PEM [default: Mozilla's, as this version of Windlass carries them]
    #[arg(long, value_name = "FILE")]
    ca_certificates: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Machine {
    Amd64,
    Arm64,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let environment = match &context.environment {
        Some(name) => name.parse().map_err(|()| Error::Environment { asked: name.clone() })?,
        None => Environment::default(),
    };
    let architecture = match args.architecture {
        Machine::Amd64 => Architecture::Amd64,
        Machine::Arm64 => Architecture::Arm64,
    };
    let (path, version) = program(args)?;
    let program = Program::read(&path, architecture).map_err(failure)?;
    let version = match version.or(args.nats_version) {
        Some(version) => version,
        None => {
            let said =
                Binary::at(&path).map_err(|error| Error::Version { path, cause: error.to_string() })?;
            said.version
        }
    };
    let certificates = match &args.ca_certificates {
        Some(path) => Certificates::read(path).map_err(failure)?,
        None => Certificates::mozilla(),
    };
    let name = format!("windlass-nats:{version}-{}", environment.name());
    let name = args.tag.as_ref().unwrap_or(&name);
    let recipe = Recipe { program, version: version.to_string(), certificates, environment };
    let directory = args.output.clone().unwrap_or_else(|| default_layout(context));
    let layout = Layout::create(&directory).map_err(failure)?;
    let image = layout.build(&recipe, name).map_err(failure)?;
    let described = image.describe();
    if context.json() {
        output::json(&json!({
            "reference": image.reference,
            "digest": image.digest,
            "layout": directory,
            "platform": described.platform,
            "size": described.size,
        }))?;
    } else {
        let mut out = output::out();
        writeln!(out, "{}  {}  {}", paint(BOLD, name), described.platform, megabytes(described.size))?;
        writeln!(out, "{}", image.digest)?;
        if !context.quiet() {
            writeln!(out, "{}", paint(DIM, format_args!("in {}", directory.display())))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The program, and its version where it was asked already.
fn program(args: &Args) -> Result<(PathBuf, Option<Version>), Failure> {
    if let Some(path) = &args.nats_server {
        return Ok((path.clone(), None));
    }
    let found =
        Binary::find().map_err(|error| Failure::new(error.code(), error.to_string(), error.help()))?;
    Ok((found.path, Some(found.version)))
}
