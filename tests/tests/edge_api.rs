//! The stand-in for Cloudflare's API, with clients that nobody here wrote: wrangler and Cloudflare's own SDK. What they
//! deploy runs in the real workerd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use windlass_sandbox::cloudflare::api::{self, Effect, Fault};
use windlass_tests::cloudflare::{ACCOUNT, IMAGE, TOKEN, ask, options, said, sdk, wrangler};
use windlass_tests::s3::sigv4::{Form, Keys, sign};
use windlass_tests::{Signal, get, http_client, signal, windlass};

const WORKER: &str = include_str!("../src/cloudflare_worker.js");

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("windlass-edge-").tempdir().unwrap()
}

async fn ok(handle: &api::Handle, method: &str, path: &str, body: Option<Value>) -> Value {
    let asked = ask(handle, TOKEN, method, path, body).await;
    assert!((200..300).contains(&asked.status), "{method} {path}: {} {}", asked.status, asked.body);
    asked.body["result"].clone()
}

/// Writes what `wrangler deploy` deploys.
fn project(directory: &Path, namespace: &str, image: &str, version: &str) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("worker.js"), WORKER.replace("\"first\"", &format!("{version:?}"))).unwrap();
    let configuration = json!({
        "name": "acme-edge",
        "main": "worker.js",
        "compatibility_date": "2026-11-01",
        "workers_dev": true,
        "durable_objects": { "bindings": [{ "name": "NODE", "class_name": "Node" }] },
        "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Node"] }],
        "containers": [{ "name": "acme-node", "class_name": "Node", "image": image, "instance_type": "basic", "max_instances": 3 }],
        "kv_namespaces": [{ "binding": "ROUTES", "id": namespace }],
        "r2_buckets": [{ "binding": "PAYLOADS", "bucket_name": "payloads" }],
        "version_metadata": { "binding": "VERSION" },
        "vars": { "SETTINGS": { "fleet": "acme" } },
    });
    fs::write(directory.join("wrangler.json"), configuration.to_string()).unwrap();
}

async fn surroundings(handle: &api::Handle) -> String {
    ok(handle, "PUT", "~/workers/subdomain", Some(json!({ "subdomain": "acme" }))).await;
    ok(handle, "POST", "~/r2/buckets", Some(json!({ "name": "payloads" }))).await;
    let namespace = ok(handle, "POST", "~/storage/kv/namespaces", Some(json!({ "title": "routes" }))).await;
    namespace["id"].as_str().unwrap().to_owned()
}

