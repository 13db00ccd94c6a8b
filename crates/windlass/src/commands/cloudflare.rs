//! `windlass cloudflare`: what there is to do with an edge beside `plan` and `apply`.

mod deploy;
mod destroy;
mod error;
mod export;
mod migrate_state;
mod rollback;
mod setup;
mod test;
mod trial;

use std::process::ExitCode;

use windlass_engine::Trouble;
use windlass_engine::plan::Wish;
use windlass_engine::wanted;

use crate::commands::plan;
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_file::Source;
use crate::fleet_session::Session;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Set up, deploy, test and take down what the fleet has at Cloudflare's edge.

Each can be run again at any time and goes on where it was; with --dry-run it says what it would do and does nothing. The \
account and the token are those of [platforms.cloudflare] in the fleet file.";

const EXAMPLES: &str = "\
Examples:
  windlass cloudflare setup               check the token; make buckets and namespaces
  windlass cloudflare deploy              build and push the image, apply, see that it runs
  windlass cloudflare test                a webhook in, an event out, clients, a leaf node, start times
  windlass cloudflare rollback            let the version before answer again
  windlass cloudflare destroy --dry-run";

/// Arguments of `windlass cloudflare`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    Setup(setup::Args),
    Deploy(deploy::Args),
    MigrateState(migrate_state::Args),
    Test(test::Args),
    Rollback(rollback::Args),
    Destroy(destroy::Args),
    /// Write the edge as files for wrangler and Terraform
    Export(export::Args),
}

impl Args {
    /// Whether it is the one that tries the deployed edge.
    pub const fn tries(&self) -> bool {
        matches!(self.part, Part::Test(_))
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.part {
        Part::Setup(args) => setup::run(args, context).await,
        Part::Deploy(args) => deploy::run(args, context).await,
        Part::MigrateState(args) => migrate_state::run(args, context).await,
        Part::Test(args) => Box::pin(test::run(args, context)).await,
        Part::Rollback(args) => rollback::run(args, context).await,
        Part::Destroy(args) => destroy::run(args, context).await,
        Part::Export(args) => export::run(args, context).await,
    }
}

/// The fleet of a file that has a cluster at the edge.
fn open(file: Option<&std::path::Path>, context: &Context) -> Result<Session, Failure> {
    let session = Session::open(&Source::find(file)?, context)?;
    if wanted::edge::cluster(&session.fleet).is_none() {
        return Err(Error::NoEdgeInFile.into());
    }
    Ok(session)
}

/// Shows what would be done, and does nothing.
async fn show_only(session: &Session, wish: &Wish, context: &Context) -> Result<ExitCode, Failure> {
    let state = session.look().await?;
    let plan = session.plan(&state, wish).await?.plan;
    let cost = plan::cost(session, &state, &plan, wish, context);
    plan::print(&plan, cost.as_ref(), context)?;
    Ok(ExitCode::SUCCESS)
}

fn told(trouble: Trouble) -> Failure {
    Failure::new(trouble.code, trouble.message, trouble.help)
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn refused(error: windlass_platforms::cloudflare::client::Error) -> Failure {
    told(error.into())
}
