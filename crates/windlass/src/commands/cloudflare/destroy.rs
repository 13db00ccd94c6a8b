//! `windlass cloudflare destroy`: take down what the fleet has at Cloudflare, and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Map;
use windlass_engine::plan::Wish;
use windlass_engine::wanted::CLOUDFLARE;

use super::show_only;
use crate::commands::apply::{self, How};
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::Source;
use crate::fleet_session::Session;

const LONG_ABOUT: &str = "\
Delete everything that the fleet has at Cloudflare, and nothing else.

The containers, the Worker with its Durable Objects, its secrets, the namespace and the bucket of payloads. Events that \
still wait in the Outbox and payloads in the bucket are named with their number, and deleted only with --allow-data-loss. \
The hub and everything else goes on; a bucket that holds state is never touched, and the image stays in the registry.";

/// Arguments of `windlass cloudflare destroy`.
#[derive(Debug, clap::Args)]
#[command(about = "Delete everything that the fleet has at Cloudflare", long_about = LONG_ABOUT)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// How
    #[command(flatten)]
    how: How,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    // Also when the file no longer has an edge: what is left of it is what the state knows.
    let session = Session::open(&Source::find(args.file.as_deref())?, context)?;
    let state = session.look().await?;
    let recorded = state.resources.iter().filter(|(_, recorded)| recorded.platform == CLOUDFLARE);
    let mut targets: Vec<_> = recorded.map(|(address, _)| address.clone()).collect();
    if targets.is_empty() {
        // With nothing named it would be everything.
        targets.extend(
            session
                .wanted
                .iter()
                .filter(|wanted| wanted.platform == CLOUDFLARE)
                .map(|wanted| wanted.address.clone()),
        );
    }
    if targets.is_empty() {
        return Err(crate::failure::Error::NoEdgeInFile.into());
    }
    let wish = Wish { targets, destroy: true };
    if args.dry_run {
        return show_only(Map::new(), &session, &wish, context).await;
    }
    apply::carry_out(&session, &wish, None, &args.how, context).await
}
