//! An apply that somebody else's is in the way of, and one that is interrupted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use windlass_tests::engine::{actions, apply, apply_all, code_of, json_of, plan, resources};
use windlass_tests::furniture::each_kind;
use windlass_tests::{Fleet, signal};

/// Starts an apply in a process group of its own, as a shell does, and waits until it has begun so many actions.
fn begun(fleet: &Fleet, count: usize) -> Child {
    let mut command = fleet.command(&["apply", "--yes", "--format", "json"]);
    let command = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let journal = fleet.state().join("state/journal.jsonl");
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::read_to_string(&journal).unwrap_or_default().matches("\"begun\"").count() < count {
        assert!(Instant::now() < deadline, "nothing begins");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Presses Ctrl-C: every process of the terminal's foreground group gets it.
fn interrupt(child: &Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
}

fn count(report: &Value, what: &str) -> usize {
    report["report"][what].as_array().unwrap().len()
}

fn is_whole(fleet: &Fleet) {
    assert_eq!(actions(&plan(fleet)), []);
    assert_eq!(fleet.run(&["status"]).status.code(), Some(0));
    assert!(!resources(fleet).to_string().contains("uncertain"));
}

#[test]
fn ctrl_c_lets_what_has_begun_come_to_its_end() {
    let fleet = Fleet::of(&each_kind());
    // The operator, accounts, and then some: servers are about to start, and much is left.
    let child = begun(&fleet, 5);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report = json_of(&output);
    assert_eq!(report["report"]["stopped"], true);
    let (done, skipped) = (count(&report, "done"), count(&report, "skipped"));
    assert!(done > 0 && skipped > 0, "{report}");
    assert_eq!(count(&report, "failed"), 0, "{report}");
    let all = report["plan"]["actions"].as_array().unwrap().len();
    assert_eq!(done + skipped, all, "what has begun is done, the rest is not begun");
    let recorded = resources(&fleet);
    assert_eq!(recorded.as_object().unwrap().len(), done);
    assert!(!recorded.to_string().contains("uncertain"), "{recorded}");
    assert!(!fleet.state().join("state/journal.jsonl").exists(), "nothing is left half-way");

    // A cluster whose servers run is there, whether it was looked at or not.
    let not_begun = report["report"]["skipped"].as_array().unwrap().clone();
    let left = actions(&plan(&fleet));
    assert!(
        !left.is_empty() && left.iter().all(|(address, _)| not_begun.contains(&json!(address))),
        "{left:?}"
    );
    apply_all(&fleet, &[]);
    is_whole(&fleet);
}

#[test]
fn ctrl_c_twice_leaves_at_once_and_the_next_apply_goes_on() {
    let fleet = Fleet::of(&each_kind());
    let mut child = begun(&fleet, 5);
    let deadline = Instant::now() + Duration::from_secs(30);
    // Twice and once more: two that come at the same moment are one.
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        interrupt(&child);
        assert!(Instant::now() < deadline, "it does not leave");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
    apply_all(&fleet, &[]);
    is_whole(&fleet);
}

#[test]
fn who_comes_second_waits_or_is_told_who_is_first() {
    let fleet = Fleet::of(&each_kind());
    let first = begun(&fleet, 1);
    let refused = apply(&fleet, &[]);
    assert_eq!((refused.status.code(), code_of(&refused)), (Some(1), json!("WL0501")), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("(pid {})", first.id())), "the holder is named: {said}");
    assert!(said.contains("apply"), "and what for: {said}");
    // Looking needs no lock.
    assert!(fleet.run(&["plan", "--format", "json"]).status.success());
    let second: Output = apply(&fleet, &["--lock-timeout", "60"]);
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success() && second.status.success(), "{first:?} {second:?}");
    let (one, other) = (json_of(&first), json_of(&second));
    assert_eq!(
        (count(&one, "done"), count(&other, "done")),
        (26, 0),
        "one makes it, the other finds it made"
    );

    // A holder that dies holds nothing any more.
    fleet.edit("[streams.GITHUB]", "[streams.GITHUB]\nmax_messages = 1000");
    let mut killed = begun(&fleet, 1);
    signal(i32::try_from(killed.id()).unwrap(), Signal::KILL);
    killed.wait().unwrap();
    apply_all(&fleet, &[]);
    is_whole(&fleet);
}
