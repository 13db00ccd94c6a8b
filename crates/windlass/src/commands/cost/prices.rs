//! `windlass cost prices`: the price list.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;
use windlass_cost::bill::{Provenance, one, units};
use windlass_cost::money::quantity;
use windlass_cost::prices::{Origin, Price};

use super::sheet::{Sheet, columns};
use super::warn_of_age;
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_cost;
use crate::output;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Print the price list: each price with its unit, what is free, where and when it was read, and whether the vendor's own text \
confirmed it.

With --prices FILE, your own prices are laid over it. The file has the form of the list: [[price]] entries with `id`, `price` \
(or `tiers`), `read`, and whatever else differs.";

/// Arguments of `windlass cost prices`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only prices whose names begin so, such as `cloudflare.r2`
    prefix: Option<String>,
    /// File with prices of your own, laid over the built-in list
    #[arg(long, value_name = "FILE")]
    prices: Option<std::path::PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let list = fleet_cost::prices(args.prices.as_deref())?;
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let today = fleet_cost::today();
    let prices: Vec<&Price> = list.family(prefix).collect();
    if prices.is_empty() {
        return Err(windlass_cost::Error::NoPrice { id: prefix.to_owned() }.into());
    }
    let shown = prices.iter().map(|price| (price.id.as_str(), &price.origin));
    let rates = list.rates.iter().filter(|_| prefix.is_empty());
    let provenance =
        Provenance::of(shown.chain(rates.clone().map(|rate| (rate.from.code(), &rate.origin))), today);
    if context.json() {
        let rates: Vec<_> = rates.collect();
        output::json(&json!({
            "prices": prices, "rates": rates, "own": list.own, "today": today.to_string(), "summary": provenance,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["id", "price", "free a month", "read", "age in days", "confirmed", "source", "note"];
    let mut rows = Vec::new();
    for price in &prices {
        let free = if price.free.is_zero() { String::new() } else { quantity(price.free) };
        rows.push(row(&price.id, figure(price), free, &price.origin, list.own.contains(&price.id), today));
    }
    for rate in rates {
        let id = format!("{} {}", rate.from, rate.to);
        let value = format!("1 {} = {} {}", rate.from, rate.value.normalize(), rate.to);
        let own = list.own.contains(&id);
        rows.push(row(&id, value, String::new(), &rate.origin, own, today));
    }
    let text = if context.format.is_table() {
        let mut sheet = Sheet::new(&headings, 0);
        rows.into_iter().for_each(|row| sheet.row(row));
        sheet.print(context.format)
    } else {
        sourced(&headings, &rows, &provenance.sentence())
    };
    write!(output::out(), "{text}")?;
    warn_of_age(&provenance, context);
    Ok(ExitCode::SUCCESS)
}

/// The table with its sources and notes numbered and listed below it, because they have no room on a line.
fn sourced(headings: &[&str], rows: &[Vec<String>], sentence: &str) -> String {
    let mut sources: Vec<(&str, &str)> = Vec::new();
    let mut short = vec![headings[..7].iter().map(ToString::to_string).collect::<Vec<_>>()];
    for row in rows {
        let source = (row[6].as_str(), row[7].as_str());
        let at = sources.iter().position(|known| *known == source).unwrap_or_else(|| {
            sources.push(source);
            sources.len() - 1
        });
        let mut cells = row[..6].to_vec();
        cells.push(if source == ("", "") { String::new() } else { format!("[{}]", at + 1) });
        short.push(cells);
    }
    let mut text = format!("{}\n", columns(&short, 7));
    for (at, (source, note)) in sources.iter().enumerate().filter(|(_, source)| **source != ("", "")) {
        let both = [*source, *note].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        text.push_str(&format!("  [{}] {}\n", at + 1, both.join("\n      ")));
    }
    format!("{text}\n{sentence}\n")
}

fn row(
    id: &str,
    price: String,
    free: String,
    origin: &Origin,
    own: bool,
    today: jiff::civil::Date,
) -> Vec<String> {
    let confirmed = match (own, origin.confirmed) {
        (true, _) => "yours",
        (_, true) => "yes",
        (_, false) => "no",
    };
    vec![
        id.to_owned(),
        price,
        free,
        origin.day(),
        if origin.dated { origin.age(today).to_string() } else { String::new() },
        confirmed.to_owned(),
        origin.source.clone(),
        origin.note.clone().unwrap_or_default(),
    ]
}

/// `0.30 USD for 1,000,000 requests`, with each tier.
fn figure(price: &Price) -> String {
    let per = if price.per == windlass_cost::Decimal::ONE {
        one(&price.unit)
    } else {
        format!("for {}", units(price.per, &price.unit))
    };
    let tiers = price.tiers.iter().map(|tier| {
        let from = if tier.from.is_zero() { String::new() } else { format!(" from {}", quantity(tier.from)) };
        format!("{}{from}", tier.price.normalize())
    });
    format!("{} {} {per}", tiers.collect::<Vec<_>>().join(", "), price.currency)
}
