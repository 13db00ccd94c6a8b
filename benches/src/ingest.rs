//! `ingest`: the receiver against the raw limit and against the Node peer.
//!
//! All contenders live through the whole pass of a variant, on one server, and take turns: round by round, not one
//! after the other, so that whatever else the machine does falls on all of them. Each turn gets an empty stream,
//! and after it the stream must hold exactly what was sent: a fast receiver that loses or doubles an event has no
//! number here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::clock::{Outcome, Part, Plan, Watched};
use crate::delivery::Deliveries;
use crate::machine::Machine;
use crate::nats_server::{self, Durability, NatsServer};
use crate::payload::Pool;
use crate::peers::{self, Receiver};
use crate::report::{Cell, Ingest, Variant};
use crate::{Format, Result, load, process, progress, raw};

/// How long the stream may take to hold everything after the last answer (or to take in a spool).
const SETTLE: Duration = Duration::from_secs(120);

/// What `ingest` can be told.
#[derive(Args)]
pub struct Options {
    /// The receiver's program
    #[arg(long, default_value = "target/release/windlass")]
    windlass: PathBuf,
    /// The server's program (else WINDLASS_NATS_SERVER, PATH, .tools/bin)
    #[arg(long)]
    nats_server: Option<PathBuf>,
    /// Node's program
    #[arg(long, default_value = "node")]
    node: OsString,
    /// The directory of the Node peer (else benches/peers/node)
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Who is measured
    #[arg(long, value_delimiter = ',', default_values_t = Contender::ALL)]
    contenders: Vec<Contender>,
    /// What is measured
    #[arg(long, value_delimiter = ',', default_values_t = [Variant::Standard, Variant::Strict, Variant::Spool])]
    variants: Vec<Variant>,
    /// Connections that send at the same time; the raw limit has as many publishes in flight
    #[arg(long, value_delimiter = ',', default_values_t = [32, 128])]
    connections: Vec<usize>,
    /// Bytes of a payload
    #[arg(long, default_value_t = 7_000)]
    payload: usize,
    /// Turns of each contender; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of a turn that count
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before them that do not
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// One-second turns: to see that everything works, not to believe the numbers
    #[arg(long)]
    quick: bool,
    /// Where temporary data goes
    #[arg(long)]
    directory: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    check: bool,
}

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// A plain publisher: what the server and the client library can do
    Raw,
    /// `windlass receive`
    Windlass,
    /// The receiver that one would write in Node
    Node,
}

impl Contender {
    const ALL: [Self; 3] = [Self::Raw, Self::Windlass, Self::Node];
}

impl std::fmt::Display for Contender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Windlass => "windlass",
            Self::Node => "node",
        })
    }
}

/// What a run shares between its turns.
struct Bench<'a> {
    options: &'a Options,
    server_binary: PathBuf,
    pool: Arc<Pool>,
    deliveries: Arc<Deliveries>,
    seconds: Duration,
    warm_up: Duration,
    rounds: usize,
}

