//! One file a command. A command reads its input, calls what does the work, and prints.

pub mod agent;
pub mod apply;
pub mod certificates;
pub mod cloudflare;
pub mod completion;
pub mod cost;
pub mod creds;
pub mod doctor;
pub mod down;
pub mod events;
pub mod explain;
pub mod image;
pub mod init;
pub mod logs;
pub mod nats;
pub mod plan;
pub mod receive;
pub mod sandbox;
pub mod schema;
pub mod state;
pub mod state_records;
pub mod status;
pub mod topology;
pub mod up;
pub mod validate;

use std::future::Future;
use std::process::ExitCode;

use tokio::runtime::Builder;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::{logging, output};

/// Runs the command and reports its failure, if it fails.
pub fn run(cli: Cli) -> ExitCode {
    output::set_color(cli.global.color);
    let format = cli.global.format;
    if format.is_table() && !matches!(cli.command, Command::Cost(_)) {
        let message = "only `windlass cost` prints its results as markdown or csv".to_owned();
        let help = "use --format text or --format json".to_owned();
        return Failure::from(Error::Usage { message, help }).report(format);
    }
    let result = cli.global.context().and_then(|context| dispatch(cli.command, &context));
    result.unwrap_or_else(|failure| failure.report(format))
}

fn dispatch(command: Command, context: &Context) -> Result<ExitCode, Failure> {
    let log = |base| logging::start(base, context.verbosity, None);
    match command {
        // These start the log themselves, or need none.
        Command::Up(args) => on_one_thread(up::run(args, context)),
        Command::Completion(args) => completion::run(args),
        Command::Creds(args) => creds::run(args, context),
        Command::Init(args) => init::run(args, context),
        // It becomes the other program, which is to find the signals and the terminal as they were.
        Command::Nats(args) => nats::run(args, context),
        Command::Explain(args) => explain::run(args, context),
        Command::Validate(args) => validate::run(args, context),
        Command::Schema(args) => schema::run(&args),
        Command::Show(args) => schema::show(args, context),
        Command::Agent(args) => {
            log(LevelFilter::INFO);
            on_one_thread(agent::run(args, context))
        }
        Command::Sandbox(args) => {
            log(LevelFilter::WARN);
            on_all_threads(sandbox::run(args, context))
        }
        Command::Plan(args) => {
            log(LevelFilter::WARN);
            on_one_thread(plan::run(args, context))
        }
        Command::Cost(args) => {
            log(LevelFilter::WARN);
            on_one_thread(cost::run(args, context))
        }
        Command::Apply(args) => {
            log(LevelFilter::WARN);
            on_one_thread(apply::run(args, context))
        }
        Command::Cloudflare(args) => {
            // Being turned away is what some trials want to see; the client would tell it as an error.
            log(if args.tries() { LevelFilter::OFF } else { LevelFilter::WARN });
            on_one_thread(cloudflare::run(args, context))
        }
        Command::Destroy(args) => {
            log(LevelFilter::WARN);
            on_one_thread(apply::destroy(args, context))
        }
        Command::Import(args) => {
            log(LevelFilter::WARN);
            on_one_thread(state_records::import(args, context))
        }
        Command::Forget(args) => {
            log(LevelFilter::WARN);
            on_one_thread(state_records::forget(args, context))
        }
        Command::Move(args) => {
            log(LevelFilter::WARN);
            on_one_thread(state_records::rename(args, context))
        }
        Command::Certificates(args) => {
            log(LevelFilter::WARN);
            on_one_thread(certificates::run(args, context))
        }
        Command::Down(args) => {
            log(LevelFilter::WARN);
            on_one_thread(down::run(args, context))
        }
        Command::Status(args) => {
            log(LevelFilter::WARN);
            on_one_thread(status::run(args, context))
        }
        Command::Topology(args) => {
            log(LevelFilter::WARN);
            on_one_thread(topology::run(args, context))
        }
        Command::Logs(args) => {
            log(LevelFilter::WARN);
            on_one_thread(logs::run(args, context))
        }
        Command::Doctor(args) => {
            log(LevelFilter::WARN);
            on_one_thread(doctor::run(args, context))
        }
        Command::State(args) => {
            log(LevelFilter::WARN);
            on_all_threads(state::run(args, context))
        }
        Command::Events(args) => {
            log(LevelFilter::WARN);
            on_all_threads(events::run(args, context))
        }
        Command::Image(args) => {
            log(LevelFilter::WARN);
            on_all_threads(image::run(args, context))
        }
        Command::Receive(args) => {
            log(LevelFilter::INFO);
            match args.threads() {
                1 => on_one_thread(receive::run(args, context)),
                threads => {
                    run_on(Builder::new_multi_thread().worker_threads(threads), receive::run(args, context))
                }
            }
        }
    }
}

/// For commands that wait more than they work.
fn on_one_thread(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    run_on(&mut Builder::new_current_thread(), command)
}

/// For commands that work.
fn on_all_threads(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    run_on(&mut Builder::new_multi_thread(), command)
}

fn run_on(
    builder: &mut Builder,
    command: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|cause| Error::Environment { what: "the runtime", cause: cause.to_string() })?;
    let result = runtime.block_on(command);
    // A blocking read of standard input must not hold up the end.
    runtime.shutdown_background();
    result
}
