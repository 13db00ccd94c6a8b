//! `windlass cost check`: is it within a limit?

use std::cmp::Ordering;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;
use windlass_cost::prices::Rate;
use windlass_cost::{Currency, Money};

use super::sheet::Sheet;
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

Exit codes: 0 within the limit; 1 above it, or something has no price, or --measured finds nothing that runs; 3 the file, the \
prices or the amount cannot be read.";

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

/// An amount with all of its places, where two of them would hide some: a limit is compared with it exactly.
fn figure(money: Money) -> String {
    match money.amount() == money.rounded().amount() {
        true => money.to_string(),
        false => format!("{money} (exactly {})", money.exact()),
    }
}

/// At which rate a limit was converted.
fn converted(rate: &Rate) -> String {
    let confirmed = if rate.origin.confirmed { "confirmed" } else { "not confirmed" };
    let (value, day) = (rate.value.normalize(), rate.origin.day());
    format!("the limit is converted at 1 {} = {value} {}, {day}, {confirmed}", rate.from, rate.to)
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
    let rate = match args.max.currency() {
        Currency::Usd => None,
        other => Some(subject.prices.rate(other, Currency::Usd)?),
    };
    let limit = match rate {
        None => figure(args.max),
        Some(_) => format!("{}, which are {}", figure(args.max), figure(max)),
    };
    let total = figure(estimate.total);
    if context.format.is_table() {
        let headings = ["within", "total", "most", "rate", "not counted", "prices"];
        let mut sheet = Sheet::new(&headings, 0);
        let rate = rate.map(converted).unwrap_or_default();
        let cells = [
            within.to_string(),
            total.clone(),
            limit.clone(),
            rate,
            left_out.join("; "),
            provenance.sentence(),
        ];
        sheet.row(cells);
        write!(output::out(), "{}", sheet.print(context.format))?;
    }
    if context.json() {
        output::json(&json!({
            "within": within,
            "total": estimate.total.cents(),
            "total_exact": estimate.total.exact(),
            "max": max.cents(),
            "max_exact": max.exact(),
            "rate": rate,
            "currency": Currency::Usd,
            "not_counted": left_out,
            "prices": provenance,
        }))?;
    }
    if !within {
        if let Some(rate) = rate.filter(|_| !context.json() && !context.quiet()) {
            output::note(&converted(rate));
        }
        return Err(Error::TooExpensive { total, max: limit }.into());
    }
    if !context.json() && !context.format.is_table() && !context.quiet() {
        let mark = paint(GREEN, "✓");
        writeln!(output::out(), "{mark} A month costs {total}, and may cost {limit}.")?;
        if let Some(rate) = rate {
            writeln!(output::out(), "  {}", converted(rate))?;
        }
        for what in left_out {
            writeln!(output::out(), "  not counted: {what}")?;
        }
        writeln!(output::out(), "  {}", provenance.sentence())?;
    }
    warn_of_age(&provenance, context);
    Ok(ExitCode::SUCCESS)
}
