//! An edge at Cloudflare, planned and applied: what is made, what is seen of what others change, what a killed apply leaves,
//! and what is told of a token, an account, a name or a limit that is in the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use windlass_sandbox::cloudflare::api::{Effect, Fault};
use windlass_tests::cloudflare::{said, wrangler};
use windlass_tests::edge_fleet::Sandbox;
use windlass_tests::engine::{
    action, actions, apply, apply_all, blocked, code_of, destroy, json_of, killed_at, plan, reason,
};
use windlass_tests::terraform::has_terraform;
use windlass_tests::tools::skip_without;
use windlass_tests::{Fleet, repository};

const SCRIPT: &str = "test-nats-orchestrator";
const EDGE: [&str; 10] = [
    "bucket.test-payloads",
    "cluster.edge",
    "container.test-nats-edge",
    "namespace.test-nats-orchestrator-routes",
    "receiver.edge",
    "secret.test-nats-orchestrator/API_TOKEN",
    "secret.test-nats-orchestrator/HUB_CREDS",
    "secret.test-nats-orchestrator/LEAF_CREDS",
    "secret.test-nats-orchestrator/WEBHOOK_SECRET",
    "worker.test-nats-orchestrator",
];

/// What of an account is there: buckets, namespaces, scripts, Durable Objects, applications.
async fn inventory(sandbox: &Sandbox) -> [usize; 5] {
    let count = async |path: &str, key: Option<&str>| {
        let answer = sandbox.ask("GET", path, None).await;
        let list = key.map_or(&answer["result"], |key| &answer["result"][key]);
        list.as_array().map_or(0, Vec::len)
    };
    [
        count("r2/buckets", Some("buckets")).await,
        count("storage/kv/namespaces", None).await,
        count("workers/scripts", None).await,
        count("workers/durable_objects/namespaces", None).await,
        count("containers/applications", None).await,
    ]
}

/// What an edge is.
const WHOLE: [usize; 5] = [1, 1, 1, 3, 1];

