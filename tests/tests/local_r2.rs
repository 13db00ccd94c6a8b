//! The local R2 beside other S3 servers: Cloudflare's own local R2 (wrangler) and SeaweedFS. What each does is found out by
//! asking it, and `docs/r2-differences.md` says what was found: the test fails when the page says otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use futures::future::join_all;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use windlass_tests::s3::cases::{self, Answer, Case, Group};
use windlass_tests::s3::race;
use windlass_tests::s3::servers::{self, Server};
use windlass_tests::s3::sigv4::{Form, Keys, sha256, sign};
use windlass_tests::{Signal, get, http_client, repository, signal, windlass};

/// As many takers and rounds as decide that a lock is one.
const TAKERS: usize = 50;
const ROUNDS: usize = 50;

/// SeaweedFS takes seconds for a round of fifty: fifty rounds of it are for the long run alone.
fn rounds_of(server: &Server) -> usize {
    if server.name == "SeaweedFS" && std::env::var_os("WINDLASS_LONG").is_none() { 3 } else { ROUNDS }
}

const LOCK: &str = "Of 50 who create one key at once, one does, and its bytes are there";
const COUNT: &str = "4 who count one key up with If-Match, 10 times each, count to 40";

/// What a server does otherwise, by case; `None`: as R2.
type Column = Vec<Option<String>>;

async fn column(server: &Server, cases: &[Case]) -> Column {
    let client = http_client();
    let mut found = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        found.push(cases::run(&client, server, number, case).await.err());
    }
    let rounds = rounds_of(server);
    let lock = race::lock(server, TAKERS, rounds).await;
    eprintln!("{}: {rounds} rounds: {lock:?}", server.name);
    found.push((lock.clean != rounds).then(|| "**several do**".to_owned()));
    let (stands_at, wanted) = race::count(server, 4, 10).await;
    eprintln!("{}: counted to {stands_at} of {wanted}", server.name);
    found.push((stands_at != wanted).then(|| "**updates are lost**".to_owned()));
    found
}

/// The rows in which a server differs, and for each group how many there are in which none does.
fn table(cases: &[Case], columns: &[(&str, Column)]) -> String {
    let names = cases.iter().map(|case| (case.of, case.name.as_str()));
    let rows: Vec<_> = names.chain([(Group::Terraform, LOCK), (Group::Windlass, COUNT)]).collect();
    let mut text = String::new();
    for (group, title) in [
        (Group::Terraform, "What Terraform relies on"),
        (Group::Windlass, "What Windlass's state relies on"),
        (Group::Clients, "What other clients send"),
        (Group::Refused, "What R2 refuses, or takes and ignores"),
        (Group::Unknown, "What R2's documents leave open"),
    ] {
        writeln!(text, "\n### {title}\n").unwrap();
        let heads: String = columns.iter().map(|(name, _)| format!(" {name} |")).collect();
        writeln!(text, "| what R2 does |{heads}\n| --- |{}", " --- |".repeat(columns.len())).unwrap();
        for (number, (_, name)) in rows.iter().enumerate().filter(|(_, (of, _))| *of == group) {
            let cell = |column: &Column| column[number].as_deref().unwrap_or("✓").to_owned();
            let cells: String = columns.iter().map(|(_, column)| format!(" {} |", cell(column))).collect();
            writeln!(text, "| {} |{cells}", name.replace('|', "\\|")).unwrap();
        }
    }
    text
}

const BEGIN: &str = "<!-- found: begin -->\n";
const END: &str = "\n<!-- found: end -->";

