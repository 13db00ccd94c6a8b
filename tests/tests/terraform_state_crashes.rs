//! Killed before or after every single thing that is done to a store: the source or the target is whole, and the same
//! command again finishes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::process::ExitStatusExt;
use windlass_tests::terraform::{LocalR2, Project, identity, said};

const KEY: &str = "nats/terraform.tfstate";
const ADDRESS: &str = "r2://states/nats/terraform.tfstate";
const ABORT: &str = "WINDLASS_ABORT_AT_STATE_STEP";

/// A state as Terraform writes it.
fn state(serial: u64, resources: usize) -> Vec<u8> {
    let one = |n: usize| {
        serde_json::json!({ "mode": "managed", "type": "terraform_data", "name": format!("r{n}"),
            "provider": "provider[\"terraform.io/builtin/terraform\"]",
            "instances": [{ "schema_version": 0, "attributes": { "id": format!("id-{n}") } }] })
    };
    let resources: Vec<_> = (0..resources).map(one).collect();
    let state = serde_json::json!({ "version": 4, "terraform_version": "1.11.4", "serial": serial,
        "lineage": "6a8b5f2e-0b7a-4d5e-9d0c-1f2e3d4c5b6a", "outputs": {}, "resources": resources });
    serde_json::to_vec_pretty(&state).unwrap()
}

/// Runs a command with a kill at step 1, 2, 3, … until it gets through; after each kill it looks, runs it again, and looks
/// again. Gives the number of steps.
fn sweep(
    project: &Project,
    arguments: &[&str],
    prepare: impl Fn(),
    is_whole: impl Fn(u64),
    is_done: impl Fn(u64),
) -> u64 {
    for step in 1.. {
        prepare();
        let output = project.windlass_with(arguments, Some((ABORT, &step.to_string())));
        if output.status.success() {
            is_done(step);
            return step - 1;
        }
        assert_eq!(output.status.signal(), Some(6), "step {step}: {}", said(&output));
        is_whole(step);
        let again = project.windlass(arguments);
        assert!(again.status.success(), "after a kill at step {step}: {}", said(&again));
        is_done(step);
    }
    unreachable!()
}

fn no_lock(r2: &LocalR2, step: u64) {
    let locks: Vec<String> = r2.keys().into_iter().filter(|key| key.ends_with(".tflock")).collect();
    assert!(locks.is_empty(), "step {step}: {locks:?}");
}

