//! Break-even curves in characters, for a terminal of a hundred columns.

use std::fmt::Write as _;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::Platform;
use crate::curve::Curves;
use crate::money::grouped;

const WIDE: usize = 72;
const HIGH: usize = 17;
/// What is less is drawn here where steps are factors.
const LEAST: f64 = 1.0;
/// From such a factor between the most and the least on, steps are factors.
const FACTORS_FROM: f64 = 30.0;

/// The letter that a platform's line is drawn with, and its colour.
const fn mark(platform: Platform) -> (char, &'static str) {
    match platform {
        Platform::Cloudflare => ('C', "1;33"),
        Platform::AwsFargate => ('F', "34"),
        Platform::AwsEc2 => ('E', "36"),
        Platform::Synadia => ('S', "35"),
        Platform::DigitalOcean => ('D', "32"),
        Platform::Hetzner => ('H', "31"),
        Platform::Own => ('o', "2"),
    }
}

fn number(value: Decimal) -> f64 {
    value.to_f64().unwrap_or(0.0)
}

/// Draws the curves; with escape codes for colour if `color`.
#[must_use]
pub fn terminal(curves: &Curves, color: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut text, curves, color);
    text
}

fn draw(text: &mut String, curves: &Curves, color: bool) -> std::fmt::Result {
    let paint = |style: &str, what: &str| {
        if color { format!("\x1b[{style}m{what}\x1b[0m") } else { what.to_owned() }
    };
    let totals =
        || curves.series.iter().flat_map(|series| series.totals.iter().flatten()).map(|y| number(*y));
    let most = totals().fold(LEAST, f64::max);
    let least = totals().fold(most, f64::min).max(LEAST);
    let factors = most / least > FACTORS_FROM;
    let (from, to) = if factors { (least.log10(), most.log10()) } else { (0.0, most) };
    let turn = |value: f64| if factors { value.max(LEAST).log10() } else { value };
    let row = |value: f64| {
        let part = if to > from { (turn(value) - from) / (to - from) } else { 0.0 };
        HIGH - 1 - (part * (HIGH - 1) as f64).round() as usize
    };
    let steps = curves.points.len().saturating_sub(1);
    // The point that a column shows.
    let shown = |column: usize| (column * steps + (WIDE - 1) / 2) / (WIDE - 1);
    let column = |at: usize| (at * (WIDE - 1)).checked_div(steps).unwrap_or(0);

    let mut cells = vec![[None::<Platform>; WIDE]; HIGH];
    for series in curves.series.iter().rev() {
        let total = |column: usize| Some((column, series.totals.get(shown(column)).copied()??));
        for (column, total) in (0..WIDE).filter_map(total) {
            cells[row(number(total))][column] = Some(series.platform);
        }
    }
    writeln!(text, "{} a month", curves.currency)?;
    for (at, line) in cells.iter().enumerate() {
        let part = (HIGH - 1 - at) as f64 / (HIGH - 1) as f64;
        let value = from + part * (to - from);
        let value = if factors { 10_f64.powf(value) } else { value };
        let label = if at % 4 == 0 { grouped(&format!("{value:.0}")) } else { String::new() };
        write!(text, "{label:>9} {}", paint("2", if at % 4 == 0 { "┤" } else { "│" }))?;
        let last = line.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        for cell in &line[..last] {
            match cell {
                Some(platform) => {
                    let (letter, style) = mark(*platform);
                    text.push_str(&paint(style, letter.encode_utf8(&mut [0; 4])));
                }
                None => text.push(' '),
            }
        }
        writeln!(text)?;
    }
    let here = curves.points.iter().rposition(|point| *point <= curves.here).map(column);
    let inside = curves.points.last().is_some_and(|last| curves.here <= *last);
    let axis: String = (0..WIDE).map(|at| if inside && here == Some(at) { '▲' } else { '─' }).collect();
    writeln!(text, "{:>9} {}", "", paint("2", &format!("└{axis}")))?;
    let value = |at: usize| curves.points.get(at).map_or(String::new(), |x| figure(*x));
    let (middle, last) = (value(curves.points.len() / 2), value(steps));
    let half = WIDE / 2;
    writeln!(text, "{:>11}{:<half$}{middle:<pad$}{last:>6}", "", value(0), pad = WIDE - half - 6)?;
    writeln!(text, "{:>11}{}; ▲ this workload", "", curves.axis.label())?;
    let legend: Vec<String> = curves
        .series
        .iter()
        .filter(|series| series.totals.iter().any(Option::is_some))
        .map(|series| {
            let (letter, style) = mark(series.platform);
            format!("{} {}", paint(style, letter.encode_utf8(&mut [0; 4])), series.platform.name())
        })
        .collect();
    writeln!(text, "{:>11}{}", "", legend.join("   "))
}

fn figure(x: Decimal) -> String {
    crate::money::quantity(x)
}
