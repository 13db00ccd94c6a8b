//! The result of `ingest`: medians, ratios, and whether the targets are met. Pure: numbers in, text out.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::clock::{Outcome, Part};
use crate::ingest::Contender;
use crate::machine::Machine;

/// At least this many times the Node peer's webhooks a second.
const TIMES_PEER: f64 = 5.0;
/// At least this share of the raw limit.
const SHARE_OF_RAW: f64 = 0.6;
/// Less than this many MiB resident.
const RESIDENT_MIB: f64 = 64.0;
/// With more connections, at least this share of the throughput with the fewest.
const SHARE_WITH_MORE: f64 = 0.9;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The server's default: acknowledged means stored, synced within two minutes
    Standard,
    /// `sync_interval: always`: acknowledged means synced
    Strict,
    /// The server is away and the receiver's spool takes the events, synced
    Spool,
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Standard => "standard",
            Self::Strict => "strict",
            Self::Spool => "spool",
        })
    }
}

/// One contender under one load: the medians of its turns.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// What was measured.
    pub variant: Variant,
    /// Who was measured.
    pub contender: Contender,
    /// How many sent at the same time.
    pub connections: usize,
    /// Webhooks a second: the median, and the least and the most of a turn.
    pub rate: f64,
    /// The slowest turn.
    pub rate_least: f64,
    /// The fastest turn.
    pub rate_most: f64,
    /// Milliseconds that half of the answers took at most.
    pub p50_ms: f64,
    /// Milliseconds that 99 of 100 answers took at most.
    pub p99_ms: f64,
    /// Milliseconds of the slowest answer of any turn.
    pub max_ms: f64,
    /// Peak resident memory of the receiver so far, in MiB.
    pub peak_mib: Option<f64>,
    /// Microseconds of processor time for one webhook: the load generator or raw publisher.
    pub load_us: f64,
    /// The same: the receiver.
    pub receiver_us: Option<f64>,
    /// The same: nats-server.
    pub server_us: f64,
    /// How often each status was answered, over all turns.
    pub statuses: BTreeMap<u16, u64>,
}

impl Cell {
    /// The medians of a contender's turns.
    pub fn median(
        variant: Variant,
        contender: Contender,
        connections: usize,
        turns: &[Outcome],
        peak_kib: Option<u64>,
    ) -> Self {
        let of = |value: &dyn Fn(&Outcome) -> f64| median(turns.iter().map(value).collect());
        let quantile = |q: f64| of(&|turn| turn.latency.value_at_quantile(q) as f64 / 1e3);
        let cpu = |part: Part| of(&|turn| turn.cpu_per_answer.get(&part).copied().unwrap_or_default());
        let rates = || turns.iter().map(|turn| turn.rate);
        let mut statuses = BTreeMap::new();
        for (status, count) in turns.iter().flat_map(|turn| &turn.statuses) {
            *statuses.entry(*status).or_default() += count;
        }
        Self {
            variant,
            contender,
            connections,
            rate: of(&|turn| turn.rate),
            rate_least: rates().fold(f64::INFINITY, f64::min),
            rate_most: rates().fold(0.0, f64::max),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            max_ms: turns.iter().map(|turn| turn.latency.max() as f64 / 1e3).fold(0.0, f64::max),
            peak_mib: peak_kib.map(|kib| kib as f64 / 1024.0),
            load_us: cpu(Part::Load),
            receiver_us: peak_kib.map(|_| cpu(Part::Receiver)),
            server_us: cpu(Part::Server),
            statuses,
        }
    }
}

/// The middle value; of an even number, the lower of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Windlass in relation to the others, under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// What was measured.
    pub variant: Variant,
    /// How many sent at the same time.
    pub connections: usize,
    /// Share of the raw limit.
    pub share_of_raw: Option<f64>,
    /// Times the Node peer.
    pub times_peer: Option<f64>,
    /// The slow answers (p99) as a share of the peer's.
    pub p99_share_of_peer: Option<f64>,
}

/// One target.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What is wanted.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Whether it is met.
    pub met: bool,
}

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub struct Ingest {
    machine: Machine,
    payload_bytes: usize,
    rounds: usize,
    seconds: f64,
    cells: Vec<Cell>,
    ratios: Vec<Ratio>,
    targets: Vec<Target>,
}

