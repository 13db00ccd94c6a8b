//! Subjects and how they relate: which are the same messages, which contain others.

use super::{Invalid, as_text};
use crate::code;
use crate::suggest::echo;
use crate::value::Text;

/// A subject as a stream may take it: tokens between dots, `*` for any one token, `>` at the end for all that follow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

/// Longer ones make every message heavier, and no line of the protocol may have more than 4 KiB.
const LONGEST: usize = 255;

impl Subject {
    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For tests that need more than a stream may take.
    #[cfg(test)]
    pub(crate) fn unchecked(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether some message could have a subject that both match.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        overlap(&self.0, &other.0)
    }

    /// Whether every message that `other` matches is matched by this one.
    #[must_use]
    pub fn covers(&self, other: &str) -> bool {
        let (mut mine, mut theirs) = (self.0.split('.'), other.split('.'));
        loop {
            match (mine.next(), theirs.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(token)) if token != ">" => {}
                (Some(one), Some(token)) if one == token => {}
                _ => return false,
            }
        }
    }
}

fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// The server and its clients speak through these among themselves; a stream that stored them would answer for them.
const RESERVED: [&str; 4] = ["$JS.>", "$SYS.>", "$NRG.>", "_INBOX.>"];

/// What NATS takes as a subject to subscribe to.
fn well_formed(text: &str) -> Result<(), Invalid> {
    let bad = |why: &str, remedy: &str| {
        Err(Invalid::new(code::SUBJECT, format!("{} is not a subject: {why}", echo(text)), remedy))
    };
    if text.is_empty() {
        return bad("it is empty", "write one such as \"orders.>\"");
    }
    if text.len() > LONGEST {
        return bad("it has more than 255 bytes", "write a shorter one; wildcards help: \"orders.>\"");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad("it has white space in it", "write tokens between dots: \"orders.new\"");
    }
    let mut tokens = text.split('.').peekable();
    while let Some(token) = tokens.next() {
        let last = tokens.peek().is_none();
        match token {
            "" => return bad("a token is empty", "write one dot between tokens, none at the ends"),
            ">" if !last => {
                return bad("`>` stands before the end", "use `*` for one token, `>` only at the end");
            }
            ">" | "*" => {}
            _ if token.contains(['*', '>']) => {
                return bad(
                    "a wildcard is part of a token",
                    "a wildcard stands alone between dots: \"orders.*.new\"",
                );
            }
            _ => {}
        }
    }
    Ok(())
}

impl Text for Subject {
    const WHAT: &'static str = "a subject such as \"github.>\"";

    fn from_text(text: &str) -> Result<Self, Invalid> {
        well_formed(text)?;
        if let Some(reserved) = RESERVED.iter().find(|reserved| overlap(reserved, text)) {
            let problem = format!("{} takes in {reserved}, which belongs to NATS itself", echo(text));
            return Err(Invalid::new(
                code::RESERVED,
                problem,
                "begin with a token of your own: \"orders.>\"",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("stand.in".to_owned())
    }
}
as_text!(Subject);

/// Subjects that a permission is about: as [`Subject`], and NATS's own besides (`$KV.FLAGS.>`, `_INBOX.>`, `>`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectPattern(String);

impl SubjectPattern {
    /// The subjects as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for SubjectPattern {
    const WHAT: &'static str = "a subject such as \"orders.>\"";

    fn from_text(text: &str) -> Result<Self, Invalid> {
        well_formed(text).map(|()| Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("stand.in".to_owned())
    }
}
as_text!(SubjectPattern);

/// A line of text for whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(String);

/// JetStream's own limit of a description.
const LONGEST_LINE: usize = 4 * 1024;

impl Line {
    /// For lines that are known to be good.
    pub(crate) fn unchecked(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Line {
    const WHAT: &'static str = "a line such as \"orders of the shop\"";

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let bad = |problem: &str, remedy: &str| Err(Invalid::new(code::EMPTY, problem, remedy));
        match text {
            "" => bad("the line is empty", "write something, or leave the key out"),
            _ if text.chars().any(char::is_control) => Err(Invalid::new(
                code::NAME,
                "the text has a line break or control character in it",
                "write one line",
            )),
            _ if text.len() > LONGEST_LINE => Err(Invalid::new(
                code::OUT_OF_RANGE,
                "the line has more than 4096 bytes",
                "write a shorter one",
            )),
            _ => Ok(Self(text.to_owned())),
        }
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }

    fn stand_in() -> Self {
        Self("…".to_owned())
    }
}
as_text!(Line);

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> Subject {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_nats_takes_is_a_subject() {
        for good in ["github.>", "a", "a.*.b", "a.*", "grüße.>", "a-b_c.%2D", "$KV.x.>"] {
            assert!(good.parse::<Subject>().is_ok(), "{good}");
        }
        for bad in
            ["", ".", "a.", ".a", "a..b", "a.>.b", "a.b*", "a.>b", "a b", "a\t", "a\u{a0}b", &"x".repeat(256)]
        {
            assert_eq!(bad.parse::<Subject>().unwrap_err().code, code::SUBJECT, "{bad}");
        }
        for reserved in [">", "*.>", "$JS.API.>", "$SYS.x", "_INBOX.>", "*.x"] {
            assert_eq!(reserved.parse::<Subject>().unwrap_err().code, code::RESERVED, "{reserved}");
        }
    }

    #[test]
    fn overlap_goes_both_ways() {
        for (one, other, expected) in [
            ("a.>", "a.b", true),
            ("a.>", "a", false),
            ("a.*", "*.b", true),
            ("a.*", "a.b.c", false),
            ("a.*.c", "a.b.*", true),
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.*.>", "a.b", false),
            ("a.*.>", "a.b.c", true),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), overlap(one, other), "{one} {other}");
        }
    }

    #[test]
    fn covering_is_overlap_with_nothing_left_over() {
        for (one, other, expected) in [
            ("github.>", "github.>", true),
            ("github.*.>", "github.>", false),
            ("github.*", "github.>", false),
            ("github.>", "github", false),
            ("a.>", "a.*.b", true),
            ("a.*", "a.>", false),
        ] {
            assert_eq!(subject(one).covers(other), expected, "{one} {other}");
        }
    }
}
