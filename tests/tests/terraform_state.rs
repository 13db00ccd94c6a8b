//! Terraform's state goes to R2 and back with the real Terraform: nothing changes but the place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use windlass_sandbox::r2::{Effect, Fault};
use windlass_tests::terraform::{LocalR2, Project, has_terraform, identity, said};

const KEY: &str = "nats/terraform.tfstate";
const ADDRESS: &str = "r2://states/nats/terraform.tfstate";

fn applied(r2: &LocalR2, resources: usize) -> Project {
    let project = Project::new(resources).with(r2);
    project.terraform_ok(&["init", "-input=false"]);
    project.terraform_ok(&["apply", "-input=false", "-auto-approve"]);
    project
}

fn backend(project: &Project) {
    let report = project.windlass_json(&["state", "backend", ADDRESS, "--write", "backend.tf"]);
    assert_eq!(report["changed"], true);
    let again = project.windlass_json(&["state", "backend", ADDRESS, "--write", "backend.tf"]);
    assert_eq!(again["changed"], false);
}

#[test]
fn a_state_goes_to_r2_and_back_and_stays_what_it_was() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = applied(&r2, 3);
    project.resources(4);
    let (before, plan) = (project.read("terraform.tfstate"), project.plan_code());
    assert_eq!(plan, Some(2));

    // A dry run says what would be done, and does nothing.
    let dry = project.windlass_json(&[
        "state",
        "migrate",
        "--from",
        "terraform.tfstate",
        "--to",
        ADDRESS,
        "--dry-run",
    ]);
    assert_eq!(dry["workspaces"][0]["action"], "create");
    assert!(r2.keys().is_empty() && project.read("terraform.tfstate") == before);
    // Nobody said yes.
    let migrate = ["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS];
    assert_eq!(project.windlass_code(&migrate), "WL0731");
    assert!(r2.keys().is_empty());

    let report = project.windlass_json(&[&migrate[..], &["--yes"]].concat());
    let moved = &report["workspaces"][0];
    assert_eq!(moved["sha256_before"], moved["sha256_after"]);
    assert_eq!(r2.object(KEY).unwrap(), before, "the bytes are the same");
    assert!(!project.file("terraform.tfstate").exists());
    assert_eq!(project.read(moved["moved_to"].as_str().unwrap()), before);
    let serial = identity(&before).1;
    assert_eq!(
        r2.keys(),
        [format!("history/{KEY}/{serial}-{}", moved["sha256_after"].as_str().unwrap()), KEY.to_owned()]
    );
    // Again: it is done already.
    let again = project.windlass_json(&[&migrate[..], &["--yes"]].concat());
    assert_eq!(again["workspaces"][0]["action"], "same");

    backend(&project);
    project.terraform_ok(&["init", "-input=false"]);
    assert_eq!(r2.object(KEY).unwrap(), before, "init leaves it as it is");
    assert_eq!(project.plan_code(), plan);
    project.terraform_ok(&["apply", "-input=false", "-auto-approve"]);
    assert_eq!(project.plan_code(), Some(0));
    let applied = r2.object(KEY).unwrap();
    assert_eq!((identity(&applied).0, identity(&applied).1 > serial), (identity(&before).0, true));

    // What is in it, and what is different.
    let shown = project.windlass_json(&["state", "show", ADDRESS]);
    assert_eq!(shown["addresses"][0], "terraform_data.web_server[0]");
    let raw = project.windlass(&["state", "show", ADDRESS, "--raw"]);
    assert_eq!(raw.stdout, applied);
    let diff = project.windlass_json(&["state", "diff", ADDRESS, &serial.to_string()]);
    assert_eq!(diff["changes"][0]["address"], "terraform_data.web_server[3]");
    assert_eq!(diff["changes"][0]["what"], "added");

    // An older version comes back under a new serial, and Terraform goes on from it.
    let restored = project.windlass_json(&["state", "restore", ADDRESS, &serial.to_string(), "--yes"]);
    assert_eq!(restored["after"], identity(&applied).1 + 1);
    assert_eq!(project.plan_code(), Some(2));
    let history = project.windlass_json(&["state", "history", ADDRESS]);
    assert_eq!(history["versions"].as_array().unwrap().len(), 3);
    let sound = project.windlass_json(&["state", "verify", ADDRESS, "--deep"]);
    assert_eq!(sound["sound"], true, "{sound}");

    // And the whole way back.
    let there = r2.object(KEY).unwrap();
    std::fs::remove_file(project.file("backend.tf")).unwrap();
    project.windlass_json(&["state", "migrate", "--from", ADDRESS, "--to", "terraform.tfstate", "--yes"]);
    assert_eq!(project.read("terraform.tfstate"), there);
    std::fs::remove_dir_all(project.file(".terraform")).unwrap();
    project.terraform_ok(&["init", "-input=false"]);
    assert_eq!(project.plan_code(), Some(2));
}

