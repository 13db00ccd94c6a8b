//! `windlass cloudflare setup | deploy | migrate-state | rollback | destroy`, as somebody with an account runs them: against a
//! local Cloudflare that is a process of its own. Each is run twice, each with --dry-run, each answers with one JSON document.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
use windlass_tests::edge_fleet::file;
use windlass_tests::{Fleet, edge, http_client};

/// `windlass sandbox cloudflare`, until it is dropped.
struct Cloudflare {
    process: Child,
    /// What it printed.
    line: Value,
    _directory: TempDir,
}

impl Drop for Cloudflare {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            windlass_tests::signal(pid, windlass_tests::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

impl Cloudflare {
    /// `None` where there is no workerd, so that the test is to be skipped.
    fn start() -> Option<Self> {
        let workerd = edge::workerd_binary()?;
        let directory = tempfile::Builder::new().prefix("windlass-cloudflare-").tempdir().unwrap();
        let mut process =
            Fleet::command_in(directory.path(), &["sandbox", "cloudflare", "--admin", "127.0.0.1:0"])
                .env("WINDLASS_WORKERD", workerd)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let line = serde_json::from_str(&line).expect("one line of JSON");
        Some(Self { process, line, _directory: directory })
    }

    fn text(&self, pointer: &str) -> &str {
        self.line.pointer(pointer).and_then(Value::as_str).expect("a text")
    }

    /// A fleet with an edge, with the variables of this account.
    fn fleet(&self) -> Fleet {
        let builder = Fleet::with()
            .env("CLOUDFLARE_API_BASE_URL", self.text("/api_url"))
            .env("CLOUDFLARE_ACCOUNT_ID", self.text("/account_id"))
            .env("CLOUDFLARE_API_TOKEN", self.text("/api_token"))
            .env("CLOUDFLARE_CONTAINER_REGISTRY", self.text("/registry"))
            .env("AWS_ENDPOINT_URL_S3", self.text("/r2/endpoint"))
            .env("AWS_ACCESS_KEY_ID", self.text("/r2/access_key_id"))
            .env("AWS_SECRET_ACCESS_KEY", self.text("/r2/secret_access_key"));
        let fleet = builder.prepare();
        fleet.write(&file());
        fleet
    }

    async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.text("/admin_url"));
        let request = http_client().request(method.parse().unwrap(), url).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["result"].clone()
    }

    /// The requests since the last time that change something, as `METHOD path-behind-the-account`, sorted: several are made at
    /// once.
    async fn changes(&self) -> Vec<String> {
        let all = self.admin("GET", "requests", Value::Null).await;
        self.admin("DELETE", "requests", Value::Null).await;
        let account = format!("accounts/{}/", self.text("/account_id"));
        let all = all.as_array().unwrap().iter();
        let all = all.filter(|one| one["method"] != "GET" && one["path"] != "graphql");
        let all = all.map(|one| {
            let path = one["path"].as_str().unwrap();
            format!("{} {}", one["method"].as_str().unwrap(), path.strip_prefix(&account).unwrap_or(path))
        });
        let mut all: Vec<String> = all.collect();
        all.sort();
        all
    }

    async fn ask(&self, path: &str) -> Value {
        let url = format!("{}/accounts/{}/{path}", self.text("/api_url"), self.text("/account_id"));
        let request = http_client().get(url).bearer_auth(self.text("/api_token"));
        request.send().await.unwrap().json::<Value>().await.unwrap()["result"].clone()
    }

    /// What the Worker says of itself.
    async fn status(&self, fleet: &Fleet) -> Value {
        let token = fs::read_to_string(fleet.state().join("secrets/edge-api-token")).unwrap();
        let request =
            http_client().get(format!("{}/api/status", self.text("/worker_url"))).bearer_auth(token.trim());
        request.send().await.unwrap().json().await.unwrap()
    }
}

/// A command of a fleet whose Worker has an address.
struct Commands<'a> {
    cloudflare: &'a Cloudflare,
    fleet: &'a Fleet,
}

