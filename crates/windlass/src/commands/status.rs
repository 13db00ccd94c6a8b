//! `windlass status`: what runs, where, and how it is.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use windlass_engine::topology::seen::{Health, Lag, Role, Seen, Server, Stream};
use windlass_platforms::cloudflare::worker::{Status as EdgeStatus, WorkerApi};
use windlass_platforms::self_hosted::look;
use windlass_platforms::self_hosted::part::{Places, Status};

use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::output::{self, DIM, GREEN, RED, YELLOW, paint};
use crate::run_directory::{RunDirectory, read_json};
use crate::run_record::{Endpoints, RECEIVER, Report, RunRecord, SUPERVISOR};

/// A copy that lacks fewer messages than this is no news while messages come in.
const CLOSE: u64 = 100;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Show what runs, where, and how it is.

Each server by itself: its cluster, how it is, what it is for JetStream's metadata (leader, follower or standalone), its \
version, and how often it was started again after it had ended by itself. Then the receiver, the nodes at the edge, the \
stand-ins for the cloud that run here and the supervisor, and each stream with the copies that lag behind. The servers themselves are asked.";

const EXAMPLES: &str = "\
Examples:
  windlass status
  windlass status --format json | jq -r .receiver.url
  windlass status --format json | jq '.servers[] | select(.health != \"healthy\")'

With --format json: nats, receiver, r2, cloudflare and pids, as `windlass up` prints them, and beside them servers, streams and \
edge.

Exit code 0: everything runs and is healthy. 1: something is down, or nothing runs.";

/// Arguments of `windlass status`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

/// What `status --format json` prints: what was promised to scripts, and more.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: Report,
    servers: Vec<OneServer<'a>>,
    streams: &'a [Stream],
    #[serde(skip_serializing_if = "Option::is_none")]
    edge: Option<&'a EdgeStatus>,
}

/// A node at the edge.
struct EdgeNode {
    name: String,
    region: String,
    health: Health,
    version: Option<String>,
    url: String,
    note: Option<String>,
}

/// What runs at the edge, said by its nodes; nothing, where there is no edge or it does not answer.
async fn edge(record: &RunRecord, directory: &RunDirectory) -> Option<EdgeStatus> {
    let edge = record.endpoints.cloudflare.as_ref()?;
    let token = std::fs::read_to_string(directory.secrets().join("edge-api-token")).ok()?;
    let token = SecretString::from(token.trim().to_owned());
    WorkerApi::new(&edge.worker_url, Some(token)).ok()?.status().await.ok()
}

fn nodes(status: &EdgeStatus) -> Vec<EdgeNode> {
    let all = status.regions.iter().flat_map(|(region, of)| of.nodes.iter().map(move |node| (region, node)));
    let row = |(region, node): (&String, &windlass_platforms::cloudflare::worker::Node)| {
        let (health, note) = match node.state.as_str() {
            "running" => {
                let clients = node.connections.unwrap_or_default();
                (Health::Healthy, (clients > 0).then(|| format!("{clients} clients")))
            }
            "failed" => {
                (Health::Down(node.last_error.clone().unwrap_or_else(|| "it failed".to_owned())), None)
            }
            // Asleep, starting or draining: it does what it was told.
            other => (Health::Healthy, Some(other.to_owned())),
        };
        EdgeNode {
            name: node.name.clone(),
            region: region.clone(),
            health,
            version: node.running_version.clone(),
            url: format!("/nats/{region}"),
            note,
        }
    };
    all.map(row).collect()
}

#[derive(Serialize)]
struct OneServer<'a> {
    name: &'a str,
    cluster: &'a str,
    health: &'static str,
    why: Option<&'a str>,
    role: Option<Role>,
    version: Option<&'a str>,
    restarts: u64,
    pid: Option<u32>,
    url: Option<&'a str>,
}

