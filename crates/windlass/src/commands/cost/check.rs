//! `windlass cost check`: is it within a limit?

use std::cmp::Ordering;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;
use windlass_cost::{Currency, Money};

use super::{ListArgs, MeasureArgs, Subject, warn_of_age};
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::output::{self, GREEN, paint};

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
End with 1 when this fleet costs more than so much a month: for CI.

What is checked is what `windlass cost estimate` says, with --environment NAME of that environment. What has no price fails the \
check; what is not counted (your own machines, unless [cost] says what they are) is said.";

const EXAMPLES: &str = "\
Examples:
  windlass cost check --max 50USD
  windlass cost check --max 45EUR --environment production

Exit codes: 0 within the limit, 1 above it, 3 the file or the amount cannot be read.";

/// Arguments of `windlass cost check`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The most that a month may cost, such as 50USD or 45EUR
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    max: Money,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    list: ListArgs,
}

fn amount(text: &str) -> Result<Money, String> {
    text.parse().map_err(|error: windlass_cost::Error| format!("{error}; {}", error.help()))
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let environment = context.environment.as_deref();
    let subject =
        Subject::open(args.file.as_deref(), environment, &args.list, &args.measure, context).await?;
    let estimate = subject.estimate()?;
    if let Some(bill) = estimate.bills.iter().find(|bill| bill.impossible.is_some()) {
        let reason = bill.impossible.clone().unwrap_or_default();
        return Err(Error::NoPrice { what: format!("{}: {reason}", bill.platform.name()) }.into());
    }
    let max = subject.prices.convert(args.max, Currency::Usd)?;
    let within = estimate.total.compare(max)? != Ordering::Greater;
    let provenance = estimate.provenance(&subject.prices);
    let left_out = estimate.left_out();
    if context.json() {
        output::json(&json!({
            "within": within,
            "total": estimate.total.cents(),
            "max": max.cents(),
            "currency": Currency::Usd,
            "not_counted": left_out,
            "prices": provenance,
        }))?;
    }
    if !within {
        let limit = if args.max.currency() == Currency::Usd {
            args.max.to_string()
        } else {
            format!("{} ({max})", args.max)
        };
        return Err(Error::TooExpensive { total: estimate.total.to_string(), max: limit }.into());
    }
    if !context.json() && !context.quiet() {
        let mark = paint(GREEN, "✓");
        writeln!(output::out(), "{mark} A month costs {}, and may cost {}.", estimate.total, args.max)?;
        for what in left_out {
            writeln!(output::out(), "  not counted: {what}")?;
        }
        writeln!(output::out(), "  {}", provenance.sentence())?;
    }
    warn_of_age(&provenance, context);
    Ok(ExitCode::SUCCESS)
}
