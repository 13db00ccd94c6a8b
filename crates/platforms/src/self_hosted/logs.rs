//! The logs of the parts on this machine: which there are, their last lines, and what comes.
//!
//! ```text
//! <directory>/log/<part>.log            what the part writes to standard output and error
//! <directory>/log/nats-<part>.log       what a nats-server logs by itself, once it has read its configuration
//! <directory>/log/<either>.…            what was put aside when a file had grown large
//! ```
//!
//! A file that is followed is looked at again and again: the number of its inode tells whether another one has taken its
//! place, which happens when a log is put aside. What was in the old one is read to its end first.

use jiff::Timestamp;
use jiff::civil::DateTime;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How much is read at once from the end of a file.
const BLOCK: u64 = 64 * 1024;
/// A line is cut here: something that never ends its line must not fill the memory.
const LONGEST: usize = 1024 * 1024;
/// What a nats-server's own log begins with.
const OWN: &str = "nats-";

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was written, if it says so.
    pub time: Option<Timestamp>,
    /// The line, without its end.
    pub text: String,
}

impl Line {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        Self { time: time_of(&text), text }
    }
}

/// When a line was written: `2026-01-02T03:04:05.6Z …` as our own programs write it, or `[7] 2026/01/02 03:04:05.678901 […`
/// as nats-server does (in UTC, since its configuration says so).
fn time_of(line: &str) -> Option<Timestamp> {
    if let Some(rest) = line.strip_prefix('[') {
        let (_, rest) = rest.split_once("] ")?;
        let mut words = rest.splitn(3, ' ');
        let (day, time) = (words.next()?, words.next()?);
        let civil: DateTime = format!("{}T{time}", day.replace('/', "-")).parse().ok()?;
        return jiff::tz::Offset::UTC.to_timestamp(civil).ok();
    }
    line.split(' ').next()?.parse().ok()
}

/// The files of each part that has a log in `directory`, by the part's name.
#[must_use]
pub fn parts(directory: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let names = fs::read_dir(directory).into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".log").map(str::to_owned)
    });
    grouped(names.collect())
        .into_iter()
        .map(|(part, stems)| {
            (part, stems.into_iter().map(|stem| directory.join(format!("{stem}.log"))).collect())
        })
        .collect()
}

/// `nats-hub-0` is the server's own log of the part `hub-0`, if there is such a part.
fn grouped(mut stems: Vec<String>) -> BTreeMap<String, Vec<String>> {
    stems.sort_unstable();
    let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for stem in &stems {
        let part = stem.strip_prefix(OWN).filter(|rest| stems.iter().any(|other| other == rest));
        parts.entry(part.unwrap_or(stem).to_owned()).or_default().push(stem.clone());
    }
    parts
}

/// The parts that a word means: a part itself, every server of a cluster, or what `windlass status` calls it.
#[must_use]
pub fn meant<'a>(word: &str, parts: &[&'a str]) -> Vec<&'a str> {
    let is_server = |part: &str| cluster_of(part).is_some();
    let word = match word {
        "supervisor" => "agent",
        other => other,
    };
    let all = |matches: &dyn Fn(&str) -> bool| -> Vec<&'a str> {
        parts.iter().copied().filter(|part| matches(part)).collect()
    };
    let forms: [&dyn Fn(&str) -> bool; 4] = [
        &|part| part == word,
        &|part| cluster_of(part) == Some(word),
        &|part| word.strip_prefix(OWN) == Some(part),
        &|part| word == "nats" && is_server(part),
    ];
    forms.into_iter().map(all).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The cluster of a server's part: `hub` of `hub-0`.
#[must_use]
pub fn cluster_of(part: &str) -> Option<&str> {
    let (cluster, index) = part.rsplit_once('-')?;
    index.parse::<u32>().is_ok().then_some(cluster)
}

/// Puts lines of several logs in the order in which they were written. A line that says no time belongs to the one before it.
#[must_use]
pub fn merge<T>(logs: Vec<(T, Vec<Line>)>) -> Vec<(T, Line)>
where
    T: Copy,
{
    let mut all = Vec::new();
    for (part, lines) in logs {
        let mut last = Timestamp::MIN;
        for line in lines {
            last = line.time.unwrap_or(last).max(last);
            all.push((last, (part, line)));
        }
    }
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().map(|(_, line)| line).collect()
}

