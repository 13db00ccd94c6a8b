//! Every bad request gets the status and the code that is written down for it, and leaves nothing behind: no message, no
//! file, and no word of the secret, a signature or a payload in a log or a metric, however much is logged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use windlass_events::signature::sign;
use windlass_tests::vectors::{self, ErrorCase, Errors};
use windlass_tests::{Delivery, Fleet, Github, Signal, get, raw_http, repository};

fn bytes(body: &Value) -> Vec<u8> {
    if let Some(text) = body.as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(text) = body["base64"].as_str() {
        return STANDARD.decode(text).unwrap();
    }
    let times = usize::try_from(body["repeat"][1].as_u64().unwrap()).unwrap();
    body["repeat"][0].as_str().unwrap().repeat(times).into_bytes()
}

/// The request of a case, as it is sent.
fn request(errors: &Errors, case: &ErrorCase) -> Vec<u8> {
    let base = |name: &str| errors.request[name].as_str().unwrap().to_owned();
    let body = bytes(case.body.as_ref().unwrap_or(&errors.request["body"]));
    let headers = errors.request["headers"].as_object().unwrap().iter();
    let mut headers: BTreeMap<String, Option<String>> =
        headers.map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned))).collect();
    headers.extend(case.headers.clone());
    let method = case.method.clone().unwrap_or_else(|| base("method"));
    let path = case.path.clone().unwrap_or_else(|| base("path"));
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: windlass\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        let Some(value) = value else { continue };
        let value = if value == "$signature" { sign(errors.secret.as_bytes(), &body) } else { value };
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

fn all_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all_files(&path, found) } else { found.push(path) }
    }
}

/// Fails where one of these texts is in one of the files.
fn assert_nowhere(texts: &[&str], files: &[PathBuf]) {
    for path in files {
        let content = fs::read(path).unwrap_or_default();
        for text in texts {
            let found = content.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{text} is in {}", path.display());
        }
    }
}

