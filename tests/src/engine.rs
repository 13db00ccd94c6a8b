//! Plans and applies of a fleet, as a script sees them.

use crate::Fleet;
use serde_json::Value;
use std::fs;
use std::process::Output;

/// What a command printed as JSON.
///
/// # Panics
/// When it is not JSON.
pub fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The code of the error that a command ended with.
///
/// # Panics
/// When it ended without one.
pub fn code_of(output: &Output) -> Value {
    let line = output.stderr.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"{\"error\""));
    let line = line.unwrap_or_else(|| panic!("no error in {output:?}"));
    serde_json::from_slice::<Value>(line).expect("an error is JSON")["error"]["code"].clone()
}

/// `windlass plan`.
///
/// # Panics
/// When it fails.
pub fn plan(fleet: &Fleet) -> Value {
    let output = fleet.run(&["plan", "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    json_of(&output)
}

/// `windlass apply`, answered with yes.
pub fn apply(fleet: &Fleet, more: &[&str]) -> Output {
    fleet.run(&[&["apply", "--yes", "--format", "json"], more].concat())
}

/// `windlass apply` that must come to its end.
///
/// # Panics
/// When it fails.
pub fn apply_all(fleet: &Fleet, more: &[&str]) {
    let output = apply(fleet, more);
    assert!(output.status.success(), "{output:?}");
}

/// `windlass destroy`, answered with yes.
pub fn destroy(fleet: &Fleet) -> Output {
    fleet.run(&["destroy", "--yes", "--allow-data-loss", "--format", "json"])
}

/// What is to be done, by address.
pub fn actions(plan: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let all = plan["actions"].as_array().expect("a plan has actions");
    all.iter().map(|one| (text(&one["address"]), text(&one["do"]))).collect()
}

/// The action on an address.
///
/// # Panics
/// When there is none.
pub fn action<'a>(plan: &'a Value, address: &str) -> &'a Value {
    let actions = plan["actions"].as_array().expect("a plan has actions");
    let action = actions.iter().find(|action| action["address"] == address);
    action.unwrap_or_else(|| panic!("nothing is done to {address}: {plan}"))
}

/// Why something is done to an address.
pub fn reason<'a>(plan: &'a Value, address: &str) -> &'a str {
    action(plan, address)["reason"].as_str().expect("an action has a reason")
}

/// Why an address cannot be made.
///
/// # Panics
/// When it can.
pub fn blocked<'a>(plan: &'a Value, address: &str) -> &'a str {
    let blocked = plan["blocked"].as_array().into_iter().flatten().find(|one| one["address"] == address);
    let blocked = blocked.unwrap_or_else(|| panic!("{address} is not blocked: {plan}"));
    blocked["reason"].as_str().expect("a reason")
}

/// Runs a command that is killed at one write of the journal; false when it came to its end before.
///
/// # Panics
/// When it failed instead.
pub fn killed_at(fleet: &Fleet, arguments: &[&str], step: u32) -> bool {
    let mut command = fleet.command(arguments);
    let output = command.env("WINDLASS_ABORT_AT_JOURNAL_STEP", step.to_string()).output();
    let output = output.expect("windlass can be run");
    match output.status.code() {
        None => true,
        Some(0) => false,
        Some(_) => panic!("step {step}: {output:?}"),
    }
}

/// The state's resources, without what tells one history from another.
///
/// # Panics
/// When there is no state.
pub fn resources(fleet: &Fleet) -> Value {
    let text = fs::read(fleet.state().join("state/state.json")).expect("a state");
    serde_json::from_slice::<Value>(&text).expect("the state is JSON")["resources"].clone()
}
