//! What became of each event, added up.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::super::error::Error;
use super::super::line::plain;
use crate::context::Context;
use crate::output::{self, GREEN, RED, paint};

/// After so many in a row that the target did not take, the rest is not tried.
const HOPELESS: u64 = 10;
/// Failures that are named one by one.
const MOST_NAMED: usize = 100;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Taken {
        /// The target had it already.
        duplicate: bool,
    },
    /// The target refused it, and would do so again.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It could not be delivered.
    Failed {
        /// Why not.
        reason: String,
        /// Whether that is the target's doing.
        target: bool,
    },
    /// It was not tried, since the target takes nothing.
    NotTried,
}

/// What became of which event.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its place in the stream.
    pub sequence: u64,
    /// Its delivery GUID.
    pub delivery: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// An event that was not taken, for scripts.
#[derive(Debug, Serialize)]
struct Missing {
    sequence: u64,
    delivery: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    message: String,
}

/// The sum.
#[derive(Debug, Default)]
pub struct Tally {
    sent: u64,
    duplicates: u64,
    refused: u64,
    failed: u64,
    not_tried: u64,
    in_a_row: u64,
    missing: Vec<Missing>,
    /// What is under way, with its time.
    under_way: BTreeMap<u64, Timestamp>,
    /// What was not taken: the first of it.
    first_missing: Option<(u64, Timestamp)>,
}

#[derive(Serialize)]
struct Summary<'a> {
    sent: u64,
    duplicates: u64,
    refused: u64,
    failed: u64,
    not_tried: u64,
    /// Where to go on, if anything is missing.
    since: Option<String>,
    missing: &'a [Missing],
}

impl Tally {
    /// An event is on its way.
    pub fn begin(&mut self, sequence: u64, time: Timestamp) {
        self.under_way.insert(sequence, time);
    }

    /// It got an end. What a person should hear of it is returned.
    pub fn add(&mut self, report: Report) -> Option<String> {
        let time = self.under_way.remove(&report.sequence);
        let target_failed = matches!(report.outcome, Outcome::Failed { target: true, .. });
        self.in_a_row = match report.outcome {
            Outcome::NotTried => self.in_a_row,
            _ if target_failed => self.in_a_row + 1,
            _ => 0,
        };
        let (status, message) = match report.outcome {
            Outcome::Taken { duplicate } => {
                self.sent += 1;
                self.duplicates += u64::from(duplicate);
                return None;
            }
            Outcome::Refused { status, message } => {
                self.refused += 1;
                (Some(status), message)
            }
            Outcome::Failed { reason, .. } => {
                self.failed += 1;
                (None, reason)
            }
            Outcome::NotTried => {
                self.not_tried += 1;
                self.miss(report.sequence, time);
                return None;
            }
        };
        self.miss(report.sequence, time);
        if self.missing.len() >= MOST_NAMED {
            return None;
        }
        let said = status.map(|status| format!("{status} ")).unwrap_or_default();
        let line = format!("{} (#{}): {said}{}", report.delivery, report.sequence, plain(&message));
        let line = line.trim_end().to_owned();
        self.missing.push(Missing { sequence: report.sequence, delivery: report.delivery, status, message });
        Some(line)
    }

    fn miss(&mut self, sequence: u64, time: Option<Timestamp>) {
        if let Some(time) = time
            && self.first_missing.is_none_or(|(first, _)| sequence < first)
        {
            self.first_missing = Some((sequence, time));
        }
    }

    /// Whether the target takes nothing any more.
    pub const fn is_hopeless(&self) -> bool {
        self.in_a_row >= HOPELESS
    }

    /// Where to go on: the first that was not taken, or is still under way.
    pub fn since(&self) -> Option<Timestamp> {
        let waiting = self.under_way.first_key_value().map(|(sequence, time)| (*sequence, *time));
        [self.first_missing, waiting].into_iter().flatten().min().map(|(_, time)| time)
    }

    fn not_taken(&self) -> u64 {
        self.refused + self.failed + self.not_tried
    }

