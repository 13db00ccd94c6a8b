//! A mistake in the file, and all of them together.

use crate::{code, render};
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;

/// One mistake: where it is, what is wrong, what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The stable code, `WL0104`; its page is `docs/errors/WL0104.md`.
    pub code: &'static str,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in characters.
    pub column: usize,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub remedy: String,
}

/// Every mistake of a file: at least one, sorted by position.
///
/// It remembers the file's text to quote from it, so its `Debug` is written by hand: the text may hold a secret, and
/// only [`render`](Mistakes::render) knows which parts to mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Mistakes {
    pub(crate) file_name: String,
    pub(crate) source: String,
    /// Byte ranges of the source that are never shown; sorted, and apart from each other.
    pub(crate) masked: Vec<Range<usize>>,
    pub(crate) list: Vec<Mistake>,
}

/// A mistake that does not know its line and column yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) code: &'static str,
    pub(crate) span: Range<usize>,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl Mistakes {
    /// `None` where nothing was found.
    pub(crate) fn new(
        file_name: &str,
        source: &str,
        mut found: Vec<Found>,
        masked: Vec<Range<usize>>,
    ) -> Option<Self> {
        if found.is_empty() {
            return None;
        }
        found.sort_by(|a, b| {
            (a.span.start, a.code, a.span.end, &a.problem).cmp(&(
                b.span.start,
                b.code,
                b.span.end,
                &b.problem,
            ))
        });
        found.dedup_by(|a, b| a.code == b.code && a.span == b.span && a.problem == b.problem);
        let list = place(source, found);
        Some(Self { file_name: file_name.to_owned(), source: source.to_owned(), masked: merge(masked), list })
    }

    /// A mistake of the whole file, which is not quoted.
    pub(crate) fn single(file_name: &str, code: &'static str, problem: String, remedy: String) -> Self {
        let mistake = Mistake { code, line: 1, column: 1, span: 0..0, problem, remedy };
        Self {
            file_name: file_name.to_owned(),
            source: String::new(),
            masked: Vec::new(),
            list: vec![mistake],
        }
    }

    /// The file stops being UTF-8 at the byte `valid`. Only what comes before is kept.
    pub(crate) fn not_utf8(source: &[u8], valid: usize, file_name: &str) -> Self {
        let before = String::from_utf8_lossy(&source[..valid]);
        let remedy = "save the file as UTF-8; in most editors that is a setting of \"Save as\"".to_owned();
        let problem = match source.get(valid) {
            Some(byte) => format!("the byte 0x{byte:02X} is not UTF-8 here"),
            None => "the file is not UTF-8".to_owned(),
        };
        let found = Found { code: code::NOT_UTF8, span: valid..valid, problem, remedy };
        let list = place(&before, vec![found]);
        let masked = crate::mask::lexical(&before);
        Self { file_name: file_name.to_owned(), source: before.into_owned(), masked, list }
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The mistakes, by position.
    #[must_use]
    pub fn as_slice(&self) -> &[Mistake] {
        &self.list
    }

    /// The mistakes, by position.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.list.iter()
    }

    /// How many there are: at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The first one's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.list.first().map_or(code::SYNTAX, |mistake| mistake.code)
    }

    /// What a person reads: each mistake with its place, its line of the file and what to do; at the end how many.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        render::render(self, colour)
    }

    /// What a script reads: an array of `{code, file, line, column, start, end, problem, remedy}`, where `start` and
    /// `end` are byte offsets.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |mistake: &Mistake| {
            json!({
                "code": mistake.code,
                "file": self.file_name,
                "line": mistake.line,
                "column": mistake.column,
                "start": mistake.span.start,
                "end": mistake.span.end,
                "problem": mistake.problem,
                "remedy": mistake.remedy,
            })
        };
        self.list.iter().map(one).collect()
    }
}

impl<'m> IntoIterator for &'m Mistakes {
    type Item = &'m Mistake;
    type IntoIter = std::slice::Iter<'m, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render::render(self, false))
    }
}

impl fmt::Debug for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mistakes")
            .field("file_name", &self.file_name)
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Mistakes {}

/// Gives each its line and column in one walk through the file; `found` is sorted.
fn place(source: &str, found: Vec<Found>) -> Vec<Mistake> {
    let (mut at, mut line, mut column) = (0, 1, 1);
    let mut list = Vec::with_capacity(found.len());
    for Found { code, span, problem, remedy } in found {
        let start = floor(source, span.start);
        let end = floor(source, span.end).max(start);
        for character in source[at..start].chars() {
            match character {
                '\n' => (line, column) = (line + 1, 1),
                // A byte order mark is no character of the first line.
                '\u{feff}' if line == 1 && column == 1 => {}
                _ => column += 1,
            }
        }
        at = start;
        list.push(Mistake { code, line, column, span: start..end, problem, remedy });
    }
    list
}

/// The nearest start of a character at or before `index`.
pub(crate) fn floor(source: &str, index: usize) -> usize {
    let mut index = index.min(source.len());
    while !source.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}