impl Ingest {
    /// Draws the conclusions from the cells.
    pub fn new(machine: Machine, payload: usize, rounds: usize, seconds: Duration, cells: Vec<Cell>) -> Self {
        let (ratios, targets) = (ratios(&cells), targets(&cells));
        Self {
            machine,
            payload_bytes: payload,
            rounds,
            seconds: seconds.as_secs_f64(),
            cells,
            ratios,
            targets,
        }
    }

    /// Whether every target was measured and met.
    pub fn meets_targets(&self) -> bool {
        self.targets.iter().all(|target| target.met)
    }

    /// The tables.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "## Ingest: webhooks into JetStream\n\n{}.", self.machine.line())?;
        writeln!(
            out,
            "Push payloads of {} bytes; {} turn(s) of {} s each, in turns, medians.\n",
            self.payload_bytes, self.rounds, self.seconds
        )?;
        writeln!(
            out,
            "| variant | connections | contender | webhooks/s | least–most | p50 ms | p99 ms | max ms | peak MiB | \
             CPU µs each: load | receiver | nats-server | answers |\n\
             | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
        )?;
        for cell in &self.cells {
            let statuses: Vec<String> =
                cell.statuses.iter().map(|(code, count)| format!("{count} × {code}")).collect();
            writeln!(
                out,
                "| {} | {} | {} | {:.0} | {:.0}–{:.0} | {:.2} | {:.2} | {:.1} | {} | {:.1} | {} | {:.1} | {} |",
                cell.variant,
                cell.connections,
                cell.contender,
                cell.rate,
                cell.rate_least,
                cell.rate_most,
                cell.p50_ms,
                cell.p99_ms,
                cell.max_ms,
                optional(cell.peak_mib, 1, ""),
                cell.load_us,
                optional(cell.receiver_us, 1, ""),
                cell.server_us,
                if cell.contender == Contender::Raw {
                    "acknowledged".to_owned()
                } else {
                    statuses.join(", ")
                },
            )?;
        }
        writeln!(
            out,
            "\n| variant | connections | of the raw limit | times the Node peer | p99 of the peer's |"
        )?;
        writeln!(out, "| --- | ---: | ---: | ---: | ---: |")?;
        for ratio in &self.ratios {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                ratio.variant,
                ratio.connections,
                optional(ratio.share_of_raw.map(|share| share * 100.0), 0, " %"),
                optional(ratio.times_peer, 1, "×"),
                optional(ratio.p99_share_of_peer.map(|share| share * 100.0), 0, " %"),
            )?;
        }
        writeln!(out, "\n| target | found | |\n| --- | --- | --- |")?;
        for Target { wanted, found, met } in &self.targets {
            writeln!(out, "| {wanted} | {found} | {} |", if *met { "met" } else { "missed" })?;
        }
        Ok(())
    }
}

fn optional(value: Option<f64>, digits: usize, unit: &str) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}{unit}"))
}

fn find(cells: &[Cell], variant: Variant, contender: Contender, connections: usize) -> Option<&Cell> {
    cells.iter().find(|cell| {
        cell.variant == variant && cell.contender == contender && cell.connections == connections
    })
}

fn ratios(cells: &[Cell]) -> Vec<Ratio> {
    let of_windlass = cells.iter().filter(|cell| cell.contender == Contender::Windlass);
    of_windlass
        .filter(|cell| cell.variant != Variant::Spool)
        .map(|cell| {
            let other = |contender| find(cells, cell.variant, contender, cell.connections);
            let (raw, node) = (other(Contender::Raw), other(Contender::Node));
            Ratio {
                variant: cell.variant,
                connections: cell.connections,
                share_of_raw: raw.map(|raw| cell.rate / raw.rate),
                times_peer: node.map(|node| cell.rate / node.rate),
                p99_share_of_peer: node.map(|node| cell.p99_ms / node.p99_ms),
            }
        })
        .collect()
}

