//! `windlass cost explain`: how a line of a bill comes about.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;
use windlass_cost::bill::{Terms, one, units};
use windlass_cost::money::quantity;
use windlass_cost::{Bill, Line, Platform};

use super::sheet::{Sheet, read};
use super::{ListArgs, Subject, UsageArgs, provenance, warn_of_age};
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_cost;
use crate::output::{self, BOLD, DIM, paint};

/// How many lines are offered in place of one that does not exist.
const NEAREST: usize = 4;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Show how a line of a bill comes about: usage × price − what is free, where the usage comes from, and where and when the price \
was read.

A line has the name of its price, such as cloudflare.containers.memory; a part of it that only one line has is enough. The lines \
are those of `windlass cost estimate`, or with --profile those of `windlass cost compare --profile`.";

/// Arguments of `windlass cost explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The line, such as cloudflare.containers.memory
    line: String,
    #[command(flatten)]
    usage: UsageArgs,
    #[command(flatten)]
    list: ListArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let (bills, prices) = match args.usage.profile {
        Some(profile) => {
            let prices = fleet_cost::prices(args.list.prices.as_deref())?;
            let workload = windlass_cost::Profile::from(profile).workload();
            let terms = Terms { list_prices: args.list.list_prices };
            let bills = Platform::ALL.into_iter().map(|platform| platform.bill(&workload, &prices, terms));
            (bills.collect::<Result<Vec<Bill>, _>>()?, prices)
        }
        None => {
            let environment = context.environment.as_deref();
            let (file, measure) = (args.usage.file.as_deref(), &args.usage.measure);
            let subject = Subject::open(file, environment, &args.list, measure, context).await?;
            (subject.estimate()?.bills, subject.prices)
        }
    };
    let lines: Vec<(&Bill, &Line)> =
        bills.iter().flat_map(|bill| bill.lines.iter().map(move |line| (bill, line))).collect();
    let chosen = choose(&args.line, &lines).ok_or_else(|| unknown(&args.line, &lines))?;
    let provenance = provenance(&bills, &prices);
    if context.format.is_table() {
        let headings = [
            "platform",
            "line",
            "what",
            "usage",
            "basis",
            "free",
            "arithmetic",
            "price read",
            "confirmed",
            "source",
            "note",
            "amount",
        ];
        let mut sheet = Sheet::new(&headings, 1);
        for (bill, line) in chosen {
            let [read, confirmed] = read(&line.origin);
            sheet.row([
                bill.platform.name().to_owned(),
                line.price.clone(),
                line.what.clone(),
                units(line.usage, &line.unit),
                line.basis.clone(),
                quantity(line.free),
                line.arithmetic(),
                read,
                confirmed,
                line.origin.source.clone(),
                line.origin.note.clone().unwrap_or_default(),
                line.amount.to_string(),
            ]);
        }
        write!(output::out(), "{}", sheet.print(context.format))?;
        warn_of_age(&provenance, context);
        return Ok(ExitCode::SUCCESS);
    }
    if context.json() {
        let chosen: Vec<_> = chosen
            .iter()
            .map(|(bill, line)| json!({ "platform": bill.platform.id(), "line": line }))
            .collect();
        output::json(&json!({ "lines": chosen }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (bill, line) in chosen {
        let _ = explain(&mut text, bill, line);
    }
    write!(output::out(), "{text}")?;
    warn_of_age(&provenance, context);
    Ok(ExitCode::SUCCESS)
}

/// The lines of that name (several bills may have one), or the only one whose name has it as a part.
fn choose<'b>(asked: &str, lines: &[(&'b Bill, &'b Line)]) -> Option<Vec<(&'b Bill, &'b Line)>> {
    let of = |is: &dyn Fn(&str) -> bool| -> Vec<(&'b Bill, &'b Line)> {
        lines.iter().filter(|(_, line)| is(&line.price)).copied().collect()
    };
    let exact = of(&|price| price == asked);
    let parts = if exact.is_empty() { of(&|price| price.contains(asked)) } else { exact };
    let same = parts.windows(2).all(|pair| pair[0].1.price == pair[1].1.price);
    (!parts.is_empty() && same && !asked.is_empty()).then_some(parts)
}

fn unknown(asked: &str, lines: &[(&Bill, &Line)]) -> Failure {
    let mut known: Vec<String> = lines.iter().map(|(_, line)| line.price.clone()).collect();
    known.sort_unstable();
    known.dedup();
    let alike: Vec<String> = known.iter().filter(|price| price.contains(asked)).cloned().collect();
    let several = alike.len() > 1 && !asked.is_empty();
    if alike.len() > 1 {
        known = alike;
    } else if known.len() > NEAREST {
        known.sort_by(|one, other| {
            let alike = |price: &str| strsim::jaro_winkler(asked, price);
            alike(other).total_cmp(&alike(one))
        });
        known.truncate(NEAREST);
    }
    Error::UnknownLine { several, asked: asked.to_owned(), known }.into()
}

fn explain(out: &mut String, bill: &Bill, line: &Line) -> std::fmt::Result {
    let currency = line.amount.currency();
    writeln!(out, "{}  {}", paint(BOLD, &line.what), paint(DIM, &line.price))?;
    writeln!(out, "  on the bill of {}: {}\n", bill.platform.name(), line.amount)?;
    writeln!(out, "  usage      {}", units(line.usage, &line.unit))?;
    writeln!(out, "             {}", line.basis)?;
    writeln!(out, "  free       {}", quantity(line.free))?;
    for part in &line.parts {
        let per = if line.per == windlass_cost::Decimal::ONE {
            one(&line.unit)
        } else {
            format!("for {}", units(line.per, &line.unit))
        };
        writeln!(
            out,
            "  charged    {} at {} {currency} {per} = {} {currency}",
            units(part.units, &line.unit),
            part.price.exact(),
            part.amount.exact()
        )?;
    }
    writeln!(out, "  amount     {} {currency}, printed as {}", line.amount.exact(), line.amount.cents())?;
    let confirmed =
        if line.origin.confirmed { "confirmed by the vendor's own text" } else { "not confirmed" };
    let read = match line.origin.dated {
        true => format!("read {}", line.origin.read),
        false => format!("not dated, counted as of {}", line.origin.read),
    };
    writeln!(out, "\n  price      {read}, {confirmed}")?;
    writeln!(out, "             {}", line.origin.source)?;
    if let Some(note) = &line.origin.note {
        writeln!(out, "             {note}")?;
    }
    Ok(())
}
