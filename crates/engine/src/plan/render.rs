//! A plan for a person, to be scanned from top to bottom: what, how, why, at what risk.

use super::{Action, Do, Plan};
use crate::Address;
use crate::platform::{Loss, Risk};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How text is coloured: ANSI sequences, or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Whether to colour.
    pub colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn sign(self, what: Do) -> String {
        let code = match what {
            Do::Create => "32",
            Do::Update => "33",
            Do::Restart => "35",
            Do::Replace | Do::Delete => "31",
        };
        self.paint(code, what.sign())
    }

    fn risk(self, risk: Risk) -> String {
        match risk {
            Risk::None => String::new(),
            Risk::Interrupts => self.paint("35", risk.as_str()),
            Risk::LosesData | Risk::Irreversible => self.paint("1;31", risk.as_str()),
        }
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// The plan as text.
#[must_use]
pub fn render(plan: &Plan, style: Style) -> String {
    render_with(plan, style, &BTreeMap::new())
}

/// The plan as text, with a column of somebody else's words beside the actions, such as what each costs.
#[must_use]
pub fn render_with(plan: &Plan, style: Style, column: &BTreeMap<Address, String>) -> String {
    let mut out = String::new();
    if plan.is_settled() {
        let _ = writeln!(
            out,
            "{} Fleet {} is what the file says: {} as wanted.",
            style.paint("32", "✓"),
            named(plan),
            resources(plan.unchanged)
        );
        warnings(&mut out, plan, style);
        return out;
    }
    let _ = writeln!(out, "{}\n", style.paint("1", &format!("Fleet {}", named(plan))));
    let width = plan.actions.iter().map(|action| action.address.to_string().chars().count()).max();
    let width = width.unwrap_or(0).min(48);
    for action in &plan.actions {
        line(&mut out, action, width, style, column.get(&action.address).map(String::as_str));
    }
    for blocked in &plan.blocked {
        let sign = style.paint("31", "✗");
        let _ = writeln!(
            out,
            "  {sign} {:width$}  cannot be made: {}",
            blocked.address.to_string(),
            blocked.reason
        );
    }
    for deferred in &plan.deferred {
        let address = deferred.address.to_string();
        let _ = writeln!(out, "  · {address:width$}  is to be deleted, but not now: {}", deferred.reason);
    }
    let _ = writeln!(out, "\n{}", summary(plan, style));
    warnings(&mut out, plan, style);
    let losses = plan.losses();
    if !losses.is_empty() {
        let _ =
            writeln!(out, "{}", style.paint("1;31", "Data would be lost, so apply needs --allow-data-loss:"));
        for loss in losses {
            let _ = writeln!(out, "  {loss}");
        }
    }
    out
}

fn warnings(out: &mut String, plan: &Plan, style: Style) {
    for warning in &plan.warnings {
        let _ = writeln!(out, "{} {}: {}", style.paint("33", "warning:"), warning.address, warning.text);
    }
}

fn line(out: &mut String, action: &Action, width: usize, style: Style, beside: Option<&str>) {
    let sign = style.sign(action.what);
    let address = action.address.to_string();
    let verb = match action.what {
        Do::Create => "create",
        Do::Update => "change",
        Do::Restart => "restart",
        Do::Replace => "delete and make anew",
        Do::Delete => "delete",
    };
    let risk = style.risk(action.risk);
    let gap = if risk.is_empty() { "" } else { "  " };
    let beside = beside.map(|beside| format!("  {}", style.paint("36", beside))).unwrap_or_default();
    let _ = writeln!(
        out,
        "  {sign} {}{:pad$}  {verb}{gap}{risk}{beside}  {}",
        style.paint("1", &address),
        "",
        style.dim(&action.reason),
        pad = width.saturating_sub(address.chars().count())
    );
    let fields = action.fields.iter().map(|field| field.field.chars().count()).max().unwrap_or(0);
    for field in &action.fields {
        let _ = writeln!(
            out,
            "      {:fields$}  {} {} {}",
            field.field,
            field.from,
            style.dim("→"),
            style.paint("1", &field.to)
        );
    }
}

fn named(plan: &Plan) -> String {
    match &plan.environment {
        Some(environment) => format!("{} ({environment})", plan.fleet),
        None => plan.fleet.clone(),
    }
}

fn resources(count: usize) -> String {
    if count == 1 { "1 resource".to_owned() } else { format!("{count} resources") }
}

fn summary(plan: &Plan, style: Style) -> String {
    let counts = plan.counts();
    let mut parts = Vec::new();
    for (count, word, what) in [
        (counts.create, "to create", Do::Create),
        (counts.change, "to change", Do::Update),
        (counts.replace, "to make anew", Do::Replace),
        (counts.delete, "to delete", Do::Delete),
    ] {
        if count > 0 {
            parts.push(format!("{} {count} {word}", style.sign(what)));
        }
    }
    if !plan.blocked.is_empty() {
        parts.push(format!("{} {} cannot be made", style.paint("31", "✗"), plan.blocked.len()));
    }
    if !plan.deferred.is_empty() {
        parts.push(format!("· {} later", plan.deferred.len()));
    }
    parts.push(format!("{} as wanted", plan.unchanged));
    parts.join("   ")
}

/// A count with thin groups: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A loss for a person: `up to 1,234 messages`.
pub(super) fn loss(loss: Loss, unit: &str) -> String {
    let up_to = if loss.at_most { "up to " } else { "" };
    let plural = if loss.messages == 1 { "" } else { "s" };
    let size = loss.bytes.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    format!("{up_to}{} {unit}{plural}{size}", count(loss.messages))
}

/// A size for a person: `1.5 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
