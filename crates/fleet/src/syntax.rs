//! TOML with its mistakes: the `toml` crate's recovering parser, and the translation of what it reports.
//!
//! Recovery is good but for two things. After a line with a key and no `=` the crate builds no more values, and an array
//! that is not closed swallows the rest of the file. What is behind either is blanked before the parse that counts, byte
//! for byte, so that every position stays what it was.

use crate::code;
use crate::mask::{is_assignment, is_header};
use crate::mistake::{Found, floor};
use crate::suggest::{echo, with_article};
use crate::value::Node;
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// What the parser said.
#[derive(Clone)]
pub(crate) struct Errors {
    pub(crate) found: Vec<Found>,
    /// Where the lines begin that are not TOML, sorted.
    pub(crate) damaged: Vec<usize>,
    /// Something could not be understood, so what is absent in the tree may be present in the file.
    pub(crate) broken: bool,
    /// It may even have been a table's header.
    pub(crate) headers_lost: bool,
}

/// The source with what the parser does not get over blanked.
pub(crate) struct Repaired<'s> {
    text: Cow<'s, str>,
    /// What was wrong with it.
    found: Vec<Found>,
    /// Where the blanked lines begin.
    blanked: Vec<usize>,
}

/// A file with more than this in it is no fleet file, and each costs a walk through it.
const REPAIRS: usize = 32;

/// Blanks, until there are none, the lines after which the parser would give up, and arrays that are not closed.
pub(crate) fn repair(source: &str) -> Repaired<'_> {
    const FATAL: [&str; 3] = ["key with no value", "missing value for key", "recursion limit"];
    let mut repaired = Repaired { text: Cow::Borrowed(source), found: Vec::new(), blanked: Vec::new() };
    let lines = Lines::of(source);
    for _ in 0..REPAIRS {
        let text = &repaired.text;
        let (_, errors) = DeTable::parse_recoverable(text);
        let fatal = |error: &Error| FATAL.iter().any(|fatal| error.message().starts_with(fatal));
        let mut ranges = Vec::new();
        let mut found = Vec::new();
        for error in errors.iter().filter(|error| fatal(error)) {
            let at = error.span().unwrap_or(0..0).start;
            ranges.push(lines.around(at));
            found.extend(translate(error, source));
        }
        if ranges.is_empty() {
            let unclosed = errors.iter().find_map(|error| unclosed_array(error, text, &lines));
            let Some(range) = unclosed else { break };
            let problem = "this is not TOML: the array is not closed".to_owned();
            let remedy = "end it with `]`".to_owned();
            let end = range.start + text[range.clone()].trim_end().len();
            found.push(Found { code: code::SYNTAX, span: end..end, problem, remedy });
            ranges.push(range);
        }
        let mut bytes = text.as_bytes().to_vec();
        for range in ranges {
            let lines = text[range.clone()].split_inclusive('\n').scan(range.start, |start, line| {
                let this = *start;
                *start += line.len();
                Some(this)
            });
            repaired.blanked.extend(lines);
            bytes[range].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        repaired.found.append(&mut found);
        // Whole characters were replaced by spaces, so this is UTF-8 still.
        let Ok(text) = String::from_utf8(bytes) else { break };
        repaired.text = Cow::Owned(text);
    }
    repaired
}

/// Where a line that begins a key or table stands inside an array, the array before it was not closed: its lines.
fn unclosed_array(error: &Error, text: &str, lines: &Lines) -> Option<Range<usize>> {
    let at = error.span().filter(|_| error.message().starts_with(MISSING_ITEM_COMMA))?.start;
    let line = lines.around(at);
    let begins = |line: &str| is_header(line.trim_start()) || is_assignment(line);
    if !text[line.start..at].trim().is_empty() || !begins(&text[line.clone()]) {
        return None;
    }
    let mut end = line.start;
    loop {
        let before = lines.around(end.checked_sub(1)?);
        let opens = |value: &str| value.trim_start().starts_with('[');
        match text[before.clone()].split_once('=') {
            Some((_, value)) if is_assignment(&text[before.clone()]) => {
                return opens(value).then_some(before.start..line.start);
            }
            _ => end = before.start,
        }
    }
}

