//! `windlass state migrate`: move a state and lose nothing.

use std::io::Write;
use std::process::ExitCode;

use windlass_state::location::Location;
use windlass_state::migrate::{self, Action, Event, Options, Report};

use super::place::{KeyArgs, WaitArgs, confirm, interrupted, open_location, progress, short, size};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, DIM, GREEN, paint};

const EXAMPLES: &str = "\
Every workspace is locked on both sides with Terraform's own lock and checked before anything is written. The exact bytes \
go over, so that lineage and serial stay, are read back and compared; a local file is then moved aside. Killed at any \
moment, the same command again finishes. A target of another lineage, a newer one, or a source without resources is \
refused, and nothing is changed.

The way back is the same command with the addresses exchanged.

Examples:
  windlass state migrate --from terraform.tfstate --to r2://states/nats/terraform.tfstate --dry-run
  windlass state migrate --from terraform.tfstate --to r2://states/nats/terraform.tfstate --yes
  windlass state migrate --from s3://old/nats.tfstate --to r2://states/nats.tfstate --from-endpoint https://s3.eu-central-1.amazonaws.com
  windlass state migrate --from r2://states/nats/terraform.tfstate --to terraform.tfstate";

/// Move a state: local file, S3 and R2, in any direction
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where the state is: a file, s3://BUCKET/KEY or r2://BUCKET/KEY
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// Where it is to go
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Check everything and say what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Take a state without resources as well
    #[arg(long)]
    allow_empty: bool,
    /// Endpoint of the source, where it is not AWS_ENDPOINT_URL_S3
    ///
    /// Its keys are then WINDLASS_FROM_ACCESS_KEY_ID and WINDLASS_FROM_SECRET_ACCESS_KEY (and WINDLASS_FROM_SESSION_TOKEN,
    /// WINDLASS_FROM_REGION), where they are set.
    #[arg(long, value_name = "URL")]
    from_endpoint: Option<String>,
    /// How long
    #[command(flatten)]
    wait: WaitArgs,
    /// The keys
    #[command(flatten)]
    keys: KeyArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let report = carry_out(args, context).await?;
    if context.json() {
        output::json(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does it, and tells people; a JSON document is the caller's.
pub async fn carry_out(args: Args, context: &Context) -> Result<Report, Failure> {
    let access = args.keys.access()?;
    let (from, to): (Location, Location) = (args.from.parse()?, args.to.parse()?);
    let endpoint = args.from_endpoint.clone();
    let (from, _from_local) = match &endpoint {
        Some(endpoint) => (from.open_with(&access, |name| source_variable(name, endpoint))?, None),
        None => open_location(&from, &access, context)?,
    };
    let (to, _to_local) = open_location(&to, &access, context)?;
    let bar = progress(context);
    let tell = |event: Event| match event {
        Event::Found(count) => bar.set_message(format!("{count} workspaces")),
        Event::Checking(workspace) => bar.set_message(format!("checking {workspace}")),
        Event::Writing(workspace, bytes) => {
            bar.set_message(format!("writing {workspace}, {}", size(bytes as u64)));
        }
        Event::Done(workspace) => bar.set_message(format!("{workspace} is done")),
    };
    let options = Options { dry_run: args.dry_run, allow_empty: args.allow_empty, wait: args.wait.wait() };
    if !args.dry_run && !args.yes {
        let look = Options { dry_run: true, ..options };
        let plan = migrate::migrate(&from, &to, look, &tell, interrupted()).await?;
        bar.set_message("");
        if !context.json() {
            bar.suspend(|| show(&plan))?;
        }
        bar.suspend(|| confirm("Do this?", false, context))?;
    }
    let report = migrate::migrate(&from, &to, options, &tell, interrupted()).await;
    bar.finish_and_clear();
    let report = report?;
    if !context.json() {
        show(&report)?;
    }
    for owner in &report.took_over {
        output::note(&format!("took over the lock of {owner}, whose process is gone"));
    }
    Ok(report)
}

/// Two buckets of two services have different keys: those of the source come from variables of its own.
fn source_variable(name: &str, endpoint: &str) -> Option<String> {
    if name == "AWS_ENDPOINT_URL_S3" {
        return Some(endpoint.to_owned());
    }
    let own = name.strip_prefix("AWS_");
    own.and_then(|name| std::env::var(format!("WINDLASS_FROM_{name}")).ok())
        .or_else(|| std::env::var(name).ok())
}

fn show(report: &Report) -> Result<(), Failure> {
    let mut out = output::out();
    for moved in &report.workspaces {
        let what = match (report.dry_run, moved.action) {
            (true, Action::Create) => "would be written",
            (true, Action::Replace) => "would replace an older version",
            (_, Action::Same) => "is there already",
            (false, Action::Create) => "was written",
            (false, Action::Replace) => "has replaced an older version",
        };
        let mark = if report.dry_run { "·".to_owned() } else { paint(GREEN, "✓") };
        writeln!(out, "{mark} {} {what}", paint(BOLD, &moved.workspace))?;
        writeln!(out, "    {} → {}", moved.from, moved.to)?;
        writeln!(
            out,
            "    serial {}, lineage {}, {} resources, {}{}",
            moved.serial,
            moved.lineage,
            moved.resources,
            size(moved.bytes as u64),
            if moved.encrypted { ", encrypted" } else { "" },
        )?;
        writeln!(out, "    SHA-256 before {}", short(&moved.sha256_before))?;
        if let Some(after) = &moved.sha256_after {
            writeln!(out, "            after  {} {}", short(after), paint(DIM, "read back"))?;
        }
        if let Some(path) = &moved.moved_to {
            writeln!(out, "    the local file is now {}", path.display())?;
        }
    }
    Ok(())
}
