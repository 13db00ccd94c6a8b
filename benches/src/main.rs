//! `windlass-bench`: the measured comparisons of Windlass.
//!
//! Each question is a subcommand. `ingest` asks how many webhooks a second the receiver takes, against the raw
//! limit of the server behind it and against the receiver that one would write in Node. `dedup` asks what it costs
//! to recognize a delivery that arrives again within three days, in three ways. `edge` asks what the Worker takes, and costs.
//!
//! Everything that is compared runs in the same run, on the same server, in turns, so that a noisy machine is
//! noisy for all of them.

mod clock;
mod dedup;
mod delivery;
mod edge;
mod evict;
mod ingest;
mod load;
mod machine;
mod nats_server;
mod payload;
mod peers;
mod plan;
mod process;
mod raw;
mod report;
mod state;
mod ways;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// What can go wrong in a benchmark: a sentence for the person at the terminal.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result whose error is a sentence.
pub type Result<T> = std::result::Result<T, Error>;

#[derive(Parser)]
#[command(name = "windlass-bench", about = "Measures Windlass against its peers and against the raw limit")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Webhooks a second and latency of the receiver, the raw limit and the Node peer
    Ingest(ingest::Options),
    /// The edge: webhooks, connections through the Worker, starts of a node
    Edge(edge::Options),
    /// Three ways to recognize a delivery that arrives again: rate, memory, disk, recovery
    Dedup(dedup::Options),
    /// A plan without changes against Terraform's, and making streams against a plain loop
    Plan(plan::Options),
    /// Moving a large Terraform state to R2 against `terraform init -migrate-state`
    State(state::Options),
}

/// How the result is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Markdown tables
    Table,
    /// One JSON object
    Json,
}

/// Says on standard error what is being done now: a run takes minutes.
pub fn progress(line: &str) {
    // Nobody may be reading: a benchmark is not ended by a closed standard error.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs the command until it is done or the person presses Ctrl-C. Dropping the future ends what it started.
async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let work = async {
        match &arguments.command {
            Command::Ingest(options) => ingest::run(options).await,
            Command::Edge(options) => edge::run(options).await,
            Command::Dedup(options) => dedup::run(options).await,
            Command::Plan(options) => plan::run(options).await,
            Command::State(options) => state::run(options),
        }
    };
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
        _ = terminated.recv() => Ok(ExitCode::from(130)),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            progress(&format!("the runtime did not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            progress(&format!("windlass-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}
