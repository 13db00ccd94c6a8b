//! How mistakes look to a person: the place, the line of the file with what is meant underlined, and what to do.
//!
//! The quoted line is data from outside. It is cut to a window around the place, control characters are replaced, and
//! masked ranges (secrets) appear as `***` whatever their length.

use crate::mistake::{Mistake, Mistakes, floor};
use crate::suggest::visible;
use std::fmt::Write as _;
use std::ops::Range;

/// What of a long line is shown on each side of the place.
const BEFORE: usize = 60;
const AFTER: usize = 100;

struct Style {
    error: &'static str,
    strong: &'static str,
    gutter: &'static str,
    help: &'static str,
    plain: &'static str,
}

const COLOUR: Style = Style {
    error: "\x1b[1;31m",
    strong: "\x1b[1m",
    gutter: "\x1b[1;34m",
    help: "\x1b[1;36m",
    plain: "\x1b[0m",
};
const PLAIN: Style = Style { error: "", strong: "", gutter: "", help: "", plain: "" };

pub(crate) fn render(mistakes: &Mistakes, colour: bool) -> String {
    let style = if colour { COLOUR } else { PLAIN };
    let mut out = String::new();
    for mistake in mistakes {
        one(&mut out, mistakes, mistake, &style);
        out.push('\n');
    }
    let many = if mistakes.len() == 1 { "mistake" } else { "mistakes" };
    let Style { strong, plain, .. } = style;
    let file = shown(&mistakes.file_name);
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(out, "{strong}{} {many} in {file}{plain}", mistakes.len());
    out
}

fn one(out: &mut String, mistakes: &Mistakes, mistake: &Mistake, style: &Style) {
    let Style { error, strong, gutter, help, plain } = style;
    let Mistake { code, line, column, span, problem, remedy } = mistake;
    let width = line.to_string().len();
    let _ = writeln!(out, "{error}error[{code}]{plain}{strong}: {problem}{plain}");
    let file = shown(&mistakes.file_name);
    let _ = writeln!(out, "{:width$}{gutter}-->{plain} {file}:{line}:{column}", "");
    let quote = quote(&mistakes.source, span, &mistakes.masked);
    if !mistakes.source.is_empty() {
        let _ = writeln!(out, "{:width$} {gutter}|{plain}", "");
        let _ = writeln!(out, "{gutter}{line} |{plain} {}", quote.text.trim_end());
        let carets = "^".repeat(quote.length);
        let _ = writeln!(
            out,
            "{:width$} {gutter}|{plain} {:start$}{error}{carets}{plain}",
            "",
            "",
            start = quote.start
        );
    }
    let _ = writeln!(out, "{help}help{plain}: {remedy}");
}

fn shown(name: &str) -> String {
    name.chars().map(visible).collect()
}

struct Quote {
    text: String,
    start: usize,
    length: usize,
}

/// The line at `span`, fit to be shown, and where in it the span is. A span over several lines ends with its first.
fn quote(source: &str, span: &Range<usize>, masked: &[Range<usize>]) -> Quote {
    let line_start = source[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[span.start..].find('\n').map_or(source.len(), |at| span.start + at);
    let from = floor(source, span.start.saturating_sub(BEFORE)).max(line_start);
    let to = floor(source, span.start + AFTER).min(line_end);
    let end = span.end.min(to).max(span.start);

    let mut text = String::new();
    if from > line_start {
        text.push('…');
    }
    let (mut width, mut start, mut finish) = (text.chars().count(), 0, 0);
    let mut mask_shown = None;
    for (offset, character) in source[from..to].char_indices() {
        let at = from + offset;
        if at == span.start {
            start = width;
        }
        if at == end {
            finish = width;
        }
        let mask = masked.partition_point(|range| range.end <= at);
        let piece = match masked.get(mask) {
            Some(range) if range.contains(&at) && mask_shown == Some(mask) => String::new(),
            Some(range) if range.contains(&at) => {
                mask_shown = Some(mask);
                "***".to_owned()
            }
            _ if character == '\t' => "    ".to_owned(),
            _ if matches!(character, '\u{feff}' | '\r') => String::new(),
            _ => visible(character).to_string(),
        };
        width += piece.chars().count();
        text.push_str(&piece);
    }
    if span.start >= to {
        start = width;
    }
    if end >= to {
        finish = width;
    }
    if to < line_end {
        text.push('…');
    }
    Quote { text, start, length: finish.saturating_sub(start).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_range_shows_neither_its_text_nor_its_length() {
        let source = "secret = \"hunter2\", x = 1";
        let quote = quote(source, &(20..21), std::slice::from_ref(&(9..18)));
        assert_eq!(quote.text, "secret = ***, x = 1");
        assert_eq!((quote.start, quote.length), (14, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = format!("a = \"{}ä{}\"", "x".repeat(500), "y".repeat(500));
        let quote = quote(&source, &(505..507), &[]);
        assert!(quote.text.starts_with("…x") && quote.text.ends_with("y…"), "{}", quote.text);
        assert_eq!(quote.text.chars().nth(quote.start), Some('ä'));
        assert_eq!(quote.length, 1);
    }

    #[test]
    fn tabs_and_escapes_are_made_harmless() {
        let quote = quote("\tkey\u{1b} = 1\r\nnext", &(1..4), &[]);
        assert_eq!(quote.text, "    key\u{fffd} = 1");
        assert_eq!((quote.start, quote.length), (4, 3));
    }
}
