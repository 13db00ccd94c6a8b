//! "Did you mean": the nearest of the known words, if it is near enough to be worth saying.

/// Longer words are no slips of the finger, and comparing them costs the product of their lengths.
const LONGEST: usize = 64;

/// The nearest of `known` to `word`.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &plain(candidate));
    let known: Vec<&str> = known.into_iter().collect();
    let slip = known.iter().map(|candidate| (distance(candidate), *candidate));
    if let Some((_, meant)) = slip.filter(|(distance, _)| *distance <= allowed).min() {
        return Some(meant);
    }
    // A longer or shorter form of the same word: `sync_interval` for `sync`.
    const SHORTEST: usize = 4;
    let same_stem = |candidate: &&&str| {
        let candidate = plain(candidate);
        word.len().min(candidate.len()) >= SHORTEST
            && (word.starts_with(&candidate) || candidate.starts_with(&word))
    };
    if let Some(meant) = known.iter().filter(same_stem).max_by_key(|candidate| candidate.len()) {
        return Some(meant);
    }
    // An abbreviation: `max_msgs` for `max_messages`.
    const LIKE: f64 = 0.9;
    let likeness = |candidate: &str| strsim::jaro_winkler(&word, &plain(candidate));
    let alike = known.iter().map(|candidate| (likeness(candidate), *candidate));
    let best = alike.filter(|(likeness, _)| *likeness >= LIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, candidate)| candidate)
}

/// `a string`, `an integer`
pub(crate) fn with_article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

/// `` `a`, `b` and `c` ``
pub(crate) fn list<'k>(words: impl IntoIterator<Item = &'k str>, last: &str) -> String {
    let words: Vec<String> = words.into_iter().map(echo).collect();
    match words.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// Text from the file inside a message: short, on one line, and without anything that moves a terminal's cursor.
pub(crate) fn echo(text: &str) -> String {
    const SHOWN: usize = 48;
    let shown: String = text.chars().take(SHOWN).map(visible).collect();
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    format!("`{shown}{more}`")
}

/// A character as it may be shown: control characters and those that turn the writing direction are replaced.
pub(crate) fn visible(character: char) -> char {
    match character {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        character if character.is_control() => '\u{fffd}',
        character => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["servers", "platform", "max_payload", "host"];
        assert_eq!(nearest("servrs", known), Some("servers"));
        assert_eq!(nearest("max-payload", known), Some("max_payload"));
        assert_eq!(nearest("HOST", known), Some("host"));
        assert_eq!(nearest("max_payl", known), Some("max_payload"));
        assert_eq!(nearest("hostname", known), Some("host"));
        assert_eq!(nearest("max_msgs", ["max_bytes", "max_messages", "max_age"]), Some("max_messages"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn text_of_the_file_cannot_move_the_cursor() {
        assert_eq!(echo("a\u{1b}[2Jb\n\u{202e}"), "`a\u{fffd}[2Jb\u{fffd}\u{fffd}`");
        assert_eq!(echo(&"x".repeat(60)).chars().count(), 51);
    }
}
