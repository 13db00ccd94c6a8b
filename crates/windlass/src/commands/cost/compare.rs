//! `windlass cost compare`: the platforms side by side.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;
use windlass_cost::bill::{Category, Provenance, Terms};
use windlass_cost::curve::{Axis, Curves};
use windlass_cost::hub::Hub;
use windlass_cost::platform::NEVER_COUNTED;
use windlass_cost::{Bill, Currency, Decimal, Money, Platform, PriceList, Workload, svg, terminal};

use super::sheet::{Sheet, columns, read};
use super::storage::bill;
use super::{ListArgs, Subject, UsageArgs, provenance, warn_of_age};
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_cost;
use crate::output::{self, BOLD, CYAN, DIM, GREEN, paint};
use crate::run_directory::replace;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Set the platforms side by side: what this fleet (or a profile) would cost as a whole on each of them, by what it is for, the \
cheapest marked; and where Cloudflare is the cheaper one, over the time that servers are awake, egress and messages a second.

The same servers, connections and bytes are billed everywhere. What a platform does not have, or what is not counted, is said \
below: Cloudflare's containers keep nothing on disk, so the hub that holds the streams costs on top.

Profiles: small (one small server for a team, asleep most of the time), organization (three servers, busy in working hours), \
large (nine large servers that never sleep). Each is spelled out in the result.";

const EXAMPLES: &str = "\
Examples:
  windlass cost compare
  windlass cost compare --profile organization --chart messages
  windlass cost compare --profile small --chart awake --draw svg --output awake.svg
  windlass cost compare --measured --window 5m
  windlass cost compare --format json | jq .cheapest";

/// Arguments of `windlass cost compare`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    usage: UsageArgs,
    #[command(flatten)]
    list: ListArgs,
    /// Draw the totals over: awake, egress or messages
    #[arg(long, value_name = "FIGURE", hide_possible_values = true)]
    chart: Option<Over>,
    /// The form of the chart: terminal, or svg (and nothing else is printed)
    #[arg(
        long,
        value_name = "FORM",
        default_value = "terminal",
        hide_possible_values = true,
        requires = "chart"
    )]
    draw: Draw,
    /// Write the chart into a file
    #[arg(short, long, value_name = "FILE", requires = "chart")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    Awake,
    Egress,
    Messages,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Draw {
    Terminal,
    Svg,
}

impl From<Over> for Axis {
    fn from(over: Over) -> Self {
        match over {
            Over::Awake => Self::Awake,
            Over::Egress => Self::Egress,
            Over::Messages => Self::Messages,
        }
    }
}

/// A workload with its name.
struct Case {
    name: String,
    workload: Workload,
    prices: PriceList,
    terms: Terms,
}

impl Case {
    async fn of(args: &Args, context: &Context) -> Result<Self, Failure> {
        if let Some(profile) = args.usage.profile {
            let profile = windlass_cost::Profile::from(profile);
            return Ok(Self {
                name: profile.title(),
                workload: profile.workload(),
                prices: fleet_cost::prices(args.list.prices.as_deref())?,
                terms: Terms { list_prices: args.list.list_prices },
            });
        }
        let environment = context.environment.as_deref();
        let file = args.usage.file.as_deref();
        let subject = Subject::open(file, environment, &args.list, &args.usage.measure, context).await?;
        let of = environment.map(|name| format!(" ({name})")).unwrap_or_default();
        let measured = match &subject.measured {
            Some(measured) => format!(", measured over {} s", measured.seconds.round_dp(1)),
            None => String::new(),
        };
        Ok(Self {
            name: format!("Fleet {}{of}{measured}", subject.fleet.name()),
            workload: subject.workload()?,
            prices: subject.prices,
            terms: subject.terms,
        })
    }
}

impl Case {
    fn hub(&self) -> Result<Option<Hub>, Failure> {
        Ok(Hub::of(&self.workload, &self.prices, self.terms)?)
    }

