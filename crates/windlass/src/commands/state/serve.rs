//! `windlass state serve`: the endpoint for Terraform, until it is stopped.

use std::io::Write;
use std::process::ExitCode;

use super::endpoint::{EndpointArgs, UNSET};
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};
use crate::output;
use crate::signals::{End, Signals};

const EXAMPLES: &str = "\
Prints what to set, and answers until Ctrl-C or SIGTERM. The keys are made anew at each start and open nothing but this \
endpoint. A lock that Terraform leaves behind stays, as nobody can know here whether its Terraform lives; \
`windlass state exec` knows.

Examples:
  windlass state serve --store r2://states --listen 127.0.0.1:8301
  windlass state serve --store r2://states/team --key file:state.key --format json";

/// Answer Terraform on this machine, in front of any store
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The endpoint
    #[command(flatten)]
    endpoint: EndpointArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let mut signals = Signals::take()?;
    let (service, _local_r2) = args.endpoint.bind(None, context).await?;
    let variables = args.endpoint.variables(&service);
    if context.json() {
        // What it was started for: the keys open nothing but this endpoint, and end with it.
        let mut out = output::out();
        writeln!(out, "{}", serde_json::json!({ "endpoint": service.endpoint(), "variables": variables }))?;
        out.flush()?;
    } else {
        let mut out = output::out();
        if args.endpoint.has_s3() {
            writeln!(out, "unset {}", UNSET.join(" "))?;
        }
        for (name, value) in &variables {
            writeln!(out, "export {name}='{}'", value.replace('\'', "'\\''"))?;
        }
        out.flush()?;
    }
    let mut end = End::Terminated;
    service.run(async { end = signals.next().await }).await;
    Ok(match end {
        End::Interrupted => ExitCode::from(INTERRUPTED),
        End::Terminated => ExitCode::SUCCESS,
    })
}