impl Commands<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.fleet.command(&[&["cloudflare"], arguments, &["--format", "json"]].concat());
        command.env("CLOUDFLARE_WORKER_URL", self.cloudflare.text("/worker_url"));
        command
    }

    /// The one document that it prints.
    fn ok(&self, arguments: &[&str]) -> Value {
        document(&self.command(arguments).output().unwrap())
    }

    /// The error's code and words.
    fn error(&self, arguments: &[&str]) -> (String, String) {
        error(&self.command(arguments).output().unwrap())
    }

    fn error_with(&self, token: &str, arguments: &[&str]) -> (String, String) {
        error(&self.command(arguments).env("CLOUDFLARE_API_TOKEN", token).output().unwrap())
    }
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn error(output: &Output) -> (String, String) {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let text = |name: &str| last["error"][name].as_str().unwrap().to_owned();
    (text("code"), format!("{} {}", text("message"), text("help")))
}

fn actions(document: &Value) -> Vec<&str> {
    let all = document["plan"]["actions"].as_array().expect("a plan").iter();
    all.map(|action| action["address"].as_str().unwrap()).collect()
}

const NONE: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn set_up_deployed_rolled_back_and_taken_down() {
    let Some(cloudflare) = Cloudflare::start() else { return };
    let fleet = cloudflare.fleet();
    let windlass = Commands { cloudflare: &cloudflare, fleet: &fleet };

    // Tokens that will not do: nothing is begun.
    let permissions = ["Workers Scripts Write", "Workers KV Storage Write", "Account Settings Read"];
    let few = cloudflare.admin("POST", "tokens", json!({ "permissions": permissions })).await;
    for command in ["setup", "deploy"] {
        let (code, words) = windlass.error_with(few["value"].as_str().unwrap(), &[command, "--yes"]);
        assert_eq!(code, "WL0451");
        assert!(
            words.contains("Account · Workers R2 Storage · Edit, Account · Containers · Edit"),
            "{words}"
        );
        let (code, _) = windlass.error_with(&"0".repeat(40), &[command, "--yes"]);
        assert_eq!(code, "WL0641");
        let (code, _) = windlass.error_with("", &[command, "--yes"]);
        assert_eq!(code, "WL0650");
    }
    for arguments in [["destroy", "--yes"].as_slice(), &["rollback"]] {
        assert_eq!(windlass.error_with(&"0".repeat(40), arguments).0, "WL0641");
    }
    assert_eq!(cloudflare.changes().await, NONE);

    // Set up.
    let dry = windlass.ok(&["setup", "--dry-run"]);
    let made = ["bucket.test-payloads", "namespace.test-nats-orchestrator-routes"];
    assert_eq!((actions(&dry), &dry["token"]["status"]), (made.to_vec(), &json!("active")));
    assert!(dry["permissions"].as_array().unwrap().iter().all(|one| one["granted"] == true));
    assert_eq!(cloudflare.changes().await, NONE);
    assert_eq!(actions(&windlass.ok(&["setup", "--yes"])), made);
    assert_eq!(cloudflare.changes().await, ["POST r2/buckets", "POST storage/kv/namespaces"]);
    assert_eq!(actions(&windlass.ok(&["setup", "--yes"])), NONE);
    assert_eq!(cloudflare.changes().await, NONE);

    // Deploy: the image comes from the registry, since nothing else here has it.
    let dry = windlass.ok(&["deploy", "--dry-run"]);
    let reference =
        format!("registry.cloudflare.com/{}/windlass-nats:2.15.1", cloudflare.text("/account_id"));
    assert_eq!(dry["image"]["reference"], *reference);
    assert!(actions(&dry).contains(&"container.test-nats-edge"));
    assert_eq!(cloudflare.changes().await, NONE);
    assert_eq!(windlass.error(&["deploy"]).0, "WL0513");
    let deployed = windlass.ok(&["deploy", "--yes"]);
    assert_eq!(
        (&deployed["image"]["reference"], &deployed["differs_after"]),
        (&json!(reference), &json!([]))
    );
    let first = cloudflare.status(&fleet).await;
    assert_eq!(first["regions"]["weur"]["nodes"][0]["running_version"], "2.15.1", "{first}");
    cloudflare.changes().await;
    let again = windlass.ok(&["deploy", "--yes"]);
    assert_eq!((actions(&again), &again["image"]["sent"]), (vec![], &json!(0)));
    assert_eq!(again["image"]["digest"], deployed["image"]["digest"]);
    let asked = format!("POST containers/registries/{}/credentials", cloudflare.text("/registry"));
    assert_eq!(cloudflare.changes().await, [asked]);

    // There is one upload, with the secrets that followed.
    assert_eq!(windlass.error(&["rollback"]).0, "WL0453");
    assert_eq!(windlass.error(&["rollback", "--to", "none"]).0, "WL0458");
    assert_eq!(cloudflare.changes().await, NONE);

    // Deploy something else, and go back.
    fleet.edit("weur = { min = 1, max = 2 }", "weur = { min = 1, max = 3 }");
    windlass.ok(&["deploy", "--yes"]);
    let second = cloudflare.status(&fleet).await;
    assert_eq!((&first["regions"]["weur"]["max"], &second["regions"]["weur"]["max"]), (&json!(2), &json!(3)));
    assert_ne!(first["version"], second["version"]);
    cloudflare.changes().await;
    let dry = windlass.ok(&["rollback", "--dry-run"]);
    assert_eq!(
        (&dry["from"], &dry["to"], &dry["done"]),
        (&second["version"], &first["version"], &json!(false))
    );
    assert_eq!(cloudflare.changes().await, NONE);
    let back = windlass.ok(&["rollback"]);
    assert_eq!((&back["to"], &back["done"]), (&first["version"], &json!(true)));
    assert_eq!(cloudflare.changes().await, ["POST workers/scripts/test-nats-orchestrator/deployments"]);
    let third = cloudflare.status(&fleet).await;
    assert_eq!((&third["version"], &third["regions"]["weur"]["max"]), (&first["version"], &json!(2)));
    let back = windlass.ok(&["rollback"]);
    assert_eq!(
        (&back["to"], &back["already"], &back["done"]),
        (&first["version"], &json!(true), &json!(false))
    );
    assert_eq!(cloudflare.changes().await, NONE);
    // The first version of all had no secrets yet.
    let versions = cloudflare.ask("workers/scripts/test-nats-orchestrator/versions?per_page=100").await;
    let oldest = versions["items"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    let (code, words) = windlass.error(&["rollback", "--to", &oldest]);
    assert_eq!(code, "WL0459");
    assert!(words.contains("API_TOKEN, LEAF_CREDS, HUB_CREDS, WEBHOOK_SECRET"), "{words}");
    let forth = windlass.ok(&["rollback", "--to", second["version"].as_str().unwrap()]);
    assert_eq!(forth["to"], second["version"]);
    windlass.ok(&["rollback"]);
    // The nodes follow the Worker in their own time, so they may differ still or again.
    let plan = windlass.ok(&["deploy", "--dry-run"]);
    assert!(actions(&plan).contains(&"worker.test-nats-orchestrator"), "{plan}");
    windlass.ok(&["deploy", "--yes"]);
    assert_eq!(cloudflare.status(&fleet).await["regions"]["weur"]["max"], 3);

    // Take it down: nothing is left, and the hub goes on.
    cloudflare.changes().await;
    let dry = windlass.ok(&["destroy", "--dry-run"]);
    assert!(actions(&dry).iter().all(|address| !address.contains("hub") && !address.contains("GITHUB")));
    assert_eq!(windlass.error(&["destroy"]).0, "WL0513");
    assert_eq!(cloudflare.changes().await, NONE);
    windlass.ok(&["destroy", "--yes"]);
    assert_eq!(cloudflare.changes().await.len(), 4);
    assert_eq!(actions(&windlass.ok(&["destroy", "--yes"])), NONE);
    assert_eq!(actions(&windlass.ok(&["destroy", "--dry-run"])), NONE);
    assert_eq!(cloudflare.changes().await, NONE);
    for path in [
        "workers/scripts",
        "storage/kv/namespaces",
        "containers/applications",
        "workers/durable_objects/namespaces",
    ] {
        assert_eq!(cloudflare.ask(path).await, json!([]), "{path}");
    }
    assert_eq!(cloudflare.ask("r2/buckets").await, json!({ "buckets": [] }));
    let status = document(&fleet.run(&["status", "--format", "json"]));
    assert_eq!(status["servers"][0]["health"], "healthy", "{status}");
    let creds = fleet.state().join("creds/GITHUB/admin.creds");
    let options = async_nats::ConnectOptions::new().credentials_file(creds).await.unwrap();
    let client = options.connect(status["nats"]["url"].as_str().unwrap()).await.unwrap();
    client.flush().await.unwrap();
    fleet.down();
}

#[test]
fn a_file_without_an_edge_is_told_so() {
    let fleet = Fleet::of("[fleet]\nname = \"x\"\n[clusters.hub]\n");
    for (arguments, expected) in [
        (["setup"].as_slice(), "WL0440"),
        (&["deploy", "--yes"], "WL0440"),
        (&["rollback"], "WL0440"),
        (&["destroy", "--yes"], "WL0440"),
        (&["export", "out"], "WL0440"),
        (&["test"], "WL0450"),
        (&["migrate-state", "--yes"], "WL0455"),
    ] {
        let output = fleet.run(&[&["cloudflare"], arguments, &["--format", "json"]].concat());
        assert_eq!(error(&output).0, expected, "{arguments:?}");
    }
    assert!(!fleet.state().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_takes_a_domain_for_the_worker() {
    let Some(cloudflare) = Cloudflare::start() else { return };
    let fleet = cloudflare.fleet();
    let setup =
        |more: &[&str]| fleet.run(&[&["cloudflare", "setup", "--yes", "--format", "json"], more].concat());
    assert_eq!(error(&setup(&[])).0, "WL0460");
    let dry = document(&setup(&["--subdomain", "acme", "--dry-run"]));
    assert_eq!(dry["subdomain"], json!({ "name": "acme", "was_there": false, "taken": false }));
    assert_eq!(cloudflare.changes().await, NONE);
    let taken = document(&setup(&["--subdomain", "acme"]));
    assert_eq!(taken["subdomain"], json!({ "name": "acme", "was_there": false, "taken": true }));
    assert!(cloudflare.changes().await.contains(&"PUT workers/subdomain".to_owned()));
    let again = document(&setup(&[]));
    assert_eq!(again["subdomain"], json!({ "name": "acme", "was_there": true, "taken": false }));
    assert_eq!(cloudflare.changes().await, NONE);
}

/// A state of Terraform's, as small as one is that holds something.
fn terraform_state() -> Value {
    json!({
        "version": 4, "terraform_version": "1.12.0", "serial": 3, "lineage": "0d7ad1a4-7f5b-4c5e-9d0e-0f6f5b1b7a11", "outputs": {},
        "resources": [{ "mode": "managed", "type": "terraform_data", "name": "one",
            "provider": "provider[\"terraform.io/builtin/terraform\"]", "instances": [] }],
        "check_results": null,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn states_move_to_r2() {
    let Some(cloudflare) = Cloudflare::start() else { return };
    let fleet = cloudflare.fleet();
    let windlass = Commands { cloudflare: &cloudflare, fleet: &fleet };
    windlass.ok(&["setup", "--yes"]);
    let text = terraform_state().to_string();
    fs::write(fleet.path().join("terraform.tfstate"), &text).unwrap();
    assert_eq!(windlass.error(&["migrate-state", "--yes"]).0, "WL0455");
    fleet.write(&format!("{}\n[state]\nstore = \"r2://acme-state/nats\"\n", fleet.file()));

    // The bucket comes first; what is in it, only the moved state can say.
    cloudflare.changes().await;
    let dry = windlass.ok(&["setup", "--dry-run"]);
    assert_eq!(dry["state_bucket"], json!({ "name": "acme-state", "was_there": false, "made": false }));
    assert_eq!(cloudflare.changes().await, NONE);
    let made = windlass.ok(&["setup", "--yes"]);
    assert_eq!(made["state_bucket"], json!({ "name": "acme-state", "was_there": false, "made": true }));
    assert!(made["state_in"].as_str().unwrap().starts_with("dir:"), "{made}");
    assert_eq!(cloudflare.changes().await, ["POST r2/buckets"]);

    let dry = windlass.ok(&["migrate-state", "--dry-run"]);
    assert_eq!((&dry["dry_run"], &dry["own"]["already"]), (&json!(true), &json!(false)));
    assert_eq!(dry["terraform"]["workspaces"][0]["serial"], 3);
    assert!(fleet.path().join("terraform.tfstate").exists());
    assert_eq!(windlass.error(&["migrate-state"]).0, "WL0731");
    let objects = async || cloudflare.ask("r2/buckets/acme-state/objects").await;
    assert_eq!(objects().await, json!([]));

    let moved = windlass.ok(&["migrate-state", "--yes"]);
    assert_eq!(moved["terraform"]["workspaces"][0]["lineage"], terraform_state()["lineage"]);
    assert_eq!((&moved["own"]["already"], &moved["own"]["resources"]), (&json!(false), &json!(2)), "{moved}");
    let keys = objects().await.to_string();
    assert!(keys.contains("terraform/terraform.tfstate") && keys.contains("nats/test/"), "{keys}");
    let again = windlass.ok(&["migrate-state", "--yes"]);
    assert_eq!((&again["terraform"], &again["own"]["already"]), (&Value::Null, &json!(true)));
    assert_eq!(windlass.ok(&["migrate-state", "--dry-run"])["own"]["already"], true);
    // What was known is known there.
    for _ in 0..2 {
        let settled = windlass.ok(&["setup", "--yes"]);
        assert_eq!((actions(&settled), &settled["plan"]["unchanged"]), (vec![], &json!(2)));
    }
    // And the way back.
    let back = [
        "state",
        "migrate",
        "--from",
        "r2://acme-state/terraform/terraform.tfstate",
        "--to",
        "terraform.tfstate",
        "--yes",
    ];
    assert!(fleet.run(&back).status.success());
    assert_eq!(fs::read_to_string(fleet.path().join("terraform.tfstate")).unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_go_to_the_accounts_registry() {
    let Some(cloudflare) = Cloudflare::start() else { return };
    let fleet = cloudflare.fleet();
    let built = fleet.run(&["image", "build", "--environment", "development"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let push = ["image", "push", "registry.cloudflare.com/nats:1", "--format", "json"];
    let pushed = document(&fleet.run(&push));
    let name = format!("registry.cloudflare.com/{}/nats", cloudflare.text("/account_id"));
    let digest = pushed["digest"].as_str().unwrap();
    assert_eq!(pushed["reference"], format!("{name}:1"));
    assert_eq!(pushed["pinned"], format!("{name}@{digest}"));
    assert!(pushed["sent"].as_u64().unwrap() > 1_000_000);
    assert_eq!(document(&fleet.run(&push))["sent"], 0);

    // Credentials are for what was asked, and for as long.
    let (registry, account) = (cloudflare.text("/registry"), cloudflare.text("/account_id"));
    let give = async |domain: &str, body: Value| {
        let api = cloudflare.text("/api_url");
        let url = format!("{api}/accounts/{account}/containers/registries/{domain}/credentials");
        let request = http_client().post(url).bearer_auth(cloudflare.text("/api_token")).json(&body);
        request.send().await.unwrap().json::<Value>().await.unwrap()["result"].clone()
    };
    let manifest = format!("http://{registry}/v2/{account}/nats/manifests/1");
    let read = async |given: &Value| {
        let (user, password) = (given["username"].as_str().unwrap(), given["password"].as_str());
        http_client().get(&manifest).basic_auth(user, password).send().await.unwrap().status().as_u16()
    };
    let pull = json!({ "permissions": ["pull"], "expiration_minutes": 5 });
    for domain in ["registry.cloudflare.com", registry] {
        assert_eq!(read(&give(domain, pull.clone()).await).await, 200, "{domain}");
    }
    assert_eq!(give("registry.example", pull.clone()).await, Value::Null);
    assert_eq!(http_client().get(&manifest).send().await.unwrap().status().as_u16(), 401);
    let given = give("registry.cloudflare.com", pull.clone()).await;
    let uploads = format!("http://{registry}/v2/{account}/nats/blobs/uploads/");
    let password = given["password"].as_str();
    let refused = http_client().post(uploads).basic_auth("v1", password).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    cloudflare.admin("PATCH", "switches", json!({ "registry_seconds": 0 })).await;
    assert_eq!(read(&give("registry.cloudflare.com", pull).await).await, 401);
    assert_eq!(error(&fleet.run(&push)).0, "WL1040");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_edge_has_its_own_api_and_registry() {
    let Some(workerd) = edge::workerd_binary() else { return };
    let fleet = Fleet::with().env("WINDLASS_WORKERD", workerd.to_str().unwrap()).prepare();
    let up = fleet.run(&["up", "--edge", "--detach", "--format", "json"]);
    let up = document(&up);
    // No variable says anything of Cloudflare.
    let name = "registry.cloudflare.com/other:1";
    let image = format!(
        "registry.cloudflare.com/{}/windlass-nats:2.15.1",
        up["cloudflare"]["account_id"].as_str().unwrap()
    );
    let push = ["image", "push", name, "--image", &image, "--format", "json"];
    assert!(document(&fleet.run(&push))["sent"].as_u64().unwrap() > 1_000_000);
    assert_eq!(document(&fleet.run(&push))["sent"], 0);
    for _ in 0..2 {
        let deployed = document(&fleet.run(&["cloudflare", "deploy", "--yes", "--format", "json"]));
        assert_eq!((&deployed["image"]["reference"], actions(&deployed)), (&json!(image), vec![]));
    }
    fleet.down();
}