#[test]
fn a_migration_to_r2_survives_a_kill_at_every_step() {
    let r2 = LocalR2::new();
    let project = Project::new(0).with(&r2);
    let (one, dev) = (state(8, 3), state(5, 2));
    let prepare = || {
        r2.clear();
        for entry in std::fs::read_dir(project.path()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().contains(".migrated-") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        let _ = std::fs::remove_dir_all(project.file("terraform.tfstate.d"));
        project.write("terraform.tfstate", &String::from_utf8_lossy(&one));
        project.write("terraform.tfstate.d/dev/terraform.tfstate", &String::from_utf8_lossy(&dev));
    };
    let there = |name: &str| std::fs::read(project.file(name)).ok();
    let whole = |step: u64| {
        for (file, key, wanted) in [
            ("terraform.tfstate", KEY.to_owned(), &one),
            ("terraform.tfstate.d/dev/terraform.tfstate", format!("env:/dev/{KEY}"), &dev),
        ] {
            let target = r2.object(&key);
            assert!(target.as_ref().is_none_or(|found| found == wanted), "step {step}: half a target");
            let source = there(file);
            assert!(source.as_ref().is_none_or(|found| found == wanted), "step {step}: half a source");
            assert!(source.is_some() || target.is_some(), "step {step}: {file} is nowhere");
        }
    };
    let done = |step: u64| {
        whole(step);
        assert_eq!(r2.object(KEY).as_deref(), Some(&one[..]), "step {step}");
        assert_eq!(r2.object(&format!("env:/dev/{KEY}")).as_deref(), Some(&dev[..]), "step {step}");
        assert!(there("terraform.tfstate").is_none(), "step {step}: the file was not moved aside");
        no_lock(&r2, step);
    };
    let arguments = ["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"];
    let steps = sweep(&project, &arguments, prepare, whole, done);
    assert!(steps > 30, "only {steps} steps");
    println!("migrate to R2: {steps} steps");
}

#[test]
fn a_migration_to_a_file_survives_a_kill_at_every_step() {
    let r2 = LocalR2::new();
    let project = Project::new(0).with(&r2);
    let (new, old) = (state(8, 3), state(5, 2));
    let prepare = || {
        r2.clear();
        r2.put(KEY, &new);
        let _ = std::fs::remove_dir_all(project.file("history"));
        project.write("terraform.tfstate", &String::from_utf8_lossy(&old));
    };
    let whole = |step: u64| {
        let file = project.read("terraform.tfstate");
        assert!(file == new || file == old, "step {step}: half a file");
        assert_eq!(r2.object(KEY).as_deref(), Some(&new[..]), "step {step}");
    };
    let done = |step: u64| {
        assert_eq!(project.read("terraform.tfstate"), new, "step {step}");
        no_lock(&r2, step);
    };
    let arguments = ["state", "migrate", "--from", ADDRESS, "--to", "terraform.tfstate", "--yes"];
    let steps = sweep(&project, &arguments, prepare, whole, done);
    assert!(steps > 20, "only {steps} steps");
    println!("migrate to a file: {steps} steps");
}

#[test]
fn a_restore_survives_a_kill_at_every_step() {
    let r2 = LocalR2::new();
    let project = Project::new(0).with(&r2);
    let (old, new) = (state(3, 5), state(4, 1));
    let digest = windlass_state::store::digest(&old);
    let prepare = || {
        r2.clear();
        r2.put(&format!("history/{KEY}/3-{digest}"), &old);
        r2.put(KEY, &new);
    };
    let whole = |step: u64| {
        let found = identity(&r2.object(KEY).unwrap());
        assert!(matches!((found.1, found.2), (4, 1) | (5, 5)), "step {step}: {found:?}");
    };
    let done = |step: u64| {
        let found = identity(&r2.object(KEY).unwrap());
        assert_eq!((found.1, found.2), (5, 5), "step {step}");
        assert_eq!(r2.keys().len(), 4, "step {step}: {:?}", r2.keys());
        no_lock(&r2, step);
    };
    let steps = sweep(&project, &["state", "restore", ADDRESS, "3", "--yes"], prepare, whole, done);
    assert!(steps > 15, "only {steps} steps");
    println!("restore: {steps} steps");
}

#[test]
fn a_rekey_survives_a_kill_at_every_step() {
    let r2 = LocalR2::new();
    let key = || secrecy::ExposeSecret::expose_secret(&windlass_state::keys::generate().1).to_owned();
    let (old, new) = (key(), key());
    let project = Project::new(0).with(&r2).env("OLD", &old).env("NEW", &new);
    let keys = |texts: &[&str]| {
        let mut keys = windlass_state::keys::Keys::none();
        texts.iter().for_each(|text| keys.add(text).unwrap());
        keys
    };
    let prepare = || {
        r2.clear();
        let store =
            windlass_state::store::Store::new(std::sync::Arc::new(r2.client())).with_keys(keys(&[&old]));
        for serial in [1, 2] {
            let content = state(serial, 2).into();
            r2.block_on(store.keep(KEY, serial, &content)).unwrap();
        }
        let condition = windlass_state::blobs::Condition::Always;
        r2.block_on(store.put(KEY, &state(2, 2).into(), &condition)).unwrap();
    };
    let opens = |texts: &[&str]| {
        let objects = r2.objects().into_iter().filter(|(key, _)| !key.ends_with(".tflock"));
        objects.filter(|(key, stored)| keys(texts).open(key, &stored.clone().into()).is_ok()).count()
    };
    let whole = |step: u64| assert_eq!(opens(&[&new, &old]), 3, "step {step}: something is lost");
    let done = |step: u64| {
        assert_eq!((opens(&[&new]), opens(&[&old])), (3, 0), "step {step}");
        no_lock(&r2, step);
    };
    let arguments = ["state", "rekey", ADDRESS, "--key", "env:NEW", "--key", "env:OLD", "--yes"];
    let steps = sweep(&project, &arguments, prepare, whole, done);
    assert!(steps > 15, "only {steps} steps");
    println!("rekey: {steps} steps");
}