/// Parses what [`repair`] left of the source.
pub(crate) fn parse<'t>(repaired: &'t Repaired<'_>, source: &str) -> (Node<'t>, Errors) {
    let (root, errors) = DeTable::parse_recoverable(&repaired.text);
    let mut found: Vec<Found> = errors.iter().filter_map(|error| translate(error, source)).collect();
    found.extend(repaired.found.iter().cloned());
    let lines = Lines::of(source);
    let damage = |found: &&Found| found.code == code::SYNTAX;
    let line_start = |found: &Found| lines.around(found.span.start).start;
    let mut damaged: Vec<usize> = found.iter().filter(damage).map(line_start).collect();
    damaged.extend(&repaired.blanked);
    damaged.sort_unstable();
    let broken = !damaged.is_empty();
    let headers_lost = found.iter().filter(damage).any(|found| {
        let line = &source[lines.around(found.span.start)];
        !line.contains('=') || line.trim_start().starts_with('[')
    });
    let errors = Errors { found: first_of_each_line(found, &lines), damaged, broken, headers_lost };
    (Spanned::new(0..0, DeValue::Table(root.into_inner())), errors)
}
/// One slip makes the parser stumble several times on the same line, and an inline table that is not closed on every
/// line that follows; only the first complaint is worth reading.
fn first_of_each_line(mut found: Vec<Found>, lines: &Lines) -> Vec<Found> {
    found.sort_by_key(|found| found.span.start);
    let mut last = None;
    let mut unclosed: Option<String> = None;
    found.retain(|found| {
        if found.code != code::SYNTAX {
            return true;
        }
        let line = lines.around(found.span.start);
        let again = last.as_ref() == Some(&line);
        last = Some(line);
        if again {
            return false;
        }
        let open = [MISSING_ITEM_COMMA, MISSING_ENTRY_COMMA].iter().any(|text| found.problem.ends_with(text));
        let still = open && unclosed.as_ref() == Some(&found.problem);
        unclosed = open.then(|| found.problem.clone());
        !still
    });
    found
}

const MISSING_ITEM_COMMA: &str = "missing comma between array elements";
const MISSING_ENTRY_COMMA: &str = "missing comma between key-value pairs";

fn translate(error: &Error, source: &str) -> Option<Found> {
    let span = error.span().unwrap_or(0..0);
    let span = floor(source, span.start)..floor(source, span.end.max(span.start));
    let message = error.message();
    let key = || echo(source.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']));
    if message == "duplicate key" {
        let problem = format!("{} is given twice", key());
        let remedy = "keep one of the two; a table's keys all stand under one header".to_owned();
        return Some(Found { code: code::DUPLICATE_KEY, span, problem, remedy });
    }
    if let Some(rest) = message.strip_prefix("cannot extend value of type ") {
        let kind = rest.trim_end_matches(" with a dotted key");
        let problem = format!("{} is already {}, so nothing can be added to it", key(), with_article(kind));
        let remedy = "write all of it in one place: one table, or one value".to_owned();
        return Some(Found { code: code::DUPLICATE_KEY, span, problem, remedy });
    }
    let (what, expected) = match message.split_once(", expected ") {
        Some((what, expected)) => (what, Some(expected)),
        None => (message, None),
    };
    let (what, expected) = match (what, expected) {
        ("string values must be quoted", _) if span.is_empty() => ("there is no value", None),
        (what, Some("`\"`" | "`'`" | "`\"\"\"`" | "`'''`")) if what.ends_with("string") => {
            ("the string is not closed", expected)
        }
        other => other,
    };
    let remedy = match (what, expected) {
        ("there is no value", _) => "write a value after the `=`".to_owned(),
        ("the string is not closed", Some(quote)) => format!("end it with {quote}"),
        ("string values must be quoted", _) => "put the value in double quotes".to_owned(),
        ("key with no value", _) => "write `key = value`, or `[name]` for a table".to_owned(),
        (MISSING_ITEM_COMMA, _) => "add a comma, or close the array before this with `]`".to_owned(),
        (MISSING_ENTRY_COMMA, _) => "add a comma, or close the inline table before this with `}`".to_owned(),
        (_, Some("nothing")) => "remove it".to_owned(),
        (_, Some(expected)) => format!("expected here: {expected}"),
        (_, None) => "see https://toml.io/en/v1.1.0 for what TOML looks like".to_owned(),
    };
    Some(Found { code: code::SYNTAX, span, problem: format!("this is not TOML: {what}"), remedy })
}

/// Where the lines of a text begin, so that finding one does not walk the text.
pub(crate) struct Lines {
    starts: Vec<usize>,
    end: usize,
}

impl Lines {
    pub(crate) fn of(text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { starts, end: text.len() }
    }

    /// The line that `at` is on, without its line break.
    pub(crate) fn around(&self, at: usize) -> Range<usize> {
        let after = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[after.max(1) - 1];
        start..self.starts.get(after).map_or(self.end, |next| next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_line() {
        let lines = Lines::of("ab\n\nc\n");
        let around: Vec<_> = (0..=7).map(|at| lines.around(at)).collect();
        assert_eq!(around, [0..2, 0..2, 0..2, 3..3, 4..5, 4..5, 6..6, 6..6]);
        assert_eq!(Lines::of("").around(0), 0..0);
    }
}
