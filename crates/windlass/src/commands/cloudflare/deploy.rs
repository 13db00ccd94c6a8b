//! `windlass cloudflare deploy`: the image, then the apply, then the proof.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, json};
use windlass_engine::plan::Wish;
use windlass_engine::wanted;
use windlass_platforms::cloudflare::edge;

use super::{open, setup, show_only, told};
use crate::commands::apply::{self, How};
use crate::commands::image;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

const LONG_ABOUT: &str = "\
Build and push the image, apply the fleet file, and see that everything runs as it says.

First it sees that the token may do all of it. The image of the nodes is built without Docker and pushed to Cloudflare's registry, where it is not there already; a fleet \
file that names an image of its own is taken at its word. Then this is `windlass apply`: it shows the plan, asks, does it, \
and asks each node which version and which configuration it runs. Cloudflare calls a rollout done when instances were \
started; this does not.";

/// Arguments of `windlass cloudflare deploy`.
#[derive(Debug, clap::Args)]
#[command(about = "Build and push the image, apply, and see that it runs", long_about = LONG_ABOUT)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave the image alone: it is in the registry
    #[arg(long)]
    no_image: bool,
    /// How
    #[command(flatten)]
    how: How,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let session = open(args.file.as_deref(), context)?;
    let wish = Wish::default();
    let own = wanted::edge::cluster(&session.fleet).filter(|(_, cluster)| cluster.image.is_none());
    let mut document = Map::new();
    let client = session.cloudflare.client().await.map_err(told)?;
    setup::allowed(client).await?;
    if let Some((_, cluster)) = own.filter(|_| !args.no_image) {
        let account = client.account().to_owned();
        let reference = edge::image(cluster, &account);
        let image = if args.dry_run {
            if !context.quiet() && !context.json() {
                output::note(&format!("the image {reference} would be built, and pushed if it is not there"));
            }
            json!({ "reference": reference })
        } else {
            json!(image::provide(&reference, context).await?)
        };
        document.insert("image".to_owned(), image);
    }
    if args.dry_run {
        return show_only(document, &session, &wish, context).await;
    }
    apply::carry_out_after(document, &session, &wish, None, &args.how, context).await
}
