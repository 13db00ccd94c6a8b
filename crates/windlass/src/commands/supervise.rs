//! `windlass supervise`: the process behind `up --detach`.
//!
//! It is started by `up` with a pipe as its standard output, on which it says exactly one [`Word`]; its log goes to
//! standard error, which is `log/supervisor.log`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;

use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::fleet_file::Source;
use crate::logging;
use crate::run_directory::{Holder, RunDirectory};
use crate::run_record::RunRecord;
use crate::session::{self, Refused};

/// Arguments of `windlass supervise`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Fleet file; without it the built-in default
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What the supervisor says to whoever started it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "word")]
pub enum Word {
    /// Everything is ready.
    Ready {
        /// What runs.
        record: Box<RunRecord>,
        /// For the person.
        notes: Vec<String>,
    },
    /// Someone else runs in this directory.
    Held {
        /// Who.
        holder: Option<Holder>,
    },
    /// It failed, and nothing is left running.
    Failed {
        /// The stable code.
        code: String,
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
        /// The exit code.
        exit: u8,
    },
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    // A session of its own: neither a Ctrl-C nor the end of the terminal reaches it. Fails only where it has one.
    let _ = rustix::process::setsid();
    logging::start(LevelFilter::INFO, context.verbosity, None);
    let directory = RunDirectory::at(&context.directory);
    let source = args.file.as_deref().map_or_else(|| Ok(Source::built_in()), Source::read);
    let result = match source.map_err(Failure::from).and_then(|source| source.settle(context)) {
        Ok(loaded) => {
            let ready = |record: &RunRecord, notes: &[String]| {
                say(&Word::Ready { record: Box::new(record.clone()), notes: notes.to_vec() });
            };
            session::run(&directory, &loaded, ready).await
        }
        Err(failure) => Err(Refused::Failed(failure)),
    };
    match result {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(Refused::Held(holder)) => {
            say(&Word::Held { holder });
            Ok(ExitCode::from(FAILED))
        }
        Err(Refused::Failed(failure)) => {
            if let Some((code, message, help, exit)) = failure.parts() {
                tracing::error!(code, message, "could not start");
                say(&Word::Failed {
                    code: code.to_owned(),
                    message: message.to_owned(),
                    help: help.to_owned(),
                    exit,
                });
                return Ok(ExitCode::from(exit));
            }
            Err(failure)
        }
    }
}

/// Says the word. Whoever waited for it may be gone; that changes nothing.
fn say(word: &Word) {
    if let Ok(mut line) = serde_json::to_vec(word) {
        line.push(b'\n');
        let mut out = std::io::stdout();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}
