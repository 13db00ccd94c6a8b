//! Terraform through `windlass state exec` and `windlass state serve`: an existing project works as it is, and its state is
//! kept, versioned, encrypted, and never left locked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use secrecy::ExposeSecret;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};
use windlass_sandbox::r2::{Effect, Fault, R2_WRITE_INTERVAL};
use windlass_tests::terraform::{LocalR2, Project, has_terraform, identity, said};

const KEY: &str = "nats/terraform.tfstate";
const ADDRESS: &str = "r2://states/nats/terraform.tfstate";
const APPLY: [&str; 4] = ["terraform", "apply", "-input=false", "-auto-approve"];

/// A project as people have it on Amazon: nothing in it knows of Windlass or R2.
fn project(r2: &LocalR2, count: usize) -> Project {
    let project = Project::new(count).with(r2);
    project.write(
        "backend.tf",
        &format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"some-bucket\"\n    key = \"{KEY}\"\n    \
             region = \"eu-central-1\"\n    use_lockfile = true\n    encrypt = true\n  }}\n}}\n"
        ),
    );
    project
}

fn exec(project: &Project, options: &[&str], command: &[&str]) -> Output {
    project.windlass(&[&["state", "exec", "--store", "r2://states"], options, &["--"], command].concat())
}

fn exec_ok(project: &Project, options: &[&str], command: &[&str]) -> String {
    let output = exec(project, options, command);
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn init(project: &Project, options: &[&str]) {
    exec_ok(project, options, &["terraform", "init", "-input=false"]);
}

fn locks(r2: &LocalR2) -> Vec<String> {
    r2.keys().into_iter().filter(|key| key.ends_with(".tflock")).collect()
}

fn serials(project: &Project, options: &[&str]) -> Vec<u64> {
    let history = project.windlass_json(&[&["state", "history", ADDRESS], options].concat());
    history["versions"].as_array().unwrap().iter().map(|one| one["serial"].as_u64().unwrap()).collect()
}

fn audit(project: &Project) -> Vec<serde_json::Value> {
    let text = String::from_utf8(project.read(".windlass/state-audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes the resource wait while it is made, so that an apply can be interrupted.
fn slow(project: &Project, seconds: u32) {
    project.write(
        "slow.tf",
        &format!(
            "resource \"terraform_data\" \"slow\" {{\n  provisioner \"local-exec\" {{\n    \
             command = \"touch begun; sleep {seconds}\"\n  }}\n}}\n"
        ),
    );
}

fn wait_for(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_existing_project_works_as_it_is() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    r2.server.limit_writes(Some(R2_WRITE_INTERVAL));
    let project = project(&r2, 2);
    init(&project, &[]);
    for count in [2, 3, 4] {
        project.resources(count);
        exec_ok(&project, &[], &APPLY);
    }
    let plan = ["terraform", "plan", "-input=false", "-detailed-exitcode"];
    assert_eq!(exec(&project, &[], &plan).status.code(), Some(0));
    project.resources(5);
    assert_eq!(exec(&project, &[], &plan).status.code(), Some(2), "the exit code is Terraform's");

    let state = r2.object(KEY).unwrap();
    let (_, serial, resources) = identity(&state);
    assert_eq!(resources, 1, "one resource of four instances");
    assert_eq!(serials(&project, &[]).first(), Some(&serial));
    assert_eq!(serials(&project, &[]).len(), 3, "each version is kept: {:?}", serials(&project, &[]));

    // Workspaces.
    exec_ok(&project, &[], &["terraform", "workspace", "new", "dev"]);
    exec_ok(&project, &[], &APPLY);
    let list = exec_ok(&project, &[], &["terraform", "workspace", "list"]);
    assert!(list.contains("default") && list.contains("* dev"), "{list}");
    assert!(r2.object(&format!("env:/dev/{KEY}")).is_some());
    exec_ok(&project, &[], &["terraform", "destroy", "-auto-approve"]);
    exec_ok(&project, &[], &["terraform", "workspace", "select", "default"]);
    exec_ok(&project, &[], &["terraform", "workspace", "delete", "dev"]);
    assert!(r2.object(&format!("env:/dev/{KEY}")).is_none());
    assert!(
        r2.keys().iter().any(|key| key.starts_with(&format!("history/env:/dev/{KEY}/"))),
        "it can be had back"
    );
    assert_eq!(r2.object(KEY).unwrap(), state, "the other workspace is as it was");
    assert!(locks(&r2).is_empty());

    // The audit has what happened, and no secret.
    let audit = audit(&project);
    for operation in ["read", "write", "lock", "unlock", "list", "delete"] {
        assert!(
            audit.iter().any(|line| line["operation"] == operation && line["result"] == "done"),
            "{operation}"
        );
    }
    let last = audit.iter().rfind(|line| line["operation"] == "write" && line["place"] == ADDRESS).unwrap();
    assert_eq!((last["serial"].as_u64(), last["protocol"].as_str()), (Some(serial), Some("s3")));
    let text = String::from_utf8(project.read(".windlass/state-audit.jsonl")).unwrap();
    assert!(!text.contains("web_server") && !text.contains(r2.server.secret_access_key().expose_secret()));
}

/// A block for R2 as it stands in many projects, endpoint and all.
#[test]
fn a_block_that_names_its_endpoint_comes_here_all_the_same() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = Project::new(2).with(&r2);
    project.windlass_json(&["state", "backend", ADDRESS, "--write", "backend.tf"]);
    let text = String::from_utf8(project.read("backend.tf")).unwrap();
    let text = match text.contains("endpoints") {
        true => text.replace(r2.server.endpoint(), "https://0123456789abcdef.r2.cloudflarestorage.com"),
        false => text.replace(
            "use_path_style",
            "endpoints = { s3 = \"https://0123456789abcdef.r2.cloudflarestorage.com\" }\n    use_path_style",
        ),
    };
    project.write("backend.tf", &text);
    assert!(text.contains("r2.cloudflarestorage.com"), "{text}");
    for _ in 0..2 {
        init(&project, &[]);
        exec_ok(&project, &[], &APPLY);
    }
    project.resources(3);
    exec_ok(&project, &[], &APPLY);
    assert_eq!(serials(&project, &[]).len(), 2);
    assert!(locks(&r2).is_empty());
    assert_eq!(String::from_utf8(project.read("backend.tf")).unwrap(), text);
}

#[test]
fn a_command_that_fails_says_so_itself() {
    let r2 = LocalR2::new();
    let project = project(&r2, 1);
    assert_eq!(exec(&project, &[], &["sh", "-c", "exit 42"]).status.code(), Some(42));
    assert_eq!(exec(&project, &[], &["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    let missing = exec(&project, &[], &["no-such-program"]);
    assert!(said(&missing).contains("WL0738") && missing.status.code() == Some(127), "{}", said(&missing));
    let open = exec(&project, &["--listen", "0.0.0.0:0"], &["true"]);
    assert!(said(&open).contains("WL0735") && open.status.code() == Some(3), "{}", said(&open));
    if !has_terraform() {
        return;
    }
    init(&project, &[]);
    project.write("bad.tf", "resource \"terraform_data\" \"bad\" {\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n");
    let output = exec(&project, &[], &APPLY);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(locks(&r2).is_empty());
    assert!(r2.object(KEY).is_some(), "what was made before the failure is known");
}

/// Starts `exec` in the project and waits until its apply is in the middle.
fn begin(project: &Project) -> Child {
    let _ = fs::remove_file(project.file("begun"));
    let child =
        project.windlass_start(&[&["state", "exec", "--store", "r2://states", "--"], &APPLY[..]].concat());
    wait_for("the apply begins", || project.file("begun").exists());
    child
}

/// The process that it has started, which leads a group of its own.
fn child_of(parent: &Child) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.id())).unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    let pids: Vec<u32> = children
        .flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    assert_eq!(pids.len(), 1);
    pids[0]
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn ctrl_c_reaches_terraform_once_and_leaves_no_lock() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = project(&r2, 1);
    init(&project, &[]);
    slow(&project, 3);
    let child = begin(&project);
    assert_eq!(locks(&r2).len(), 1);
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let text = said(&output);
    assert!(text.contains("Interrupt received") && !text.contains("Two interrupts"), "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(locks(&r2).is_empty(), "{text}");
    assert!(r2.object(KEY).is_some(), "what Terraform had made is known");
}

/// At a terminal the command is in the foreground with Windlass: Ctrl-C reaches both from there, and what somebody sends to
/// Windlass alone must be passed on.
#[test]
fn at_a_terminal_an_interrupt_reaches_the_command_once_however_it_comes() {
    let r2 = LocalR2::new();
    // What came in the time in which a second one would have come.
    let script =
        "trap 'echo got >> got' INT; touch begun; while [ ! -e got ]; do sleep 0.05; done; sleep 0.5; exit 7";
    for typed in [true, false] {
        let project = project(&r2, 0);
        let command = ["state", "exec", "--store", "r2://states", "--", "sh", "-c", script];
        let (child, mut person) = project.windlass_at_a_terminal(&command);
        wait_for("the command begins", || project.file("begun").exists());
        if typed {
            person.write_all(b"\x03").unwrap();
        } else {
            signal(&child, "-INT");
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "typed: {typed}; {}", said(&output));
        assert_eq!(project.read("got"), b"got\n", "typed: {typed}");
    }
}

/// The endpoint that a project was told at init is listened for again, and one alone can have it.
#[test]
fn the_second_of_two_in_a_project_with_an_endpoint_says_why_it_did_not_start() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = Project::new(1).with(&r2);
    project.windlass_json(&[
        "state",
        "backend",
        ADDRESS,
        "--terraform-version",
        "1.11.4",
        "--write",
        "backend.tf",
    ]);
    assert!(String::from_utf8(project.read("backend.tf")).unwrap().contains("endpoints"));
    init(&project, &[]);
    slow(&project, 3);
    let first = begin(&project);
    let refused = exec(&project, &[], &["sh", "-c", "touch started"]);
    let text = said(&refused);
    assert!(text.contains("WL0736") && text.contains("other `windlass state exec`"), "{text}");
    assert!(!project.file("started").exists(), "its command was not started");
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    // Afterwards it is free again, and nothing is lost or locked.
    exec_ok(&project, &[], &APPLY);
    assert_eq!(identity(&r2.object(KEY).unwrap()).2, 2);
    assert!(locks(&r2).is_empty());
}

/// A plain `terraform apply` goes past the history. That is said, and its version is not lost at the next one.
#[test]
fn what_a_plain_apply_wrote_is_said_and_kept_by_the_next_exec() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = Project::new(1).with(&r2);
    project.windlass_json(&["state", "backend", ADDRESS, "--write", "backend.tf"]);
    init(&project, &[]);
    exec_ok(&project, &[], &APPLY);
    let verify = || project.windlass_json(&["state", "verify", ADDRESS]).to_string();
    assert!(!verify().contains("past Windlass"), "{}", verify());

    project.resources(2);
    project.terraform_ok(&["init", "-input=false", "-reconfigure"]);
    project.terraform_ok(&["apply", "-input=false", "-auto-approve"]);
    let (_, plain, _) = identity(&r2.object(KEY).unwrap());
    let said = verify();
    assert!(said.contains("past Windlass") && said.contains("windlass state exec"), "{said}");
    assert!(!serials(&project, &[]).contains(&plain));

    project.resources(3);
    exec_ok(&project, &[], &["terraform", "init", "-input=false", "-reconfigure"]);
    exec_ok(&project, &[], &APPLY);
    assert!(serials(&project, &[]).contains(&plain), "{:?}", serials(&project, &[]));
    assert!(!verify().contains("past Windlass"), "{}", verify());
}

/// A store in a directory is asked with the path of a state in it, however deep that is, and from wherever.
#[test]
fn a_state_in_a_directory_store_has_its_history_and_its_locks() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let key = windlass_state::keys::generate().1.expose_secret().to_owned();
    let project = project(&r2, 2).env("STATE_KEY", &key);
    let exec_in = |command: &[&str]| {
        let store = ["state", "exec", "--store", "dir:states", "--key", "env:STATE_KEY", "--"];
        let output = project.windlass(&[&store, command].concat());
        assert!(output.status.success(), "{command:?}: {}", said(&output));
    };
    exec_in(&["terraform", "init", "-input=false"]);
    exec_in(&APPLY);
    project.resources(3);
    exec_in(&APPLY);
    let file = format!("states/{KEY}");
    let whole = project.file(&file).display().to_string();
    for address in [&file, &whole] {
        let ask = |command: &[&str]| {
            project.windlass_json(
                &[&["state", command[0], address], &command[1..], &["--key", "env:STATE_KEY"]].concat(),
            )
        };
        let versions = ask(&["history"])["versions"].as_array().unwrap().clone();
        let serials: Vec<String> = versions.iter().map(|one| one["serial"].to_string()).collect();
        assert!(serials.len() >= 2, "{serials:?}");
        let (new, old) = (&serials[0], &serials[1]);
        assert_eq!(ask(&["show", old])["summary"]["instances"], 2);
        assert!(ask(&["diff", old, new]).to_string().contains("web_server"));
        assert_eq!(ask(&["verify", "--deep"])["sound"], true);
        let restored = ask(&["restore", old, "--yes"]);
        assert_eq!(restored["restored"].to_string(), *old, "{restored}");
        assert_eq!(ask(&["show"])["summary"]["instances"], 2);
        ask(&["restore", new, "--yes"]);
    }
    exec_in(&["terraform", "plan", "-input=false", "-detailed-exitcode"]);
    assert!(!String::from_utf8_lossy(&project.read(&file)).contains("web_server"), "it stays encrypted");
}

#[test]
fn the_lock_of_a_terraform_that_was_killed_is_released() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = project(&r2, 1);
    init(&project, &[]);
    slow(&project, 5);
    // Only Terraform dies: whoever ran it tidies up.
    let _ = fs::remove_file(project.file("begun"));
    let script = "terraform apply -input=false -auto-approve & pid=$!; \
                  while [ ! -e begun ]; do sleep 0.1; done; kill -9 $pid; wait $pid";
    let output = exec(&project, &[], &["sh", "-c", script]);
    assert_eq!(output.status.code(), Some(137), "{}", said(&output));
    assert!(said(&output).contains("released the lock"), "{}", said(&output));
    assert!(locks(&r2).is_empty());

    // Windlass dies, and its Terraform lives on: nobody gets the lock.
    slow(&project, 60);
    let mut windlass = begin(&project);
    let terraform = child_of(&windlass);
    windlass.kill().unwrap();
    windlass.wait().unwrap();
    assert_eq!(locks(&r2).len(), 1);
    let refused = exec(&project, &[], &APPLY);
    assert!(said(&refused).contains("Error acquiring the state lock"), "{}", said(&refused));
    // When that is gone as well, the next one takes the lock over.
    assert!(Command::new("kill").args(["-9", "--", &format!("-{terraform}")]).status().unwrap().success());
    fs::remove_file(project.file("slow.tf")).unwrap();
    wait_for("the lock's owner is gone", || exec(&project, &[], &APPLY).status.success());
    assert!(audit(&project).iter().any(|line| line["took_over"].is_string()));
    assert!(locks(&r2).is_empty());
}