/// The targets, read from the standard variant. What was not measured is not met.
fn targets(cells: &[Cell]) -> Vec<Target> {
    let standard = || cells.iter().filter(|cell| cell.variant == Variant::Standard);
    let fewest = standard().map(|cell| cell.connections).min().unwrap_or_default();
    let most = standard().map(|cell| cell.connections).max().unwrap_or_default();
    let at = |contender, connections| find(cells, Variant::Standard, contender, connections);
    let windlass = at(Contender::Windlass, fewest);
    let (raw, node) = (at(Contender::Raw, fewest), at(Contender::Node, fewest));
    let with_most = at(Contender::Windlass, most).filter(|_| most > fewest);
    let peak =
        cells.iter().filter(|cell| cell.contender == Contender::Windlass).filter_map(|cell| cell.peak_mib);
    let target = |wanted: String, found: Option<(String, bool)>| {
        let (found, met) = found.unwrap_or_else(|| ("not measured".to_owned(), false));
        Target { wanted, found, met }
    };
    vec![
        target(
            format!("at least {TIMES_PEER:.0} times the Node peer at {fewest} connections"),
            windlass
                .zip(node)
                .map(|(w, n)| (format!("{:.1}×", w.rate / n.rate), w.rate >= TIMES_PEER * n.rate)),
        ),
        target(
            "p99 below the Node peer's".to_owned(),
            windlass.zip(node).map(|(w, n)| {
                (format!("{:.2} ms against {:.2} ms", w.p99_ms, n.p99_ms), w.p99_ms < n.p99_ms)
            }),
        ),
        target(
            format!("at least {:.0} % of the raw limit", SHARE_OF_RAW * 100.0),
            windlass
                .zip(raw)
                .map(|(w, r)| (format!("{:.0} %", w.rate / r.rate * 100.0), w.rate >= SHARE_OF_RAW * r.rate)),
        ),
        target(
            format!("less than {RESIDENT_MIB:.0} MiB resident"),
            peak.max_by(f64::total_cmp).map(|mib| (format!("{mib:.1} MiB"), mib < RESIDENT_MIB)),
        ),
        target(
            format!(
                "with {most} connections at least {:.0} % of that with {fewest}",
                SHARE_WITH_MORE * 100.0
            ),
            windlass.zip(with_most).map(|(few, many)| {
                (format!("{:.0} %", many.rate / few.rate * 100.0), many.rate >= SHARE_WITH_MORE * few.rate)
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    fn outcome(rate: f64, microseconds: u64) -> Outcome {
        let mut latency = Histogram::new(3).unwrap();
        latency.record(microseconds).unwrap();
        Outcome {
            sent: 1,
            statuses: BTreeMap::from([(200, 1)]),
            rate,
            latency,
            cpu_per_answer: BTreeMap::from([(Part::Load, 10.0), (Part::Server, 20.0)]),
        }
    }

    fn cell(contender: Contender, connections: usize, rate: f64, microseconds: u64) -> Cell {
        let peak = (contender != Contender::Raw).then_some(30 * 1024);
        Cell::median(Variant::Standard, contender, connections, &[outcome(rate, microseconds)], peak)
    }

    fn report(cells: Vec<Cell>) -> Ingest {
        Ingest::new(Machine::default(), 7_000, 3, Duration::from_secs(5), cells)
    }

    #[test]
    fn the_median_is_the_middle_turn() {
        assert!((median(vec![9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
        assert!((median(vec![2.0, 1.0]) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn all_targets_met() {
        let report = report(vec![
            cell(Contender::Raw, 32, 30_000.0, 900),
            cell(Contender::Windlass, 32, 20_000.0, 1_500),
            cell(Contender::Node, 32, 3_500.0, 9_000),
            cell(Contender::Windlass, 128, 19_000.0, 6_000),
        ]);
        assert!(report.meets_targets(), "{}", report.markdown());
        assert!(
            report.markdown().contains("| standard | 32 | 67 % | 5.7× | 17 % |"),
            "{}",
            report.markdown()
        );
    }

    #[test]
    fn a_target_that_was_not_measured_is_missed() {
        let report =
            report(vec![cell(Contender::Raw, 32, 30_000.0, 900), cell(Contender::Node, 32, 3_500.0, 9_000)]);
        assert!(!report.meets_targets());
        assert!(report.markdown().contains("not measured"));
    }

    #[test]
    fn throughput_that_falls_with_connections_is_a_missed_target() {
        let report = report(vec![
            cell(Contender::Raw, 32, 30_000.0, 900),
            cell(Contender::Windlass, 32, 20_000.0, 1_500),
            cell(Contender::Node, 32, 3_500.0, 9_000),
            cell(Contender::Windlass, 128, 12_000.0, 6_000),
        ]);
        let missed: Vec<bool> = report.targets.iter().map(|target| target.met).collect();
        assert_eq!(missed, [true, true, true, true, false]);
    }
}
