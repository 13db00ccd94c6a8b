//! `edge`: what the Worker costs, on the whole edge as `windlass up --edge` starts it.
//!
//! Three questions in one run. How many webhooks a second does the receiver take, beside a bare Durable Object that only
//! publishes? What does a NATS connection through the Worker cost, beside one straight to the same server's WebSocket? How
//! long does who comes first to a node that sleeps wait? Contenders take turns, and after each turn the hub's stream must hold
//! exactly what was answered with 200.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions};
use clap::Args;
use futures::StreamExt;
use serde_json::Value;

use crate::clock::{Outcome, Part, Plan, Watched};
use crate::delivery::Deliveries;
use crate::machine::Machine;
use crate::nats_server::{self, free_port};
use crate::payload::{Pool, SECRET};
use crate::process::{self, Process};
use crate::report::median;
use crate::{Result, ingest, load, progress};

const RATE: f64 = 2_500.0;
const P99_MS: f64 = 60.0;
const ADDED_MS: f64 = 0.4;
const SHARE: f64 = 0.5;
const COLD_MS: f64 = 250.0;

/// How long the stream may take to hold everything after the last answer.
const SETTLE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);

/// What `edge` can be told.
#[derive(Args)]
pub struct Options {
    /// Windlass's program
    #[arg(long, default_value = "target/release/windlass")]
    windlass: PathBuf,
    /// The server's program (else WINDLASS_NATS_SERVER, PATH, .tools/bin)
    #[arg(long)]
    nats_server: Option<PathBuf>,
    /// The packages that the peer is bundled with
    #[arg(long, default_value = "edge/node_modules")]
    modules: PathBuf,
    /// Connections that send webhooks at the same time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Bytes of a payload
    #[arg(long, default_value_t = 7_000)]
    payload: usize,
    /// Turns of each contender; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn that count
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Short turns: to see that everything works, not to believe the numbers
    #[arg(long)]
    quick: bool,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    check: bool,
}

/// A fleet that `windlass up --edge` has started, ended when it is dropped.
struct Fleet {
    windlass: PathBuf,
    directory: PathBuf,
    report: Value,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = Command::new(&self.windlass).args(["down", "--quiet"]).current_dir(&self.directory).output();
    }
}

const FILE: &str = r#"[fleet]
name = "bench"

[platforms.cloudflare]
account_id = { env = "CLOUDFLARE_ACCOUNT_ID" }
api_token = { env = "CLOUDFLARE_API_TOKEN" }

[clusters.hub]
servers = 1
jetstream = { domain = "hub" }

[clusters.edge]
platform = "cloudflare"
leaf_of = "hub"
jetstream = { domain = "edge" }
regions = { weur = { min = 1, max = 1 }, enam = { min = 0, max = 1 } }

[streams.GITHUB]
cluster = "hub"
subjects = ["github.>"]

[github]
receive_at = "edge"
"#;

impl Fleet {
    fn start(windlass: &Path, server: &Path, directory: &Path) -> Result<Self> {
        std::fs::write(directory.join("windlass.toml"), FILE)?;
        let (windlass, directory) = (std::fs::canonicalize(windlass)?, directory.to_owned());
        let mut fleet = Self { windlass, directory, report: Value::Null };
        let output = Command::new(&fleet.windlass)
            .args(["up", "--edge", "--detach", "--format", "json"])
            .current_dir(&fleet.directory)
            .env("WINDLASS_NATS_SERVER", std::fs::canonicalize(server)?)
            .env("GITHUB_WEBHOOK_SECRET", SECRET)
            .output()?;
        if !output.status.success() {
            return Err(format!("up failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        fleet.report = serde_json::from_slice(&output.stdout)?;
        Ok(fleet)
    }

    fn text(&self, part: &str, name: &str) -> Result<&str> {
        self.report[part][name].as_str().ok_or_else(|| format!("up did not say {part}.{name}").into())
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.text("cloudflare", "worker_url")?.trim_start_matches("http://").parse()?)
    }

    fn hub(&self) -> Result<u32> {
        let pid = self.report["pids"]["nats"].as_u64().ok_or("up did not say pids.nats")?;
        Ok(u32::try_from(pid)?)
    }

    /// The process that runs the Worker.
    fn workerd(&self) -> Result<u32> {
        self.process("workerd serve")
    }

    /// The process of this fleet whose command says so.
    fn process(&self, what: &str) -> Result<u32> {
        let directory = self.directory.to_string_lossy().into_owned();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&directory)
                && command.contains(what)
                && let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
            {
                return Ok(pid);
            }
        }
        Err(format!("no process is `{what}`").into())
    }

