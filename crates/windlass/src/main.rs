//! `windlass`: NATS for an organization, from one file with one binary.
//!
//! Reads the command line, hands over to one file of [`commands`], and turns what comes back into an exit code.
//! Nothing is set up before the arguments are parsed (no runtime, no TLS, no log), so that `--help` and a typing
//! mistake answer at once.

mod cli;
mod commands;
mod context;
mod failure;
mod fleet_cost;
mod fleet_file;
mod fleet_session;
mod interrupts;
mod local_edge;
mod local_r2;
mod logging;
mod output;
mod own_state;
mod run_directory;
mod run_record;
mod secrets;
mod signals;

use std::process::ExitCode;

// It is at home with the platform; the path stays.
pub(crate) use windlass_platforms::self_hosted::process;

/// The receiver makes and frees a few dozen small pieces for each delivery, on whichever thread is free: this
/// allocator does that in a fraction of the time of the system's (`docs/decisions/0005-speed-of-the-receiver.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(cli) => commands::run(cli),
        Err(answer) => answer,
    }
}
