//! JSON as text, in another layout and nothing else changed: numbers keep their digits, objects their order and
//! their repeated keys, strings their escapes. A tree would lose all of that.
//!
//! The input is JSON that was checked before.

use std::io::{self, Write};

const INDENT: &str = "  ";

/// Writes JSON without any white space between its tokens, so on one line.
pub fn compact(json: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut rest = json;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                rest = &rest[1..];
                continue;
            }
            b'"' => string_length(rest),
            _ => rest.iter().position(|byte| b" \t\r\n\"".contains(byte)).unwrap_or(rest.len()),
        };
        out.write_all(&rest[..length])?;
        rest = &rest[length..];
    }
    Ok(())
}

/// Writes JSON with one member or element a line, for people. Control characters that JSON allows in a string but a
/// terminal would obey are escaped.
pub fn pretty(json: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut level = 0_usize;
    let mut rest = json;
    let new_line = |level: usize, out: &mut dyn Write| -> io::Result<()> {
        out.write_all(b"\n")?;
        (0..level).try_for_each(|_| out.write_all(INDENT.as_bytes()))
    };
    while let Some(&byte) = rest.first() {
        let mut length = 1;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'{' | b'[' => {
                out.write_all(&[byte])?;
                let space = rest[1..].iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
                if matches!(rest.get(1 + space), Some(b'}' | b']')) {
                    out.write_all(&rest[1 + space..2 + space])?;
                    length = 2 + space;
                } else {
                    level += 1;
                    new_line(level, out)?;
                }
            }
            b'}' | b']' => {
                level = level.saturating_sub(1);
                new_line(level, out)?;
                out.write_all(&[byte])?;
            }
            b',' => {
                out.write_all(b",")?;
                new_line(level, out)?;
            }
            b':' => out.write_all(b": ")?,
            b'"' => {
                length = string_length(rest);
                write_string(&rest[..length], out)?;
            }
            _ => {
                length =
                    rest.iter().position(|byte| b" \t\r\n,:]}".contains(byte)).unwrap_or(rest.len()).max(1);
                out.write_all(&rest[..length])?;
            }
        }
        rest = &rest[length..];
    }
    out.write_all(b"\n")
}

/// The length of the string that begins here, with its quotation marks.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn write_string(string: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut clean = 0;
    let mut at = 0;
    while at < string.len() {
        // DEL, and the C1 controls, which are C2 80 to C2 9F in UTF-8.
        let (control, length) = match (string[at], string.get(at + 1)) {
            (0x7f, _) => (Some(0x7f), 1),
            (0xc2, Some(&next @ 0x80..=0x9f)) => (Some(next), 2),
            _ => (None, 1),
        };
        if let Some(control) = control {
            out.write_all(&string[clean..at])?;
            write!(out, "\\u{control:04x}")?;
            clean = at + length;
        }
        at += length;
    }
    out.write_all(&string[clean..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(json: &str) -> String {
        let mut out = Vec::new();
        compact(json.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn prettied(json: &str) -> String {
        let mut out = Vec::new();
        pretty(json.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const TEXT: &str = "{\n \"b\" : [ 1.50 , 1e400,true ], \"a b\":\"\\\" , {\\\\\", \"b\":{ }\r\n}\n";

    #[test]
    fn only_white_space_between_tokens_goes() {
        assert_eq!(compacted(TEXT), r#"{"b":[1.50,1e400,true],"a b":"\" , {\\","b":{}}"#);
        assert_eq!(compacted(" 7 "), "7");
    }

    #[test]
    fn people_get_lines() {
        let expected = "{\n  \"b\": [\n    1.50,\n    1e400,\n    true\n  ],\n  \"a b\": \"\\\" , {\\\\\",\n  \"b\": {}\n}\n";
        assert_eq!(prettied(TEXT), expected);
        assert_eq!(prettied("[ ]"), "[]\n");
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(prettied("\"a\u{9b}31m\u{7f}é\""), "\"a\\u009b31m\\u007fé\"\n");
    }
}