impl<'a> OneServer<'a> {
    fn of(server: &'a Server) -> Self {
        Self {
            name: &server.name,
            cluster: &server.cluster,
            health: server.health.as_str(),
            why: server.health.why(),
            role: server.role,
            version: server.version.as_deref(),
            restarts: server.restarts,
            pid: server.pid,
            url: server.url.as_deref(),
        }
    }
}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let status: Status = read_json(&Places::at(directory.root()).status()).unwrap_or_default();
    let record = RunRecord::read(&directory).filter(|record| !record.alive().is_empty());
    let Some(record) = record else {
        if context.json() {
            output::json(&Report { endpoints: Endpoints::default(), pids: BTreeMap::default() })?;
        } else {
            let mut out = output::out();
            writeln!(out, "nothing is running in {}", directory.root().display())?;
            writeln!(out, "start it with `windlass up --detach`")?;
        }
        return Ok(ExitCode::from(FAILED));
    };
    let supervisor = look::agent(&status);
    let mut seen = look::look(&status, &record.fleet).await;
    if record.endpoints.receiver.is_none() {
        seen.receiver = None;
    }
    let stand_ins = look::stand_ins(&status).await;
    let edge = edge(&record, &directory).await;
    let beside = (stand_ins, edge.as_ref().map(nodes).unwrap_or_default());
    let streams = seen.streams();
    let all = seen.servers.iter().map(|server| &server.health);
    let all = all.chain(seen.receiver.as_ref().map(|receiver| &receiver.health)).chain([&supervisor]);
    let all = all.chain(beside.0.iter().map(|stand_in| &stand_in.health));
    let all = all.chain(beside.1.iter().map(|node| &node.health));
    let healthy = !seen.servers.is_empty() && all.into_iter().all(|health| *health == Health::Healthy);
    if context.json() {
        let report = record.report(crate::process::Identity::is_alive);
        let servers = seen.servers.iter().map(OneServer::of).collect();
        output::json(&Answer { report, servers, streams: &streams, edge: edge.as_ref() })?;
    } else {
        print(&directory, &record, &supervisor, &seen, &beside, &streams)?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn health(health: &Health) -> String {
    let style = match health {
        Health::Healthy => GREEN,
        Health::Impaired(_) => YELLOW,
        Health::Down(_) => RED,
    };
    paint(style, format!("{:<8}", health.as_str()))
}

/// How often it was started again, where that happened.
fn restarts(count: u64) -> Option<String> {
    match count {
        0 => None,
        1 => Some("restarted once".to_owned()),
        count => Some(format!("restarted {count} times")),
    }
}

fn print(
    directory: &RunDirectory,
    record: &RunRecord,
    supervisor: &Health,
    seen: &Seen,
    beside: &(Vec<look::StandIn>, Vec<EdgeNode>),
    streams: &[Stream],
) -> io::Result<()> {
    let mut out = output::out();
    let now = Timestamp::now();
    let since = record.since.parse::<Timestamp>().ok();
    let uptime = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok());
    let uptime = uptime.map(|uptime| format!(", up {}", output::duration(uptime))).unwrap_or_default();
    let file = record.file.as_deref().unwrap_or("the built-in default");
    writeln!(out, "fleet {} from {file}{uptime}\n", record.fleet)?;
    for line in parts(record, supervisor, seen, beside) {
        writeln!(out, "{line}")?;
    }
    if !streams.is_empty() {
        writeln!(out, "\n{}", paint(DIM, "  streams"))?;
        let rows: Vec<[String; 3]> = streams.iter().map(stream).collect();
        output::table(&mut out, &rows)?;
    }
    writeln!(out)?;
    let mut rows = Vec::new();
    if let Some((events, bytes)) = seen.receiver.as_ref().and_then(|receiver| receiver.backlog) {
        rows.push(["spool".into(), format!("{events} events waiting, {bytes} bytes")]);
    }
    if let Some(nats) = &record.endpoints.nats {
        rows.push(["websocket".into(), nats.websocket_url.clone()]);
        rows.push(["monitor".into(), nats.monitor_url.clone()]);
        rows.push(["creds".into(), nats.creds.clone()]);
        rows.extend(nats.ca_file.clone().map(|file| ["authority".into(), file]));
    }
    if let Some(receiver) = &record.endpoints.receiver {
        rows.push(["secret".into(), receiver.secret_file.clone()]);
    }
    rows.push(["logs".into(), directory.logs().display().to_string()]);
    output::table(&mut out, &rows)
}

