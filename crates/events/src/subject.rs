//! The subject of an event: `github.<owner>.<repository>.<event>.<action>`.
//!
//! A token must survive NATS's rules and still be readable: bytes that NATS gives a meaning to (and `%`) are
//! percent-encoded, everything else stays as GitHub wrote it. The encoding can be undone without doubt.

use crate::payload::Names;
use crate::refusal::Refusal;

/// The longest token, in bytes after encoding. NATS limits a protocol line to 4 KiB by default; four tokens of this
/// length leave ample room.
pub const MAX_TOKEN: usize = 255;

/// What stands where GitHub names nothing.
pub const ABSENT: &str = "-";

/// The subject of an event.
///
/// # Errors
/// [`Refusal::NameTooLong`] when a name has more than [`MAX_TOKEN`] bytes once encoded.
pub fn subject(prefix: &str, event: &str, names: &Names<'_>) -> Result<String, Refusal> {
    let mut subject = String::with_capacity(96);
    subject.push_str(prefix);
    let tokens = [names.owner.as_deref(), names.repository.as_deref(), Some(event), names.action.as_deref()];
    for token in tokens {
        subject.push('.');
        let start = subject.len();
        push_token(&mut subject, token.unwrap_or_default());
        if subject.len() - start > MAX_TOKEN {
            return Err(Refusal::NameTooLong);
        }
    }
    Ok(subject)
}

/// One name as a token. An empty name becomes [`ABSENT`], and the name `-` itself `%2D`.
pub fn encode_token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    push_token(&mut token, name);
    token
}

/// The name behind a token: `None` for [`ABSENT`], and for what is not a token that [`encode_token`] makes.
pub fn decode_token(token: &str) -> Option<String> {
    if token == ABSENT {
        return None;
    }
    let mut name = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let digits = rest.get(..2)?;
            name.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = &rest[2..];
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

fn push_token(out: &mut String, name: &str) {
    match name {
        "" => out.push_str(ABSENT),
        ABSENT => out.push_str("%2D"),
        // White space beyond ASCII is nothing to NATS, but some clients split protocol lines at it.
        _ => push_encoded(out, name, |character| {
            character <= ' '
                || matches!(character, '.' | '*' | '>' | '%' | '\u{7f}')
                || character.is_whitespace()
        }),
    }
}

/// Appends `text`, with the characters that `reserved` names percent-encoded, byte by byte, in upper-case hex.
pub(crate) fn push_encoded(out: &mut String, text: &str, reserved: impl Fn(char) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut utf8 = [0; 4];
    for character in text.chars() {
        if !reserved(character) {
            out.push(character);
            continue;
        }
        for &byte in character.encode_utf8(&mut utf8).as_bytes() {
            out.push('%');
            out.push(HEX[usize::from(byte >> 4)] as char);
            out.push(HEX[usize::from(byte & 15)] as char);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_are_safe_and_can_be_decoded(name in ".*") {
            let token = encode_token(&name);
            prop_assert!(!token.is_empty());
            let forbidden = |byte: u8| byte <= b' ' || byte == 0x7f || b".*>".contains(&byte);
            prop_assert!(!token.bytes().any(forbidden));
            let decoded = decode_token(&token).unwrap_or_default();
            prop_assert_eq!(decoded, name);
        }
    }

    #[test]
    fn tokens_that_nobody_encodes_are_not_decoded() {
        for token in ["%", "%2", "%zz", "%FF"] {
            assert_eq!(decode_token(token), None, "{token}");
        }
    }
}