#[tokio::test(flavor = "multi_thread")]
async fn what_each_server_does_is_what_the_page_says() {
    let cases = cases::all();
    let local = servers::sandbox(1);
    let (Some(wrangler), Some(seaweedfs)) = (servers::wrangler().await, servers::seaweedfs().await) else {
        return;
    };
    let servers = [&local, &wrangler, &seaweedfs];
    let columns = join_all(servers.map(|server| column(server, &cases))).await;
    let columns: Vec<_> = servers.iter().map(|server| server.name).zip(columns).collect();
    let differs: Vec<_> = cases.iter().zip(&columns[0].1).filter(|(_, found)| found.is_some()).collect();
    assert!(differs.is_empty(), "the local R2 does not what R2 does: {differs:?}");

    let path = repository().join("docs/r2-differences.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (said, after) = rest.split_once(END).expect("where the table ends");
    let found = table(&cases, &columns);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", found.trim_end())).unwrap();
        return;
    }
    assert_eq!(
        said.trim(),
        found.trim(),
        "docs/r2-differences.md says otherwise: UPDATE_GOLDEN=1, then look at it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_directory_are_one_r2() {
    let server = servers::sandbox(2);
    let lock = race::lock(&server, TAKERS, ROUNDS).await;
    assert_eq!((lock.clean, lock.winners, lock.overwritten), (ROUNDS, vec![], 0));
    let (stands_at, wanted) = race::count(&server, 8, 10).await;
    assert_eq!(stands_at, wanted);
}

/// What a script or a supervisor relies on: one line, an exit code, and no keys where they are not wanted.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_process() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = |arguments: &[&str]| {
        let mut command = Command::new(windlass());
        command.args(["sandbox", "r2", "--directory"]).arg(directory.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    for (end, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let arguments = ["--hide-keys", "--limit-writes", "--bucket", "states", "--admin", "127.0.0.1:0"];
        let mut child = sandbox(&arguments).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let printed: Value = serde_json::from_str(&line).unwrap();
        let names: Vec<_> = printed.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["admin_url", "bucket", "endpoint"]);
        let kept = fs::read_to_string(directory.path().join("r2/credentials")).unwrap();
        let (id, secret) = kept.trim().split_once('\n').unwrap();
        let keys = Keys { id: id.into(), secret: secret.into() };
        let limit = format!("{}/write-interval", printed["admin_url"].as_str().unwrap());
        assert_eq!(get(&limit).await, (200, "1000".into()), "R2's own limit");
        // Longer than any machine takes for two requests.
        assert_eq!(http_client().put(&limit).body("3600000").send().await.unwrap().status(), 204);
        let endpoint = printed["endpoint"].as_str().unwrap();
        let mut statuses = Vec::new();
        for key in ["a", "a", "b"] {
            let path = format!("/states/{key}-{code}");
            let signed = sign(Form::Payload, &keys, endpoint, ("PUT", &path), &[], &[], b"x");
            statuses.push(Answer::of(&http_client(), "PUT", signed).await.unwrap().status);
        }
        assert_eq!(statuses, [200, 429, 200]);
        signal(i32::try_from(child.id()).unwrap(), end);
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(code));
        assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    for (arguments, code) in [(["--listen", "0.0.0.0:0"], "WL0803"), (["--listen", "127.0.0.1:0"], "WL0804")]
    {
        let ended = sandbox(&arguments).args(["--bucket", "No_Bucket"]).output().unwrap();
        assert_eq!(ended.status.code(), Some(3));
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains(code), "{said}");
    }
}

/// What is killed at any moment leaves each key with bytes and description of one write, and of no older one than was
/// acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_writes() {
    let directory = tempfile::tempdir().unwrap();
    let rounds = if std::env::var_os("WINDLASS_LONG").is_some() { 50 } else { 8 };
    const KEYS: usize = 4;
    let mut acknowledged = [0_usize; KEYS];
    let mut next = 1;
    for round in 0..rounds {
        let mut server = servers::sandbox_in(directory.path(), 1);
        for (number, least) in acknowledged.iter_mut().enumerate() {
            let found = server.send("GET", &format!("key-{number}"), &[], b"").await.unwrap();
            if found.status == 404 {
                assert_eq!(*least, 0, "key {number} was acknowledged and is not there");
                continue;
            }
            let write: usize = found.headers["x-amz-meta-write"].parse().unwrap();
            assert!(write >= *least, "round {round}: write {least} was acknowledged, and {write} is there");
            assert_eq!(found.headers["x-amz-meta-sha256"], sha256(found.body.as_bytes()), "round {round}");
            *least = write;
        }
        let drafts = fs::read_dir(directory.path().join("r2/drafts")).unwrap().count();
        assert_eq!(drafts, 0, "what was left is swept up");
        let after = Duration::from_millis(rand::random_range(0..150));
        let begun = AtomicUsize::new(0);
        let writes = (0..KEYS).map(|number| {
            let (server, begun) = (&server, &begun);
            async move {
                let mut done = 0;
                for write in (next..).step_by(KEYS) {
                    let body = format!("{write} ").repeat(1 + write * 7919 % 40_000);
                    let (name, hash) = (write.to_string(), sha256(body.as_bytes()));
                    let about = [("x-amz-meta-write", name.as_str()), ("x-amz-meta-sha256", hash.as_str())];
                    match server.send("PUT", &format!("key-{number}"), &about, body.as_bytes()).await {
                        Some(answer) if answer.status == 200 => {
                            done = write;
                            begun.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => break,
                    }
                }
                done
            }
        });
        let pid = server.pid();
        let kill = async {
            while begun.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(after).await;
            signal(pid, Signal::KILL);
        };
        let (done, ()) = tokio::join!(join_all(writes), kill);
        for (least, done) in acknowledged.iter_mut().zip(done) {
            *least = done.max(*least);
        }
        next = acknowledged.iter().max().unwrap() + 100;
        server.kill();
    }
    assert!(acknowledged.iter().any(|write| *write > 0), "nothing was ever written");
}

