//! `windlass doctor`: whether this machine is in order, and what to do where it is not.
//!
//! Every check is a function that gives [`Finding`]s; nothing is changed but one small file that is written and removed
//! to measure the disk.

mod checks;
mod online;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::output::{self, CYAN, GREEN, RED, YELLOW, paint};
use crate::run_directory::RunDirectory;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Check this machine: tools, ports, disk, clock, credentials.

Every finding is ok, warn or fail, and says what to do. Nothing is started or changed. Without --online, nothing \
outside this machine is contacted.";

const EXAMPLES: &str = "\
Examples:
  windlass doctor
  windlass doctor --online
  windlass doctor --format json | jq '.findings[] | select(.level != \"ok\")'

Exit code 0: nothing failed (there may be warnings). 1: something did.";

/// Arguments of `windlass doctor`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Also compare the clock with GitHub's (at GITHUB_API_URL, or https://api.github.com)
    #[arg(long)]
    online: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In order.
    Ok,
    /// Works, but needs a look.
    Warn,
    /// Does not work.
    Fail,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do. Empty when it is in order.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub help: String,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), help: String::new() }
    }

    fn warn(check: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, message: message.into(), help: help.into() }
    }

    fn fail(check: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, message: message.into(), help: help.into() }
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let mut findings = Vec::new();
    checks::tools(&mut findings);
    let fleet = match checks::fleet_file(args.file.as_deref()) {
        Ok((finding, fleet, base)) => {
            findings.push(finding);
            Some((fleet, base))
        }
        Err(finding) => {
            findings.push(finding);
            None
        }
    };
    checks::run(&directory, &mut findings);
    if let Some((fleet, base)) = &fleet {
        checks::ports(fleet, &directory, &mut findings);
        checks::secrets(fleet, base.as_deref(), &directory, &mut findings);
    }
    checks::disk(&directory, &mut findings);
    checks::modes(&directory, &mut findings);
    checks::clock(&directory, &mut findings);
    if args.online {
        findings.push(online::clock().await);
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if context.json() {
        output::json(&serde_json::json!({ "level": worst, "findings": findings }))?;
    } else {
        print(&findings, context.quiet())?;
    }
    Ok(if worst == Level::Fail { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn print(findings: &[Finding], only_bad: bool) -> std::io::Result<()> {
    let mut out = output::out();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    for finding in findings.iter().filter(|finding| !only_bad || finding.level > Level::Ok) {
        let word = match finding.level {
            Level::Ok => paint(GREEN, "  ok"),
            Level::Warn => paint(YELLOW, "warn"),
            Level::Fail => paint(RED, "fail"),
        };
        writeln!(out, "{word}  {:width$}  {}", finding.check, finding.message)?;
        if !finding.help.is_empty() {
            writeln!(out, "      {:width$}  {} {}", "", paint(CYAN, "→"), finding.help)?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, failures) = (count(Level::Warn), count(Level::Fail));
    match (warnings, failures) {
        (0, 0) => writeln!(out, "\nthis machine is in order"),
        _ => writeln!(out, "\n{failures} failed, {warnings} to look at"),
    }
}
