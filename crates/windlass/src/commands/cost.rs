//! `windlass cost`: what it costs, before anything is applied.

mod check;
mod compare;
mod estimate;
mod explain;
mod measure;
mod meter;
mod prices;
mod sheet;
mod storage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use windlass_cost::bill::{Provenance, Terms};
use windlass_cost::measured::{Measured, Metered};
use windlass_cost::{Bill, Currency, PriceList, Workload};
use windlass_engine::wanted;
use windlass_fleet::Fleet;

use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_cost::{self, Estimate, Parts};
use crate::fleet_file::{self, Source};
use crate::output;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Say what it costs, before anything is applied.

Every figure is usage × price − what is free, and can be asked for: `windlass cost explain LINE`. Prices are a list with a \
source and a date for each entry (`windlass cost prices`), over which a file of your own can be laid. Amounts are exact and are \
rounded only where they are printed, halves away from zero. A month has 730 hours.";

const EXAMPLES: &str = "\
Examples:
  windlass cost compare --profile small
  windlass cost compare --chart egress
  windlass cost estimate --environment production
  windlass cost storage --gb 10 --reads 1000000 --egress-gb 100 --list-prices
  windlass cost check --max 50USD               exit code 1 when it is more, for CI
  windlass cost explain cloudflare.containers.memory
  windlass cost prices --format csv";

/// Arguments of `windlass cost`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set the platforms side by side, for this fleet or a profile
    #[command(long_about = compare::LONG_ABOUT)]
    Compare(compare::Args),
    /// Say what this fleet costs, in each of its environments
    #[command(long_about = estimate::LONG_ABOUT)]
    Estimate(estimate::Args),
    /// Compare R2 with S3 for so much stored, read, written and carried away
    #[command(long_about = storage::LONG_ABOUT)]
    Storage(storage::Args),
    /// End with 1 when this fleet costs more than so much a month
    #[command(long_about = check::LONG_ABOUT)]
    Check(check::Args),
    /// Show how a line of a bill comes about
    #[command(long_about = explain::LONG_ABOUT)]
    Explain(explain::Args),
    /// Print the price list: each price with its source and age
    #[command(long_about = prices::LONG_ABOUT)]
    Prices(prices::Args),
}

/// Which prices.
#[derive(Debug, Clone, clap::Args)]
struct ListArgs {
    /// File with prices of your own, laid over the built-in list [default: what [cost] says]
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Take nothing off for what vendors give without charge
    #[arg(long)]
    list_prices: bool,
}

/// Of which usage.
#[derive(Debug, Clone, clap::Args)]
struct UsageArgs {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE", conflicts_with = "profile")]
    file: Option<PathBuf>,
    /// A workload to begin with in place of a fleet: small, organization or large
    #[arg(long, value_name = "NAME", hide_possible_values = true, conflicts_with = "measured")]
    profile: Option<Profile>,
    #[command(flatten)]
    measure: MeasureArgs,
}

/// Whether to measure.
#[derive(Debug, Clone, clap::Args)]
struct MeasureArgs {
    /// Measure what runs here in place of assuming: connections, messages, bytes, time awake
    #[arg(long)]
    measured: bool,
    /// How long to measure; a window stands for the month
    #[arg(long, value_name = "DURATION", default_value = "10s", requires = "measured", value_parser = window)]
    window: windlass_fleet::Period,
}

fn window(text: &str) -> Result<windlass_fleet::Period, String> {
    let window: windlass_fleet::Period = text.parse().map_err(|error| format!("{error}"))?;
    match window.as_millis() {
        0 => Err("a window of no length measures nothing; write such as 10s".to_owned()),
        _ => Ok(window),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Small,
    Organization,
    Large,
}

impl From<Profile> for windlass_cost::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Small => Self::Small,
            Profile::Organization => Self::Organization,
            Profile::Large => Self::Large,
        }
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Compare(args) => compare::run(args, context).await,
        Command::Estimate(args) => estimate::run(args, context).await,
        Command::Storage(args) => storage::run(&args, context),
        Command::Check(args) => check::run(args, context).await,
        Command::Explain(args) => explain::run(args, context).await,
        Command::Prices(args) => prices::run(&args, context),
    }
}

/// A fleet, and what it is counted with.
struct Subject {
    fleet: Arc<Fleet>,
    parts: Parts,
    prices: PriceList,
    terms: Terms,
    measured: Option<Measured>,
    metered: Option<Metered>,
}

impl Subject {
    async fn open(
        file: Option<&Path>,
        environment: Option<&str>,
        list: &ListArgs,
        measure: &MeasureArgs,
        context: &Context,
    ) -> Result<Self, Failure> {
        let source = Source::find(file)?;
        let mut subject = Self::of(&source, environment, list, context)?;
        if measure.measured {
            subject.measured = Some(measure::measure(&measure.window, context).await?);
            subject.metered = meter::meter(&source, environment, context).await?;
        }
        Ok(subject)
    }

    fn of(
        source: &Source,
        environment: Option<&str>,
        list: &ListArgs,
        context: &Context,
    ) -> Result<Self, Failure> {
        let fleet =
            source.parse(environment).map_err(|mistakes| fleet_file::tell(&mistakes, context.format))?;
        let path = source.absolute()?;
        let base = path.as_deref().and_then(Path::parent);
        let prices = fleet_cost::prices_of(&fleet, base, list.prices.as_deref())?;
        let parts = Parts::wanted(&fleet, &wanted::resources(&fleet));
        let terms = Terms { list_prices: list.list_prices || fleet.cost.list_prices };
        Ok(Self { fleet: Arc::new(fleet), parts, prices, terms, measured: None, metered: None })
    }

    fn estimate(&self) -> Result<Estimate, Failure> {
        let change = |workload: Workload| match &self.measured {
            Some(measured) => measured.lay_over(workload),
            None => Ok(workload),
        };
        let estimate = Estimate::of(&self.parts, &self.fleet.cost, &self.prices, self.terms, &change)?;
        Ok(match &self.metered {
            Some(metered) => {
                let bill = metered.bill(windlass_cost::Platform::Cloudflare, &self.prices, self.terms)?;
                estimate.with_metered(bill, &self.prices)?
            }
            None => estimate,
        })
    }

    fn workload(&self) -> Result<Workload, Failure> {
        let workload = fleet_cost::workload(&self.parts, &self.fleet.cost)?;
        Ok(match &self.measured {
            Some(measured) => measured.lay_over(workload)?,
            None => workload,
        })
    }
}

/// Says beside the result that prices are old.
fn warn_of_age(provenance: &Provenance, context: &Context) {
    if provenance.old.is_empty() || context.quiet() || context.json() {
        return;
    }
    let (old, all) = (provenance.old.len(), provenance.prices);
    let oldest = provenance.oldest.map(|day| day.to_string()).unwrap_or_default();
    let days = windlass_cost::prices::OLD_AFTER_DAYS;
    output::note(&format!(
        "{old} of the {all} prices were read more than {days} days ago, the oldest on {oldest}: `windlass cost prices` lists \
         them, --prices FILE replaces them"
    ));
}

fn provenance(bills: &[Bill], prices: &PriceList) -> Provenance {
    Provenance::of_bills(bills, prices, Currency::Usd, fleet_cost::today())
}