#[test]
fn every_workspace_comes_along() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = applied(&r2, 2);
    for workspace in ["dev", "prod"] {
        project.terraform_ok(&["workspace", "new", workspace]);
        project.terraform_ok(&["apply", "-input=false", "-auto-approve"]);
    }
    project.terraform_ok(&["workspace", "select", "default"]);
    let dev = project.read("terraform.tfstate.d/dev/terraform.tfstate");
    let report =
        project.windlass_json(&["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"]);
    let names: Vec<&Value> =
        report["workspaces"].as_array().unwrap().iter().map(|moved| &moved["workspace"]).collect();
    assert_eq!(names, ["default", "dev", "prod"]);
    assert_eq!(r2.object(&format!("env:/dev/{KEY}")).unwrap(), dev);
    backend(&project);
    project.terraform_ok(&["init", "-input=false"]);
    for workspace in ["default", "dev", "prod"] {
        project.terraform_ok(&["workspace", "select", workspace]);
        assert_eq!(project.plan_code(), Some(0), "{workspace}");
    }
    assert_eq!(r2.object(&format!("env:/dev/{KEY}")).unwrap(), dev);
}

#[test]
fn what_must_not_be_moved_is_refused_and_nothing_changes() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = applied(&r2, 2);
    let good = project.read("terraform.tfstate");
    let text = String::from_utf8(good.clone()).unwrap();
    let (lineage, serial, _) = identity(&good);
    let foreign = text.replace(&lineage, "00000000-0000-0000-0000-000000000000");
    let newer = text.replace(&format!("\"serial\": {serial}"), &format!("\"serial\": {}", serial + 5));
    let fork = text.replace("value 0", "value x");
    let migrate = ["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"];
    for (target, code) in
        [(&foreign, "WL0719"), (&newer, "WL0720"), (&fork, "WL0721"), (&"{".to_owned(), "WL0715")]
    {
        r2.clear();
        r2.put(KEY, target.as_bytes());
        assert_eq!(project.windlass_code(&migrate), code);
        assert_eq!(r2.objects(), [(KEY.to_owned(), target.clone().into_bytes())], "{code}");
        assert_eq!(project.read("terraform.tfstate"), good, "{code}");
    }
    r2.clear();
    let version_3 = r#"{"version":3,"serial":1,"lineage":"a","modules":[]}"#;
    let no_resources = format!(r#"{{"version":4,"serial":1,"lineage":"{lineage}","resources":[]}}"#);
    for (source, code) in [
        ("", "WL0714"),
        (version_3, "WL0716"),
        (&no_resources, "WL0718"),
        (&text[..text.len() / 2], "WL0715"),
    ] {
        project.write("terraform.tfstate", source);
        assert_eq!(project.windlass_code(&migrate), code);
        assert_eq!(r2.keys(), Vec::<String>::new(), "{code}");
        assert_eq!(project.read("terraform.tfstate"), source.as_bytes(), "{code}");
    }
    std::fs::remove_file(project.file("terraform.tfstate")).unwrap();
    assert_eq!(project.windlass_code(&migrate), "WL0713");
}