fn field(plan: &Value, address: &str, field: &str) -> (String, String) {
    let fields = action(plan, address)["fields"].as_array().cloned().unwrap_or_default();
    let one = fields.iter().find(|one| one["field"] == field);
    let one = one.unwrap_or_else(|| panic!("{address}: no {field} in {fields:?}"));
    (one["from"].as_str().unwrap().to_owned(), one["to"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_made_drifts_is_mended_and_leaves_nothing() {
    let Some(sandbox) = Sandbox::start().await else { return };
    let fleet = sandbox.fleet();
    let planned = plan(&fleet);
    for address in EDGE {
        assert_eq!(action(&planned, address)["do"], "create", "{planned}");
    }
    apply_all(&fleet, &[]);
    assert_eq!(inventory(&sandbox).await, WHOLE);
    assert_eq!(actions(&plan(&fleet)), []);
    apply_all(&fleet, &[]);
    assert_eq!(inventory(&sandbox).await, WHOLE, "made once");

    // Somebody changes everything by hand.
    let applications = sandbox.ask("GET", "containers/applications", None).await;
    let id = applications["result"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("containers/applications/{id}");
    sandbox.ask("PATCH", &path, Some(json!({ "max_instances": 9 }))).await;
    let rules = json!({ "rules": [{
        "id": "windlass-payloads", "enabled": true, "conditions": { "prefix": "" },
        "deleteObjectsTransition": { "condition": { "type": "Age", "maxAge": 86400 } },
    }] });
    sandbox.ask("PUT", "r2/buckets/test-payloads/lifecycle", Some(rules)).await;
    sandbox.ask("DELETE", &format!("workers/scripts/{SCRIPT}/secrets/HUB_CREDS"), None).await;
    let drift = plan(&fleet);
    assert_eq!(field(&drift, "container.test-nats-edge", "max_instances"), ("9".into(), "4".into()));
    assert!(reason(&drift, "container.test-nats-edge").contains("(drift)"), "{drift}");
    assert_eq!(
        field(&drift, "bucket.test-payloads", "delete_after_seconds"),
        ("86400".into(), "none".into())
    );
    let gone = "secret.test-nats-orchestrator/HUB_CREDS";
    assert_eq!(reason(&drift, gone), "it was there, and is gone: somebody deleted it");
    apply_all(&fleet, &[]);
    assert_eq!(actions(&plan(&fleet)), []);

    // The file changes: regions by the Worker alone, the rest by each of what it is about.
    fleet.edit("weur = { min = 1, max = 2 }", "weur = { min = 1, max = 3 }");
    let changed = plan(&fleet);
    let weur = field(&changed, "worker.test-nats-orchestrator", "SETTINGS.regions.weur");
    assert_eq!(weur.1, r#"{"max":3,"min":1}"#, "{changed}");
    assert_eq!(field(&changed, "container.test-nats-edge", "max_instances"), ("4".into(), "5".into()));
    apply_all(&fleet, &[]);
    assert_eq!(actions(&plan(&fleet)), []);

    let output = destroy(&fleet);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(inventory(&sandbox).await, [0; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_apply_is_continued_and_makes_nothing_twice() {
    let Some(sandbox) = Sandbox::start().await else { return };
    let fleet = sandbox.fleet();
    // Through what comes before the edge, then at each of its steps.
    let mut kills = 0;
    for step in (1..80).step_by(7) {
        if !killed_at(&fleet, &["apply", "--yes"], step) {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 2, "only {kills}");
    apply_all(&fleet, &[]);
    assert_eq!(inventory(&sandbox).await, WHOLE);
    assert_eq!(actions(&plan(&fleet)), []);
    for step in [2, 9] {
        killed_at(&fleet, &["destroy", "--yes", "--allow-data-loss"], step);
    }
    assert!(destroy(&fleet).status.success());
    assert_eq!(inventory(&sandbox).await, [0; 5]);
}

/// Applies what must fail on one address, and gives the code and the message.
fn failure(fleet: &Fleet, address: &str) -> (String, String) {
    let output = apply(fleet, &[]);
    assert!(!output.status.success(), "{output:?}");
    let report = json_of(&output);
    let failed = report["report"]["failed"].as_array().cloned().unwrap_or_default();
    let one = failed.iter().find(|one| one["address"] == address);
    let one = one.unwrap_or_else(|| panic!("{address} did not fail: {report}"));
    (one["code"].as_str().unwrap().to_owned(), one["message"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_told_and_a_second_apply_finishes() {
    let Some(sandbox) = Sandbox::start().await else { return };

    // A token that may all but change containers.
    let all = [
        "Workers Scripts Write",
        "Workers KV Storage Write",
        "Workers R2 Storage Write",
        "Account Settings Read",
    ];
    let some = sandbox.api.add_token(&[&all[..], &["Containers Read"]].concat()).unwrap();
    let fleet = sandbox.fleet_with(&some);
    let (code, message) = failure(&fleet, "container.test-nats-edge");
    assert_eq!(code, "WL0642", "{message}");
    assert!(message.contains("Containers · Edit"), "{message}");
    let with = |name: &str, value: &str, arguments: &[&str]| {
        fleet.command(arguments).env(name, value).output().unwrap()
    };
    // No token at all, a wrong one, another account's.
    for (name, value, code) in [
        ("CLOUDFLARE_API_TOKEN", "", "WL0650"),
        ("CLOUDFLARE_API_TOKEN", "0123456789012345678901234567890123456789", "WL0641"),
        ("CLOUDFLARE_ACCOUNT_ID", "ffffffffffffffffffffffffffffffff", "WL0643"),
        ("CLOUDFLARE_API_BASE_URL", "http://127.0.0.1:1", "WL0640"),
    ] {
        let output = with(name, value, &["plan", "--format", "json"]);
        assert_eq!(code_of(&output), code, "{name}={value}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("0123456789012345678901"), "{output:?}");
    }
    // The permission is given: the rest is done, and what was there stays.
    let output = with("CLOUDFLARE_API_TOKEN", sandbox.api.token(), &["apply", "--yes", "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(inventory(&sandbox).await, WHOLE);
    let output = with(
        "CLOUDFLARE_API_TOKEN",
        sandbox.api.token(),
        &["destroy", "--yes", "--allow-data-loss", "--format", "json"],
    );
    assert!(output.status.success(), "{output:?}");

    // No more namespaces for this account.
    let fleet = sandbox.fleet();
    sandbox.api.switch(|switches| switches.max_namespaces = 0);
    let (code, message) = failure(&fleet, "namespace.test-nats-orchestrator-routes");
    assert_eq!(code, "WL0645", "{message}");
    sandbox.api.switch(|switches| switches.max_namespaces = 1000);

    // Somebody else's Worker has the name.
    let form = reqwest_form(&sandbox).await;
    assert_eq!(form["success"], true, "{form}");
    let planned = plan(&fleet);
    assert!(blocked(&planned, "worker.test-nats-orchestrator").contains("not this fleet's"), "{planned}");
    sandbox.ask("DELETE", &format!("workers/scripts/{SCRIPT}"), None).await;
    apply_all(&fleet, &[]);
    assert_eq!(inventory(&sandbox).await, WHOLE);
    assert!(destroy(&fleet).status.success());
}

/// Uploads a Worker of the edge's name that is another's.
async fn reqwest_form(sandbox: &Sandbox) -> Value {
    let metadata = json!({ "main_module": "other.js", "compatibility_date": "2026-11-01", "bindings": [] });
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"other.js\"; filename=\"other.js\"\r\nContent-Type: \
         application/javascript+module\r\n\r\nexport default {{ fetch() {{ return new Response(\"other\"); }} }};\r\n--b--\r\n"
    );
    let url = format!(
        "{}/accounts/{}/workers/scripts/{SCRIPT}",
        sandbox.api.addresses().api_url,
        sandbox.account()
    );
    let request = windlass_tests::http_client().put(url).bearer_auth(sandbox.api.token());
    let request = request.header("content-type", "multipart/form-data; boundary=b").body(body);
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_what_was_applied() {
    let Some(sandbox) = Sandbox::start().await else { return };
    let fleet = sandbox.fleet();
    apply_all(&fleet, &["--target", "user.GITHUB/edge", "--target", "cluster.hub"]);
    let output = fleet.run(&["cloudflare", "export", "deploy", "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    let read = |path: &str| std::fs::read_to_string(fleet.path().join("deploy").join(path)).unwrap();
    let text = read("wrangler.jsonc");
    let body: String = text.lines().filter(|line| !line.starts_with("//")).collect();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["name"], &body["main"]), (&json!(SCRIPT), &json!("worker.js")));
    apply_all(&fleet, &[]);
    let settings = sandbox.ask("GET", &format!("workers/scripts/{SCRIPT}/settings"), None).await;
    let bindings = settings["result"]["bindings"].as_array().cloned().unwrap();
    let applied = bindings.iter().find(|binding| binding["name"] == "SETTINGS").unwrap();
    assert_eq!(applied["json"], body["vars"]["SETTINGS"]);
    assert_eq!(applied["json"], serde_json::from_str::<Value>(&read("terraform/settings.json")).unwrap());
    // Now that there is a namespace, it is named.
    assert!(fleet.run(&["cloudflare", "export", "deploy"]).status.success());
    assert!(read("wrangler.jsonc").contains("\"id\": \""));
    assert!(destroy(&fleet).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_deploys_what_is_exported_and_the_plan_finds_no_difference() {
    let Some(sandbox) = Sandbox::start().await else { return };
    let fleet = sandbox.fleet();
    let targets = ["cluster.hub", "user.GITHUB/edge", "user.GITHUB/outbox"];
    let targets: Vec<&str> = targets.iter().flat_map(|target| ["--target", target]).collect();
    apply_all(&fleet, &targets);
    let output = fleet.run(&["cloudflare", "export", "deploy"]);
    assert!(output.status.success(), "{output:?}");
    sandbox.ask("PUT", "workers/subdomain", Some(json!({ "subdomain": "acme" }))).await;
    let directory = fleet.path().join("deploy");
    let Some(output) = wrangler(&sandbox.api, &directory, &["deploy"]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(inventory(&sandbox).await, WHOLE, "the namespace and the bucket are made by wrangler, too");
    let planned = plan(&fleet);
    let touched = actions(&planned);
    for made in ["worker", "container", "bucket", "namespace"] {
        let differs = touched.iter().find(|(address, _)| address.starts_with(&format!("{made}.")));
        assert_eq!(differs, None, "{planned}");
    }
    // It has no secrets: those come with the apply, which makes nothing else.
    apply_all(&fleet, &[]);
    assert_eq!(inventory(&sandbox).await, WHOLE);
    assert_eq!(actions(&plan(&fleet)), []);
    assert!(destroy(&fleet).status.success());
    assert_eq!(inventory(&sandbox).await, [0; 5]);
}

#[test]
fn what_is_exported_for_terraform_is_formatted_as_terraform_does() {
    if !has_terraform() {
        return skip_without("terraform");
    }
    let directory = repository().join("crates/platforms/golden/cloudflare/terraform");
    let mut command = std::process::Command::new("terraform");
    let output = command.args(["fmt", "-check", "-diff"]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_though_the_answer_was_lost_is_found_and_nothing_stored_is_lost_by_a_destroy() {
    let Some(sandbox) = Sandbox::start().await else { return };
    let fleet = sandbox.fleet();
    // Each answer to what makes something is lost, and what can be asked twice fails now and then.
    let makes = [
        ("POST", "*r2/buckets"),
        ("POST", "*storage/kv/namespaces"),
        ("PUT", "*workers/scripts/test-nats-orchestrator"),
        ("POST", "*containers/applications"),
        ("PUT", "*workers/scripts/test-nats-orchestrator/secrets"),
    ];
    for (method, path) in makes {
        sandbox.api.inject(Fault::next(method, path, Effect::LoseAnswer));
        sandbox.api.inject(Fault::next("GET", path, Effect::Error(503)));
        sandbox.api.inject(Fault::next("GET", path, Effect::Error(429)));
    }
    apply_all(&fleet, &[]);
    // Some lists are asked for here alone.
    sandbox.api.clear_faults();
    assert_eq!(inventory(&sandbox).await, WHOLE, "made once");
    assert_eq!(actions(&plan(&fleet)), []);

    assert_eq!(sandbox.put("r2/buckets/test-payloads/objects/one", "an object").await["success"], true);
    let output = fleet.run(&["destroy", "--yes", "--format", "json"]);
    assert_eq!(code_of(&output), "WL0506", "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("bucket.test-payloads (1 object, 9 B)"), "{said}");
    assert_eq!(inventory(&sandbox).await, WHOLE);
    assert!(destroy(&fleet).status.success());
    assert_eq!(inventory(&sandbox).await, [0; 5]);
}
