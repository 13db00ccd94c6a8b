//! `windlass cloudflare export`: what an apply would make, as files for wrangler and Terraform.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::output;

const LONG_ABOUT: &str = "\
Write the edge as files for wrangler and Terraform.

wrangler.jsonc, with the built Worker beside it, is what `wrangler deploy` takes; terraform/cloudflare-containers.tf \
describes the same for Terraform, and says what its provider cannot do. Both make exactly what `windlass apply` would \
make, and `windlass plan` finds no difference afterwards. No secret is in any of the files.";

const EXAMPLES: &str = "\
Examples:
  windlass cloudflare export deploy
  (cd deploy && wrangler deploy)
  (cd deploy/terraform && terraform init && terraform plan)";

/// Arguments of `windlass cloudflare export`.
#[derive(Debug, clap::Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub struct Args {
    /// Directory to write to; it is made where it is missing
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let session = Session::open(&Source::find(args.file.as_deref())?, context)?;
    if windlass_engine::wanted::edge::cluster(&session.fleet).is_none() {
        return Err(Error::NoEdgeInFile.into());
    }
    let files = session.cloudflare.export().await.map_err(told)?;
    let mut written = Vec::new();
    for file in files {
        let path = args.to.join(file.path);
        let failed = |cause| Error::Directory { action: "write", path: path.clone(), cause };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&path, &file.content).map_err(failed)?;
        written.push(path);
    }
    if context.json() {
        output::json(&json!({ "files": written }))?;
    } else {
        for path in &written {
            writeln!(output::out(), "{}", path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(trouble: windlass_engine::Trouble) -> Failure {
    Failure::new(trouble.code, trouble.message, trouble.help)
}
