//! A newcomer's first steps: `init` writes a file that is valid and runs, never over another one, and the same one for the
//! same answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use windlass_tests::{Fleet, free_port};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Fleet::command_in(directory, arguments).stdin(Stdio::null()).output().unwrap()
}

fn error_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.split(['[', ']']).nth(1).unwrap_or_default().to_owned()
}

#[test]
fn init_writes_a_file_that_is_valid_and_runs() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let init = run(here, &["init", "--yes", "--name", "first", "--organization", "acme"]);
    assert!(init.status.success(), "{init:?}");
    assert!(run(here, &["validate"]).status.success());
    for environment in ["development", "production"] {
        assert!(run(here, &["validate", "--environment", environment]).status.success(), "{environment}");
    }
    let file = here.join("windlass.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (client, websocket, monitor, listen) = (free_port(), free_port(), free_port(), free_port());
    let ports = format!("ports = {{ client = {client}, websocket = {websocket}, monitor = {monitor} }}");
    let text = text.replace("# ports = { client = 4222, websocket = 9222, monitor = 8222 }", &ports);
    fs::write(&file, text.replace("127.0.0.1:8080", &format!("127.0.0.1:{listen}"))).unwrap();
    let up = run(here, &["up", "--detach", "--format", "json"]);
    let creds = run(here, &["creds"]);
    let down = run(here, &["down"]);
    assert!(up.status.success() && down.status.success(), "{up:?} {down:?}");
    let report: Value = serde_json::from_slice(&up.stdout).unwrap();
    assert_eq!(report["nats"]["url"], format!("nats://127.0.0.1:{client}"));
    let creds = String::from_utf8(creds.stdout).unwrap();
    assert!(
        creds.contains("GITHUB/worker") && creds.contains("subscribe github.>; streams: read"),
        "{creds}"
    );
}

#[test]
fn the_same_answers_give_the_same_file_and_none_is_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let arguments = ["init", "--yes", "--no-github", "--servers", "3", "--environments", "staging"];
    for file in ["a.toml", "b.toml"] {
        assert!(run(here, &[&arguments[..], &["--file", file]].concat()).status.success());
    }
    let first = fs::read(here.join("a.toml")).unwrap();
    assert_eq!(first, fs::read(here.join("b.toml")).unwrap());

    let other = ["init", "--yes", "--name", "other", "--file", "a.toml"];
    let refused = run(here, &other);
    assert_eq!((refused.status.code(), error_of(&refused).as_str()), (Some(3), "WL0418"));
    assert_eq!(fs::read(here.join("a.toml")).unwrap(), first, "it was left as it is");
    assert!(run(here, &[&other[..], &["--force"]].concat()).status.success());
    assert_ne!(fs::read(here.join("a.toml")).unwrap(), first);
}

#[test]
fn what_cannot_stand_in_the_file_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let cases: [(&[&str], &str); 5] = [
        (&["init", "--yes", "--servers", "2"], "WL0401"),
        (&["init", "--yes", "--name", "Not A Name"], "WL0401"),
        (&["init", "--yes", "--environments", "a b"], "WL0401"),
        (&["init", "--yes", "--organization", "no \"one"], "WL0401"),
        (&["init"], "WL0419"),
    ];
    for (arguments, code) in cases {
        let output = run(here, arguments);
        assert_eq!((output.status.code(), error_of(&output).as_str()), (Some(3), code), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(here).unwrap().count(), 0);
}
