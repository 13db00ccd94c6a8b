//! `windlass logs`: what the agent, the servers and the receiver have logged, and what they log.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::json;
use tokio::time::MissedTickBehavior;
use windlass_platforms::self_hosted::logs::{self, Follower, Line};

use crate::context::Context;
use crate::failure::{Error, Failure, INTERRUPTED};
use crate::output::{self, paint};
use crate::run_directory::RunDirectory;
use crate::signals::{End, Signals};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// One color a part, as long as there are enough.
const COLORS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Print what the agent, the servers and the receiver log.

Without PART, every part is shown. PART is a part as `windlass status` names it: agent, receiver, a server such as hub-0, \
or a cluster, for all of its servers. Lines of several parts are in the order in which they were written, each behind \
the name of its part. A nats-server's own log and what it wrote before it had read its configuration are one log.

With --follow it goes on until Ctrl-C, whether a part is started again, its log is put aside, or a part is new.";

const EXAMPLES: &str = "\
Examples:
  windlass logs                       the last lines of every part
  windlass logs receiver -n 100
  windlass logs hub --follow          every server of the cluster hub
  windlass logs --format json | jq -r 'select(.part == \"hub-0\") | .line'

With --format json each line is one object: part, time (null where the line says none) and line.

Exit codes: 0 the end was reached, or the reader of the output went away; 130 Ctrl-C.";

/// Arguments of `windlass logs`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Parts or clusters [default: every part]
    #[arg(value_name = "PART")]
    parts: Vec<String>,
    /// How many lines of each part to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::at(&context.directory).logs();
    let names = chosen(&args.parts, &directory)?;
    let mut reading = Reading { all: args.parts.is_empty(), directory, logs: Vec::new() };
    let mut signals = Signals::take()?;
    let began = reading.begin(&names, args.lines)?;
    let mut printer = Printer::new(context);
    printer.print(&reading, logs::merge(began))?;
    if !args.follow {
        let unfinished = reading.unfinished();
        printer.print(&reading, unfinished)?;
        printer.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    printer.flush()?;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone = std::pin::pin!(output::reader_gone());
    loop {
        tokio::select! {
            end = signals.next() => {
                printer.flush()?;
                return Ok(match end {
                    End::Interrupted => ExitCode::from(INTERRUPTED),
                    End::Terminated => ExitCode::SUCCESS,
                });
            }
            () = &mut gone => return Ok(ExitCode::SUCCESS),
            _ = looks.tick() => {
                let came = logs::merge(reading.next()?);
                printer.print(&reading, came)?;
                printer.flush()?;
            }
        }
    }
}

/// The parts that were asked for, by name.
fn chosen(asked: &[String], directory: &Path) -> Result<Vec<String>, Error> {
    let parts = logs::parts(directory);
    let known: Vec<&str> = parts.keys().map(String::as_str).collect();
    if known.is_empty() {
        return Err(Error::NoLogs { directory: directory.to_owned() });
    }
    if asked.is_empty() {
        return Ok(parts.into_keys().collect());
    }
    let mut names = BTreeSet::new();
    for word in asked {
        let meant = logs::meant(word, &known);
        if meant.is_empty() {
            return Err(Error::UnknownPart {
                asked: word.clone(),
                directory: directory.to_owned(),
                known: known.into_iter().map(str::to_owned).collect(),
            });
        }
        names.extend(meant.into_iter().map(str::to_owned));
    }
    Ok(names.into_iter().collect())
}

/// The logs that are read.
struct Reading {
    /// Whether parts that are new are read, too.
    all: bool,
    directory: PathBuf,
    /// Each part's name, with its files.
    logs: Vec<(String, Vec<(PathBuf, Follower)>)>,
}

impl Reading {
    fn unreadable(path: &Path, cause: io::Error) -> Error {
        Error::Directory { action: "read", path: path.to_owned(), cause }
    }

    fn begin(&mut self, names: &[String], last: usize) -> Result<Vec<(usize, Vec<Line>)>, Error> {
        let mut parts = logs::parts(&self.directory);
        let mut began = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let mut files = Vec::new();
            let mut lines = Vec::new();
            for path in parts.remove(name).unwrap_or_default() {
                let (follower, found) =
                    Follower::begin(&path, last).map_err(|cause| Self::unreadable(&path, cause))?;
                lines.push(((), found));
                files.push((path, follower));
            }
            let merged: Vec<Line> = logs::merge(lines).into_iter().map(|((), line)| line).collect();
            let from = merged.len().saturating_sub(last);
            began.push((at, merged[from..].to_vec()));
            self.logs.push((name.clone(), files));
        }
        Ok(began)
    }

    fn unfinished(&mut self) -> Vec<(usize, Line)> {
        let files = self.logs.iter_mut().enumerate();
        files
            .flat_map(|(at, (_, files))| {
                files.iter_mut().filter_map(move |(_, file)| Some((at, file.unfinished()?)))
            })
            .collect()
    }

    fn next(&mut self) -> Result<Vec<(usize, Vec<Line>)>, Error> {
        // A file that is new is read from its beginning.
        for (name, paths) in logs::parts(&self.directory) {
            let known = self.logs.iter().position(|(known, _)| *known == name);
            let at = match known {
                Some(at) => at,
                None if self.all => {
                    self.logs.push((name, Vec::new()));
                    self.logs.len() - 1
                }
                None => continue,
            };
            let files = &mut self.logs[at].1;
            for path in paths {
                if files.iter().all(|(known, _)| *known != path) {
                    files.push((path.clone(), Follower::whole(&path)));
                }
            }
        }
        let mut came = Vec::new();
        for (at, (_, files)) in self.logs.iter_mut().enumerate() {
            for (path, follower) in files {
                came.push((at, follower.read().map_err(|cause| Self::unreadable(path, cause))?));
            }
        }
        Ok(came)
    }
}

/// Prints lines in the wanted format.
struct Printer {
    json: bool,
    out: BufWriter<anstream::AutoStream<io::Stdout>>,
}

impl Printer {
    fn new(context: &Context) -> Self {
        Self { json: context.json(), out: BufWriter::new(output::out()) }
    }

    /// Prints lines, each of the part with that index in `reading`.
    fn print(&mut self, reading: &Reading, lines: Vec<(usize, Line)>) -> io::Result<()> {
        let names = || reading.logs.iter().map(|(name, _)| name.as_str());
        let width = names().map(str::len).max().unwrap_or(0);
        for (at, line) in lines {
            let name = names().nth(at).unwrap_or_default();
            if self.json {
                let time = line.time.map(|time| time.to_string());
                writeln!(self.out, "{}", json!({ "part": name, "time": time, "line": line.text }))?;
            } else if reading.logs.len() == 1 {
                writeln!(self.out, "{}", harmless(&line.text))?;
            } else {
                let style = Style::new().fg_color(Some(COLORS[at % COLORS.len()].into()));
                writeln!(self.out, "{} {}", paint(style, format!("{name:<width$} |")), harmless(&line.text))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What others wrote into a log must not steer the terminal.
fn harmless(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for character in line.chars() {
        match character {
            '\t' => text.push('\t'),
            control if control.is_control() => text.extend(control.escape_default()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\tb\u{1b}[2Jc\u{9b}é"), "a\tb\\u{1b}[2Jc\\u{9b}é");
    }
}
