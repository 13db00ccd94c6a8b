//! How mistakes look, to a person and to a script, byte for byte. `UPDATE_GOLDEN=1` writes what is there now.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::path::Path;
use windlass_fleet::{Mistakes, parse};

fn mistakes() -> Mistakes {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad/many-at-once.toml");
    parse(&std::fs::read_to_string(file).unwrap(), "windlass.toml").unwrap_err()
}

fn compare(name: &str, shown: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, shown).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == shown, "tests/golden/{name} is not\n{shown}");
}

#[test]
fn a_person_reads_place_problem_and_remedy() {
    compare("many-at-once.txt", &mistakes().render(false));
    assert_eq!(mistakes().to_string(), mistakes().render(false));
}

#[test]
fn colour_only_adds_colour() {
    let coloured = mistakes().render(true);
    compare("many-at-once.ansi", &coloured);
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    assert_eq!(plain, mistakes().render(false));
}

#[test]
fn a_script_reads_an_array() {
    let json = serde_json::to_string_pretty(&mistakes().to_json()).unwrap();
    compare("many-at-once.json", &format!("{json}\n"));
}
