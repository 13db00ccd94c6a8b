//! Names that become file names, subjects and configuration: kept to what is safe in all three.

use crate::Error;

const LONGEST: usize = 64;

/// Refuses what could leave a directory, split a subject or need quoting somewhere.
pub(crate) fn check(kind: &'static str, name: &str) -> Result<(), Error> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > LONGEST {
        "it is longer than 64 bytes"
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        "only letters, digits, '_' and '-' are allowed"
    } else if name.starts_with('-') {
        "it starts with '-'"
    } else {
        return Ok(());
    };
    Err(Error::Name { kind, name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        for good in ["GITHUB", "a", "acme-2", "A_b-9"] {
            assert!(check("account", good).is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "a.b", "a b", "-x", "ä", "a\n", "*", ">", &"x".repeat(65)] {
            assert_eq!(check("account", bad).unwrap_err().code(), "WL0204", "{bad}");
        }
    }
}
