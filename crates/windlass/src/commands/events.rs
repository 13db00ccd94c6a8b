//! `windlass events`: GitHub's events on the command line.
//!
//! Everything about a stored event (finding, filtering, fetching its payload, signing it again) is the library's,
//! `windlass_events::consume`. Here is what a person or a script sees of it: lines, JSON, progress, exit codes.

mod connection;
mod error;
mod http;
mod json_text;
mod line;
mod replay;
mod retry;
mod selection;
mod send;
mod show;
mod summary;
mod tail;
mod view;
mod when;

use std::process::ExitCode;

use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};

/// Behind the short description, which the list of all commands shows too.
const MORE: &str = "\
The events are those in the stream of the fleet that runs here (see `windlass up`), or of any NATS named with \
--nats-url. Reading changes nothing: no durable consumer is made, nothing is acknowledged. Payloads that were too \
large for a message are fetched from their object bucket, and their digest is checked.

Examples:
  windlass events tail --repository acme/api
  windlass events show 72d3162e-cc78-11e3-81ab-4c9367dc0958
  windlass events send push.json --event push
  windlass events replay --since 1h --to http://127.0.0.1:3000/webhook";

/// Watch, send, show and replay GitHub's events.
#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// Each documents itself: a comment here would take the place of its description.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Tail(tail::Args),
    Show(show::Args),
    Replay(replay::Args),
    Send(send::Args),
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Tail(args) => until_interrupted(Box::pin(tail::run(args, context))).await,
        Command::Show(args) => until_interrupted(Box::pin(show::run(args, context))).await,
        Command::Send(args) => until_interrupted(Box::pin(send::run(args, context))).await,
        // It says how far it got.
        Command::Replay(args) => Box::pin(replay::run(args, context)).await,
    }
}

/// Ctrl-C ends the command without a word.
async fn until_interrupted(
    command: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    tokio::select! {
        result = command => result,
        () = interrupted() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Waits for Ctrl-C. Where it cannot be caught, it ends the process by itself.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Alone::try_parse_from(line.split_whitespace()).map(|alone| alone.args)
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Alone as clap::CommandFactory>::command().debug_assert();
        for line in [
            "events tail",
            "events tail --since 1h --no-follow --repository acme/api --event push,star --action - --sender octocat",
            "events tail --last 5",
            "events tail --all --no-follow",
            "events show 72d3162e --body",
            "events show --sequence 7",
            "events replay --since 2h --until 1h --to http://127.0.0.1:1/x --new-delivery",
            "events replay --last 3 --to replayed --keep-subject",
            "events replay --all --dry-run",
            "events send - --event push --form --repeat 3",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err().map(|error| error.to_string()));
        }
        for line in [
            "events",
            "events tail --since 1h --last 5",
            "events tail --follow --no-follow",
            "events tail --since soon",
            "events tail --repository a/b/c",
            "events show",
            "events show guid --sequence 7",
            "events replay --to x",
            "events replay --since 1h",
            "events send",
            "events send - --event push --repeat 0",
            "events send - --event a/b",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
