//! What is tried against an edge that is deployed: everything that a user of it does, with real clients, from outside.
//!
//! Nothing that was there before is changed: what is sent is a `ping` of our own, under a delivery that nobody else has,
//! and messages on subjects with a random token.

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::header::AUTHORIZATION;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use windlass_events::consume::resign;
use windlass_events::headers::Encoding;
use windlass_nats::connect::{self, Options};
use windlass_nats::server::Binary;

/// A container that has to be started somewhere first takes seconds.
const COLD_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often something is asked again that becomes true by itself.
const PAUSE: Duration = Duration::from_millis(50);
/// Requests whose median is told.
const REQUESTS: usize = 50;

/// Where everything is.
#[derive(Debug)]
pub struct Target {
    /// The Worker.
    pub worker: Url,
    /// What opens `/api/`.
    pub api_token: SecretString,
    /// What deliveries are signed with, where the edge receives any.
    pub webhook_secret: Option<SecretString>,
    /// The hub's address for clients.
    pub hub: String,
    /// Credentials that may do everything in the account.
    pub creds: PathBuf,
    /// Who has signed the hub's certificates, if they are the fleet's own.
    pub authority: Option<PathBuf>,
    /// The stream of GitHub's events.
    pub stream: String,
    /// Start one more node in each region, so that a cold start is seen.
    pub cold: bool,
}

/// How one trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Otherwise.
    Failed,
    /// It could not be tried; why is said.
    Skipped,
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// What was tried.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen, in words.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub milliseconds: f64,
}

/// What `/api/status` says, as far as it is looked at here.
#[derive(Debug, Deserialize)]
struct Status {
    #[serde(default)]
    config_hash: String,
    #[serde(default)]
    regions: std::collections::BTreeMap<String, Region>,
}

#[derive(Debug, Deserialize)]
struct Region {
    #[serde(default)]
    max: u32,
    #[serde(default)]
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    name: String,
    state: String,
    #[serde(default)]
    running_version: Option<String>,
    #[serde(default)]
    config_hash: Option<String>,
}

type Seen = Result<String, String>;

/// Tries everything. `tell` hears of each trial when it has ended.
pub async fn run(target: &Target, tell: &mut dyn FnMut(&Trial)) -> Vec<Trial> {
    let mut all = Trials { done: Vec::new(), tell };
    let http = match client() {
        Ok(http) => http,
        Err(reason) => {
            all.record("HTTP", Instant::now(), Err(reason));
            return all.done;
        }
    };
    all.run("health", Box::pin(health(&http, target))).await;
    all.run("refusals: nobody without credentials", Box::pin(refusals(&http, target))).await;
    let mut status = None;
    all.run("status: the version that runs is the one that is wanted", async {
        let (seen, words) = look(&http, target).await?;
        status = Some(seen);
        Ok(words)
    })
    .await;
    let hub = connect(&target.hub, target, "windlass cloudflare test (hub)").await;
    let hub = match hub {
        Ok(hub) => hub,
        Err(reason) => {
            all.record("hub", Instant::now(), Err(reason));
            return all.done;
        }
    };
    if target.webhook_secret.is_some() {
        all.run("webhook: in at the edge, out at the hub, once", Box::pin(webhook(&http, target, &hub)))
            .await;
    } else {
        all.skip("webhook", "the fleet does not receive GitHub's events at the edge");
    }
    for (name, region) in status.iter().flat_map(|status| &status.regions) {
        if region.max == 0 {
            all.skip(&format!("{name}: clients"), "the region may have no node");
            continue;
        }
        if target.cold {
            all.run(
                &format!("{name}: a node's cold start"),
                Box::pin(cold_start(&http, target, name, region)),
            )
            .await;
        }
        let asleep = !region.nodes.iter().any(|node| node.state == "running");
        let first = if asleep { "cold start to a client's first answer" } else { "a client's first answer" };
        all.run(&format!("{name}: {first}"), Box::pin(first_answer(target, name))).await;
        all.run(&format!("{name}: a client's first answer, warm"), Box::pin(first_answer(target, name)))
            .await;
        all.run(&format!("{name}: nobody without credentials"), Box::pin(without_creds(target, name))).await;
        all.run(
            &format!("{name}: request and reply through the hub"),
            Box::pin(requests(target, name, &hub)),
        )
        .await;
        all.run(&format!("{name}: a leaf node"), Box::pin(leaf_node(target, name, &hub))).await;
    }
    all.done
}

struct Trials<'t> {
    done: Vec<Trial>,
    tell: &'t mut dyn FnMut(&Trial),
}

