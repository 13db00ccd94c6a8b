//! `windlass cost estimate`: what this fleet costs, in each of its environments.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use windlass_cost::bill::Provenance;
use windlass_cost::money::counted;
use windlass_cost::platform::NEVER_COUNTED;
use windlass_cost::workload::n;
use windlass_cost::{Bill, Currency, Money};

use super::sheet::{Sheet, columns, read};
use super::storage::bill;
use super::{ListArgs, MeasureArgs, Subject, measure, meter, provenance, warn_of_age};
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_cost::Estimate;
use crate::fleet_file::Source;
use crate::output::{self, BOLD, CYAN, DIM, paint};

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Say what this fleet costs in a month: each cluster where the file puts it, from the assumptions in [cost], and for each of the \
file's environments; with --environment NAME for that one alone.

With --measured, what the servers that run here did over a window takes the place of what is assumed of your own machines: \
connections, messages, bytes and the time awake. Of an edge it is what Cloudflare itself has counted over the last day: requests of \
the Worker, and processor, memory, disk and egress of containers. What it does not count (Durable Objects, KV, R2, the Worker's \
processor) stays as it is assumed, and says so.

Where a part of the fleet cannot be on its platform, there is no total. The exit code is 1 when --measured finds nothing that runs, and \
3 when the file or the prices cannot be read.";

const EXAMPLES: &str = "\
Examples:
  windlass cost estimate
  windlass cost estimate --environment production --format markdown
  windlass cost estimate --measured --window 5m";

/// Arguments of `windlass cost estimate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<std::path::PathBuf>,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    list: ListArgs,
}

/// An environment (or the file without one) and what it costs.
struct One {
    environment: Option<String>,
    subject: Subject,
    estimate: Estimate,
}

impl One {
    /// Nothing where a part has no price.
    fn total(&self) -> Option<Money> {
        (!self.estimate.has_no_price()).then_some(self.estimate.total)
    }