#[test]
fn two_applies_at_once_lose_nothing() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = project(&r2, 1);
    init(&project, &[]);
    slow(&project, 2);
    let first = begin(&project);
    let refused = exec(&project, &[], &APPLY);
    let text = said(&refused);
    assert!(text.contains("Error acquiring the state lock"), "{text}");
    let waits = exec(&project, &[], &["terraform", "apply", "-auto-approve", "-lock-timeout=60s"]);
    assert!(waits.status.success(), "{}", said(&waits));
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    let (_, serial, resources) = identity(&r2.object(KEY).unwrap());
    assert_eq!(resources, 2);
    assert_eq!(serials(&project, &[]).first(), Some(&serial));
    assert!(locks(&r2).is_empty());
}

#[test]
fn what_leaves_the_machine_is_encrypted() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let key = windlass_state::keys::generate().1.expose_secret().to_owned();
    let project = project(&r2, 2).env("STATE_KEY", &key);
    let options = ["--key", "env:STATE_KEY"];
    init(&project, &options);
    exec_ok(&project, &options, &APPLY);
    assert!(exec_ok(&project, &options, &["terraform", "state", "list"]).contains("web_server"));
    let states: Vec<_> = r2.objects();
    assert!(states.len() >= 2);
    for (name, bytes) in states {
        for part in ["web_server", "terraform_data", "lineage", "value 1"] {
            assert!(
                !bytes.windows(part.len()).any(|window| window == part.as_bytes()),
                "{name} holds {part}"
            );
        }
    }
    // Without the key, nothing is read and nothing is overwritten.
    let before = r2.object(KEY);
    let output = exec(&project, &[], &APPLY);
    assert!(!output.status.success() && said(&output).contains("WL0722"), "{}", said(&output));
    assert_eq!(r2.object(KEY), before);
}

