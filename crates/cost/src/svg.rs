//! Break-even curves as a picture: one SVG file that needs nothing else, and is readable on a light and on a dark ground.
//!
//! Only places on the picture are floating point; what is written beside them comes from exact figures.

use std::fmt::Write as _;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use crate::Platform;
use crate::curve::{Curves, Series};

const WIDTH: f64 = 920.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 148.0;
const TOP: f64 = 92.0;
const PLOT: f64 = 350.0;
/// Below the plot: the axis's figures and its name.
const AXIS: f64 = 62.0;
const SENTENCE: f64 = 18.0;
/// Characters that a line has room for.
const LINE: usize = 124;
/// Labels at the ends of lines are at least so far apart.
const APART: f64 = 16.0;
/// What is less is drawn here where steps are factors: there is no nothing on such an axis.
const LEAST: f64 = 1.0;
/// From such a factor between the most and the least on, steps are factors.
const WIDE: f64 = 30.0;

/// What a picture would hide.
const CAVEAT: &str = "Cloudflare's line leaves out the hub that holds the streams; windlass cost compare says what else is not counted.";

const STYLE: &str = "
    svg { color-scheme: light dark; --ground: #ffffff; --ink: #1a2230; --soft: #5b6678; --grid: #e3e8ef; --line: #a9b4c4;
      --cloudflare: #d9650a; --aws: #2463cf; --synadia: #7048c6; --digital-ocean: #0b8a83; --hetzner: #c2273a; --own: #6a7585; }
    @media (prefers-color-scheme: dark) { svg { --ground: #12161d; --ink: #e8ecf3; --soft: #9aa6b8; --grid: #252d38; --line: #4b5768;
      --cloudflare: #ff9a45; --aws: #74a9ff; --synadia: #b79aff; --digital-ocean: #45cfc4; --hetzner: #ff7b80; --own: #a4afbf; } }
    text { font: 12px ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: var(--ink); }
    .ground { fill: var(--ground); } .title { font-size: 16px; font-weight: 600; } .soft { fill: var(--soft); }
    .grid { stroke: var(--grid); } .frame { stroke: var(--line); fill: none; } .here { stroke: var(--soft); stroke-dasharray: 2 4; }
    .halo { stroke: var(--ground); stroke-width: 4px; paint-order: stroke; }
    .curve { fill: none; stroke: var(--tone); stroke-width: 2; stroke-linejoin: round; } .end { fill: var(--tone); font-weight: 600; }
    .cross { fill: var(--ground); stroke: var(--tone); stroke-width: 2; }
    .cloudflare { --tone: var(--cloudflare); } .cloudflare .curve { stroke-width: 3.2; }
    .aws-fargate, .aws-ec2 { --tone: var(--aws); } .aws-ec2 .curve { stroke-dasharray: 7 4; }
    .synadia { --tone: var(--synadia); } .digital-ocean { --tone: var(--digital-ocean); }
    .hetzner { --tone: var(--hetzner); } .own { --tone: var(--own); } .own .curve { stroke-dasharray: 2 3; }
";

/// Draws the curves. `what` says of which workload they are, `prices` from when the prices are.
#[must_use]
pub fn svg(curves: &Curves, what: &str, prices: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut text, curves, what, prices);
    text
}

fn number(value: Decimal) -> f64 {
    value.to_f64().unwrap_or(0.0)
}

/// From values to places.
#[derive(Clone, Copy)]
struct Scale {
    logarithmic: bool,
    from: f64,
    to: f64,
    start: f64,
    length: f64,
}

impl Scale {
    fn at(self, value: f64) -> f64 {
        let turn = |value: f64| if self.logarithmic { value.max(self.from).log10() } else { value };
        self.start + (turn(value) - turn(self.from)) / (turn(self.to) - turn(self.from)) * self.length
    }

    /// Round figures within it.
    fn ticks(self) -> Vec<f64> {
        if self.logarithmic {
            let mut ticks = Vec::new();
            let mut tick = 10_f64.powf(self.from.log10().ceil());
            while tick <= self.to * 1.000_001 {
                ticks.push(tick);
                tick *= 10.0;
            }
            return ticks;
        }
        let step = nice((self.to - self.from) / 5.0);
        let first = (self.from / step).ceil();
        (0..=((self.to / step).floor() - first) as u32).map(|at| (first + f64::from(at)) * step).collect()
    }
}

/// The next of 1, 2, 5, 10, … above.
fn above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= value);
    times.unwrap_or(10.0) * power
}