/// A line for each part.
fn parts(
    record: &RunRecord,
    supervisor: &Health,
    seen: &Seen,
    (stand_ins, nodes): &(Vec<look::StandIn>, Vec<EdgeNode>),
) -> Vec<String> {
    struct Row<'a> {
        cells: [String; 6],
        health: &'a Health,
        notes: Vec<String>,
    }
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let pid = |pid: Option<u32>| pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let mut rows: Vec<Row<'_>> = Vec::new();
    for server in &seen.servers {
        let url = text(server.url.as_deref());
        rows.push(Row {
            cells: [
                server.name.clone(),
                server.cluster.clone(),
                text(server.role.map(Role::as_str)),
                text(server.version.as_deref()),
                pid(server.pid),
                url,
            ],
            health: &server.health,
            notes: restarts(server.restarts).into_iter().collect(),
        });
    }
    if let Some(receiver) = &seen.receiver {
        let cells = [
            RECEIVER,
            "-",
            "-",
            &record.windlass,
            &pid(receiver.pid),
            receiver.url.as_deref().unwrap_or("-"),
        ];
        rows.push(Row {
            cells: cells.map(str::to_owned),
            health: &receiver.health,
            notes: restarts(receiver.restarts).into_iter().collect(),
        });
    }
    for node in nodes {
        let version = text(node.version.as_deref());
        let cells = [&node.name, &node.region, "node", version.as_str(), "-", &node.url];
        let notes = node.note.clone().into_iter().collect();
        rows.push(Row { cells: cells.map(str::to_owned), health: &node.health, notes });
    }
    for one in stand_ins {
        let url = one.url.as_deref().unwrap_or("-");
        let cells = [&one.name, "-", "-", record.windlass.as_str(), &pid(one.pid), url].map(str::to_owned);
        let notes = restarts(one.restarts).into_iter().collect();
        rows.push(Row { cells, health: &one.health, notes });
    }
    let own =
        record.processes.get(SUPERVISOR).filter(|process| process.is_alive()).map(|process| process.pid);
    let cells = [SUPERVISOR, "-", "-", "-", &pid(own), "-"].map(str::to_owned);
    rows.push(Row { cells, health: supervisor, notes: Vec::new() });
    let heads = ["part", "cluster", "role", "version", "pid", "address"];
    let widths: Vec<usize> = (0..heads.len())
        .map(|at| {
            rows.iter().map(|row| row.cells[at].chars().count()).max().unwrap_or(0).max(heads[at].len())
        })
        .collect();
    let line = |cells: &[String], health: &str, notes: &str| {
        let mut line = format!("  {:<width$}  {health}", cells[0], width = widths[0]);
        for at in 1..heads.len() {
            line.push_str(&format!("  {:<width$}", cells[at], width = widths[at]));
        }
        format!("{line}  {notes}").trim_end().to_owned()
    };
    let head = line(&heads.map(str::to_owned), "health  ", "");
    let mut lines = vec![paint(DIM, head)];
    for row in rows {
        let mut notes = row.notes;
        notes.extend(row.health.why().map(str::to_owned));
        lines.push(line(&row.cells, &health(row.health), &notes.join("; ")));
    }
    lines
}

/// A stream in short: what is in it, who leads it, and who lags.
fn stream(stream: &Stream) -> [String; 3] {
    let mut notes = Vec::new();
    if !stream.replicas.is_empty() {
        notes.push(match &stream.leader {
            Some(leader) => format!("leader {leader}"),
            None => "no leader".to_owned(),
        });
    }
    let lagging = |lag: &Lag| !lag.current || lag.offline || lag.lag >= CLOSE;
    let mut current = 0;
    for (server, lag) in &stream.replicas {
        if !lagging(lag) {
            current += 1;
            continue;
        }
        let what = match (lag.offline, lag.lag) {
            (true, _) => "is away".to_owned(),
            (false, 0) => "is not current".to_owned(),
            (false, lag) => format!("lacks {lag} messages"),
        };
        notes.push(paint(YELLOW, format!("{server} {what}")));
    }
    if !stream.replicas.is_empty() {
        notes.push(format!("{} of {} copies current", current + 1, stream.replicas.len() + 1));
    }
    if let Some(lag) = stream.source_lag.filter(|lag| *lag >= CLOSE) {
        notes.push(paint(YELLOW, format!("lacks {lag} messages of its sources")));
    }
    [
        format!("{}/{}", stream.account, stream.stream),
        format!("{} messages, {} bytes", stream.messages, stream.bytes),
        notes.join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_stream_says_who_lags() {
        let lag = |current, lag, offline| Lag { current, lag, offline };
        let mut one = Stream {
            account: "GITHUB".into(),
            stream: "GITHUB".into(),
            cluster: "hub".into(),
            messages: 7,
            bytes: 70,
            leader: Some("hub-1".into()),
            replicas: BTreeMap::from([
                ("hub-0".to_owned(), lag(true, 3, false)),
                ("hub-2".to_owned(), lag(false, 900, false)),
            ]),
            source_lag: None,
        };
        let [name, size, notes] = stream(&one);
        assert_eq!((name.as_str(), size.as_str()), ("GITHUB/GITHUB", "7 messages, 70 bytes"));
        assert_eq!(plain(&notes), "leader hub-1; hub-2 lacks 900 messages; 2 of 3 copies current");
        one.replicas = BTreeMap::from([("hub-0".to_owned(), lag(true, 0, true))]);
        assert_eq!(plain(&stream(&one)[2]), "leader hub-1; hub-0 is away; 1 of 2 copies current");
        one.replicas = BTreeMap::new();
        assert_eq!(stream(&one)[2], "");
    }
}
