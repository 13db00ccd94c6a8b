//! An event as one line for people: when, where, what, who, and what happened.
//!
//! Columns line up although the events are not known beforehand: a column is as wide as its widest value so far, up
//! to a limit. Names and titles come from anyone who can open an issue: nothing in them reaches the terminal as
//! a command.

use jiff::tz::TimeZone;
use windlass_events::consume::{Outline, json};

use super::summary::summary;
use super::view::View;
use crate::output::{BOLD, CYAN, DIM, GREEN, RED, paint};

const LEAST: [usize; 3] = [24, 26, 14];
const MOST: [usize; 3] = [44, 36, 24];
const LONGEST_SUMMARY: usize = 120;

/// Writes lines.
#[derive(Debug)]
pub struct Lines {
    zone: TimeZone,
    widths: [usize; 3],
    deliveries: bool,
}

impl Lines {
    /// With times in this zone, and with delivery GUIDs if they are wanted.
    pub const fn new(zone: TimeZone, deliveries: bool) -> Self {
        Self { zone, widths: LEAST, deliveries }
    }

    /// The line, without its end.
    pub fn line(&mut self, view: &View) -> String {
        let event = &view.event;
        let names = &event.names;
        let payload =
            view.body.as_ref().map_err(|error| (error.code(), error.to_string())).and_then(|body| {
                let json = json(event, body).map_err(|error| (error.code(), error.to_string()))?;
                Ok(Outline::of(&json).unwrap_or_default())
            });
        let what = match &names.action {
            Some(action) => format!("{}.{action}", names.event),
            None => names.event.clone(),
        };
        let (sender, summary) = match &payload {
            Ok(outline) => (
                outline.sender().map(str::to_owned),
                shorten(&plain(&summary(&names.event, names.action.as_deref(), outline))),
            ),
            Err((code, message)) => (None, paint(RED, format_args!("{code}: {}", plain(message)))),
        };
        let cells = [names.full_name(), Some(what), sender].map(|cell| plain(cell.as_deref().unwrap_or("-")));
        let mut line =
            paint(DIM, event.time.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S"));
        if self.deliveries {
            line.push_str(&format!("  {}", paint(DIM, format_args!("{:<36}", plain(&event.id())))));
        }
        for (column, (cell, style)) in cells.iter().zip([BOLD, GREEN, CYAN]).enumerate() {
            let length = cell.chars().count();
            self.widths[column] = self.widths[column].max(length.min(MOST[column]));
            let padding = self.widths[column].saturating_sub(length);
            line.push_str(&format!("  {}{:padding$}", paint(style, cell), ""));
        }
        if !summary.is_empty() {
            line.push_str("  ");
            line.push_str(&summary);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The text without anything that a terminal would obey, or that would make it read differently than it is written.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => plain.push(' '),
            // Controls, and the marks that turn the direction of writing.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            character if character.is_control() => {}
            character => plain.push(character),
        }
    }
    plain
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SUMMARY) {
        Some((end, _)) => format!("{}\u{2026}", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::view;
    use super::*;

    fn plain_line(lines: &mut Lines, view: &View) -> String {
        anstream::adapter::strip_str(&lines.line(view)).to_string()
    }

    #[test]
    fn lines_line_up() {
        let mut lines = Lines::new(TimeZone::UTC, false);
        let json = "application/json";
        let push = view(
            "github.acme.api.push.-",
            json,
            r#"{"ref":"refs/heads/main","commits":[{}],"sender":{"login":"octocat"}}"#,
        );
        let pull = view(
            "github.acme.a-repository-with-a-name.pull_request.opened",
            json,
            r#"{"pull_request":{"number":7,"title":"Add\u001b[31m x\u202e"},"sender":{"login":"octocat"}}"#,
        );
        let member = view("github.acme.-.organization.member_added", json, "{}");
        assert_eq!(
            [&push, &pull, &push, &member].map(|view| plain_line(&mut lines, view)),
            [
                "2026-01-31 18:00:00  acme/api                  push                        octocat         main: 1 commit",
                "2026-01-31 18:00:00  acme/a-repository-with-a-name  pull_request.opened         octocat         #7 Add[31m x",
                "2026-01-31 18:00:00  acme/api                       push                        octocat         main: 1 commit",
                "2026-01-31 18:00:00  acme                           organization.member_added   -",
            ]
        );
    }

    #[test]
    fn a_delivery_and_a_problem_are_shown() {
        let mut lines = Lines::new(TimeZone::UTC, true);
        let broken = view("github.acme.api.push.-", "application/json", "x");
        let line = plain_line(&mut lines, &broken);
        assert!(line.starts_with("2026-01-31 18:00:00  72d3162e      "), "{line}");
        assert!(line.contains("  WL0355: the payload of delivery 72d3162e cannot be read"), "{line}");
    }

    #[test]
    fn long_summaries_are_cut() {
        assert_eq!(shorten(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
        assert_eq!(shorten("short"), "short");
    }
}