#[test]
fn what_ends_terraform_on_r2_is_absorbed() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = project(&r2, 1);
    init(&project, &[]);
    exec_ok(&project, &[], &APPLY);
    // 429 on the state, and the answer to the lock is lost.
    project.resources(3);
    r2.server.inject(Fault { times: 3, ..Fault::next("PUT", &format!("states/{KEY}"), Effect::Error(429)) });
    r2.server.inject(Fault::next("PUT", &format!("states/{KEY}.tflock"), Effect::LoseAnswer));
    exec_ok(&project, &[], &APPLY);
    assert!(locks(&r2).is_empty());
    assert!(!project.file("errored.tfstate").exists());

    // Another project's state is not overwritten.
    let theirs = r2.object(KEY).unwrap();
    let mine = Project::new(2).with(&r2);
    mine.terraform_ok(&["init", "-input=false"]);
    mine.terraform_ok(&["apply", "-input=false", "-auto-approve"]);
    mine.write("backend.tf", &String::from_utf8(project.read("backend.tf")).unwrap());
    let output = exec(&mine, &[], &["terraform", "init", "-input=false", "-migrate-state", "-force-copy"]);
    assert!(!output.status.success() && said(&output).contains("WL0719"), "{}", said(&output));
    assert_eq!(r2.object(KEY).unwrap(), theirs);
    assert!(locks(&r2).is_empty());
}

