//! `windlass down`: ends the agent and everything that it keeps running. The data stays.
//!
//! An agent that lives stops its parts itself. One that was killed has left its parts behind; they are found through its
//! status and stopped here.

use std::io::Write;
use std::process::ExitCode;

use windlass_platforms::self_hosted::control::{AgentCommand, Control};

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_session::own_program;
use crate::output;
use crate::process::Identity;
use crate::run_directory::RunDirectory;
use crate::run_record::RunRecord;

const EXAMPLES: &str = "\
Examples:
  windlass down
  windlass down --directory /srv/windlass

Data, secrets and logs stay in the directory; the next `windlass up` goes on with them.";

/// Arguments of `windlass down`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let stopped = if directory.exists() { end(&directory).await? } else { Vec::new() };
    if context.json() {
        let pids: serde_json::Map<String, serde_json::Value> =
            stopped.into_iter().map(|(part, pid)| (part, pid.into())).collect();
        output::json(&serde_json::json!({ "stopped": pids }))?;
    } else if !context.quiet() {
        let mut out = output::out();
        if stopped.is_empty() {
            writeln!(out, "nothing is running in {}", directory.root().display())?;
        } else {
            let parts: Vec<String> =
                stopped.iter().map(|(part, pid)| format!("{part} (pid {pid})")).collect();
            writeln!(out, "stopped {}", parts.join(", "))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends what runs in a directory, and says which processes it stopped.
async fn end(directory: &RunDirectory) -> Result<Vec<(String, u32)>, Failure> {
    let names: Vec<(String, Identity)> =
        RunRecord::read(directory).map_or_else(Vec::new, |record| record.alive());
    let control =
        Control::new(directory.root(), AgentCommand { program: own_program()?, arguments: Vec::new() });
    let stopped = control.stop_all().await.map_err(|cause| Error::Directory {
        action: "stop what runs in",
        path: directory.root().to_owned(),
        cause,
    })?;
    // A local Cloudflare that was killed has left its own processes behind, and is not there to end them.
    let left = windlass_sandbox::cloudflare::end_what_was_left(&directory.root().join("cloudflare")).await;
    left.map_err(|cause| Error::Directory {
        action: "stop what is left in",
        path: directory.root().to_owned(),
        cause,
    })?;
    let _ = std::fs::remove_file(directory.run_file());
    let name = |pid: u32| names.iter().find(|(_, process)| process.pid == pid).map(|(name, _)| name.clone());
    Ok(stopped.into_iter().map(|(part, pid)| (name(pid).unwrap_or(part), pid)).collect())
}
