//! Every code that the programs can print has its page in `docs/errors/`, every page has a code, and a page has the form that
//! a reader in trouble relies on: what happened, why, and what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use windlass_tests::{Fleet, repository};

fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
}

/// The codes that stand in a source as `"WL0305"`, with a place for each.
fn codes_in_sources() -> BTreeMap<String, PathBuf> {
    let mut sources = Vec::new();
    for package in fs::read_dir(repository().join("crates")).unwrap() {
        files(&package.unwrap().path().join("src"), "rs", &mut sources);
    }
    files(&repository().join("edge/src"), "ts", &mut sources);
    let mut codes = BTreeMap::new();
    for path in sources {
        for quoted in fs::read_to_string(&path).unwrap().split('"') {
            if quoted.len() == 6 && is_code(quoted) {
                codes.insert(quoted.to_owned(), path.clone());
            }
        }
    }
    codes
}

fn is_code(text: &str) -> bool {
    text.strip_prefix("WL")
        .is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn pages() -> BTreeMap<String, String> {
    let mut pages = Vec::new();
    files(&repository().join("docs/errors"), "md", &mut pages);
    let name = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    pages
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).unwrap()))
        .filter(|(name, _)| is_code(name))
        .collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let (codes, pages) = (codes_in_sources(), pages());
    assert!(codes.len() >= 60, "only {} codes were found in the sources", codes.len());
    let without_page: Vec<_> = codes.iter().filter(|(code, _)| !pages.contains_key(*code)).collect();
    assert!(without_page.is_empty(), "codes without a page: {without_page:?}");
    let without_code: Vec<_> = pages.keys().filter(|page| !codes.contains_key(*page)).collect();
    assert!(without_code.is_empty(), "pages without a code: {without_code:?}");
}

#[test]
fn every_page_says_what_why_and_what_to_do() {
    for (code, page) in pages() {
        let mut lines = page.lines();
        let title = lines.next().unwrap();
        assert!(
            title.strip_prefix(&format!("# {code}: ")).is_some_and(|title| title.len() > 5),
            "{code}: {title}"
        );
        let parts: Vec<&str> = page.split("\n## ").collect();
        let headings: Vec<&str> = parts[1..].iter().filter_map(|part| part.lines().next()).collect();
        assert_eq!(headings, ["Why", "What to do"], "{code}");
        for part in parts {
            let text: Vec<&str> = part.lines().skip(1).filter(|line| !line.trim().is_empty()).collect();
            assert!(!text.is_empty(), "{code}: nothing under {part:?}");
        }
    }
}

/// The pages are a part of the binary: the one under test was built with those of this tree.
#[test]
fn explain_prints_the_page_of_every_code() {
    let directory = tempfile::tempdir().unwrap();
    let explain = |arguments: &[&str]| {
        let arguments = [&["explain", "--format", "json"], arguments].concat();
        let output = Fleet::command_in(directory.path(), &arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let pages = pages();
    let listed: Vec<String> =
        explain(&[]).as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, pages.keys().cloned().collect::<Vec<_>>());
    for (code, page) in &pages {
        assert_eq!(explain(&[code])["page"], *page, "{code}");
    }
}
