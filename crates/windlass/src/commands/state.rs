//! `windlass state`: Terraform's state on disk, on S3 and on R2, and the fleet's own.
//!
//! What is done to a state (moving, restoring, encrypting, checking it) is the library's, `windlass_state`. Here is what a
//! person or a script sees of it: arguments, questions, progress, lines, JSON.

mod backend;
mod diff;
mod endpoint;
mod exec;
mod history;
mod locks;
pub mod migrate;
pub mod moving;
mod own;
mod place;
mod project;
mod rekey;
mod restore;
mod serve;
mod show;
mod unlock;
mod verify;

use std::process::ExitCode;

use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};

const MORE: &str = "\
An address is a file, s3://BUCKET/KEY or r2://BUCKET/KEY. Buckets are reached with AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID \
and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, AWS_REGION); for R2 the endpoint is \
https://ACCOUNT.r2.cloudflarestorage.com.

Without an address, history, show, diff, restore, verify, locks, unlock and rekey are about the fleet's own state: where it is \
stands in the fleet file, under [state].

R2 keeps no old versions by itself. What Windlass writes leaves a copy below history/, and every change is made under \
Terraform's own lock.

Examples:
  windlass state migrate --from terraform.tfstate --to r2://states/nats/terraform.tfstate
  windlass state backend r2://states/nats/terraform.tfstate --write backend.tf
  windlass state history r2://states/nats/terraform.tfstate --format json
  windlass state restore r2://states/nats/terraform.tfstate 12
  windlass state history";

/// Keep Terraform's state and the fleet's own safe: migrate, verify, restore, encrypt
#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Each documents itself: a comment here would take the place of its description.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Backend(backend::Args),
    Migrate(migrate::Args),
    Move(moving::Args),
    Verify(verify::Args),
    History(history::Args),
    Show(show::Args),
    Diff(diff::Args),
    Restore(restore::Args),
    Locks(locks::Args),
    Unlock(unlock::Args),
    Rekey(rekey::Args),
    Exec(exec::Args),
    Serve(serve::Args),
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Backend(args) => backend::run(&args, context),
        Command::Verify(args) => Box::pin(verify::run(args, context)).await,
        Command::History(args) => Box::pin(history::run(args, context)).await,
        Command::Show(args) => Box::pin(show::run(args, context)).await,
        Command::Diff(args) => Box::pin(diff::run(args, context)).await,
        Command::Locks(args) => Box::pin(locks::run(args, context)).await,
        Command::Unlock(args) => Box::pin(unlock::run(args, context)).await,
        Command::Move(args) => Box::pin(moving::run(args, context)).await,
        // These hold locks and release them themselves when they are interrupted.
        Command::Migrate(args) => Box::pin(migrate::run(args, context)).await,
        Command::Restore(args) => Box::pin(restore::run(args, context)).await,
        Command::Rekey(args) => Box::pin(rekey::run(args, context)).await,
        // These run until something else ends.
        Command::Exec(args) => Box::pin(exec::run(args, context)).await,
        Command::Serve(args) => Box::pin(serve::run(args, context)).await,
    }
}

impl From<windlass_state::Error> for Failure {
    fn from(error: windlass_state::Error) -> Self {
        let failure = Self::new(error.code(), error.to_string(), error.help());
        match error {
            windlass_state::Error::Interrupted => failure.exit_with(INTERRUPTED),
            error if error.is_bad_input() => failure.bad_input(),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    #[command(name = "windlass", bin_name = "windlass")]
    struct Alone {
        #[command(subcommand)]
        command: Top,
    }

    #[derive(clap::Subcommand)]
    enum Top {
        State(Args),
    }

    /// Run the tests with `UPDATE_GOLDEN=1` to take a change over.
    #[test]
    fn the_help_is_as_written_down() {
        let mut command = Alone::command().term_width(100);
        command.build();
        let mut text = String::new();
        for state in command.get_subcommands_mut() {
            for sub in state.get_subcommands_mut() {
                let name = sub.get_name().to_owned();
                text.push_str(&format!("# windlass state {name} --help\n\n{}\n", sub.render_long_help()));
            }
        }
        let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/state-help.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == text,
            "golden/state-help.txt differs; look at it after UPDATE_GOLDEN=1 cargo test -p windlass"
        );
    }

    #[test]
    fn the_arguments_are_consistent() {
        Alone::command().debug_assert();
        for line in [
            "windlass state migrate --from a --to r2://states/a --yes --dry-run",
            "windlass state history r2://states/a --prune --keep 10 --keep-days 90",
            "windlass state show r2://states/a 7 --raw",
            "windlass state diff r2://states/a 7 8",
            "windlass state restore r2://states/a 7-0a1b --workspace dev",
            "windlass state rekey r2://states/a --key env:NEW --key env:OLD",
            "windlass state backend r2://states/a --terraform-version 1.9.0",
            "windlass state unlock r2://states/a 0a-1b",
            "windlass state exec --store r2://states -- terraform apply -auto-approve",
            "windlass state serve --store dir:states --listen 127.0.0.1:8301",
            "windlass state history --file fleet.toml",
            "windlass state show 7",
            "windlass state diff 7",
            "windlass state diff 7 8",
            "windlass state restore 7-0a1b --yes",
            "windlass state unlock 0a-1b",
            "windlass state move --from dir:old --yes",
        ] {
            assert!(Alone::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "windlass state migrate --from a",
            "windlass state history r2://states/a --keep 10",
            "windlass state restore",
            "windlass state diff",
            "windlass state rekey r2://states/a --key AGE-SECRET-KEY-1",
            "windlass state unlock",
            "windlass state exec --store r2://states",
            "windlass state exec -- terraform apply",
        ] {
            assert!(Alone::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
