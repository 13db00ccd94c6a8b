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

use serde_json::{Map, Value, json};
use windlass_engine::Trouble;
use windlass_engine::plan::Wish;
use windlass_engine::wanted;

use crate::commands::plan;
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::output;

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

/// Shows what would be done, and does nothing. `before` is what the JSON document says of the command's other parts.
async fn show_only(
    before: Map<String, Value>,
    session: &Session,
    wish: &Wish,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let state = session.look().await?;
    let plan = session.plan(&state, wish).await?.plan;
    let cost = plan::cost(session, &state, &plan, wish, context);
    if context.json() {
        let mut document = before;
        document.insert("plan".to_owned(), json!(plan));
        document.insert("cost".to_owned(), json!(cost));
        output::json(&document)?;
    } else {
        plan::print(&plan, cost.as_ref(), context)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn told(trouble: Trouble) -> Failure {
    Failure::new(trouble.code, trouble.message, trouble.help)
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn refused(error: windlass_platforms::cloudflare::client::Error) -> Failure {
    told(error.into())
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    /// The help of each is a golden file; run the tests with `UPDATE_GOLDEN=1` to take a change over.
    #[test]
    fn the_help_is_as_written_down() {
        let mut command = super::Args::augment_args(
            clap::Command::new("windlass cloudflare").term_width(100).bin_name("windlass cloudflare"),
        );
        command.build();
        let mut text = String::new();
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let name = sub.get_name().to_owned();
            text.push_str(&format!("# windlass cloudflare {name} --help\n\n{}\n", sub.render_long_help()));
        }
        let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/help-cloudflare.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert!(golden == text, "golden/help-cloudflare.txt differs; look at it after UPDATE_GOLDEN=1");
    }
}