/// The next of 1, 2, 5, 10, … below.
fn below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let times = [5.0, 2.0, 1.0].into_iter().find(|times| times * power <= value);
    times.unwrap_or(1.0) * power
}

/// What of a text has room on a line.
fn fit(text: &str) -> String {
    if text.chars().count() <= LINE {
        return text.to_owned();
    }
    text.chars().take(LINE - 1).chain(['…']).collect()
}

/// The next round figure above.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|times| times * power >= value * 0.999);
    times.unwrap_or(10.0) * power
}

fn scales(curves: &Curves) -> (Scale, Scale) {
    let ends =
        |all: &[Decimal]| (all.first().map_or(0.0, |x| number(*x)), all.last().map_or(1.0, |x| number(*x)));
    let (from, to) = ends(&curves.points);
    let from = if curves.axis.is_logarithmic() { from } else { 0.0 };
    let length = WIDTH - LEFT - RIGHT;
    let x = Scale { logarithmic: curves.axis.is_logarithmic(), from, to, start: LEFT, length };
    let totals =
        || curves.series.iter().flat_map(|series| series.totals.iter().flatten()).map(|y| number(*y));
    let most = totals().fold(LEAST, f64::max);
    let least = totals().fold(most, f64::min);
    let logarithmic = most / least.max(LEAST) > WIDE;
    let (from, to) = if logarithmic {
        (below(least.max(LEAST)), above(most * 1.05))
    } else {
        let step = nice(most / 5.0);
        (0.0, (most * 1.02 / step).ceil() * step)
    };
    (x, Scale { logarithmic, from, to, start: TOP + PLOT, length: -PLOT })
}

fn figure(value: f64) -> String {
    let decimals = if value < 1.0 && value > 0.0 { 1 } else { 0 };
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        Some(_) => text,
        None => crate::money::grouped(&text),
    }
}

fn draw(text: &mut String, curves: &Curves, what: &str, prices: &str) -> std::fmt::Result {
    let (x, y) = scales(curves);
    let sentences = curves.sentences();
    let height = TOP + PLOT + AXIS + sentences.len() as f64 * SENTENCE + 60.0;
    let title = escape(&format!("What a month costs, over {}", curves.axis.title()));
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\">
  <title>{title}</title>
  <style>{STYLE}  </style>
  <rect class=\"ground\" width=\"100%\" height=\"100%\"/>
  <text class=\"title\" x=\"{LEFT:.0}\" y=\"36\">{title}</text>
  <text class=\"soft\" x=\"{LEFT:.0}\" y=\"57\">{}</text>",
        escape(&fit(what))
    )?;
    axes(text, curves, x, y)?;
    here(text, curves, x)?;
    // Cloudflare goes over the others.
    for series in curves.series.iter().rev() {
        curve(text, curves, series, x, y)?;
    }
    crossings(text, curves, x, y)?;
    ends(text, curves, x, y)?;
    let mut at = TOP + PLOT + AXIS + 14.0;
    for sentence in &sentences {
        writeln!(text, "  <text x=\"{LEFT:.0}\" y=\"{at:.0}\">{}</text>", escape(&fit(sentence)))?;
        at += SENTENCE;
    }
    for (line, below) in [(prices, 8.0), (CAVEAT, 8.0 + SENTENCE)] {
        writeln!(
            text,
            "  <text class=\"soft\" x=\"{LEFT:.0}\" y=\"{:.0}\">{}</text>",
            at + below,
            escape(line)
        )?;
    }
    writeln!(text, "</svg>")
}

fn axes(text: &mut String, curves: &Curves, x: Scale, y: Scale) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, TOP + PLOT);
    for tick in y.ticks() {
        let at = y.at(tick);
        writeln!(
            text,
            "  <path class=\"grid\" d=\"M{LEFT:.1} {at:.1}H{right:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            LEFT - 9.0,
            at + 4.0,
            figure(tick)
        )?;
    }
    for tick in x.ticks() {
        let at = x.at(tick);
        writeln!(
            text,
            "  <path class=\"grid\" d=\"M{at:.1} {TOP:.1}V{bottom:.1}\"/><text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{}</text>",
            bottom + 19.0,
            figure(tick)
        )?;
    }
    writeln!(
        text,
        "  <path class=\"frame\" d=\"M{LEFT:.1} {TOP:.1}V{bottom:.1}H{right:.1}\"/>
  <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>
  <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        f64::midpoint(LEFT, right),
        bottom + 42.0,
        escape(curves.axis.label()),
        LEFT - 9.0,
        TOP - 14.0,
        curves.currency
    )
}

