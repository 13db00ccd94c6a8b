//! An encrypted state on R2: nobody reads it without the key, and a new key shuts out the old one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine;
use secrecy::ExposeSecret;
use windlass_tests::terraform::{LocalR2, Project};

const KEY: &str = "nats/terraform.tfstate";
const ADDRESS: &str = "r2://states/nats/terraform.tfstate";

fn state() -> Vec<u8> {
    let one = |n: usize| {
        serde_json::json!({ "mode": "managed", "type": "terraform_data", "name": format!("database_{n}"),
            "provider": "provider[\"terraform.io/builtin/terraform\"]",
            "instances": [{ "attributes": { "id": format!("id-{n}"), "input": "s3cret-password" } }] })
    };
    let resources: Vec<_> = (0..40).map(one).collect();
    let state = serde_json::json!({ "version": 4, "terraform_version": "1.11.4", "serial": 7,
        "lineage": "6a8b5f2e-0b7a-4d5e-9d0c-1f2e3d4c5b6a", "outputs": {}, "resources": resources });
    serde_json::to_vec_pretty(&state).unwrap()
}

fn contains(content: &[u8], part: &str) -> bool {
    content.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn what_is_stored_says_nothing_without_the_key() {
    let r2 = LocalR2::new();
    let key = || windlass_state::keys::generate().1.expose_secret().to_owned();
    let project = Project::new(0)
        .with(&r2)
        .env("OLD", &key())
        .env("NEW", &key())
        .env("PHRASE", "correct horse battery");
    project.write("terraform.tfstate", &String::from_utf8_lossy(&state()));
    let report = project.windlass_json(&[
        "state",
        "migrate",
        "--from",
        "terraform.tfstate",
        "--to",
        ADDRESS,
        "--yes",
        "--key",
        "env:OLD",
    ]);
    let moved = &report["workspaces"][0];
    assert_eq!((&moved["encrypted"], &moved["sha256_before"]), (&true.into(), &moved["sha256_after"]));
    let objects = r2.objects();
    assert_eq!(objects.len(), 2);
    for (key, stored) in &objects {
        for part in ["database", "terraform", "s3cret", "lineage", "6a8b5f2e", "data"] {
            assert!(!contains(stored, part), "{key} holds {part:?}");
        }
    }

    // Without a key, with a wrong one, with a source that gives none.
    let show = |key: &[&str]| project.windlass_code(&[&["state", "show", ADDRESS], key].concat());
    assert_eq!(show(&[]), "WL0722");
    assert_eq!(show(&["--key", "env:NEW"]), "WL0723");
    assert_eq!(show(&["--key", "env:NOT_SET"]), "WL0724");
    assert_eq!(project.windlass_code(&["state", "verify", ADDRESS, "--key", "env:NEW"]), "WL0728");
    let raw = ["state", "show", ADDRESS, "--raw", "--key", "env:NEW", "--key", "env:OLD"];
    assert_eq!(project.windlass(&raw).stdout, state());

    // After a rekey the old key opens nothing, and the new one everything.
    let rekey = ["state", "rekey", ADDRESS, "--key", "env:NEW", "--key", "env:OLD", "--yes"];
    assert_eq!(project.windlass_json(&rekey)["changed"], 2);
    assert_eq!(show(&["--key", "env:OLD"]), "WL0723");
    let old = project.windlass_json(&["state", "history", ADDRESS]);
    assert_eq!(old["versions"][0]["serial"], 7, "names need no key");
    assert_eq!(project.windlass_code(&["state", "show", ADDRESS, "7", "--key", "env:OLD"]), "WL0723");
    let sound = project.windlass_json(&["state", "verify", ADDRESS, "--deep", "--key", "env:NEW"]);
    assert_eq!(sound["sound"], true, "{sound}");

    // A passphrase is a key too.
    let rekey = ["state", "rekey", ADDRESS, "--key", "env:PHRASE", "--key", "env:NEW", "--yes"];
    assert_eq!(project.windlass_json(&rekey)["changed"], 2);

    // And the way back, into a file that Terraform reads.
    project.windlass_json(&[
        "state",
        "migrate",
        "--from",
        ADDRESS,
        "--to",
        "back.tfstate",
        "--yes",
        "--key",
        "env:PHRASE",
    ]);
    assert_eq!(project.read("back.tfstate"), state());
}

/// A bucket lock rule on the history: R2 answers 409 to whoever would replace what it keeps.
#[test]
fn what_a_lock_rule_keeps_is_not_rekeyed_and_that_is_said() {
    let r2 = LocalR2::new();
    let key = || windlass_state::keys::generate().1.expose_secret().to_owned();
    let project = Project::new(0).with(&r2).env("OLD", &key()).env("NEW", &key());
    project.write("terraform.tfstate", &String::from_utf8_lossy(&state()));
    let with = |command: &[&str], keys: &[&str]| -> Vec<String> {
        let keys = keys.iter().flat_map(|key| ["--key".to_owned(), format!("env:{key}")]);
        command.iter().map(|word| (*word).to_owned()).chain(keys).collect()
    };
    let json =
        |command: Vec<String>| project.windlass_json(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let code =
        |command: Vec<String>| project.windlass_code(&command.iter().map(String::as_str).collect::<Vec<_>>());
    json(with(&["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"], &["OLD"]));
    let before = r2.objects();
    let rule = |key: &str| {
        let effect = windlass_sandbox::r2::Effect::Error(409);
        let times = u64::MAX;
        r2.server.inject(windlass_sandbox::r2::Fault {
            times,
            ..windlass_sandbox::r2::Fault::next("PUT", key, effect)
        });
    };
    rule("states/history/*");
    let rekey = || with(&["state", "rekey", ADDRESS, "--yes"], &["NEW", "OLD"]);
    assert_eq!(code(rekey()), "WL0727");
    assert_eq!(r2.objects(), before, "nothing is changed, and the lock is released");
    // The rule is lifted: the same command goes on.
    r2.server.clear_faults();
    assert_eq!(json(rekey())["changed"], 2);
    // A rule on the state itself is another mistake.
    rule(&format!("states/{KEY}"));
    assert_eq!(code(with(&["state", "rekey", ADDRESS, "--yes"], &["OLD", "NEW"])), "WL0740");
}

#[test]
fn the_service_can_encrypt_with_a_key_of_ours() {
    let r2 = LocalR2::new();
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let project = Project::new(0).with(&r2).env("CUSTOMER_KEY", &key);
    project.write("terraform.tfstate", &String::from_utf8_lossy(&state()));
    let with = ["--sse-c", "env:CUSTOMER_KEY"];
    let migrate = ["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"];
    project.windlass_json(&[&migrate[..], &with].concat());
    let raw = project.windlass(&[&["state", "show", ADDRESS, "--raw"][..], &with].concat());
    assert_eq!(raw.stdout, state());
    // Without the key the service gives nothing out.
    let refused = project.windlass(&["state", "show", ADDRESS]);
    assert!(!refused.status.success());
    let restored = project.windlass_json(&[&["state", "verify", ADDRESS, "--deep"][..], &with].concat());
    assert_eq!(restored["sound"], true);
    assert!(r2.keys().contains(&KEY.to_owned()));
    // Terraform needs to be told, or it writes plain text in silence.
    let block = project.windlass(&[&["state", "backend", ADDRESS][..], &with].concat());
    assert!(String::from_utf8_lossy(&block.stdout).contains("encrypt                     = true"));
}
