//! What goes wrong with Terraform alone on R2, and does not with Windlass: each fault is shown both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use windlass_sandbox::r2::{Effect, Fault};
use windlass_tests::terraform::{LocalR2, Project, has_terraform, identity, said};

const KEY: &str = "nats/terraform.tfstate";
const ADDRESS: &str = "r2://states/nats/terraform.tfstate";
const MIGRATE: [&str; 7] = ["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"];
const APPLY: [&str; 3] = ["apply", "-input=false", "-auto-approve"];

/// A project with a local state of a few serials.
fn local(r2: &LocalR2) -> Project {
    let project = Project::new(1).with(r2);
    project.terraform_ok(&["init", "-input=false"]);
    for count in [1, 2, 3] {
        project.resources(count);
        project.terraform_ok(&APPLY);
    }
    project
}

fn with_backend(project: &Project) -> &Project {
    project.windlass_json(&["state", "backend", ADDRESS, "--write", "backend.tf"]);
    project
}

/// A project whose state Windlass has moved to R2.
fn moved(r2: &LocalR2) -> Project {
    let project = local(r2);
    project.windlass_json(&MIGRATE);
    with_backend(&project).terraform_ok(&["init", "-input=false"]);
    project
}

fn there(r2: &LocalR2) -> (String, u64, usize) {
    identity(&r2.object(KEY).unwrap())
}

fn print(fault: &str, terraform: &str, windlass: &str) {
    println!("{fault}\n    Terraform alone: {terraform}\n    Windlass:        {windlass}");
}

fn locks(r2: &LocalR2) -> usize {
    r2.keys().iter().filter(|key| key.ends_with(".tflock")).count()
}

#[test]
fn five_faults_of_terraform_on_r2_are_gone_with_windlass() {
    if !has_terraform() {
        return;
    }
    lineage_reset();
    silent_overwrite();
    too_many_requests();
    ones_own_lock();
    empty_state();
}

fn lineage_reset() {
    let r2 = LocalR2::new();
    let project = local(&r2);
    let before = project.read("terraform.tfstate");
    with_backend(&project).terraform_ok(&["init", "-input=false", "-migrate-state", "-force-copy"]);
    let (alone, was) = (there(&r2), identity(&before));
    assert_ne!(alone.0, was.0, "Terraform kept the lineage: the fault is no more");

    r2.clear();
    let project = local(&r2);
    let before = project.read("terraform.tfstate");
    project.windlass_json(&MIGRATE);
    assert_eq!(r2.object(KEY).unwrap(), before);
    print(
        "1. A migration into an empty key resets the lineage",
        &format!("lineage {} serial {} became lineage {} serial {}", was.0, was.1, alone.0, alone.1),
        &format!("lineage {} serial {} before and after, byte by byte", there(&r2).0, there(&r2).1),
    );
}

fn silent_overwrite() {
    let r2 = LocalR2::new();
    let other = moved(&r2);
    let theirs = r2.object(KEY).unwrap();
    let mine = local(&r2);
    let output = with_backend(&mine).terraform(&["init", "-input=false", "-migrate-state", "-force-copy"]);
    assert!(output.status.success(), "Terraform refuses: the fault is no more\n{}", said(&output));
    let after = r2.object(KEY).unwrap();
    assert_ne!(after, theirs);
    let gone = !after.windows(36).any(|part| part == identity(&theirs).0.as_bytes());
    assert!(gone);

    r2.put(KEY, &theirs);
    let mine = local(&r2);
    assert_eq!(mine.windlass_code(&MIGRATE), "WL0719");
    assert_eq!(r2.object(KEY).unwrap(), theirs);
    assert!(mine.file("terraform.tfstate").exists());
    drop(other);
    print(
        "2. A migration over another project's state",
        "exit code 0, and the other state is overwritten",
        "refused (WL0719), nothing changed",
    );
}