fn here(text: &mut String, curves: &Curves, x: Scale) -> std::fmt::Result {
    let value = number(curves.here);
    if value < x.from || value > x.to {
        return Ok(());
    }
    let at = x.at(value);
    writeln!(
        text,
        "  <path class=\"here\" d=\"M{at:.1} {TOP:.1}V{:.1}\"/><text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" \
         text-anchor=\"middle\">this workload</text>",
        TOP + PLOT,
        TOP - 9.0
    )
}

fn curve(text: &mut String, curves: &Curves, series: &Series, x: Scale, y: Scale) -> std::fmt::Result {
    let mut path = String::new();
    let mut pen = 'M';
    for (point, total) in curves.points.iter().zip(&series.totals) {
        match total {
            Some(total) => {
                write!(path, "{pen}{:.1} {:.1}", x.at(number(*point)), y.at(number(*total)))?;
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    if path.is_empty() {
        return Ok(());
    }
    let class = series.platform.id();
    writeln!(text, "  <g class=\"{class}\"><path class=\"curve\" d=\"{path}\"/></g>")
}

/// A ring where Cloudflare's line meets another one, in the other's colour.
fn crossings(text: &mut String, curves: &Curves, x: Scale, y: Scale) -> std::fmt::Result {
    let Some(line) = curves.series.iter().find(|series| series.platform == Platform::Cloudflare) else {
        return Ok(());
    };
    for one in &curves.break_even {
        for at in one.cheaper.iter().flat_map(|interval| [interval.from, interval.to]).flatten() {
            let Some(total) = between(curves, line, at) else { continue };
            writeln!(
                text,
                "  <g class=\"{}\"><circle class=\"cross\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.5\"/></g>",
                one.against.id(),
                x.at(number(at)),
                y.at(total)
            )?;
        }
    }
    Ok(())
}

/// A line's total at a place between two of its points.
fn between(curves: &Curves, series: &Series, at: Decimal) -> Option<f64> {
    let after = curves.points.iter().position(|point| *point >= at)?;
    let (x1, y1) = (curves.points[after], series.totals[after]?);
    let Some(before) = after.checked_sub(1) else { return Some(number(y1)) };
    let (x0, y0) = (curves.points[before], series.totals[before]?);
    let part = number(at - x0) / number(x1 - x0);
    Some(number(y0) + (number(y1) - number(y0)) * part)
}

/// The names at the ends of the lines, moved apart where they would cover each other.
fn ends(text: &mut String, curves: &Curves, x: Scale, y: Scale) -> std::fmt::Result {
    let mut labels: Vec<(f64, f64, Platform)> = Vec::new();
    for series in &curves.series {
        let last = series.totals.iter().rposition(Option::is_some);
        let Some((at, Some(total))) = last.map(|at| (at, series.totals[at])) else { continue };
        labels.push((x.at(number(curves.points[at])), y.at(number(total)), series.platform));
    }
    let right = WIDTH - RIGHT;
    // A line that ends early is named above its end.
    let (mut beside, early): (Vec<_>, Vec<_>) = labels.into_iter().partition(|(x, ..)| *x >= right - 1.0);
    for (x, y, platform) in early {
        writeln!(
            text,
            "  <g class=\"{}\"><text class=\"end halo\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text></g>",
            platform.id(),
            x,
            y - 9.0,
            platform.name()
        )?;
    }
    beside.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut places: Vec<f64> = beside.iter().map(|(_, y, _)| *y).collect();
    // Downwards, then upwards from the bottom, so that none falls out of the picture.
    for at in 1..places.len() {
        places[at] = places[at].max(places[at - 1] + APART);
    }
    let bottom = TOP + PLOT;
    for at in (0..places.len()).rev() {
        let below = places.get(at + 1).map_or(bottom, |next| next - APART);
        places[at] = places[at].min(below);
    }
    for ((_, _, platform), place) in beside.iter().zip(places) {
        writeln!(
            text,
            "  <g class=\"{}\"><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            platform.id(),
            right + 9.0,
            place + 4.0,
            platform.name()
        )?;
    }
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