async fn worker(handle: &api::Handle, path: &str) -> Value {
    let (status, text) = get(&format!("{}{path}", handle.addresses().worker_url)).await;
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_deploys_a_worker_and_it_answers() {
    let place = directory();
    let Some(options) = options(place.path()) else { return };
    let handle = api::start(options.clone()).await.unwrap();
    let namespace = surroundings(&handle).await;
    let project_directory = place.path().join("project");
    project(&project_directory, &namespace, &format!("{IMAGE}:1"), "first");
    let Some(deployed) = wrangler(&handle, &project_directory, &["deploy"]) else { return };
    assert!(deployed.status.success(), "{}", said(&deployed));

    // Everything that it is bound to is there.
    let first = worker(&handle, "/").await;
    assert_eq!((&first["version"], &first["settings"]["fleet"]), (&json!("first"), &json!("acme")));
    assert_eq!((worker(&handle, "/count").await, worker(&handle, "/count").await), (json!(1), json!(2)));
    let kv = worker(&handle, "/kv").await;
    assert_eq!(
        (&kv["value"], &kv["metadata"], &kv["gone"]),
        (&json!("one"), &json!({ "from": "worker" }), &Value::Null)
    );
    assert_eq!((&kv["keys"], &kv["many"]), (&json!(["a/é"]), &json!([["a/é", "one"], ["none", null]])));
    let r2 = worker(&handle, "/r2").await;
    assert_eq!((&r2["part"], &r2["type"], &r2["refused"]), (&json!("ell"), &json!("text/x"), &Value::Null));
    assert_eq!((&r2["created"], &r2["again"], &r2["unchanged"]), (&json!(true), &Value::Null, &json!(true)));
    assert_eq!(r2["large"], json!([5_242_881, 5_242_881]));
    assert_eq!(r2["keys"], json!([["k/large", {}], ["k/new", {}], ["k/é", { "m": "1" }]]));
    assert!(r2["bad"].as_str().unwrap().contains("10037"), "{r2}");

    // What the Worker wrote, an S3 client and the API read, and the other way round.
    let addresses = handle.addresses();
    let keys = Keys {
        id: addresses.r2_keys.access_key_id.clone(),
        secret: secrecy::ExposeSecret::expose_secret(&addresses.r2_keys.secret_access_key).to_owned(),
    };
    let signed =
        sign(Form::Payload, &keys, &addresses.r2["default"], ("GET", "/payloads/k/é"), &[], &[], b"");
    let object = windlass_tests::s3::cases::Answer::of(&http_client(), "GET", signed).await.unwrap();
    assert_eq!((object.status, object.body.as_str()), (200, "hello"));
    let value =
        ask(&handle, TOKEN, "GET", &format!("~/storage/kv/namespaces/{namespace}/values/a%2F%C3%A9"), None)
            .await;
    assert_eq!((value.status, value.body), (200, json!("one")));

    // WebSockets go through.
    let script = "const socket = new WebSocket(process.argv[1]); socket.onopen = () => socket.send('there and back'); \
                  socket.onmessage = (event) => { console.log(event.data); socket.close(); };";
    let url = format!("{}/echo", addresses.worker_url.replace("http", "ws"));
    let heard = Command::new(windlass_tests::cloudflare::node().unwrap())
        .args(["-e", script, &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&heard.stdout).trim(), "there and back", "{}", said(&heard));

    // The container is a nats-server, and the API knows of it.
    assert_eq!(worker(&handle, "/varz").await["server_name"], "weur-0");
    let applications = ok(&handle, "GET", "~/containers/applications?name=acme-node", None).await;
    let application = applications[0]["id"].as_str().unwrap().to_owned();
    let instances =
        ok(&handle, "GET", &format!("~/containers/applications/{application}/instances-v2"), None).await;
    assert_eq!(
        (&instances[0]["status"]["state"], &instances[0]["image"]),
        (&json!("running"), &json!(format!("{IMAGE}:1")))
    );

    // A secret arrives, and is never told.
    let secret = json!({ "name": "HUSH", "text": "a very secret text", "type": "secret_text" });
    ok(&handle, "PUT", "~/workers/scripts/acme-edge/secrets", Some(secret)).await;
    assert_eq!(worker(&handle, "/").await["hush"], "a very secret text");
    for path in ["settings", "versions", "secrets", "deployments"] {
        let told = ok(&handle, "GET", &format!("~/workers/scripts/acme-edge/{path}"), None).await;
        assert!(!told.to_string().contains("a very secret text"), "{path}");
    }

    // A new version with a new image; what was stored and the secret stay.
    project(&project_directory, &namespace, &format!("{IMAGE}:2"), "second");
    let deployed = wrangler(&handle, &project_directory, &["deploy"]).unwrap();
    assert!(deployed.status.success(), "{}", said(&deployed));
    let second = worker(&handle, "/").await;
    assert_eq!((&second["version"], &second["hush"]), (&json!("second"), &json!("a very secret text")));
    assert_eq!(worker(&handle, "/count").await, json!(3));
    worker(&handle, "/varz").await;
    let path = format!("~/containers/applications/{application}/instances");
    let instances = ok(&handle, "GET", &path, None).await["instances"].clone();
    assert_eq!(instances[0]["image"], format!("{IMAGE}:2"));

    // An image that only says that it is rolled out.
    handle.switch(|switches| switches.stale_rollouts = true);
    let rollout = json!({ "description": "back", "strategy": "rolling", "step_percentage": 100,
        "target_configuration": { "image": format!("{IMAGE}:1") } });
    let rollout =
        ok(&handle, "POST", &format!("~/containers/applications/{application}/rollouts"), Some(rollout))
            .await;
    assert_eq!(rollout["status"], "completed");
    let known = ok(&handle, "GET", &format!("~/containers/applications/{application}"), None).await;
    assert_eq!(known["configuration"]["image"], format!("{IMAGE}:1"));
    worker(&handle, "/varz").await;
    let instances = ok(&handle, "GET", &path, None).await["instances"].clone();
    assert_eq!(instances[0]["image"], format!("{IMAGE}:2"), "it is the old one");

    // Back again; after a restart of everything, all of it is as it was.
    let back = wrangler(&handle, &project_directory, &["rollback", "--yes"]).unwrap();
    assert!(back.status.success(), "{}", said(&back));
    assert_eq!(worker(&handle, "/").await["version"], "first");
    handle.shutdown().await;
    let handle = api::start(options).await.unwrap();
    windlass_tests::eventually("the Worker answers", async || {
        get(&format!("{}/", handle.addresses().worker_url)).await.0 == 200
    })
    .await;
    assert_eq!(worker(&handle, "/").await["version"], "first");
    assert_eq!(worker(&handle, "/count").await, json!(4));

    // What ran is counted, and what failed.
    assert_eq!(get(&format!("{}/throw", handle.addresses().worker_url)).await.0, 500);
    let query = "query ($tag: string!) { viewer { accounts(filter: {accountTag: $tag}) { \
                 workersInvocationsAdaptive(limit: 10, filter: {scriptName: \"acme-edge\"}) { sum { requests errors } } \
                 containersUsageAdaptiveGroups(limit: 10) { sum { cpuTime } } } } }";
    let body = json!({ "query": query, "variables": { "tag": ACCOUNT } });
    let told = ask(&handle, TOKEN, "POST", "graphql", Some(body)).await.body;
    let account = &told["data"]["viewer"]["accounts"][0];
    assert!(account["workersInvocationsAdaptive"][0]["sum"]["requests"].as_u64() >= Some(3), "{told}");
    assert_eq!(account["workersInvocationsAdaptive"][0]["sum"]["errors"], 1);
    assert_eq!(account["containersUsageAdaptiveGroups"], json!([]));

    // As with Cloudflare, the application stays when the Worker is deleted.
    let deleted = wrangler(&handle, &project_directory, &["delete", "--force"]).unwrap();
    assert!(deleted.status.success(), "{}", said(&deleted));
    assert_eq!(get(&format!("{}/", handle.addresses().worker_url)).await.0, 404);
    let all = ok(&handle, "GET", "~/containers/applications", None).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_makes_finds_and_removes_everything() {
    let place = directory();
    let Some(options) = options(place.path()) else { return };
    let handle = api::start(options).await.unwrap();
    let Some(done) = sdk(&handle, place.path()) else { return };
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "token r2 kv workers containers gone");
    handle.shutdown().await;
}

/// The form in which a script is uploaded, and its boundary.
fn script(source: &str) -> (String, &'static str) {
    let metadata = json!({ "main_module": "worker.js", "compatibility_date": "2026-11-01", "bindings": [] });
    let boundary = "windlass-form";
    let part = |about: &str, text: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; {about}\r\n\r\n{text}\r\n")
    };
    let module = "name=\"worker.js\"; filename=\"worker.js\"\r\nContent-Type: application/javascript+module";
    let metadata = part("name=\"metadata\"\r\nContent-Type: application/json", &metadata.to_string());
    (format!("{metadata}{}--{boundary}--\r\n", part(module, source)), boundary)
}

