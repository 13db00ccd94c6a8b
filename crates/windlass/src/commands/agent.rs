//! `windlass agent`: the process that keeps the fleet's parts on this machine running.

use std::process::ExitCode;

use windlass_platforms::self_hosted::agent::{self, Error as AgentError};

use crate::context::Context;
use crate::failure::{Error, FAILED, Failure};

/// Arguments of `windlass agent`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<ExitCode, Failure> {
    // A session of its own: neither a Ctrl-C nor the end of the terminal reaches it. Fails only where it has one.
    let _ = rustix::process::setsid();
    match agent::run(&context.directory, || {}).await {
        Ok(_) => Ok(ExitCode::SUCCESS),
        // Another one was faster, and does the work.
        Err(AgentError::Held) => Ok(ExitCode::from(FAILED)),
        Err(AgentError::Io(cause)) => {
            Err(Error::Directory { action: "use", path: context.directory.clone(), cause }.into())
        }
    }
}