#[test]
fn a_state_above_five_megabytes_goes_through() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = project(&r2, 1);
    init(&project, &[]);
    project.write(
        "large.tf",
        "resource \"terraform_data\" \"large\" {\n  input = join(\"\", [for n in range(1000) : format(\"%07000d\", n)])\n}\n",
    );
    exec_ok(&project, &[], &APPLY);
    assert!(r2.object(KEY).unwrap().len() > 6_000_000);
    let plan = exec(&project, &[], &["terraform", "plan", "-input=false", "-detailed-exitcode"]);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
}

#[test]
fn the_http_backend_works_as_well() {
    if !has_terraform() {
        return;
    }
    let r2 = LocalR2::new();
    let project = Project::new(2).with(&r2);
    project.write("backend.tf", "terraform {\n  backend \"http\" {}\n}\n");
    let options = ["--backend", "http", "--http-state", KEY];
    init(&project, &options);
    exec_ok(&project, &options, &APPLY);
    slow(&project, 2);
    let mut command = vec!["state", "exec", "--store", "r2://states"];
    command.extend(options);
    command.push("--");
    command.extend(APPLY);
    let first = project.windlass_start(&command);
    wait_for("the apply begins", || project.file("begun").exists());
    let second = exec(&project, &options, &APPLY);
    assert!(said(&second).contains("Error acquiring the state lock"), "{}", said(&second));
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    assert_eq!(identity(&r2.object(KEY).unwrap()).2, 2);
    assert!(serials(&project, &[]).len() >= 2);
    assert!(locks(&r2).is_empty());
    // With the variables of AWS untouched.
    let seen = exec_ok(&project, &options, &["sh", "-c", "echo $AWS_ENDPOINT_URL_S3"]);
    assert_eq!(seen.trim(), r2.server.endpoint());
    // The same state through the other backend.
    let other = self::project(&r2, 2);
    slow(&other, 0);
    init(&other, &[]);
    let plan = exec(&other, &[], &["terraform", "plan", "-input=false", "-detailed-exitcode"]);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
}

