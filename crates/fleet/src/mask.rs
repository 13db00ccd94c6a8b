//! Which parts of a damaged file may hold a secret.
//!
//! Where a value was read as a secret's source, the reader knows exactly what may be shown. Everywhere else (an unclosed
//! quote, a key given twice, a table that nobody reads), the text after a key that sounds like a secret is masked on
//! suspicion, up to the next key or table.

use std::ops::Range;

/// Whether a key's name suggests that a secret stands after it.
pub(crate) fn is_secret_key(key: &str) -> bool {
    const PARTS: [&str; 8] = ["secret", "token", "passw", "credential", "creds", "private", "apikey", "seed"];
    let plain: String = key.to_lowercase().chars().filter(|c| !matches!(c, '_' | '-')).collect();
    PARTS.iter().any(|part| plain.contains(part))
        || (plain.len() <= 16 && strsim::damerau_levenshtein(&plain, "secret") <= 2)
}

/// Every range that may hold a secret, judged by the text alone.
pub(crate) fn lexical(source: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut inside = false;
    let mut closing: Option<&str> = None;
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let text = line.trim_end();
        let indent = text.len() - text.trim_start().len();
        if let Some(quotes) = closing {
            ranges.push(start + indent..start + text.len());
            if text.contains(quotes) {
                closing = None;
            }
        } else {
            if inside && (is_header(text.trim_start()) || is_assignment(text)) {
                inside = false;
            }
            if inside {
                ranges.push(start + indent..start + text.len());
            } else if let Some(value) = secret_value(text) {
                inside = true;
                ranges.push(start + value..start + text.len());
                closing =
                    ["\"\"\"", "'''"].into_iter().find(|quotes| text[value..].matches(quotes).count() == 1);
            }
        }
        start += line.len();
    }
    ranges
}

/// Where in the line the value of the first secret begins.
fn secret_value(line: &str) -> Option<usize> {
    line.match_indices('=').find_map(|(at, _)| {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let key_start = before
            .rfind(|c: char| !is_key_character(c))
            .map_or(0, |last| last + before[last..].chars().next().map_or(0, char::len_utf8));
        let value = at + 1 + (line[at + 1..].len() - line[at + 1..].trim_start().len());
        is_secret_key(&before[key_start..]).then_some(value)
    })
}

fn is_key_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// Whether the line is a table's header.
pub(crate) fn is_header(line: &str) -> bool {
    let name = line.trim_start_matches('[');
    name.len() < line.len() && name.starts_with(is_key_character)
}

/// Whether the line begins with a key and `=`.
pub(crate) fn is_assignment(line: &str) -> bool {
    let key = |c: char| is_key_character(c) || matches!(c, '.' | '"' | '\'' | ' ' | '\t');
    line.split_once('=').is_some_and(|(before, _)| !before.trim().is_empty() && before.chars().all(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(source: &str) -> Vec<&str> {
        lexical(source).into_iter().map(|range| &source[range]).collect()
    }

    #[test]
    fn what_follows_a_secret_key_is_masked() {
        assert_eq!(masked("a = 1\nsecret = \"hunter2\nb = 2\n"), ["\"hunter2"]);
        assert_eq!(masked("secret = [\n  'one',\n  'two',\n[next]\n"), ["[", "'one',", "'two',"]);
        assert_eq!(masked("github = { x = 1, secret = 'two' }\n"), ["'two' }"]);
        assert_eq!(masked("\"api-token\" = x\n"), ["x"]);
        assert_eq!(masked("secert = x"), ["x"]);
        assert_eq!(masked("secret = \"\"\"\na = b\n\"\"\"\nb = 2"), ["\"\"\"", "a = b", "\"\"\""]);
        assert_eq!(masked("listen = 1\nevents = 2"), Vec::<&str>::new());
        assert_eq!(masked("ä=1\nüsecret = 1"), ["1"]);
    }
}
