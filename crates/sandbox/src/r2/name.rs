//! Keys as file names, and what a bucket or a key may be called. Pure.
//!
//! A name must be legible where that is possible, at most 255 bytes, and different for different keys even on a file
//! system that does not tell `A` from `a`.

use ring::digest::{SHA256, digest};
use std::fmt::Write;

/// Keys that would give a longer name are cut, and told apart by their hash.
const LONGEST: usize = 180;

/// The most bytes of a key.
pub const LONGEST_KEY: usize = 1024;

/// The file name of a key.
pub fn file_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => {
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    if name.len() <= LONGEST {
        // Never `.` or `..`, and never a name that the system would hide.
        return match name.strip_prefix('.') {
            Some(rest) => format!("%2e{rest}"),
            None => name,
        };
    }
    name.truncate(LONGEST - 66);
    format!("{name}~{}", hex::encode(digest(&SHA256, key.as_bytes())))
}

/// The key that has this file name; `None` when the name does not hold all of it.
pub fn key_of(name: &str) -> Option<String> {
    if name.contains('~') {
        return None;
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Which of the 256 locks guards this key.
pub fn lock_of(bucket: &str, key: &str) -> u8 {
    let mut text = Vec::with_capacity(bucket.len() + key.len() + 1);
    text.extend_from_slice(bucket.as_bytes());
    text.push(b'/');
    text.extend_from_slice(key.as_bytes());
    digest(&SHA256, &text).as_ref().first().copied().unwrap_or_default()
}

/// Whether a bucket may be called so: R2 allows 3 to 63 lower-case letters, digits and hyphens, none of them at an end.
pub fn is_bucket_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legible_and_harmless() {
        assert_eq!(file_name("nats/terraform.tfstate"), "nats%2fterraform.tfstate");
        assert_eq!(file_name("env:/A/k"), "env%3a%2f%41%2fk");
        assert_eq!(file_name(".."), "%2e.");
        assert_eq!(file_name("."), "%2e");
        for key in ["nats/terraform.tfstate", "env:/A/k", "..", "é~%"] {
            assert_eq!(key_of(&file_name(key)).as_deref(), Some(key));
        }
        assert_eq!(key_of(&file_name(&"x".repeat(500))), None);
    }

    #[test]
    fn names_fit_and_differ() {
        let (a, b) = ("x".repeat(1023) + "a", "x".repeat(1023) + "b");
        assert!(file_name(&a).len() <= 255);
        assert_ne!(file_name(&a), file_name(&b));
        assert!(file_name(&"\u{1f600}".repeat(256)).len() <= 255);
        assert_ne!(file_name("A"), file_name("a"));
        assert_ne!(file_name("%41"), file_name("A"));
    }

    #[test]
    fn bucket_names() {
        for name in ["abc", "a-1", &"a".repeat(63)] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in ["", "ab", "-ab", "ab-", "Abc", "a.b", "a_b", "../", &"a".repeat(64)] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }
}