    fn hub_sentence(&self, bills: &[Bill]) -> Result<Option<String>, Failure> {
        let Some(hub) = self.hub()? else { return Ok(None) };
        Ok(hub.sentence(bills, &self.prices)?)
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let case = Case::of(&args, context).await?;
    let (workload, prices, terms) = (&case.workload, &case.prices, case.terms);
    let bills = Platform::ALL
        .into_iter()
        .map(|platform| platform.bill(workload, prices, terms))
        .collect::<Result<Vec<_>, _>>()?;
    let provenance = provenance(&bills, prices);
    let curves = Axis::ALL
        .into_iter()
        .map(|axis| Curves::of(axis, workload, prices, terms))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(axis) = args.chart.map(Axis::from)
        && let Some(curve) = curves.iter().find(|curve| curve.axis == axis)
        && (args.draw == Draw::Svg || args.output.is_some())
    {
        let drawing = match args.draw {
            Draw::Svg => svg::svg(curve, &caption(&case.name, workload), &provenance.sentence()),
            Draw::Terminal => terminal::terminal(curve, false),
        };
        match &args.output {
            Some(path) => replace(path, drawing.as_bytes(), 0o644)?,
            None => write!(output::out(), "{drawing}")?,
        }
        if args.draw == Draw::Svg {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if context.json() {
        output::json(&json(&case, &bills, &curves, &provenance)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = if context.format.is_table() {
        sheet(&case, &bills, &provenance)?.print(context.format)
    } else {
        let chart = args.chart.filter(|_| args.output.is_none()).map(Axis::from);
        text(&case, &bills, &curves, chart, &provenance)?
    };
    write!(output::out(), "{text}")?;
    warn_of_age(&provenance, context);
    Ok(ExitCode::SUCCESS)
}

/// What stands under a picture's title: the name without what it stands for, and the servers.
fn caption(name: &str, workload: &Workload) -> String {
    let short = name.split_once(": ").map_or(name, |(short, _)| short);
    format!("{short}: {}", workload.brief())
}

/// Totals in dollars, the least first; those that cannot carry the workload at the end.
fn ranked<'b>(bills: &'b [Bill], prices: &PriceList) -> Result<Vec<(&'b Bill, Option<Decimal>)>, Failure> {
    let mut ranked = Vec::new();
    for bill in bills {
        ranked.push((bill, bill.total_in(Currency::Usd, prices)?.map(Money::amount)));
    }
    ranked.sort_by_key(|(_, total)| (total.is_none(), total.unwrap_or_default()));
    Ok(ranked)
}

fn text(
    case: &Case,
    bills: &[Bill],
    curves: &[Curves],
    chart: Option<Axis>,
    provenance: &Provenance,
) -> Result<String, Failure> {
    let prices = &case.prices;
    let mut out = String::new();
    let _ = writeln!(out, "{}\n{}\n", paint(BOLD, &case.name), paint(DIM, case.workload.describe()));
    let ranked = ranked(bills, prices)?;
    let cheapest = ranked.first().filter(|(_, total)| total.is_some()).map(|(bill, _)| bill.platform);
    let mut heading = vec![String::new(), "USD a month".to_owned()];
    heading.extend(Category::ALL.map(|category| category.as_str().to_owned()));
    let mut lines = vec![heading];
    for (bill, total) in &ranked {
        let mark = if cheapest == Some(bill.platform) { "★" } else { " " };
        let name = format!("{mark} {}", bill.platform.name());
        let Some(total) = total else {
            lines.push(vec![name, "—".to_owned()]);
            continue;
        };
        let usd = |amount: Decimal| Money::new(amount, Currency::Usd).cents();
        let mut row = vec![name, usd(*total)];
        for category in Category::ALL {
            let part = prices.convert(bill.total_of(category)?, Currency::Usd)?;
            row.push(if part.amount().is_zero() { "·".to_owned() } else { part.cents() });
        }
        lines.push(row);
    }
    out.push_str(&mark_cheapest(&columns(&lines, 1)));
    if let Some(verdict) = verdict(&ranked) {
        let _ = writeln!(out, "\n{verdict}");
    }
    for bill in bills.iter().filter(|bill| bill.currency != Currency::Usd && bill.impossible.is_none()) {
        let rate = prices.rate(bill.currency, Currency::Usd)?;
        let _ = writeln!(
            out,
            "\n{} bills {}: 1 {} = {} {} ({}, {}).",
            bill.platform.name(),
            bill.total()?,
            bill.currency,
            rate.value.normalize(),
            rate.to,
            rate.origin.day(),
            if rate.origin.confirmed { "confirmed" } else { "not confirmed" }
        );
    }
    if let Some(curve) = curves.iter().find(|curve| Some(curve.axis) == chart) {
        // Where it is no terminal, the stream drops the colour.
        let _ = write!(out, "\n{}", terminal::terminal(curve, true));
    }
    for curve in curves {
        let here = curve.axis.value(curve.here);
        let _ = writeln!(out, "\n{} (here {here})", paint(CYAN, format!("Over {}", curve.axis.title())));
        for sentence in curve.sentences() {
            let _ = writeln!(out, "  {sentence}");
        }
    }
    if let Some(sentence) = case.hub_sentence(bills)? {
        let _ = writeln!(out, "\n{}\n  {sentence}", paint(CYAN, "The hub"));
    }
    let _ = writeln!(out, "\n{}", paint(CYAN, "Not counted"));
    for bill in bills {
        let left_out = bill.impossible.clone().map(|reason| vec![reason]);
        let left_out = left_out.unwrap_or_else(|| bill.not_counted.clone());
        if !left_out.is_empty() {
            let _ = writeln!(out, "  {}: {}", bill.platform.name(), left_out.join("; "));
        }
    }
    let _ = writeln!(out, "  everywhere: {NEVER_COUNTED}\n\n{}", provenance.sentence());
    Ok(out)
}

/// Whether Cloudflare is the cheapest, and by how much it is or is not.
fn verdict(ranked: &[(&Bill, Option<Decimal>)]) -> Option<String> {
    let usd = |amount: Decimal| Money::new(amount, Currency::Usd);
    let cloudflare = ranked.iter().find(|(bill, _)| bill.platform == Platform::Cloudflare)?;
    let Some(cost) = cloudflare.1 else {
        let why = cloudflare.0.impossible.as_deref().unwrap_or_default();
        return Some(format!("Cloudflare cannot carry this workload: {why}."));
    };
    let (first, second) = (ranked.first()?, ranked.get(1)?);
    if first.0.platform == Platform::Cloudflare {
        let by = usd(second.1? - cost);
        return Some(format!(
            "Cloudflare is the cheapest here, by {by} before {}.",
            second.0.platform.name()
        ));
    }
    let by = usd(cost - first.1?);
    Some(format!("Cloudflare is not the cheapest here: {} costs {by} less.", first.0.platform.name()))
}

fn mark_cheapest(table: &str) -> String {
    let line = |line: &str| match line.contains('★') {
        true => format!("{}\n", paint(GREEN, line)),
        false => format!("{line}\n"),
    };
    table.lines().map(line).collect()
}

fn sheet(case: &Case, bills: &[Bill], provenance: &Provenance) -> Result<Sheet, Failure> {
    let prices = &case.prices;
    let headings =
        ["platform", "line", "what", "usage", "arithmetic", "price read", "confirmed", "amount", "USD"];
    let mut sheet = Sheet::new(&headings, 2);
    for (bill, total) in ranked(bills, prices)? {
        let name = bill.platform.name().to_owned();
        for line in &bill.lines {
            let usd = prices.convert(line.amount, Currency::Usd)?.cents();
            let amount = line.amount.to_string();
            let [read, confirmed] = read(&line.origin);
            let cells = [line.id.clone(), line.what.clone(), line.basis.clone(), line.arithmetic()];
            sheet.row([name.clone()].into_iter().chain(cells).chain([read, confirmed, amount, usd]));
        }
        let (sum, usd) = match total {
            Some(total) => (bill.total()?.to_string(), Money::new(total, Currency::Usd).cents()),
            None => (bill.impossible.clone().unwrap_or_default(), String::new()),
        };
        let empty = [const { String::new() }; 5];
        sheet.row([name.clone(), "total".into()].into_iter().chain(empty).chain([sum, usd]));
        for what in &bill.not_counted {
            sheet.say([name.clone(), "not counted".into(), what.clone()]);
        }
    }
    if let Some(sentence) = case.hub_sentence(bills)? {
        sheet.say([Platform::Cloudflare.name().into(), "hub".into(), sentence]);
    }
    sheet.say([String::new(), "not counted".into(), NEVER_COUNTED.into()]);
    sheet.say([String::new(), "prices".into(), provenance.sentence()]);
    Ok(sheet)
}

fn json(
    case: &Case,
    bills: &[Bill],
    curves: &[Curves],
    provenance: &Provenance,
) -> Result<serde_json::Value, Failure> {
    let mut platforms = Vec::new();
    for (one, total) in ranked(bills, &case.prices)? {
        let mut object = bill(one)?;
        object["platform"] = one.platform.id().into();
        object["total_usd"] = total.map(|total| Money::new(total, Currency::Usd).cents()).into();
        platforms.push(object);
    }
    let first = platforms.first().filter(|first| !first["total_usd"].is_null());
    let cheapest = first.map(|first| first["platform"].clone());
    let curves: Vec<_> = curves
        .iter()
        .map(|curve| {
            json!({
                "over": curve.axis.as_str(),
                "label": curve.axis.label(),
                "here": curve.here.normalize().to_string(),
                "cloudflare_is_cheaper": curve.break_even,
                "sentences": curve.sentences(),
            })
        })
        .collect();
    let hub = match (case.hub()?, bills.iter().find(|bill| bill.platform == Platform::Cloudflare)) {
        (Some(hub), Some(bill)) => match bill.total_in(Currency::Usd, &case.prices)? {
            Some(cloudflare) => Some(json!({
                "platform": hub.bill.platform.id(),
                "total_usd": hub.usd.cents(),
                "with_cloudflare_usd": hub.with(cloudflare)?.cents(),
                "sentence": hub.sentence(bills, &case.prices)?,
            })),
            None => None,
        },
        _ => None,
    };
    Ok(json!({
        "name": case.name,
        "workload": case.workload.describe(),
        "list_prices": case.terms.list_prices,
        "cheapest": cheapest,
        "platforms": platforms,
        "break_even": curves,
        "hub": hub,
        "not_counted": NEVER_COUNTED,
        "prices": provenance,
    }))
}