/// One log file that is read on.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    at: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Begins at the file's end, with its last lines; what was put aside counts as its beginning. A file that is not there
    /// may come later.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn begin(path: &Path, last: usize) -> io::Result<(Self, Vec<Line>)> {
        let mut follower = Self::whole(path);
        let mut lines = Vec::new();
        if follower.open()? {
            let (found, rest) =
                follower.file.as_mut().map_or(Ok(Default::default()), |file| tail(file, last))?;
            follower.at = match &mut follower.file {
                Some(file) => file.stream_position()?,
                None => 0,
            };
            (lines, follower.rest) = (found, rest);
        }
        for aside in put_aside(path) {
            if lines.len() >= last {
                break;
            }
            let (mut older, _) = tail(&mut File::open(aside)?, last - lines.len())?;
            older.append(&mut lines);
            lines = older;
        }
        Ok((follower, lines))
    }

    /// Begins at the file's beginning. It may come later.
    #[must_use]
    pub fn whole(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, inode: 0, at: 0, rest: Vec::new() }
    }

    fn open(&mut self) -> io::Result<bool> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        self.inode = file.metadata()?.ino();
        self.at = 0;
        self.file = Some(file);
        Ok(true)
    }

    /// Every line that has come since.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        // Looked at before it is read: what is written into an old file after this, nobody writes.
        let now = fs::metadata(&self.path).ok();
        self.read_on(&mut lines)?;
        match now {
            Some(now) if self.file.is_none() || now.ino() != self.inode => {
                self.flush(&mut lines);
                if self.open()? {
                    self.read_on(&mut lines)?;
                }
            }
            // Somebody has emptied it.
            Some(now) if now.len() < self.at => {
                self.flush(&mut lines);
                if let Some(file) = &mut self.file {
                    file.seek(SeekFrom::Start(0))?;
                    self.at = 0;
                }
                self.read_on(&mut lines)?;
            }
            _ => {}
        }
        Ok(lines)
    }

    /// The line that has no end yet, if there is one.
    pub fn unfinished(&mut self) -> Option<Line> {
        (!self.rest.is_empty()).then(|| Line::of(&std::mem::take(&mut self.rest)))
    }

    fn flush(&mut self, lines: &mut Vec<Line>) {
        lines.extend(self.unfinished());
    }

    fn read_on(&mut self, lines: &mut Vec<Line>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut block = vec![0; BLOCK as usize];
        loop {
            let count = file.read(&mut block)?;
            if count == 0 {
                return Ok(());
            }
            self.at += count as u64;
            for piece in block[..count].split_inclusive(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(piece);
                if piece.ends_with(b"\n") || self.rest.len() > LONGEST {
                    lines.push(Line::of(&std::mem::take(&mut self.rest)));
                }
            }
        }
    }
}

/// The last lines of a file, and what follows the last end of a line. The file is left at its end.
fn tail(file: &mut File, last: usize) -> io::Result<(Vec<Line>, Vec<u8>)> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut at = end;
    let mut bytes: Vec<u8> = Vec::new();
    let mut ends = 0;
    while at > 0 && ends <= last {
        let size = BLOCK.min(at);
        at -= size;
        file.seek(SeekFrom::Start(at))?;
        let mut block = vec![0; size as usize];
        file.read_exact(&mut block)?;
        ends += block.iter().filter(|byte| **byte == b'\n').count();
        block.append(&mut bytes);
        bytes = block;
    }
    file.seek(SeekFrom::Start(end))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let rest = bytes.split_off(whole);
    let all: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let from = all.len().saturating_sub(last);
    Ok((all[from..].iter().map(|line| Line::of(line)).collect(), rest))
}