    /// Who carries a connection through the Worker, by name.
    fn carriers(&self) -> Result<[(&'static str, u32); 4]> {
        Ok([
            ("the client", std::process::id()),
            ("the local Cloudflare", self.process("sandbox cloudflare")?),
            ("workerd", self.workerd()?),
            ("nats-server", self.process("/images/")?),
        ])
    }

    async fn client(&self, url: String) -> Result<Client> {
        let options = ConnectOptions::with_credentials_file(self.text("nats", "creds")?).await?;
        Ok(options.connection_timeout(PATIENCE).request_timeout(Some(PATIENCE)).connect(url).await?)
    }

    async fn through(&self, region: &str) -> Result<Client> {
        self.client(format!("ws://{}/nats/{region}", self.address()?)).await
    }

    /// The Worker's API, over `curl`'s place: one request, one JSON answer.
    async fn api(&self, method: &str, path: &str) -> Result<Value> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let token = std::fs::read_to_string(self.directory.join(".windlass/secrets/edge-api-token"))?;
        let mut stream = tokio::net::TcpStream::connect(self.address()?).await?;
        let request = format!(
            "{method} /api/{path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            token.trim()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str(body).map_err(|_| format!("{path}: {answer}").into())
    }
}

const PEER: &str = r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["public", "private", "local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:PORT", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [(className = "Publisher", uniqueKey = "publisher", enableSql = true)],
  durableObjectStorage = (inMemory = void),
  bindings = [
    (name = "PUBLISHER", durableObjectNamespace = "Publisher"),
    (name = "HUB", fromEnvironment = "HUB"),
    (name = "CREDS", fromEnvironment = "CREDS"),
    (name = "SECRET", fromEnvironment = "SECRET"),
  ],
);
"#;

/// A Worker beside Windlass's, in the same runtime.
struct Peer {
    address: SocketAddr,
    process: Process,
}

impl Peer {
    async fn start(options: &Options, fleet: &Fleet, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let modules = std::fs::canonicalize(&options.modules)
            .map_err(|_| format!("{} is missing: npm ci in edge/", options.modules.display()))?;
        let bundle = Command::new(modules.join(".bin/esbuild"))
            .args([
                "benches/peers/edge/worker.mjs",
                "--bundle",
                "--format=esm",
                "--external:cloudflare:workers",
            ])
            .arg(format!("--outfile={}", directory.join("worker.js").display()))
            .env("NODE_PATH", &modules)
            .output()?;
        if !bundle.status.success() {
            return Err(format!("esbuild: {}", String::from_utf8_lossy(&bundle.stderr)).into());
        }
        let port = free_port()?;
        std::fs::write(directory.join("peer.capnp"), PEER.replace("PORT", &port.to_string()))?;
        // The very same runtime.
        let workerd = std::fs::read_link(format!("/proc/{}/exe", fleet.workerd()?))?;
        let mut command = Command::new(workerd);
        command
            .args(["serve", "--experimental"])
            .arg(directory.join("peer.capnp"))
            .env("HUB", fleet.text("nats", "websocket_url")?)
            .env("CREDS", std::fs::read_to_string(fleet.text("nats", "creds")?)?)
            .env("SECRET", SECRET);
        let log = directory.join("peer.log");
        let mut process = Process::start("the bare Durable Object", command, &log)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let began = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            if process.ended().is_some() || began.elapsed() > PATIENCE {
                return Err(format!("the peer did not start: {}", std::fs::read_to_string(&log)?).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { address, process })
    }
}

/// What the rounds have found.
#[derive(Default)]
struct Found {
    webhooks: BTreeMap<&'static str, Vec<Outcome>>,
    /// Milliseconds of a request and its reply, straight and through the Worker, a round.
    replies: [Vec<f64>; 2],
    /// Messages a second, the same.
    published: [Vec<f64>; 2],
    /// What the Worker added to the median reply, and the share of the rate that it left, a round.
    added: Vec<f64>,
    share: Vec<f64>,
    /// Processor time of a message that is published, in microseconds, by who spent it: straight, and through the Worker.
    spent: [BTreeMap<&'static str, Vec<f64>>; 2],
    /// Milliseconds from the wish to connect until the server has answered: the node sleeps, the node runs.
    cold: Vec<f64>,
    warm: Vec<f64>,
}

/// Runs the benchmark and writes its result to standard output.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let server = nats_server::find(options.nats_server.as_deref())?;
    let directory = ingest::temporary(None)?;
    let fleet = Fleet::start(&options.windlass, &server, directory.path())?;
    let mut found = Found::default();
    let rounds = if options.quick { 1 } else { options.rounds.max(1) };
    webhooks(options, &fleet, directory.path(), rounds, &mut found).await?;
    connections(options, &fleet, rounds, &mut found).await?;
    starts(if options.quick { 2 } else { 10 }, &fleet, &mut found).await?;
    let (text, met) = report(options, &Machine::read(&server, None), found);
    std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
    Ok(if options.check && !met { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn webhooks(
    options: &Options,
    fleet: &Fleet,
    directory: &Path,
    rounds: usize,
    found: &mut Found,
) -> Result<()> {
    let peer = Peer::start(options, fleet, &directory.join("peer")).await?;
    let client = fleet.client(fleet.text("nats", "url")?.to_owned()).await?;
    let hub = ContextBuilder::new().timeout(PATIENCE).build(client);
    let (pool, deliveries) = (Arc::new(Pool::new(options.payload)), Arc::new(Deliveries::new()));
    let contenders =
        [("windlass", fleet.address()?, fleet.workerd()?), ("bare object", peer.address, peer.process.pid())];
    for round in 1..=rounds {
        for (name, address, workerd) in contenders {
            hub.get_stream(nats_server::STREAM).await?.purge().await?;
            let before = last(&hub).await?;
            let watched =
                [(Part::Load, std::process::id()), (Part::Receiver, workerd), (Part::Server, fleet.hub()?)];
            let plan = Plan {
                in_flight: options.connections,
                warm_up: Duration::from_secs(1),
                measure: Duration::from_secs_f64(if options.quick { 1.0 } else { options.seconds }),
                watched: watched.into_iter().map(|(part, pid)| Watched { part, pid }).collect(),
            };
            let outcome = load::run(address, plan, Arc::clone(&pool), Arc::clone(&deliveries)).await?;
            let stored = settled(&hub, before, outcome.sent).await?;
            if stored != outcome.sent {
                return Err(format!("{name} took {} deliveries, and {stored} are there", outcome.sent).into());
            }
            progress(&format!("webhooks, round {round}: {name} {:.0}/s", outcome.rate));
            found.webhooks.entry(name).or_default().push(outcome);
        }
    }
    Ok(())
}

async fn last(hub: &jetstream::Context) -> Result<u64> {
    Ok(hub.get_stream(nats_server::STREAM).await?.get_info().await?.state.last_sequence)
}

/// How many messages came since `before`, once as many as were `sent` are there or it has taken too long.
async fn settled(hub: &jetstream::Context, before: u64, sent: u64) -> Result<u64> {
    let began = Instant::now();
    loop {
        let stored = last(hub).await?.saturating_sub(before);
        if stored >= sent || began.elapsed() > SETTLE {
            return Ok(stored);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connections(options: &Options, fleet: &Fleet, rounds: usize, found: &mut Found) -> Result<()> {
    let through = fleet.through("weur").await?;
    let info = through.server_info();
    let straight = format!("ws://{}:{}", info.host, info.port);
    let responder = fleet.client(straight.clone()).await?;
    let direct = fleet.client(straight).await?;
    let (one, other) = (info.server_name, direct.server_info().server_name);
    if one != other {
        return Err(format!("{one} and {other} are not the same server").into());
    }
    let mut requests = responder.subscribe("bench.echo").await?;
    responder.flush().await?;
    let answers = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            if let Some(reply) = request.reply {
                let _ = responder.publish(reply, request.payload).await;
            }
        }
    });
    let (requests, messages) = if options.quick { (200, 5_000) } else { (3_000, 1_000_000) };
    let carriers = fleet.carriers()?;
    for round in 0..=rounds {
        let mut replies = [0.0; 2];
        let mut published = [0.0; 2];
        for (at, client) in [&direct, &through].into_iter().enumerate() {
            let mut times = Vec::with_capacity(requests);
            for _ in 0..requests {
                let began = Instant::now();
                client.request("bench.echo", "x".into()).await?;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            replies[at] = median(times);
            let payload = bytes::Bytes::from(vec![b'x'; 1024]);
            let before = carriers.map(|(_, pid)| process::usage(pid).cpu);
            let began = Instant::now();
            for _ in 0..messages {
                client.publish("bench.away", payload.clone()).await?;
            }
            // The server takes a connection's messages in order: what it answers now comes after all of them.
            client.request("bench.echo", "x".into()).await?;
            published[at] = f64::from(messages) / began.elapsed().as_secs_f64();
            for ((name, pid), before) in carriers.into_iter().zip(before) {
                let spent =
                    process::usage(pid).cpu.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(messages);
                if round > 0 {
                    found.spent[at].entry(name).or_default().push(spent);
                }
            }
        }
        // The first round is for warming up.
        if round == 0 {
            continue;
        }
        progress(&format!("connections, round {round}: {replies:.3?} ms, {published:.0?}/s"));
        for at in 0..2 {
            found.replies[at].push(replies[at]);
            found.published[at].push(published[at]);
        }
        found.added.push(replies[1] - replies[0]);
        found.share.push(published[1] / published[0]);
    }
    answers.abort();
    Ok(())
}

async fn starts(count: usize, fleet: &Fleet, found: &mut Found) -> Result<()> {
    for _ in 0..count {
        for times in [&mut found.cold, &mut found.warm] {
            let began = Instant::now();
            // A client is connected once the server has answered its first ping.
            let client = fleet.through("enam").await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            drop(client);
        }
        fleet.api("POST", "nodes/enam/0/drain").await?;
        let began = Instant::now();
        while fleet.api("GET", "status").await?["regions"]["enam"]["nodes"][0]["state"] != "asleep" {
            if began.elapsed() > PATIENCE {
                return Err("a node that was drained does not sleep".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The table that locations read says so a little later.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    progress(&format!("starts: cold {:.0?} ms, warm {:.0?} ms", found.cold, found.warm));
    Ok(())
}

fn quantile(outcome: &Outcome, share: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of one answer")]
    let micros = outcome.latency.value_at_quantile(share) as f64;
    micros / 1e3
}

/// The tables, and whether every target is met.
fn report(options: &Options, machine: &Machine, found: Found) -> (String, bool) {
    let mut out = String::new();
    let _ = writeln!(out, "## Edge\n\n{}.\n", machine.line());
    let _ = writeln!(
        out,
        "| webhooks of {} bytes, {} connections | a second | least–most | p50 ms | p99 ms | CPU µs each: load | workerd | nats-server |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        options.payload, options.connections
    );
    let mut rates = BTreeMap::new();
    for (name, outcomes) in &found.webhooks {
        let all = |value: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(value).collect::<Vec<f64>>();
        let cpu = |part: Part| median(all(&|one| one.cpu_per_answer.get(&part).copied().unwrap_or_default()));
        let rate = median(all(&|one| one.rate));
        let p99 = median(all(&|one| quantile(one, 0.99)));
        let least = all(&|one| one.rate).into_iter().fold(f64::INFINITY, f64::min);
        let most = all(&|one| one.rate).into_iter().fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "| {name} | {rate:.0} | {least:.0}–{most:.0} | {:.1} | {p99:.1} | {:.0} | {:.0} | {:.0} |",
            median(all(&|one| quantile(one, 0.5))),
            cpu(Part::Load),
            cpu(Part::Receiver),
            cpu(Part::Server),
        );
        rates.insert(*name, (rate, p99));
    }
    let [direct, through] = found.replies.map(median);
    let [direct_rate, through_rate] = found.published.map(median);
    let (added, share) = (median(found.added), median(found.share));
    let _ = writeln!(
        out,
        "\n| a connection | straight to the server's WebSocket | through the Worker | |\n| --- | ---: | ---: | ---: |\n\
         | request and reply, p50 ms | {direct:.3} | {through:.3} | +{added:.3} |\n\
         | messages of 1 KiB a second | {direct_rate:.0} | {through_rate:.0} | {:.0} % |",
        share * 100.0
    );
    let spent = found.spent.map(|one| {
        one.into_iter().map(|(name, all)| format!("{name} {:.2}", median(all))).collect::<Vec<_>>().join(", ")
    });
    let _ = writeln!(
        out,
        "\nProcessor time of such a message in µs, straight: {}; through the Worker: {}.",
        spent[0], spent[1]
    );
    let worst = found.cold.iter().copied().fold(0.0, f64::max);
    let (cold, warm) = (median(found.cold), median(found.warm));
    let _ = writeln!(
        out,
        "\n| connecting to a node, ms | median | worst |\n| --- | ---: | ---: |\n| that sleeps | {cold:.0} | {worst:.0} |\n\
         | that runs | {warm:.1} | |"
    );
    let (rate, p99) = rates.get("windlass").copied().unwrap_or_default();
    let bare = rates.get("bare object").copied().unwrap_or_default();
    let targets = [
        (
            format!("at least {RATE:.0} webhooks a second"),
            format!("{rate:.0}, {:.2} of the bare object", rate / bare.0),
            rate >= RATE,
        ),
        (
            format!("p99 below {P99_MS:.0} ms"),
            format!("{p99:.1} ms, {:.2} of the bare object's", p99 / bare.1),
            p99 < P99_MS,
        ),
        (format!("at most {ADDED_MS} ms more at p50"), format!("{added:.3} ms"), added <= ADDED_MS),
        (
            format!("at least {:.0} % of what is published straight", SHARE * 100.0),
            format!("{:.0} %", share * 100.0),
            share >= SHARE,
        ),
        (
            format!("a node that sleeps answers within {COLD_MS:.0} ms"),
            format!("{cold:.0} ms"),
            cold < COLD_MS,
        ),
    ];
    let _ = writeln!(out, "\n| target | found | |\n| --- | --- | --- |");
    for (wanted, found, met) in &targets {
        let _ = writeln!(out, "| {wanted} | {found} | {} |", if *met { "met" } else { "missed" });
    }
    (out, targets.iter().all(|(_, _, met)| *met))
}