/// Runs the benchmark and writes its result to standard output.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let quick = options.quick;
    let bench = Bench {
        options,
        server_binary: nats_server::find(options.nats_server.as_deref())?,
        pool: Arc::new(Pool::new(options.payload)),
        deliveries: Arc::new(Deliveries::new()),
        seconds: Duration::from_secs_f64(if quick { 1.0 } else { options.seconds }),
        warm_up: Duration::from_secs_f64(if quick { 0.5 } else { options.warm_up }),
        rounds: if quick { 1 } else { options.rounds.max(1) },
    };
    let mut cells = Vec::new();
    for variant in &options.variants {
        let directory = temporary(options.directory.as_deref())?;
        match variant {
            Variant::Standard => {
                cells.extend(bench.turns(*variant, Durability::Standard, directory.path()).await?);
            }
            Variant::Strict => {
                cells.extend(bench.turns(*variant, Durability::Strict, directory.path()).await?);
            }
            Variant::Spool if options.contenders.contains(&Contender::Windlass) => {
                cells.extend(bench.spool(directory.path()).await?);
            }
            Variant::Spool => {}
        }
    }
    let machine = Machine::read(&bench.server_binary, Some(&options.node));
    let report = Ingest::new(machine, options.payload, bench.rounds, bench.seconds, cells);
    let mut out = std::io::stdout().lock();
    match options.format {
        Format::Table => write!(out, "{}", report.markdown())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(if options.check && !report.meets_targets() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

impl Bench<'_> {
    /// One server, all contenders, in turns.
    async fn turns(&self, variant: Variant, durability: Durability, directory: &Path) -> Result<Vec<Cell>> {
        let mut server = NatsServer::start(&self.server_binary, &directory.join("nats"), durability).await?;
        let context = server.context().await?;
        nats_server::fresh_stream(&context).await?;
        let mut receivers = BTreeMap::new();
        for contender in &self.options.contenders {
            if let Some(receiver) = self.start(*contender, &server.url(), directory).await? {
                receivers.insert(*contender, receiver);
            }
        }
        let mut cells: Vec<Cell> = Vec::new();
        for connections in &self.options.connections {
            let mut turns: BTreeMap<Contender, Vec<Outcome>> = BTreeMap::new();
            for round in 1..=self.rounds {
                for contender in &self.options.contenders {
                    progress(&format!("{variant}, {connections} connections, round {round}: {contender}"));
                    nats_server::fresh_stream(&context).await?;
                    let receiver = receivers.get(contender);
                    let outcome = self.turn(&server, receiver, *connections).await?;
                    let stored = nats_server::settled_messages(&context, outcome.sent, SETTLE).await?;
                    expect_stored(*contender, outcome.sent, stored)?;
                    progress(&format!("  {:.0}/s", outcome.rate));
                    turns.entry(*contender).or_default().push(outcome);
                }
            }
            for (contender, outcomes) in turns {
                let peak =
                    receivers.get(&contender).map(|receiver| process::usage(receiver.process.pid()).peak_kib);
                cells.push(Cell::median(variant, contender, *connections, &outcomes, peak));
            }
        }
        for receiver in receivers.values_mut() {
            receiver.process.stop().await?;
        }
        server.stop().await?;
        Ok(cells)
    }

    /// The server is away: how many webhooks a second does the spool take, and do they all reach the stream?
    async fn spool(&self, directory: &Path) -> Result<Vec<Cell>> {
        let binary = &self.server_binary;
        let mut cells = Vec::new();
        for connections in &self.options.connections {
            let mut outcomes = Vec::new();
            let mut peak = None;
            for round in 1..=self.rounds {
                progress(&format!("spool, {connections} connections, round {round}: windlass"));
                let directory = directory.join(format!("{connections}-{round}"));
                let mut server =
                    NatsServer::start(binary, &directory.join("nats"), Durability::Standard).await?;
                nats_server::fresh_stream(&server.context().await?).await?;
                let Some(mut receiver) = self.start(Contender::Windlass, &server.url(), &directory).await?
                else {
                    return Ok(cells);
                };
                server.stop().await?;
                let outcome = self.turn(&server, Some(&receiver), *connections).await?;
                server.restart()?;
                let started = Instant::now();
                let context = server.ready().await?;
                let stored = nats_server::settled_messages(&context, outcome.sent, SETTLE).await?;
                let drained = started.elapsed();
                expect_stored(Contender::Windlass, outcome.sent, stored)?;
                progress(&format!(
                    "  {:.0}/s, then {stored} spooled events were in the stream {:.1} s after the server's start",
                    outcome.rate,
                    drained.as_secs_f64()
                ));
                let peak_now = process::usage(receiver.process.pid()).peak_kib;
                peak = peak.max(Some(peak_now));
                receiver.process.stop().await?;
                server.stop().await?;
                std::fs::remove_dir_all(&directory)?;
                outcomes.push(outcome);
            }
            cells.push(Cell::median(Variant::Spool, Contender::Windlass, *connections, &outcomes, peak));
        }
        Ok(cells)
    }

    async fn start(
        &self,
        contender: Contender,
        nats_url: &str,
        directory: &Path,
    ) -> Result<Option<Receiver>> {
        let options = self.options;
        Ok(match contender {
            Contender::Raw => None,
            Contender::Windlass => Some(peers::windlass(&options.windlass, nats_url, directory).await?),
            Contender::Node => {
                let sources = peers::node_sources(options.peer.as_deref());
                Some(peers::node(&options.node, &sources, nats_url, directory).await?)
            }
        })
    }

    async fn turn(
        &self,
        server: &NatsServer,
        receiver: Option<&Receiver>,
        in_flight: usize,
    ) -> Result<Outcome> {
        let mut watched = vec![
            Watched { part: Part::Load, pid: std::process::id() },
            Watched { part: Part::Server, pid: server.pid() },
        ];
        watched.extend(receiver.map(|one| Watched { part: Part::Receiver, pid: one.process.pid() }));
        let plan = Plan { in_flight, warm_up: self.warm_up, measure: self.seconds, watched };
        let (pool, deliveries) = (Arc::clone(&self.pool), Arc::clone(&self.deliveries));
        match receiver {
            None => raw::run(server.url(), plan, pool, deliveries).await,
            Some(receiver) => load::run(receiver.address, plan, pool, deliveries).await,
        }
    }
}

fn expect_stored(contender: Contender, sent: u64, stored: u64) -> Result<()> {
    if stored == sent {
        return Ok(());
    }
    Err(format!("{contender} said yes to {sent} distinct deliveries, but the stream holds {stored}").into())
}

/// A directory that goes away with the benchmark.
pub fn temporary(parent: Option<&Path>) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("windlass-bench-");
    Ok(match parent {
        Some(parent) => builder.tempdir_in(parent)?,
        None => builder.tempdir()?,
    })
}