impl Trials<'_> {
    async fn run(&mut self, name: &str, trial: impl Future<Output = Seen>) {
        let began = Instant::now();
        let seen = trial.await;
        self.record(name, began, seen);
    }

    fn record(&mut self, name: &str, began: Instant, seen: Seen) {
        let milliseconds = began.elapsed().as_secs_f64() * 1e3;
        let (outcome, detail) = match seen {
            Ok(detail) => (Outcome::Passed, detail),
            Err(detail) => (Outcome::Failed, detail),
        };
        self.push(Trial { name: name.to_owned(), outcome, detail, milliseconds });
    }

    fn skip(&mut self, name: &str, why: &str) {
        let (name, detail) = (name.to_owned(), why.to_owned());
        self.push(Trial { name, outcome: Outcome::Skipped, detail, milliseconds: 0.0 });
    }

    fn push(&mut self, trial: Trial) {
        (self.tell)(&trial);
        self.done.push(trial);
    }
}

fn client() -> Result<reqwest::Client, String> {
    // The first one installed counts; it does not matter by whom.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(COLD_WITHIN)
        .build()
        .map_err(|error| error.to_string())
}

impl Target {
    fn at(&self, path: &str) -> Url {
        let mut url = self.worker.clone();
        url.set_path(&format!("{}/{path}", self.worker.path().trim_end_matches('/')));
        url
    }

    /// The same over WebSocket.
    fn socket(&self, path: &str) -> String {
        let url = self.at(path);
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        format!("{scheme}{}", &url.as_str()[url.scheme().len()..])
    }
}

fn said(error: reqwest::Error) -> String {
    error.without_url().to_string()
}

async fn health(http: &reqwest::Client, target: &Target) -> Seen {
    let answer = http.get(target.at("health")).send().await.map_err(said)?;
    expect("GET /health", answer.status(), StatusCode::OK)?;
    Ok("the Worker answers".to_owned())
}

fn expect(what: &str, status: StatusCode, wanted: StatusCode) -> Result<(), String> {
    if status == wanted { Ok(()) } else { Err(format!("{what} was answered with {status}, not {wanted}")) }
}

async fn refusals(http: &reqwest::Client, target: &Target) -> Seen {
    let answer = http.get(target.at("api/status")).send().await.map_err(said)?;
    expect("GET /api/status without a token", answer.status(), StatusCode::UNAUTHORIZED)?;
    let wrong = format!("Bearer {}", Uuid::new_v4());
    let answer = http.get(target.at("api/status")).header(AUTHORIZATION, wrong).send().await.map_err(said)?;
    expect("GET /api/status with a wrong token", answer.status(), StatusCode::UNAUTHORIZED)?;
    let mut tried = 2;
    if target.webhook_secret.is_some() {
        let wrong = SecretString::from(Uuid::new_v4().to_string());
        let (answer, _) = post(http, target, &wrong, &Uuid::new_v4().to_string(), ping()).await?;
        expect("a delivery with a wrong signature", answer, StatusCode::UNAUTHORIZED)?;
        tried += 1;
    }
    Ok(format!("{tried} of {tried} were turned away"))
}

async fn look(http: &reqwest::Client, target: &Target) -> Result<(Status, String), String> {
    let token = format!("Bearer {}", target.api_token.expose_secret());
    let answer = http.get(target.at("api/status")).header(AUTHORIZATION, token).send().await.map_err(said)?;
    expect("GET /api/status", answer.status(), StatusCode::OK)?;
    let status: Status = answer.json().await.map_err(said)?;
    let mut words = Vec::new();
    for (name, region) in &status.regions {
        for node in &region.nodes {
            // Cloudflare calls a rollout done when instances were started; only the node itself knows what it runs.
            if node.state == "running" && node.config_hash.as_deref() != Some(status.config_hash.as_str()) {
                return Err(format!(
                    "{} runs with configuration {}, and {} is wanted",
                    node.name,
                    node.config_hash.as_deref().unwrap_or("unknown"),
                    status.config_hash
                ));
            }
        }
        let running = region.nodes.iter().filter(|node| node.state == "running").count();
        let version = region.nodes.iter().find_map(|node| node.running_version.clone());
        let version = version.map_or_else(String::new, |version| format!(" ({version})"));
        words.push(format!("{name} {running} running{version}"));
    }
    Ok((status, words.join(", ")))
}