fn too_many_requests() {
    let r2 = LocalR2::new();
    let project = moved(&r2);
    let busy = |times| Fault { times, ..Fault::next("PUT", &format!("states/{KEY}"), Effect::Error(429)) };
    project.resources(5);
    r2.server.inject(busy(1));
    let output = project.terraform(&APPLY);
    assert!(!output.status.success(), "Terraform tries again: the fault is no more\n{}", said(&output));
    assert!(project.file("errored.tfstate").exists());
    let serial = there(&r2).1;

    r2.server.clear_faults();
    r2.server.inject(busy(2));
    let newer = String::from_utf8(r2.object(KEY).unwrap()).unwrap();
    let newer = newer.replace(&format!("\"serial\": {serial}"), &format!("\"serial\": {}", serial + 1));
    project.write("newer.tfstate", &newer);
    project.windlass_json(&["state", "migrate", "--from", "newer.tfstate", "--to", ADDRESS, "--yes"]);
    assert_eq!(there(&r2).1, serial + 1);
    let busy = r2.server.requests().iter().filter(|request| request.status == Some(429)).count();
    assert_eq!(busy, 3, "one for Terraform, two for Windlass");
    print(
        "3. R2 answers 429 to the write of the state",
        "the apply fails and leaves errored.tfstate behind",
        "asked again after a second, twice; the state is there",
    );
}

fn ones_own_lock() {
    let r2 = LocalR2::new();
    let project = moved(&r2);
    let lost = || Fault::next("PUT", &format!("states/{KEY}.tflock"), Effect::LoseAnswer);
    r2.server.inject(lost());
    project.resources(5);
    let output = project.terraform(&APPLY);
    assert!(
        !output.status.success(),
        "Terraform knows its own lock: the fault is no more\n{}",
        said(&output)
    );
    assert_eq!(locks(&r2), 1, "Terraform has left no lock behind");
    let stale = project.windlass_json(&["state", "locks", ADDRESS])["locks"][0]["id"].clone();
    project.windlass_json(&["state", "unlock", ADDRESS, stale.as_str().unwrap(), "--yes"]);

    r2.server.clear_faults();
    r2.server.inject(lost());
    let serial = there(&r2).1;
    project.windlass_json(&["state", "restore", ADDRESS, &serial.to_string(), "--yes"]);
    assert_eq!(locks(&r2), 0);
    print(
        "4. The answer to the lock's write gets lost",
        "it meets its own lock, fails, and leaves the lock behind",
        "it knows its lock by its ID, goes on, and unlocks",
    );
}

fn empty_state() {
    let r2 = LocalR2::new();
    let project = moved(&r2);
    let (lineage, serial, _) = there(&r2);
    let empty = |serial: u64| {
        format!(
            r#"{{"version":4,"terraform_version":"1.11.4","serial":{serial},"lineage":"{lineage}","outputs":{{}},"resources":[]}}"#
        )
    };
    project.write("empty.tfstate", &empty(serial + 1));
    project.terraform_ok(&["state", "push", "empty.tfstate"]);
    assert_eq!(there(&r2).2, 0, "Terraform refuses: the fault is no more");

    project.write("empty.tfstate", &empty(serial + 2));
    let push = ["state", "migrate", "--from", "empty.tfstate", "--to", ADDRESS, "--yes"];
    assert_eq!(project.windlass_code(&push), "WL0718");
    // And what Terraform has emptied comes back.
    project.windlass_json(&["state", "restore", ADDRESS, &serial.to_string(), "--yes"]);
    assert_eq!(there(&r2).2, 1, "one resource block");
    assert_eq!(project.plan_code(), Some(0));
    print(
        "5. A state without resources",
        "pushed over the good one, exit code 0",
        "refused (WL0718); and the good one is restored from the history",
    );
}

/// With R2's limit of one write a second for one key, everything still goes through.
#[test]
fn windlass_lives_with_r2s_limit() {
    let r2 = LocalR2::new();
    r2.server.limit_writes(Some(std::time::Duration::from_secs(1)));
    let project = Project::new(1).with(&r2);
    let state = |serial: u64| {
        format!(r#"{{"version":4,"serial":{serial},"lineage":"a","resources":[{{"instances":[{{}}]}}]}}"#)
    };
    for serial in 1..4 {
        project.write("terraform.tfstate", &state(serial));
        project.windlass_json(&MIGRATE);
    }
    assert_eq!(there(&r2).1, 3);
    assert_eq!(locks(&r2), 0);
}