/// Terraform waits for our lock, and we for Terraform's.
#[test]
fn terraform_and_windlass_honour_each_others_locks() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = applied(&r2, 2);
    project.windlass_json(&["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"]);
    backend(&project);
    project.terraform_ok(&["init", "-input=false"]);

    // Terraform's own lock stops us; its ID breaks it.
    let slow = Project::new(1).with(&r2);
    slow.write(
        "main.tf",
        "resource \"terraform_data\" \"slow\" {\n  provisioner \"local-exec\" {\n    command = \"touch begun; sleep 3\"\n  }\n}\n",
    );
    std::fs::copy(project.file("backend.tf"), slow.file("backend.tf")).unwrap();
    slow.terraform_ok(&["init", "-input=false"]);
    let output = std::thread::scope(|scope| {
        let apply = scope.spawn(|| slow.terraform(&["apply", "-input=false", "-auto-approve"]));
        while !slow.file("begun").exists() {
            assert!(!apply.is_finished(), "{}", said(&apply.join().unwrap()));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let locks = project.windlass_json(&["state", "locks", ADDRESS]);
        assert_eq!(locks["locks"][0]["operation"], "OperationTypeApply");
        assert_eq!(locks["locks"][0]["owner_is_gone"], false);
        let serial = identity(&r2.object(KEY).unwrap()).1.to_string();
        assert_eq!(project.windlass_code(&["state", "restore", ADDRESS, &serial, "--yes"]), "WL0709");
        apply.join().unwrap()
    });
    assert!(output.status.success(), "{}", said(&output));

    // Ours stops Terraform.
    let store = windlass_state::store::Store::new(std::sync::Arc::new(r2.client()));
    let held = r2.block_on(store.lock(KEY, "restore", std::time::Duration::ZERO)).unwrap();
    let refused = project.terraform(&["plan", "-input=false", "-no-color"]);
    assert!(!refused.status.success() && said(&refused).contains(&held.info.id), "{}", said(&refused));
    assert_eq!(project.windlass_code(&["state", "unlock", ADDRESS, "other", "--yes"]), "WL0710");
    project.windlass_json(&["state", "unlock", ADDRESS, &held.info.id, "--yes"]);
    assert_eq!(project.windlass_json(&["state", "locks", ADDRESS])["locks"].as_array().unwrap().len(), 0);
    assert!(project.plan_code().is_some_and(|code| code != 1));
}

/// From one service to another, each with keys of its own, and back.
#[test]
fn a_state_goes_from_one_service_to_another() {
    let (old, new) = (LocalR2::new(), LocalR2::new());
    let state = br#"{"version":4,"serial":3,"lineage":"a","resources":[{"instances":[{}]}]}"#;
    old.put("nats.tfstate", state);
    let project = |target: &LocalR2, source: &LocalR2| {
        let variables = source.variables();
        variables.iter().fold(Project::new(0).with(target), |project, (name, value)| {
            project.env(&name.replace("AWS_", "WINDLASS_FROM_"), value)
        })
    };
    let migrate = |source: &LocalR2, target: &LocalR2, from: &str, to: &str| {
        let endpoint = source.server.endpoint().to_owned();
        project(target, source).windlass_json(&[
            "state",
            "migrate",
            "--from",
            from,
            "--to",
            to,
            "--yes",
            "--from-endpoint",
            &endpoint,
        ])
    };
    let report = migrate(&old, &new, "s3://states/nats.tfstate", ADDRESS);
    assert_eq!(report["workspaces"][0]["action"], "create");
    assert_eq!(new.object(KEY).unwrap(), state);
    assert_eq!(old.keys(), ["nats.tfstate"], "the source stays as it was");
    let report = migrate(&new, &old, ADDRESS, "s3://states/nats.tfstate");
    assert_eq!(report["workspaces"][0]["action"], "same");
}

/// What was begun is given up where everything is whole; the same command again finishes.
#[test]
fn ctrl_c_leaves_no_lock() {
    let r2 = LocalR2::new();
    let project = Project::new(0).with(&r2);
    let state = r#"{"version":4,"serial":3,"lineage":"a","resources":[{"instances":[{}]}]}"#;
    project.write("terraform.tfstate", state);
    // The write of the state takes its time, and Ctrl-C comes meanwhile.
    let slow = Fault::next("PUT", &format!("states/{KEY}"), Effect::Delay(5_000));
    r2.server.inject(slow);
    let child = project.windlass_start(&[
        "state",
        "migrate",
        "--from",
        "terraform.tfstate",
        "--to",
        ADDRESS,
        "--yes",
    ]);
    while !r2.keys().iter().any(|key| key.starts_with("history/")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    windlass_tests::signal(i32::try_from(child.id()).unwrap(), windlass_tests::Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(!r2.keys().iter().any(|key| key.ends_with(".tflock")), "{:?}", r2.keys());
    assert_eq!(project.read("terraform.tfstate"), state.as_bytes());
    project.windlass_json(&["state", "migrate", "--from", "terraform.tfstate", "--to", ADDRESS, "--yes"]);
    assert_eq!(r2.object(KEY).unwrap(), state.as_bytes());
}