fn ping() -> Bytes {
    Bytes::from_static(br#"{"zen":"Keep it logically awesome.","hook_id":0,"repository":{"name":"windlass-test","full_name":"windlass/windlass-test","owner":{"login":"windlass"}}}"#)
}

async fn post(
    http: &reqwest::Client,
    target: &Target,
    secret: &SecretString,
    delivery: &str,
    body: Bytes,
) -> Result<(StatusCode, Value), String> {
    let mut request = http.post(target.at("github"));
    for (name, value) in resign::new_headers("ping", delivery, Encoding::Json, &body, secret) {
        request = request.header(name, value);
    }
    let answer = request.body(body).send().await.map_err(said)?;
    let status = answer.status();
    Ok((status, answer.json().await.unwrap_or_default()))
}

async fn webhook(http: &reqwest::Client, target: &Target, hub: &Client) -> Seen {
    let Some(secret) = &target.webhook_secret else { return Ok(String::new()) };
    let delivery = Uuid::new_v4().to_string();
    let began = Instant::now();
    for _ in 0..2 {
        let (status, answer) = post(http, target, secret, &delivery, ping()).await?;
        if !status.is_success() {
            let code = answer["error"]["code"].as_str().or_else(|| answer["code"].as_str());
            return Err(format!("the delivery was answered with {status} {}", code.unwrap_or_default()));
        }
    }
    let stored = stored(target, hub, &delivery).await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    match stored {
        (1, true) => Ok(format!("sent twice, stored once, byte for byte, after {took:.0} ms")),
        (1, false) => Err("what is stored is not what was sent".to_owned()),
        (times, _) => Err(format!("sent twice, stored {times} times")),
    }
}

/// How often a delivery is in the stream, and whether what is stored are the bytes that were sent.
async fn stored(target: &Target, hub: &Client, delivery: &str) -> Result<(usize, bool), String> {
    let jetstream = async_nats::jetstream::new(hub.clone());
    let stream = jetstream.get_stream(&target.stream).await.map_err(|error| error.to_string())?;
    let subject = "github.windlass.windlass-test.ping.-";
    let from = |sequence: u64| async_nats::jetstream::consumer::pull::OrderedConfig {
        filter_subject: subject.to_owned(),
        deliver_policy: async_nats::jetstream::consumer::DeliverPolicy::ByStartSequence {
            start_sequence: sequence,
        },
        ..Default::default()
    };
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        let info = stream.get_info().await.map_err(|error| error.to_string())?;
        let first = info.state.last_sequence.saturating_sub(100_000).max(1);
        let consumer = stream.create_consumer(from(first)).await.map_err(|error| error.to_string())?;
        let pending = consumer.cached_info().num_pending;
        let mut messages = consumer.messages().await.map_err(|error| error.to_string())?;
        let (mut times, mut same) = (0, true);
        for _ in 0..pending {
            let message =
                messages.next().await.ok_or("the stream ended")?.map_err(|error| error.to_string())?;
            let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
            if id.is_some_and(|id| id.as_str().contains(delivery)) {
                times += 1;
                same &= message.payload == ping();
            }
        }
        if times > 0 {
            return Ok((times, same));
        }
        if Instant::now() > deadline {
            return Err(format!("the delivery is not in {} after {ANSWER_WITHIN:?}", target.stream));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connect(url: &str, target: &Target, name: &str) -> Result<Client, String> {
    let mut options = Options::new(url, &target.creds, name);
    options.authority.clone_from(&target.authority);
    connect::connect(&options).await.map_err(|error| error.to_string())
}

async fn first_answer(target: &Target, region: &str) -> Seen {
    let began = Instant::now();
    let deadline = began + COLD_WITHIN;
    let url = target.socket(&format!("nats/{region}"));
    loop {
        match connect(&url, target, "windlass cloudflare test").await {
            Ok(client) => {
                client.flush().await.map_err(|error| error.to_string())?;
                return Ok(format!("{:.0} ms", began.elapsed().as_secs_f64() * 1e3));
            }
            Err(reason) if Instant::now() > deadline => return Err(reason),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn without_creds(target: &Target, region: &str) -> Seen {
    let options = async_nats::ConnectOptions::new().name("windlass cloudflare test (nobody)");
    match options.connect(target.socket(&format!("nats/{region}"))).await {
        Ok(_) => Err("a client without credentials was let in".to_owned()),
        Err(error) if error.kind() == async_nats::ConnectErrorKind::AuthorizationViolation => {
            Ok("turned away by the server".to_owned())
        }
        Err(error) => Err(format!("it was not let in, but not for its credentials: {error}")),
    }
}

/// Starts one more node than there are, sees how long that takes, and sends it away again: nobody's clients are on it.
async fn cold_start(http: &reqwest::Client, target: &Target, region: &str, now: &Region) -> Seen {
    let number = |node: &Node| node.name.rsplit_once('-').and_then(|(_, number)| number.parse::<u32>().ok());
    let busy = |number_of: u32| {
        now.nodes.iter().any(|node| number(node) == Some(number_of) && node.state != "asleep")
    };
    let free = (0..now.max).find(|index| !busy(*index));
    let Some(index) = free else {
        return Err(format!("all {} nodes that there may be are in use", now.max));
    };
    let order = async |what: &str| {
        let token = format!("Bearer {}", target.api_token.expose_secret());
        let url = target.at(&format!("api/nodes/{region}/{index}/{what}"));
        let answer = http.post(url).header(AUTHORIZATION, token).send().await.map_err(said)?;
        let status = answer.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("{what} of {region}/{index} was answered with {status}"))
        }
    };
    let began = Instant::now();
    order("wake").await?;
    loop {
        let (status, _) = look(http, target).await?;
        let nodes = status.regions.get(region).map(|region| region.nodes.as_slice()).unwrap_or_default();
        match nodes.iter().find(|node| number(node) == Some(index)) {
            Some(node) if node.state == "running" => break,
            Some(node) if node.state == "failed" || began.elapsed() > COLD_WITHIN => {
                return Err(format!("{} is {}", node.name, node.state));
            }
            None if began.elapsed() > COLD_WITHIN => return Err("it does not appear".to_owned()),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    let took = began.elapsed().as_secs_f64() * 1e3;
    order("drain").await?;
    Ok(format!("node {index} answered after {took:.0} ms, and was sent away again"))
}

/// Answers at the hub whatever is asked on a subject of its own.
async fn responder(hub: &Client) -> Result<(String, tokio::task::JoinHandle<()>), String> {
    let subject = format!("windlass.test.{}", Uuid::new_v4().simple());
    let mut asked: Subscriber = hub.subscribe(subject.clone()).await.map_err(|error| error.to_string())?;
    hub.flush().await.map_err(|error| error.to_string())?;
    let answers = hub.clone();
    let task = tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            if let Some(reply) = message.reply {
                let _ = answers.publish(reply, message.payload).await;
            }
        }
    });
    Ok((subject, task))
}

async fn requests(target: &Target, region: &str, hub: &Client) -> Seen {
    let client =
        connect(&target.socket(&format!("nats/{region}")), target, "windlass cloudflare test").await?;
    let (subject, task) = responder(hub).await?;
    let asked = ask(&client, &subject).await;
    task.abort();
    let mut times = asked?;
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(format!("{REQUESTS} answered, median {median:.2} ms"))
}

/// Asks until the first answer (the interest takes a moment to get through), then a number of times.
async fn ask(client: &Client, subject: &str) -> Result<Vec<f64>, String> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        match client.request(subject.to_owned(), Bytes::from_static(b"?")).await {
            Ok(_) => break,
            Err(error) if Instant::now() > deadline => return Err(error.to_string()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        client
            .request(subject.to_owned(), Bytes::from_static(b"?"))
            .await
            .map_err(|error| error.to_string())?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// A nats-server that joins through the Worker, and is ended whatever happens.
struct Leaf {
    server: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

async fn leaf_node(target: &Target, region: &str, hub: &Client) -> Seen {
    let binary = Binary::find().map_err(|error| error.to_string())?;
    let port = free_port().map_err(|error| error.to_string())?;
    let remote = target.socket(&format!("leaf/{region}"));
    let leaf = start_leaf(&binary.path, port, &remote, target).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let local = format!("nats://127.0.0.1:{port}");
    let options =
        async_nats::ConnectOptions::new().name("windlass cloudflare test (leaf)").retry_on_initial_connect();
    let client = options.connect(&local).await.map_err(|error| error.to_string())?;
    let (subject, task) = responder(hub).await?;
    let asked = ask(&client, &subject).await;
    task.abort();
    asked.map_err(|reason| {
        format!("a nats-server joined as a leaf node has no answer from the hub: {reason}")
    })?;
    drop(leaf);
    Ok(format!(
        "nats-server {} joined; the hub answered it after {:.0} ms",
        binary.version,
        began.elapsed().as_secs_f64() * 1e3
    ))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn start_leaf(program: &Path, port: u16, remote: &str, target: &Target) -> std::io::Result<Leaf> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("leaf.conf");
    let quoted = |path: &Path| serde_json::to_string(&path.display().to_string()).unwrap_or_default();
    let tls = match &target.authority {
        Some(authority) if remote.starts_with("wss") => {
            format!(", tls: {{ ca_file: {} }}", quoted(authority))
        }
        _ => String::new(),
    };
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nleafnodes {{ reconnect: \"1s\", remotes: [{{ url: {}, credentials: {}{tls} }}] }}\n",
        serde_json::to_string(remote).unwrap_or_default(),
        quoted(&target.creds),
    );
    std::fs::write(&file, text)?;
    let server = Command::new(program)
        .arg("--config")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Leaf { server, _directory: directory })
}