/// A client that many have: what it sends, and how, is not ours.
#[tokio::test(flavor = "multi_thread")]
async fn boto3_works_with_it() {
    let Some(python_path) = servers::boto3() else { return };
    let server = servers::sandbox(1);
    let mut command = Command::new("python3");
    command.arg(repository().join("tests/python/s3_client.py")).args([&server.endpoints[0], &server.bucket]);
    command.env("PYTHONPATH", python_path).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", &server.keys.id).env("AWS_SECRET_ACCESS_KEY", &server.keys.secret);
    let done = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    assert_eq!(out.trim(), "put get head list copy condition customer-key multipart delete");
}

struct Project {
    terraform: PathBuf,
    directory: tempfile::TempDir,
    keys: Keys,
}

impl Project {
    fn new(terraform: PathBuf, server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!(
            r#"
terraform {{
  backend "s3" {{
    bucket                      = "{}"
    key                         = "nats/terraform.tfstate"
    region                      = "auto"
    endpoints                   = {{ s3 = "{}" }}
    use_lockfile                = true
    use_path_style              = true
    skip_credentials_validation = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_s3_checksum            = true
  }}
}}
variable "value" {{ default = "one" }}
resource "terraform_data" "some" {{
  count = 3
  input = "${{var.value}} ${{count.index}}"
}}
"#,
            server.bucket, server.endpoints[0]
        );
        fs::write(directory.path().join("main.tf"), configuration).unwrap();
        Self { terraform, directory, keys: server.keys.clone() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.terraform);
        command.args(arguments).current_dir(self.directory.path()).env("CHECKPOINT_DISABLE", "1");
        command.env("AWS_ACCESS_KEY_ID", &self.keys.id).env("AWS_SECRET_ACCESS_KEY", &self.keys.secret);
        command.stdin(Stdio::null());
        command
    }

    /// Runs Terraform: its exit code, and all that it said.
    async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.command(arguments);
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        eprintln!("terraform {}: {:?}", arguments.join(" "), done.status.code());
        (done.status.code().unwrap_or(-1), said)
    }

    async fn succeed(&self, arguments: &[&str]) {
        let (code, said) = self.run(arguments).await;
        assert_eq!(code, 0, "terraform {}: {said}", arguments.join(" "));
    }
}

async fn state(server: &Server, key: &str) -> Value {
    serde_json::from_str(&server.send("GET", key, &[], b"").await.unwrap().body).unwrap()
}

const STATE: &str = "nats/terraform.tfstate";
const LOCK_KEY: &str = "nats/terraform.tfstate.tflock";
const APPLY: [&str; 4] = ["apply", "-auto-approve", "-input=false", "-no-color"];

