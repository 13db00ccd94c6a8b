//! The example in `terraform/` is formatted, valid, and applies with its state on R2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use windlass_tests::repository;
use windlass_tests::terraform::{LocalR2, Project, has_terraform, identity, said};

const FILES: [&str; 6] = [
    "cloudflare-r2-backend.tf",
    "main.tf",
    "outputs.tf",
    "terraform.tfvars.example",
    "variables.tf",
    "versions.tf",
];

#[test]
fn the_example_applies_with_its_state_on_r2() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = Project::new(0).with(&r2);
    // A copy, so that nothing is left in the repository.
    for file in FILES {
        let text = std::fs::read_to_string(repository().join("terraform").join(file)).unwrap();
        project.write(file, &text.replace("../windlass.toml", "windlass.toml"));
    }
    std::fs::copy(repository().join("windlass.toml"), project.file("windlass.toml")).unwrap();
    std::fs::copy(project.file("terraform.tfvars.example"), project.file("terraform.tfvars")).unwrap();
    project.terraform_ok(&["fmt", "-check", "-diff"]);
    project.terraform_ok(&[
        "init",
        "-input=false",
        "-backend-config=bucket=states",
        "-backend-config=key=nats/terraform.tfstate",
    ]);
    project.terraform_ok(&["validate"]);
    project.terraform_ok(&["apply", "-input=false", "-auto-approve"]);
    let outputs: serde_json::Value =
        serde_json::from_str(&project.terraform_ok(&["output", "-json"])).unwrap();
    assert_eq!(outputs["fleet"]["value"], "acme");
    assert_eq!(project.plan_code(), Some(0));
    assert_eq!(identity(&r2.object("nats/terraform.tfstate").unwrap()).2, 1);
    let sound = project.windlass_json(&["state", "verify", "r2://states/nats/terraform.tfstate"]);
    assert_eq!(sound["sound"], true, "{sound}");
    // A changed fleet file is a changed plan; what makes no sense is refused.
    project.write("windlass.toml", "[fleet]\nname = \"acme\"\n");
    assert_eq!(project.plan_code(), Some(2));
    for bad in ["-var=environment=moon", "-var=fleet=Acme!", "-var=fleet_file=absent.toml"] {
        let refused = project.terraform(&["plan", "-input=false", "-no-color", bad]);
        assert!(!refused.status.success(), "{bad}: {}", said(&refused));
    }
}

/// Every file of the example is in the test.
#[test]
fn no_file_of_the_example_is_forgotten() {
    let entries = std::fs::read_dir(repository().join("terraform")).unwrap();
    let mut found: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".tf") || name.ends_with(".example"))
        .collect();
    found.sort();
    assert_eq!(found, FILES);
}