/// What was put aside of a log, the newest first.
fn put_aside(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let prefix = format!("{name}.");
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|other| other.starts_with(&prefix)))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    fn append(path: &Path, text: &str) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let ours = time_of("2026-01-02T03:04:05.678901Z  INFO started").unwrap();
        let servers = time_of("[17] 2026/01/02 03:04:05.678901 [INF] Server is ready").unwrap();
        assert_eq!(ours, servers);
        for line in ["", "panic: x", "[17]", "[17] x y", "nats-server: no such file"] {
            assert_eq!(time_of(line), None, "{line}");
        }
    }

    #[test]
    fn a_servers_own_log_is_its_parts() {
        let stems = ["agent", "hub-0", "nats-hub-0", "nats-x", "receiver"].map(str::to_owned);
        let parts = grouped(stems.to_vec());
        assert_eq!(parts["hub-0"], ["hub-0", "nats-hub-0"]);
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["agent", "hub-0", "nats-x", "receiver"]);
    }

    #[test]
    fn words_mean_parts_clusters_and_what_status_says() {
        let parts = ["agent", "hub-0", "hub-1", "receiver", "west-0"];
        let meant = |word| meant(word, &parts);
        assert_eq!(meant("hub-1"), ["hub-1"]);
        assert_eq!(meant("hub"), ["hub-0", "hub-1"]);
        assert_eq!(meant("nats"), ["hub-0", "hub-1", "west-0"]);
        assert_eq!(meant("nats-hub-0"), ["hub-0"]);
        assert_eq!(meant("supervisor"), ["agent"]);
        assert!(meant("hub-2").is_empty());
    }

    #[test]
    fn lines_of_several_logs_come_in_order() {
        let line = |text: &str| Line::of(text.as_bytes());
        let a = vec![line("2026-01-01T00:00:01Z a1"), line("  and more"), line("2026-01-01T00:00:03Z a3")];
        let b = vec![line("[1] 2026/01/01 00:00:02.000000 [INF] b2")];
        let merged = merge(vec![("a", a), ("b", b)]);
        let order: Vec<&str> = merged.iter().map(|(part, _)| *part).collect();
        assert_eq!(order, ["a", "a", "b", "a"]);
    }

    #[test]
    fn the_last_lines_reach_into_what_was_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        append(&directory.path().join("x.log.1"), "1\n2\n3\n");
        append(&path, "4\n5\nhalf");
        let (mut follower, lines) = Follower::begin(&path, 3).unwrap();
        assert_eq!(texts(&lines), ["3", "4", "5"]);
        append(&path, " and half\n6\n");
        assert_eq!(texts(&follower.read().unwrap()), ["half and half", "6"]);
        assert!(follower.read().unwrap().is_empty());
        assert_eq!(texts(&Follower::begin(&path, 1).unwrap().1), ["6"]);
        assert!(Follower::begin(&path, 0).unwrap().1.is_empty());
    }

    #[test]
    fn more_than_a_block_is_read_from_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let text: String = (0..40_000).map(|number| format!("line {number}\n")).collect();
        append(&path, &text);
        let (_, lines) = Follower::begin(&path, 20_000).unwrap();
        assert_eq!((lines.len(), lines[0].text.as_str()), (20_000, "line 20000"));
        assert_eq!(Follower::begin(&path, 90_000).unwrap().1.len(), 40_000);
    }

    #[test]
    fn following_survives_rotation_emptying_and_absence() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let (mut follower, lines) = Follower::begin(&path, 5).unwrap();
        assert!(lines.is_empty());
        append(&path, "first\n");
        assert_eq!(texts(&follower.read().unwrap()), ["first"]);
        append(&path, "last of the old\nunended");
        fs::rename(&path, directory.path().join("x.log.1")).unwrap();
        append(&path, "new\n");
        assert_eq!(texts(&follower.read().unwrap()), ["last of the old", "unended", "new"]);
        fs::remove_file(&path).unwrap();
        assert!(follower.read().unwrap().is_empty());
        append(&path, "once more\n");
        assert_eq!(texts(&follower.read().unwrap()), ["once more"]);
        File::create(&path).unwrap();
        append(&path, "new\n");
        assert_eq!(texts(&follower.read().unwrap()), ["new"]);
    }
}