#[tokio::test(flavor = "multi_thread")]
async fn terraform_keeps_its_state_in_it() {
    let Some(terraform) = servers::terraform() else { return };
    let server = servers::sandbox(1);
    let project = Project::new(terraform, &server);
    project.succeed(&["init", "-input=false", "-no-color"]).await;
    project.succeed(&APPLY).await;
    assert_eq!(state(&server, STATE).await["resources"][0]["instances"].as_array().unwrap().len(), 3);
    assert_eq!(server.send("HEAD", LOCK_KEY, &[], b"").await.unwrap().status, 404, "the lock is given back");
    let (code, said) = project.run(&["plan", "-detailed-exitcode", "-input=false", "-no-color"]).await;
    assert_eq!(code, 0, "nothing is to be done: {said}");
    // What the facts say that Terraform sends is what it sent.
    let requests = server.requests().await;
    let sent = |method: &str, key: &str| -> Vec<&Value> {
        let path = format!("states/{key}");
        let is = |request: &&Value| request["method"] == method && request["path"] == path.as_str();
        requests.iter().filter(is).collect()
    };
    let (locks, states) = (sent("PUT", LOCK_KEY), sent("PUT", STATE));
    assert!(
        !locks.is_empty() && locks.iter().all(|request| request["if_none_match"] == "*"),
        "{requests:#?}"
    );
    assert!(states.iter().all(|request| request["if_match"].is_null()), "only the lock protects the state");
    assert!(sent("GET", STATE).iter().any(|request| request["status"] == 206), "it reads by range");

    project.succeed(&["workspace", "new", "-no-color", "prod"]).await;
    project.succeed(&APPLY).await;
    let key = format!("env:/prod/{STATE}");
    assert_eq!(state(&server, &key).await["resources"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_terraforms_one_waits_and_no_update_is_lost() {
    let Some(terraform) = servers::terraform() else { return };
    let server = servers::sandbox(1);
    let projects = [Project::new(terraform.clone(), &server), Project::new(terraform, &server)];
    for project in &projects {
        project.succeed(&["init", "-input=false", "-no-color"]).await;
    }
    projects[0].succeed(&APPLY).await;
    let before = state(&server, STATE).await;
    let apply = |value| [APPLY[0], APPLY[1], APPLY[2], APPLY[3], "-lock-timeout=60s", value];
    let (one, two) = (apply("-var=value=two"), apply("-var=value=three"));
    tokio::join!(projects[0].succeed(&one), projects[1].succeed(&two));
    let after = state(&server, STATE).await;
    assert_eq!(after["lineage"], before["lineage"]);
    assert!(
        after["serial"].as_u64() >= before["serial"].as_u64().map(|serial| serial + 2),
        "{before} {after}"
    );
    // A lock that another holds is respected, and named.
    let lock = r#"{"ID":"11111111-2222-3333-4444-555555555555","Operation":"OperationTypeApply","Info":"","Who":"somebody@elsewhere","Version":"1.11.4","Created":"2026-01-01T00:00:00Z","Path":"states/nats/terraform.tfstate"}"#;
    let held = server.send("PUT", LOCK_KEY, &[("if-none-match", "*")], lock.as_bytes()).await.unwrap();
    assert_eq!(held.status, 200);
    let (code, said) = projects[0].run(&APPLY).await;
    assert_eq!(code, 1);
    assert!(said.contains("somebody@elsewhere"), "{said}");
}

/// The faults that Windlass is to take away are here for the asking.
#[tokio::test(flavor = "multi_thread")]
async fn terraform_meets_the_faults_that_are_ordered() {
    let Some(terraform) = servers::terraform() else { return };
    let server = servers::sandbox(1);
    let project = Project::new(terraform, &server);
    project.succeed(&["init", "-input=false", "-no-color"]).await;
    // A second write within a second: it is not tried again, and the state is left in a file.
    let of_state = format!("states/{STATE}");
    server.order(&json!({ "method": "PUT", "key": of_state, "effect": { "error": 429 } })).await;
    let (code, said) = project.run(&APPLY).await;
    assert_eq!(code, 1, "{said}");
    assert!(project.directory.path().join("errored.tfstate").exists(), "{said}");
    // An answer that is lost: the SDK asks again, and meets its own lock.
    fs::remove_file(project.directory.path().join("errored.tfstate")).unwrap();
    server.order(&json!({ "method": "PUT", "key": "*.tflock", "effect": "lose_answer" })).await;
    let (code, said) = project.run(&APPLY).await;
    assert_eq!(code, 1, "{said}");
    assert_eq!(server.send("HEAD", LOCK_KEY, &[], b"").await.unwrap().status, 200, "the lock is an orphan");
}
