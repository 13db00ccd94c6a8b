//! `windlass certificates`: which there are, and another authority in the place of the one that signs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use windlass_engine::plan::Wish;
use windlass_fleet::PlatformName;
use windlass_nats::certificates::{Certificates, Record, Stage};

use super::apply::{How, carry_out};
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::output;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Show the fleet's certificates, or change who signs them.

Where `tls` is on in the fleet file, the fleet has a certificate authority of its own. Servers' certificates are made, and \
renewed in the last 30 of their 90 days, by `windlass apply`, without a restart.";

const LONG_ABOUT_ROTATE: &str = "\
Put another certificate authority in the place of the one that signs.

It goes in three stages, so that nobody is ever shown a certificate that he does not trust:

  1. both authorities are trusted, and the old one signs. Give every client the new tls/ca.crt now.
  2. the new one signs; servers show new certificates.
  3. the old one is trusted no more.

Each run does one stage and says what comes next; with --all, one run does all that is left. A run that was ended half-way \
is finished by the next one.";

/// Arguments of `windlass certificates`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE", global = true)]
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Put another authority in the place of the one that signs
    #[command(long_about = LONG_ABOUT_ROTATE)]
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    /// Do all stages that are left, not only the next one
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    how: How,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Report {
    authority_file: PathBuf,
    /// The numbers of the authorities that are trusted.
    trusted: Vec<u32>,
    /// The number of the one that signs.
    signs: Option<u32>,
    stage: Option<Stage>,
    servers: Vec<Server>,
}

#[derive(Debug, Serialize)]
struct Server {
    server: String,
    #[serde(flatten)]
    record: Option<Record>,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let session = Session::open(&Source::find(args.file.as_deref())?, context)?;
    let certificates = Certificates::at(session.directory.root(), session.fleet.name());
    match args.command {
        None => show(&session, &certificates, context),
        Some(Command::Rotate(args)) => rotate(&session, &certificates, &args, context).await,
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err calls")]
fn failed(error: windlass_nats::Error) -> Failure {
    Failure::new(error.code(), error.to_string(), error.help())
}

fn show(session: &Session, certificates: &Certificates, context: &Context) -> Result<ExitCode, Failure> {
    let authorities = certificates.authorities().map_err(failed)?;
    let here = session.fleet.clusters.iter().filter(|(_, one)| one.platform == PlatformName::SelfHosted);
    let names = here.flat_map(|(name, cluster)| {
        (0..cluster.servers).map(|index| windlass_engine::wanted::server_name(name.as_str(), index))
    });
    let servers: Vec<Server> =
        names.map(|server| Server { record: certificates.record(&server), server }).collect();
    let report = Report {
        authority_file: certificates.authority_file(),
        trusted: authorities.as_ref().map(|all| all.trusted.clone()).unwrap_or_default(),
        signs: authorities.as_ref().map(|all| all.signs),
        stage: authorities.as_ref().map(windlass_nats::certificates::Authorities::stage),
        servers,
    };
    if context.json() {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::out();
    let Some(signs) = report.signs else {
        writeln!(
            out,
            "the fleet has no certificates: no cluster of it has `tls` on, or it was not applied yet"
        )?;
        return Ok(ExitCode::SUCCESS);
    };
    let numbers: Vec<String> = report.trusted.iter().map(ToString::to_string).collect();
    writeln!(out, "authority {signs} signs; trusted: {}", numbers.join(", "))?;
    writeln!(out, "for clients: {}\n", report.authority_file.display())?;
    let now = Timestamp::now();
    let rows: Vec<[String; 4]> = report
        .servers
        .into_iter()
        .map(|Server { server, record }| match record {
            None => [server, "none".to_owned(), String::new(), String::new()],
            Some(record) => {
                let days = record.good_until.duration_since(now).as_hours() / 24;
                let until = record.good_until.strftime("%Y-%m-%d");
                let by = format!("by authority {}", record.signed_by);
                [server, format!("until {until}, {days} days"), by, record.names.join(", ")]
            }
        })
        .collect();
    output::table(&mut out, &rows)?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(
    session: &Session,
    certificates: &Certificates,
    args: &RotateArgs,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let everything = Wish::default();
    // A stage that an earlier run began reaches every server before the next one is begun.
    let code = carry_out(session, &everything, None, &args.how, context).await?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    loop {
        let stage = {
            let _locked = session.lock("rotate the certificates", Duration::ZERO).await?;
            certificates.advance(Timestamp::now()).map_err(failed)?
        };
        // Whoever has said yes to the change has said yes to this.
        let code = carry_out(session, &everything, None, &args.how.agreed(), context).await?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
        if !context.quiet() && !context.json() {
            output::note(match stage {
                Stage::BothTrusted => {
                    "both authorities are trusted now: give every client the new tls/ca.crt, then run this again"
                }
                Stage::NewSigns => {
                    "the new authority signs now; when every server and client is well, run this again"
                }
                Stage::Settled => "the old authority is trusted no more: done",
            });
        }
        if stage == Stage::Settled || !args.all {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