#[test]
fn serve_says_what_to_set_and_takes_no_other_keys() {
    if !has_terraform() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = format!("dir:{}", directory.path().display());
    let place = Project::new(0);
    let mut server = place.windlass_start(&["state", "serve", "--store", &store, "--format", "json"]);
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said_by_serve: serde_json::Value = serde_json::from_str(&line).unwrap();
    let variables = said_by_serve["variables"].as_object().unwrap();
    let r2 = LocalR2::new();
    let mut project = project(&r2, 2);
    for (name, value) in variables {
        project = project.env(name, value.as_str().unwrap());
    }
    project.terraform_ok(&["init", "-input=false", "-backend-config=use_path_style=true"]);
    project.terraform_ok(&["apply", "-input=false", "-auto-approve"]);
    assert!(directory.path().join(KEY).exists());
    assert_eq!(project.plan_code(), Some(0));
    assert!(r2.keys().is_empty(), "nothing went past it");

    let project = project.env("AWS_SECRET_ACCESS_KEY", "another");
    let output = project.terraform(&["plan", "-input=false"]);
    assert!(said(&output).contains("SignatureDoesNotMatch"), "{}", said(&output));
    let address = variables["TF_HTTP_ADDRESS"].as_str().unwrap().replace("terraform.tfstate", KEY);
    let status = r2.block_on(async { reqwest::get(&address).await.unwrap().status() });
    assert_eq!(status, 401);

    signal(&server, "-TERM");
    assert!(server.wait().unwrap().success());
}