#[tokio::test]
async fn each_gets_its_code_and_leaves_nothing_behind() {
    let errors = vectors::errors();
    assert!(errors.cases.len() >= 40);
    let fleet = Fleet::with().env("GITHUB_WEBHOOK_SECRET", &errors.secret).env("RUST_LOG", "trace").start();
    let before = fleet.run(&["status", "--format", "json"]).stdout;
    let mut wrong = Vec::new();
    for case in &errors.cases {
        let (status, head, body) = raw_http::exchange(fleet.url(), &request(&errors, case)).await;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        if (status, body["code"].as_str()) != (case.status, Some(&*case.code)) {
            wrong.push(format!("{}: {status} {body}", case.case));
        }
        for part in ["message", "help"] {
            if body[part].as_str().is_none_or(str::is_empty) {
                wrong.push(format!("{}: no {part} in {body}", case.case));
            }
        }
        if let Some(expected) = &case.allow {
            let allow = head.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap_or_default();
            let allow: BTreeSet<String> =
                allow.split(',').map(|method| method.trim().to_uppercase()).collect();
            if allow != expected.iter().cloned().collect() {
                wrong.push(format!("{}: Allow is {allow:?}", case.case));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(fleet.count().await, 0);
    assert_eq!(fleet.run(&["status", "--format", "json"]).stdout, before, "the same processes run");
    let codes: BTreeSet<&str> = errors.cases.iter().map(|case| &*case.code).collect();
    let metrics = get(&fleet.url_of("/metrics")).await.1;
    for code in codes.into_iter().filter(|code| !["WL0314", "WL0315"].contains(code)) {
        let count = errors.cases.iter().filter(|case| case.code == code).count();
        let line = format!("windlass_receiver_refusals_total{{code=\"{code}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    let good = Delivery::push("acme", "api", 1);
    assert_eq!(Github::new(fleet.url(), &errors.secret).deliver(&good).await.status, 200);
}

#[tokio::test]
async fn secrets_signatures_and_payloads_reach_no_log() {
    const SECRET: &str = "marker-of-the-secret";
    const PAYLOAD: &str = "marker-of-the-payload";
    let fleet = Fleet::with().env("GITHUB_WEBHOOK_SECRET", SECRET).env("RUST_LOG", "trace").start();
    let github = fleet.github();
    assert_eq!(github.secret, SECRET);
    let payload = json!({ "marker": PAYLOAD, "repository": { "name": "api", "owner": { "login": "acme" } } });
    let taken = Delivery::json("push", &payload);
    let refused = Delivery::new("push", format!("{PAYLOAD} is no JSON"));
    let unreadable = Delivery { content_type: "text/plain", ..taken.clone() };
    assert_eq!(github.deliver(&taken).await.status, 200);
    assert_eq!(github.deliver(&refused).await.status, 400);
    assert_eq!(github.deliver(&unreadable).await.status, 415);
    let stranger = Github::new(fleet.url(), "another secret");
    let answer = stranger.deliver(&taken).await;
    assert_eq!(answer.status, 401);
    // A large payload takes another way, and one that comes while NATS is away a third.
    let large = Delivery::json("push", &json!({ "marker": PAYLOAD, "padding": "x".repeat(700 * 1024) }));
    assert_eq!(github.deliver(&large).await.status, 200);
    fleet.signal("nats", Signal::STOP);
    let waiting = Delivery::json("push", &json!({ "marker": PAYLOAD, "number": 2 }));
    assert_eq!(github.deliver(&waiting).await.status, 202);
    fleet.signal("nats", Signal::CONT);
    fleet.settle().await;

    let signatures: Vec<String> = [&taken, &refused, &unreadable, &large, &waiting]
        .into_iter()
        .flat_map(|delivery| [&github, &stranger].map(|from| sign(from.secret.as_bytes(), &delivery.body)))
        .map(|signature| signature.trim_start_matches("sha256=").to_owned())
        .collect();
    let mut logs = Vec::new();
    all_files(&fleet.state().join("log"), &mut logs);
    let receiver = fs::read_to_string(fleet.state().join("log/receiver.log")).unwrap();
    assert!(
        receiver.contains("DEBUG") || receiver.contains("TRACE"),
        "the log is at its fullest:\n{receiver}"
    );
    let seen = fleet.path().join("seen");
    fs::create_dir(&seen).unwrap();
    let metrics = get(&fleet.url_of("/metrics")).await.1;
    fs::write(seen.join("metrics"), metrics).unwrap();
    for command in ["status", "doctor"] {
        let output = fleet.run(&[command, "--format", "json"]);
        fs::write(seen.join(command), [output.stdout, output.stderr].concat()).unwrap();
    }
    fs::write(seen.join("answer"), answer.body.to_string()).unwrap();
    for part in ["receiver", "nats", "supervisor"] {
        let process = PathBuf::from(format!("/proc/{}", fleet.pid(part).unwrap()));
        for file in ["cmdline", "environ"] {
            // The supervisor is what the secret was given to; its parts find it in a file.
            if process.exists() && !(part == "supervisor" && file == "environ") {
                fs::copy(process.join(file), seen.join(format!("{part}-{file}"))).unwrap();
            }
        }
    }
    all_files(&seen, &mut logs);
    let mut texts = vec![SECRET, PAYLOAD];
    texts.extend(signatures.iter().map(String::as_str));
    assert_nowhere(&texts, &logs);

    // Signatures are nowhere on the disk, and the secret is in the one file that says so.
    let mut files = Vec::new();
    all_files(&fleet.state(), &mut files);
    files.retain(|path| !path.starts_with(fleet.state().join("secrets")));
    assert!(files.len() > 10);
    texts.retain(|text| *text != PAYLOAD);
    assert_nowhere(&texts, &files);
}

/// Bad files and bad requests together are a table of at least sixty.
#[test]
fn the_table_of_bad_input_is_large_enough() {
    let files = fs::read_dir(repository().join("crates/fleet/tests/bad")).unwrap().count();
    let requests = vectors::errors().cases.len();
    assert!(files >= 20 && requests >= 40 && files + requests >= 60, "{files} files, {requests} requests");
}
