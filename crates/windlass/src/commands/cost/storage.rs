//! `windlass cost storage`: R2 against S3.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use windlass_cost::bill::Terms;
use windlass_cost::storage::Comparison;
use windlass_cost::workload::Objects;
use windlass_cost::{Bill, Decimal};

use super::sheet::{Sheet, columns, read};
use super::{ListArgs, provenance, warn_of_age};
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_cost;
use crate::output;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Compare R2 with S3 for so much stored, read, written and carried away in a month.

A GB is what the vendor calls one: 10⁹ bytes at Cloudflare, 2³⁰ at AWS. Without --list-prices, what each gives without \
charge is taken off.";

/// Arguments of `windlass cost storage`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How much is stored, in GB
    #[arg(long, value_name = "GB", default_value = "0", value_parser = figure)]
    gb: Decimal,
    /// How many reads a month
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = figure)]
    reads: Decimal,
    /// How many writes and lists a month
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = figure)]
    writes: Decimal,
    /// How much is carried away to the internet, in GB a month
    #[arg(long, value_name = "GB", default_value = "0", value_parser = figure)]
    egress_gb: Decimal,
    #[command(flatten)]
    list: ListArgs,
}

/// A number from 0 up, exactly as it is written.
pub(super) fn figure(text: &str) -> Result<Decimal, String> {
    match Decimal::from_str_exact(text) {
        Ok(number) if !text.starts_with(['-', '+']) => Ok(number),
        _ => Err("a number from 0 up belongs here, such as 10 or 0.5".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<ExitCode, Failure> {
    let prices = fleet_cost::prices(args.list.prices.as_deref())?;
    let objects = Objects { gb: args.gb, writes: args.writes, reads: args.reads, egress_gb: args.egress_gb };
    let terms = Terms { list_prices: args.list.list_prices };
    let both = Comparison::of(&objects, &prices, terms)?;
    let saving = both.saving_percent()?;
    let bills = [both.r2.clone(), both.s3.clone()];
    let provenance = provenance(&bills, &prices);
    if context.json() {
        // A number of JSON is exact as text; 94.7 is written as 94.7.
        let saving = saving.and_then(|percent| percent.to_string().parse::<serde_json::Number>().ok());
        let result = json!({
            "r2": bill(&both.r2)?,
            "s3": bill(&both.s3)?,
            "saving_percent": saving,
            "list_prices": terms.list_prices,
            "prices": provenance,
        });
        output::json(&result)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = ["R2", "S3"];
    let text = if context.format.is_table() {
        let mut sheet = Sheet::new(&["store", "line", "arithmetic", "price read", "confirmed", "amount"], 1);
        for (name, bill) in names.iter().zip(&bills) {
            for line in &bill.lines {
                let [read, confirmed] = read(&line.origin);
                let (what, amount) = (line.what.clone(), line.amount.to_string());
                sheet.row([(*name).to_owned(), what, line.arithmetic(), read, confirmed, amount]);
            }
            let empty = [const { String::new() }; 3];
            let total = [bill.total()?.to_string()];
            sheet.row([(*name).to_owned(), "total".into()].into_iter().chain(empty).chain(total));
            for what in &bill.not_counted {
                sheet.say([(*name).to_owned(), "not counted".into(), what.clone()]);
            }
        }
        sheet.say([String::new(), "prices".into(), provenance.sentence()]);
        sheet.print(context.format)
    } else {
        let mut text = String::new();
        for (name, bill) in names.iter().zip(&bills) {
            let mut rows: Vec<Vec<String>> = Vec::new();
            for line in &bill.lines {
                rows.push(vec![line.what.clone(), line.arithmetic(), line.amount.to_string()]);
            }
            rows.push(vec![output::paint(output::BOLD, "total"), String::new(), bill.total()?.to_string()]);
            let _ = writeln!(text, "{}\n{}", output::paint(output::BOLD, name), rows_of(&rows));
        }
        let verdict = match saving {
            None => "S3 costs nothing here, so there is nothing to save.".to_owned(),
            Some(percent) if percent.is_zero() => "Both cost the same.".to_owned(),
            Some(percent) if percent.is_sign_negative() => {
                format!("R2 is the dearer one here: {} % more than S3.", -percent)
            }
            Some(percent) => format!("R2 saves {percent} %."),
        };
        let left_out: Vec<&str> =
            bills.iter().flat_map(|bill| &bill.not_counted).map(String::as_str).collect();
        let _ = writeln!(text, "{verdict}\nNot counted: {}.\n{}", left_out.join("; "), provenance.sentence());
        text
    };
    write!(output::out(), "{text}")?;
    warn_of_age(&provenance, context);
    Ok(ExitCode::SUCCESS)
}

/// The last row's first cell is bold, which takes no room on the terminal.
fn rows_of(rows: &[Vec<String>]) -> String {
    let plain: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| anstream::adapter::strip_str(cell).to_string()).collect())
        .collect();
    columns(&plain, 2)
}

/// A bill as JSON: the total first, as scripts read it.
pub(super) fn bill(bill: &Bill) -> Result<Value, Failure> {
    let mut object = Map::new();
    if let Some(reason) = &bill.impossible {
        object.insert("impossible".into(), reason.as_str().into());
    } else {
        let total = bill.total()?;
        object.insert("total".into(), total.cents().into());
        object.insert("total_exact".into(), total.exact().into());
    }
    object.insert("currency".into(), bill.currency.code().into());
    object.insert("lines".into(), json!(bill.lines));
    object.insert("not_counted".into(), json!(bill.not_counted));
    Ok(Value::Object(object))
}
