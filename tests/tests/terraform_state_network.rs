//! Whatever single request of a migration goes wrong on the way, the command gets through, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use windlass_sandbox::r2::{Effect, Fault};
use windlass_tests::terraform::{LocalR2, Project, said};

const KEY: &str = "nats/terraform.tfstate";
const ADDRESS: &str = "r2://states/nats/terraform.tfstate";

fn state(serial: u64) -> String {
    format!(r#"{{"version":4,"serial":{serial},"lineage":"a","resources":[{{"instances":[{{}}]}}]}}"#)
}

/// One with more in it.
fn richer(serial: u64) -> String {
    state(serial).replace("[{}]", "[{},{}]")
}

/// Runs a command once for each of its requests, which meets the fault. Gives how many there were.
fn every_request(
    r2: &LocalR2,
    project: &Project,
    effect: Effect,
    arguments: &[&str],
    prepare: impl Fn(),
    is_done: impl Fn(),
) -> u64 {
    for skip in 0.. {
        prepare();
        r2.server.clear_faults();
        r2.server.clear_requests();
        r2.server.inject(Fault { method: None, key: None, skip, times: 1, effect });
        let output = project.windlass(arguments);
        let met = r2.server.requests().iter().any(|request| request.fault.is_some());
        r2.server.clear_faults();
        assert!(output.status.success(), "{effect:?} of request {skip}: {}", said(&output));
        is_done();
        assert!(
            !r2.keys().iter().any(|key| key.ends_with(".tflock")),
            "{effect:?} of request {skip}: a lock is left"
        );
        if !met {
            return skip;
        }
    }
    unreachable!()
}

#[test]
fn a_migration_and_a_restore_get_through_any_single_fault() {
    let r2 = LocalR2::new();
    let project = Project::new(0).with(&r2);
    let digest = windlass_state::store::digest(richer(1).as_bytes());
    for effect in [Effect::LoseAnswer, Effect::LoseRequest, Effect::Error(500), Effect::Error(503)] {
        let migrated = every_request(
            &r2,
            &project,
            effect,
            &["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"],
            || {
                r2.clear();
                r2.put(KEY, state(1).as_bytes());
                project.write("terraform.tfstate", &state(2));
            },
            || {
                assert_eq!(r2.object(KEY).unwrap(), state(2).as_bytes());
                assert_eq!(r2.keys().len(), 3, "{:?}", r2.keys());
                assert!(!project.file("terraform.tfstate").exists());
            },
        );
        assert!(migrated >= 8, "only {migrated} requests");
        let restored = every_request(
            &r2,
            &project,
            effect,
            &["state", "restore", ADDRESS, "1", "--yes"],
            || {
                r2.clear();
                r2.put(&format!("history/{KEY}/1-{digest}"), richer(1).as_bytes());
                r2.put(KEY, state(2).as_bytes());
            },
            || assert_eq!(r2.object(KEY).unwrap(), richer(3).as_bytes()),
        );
        assert!(restored >= 8, "only {restored} requests");
    }
}

/// A service that is away for good is said to be so, with a code, and nothing is changed here.
#[test]
fn a_service_that_is_away_changes_nothing() {
    let r2 = LocalR2::new();
    let port = windlass_tests::free_port();
    let project = Project::new(0)
        .with(&r2)
        .env("AWS_ENDPOINT_URL_S3", &format!("http://127.0.0.1:{port}"))
        .env("WINDLASS_STATE_PATIENCE", "1");
    project.write("terraform.tfstate", &state(2));
    let migrate = ["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"];
    assert_eq!(project.windlass_code(&migrate), "WL0703");
    assert_eq!(project.read("terraform.tfstate"), state(2).as_bytes());
    // The keys of another account, and a bucket that is not there.
    let wrong = Project::new(0).with(&r2).env("AWS_SECRET_ACCESS_KEY", "wrong");
    wrong.write("terraform.tfstate", &state(2));
    assert_eq!(wrong.windlass_code(&migrate), "WL0704");
    let absent = Project::new(0).with(&r2);
    absent.write("terraform.tfstate", &state(2));
    let to = ["state", "migrate", "--from", "terraform.tfstate", "--to", "r2://absent/a", "--yes"];
    assert_eq!(absent.windlass_code(&to), "WL0705");
    assert_eq!(absent.windlass_code(&["state", "verify", "r2://absent/a"]), "WL0705");
}
