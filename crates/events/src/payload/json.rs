//! A reader of JSON that keeps nothing: it checks that every byte belongs to well-formed JSON, and hands out the few
//! strings that are asked for, without copying them.
//!
//! A general parser spends most of its time on what the receiver throws away. This one reads the strings of a payload
//! (nearly all of it) eight bytes at a time, and is compared with `serde_json` on random input in the tests and
//! by a fuzz target: both must accept the same bytes.

use std::borrow::Cow;

/// Deeper nesting than this is refused; GitHub's payloads nest about ten deep.
const MAX_DEPTH: usize = 512;

/// The bytes are not well-formed JSON, or not of the kind that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// A string as it stands in the text, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

impl<'a> Raw<'a> {
    /// The string, or `None` when its escapes or its bytes make no text.
    pub(super) fn decode(self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return std::str::from_utf8(self.bytes).ok().map(Cow::Borrowed);
        }
        let mut quoted = Vec::with_capacity(self.bytes.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(self.bytes);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).ok().map(Cow::Owned)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<()> {
        self.white_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Malformed) }
    }

    /// Reads an object and calls `member` for each of its keys; `member` must read the value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &[u8]) -> Result<()>) -> Result<()> {
        self.members(|reader, key| {
            if key.escaped {
                let key = key.decode().unwrap_or_default();
                member(reader, key.as_bytes())
            } else {
                member(reader, key.bytes)
            }
        })
    }

    /// Reads a value as a string; any other value is read over and gives `None`.
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>> {
        self.white_space();
        if self.peek() == Some(b'"') { Ok(self.string()?.decode()) } else { self.value().map(|()| None) }
    }

    /// Whether the next value is an object.
    pub(super) fn is_object(&mut self) -> bool {
        self.white_space();
        self.peek() == Some(b'{')
    }

    /// Reads over any value.
    pub(super) fn value(&mut self) -> Result<()> {
        self.white_space();
        match self.peek().ok_or(Malformed)? {
            b'"' => self.string().map(|_| ()),
            b'{' => self.members(|reader, _| reader.value()),
            b'[' => self.elements(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn members(&mut self, mut member: impl FnMut(&mut Self, Raw<'a>) -> Result<()>) -> Result<()> {
        self.white_space();
        self.open(b'{')?;
        if self.take(b'}') {
            return self.close();
        }
        loop {
            self.white_space();
            let key = self.string()?;
            self.white_space();
            self.expect(b':')?;
            member(self, key)?;
            self.white_space();
            if self.take(b',') {
                continue;
            }
            self.expect(b'}')?;
            return self.close();
        }
    }

    fn elements(&mut self) -> Result<()> {
        self.open(b'[')?;
        if self.take(b']') {
            return self.close();
        }
        loop {
            self.value()?;
            self.white_space();
            if self.take(b',') {
                continue;
            }
            self.expect(b']')?;
            return self.close();
        }
    }

    fn open(&mut self, bracket: u8) -> Result<()> {
        self.expect(bracket)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Malformed);
        }
        self.white_space();
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.depth -= 1;
        Ok(())
    }

    fn string(&mut self) -> Result<Raw<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain(&self.text[self.at..]);
            match self.peek().ok_or(Malformed)? {
                b'"' => {
                    let bytes = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Raw { bytes, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                // A control character has to be escaped.
                _ => return Err(Malformed),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let kind = self.peek().ok_or(Malformed)?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4).ok_or(Malformed)?;
                self.at += 4;
                if digits.iter().all(u8::is_ascii_hexdigit) { Ok(()) } else { Err(Malformed) }
            }
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(Malformed) }
    }

    fn word(&mut self, word: &[u8]) -> Result<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Malformed);
        }
        self.at += word.len();
        Ok(())
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(Malformed) }
    }
}

/// How many bytes stand before the first quote, backslash or control character.
fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = text.as_chunks::<8>();
    for (number, bytes) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        // The lowest bit that is set belongs to the first byte below a bound, or equal to another; bits above it may
        // be wrong by a borrow.
        let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGH;
        let quote = below(word ^ (ONES * b'"' as u64), 1);
        let backslash = below(word ^ (ONES * b'\\' as u64), 1);
        let found = quote | backslash | below(word, 0x20);
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let end = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
    text.len() - rest.len() + end.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    fn accepts(text: &[u8]) -> bool {
        let mut reader = Reader::new(text);
        reader.value().and_then(|()| reader.end()).is_ok()
    }

    fn agrees(text: &[u8]) -> bool {
        accepts(text) == serde_json::from_slice::<IgnoredAny>(text).is_ok()
    }

    /// Texts that look like JSON, most of them nearly right.
    fn nearly_json() -> impl Strategy<Value = String> {
        let words = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\u00e9",
            "\\u12",
            "\\x",
            "a",
            "true",
            "nul",
            "null",
            "-",
            "0",
            "1",
            "01",
            ".",
            "e",
            "E+",
            "1.5e-7",
            " ",
            "\n",
            "\u{1}",
            "\"k\"",
            "\"k\":",
            "{\"a\":1}",
            "é",
        ];
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..12).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in nearly_json()) {
            prop_assert!(agrees(text.as_bytes()), "{text:?}");
        }

        #[test]
        fn a_changed_byte_is_judged_alike(at in 0..200_usize, byte: u8) {
            let mut text = br#"{"a":[1,-2.5e+3,true,null,"x\n\u00e9 plain text that is longer than eight bytes"],"b":{"c":{}}}"#.to_vec();
            let length = text.len();
            text[at % length] = byte;
            prop_assert!(agrees(&text), "{}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn plain_ends_where_a_slow_search_ends(text: Vec<u8>) {
            let slow = text.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            prop_assert_eq!(plain(&text), slow.unwrap_or(text.len()));
        }
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert!(accepts(format!("{}{}", "[".repeat(500), "]".repeat(500)).as_bytes()));
        assert!(!accepts("[".repeat(1_000_000).as_bytes()));
        assert!(!accepts(format!("{}{}", "[".repeat(600), "]".repeat(600)).as_bytes()));
    }
}