async fn upload(handle: &api::Handle, path: &str, source: &str) -> (u16, Value) {
    let method = if path.ends_with("versions") { reqwest::Method::POST } else { reqwest::Method::PUT };
    let url = format!("{}/accounts/{ACCOUNT}/workers/scripts/{path}", handle.addresses().api_url);
    let request = http_client().request(method, url).bearer_auth(TOKEN);
    let (form, boundary) = script(source);
    let request =
        request.header("content-type", format!("multipart/form-data; boundary={boundary}")).body(form);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn says(text: &str) -> String {
    format!("export default {{ fetch() {{ return new Response({text:?}); }} }};")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_share_the_requests() {
    let place = directory();
    let Some(options) = options(place.path()) else { return };
    let handle = api::start(options).await.unwrap();
    assert_eq!(upload(&handle, "split", &says("one")).await.0, 200);
    let (_, second) = upload(&handle, "split/versions", &says("two")).await;
    let second = second["result"]["id"].as_str().unwrap().to_owned();
    assert_eq!(worker(&handle, "/").await, "one", "a version that is not deployed is not there");
    let deployments = ok(&handle, "GET", "~/workers/scripts/split/deployments", None).await;
    let first = deployments["deployments"][0]["versions"][0]["version_id"].clone();
    let split = json!({ "strategy": "percentage", "versions": [
        { "version_id": first, "percentage": 50 }, { "version_id": second, "percentage": 50 }] });
    ok(&handle, "POST", "~/workers/scripts/split/deployments", Some(split)).await;
    let mut heard = std::collections::BTreeMap::new();
    for _ in 0..100 {
        *heard.entry(worker(&handle, "/").await.to_string()).or_insert(0) += 1;
    }
    // One in 2^86 times, fair shares are further apart.
    assert!(heard["\"one\""] >= 10 && heard["\"two\""] >= 10, "{heard:?}");

    // What does not start is refused, and what runs goes on.
    let (status, refused) = upload(&handle, "split", "export default {").await;
    assert_eq!((status, refused["errors"][0]["code"].as_u64()), (400, Some(10_021)), "{refused}");
    worker(&handle, "/").await;
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_as_cloudflare_tells_it() {
    let place = directory();
    let mut options = api::Options::new(place.path());
    options.run_workers = false;
    options.account = Some(api::Account { id: ACCOUNT.into(), token: TOKEN.to_owned().into() });
    let handle = api::start(options).await.unwrap();
    let reads = handle.add_token(&["Workers R2 Storage Read"]).unwrap();
    let other = "f".repeat(32);
    let other = format!("accounts/{other}/r2/buckets");
    for (token, method, path, status, code) in [
        ("", "GET", "~/r2/buckets", 400, 9106),
        ("short", "GET", "~/r2/buckets", 400, 6003),
        ("unknown-0123456789abcdef0123456789abcdef0", "GET", "~/r2/buckets", 401, 1000),
        (&reads, "POST", "~/r2/buckets", 403, 10_000),
        (&reads, "GET", "~/workers/scripts", 403, 10_000),
        (&reads, "GET", "~/containers/applications", 403, 10_000),
        (&reads, "GET", "zones", 403, 9109),
        (&reads, "GET", &other, 403, 10_000),
        (TOKEN, "GET", &other, 403, 10_000),
        (TOKEN, "GET", "accounts/nonsense/r2/buckets", 404, 7003),
        (TOKEN, "GET", "~/nonsense", 404, 7003),
        (TOKEN, "GET", "~/workers/scripts/none/settings", 404, 10_007),
        (TOKEN, "GET", "~/r2/buckets/none", 404, 10_006),
    ] {
        let body = (method == "POST").then(|| json!({ "name": "bucket" }));
        let asked = ask(&handle, token, method, path, body).await;
        assert_eq!((asked.status, asked.code()), (status, Some(code)), "{method} {path}: {}", asked.body);
        assert_eq!(asked.body["success"], false);
    }
    let allowed = ask(&handle, &reads, "GET", "~/r2/buckets", None).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.headers["ratelimit-policy"], "\"default\";q=1200;w=300");
    assert!(allowed.headers["ratelimit"].to_str().unwrap().starts_with("\"default\";r=11"));

    // A quota, a name that is taken, the limit of requests, an ordered failure.
    handle.switch(|switches| switches.max_buckets = 1);
    let bucket = |name: &str| Some(json!({ "name": name }));
    ok(&handle, "POST", "~/r2/buckets", bucket("one-bucket")).await;
    let taken = ask(&handle, TOKEN, "POST", "~/r2/buckets", bucket("one-bucket")).await;
    assert_eq!((taken.status, taken.code()), (409, Some(10_004)));
    assert_eq!(ask(&handle, TOKEN, "POST", "~/r2/buckets", bucket("two-buckets")).await.status, 403);
    handle.inject(Fault::next("GET", "accounts/*/r2/*", Effect::Error(503)));
    assert_eq!(ask(&handle, TOKEN, "GET", "~/r2/buckets", None).await.status, 503);
    handle.switch(|switches| switches.rate_limit = Some(2));
    let mut last = None;
    for _ in 0..3 {
        last = Some(ask(&handle, TOKEN, "GET", "~/r2/buckets", None).await);
    }
    let last = last.unwrap();
    assert_eq!(last.status, 429);
    let wait: u64 = last.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait));
    assert_eq!(handle.requests().last().unwrap().status, Some(429));
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_credentials_may_what_they_were_given_for() {
    let place = directory();
    let mut options = api::Options::new(place.path());
    options.run_workers = false;
    let handle = api::start(options).await.unwrap();
    let token = handle.token().to_owned();
    let base = format!("{}/accounts/{}/r2", handle.addresses().api_url, handle.addresses().account.id);
    let post = async |path: &str, body: Value| -> Value {
        let request = http_client().post(format!("{base}/{path}")).bearer_auth(&token).body(body.to_string());
        request.send().await.unwrap().json().await.unwrap()
    };
    for bucket in ["states", "others"] {
        assert_eq!(post("buckets", json!({ "name": bucket })).await["success"], true);
    }
    let wanted = json!({ "bucket": "states", "permission": "object-read-write", "prefixes": ["a/"], "ttlSeconds": 600,
        "parentAccessKeyId": handle.addresses().r2_keys.access_key_id });
    let given = post("temp-access-credentials", wanted).await["result"].clone();
    let text = |name: &str| given[name].as_str().unwrap().to_owned();
    let keys = Keys { id: text("accessKeyId"), secret: text("secretAccessKey") };
    let (session, endpoint) = (text("sessionToken"), &handle.addresses().r2["default"]);
    let status = async |method: &str, path: &str, session: Option<&str>, body: &[u8]| {
        let about: Vec<_> =
            session.map(|token| ("x-amz-security-token".to_owned(), token.to_owned())).into_iter().collect();
        let signed = sign(Form::Payload, &keys, endpoint, (method, path), &[], &about, body);
        windlass_tests::s3::cases::Answer::of(&http_client(), method, signed).await.unwrap().status
    };
    let with = Some(session.as_str());
    assert_eq!(status("PUT", "/states/a/1", with, b"x").await, 200);
    assert_eq!(status("GET", "/states/a/1", with, b"").await, 200);
    assert_eq!(status("PUT", "/states/b/1", with, b"x").await, 403, "another prefix");
    assert_eq!(status("PUT", "/others/a/1", with, b"x").await, 403, "another bucket");
    assert_eq!(status("DELETE", "/states", with, b"").await, 403, "the bucket itself");
    assert_eq!(status("GET", "/states/a/1", None, b"").await, 403, "no session");
    let other = format!("{session}x");
    assert_eq!(status("GET", "/states/a/1", Some(&other), b"").await, 403, "another session");
    handle.shutdown().await;
}

/// What a script or a supervisor relies on: one line, an exit code, no token where it is not wanted, and nothing lost when
/// it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn as_a_process() {
    let place = directory();
    let start = |arguments: &[&str]| {
        let mut command = Command::new(windlass());
        command
            .args(["sandbox", "cloudflare", "--no-workers", "--directory"])
            .arg(place.path())
            .args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (child, serde_json::from_str::<Value>(&line).unwrap())
    };
    let names = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (mut child, first) = start(&[]);
    assert_eq!(names(&first), ["account_id", "api_token", "api_url", "r2", "registry", "worker_url"]);
    let url = format!(
        "{}/accounts/{}/r2/buckets",
        first["api_url"].as_str().unwrap(),
        first["account_id"].as_str().unwrap()
    );
    let token = first["api_token"].as_str().unwrap();
    let made = http_client().post(&url).bearer_auth(token).body(r#"{"name":"kept"}"#).send().await.unwrap();
    assert_eq!(made.status(), 200);
    signal(i32::try_from(child.id()).unwrap(), Signal::KILL);
    child.wait().unwrap();
    for (end, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let (child, line) = start(&["--hide-keys", "--admin", "127.0.0.1:0"]);
        assert_eq!(names(&line), ["account_id", "admin_url", "api_url", "r2", "registry", "worker_url"]);
        assert_eq!(line["account_id"], first["account_id"]);
        assert!(!line.to_string().contains(token), "the token is shown");
        let url = format!(
            "{}/accounts/{}/r2/buckets/kept",
            line["api_url"].as_str().unwrap(),
            line["account_id"].as_str().unwrap()
        );
        let found = http_client().get(&url).bearer_auth(token).send().await.unwrap();
        assert_eq!(found.status(), 200);
        signal(i32::try_from(child.id()).unwrap(), end);
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(code));
        assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let wrong = Command::new(windlass())
        .args(["sandbox", "cloudflare", "--no-workers", "--listen", "0.0.0.0:0", "--directory"])
        .arg(place.path())
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("WL0817"));
}