    /// The failure, if not everything was taken.
    pub fn failure(&self) -> Option<Error> {
        (self.not_taken() > 0).then(|| Error::Incomplete {
            missing: self.not_taken(),
            total: self.sent + self.not_taken(),
            stopped: if self.is_hopeless() {
                "; the rest was not tried, since the target took none of the last ones"
            } else {
                ""
            },
            since: self.since().map(|time| time.to_string()).unwrap_or_default(),
        })
    }

    /// Prints the sum.
    pub fn print(&self, context: &Context) -> io::Result<()> {
        let mut out = output::out();
        if context.json() {
            let since = self.since().map(|time| time.to_string());
            let summary = Summary {
                sent: self.sent,
                duplicates: self.duplicates,
                refused: self.refused,
                failed: self.failed,
                not_tried: self.not_tried,
                since,
                missing: &self.missing,
            };
            serde_json::to_writer_pretty(&mut out, &summary)?;
            writeln!(out)
        } else {
            writeln!(out, "{}", self.words())
        }
    }

    fn words(&self) -> String {
        let mut words = paint(GREEN, format_args!("{} sent", self.sent));
        if self.duplicates > 0 {
            words.push_str(&format!(" ({} of them were there already)", self.duplicates));
        }
        for (count, what) in
            [(self.refused, "refused"), (self.failed, "failed"), (self.not_tried, "not tried")]
        {
            let text = format!("{count} {what}");
            match (count, what) {
                (0, "not tried") => {}
                (0, _) => words.push_str(&format!(", {text}")),
                _ => words.push_str(&format!(", {}", paint(RED, text))),
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tally: &mut Tally, sequence: u64, outcome: Outcome) -> Option<String> {
        let time = Timestamp::from_second(i64::try_from(sequence).unwrap()).unwrap();
        tally.begin(sequence, time);
        tally.add(Report { sequence, delivery: format!("d{sequence}"), outcome })
    }

    #[test]
    fn outcomes_add_up() {
        let mut tally = Tally::default();
        assert_eq!(add(&mut tally, 1, Outcome::Taken { duplicate: true }), None);
        assert_eq!(add(&mut tally, 2, Outcome::Taken { duplicate: false }), None);
        assert!(tally.failure().is_none());
        let refused = Outcome::Refused { status: 401, message: "WL0305 no".into() };
        assert_eq!(add(&mut tally, 4, refused).as_deref(), Some("d4 (#4): 401 WL0305 no"));
        let failed = Outcome::Failed { reason: "reset".into(), target: true };
        assert_eq!(add(&mut tally, 3, failed).as_deref(), Some("d3 (#3): reset"));
        let words = anstream::adapter::strip_str(&tally.words()).to_string();
        assert_eq!(words, "2 sent (1 of them were there already), 1 refused, 1 failed");
        let failure = tally.failure().unwrap();
        assert_eq!(failure.to_string(), "2 of 4 events were not taken");
        assert!(failure.help().contains("--since 1970-01-01T00:00:03Z"), "{}", failure.help());
    }

    #[test]
    fn a_target_that_takes_nothing_is_given_up() {
        let mut tally = Tally::default();
        let failed = |target| Outcome::Failed { reason: "refused".into(), target };
        for sequence in 1..HOPELESS {
            add(&mut tally, sequence, failed(true));
        }
        assert!(!tally.is_hopeless());
        // A payload that is missing here says nothing about the target.
        add(&mut tally, 50, failed(false));
        for sequence in 100..100 + HOPELESS {
            add(&mut tally, sequence, failed(true));
        }
        assert!(tally.is_hopeless());
        add(&mut tally, 200, Outcome::NotTried);
        assert!(tally.is_hopeless());
        assert!(tally.failure().unwrap().to_string().contains("was not tried"));
    }

    #[test]
    fn what_is_under_way_is_where_to_go_on() {
        let mut tally = Tally::default();
        tally.begin(7, Timestamp::from_second(7).unwrap());
        add(&mut tally, 8, Outcome::NotTried);
        assert_eq!(tally.since(), Timestamp::from_second(7).ok());
    }
}
