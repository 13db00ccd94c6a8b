//! `windlass state exec`: run Terraform with the endpoint in front of its state.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::endpoint::{EndpointArgs, UNSET};
use super::project::{self, Project};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::signals::{End, Interrupts, Signals};

const EXAMPLES: &str = "\
The project stays as it is: its backend \"s3\" or \"http\" finds the endpoint by variables. Of a backend \"s3\", the key is \
the key in the store and the bucket's name is not looked at. A project that was initialized without this needs `terraform init -reconfigure` once (here, too). Every version is kept, encrypted with --key where there is one; what would replace another state, or a newer \
one, is refused.

The exit code is the command's. Ctrl-C reaches it once, and no lock is left when it has ended.

Examples:
  windlass state exec --store r2://states -- terraform init
  windlass state exec --store r2://states -- terraform apply
  windlass state exec --store r2://states/team --key file:state.key -- tofu plan
  windlass state history r2://states/nats/terraform.tfstate";

/// Run Terraform with its state kept safe: versions, encryption, locks
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The endpoint
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// The command with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let Some((program, arguments)) = args.command.split_first() else {
        return Ok(ExitCode::SUCCESS);
    };
    // Before the command starts: a signal that comes early must not leave it alone.
    let mut signals = Signals::take()?;
    let mut interrupts = Interrupts::watch()?;
    let project = args.endpoint.has_s3().then(|| Project::find(arguments)).flatten();
    // What is told anew needs no port of before, which may be that of the store itself.
    let told_anew = arguments.iter().any(|argument| argument == "-reconfigure");
    let port = project.as_ref().filter(|_| !told_anew).and_then(Project::port);
    let (service, _local_r2) = args.endpoint.bind(port, context).await?;
    let mut command = Command::new(program);
    command.args(arguments);
    if args.endpoint.has_s3() {
        for name in UNSET {
            command.env_remove(name);
        }
    }
    command.envs(args.endpoint.variables(&service));
    let init = match &project {
        Some(project) => Some(project.prepare(&service.endpoint(), &context.directory)?),
        None => None,
    };
    if let Some(init) = &init {
        command.env(project::INIT_ARGUMENTS, init.arguments());
    }
    // A terminal sends Ctrl-C to its whole foreground group, and the command must be in it to read answers. Elsewhere it
    // gets a group of its own, so that each signal reaches it once: through here. What a process sends to this one alone is
    // passed on in both cases.
    let terminal = io::stdin().is_terminal();
    if !terminal {
        command.process_group(0);
    }
    let handle = service.start();
    let spawned = command.spawn();
    if let Some(pid) = spawned.as_ref().ok().and_then(tokio::process::Child::id) {
        // Of the command, not of this process: when only this one is killed, the command may still be changing things.
        handle.owned_by(pid);
    }
    let status = match spawned {
        Err(error) => Err(not_started(program, &error)),
        Ok(mut child) => loop {
            let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
            let end = tokio::select! {
                biased;
                status = child.wait() => break status.map_err(|error| not_started(program, &error)),
                () = interrupts.sent(), if terminal => Some(End::Interrupted),
                end = signals.next() => Some(end).filter(|end| !terminal || *end != End::Interrupted),
            };
            let Some(end) = end else { continue };
            let signal = match end {
                End::Interrupted => Signal::INT,
                End::Terminated => Signal::TERM,
            };
            if let Some(pid) = pid {
                // It has ended meanwhile: then its status comes next.
                let _ = kill_process(pid, signal);
            }
        },
    };
    drop(init);
    match handle.finish().await {
        Ok(healed) => {
            for place in healed {
                output::note(&format!("released the lock that the command had left on {place}"));
            }
        }
        Err(error) => output::note(&format!(
            "{} a lock may be left: {error}; `windlass state locks` shows it",
            error.code()
        )),
    }
    let status = status?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn not_started(program: &OsString, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    Failure::new(
        "WL0738",
        format!("cannot run {}: {error}", program.display()),
        "check that the command behind -- is installed and on PATH; nothing was changed",
    )
    .exit_with(exit)
}
