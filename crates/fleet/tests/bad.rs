//! The bad files of `tests/bad`: each says in its first lines which mistakes are in it, by code, line and column.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use windlass_fleet::{CODES, parse_bytes};

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// `# expect: WL0104 12:1`
fn expected(source: &str) -> Vec<String> {
    source
        .lines()
        .map_while(|line| line.strip_prefix("# expect: "))
        .map(|line| line.trim().to_owned())
        .collect()
}

#[test]
fn every_bad_file_has_exactly_the_mistakes_that_it_says() {
    let files = files();
    assert!(files.len() >= 60, "only {} files", files.len());
    let mut wrong = String::new();
    for file in &files {
        let source = std::fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy();
        let expected = expected(&String::from_utf8_lossy(&source));
        match parse_bytes(&source, &name) {
            Ok(_) => wrong.push_str(&format!("{name}: no mistake was found\n")),
            Err(mistakes) => {
                let found: Vec<String> = mistakes
                    .iter()
                    .map(|mistake| format!("{} {}:{}", mistake.code, mistake.line, mistake.column))
                    .collect();
                if found != expected {
                    wrong.push_str(&format!("{name}: expected {expected:#?}, found\n{mistakes}\n"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_code_has_a_bad_file() {
    let of_file = |file: PathBuf| expected(&String::from_utf8_lossy(&std::fs::read(file).unwrap()));
    let all = files().into_iter().flat_map(of_file);
    let seen: BTreeSet<String> =
        all.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    // These two are no text that a file with a header could hold.
    let elsewhere = ["WL0102", "WL0131"];
    for (code, title) in CODES.iter().filter(|(code, _)| !elsewhere.contains(code)) {
        assert!(seen.contains(*code), "{code} ({title}) has no file in tests/bad");
    }
}

/// Every secret of the bad files begins with `hunter`.
#[test]
fn no_secret_is_shown() {
    let mut secrets = 0;
    for file in files() {
        let source = std::fs::read(&file).unwrap();
        let mistakes = parse_bytes(&source, "windlass.toml").unwrap_err();
        secrets += usize::from(String::from_utf8_lossy(&source).contains("hunter"));
        for shown in [mistakes.render(true), format!("{mistakes:#?}"), mistakes.to_json().to_string()] {
            assert!(!shown.contains("hunter"), "{}: {shown}", file.display());
        }
    }
    assert!(secrets >= 8);
}

#[test]
fn each_mistake_is_in_the_file_and_says_what_to_do() {
    for file in files() {
        let source = std::fs::read_to_string(&file).unwrap();
        let mistakes = parse_bytes(source.as_bytes(), "windlass.toml").unwrap_err();
        let mut last = 0;
        for mistake in &mistakes {
            assert!(source.get(mistake.span.clone()).is_some(), "{}: {mistake:?}", file.display());
            assert!(mistake.span.start >= last, "{}: not sorted", file.display());
            assert!(
                !mistake.problem.is_empty() && !mistake.remedy.is_empty(),
                "{}: {mistake:?}",
                file.display()
            );
            assert!(windlass_fleet::title(mistake.code).is_some(), "{}", mistake.code);
            last = mistake.span.start;
        }
    }
}
