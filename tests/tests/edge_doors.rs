//! From outside, on the whole edge: nothing is reachable without its own credentials, and those of one door open no other.
//! The Worker's own table of routes is in `edge/test/workerd/doors.test.mjs`; here are the doors beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_nats::ConnectOptions;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use windlass_nats::jwt::{self, Permissions, UserClaims, UserLimits};
use windlass_nats::keys::{Key, KeyStore, Kind};
use windlass_tests::{Delivery, Fleet, Github, edge, http_client, processes_of, raw_http};

/// A creds file of a new user of the account, which the fleet's own keys sign.
fn creds(fleet: &Fleet, expires: Option<i64>) -> String {
    let keys = KeyStore::open(&fleet.state()).unwrap();
    let user = Key::generate(Kind::User);
    let claims = UserClaims {
        name: "visitor".to_owned(),
        account: fleet.account_key("GITHUB"),
        permissions: Permissions::everything(),
        limits: UserLimits::default(),
        expires,
    };
    let now = jiff::Timestamp::now().as_second();
    let signer = keys.account_signing("GITHUB").unwrap();
    let token = jwt::user(&claims, user.public(), &signer, now).unwrap();
    windlass_nats::creds::render(&token, &user).unwrap().expose_secret().to_owned()
}

/// Whether somebody gets in at a WebSocket of NATS, or why not.
async fn gets_in(url: &str, creds: Option<&str>) -> Result<(), String> {
    let options =
        creds.map_or_else(ConnectOptions::new, |creds| ConnectOptions::with_credentials(creds).unwrap());
    let client = options.connection_timeout(Duration::from_secs(10)).connect(url).await;
    client.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_door_wants_its_own_key() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let fleet = Fleet::with().edge().start();
    let report = &fleet.report;
    let text = |part: &str, name: &str| report[part][name].as_str().unwrap().to_owned();
    let worker = fleet.worker_url().to_owned();
    let edge_token =
        fs::read_to_string(fleet.state().join("secrets/edge-api-token")).unwrap().trim().to_owned();
    let admin = fs::read_to_string(text("nats", "creds")).unwrap();
    let secrets = [
        ("the webhook secret", fleet.secret()),
        ("Cloudflare's API token", text("cloudflare", "api_token")),
        ("R2's secret", text("r2", "secret_access_key")),
        ("the edge's API token", edge_token.clone()),
    ];
    let client = http_client();
    let ask = async |method: &Method, url: String, token: Option<&str>| {
        let request = client.request(method.clone(), url);
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        request.send().await.unwrap().status().as_u16()
    };

    // The Worker's API, and Cloudflare's.
    let account = text("cloudflare", "account_id");
    let api = text("cloudflare", "api_url");
    let doors = [
        ("the edge's API token", "GET", format!("{worker}/api/status")),
        ("the edge's API token", "GET", format!("{worker}/api/flags")),
        ("the edge's API token", "POST", format!("{worker}/api/nodes/weur/0/wake")),
        ("the edge's API token", "POST", format!("{worker}/api/outbox/drain")),
        ("Cloudflare's API token", "GET", format!("{api}/user/tokens/verify")),
        ("Cloudflare's API token", "GET", format!("{api}/accounts/{account}/workers/scripts")),
        ("Cloudflare's API token", "GET", format!("{api}/accounts/{account}/storage/kv/namespaces")),
        ("Cloudflare's API token", "GET", format!("{api}/accounts/{account}/r2/buckets")),
        ("Cloudflare's API token", "GET", format!("{api}/accounts/{account}/containers/applications")),
    ];
    for (key, method, url) in doors {
        let method: Method = method.parse().unwrap();
        let status = ask(&method, url.clone(), None).await;
        assert!([400, 401, 403].contains(&status), "{url} without a token: {status}");
        for (name, secret) in &secrets {
            let status = ask(&method, url.clone(), Some(secret)).await;
            if *name == key {
                assert_eq!(status, 200, "{url} with {name}");
            } else {
                assert!([400, 401, 403].contains(&status), "{url} with {name}: {status}");
            }
        }
    }
    // R2 takes signed requests alone.
    let objects = format!("{}/{}", text("r2", "endpoint"), text("r2", "bucket"));
    for token in [None, Some(&*edge_token), Some(&*secrets[2].1)] {
        let status = ask(&Method::GET, objects.clone(), token).await;
        assert!([400, 401, 403].contains(&status), "{objects}: {status}");
    }
    // Deliveries that are signed with something else.
    for (name, secret) in &secrets[1..] {
        let github = Github::new(&format!("{worker}/github"), secret);
        let answer = github.deliver(&Delivery::push("acme", "one", 1)).await;
        assert_eq!((answer.status, answer.code()), (401, "WL0305"), "{name}: {answer:?}");
    }
    let good = fleet.github_at_the_edge().deliver(&Delivery::push("acme", "one", 1)).await;
    assert_eq!(good.status, 200, "{good:?}");
    assert_eq!(fleet.count().await, 1);

    // NATS: the Worker's doors, the nodes' own and the hub's, with and without the operator's credentials.
    let through = fleet.through("weur").await.server_info();
    let node = format!("ws://{}:{}", through.host, through.port);
    let worker_ws = worker.replacen("http", "ws", 1);
    let places = [
        format!("{worker_ws}/nats/weur"),
        format!("{worker_ws}/nats/enam"),
        node,
        text("nats", "websocket_url"),
        text("nats", "url"),
    ];
    let now = jiff::Timestamp::now().as_second();
    let (expired, valid) = (creds(&fleet, Some(now + 3)), creds(&fleet, Some(now + 600)));
    gets_in(&places[0], Some(&expired)).await.expect("they expire only later");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let own = Key::generate(Kind::Account);
    let user = Key::generate(Kind::User);
    let claims = UserClaims { account: own.public().to_owned(), ..UserClaims::default() };
    let foreign = jwt::user(&claims, user.public(), &own, now).unwrap();
    let foreign = windlass_nats::creds::render(&foreign, &user).unwrap().expose_secret().to_owned();
    let mut broken = valid.clone();
    let at = broken.find("eyJ").unwrap() + 150;
    let other = if broken.as_bytes()[at] == b'A' { "B" } else { "A" };
    broken.replace_range(at..=at, other);
    for place in &places {
        for (name, given) in [
            ("none", None),
            ("expired", Some(&expired)),
            ("foreign", Some(&foreign)),
            ("broken", Some(&broken)),
        ] {
            let refused = gets_in(place, given.map(|given| &**given)).await;
            assert!(refused.is_err(), "{place} with {name} credentials");
        }
        assert_eq!(gets_in(place, Some(&valid)).await, Ok(()), "{place} with valid credentials");
        assert_eq!(gets_in(place, Some(&admin)).await, Ok(()), "{place} with the admin's");
    }

    // What the Worker holds opens no more than it needs: it stores events, and reads none.
    for subject in [
        "$JS.API.STREAM.DELETE.GITHUB",
        "$JS.API.STREAM.PURGE.GITHUB",
        "$JS.API.CONSUMER.CREATE.GITHUB",
        "acme",
    ] {
        assert!(!fleet.may_publish("hub-0", "GITHUB", "outbox", subject).await, "{subject}");
    }
    assert!(fleet.may_publish("hub-0", "GITHUB", "outbox", "github.acme.one.push.-").await);
    for subject in ["github.>", ">", "_INBOX.>"] {
        let may = fleet.may_subscribe("hub-0", "GITHUB", "outbox", subject).await;
        assert_eq!(may, subject == "_INBOX.>", "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_no_client_would_send() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let fleet = Fleet::with().edge().start();
    let url = fleet.worker_url();
    let exchange = async |request: String| raw_http::exchange(url, request.as_bytes()).await;
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n");

    // Paths that only look like something.
    for path in [
        "/api/status/../status",
        "/github/../api/status",
        "/nats/../api/status",
        "/%61pi/status",
        "//api/status",
        "/API/status",
        "/./api/status",
        "/health/../api/flags",
        "/cdn-cgi/mf/scheduled",
        "/client/v4/user/tokens/verify",
        "/.windlass/secrets/edge-api-token",
        "/..%2f..%2fetc/passwd",
        "/nats/weur/../../api/status",
    ] {
        let (status, _, body) = exchange(get(path, "")).await;
        assert!([400, 401, 404].contains(&status), "{path}: {status} {body}");
        assert!(!body.contains("nodes") && !body.contains("root:"), "{path}: {body}");
    }
    // Who names another host, or says to have come from inside, is nobody else.
    for head in [
        "Cf-Access-Jwt-Assertion: eyJhbGciOiJub25lIn0.e30.\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "Cf-Connecting-Ip: 127.0.0.1\r\n",
        "Cf-Worker: inside\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: bearer undefined\r\n",
    ] {
        let (status, _, body) = exchange(get("/api/status", head)).await;
        assert_eq!(status, 401, "{head}: {body}");
    }
    for host in ["internet", "node", "127.0.0.1", "fleet"] {
        let (status, ..) = exchange(format!("GET /api/status HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!([401, 404].contains(&status), "{host}: {status}");
    }
    // Upgrades that are none.
    let nodes = fleet.nodes();
    for (path, head) in [
        ("/nats/weur", "Upgrade: websocket\r\n"),
        ("/nats/weur", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        (
            "/nats/weur",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 1\r\nSec-WebSocket-Key: eA==\r\n",
        ),
        (
            "/nats/mars",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        ),
        (
            "/leaf/weur",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        ),
    ] {
        let (status, _, body) = exchange(get(path, head)).await;
        assert!((400..600).contains(&status), "{path} {head}: {status} {body}");
    }
    assert_eq!(fleet.nodes(), nodes, "no server was started for them");
    // Bodies that are too large, announced and not.
    let post = |more: &str| {
        format!(
            "POST /github HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
             x-github-delivery: big\r\nx-hub-signature-256: sha256={}\r\n{more}\r\n",
            "0".repeat(64)
        )
    };
    let (status, _, body) = exchange(post("content-length: 27000000\r\n") + "{\"a\":\"b").await;
    assert_eq!(status, 413, "{body}");
    assert!(body.contains("WL0307"), "{body}");
    let mut request = post("transfer-encoding: chunked\r\n").into_bytes();
    for _ in 0..27 {
        request.extend_from_slice(&[b"100000\r\n".as_slice(), &vec![b' '; 0x10_0000], b"\r\n"].concat());
    }
    let (status, _, body) = raw_http::exchange(url, &request).await;
    assert_eq!(status, 413, "{body}");
    // Two lengths are no length.
    let (status, ..) = exchange(post("content-length: 2\r\ncontent-length: 3\r\n") + "{}").await;
    assert!((400..500).contains(&status), "{status}");

    assert_eq!(fleet.count().await, 0, "nothing of this is an event");
    let good = fleet.github_at_the_edge().deliver(&Delivery::push("acme", "one", 0)).await;
    assert_eq!(good.status, 200, "and it works as before");
}

/// The addresses at which a process listens.
fn listens(pid: i32) -> Vec<String> {
    let inodes: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["tcp", "tcp6", "udp", "udp6"]
        .map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let columns = lines.map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    columns
        .filter(|columns| columns[3] == "0A" || columns[3] == "07")
        .filter(|columns| inodes.iter().any(|inode| inode == columns[9]))
        .map(|columns| columns[1].to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_listen_on_loopback_and_no_secret_lies_open() {
    if edge::workerd_binary().is_none() {
        return;
    }
    let fleet = Fleet::with().edge().start();
    let processes = processes_of(fleet.path());
    let mut sockets = 0;
    for (pid, command) in &processes {
        for address in listens(*pid) {
            sockets += 1;
            // As the kernel writes 127.x.y.z on a machine whose lowest byte comes first.
            let loopback =
                address.split(':').next().is_some_and(|host| host.len() == 8 && host.ends_with("7F"));
            assert!(loopback, "{command} listens on {address}");
        }
    }
    assert!(sockets >= 12, "only {sockets} were seen");

    let report: &Value = &fleet.report;
    let mut secrets = vec![fleet.secret()];
    secrets.push(fs::read_to_string(fleet.state().join("secrets/edge-api-token")).unwrap().trim().to_owned());
    secrets.push(report["cloudflare"]["api_token"].as_str().unwrap().to_owned());
    secrets.push(report["r2"]["secret_access_key"].as_str().unwrap().to_owned());
    let admin = fs::read_to_string(report["nats"]["creds"].as_str().unwrap()).unwrap();
    secrets.push(admin.lines().find(|line| line.starts_with("SU")).unwrap().to_owned());
    for secret in &secrets {
        assert!(processes.iter().all(|(_, command)| !command.contains(secret)), "a secret is an argument");
    }
    // Nobody else on this machine may read where secrets are; and logs have none.
    let mut open = Vec::new();
    let mut left = vec![fleet.state()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).unwrap_or_default();
                let has = secrets
                    .iter()
                    .any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
                let readable = entry.metadata().unwrap().permissions().mode() & 0o077 != 0;
                let reachable = directory
                    .ancestors()
                    .take_while(|ancestor| ancestor.starts_with(fleet.state()))
                    .all(|ancestor| fs::metadata(ancestor).unwrap().permissions().mode() & 0o011 != 0);
                if has && (path.starts_with(fleet.state().join("log")) || (readable && reachable)) {
                    open.push(path);
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