    fn name(&self) -> String {
        let fleet = self.subject.fleet.name();
        match &self.environment {
            Some(environment) => format!("{fleet} ({environment})"),
            None => fleet.to_owned(),
        }
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let source = Source::find(args.file.as_deref())?;
    let asked = match &context.environment {
        Some(environment) => vec![Some(environment.clone())],
        None => match source.environments() {
            names if names.is_empty() || args.measure.measured => vec![None],
            names => names.into_iter().map(Some).collect(),
        },
    };
    let measured = match args.measure.measured {
        true => Some(measure::measure(&args.measure.window, context).await?),
        false => None,
    };
    let mut all = Vec::new();
    for environment in asked {
        let mut subject = Subject::of(&source, environment.as_deref(), &args.list, context)?;
        subject.measured.clone_from(&measured);
        if args.measure.measured {
            subject.metered = meter::meter(&source, environment.as_deref(), context).await?;
        }
        let estimate = subject.estimate()?;
        all.push(One { environment, subject, estimate });
    }
    let bills: Vec<Bill> = all.iter().flat_map(|one| one.estimate.bills.iter().cloned()).collect();
    let Some(first) = all.first() else { return Ok(ExitCode::SUCCESS) };
    let provenance = provenance(&bills, &first.subject.prices);
    if context.json() {
        let environments = all.iter().map(json).collect::<Result<Vec<_>, _>>()?;
        output::json(&json!({
            "fleet": first.subject.fleet.name(),
            "currency": Currency::Usd,
            "environments": environments,
            "measured": measured,
            "not_counted": NEVER_COUNTED,
            "prices": provenance,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match context.format.is_table() {
        true => sheet(&all, &provenance)?.print(context.format),
        false => text(&all, &provenance)?,
    };
    write!(output::out(), "{text}")?;
    warn_of_age(&provenance, context);
    Ok(ExitCode::SUCCESS)
}

fn json(one: &One) -> Result<Value, Failure> {
    let mut bills = Vec::new();
    for each in &one.estimate.bills {
        let mut object = bill(each)?;
        object["platform"] = each.platform.id().into();
        let usd = each.total_in(Currency::Usd, &one.subject.prices)?;
        object["total_usd"] = usd.map(Money::cents).into();
        bills.push(object);
    }
    Ok(json!({
        "environment": one.environment,
        "total": one.total().map(Money::cents),
        "total_exact": one.total().map(Money::exact),
        "no_price": one.estimate.no_price(),
        "list_prices": one.subject.terms.list_prices,
        "bills": bills,
        "not_counted": one.estimate.left_out(),
    }))
}

fn text(all: &[One], provenance: &Provenance) -> Result<String, Failure> {
    let mut out = String::new();
    for one in all {
        let _ = writeln!(out, "{}", paint(BOLD, format!("Fleet {}", one.name())));
        if let Some(measured) = &one.subject.measured {
            let _ = writeln!(
                out,
                "{}",
                paint(
                    DIM,
                    format!(
                        "measured over {} s on {}: {}, {} in, {} out, awake {} %; a window stands for the month",
                        measured.seconds.round_dp(1),
                        counted(n(measured.servers), "server"),
                        counted(n(measured.connections), "client"),
                        counted(n(measured.in_messages), "message"),
                        measured.out_messages,
                        measured.awake_percent.round_dp(0)
                    )
                )
            );
        }
        for bill in &one.estimate.bills {
            let _ = writeln!(out, "\n  {}", paint(CYAN, bill.platform.name()));
            if let Some(reason) = &bill.impossible {
                let _ = writeln!(out, "  no price: {reason}");
                continue;
            }
            let mut rows: Vec<Vec<String>> = Vec::new();
            for line in &bill.lines {
                rows.push(vec![format!("  {}", line.what), line.arithmetic(), line.amount.to_string()]);
            }
            rows.push(vec!["  together".to_owned(), String::new(), bill.total()?.to_string()]);
            out.push_str(&columns(&rows, 2));
        }
        let total = match one.total() {
            Some(total) => format!("{total} a month"),
            None => format!("No total: {}", one.estimate.no_price().join("; ")),
        };
        let _ = writeln!(out, "\n  {}", paint(BOLD, total));
        for what in one.estimate.left_out() {
            let _ = writeln!(out, "  not counted: {what}");
        }
        out.push('\n');
    }
    let _ = writeln!(out, "Never counted: {NEVER_COUNTED}.\n{}", provenance.sentence());
    Ok(out)
}

fn sheet(all: &[One], provenance: &Provenance) -> Result<Sheet, Failure> {
    let headings = [
        "environment",
        "platform",
        "line",
        "what",
        "usage",
        "arithmetic",
        "price read",
        "confirmed",
        "amount",
        "USD",
    ];
    let mut sheet = Sheet::new(&headings, 2);
    for one in all {
        let environment = one.environment.clone().unwrap_or_default();
        for bill in &one.estimate.bills {
            for line in &bill.lines {
                let usd = one.subject.prices.convert(line.amount, Currency::Usd)?;
                let [read, confirmed] = read(&line.origin);
                sheet.row([
                    environment.clone(),
                    bill.platform.name().to_owned(),
                    line.id.clone(),
                    line.what.clone(),
                    line.basis.clone(),
                    line.arithmetic(),
                    read,
                    confirmed,
                    line.amount.to_string(),
                    usd.cents(),
                ]);
            }
        }
        let mut total = vec![environment.clone(), String::new(), "total".into()];
        total.extend([const { String::new() }; 6]);
        total.push(one.total().map(Money::cents).unwrap_or_default());
        sheet.row(total);
        for why in one.estimate.no_price() {
            sheet.say([environment.clone(), String::new(), "no total".into(), why]);
        }
        for what in one.estimate.left_out() {
            sheet.say([environment.clone(), String::new(), "not counted".into(), what]);
        }
    }
    sheet.say([String::new(), String::new(), "not counted".into(), NEVER_COUNTED.into()]);
    sheet.say([String::new(), String::new(), "prices".into(), provenance.sentence()]);
    Ok(sheet)
}
