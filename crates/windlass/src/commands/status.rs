//! `windlass status`: what runs, where, and how it is.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::health::{self, Answer};
use crate::output::{self, GREEN, RED, YELLOW, paint};
use crate::run_directory::RunDirectory;
use crate::run_record::{Endpoints, RECEIVER, Report, RunRecord, SUPERVISOR};

/// How long a part may take to say how it is.
const WITHIN: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  windlass status
  windlass status --format json | jq -r .receiver.url

Exit code 0: everything runs and is healthy. 1: something is down, or nothing runs.";

/// Arguments of `windlass status`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    Healthy,
    /// It runs, but does not do its work fully.
    Impaired(String),
    Down(String),
}

/// Runs the command.
pub async fn run(_args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let record = RunRecord::read(&directory).filter(|record| !record.alive().is_empty());
    let Some(record) = record else {
        if context.json() {
            output::json(&Report { endpoints: Endpoints::default(), pids: Default::default() })?;
        } else {
            let mut out = output::out();
            writeln!(out, "nothing is running in {}", directory.root().display())?;
            writeln!(out, "start it with `windlass up --detach`")?;
        }
        return Ok(ExitCode::from(FAILED));
    };
    let supervisor = if is_alive(&record, SUPERVISOR) {
        Health::Healthy
    } else {
        Health::Down("it was killed; `windlass up` takes over what it left".into())
    };
    let servers = record.servers.iter().map(|(name, address)| look_at_nats(&record, name, *address));
    let (servers, receiver) = tokio::join!(futures::future::join_all(servers), look_at_receiver(&record));
    let all =
        servers.iter().map(|nats| &nats.health).chain(receiver.as_ref().map(|receiver| &receiver.health));
    let healthy = !servers.is_empty() && all.chain([&supervisor]).all(|health| *health == Health::Healthy);
    if context.json() {
        output::json(&record.report(crate::process::Identity::is_alive))?;
    } else {
        print(&directory, &record, &supervisor, &servers, receiver.as_ref())?;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// What nats-server says.
struct Nats {
    part: String,
    health: Health,
    version: Option<String>,
    messages: Option<(u64, u64)>,
}

/// What the receiver says.
struct Receiver {
    health: Health,
    backlog: Option<(u64, u64)>,
}

fn is_alive(record: &RunRecord, part: &str) -> bool {
    record.processes.get(part).is_some_and(crate::process::Identity::is_alive)
}

async fn look_at_nats(record: &RunRecord, part: &str, address: SocketAddr) -> Nats {
    let part = part.to_owned();
    if !is_alive(record, &part) {
        return Nats { part, health: Health::Down("no process".into()), version: None, messages: None };
    }
    let (healthz, varz, jsz) = tokio::join!(
        health::get(address, "/healthz", WITHIN),
        health::get(address, "/varz", WITHIN),
        health::get(address, "/jsz?accounts=true&streams=true", WITHIN),
    );
    let version = varz.ok().and_then(|answer| Some(answer.json()?["version"].as_str()?.to_owned()));
    let messages = jsz.ok().and_then(|answer| stream_state(&answer.json()?, record.stream.as_deref()?));
    Nats { part, health: judge(healthz, |_| None), version, messages }
}

/// `None` when no receiver is part of the run.
async fn look_at_receiver(record: &RunRecord) -> Option<Receiver> {
    let address = health::address(&record.endpoints.receiver.as_ref()?.url);
    let (Some(address), true) = (address, is_alive(record, RECEIVER)) else {
        return Some(Receiver { health: Health::Down("no process".into()), backlog: None });
    };
    let answer = health::get(address, "/readyz", WITHIN).await;
    let backlog = answer
        .as_ref()
        .ok()
        .and_then(Answer::json)
        .and_then(|body| Some((body["spool"]["events"].as_u64()?, body["spool"]["bytes"].as_u64()?)));
    let impaired = |answer: &Answer| {
        (answer.json()?["nats"] == "disconnected")
            .then(|| "NATS is not connected; events go to the spool".to_owned())
    };
    Some(Receiver { health: judge(answer, impaired), backlog })
}

fn judge(answer: io::Result<Answer>, impaired: impl FnOnce(&Answer) -> Option<String>) -> Health {
    match answer {
        Ok(answer) if answer.is_ok() => impaired(&answer).map_or(Health::Healthy, Health::Impaired),
        Ok(answer) => Health::Impaired(format!("answers {}: {}", answer.status, answer.body.trim())),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Health::Impaired(format!("no answer within {} s", WITHIN.as_secs()))
        }
        Err(error) => Health::Impaired(format!("no answer: {error}")),
    }
}

/// Messages and bytes of a stream, from nats-server's `/jsz`.
fn stream_state(jsz: &Value, stream: &str) -> Option<(u64, u64)> {
    let accounts = jsz["account_details"].as_array()?;
    let streams = accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
    let state = &streams.into_iter().find(|found| found["name"] == stream)?["state"];
    Some((state["messages"].as_u64()?, state["bytes"].as_u64()?))
}

fn print(
    directory: &RunDirectory,
    record: &RunRecord,
    supervisor: &Health,
    servers: &[Nats],
    receiver: Option<&Receiver>,
) -> io::Result<()> {
    let mut out = output::out();
    let now = Timestamp::now();
    let since = record.since.parse::<Timestamp>().ok();
    let uptime = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok());
    let uptime = uptime.map(|uptime| format!(", up {}", output::duration(uptime))).unwrap_or_default();
    let file = record.file.as_deref().unwrap_or("the built-in default");
    writeln!(out, "fleet {} from {file}{uptime}\n", record.fleet)?;
    let receiver_says = format!("windlass {}", record.windlass);
    let urls = (record.endpoints.nats.as_ref(), record.endpoints.receiver.as_ref());
    let row = |part: &str, health: &Health, address: &str, note: &str| {
        let (style, word, reason) = match health {
            Health::Healthy => (GREEN, "healthy ", ""),
            Health::Impaired(reason) => (YELLOW, "impaired", reason.as_str()),
            Health::Down(reason) => (RED, "down    ", reason.as_str()),
        };
        let pid = record.processes.get(part).filter(|process| process.is_alive());
        let pid = pid.map_or_else(|| "-".to_owned(), |process| process.pid.to_string());
        let notes: Vec<&str> = [note, reason].into_iter().filter(|text| !text.is_empty()).collect();
        let line =
            format!("  {part:<10}  {}  {pid:>8}  {address:<32}  {}", paint(style, word), notes.join("; "));
        line.trim_end().to_owned()
    };
    for (at, nats) in servers.iter().enumerate() {
        let says = nats.version.as_ref().map(|version| format!("nats-server {version}")).unwrap_or_default();
        let address = urls.0.filter(|_| at == 0).map_or("", |nats| nats.url.as_str());
        writeln!(out, "{}", row(&nats.part, &nats.health, address, &says))?;
    }
    if let Some((receiver, endpoints)) = receiver.zip(urls.1) {
        writeln!(out, "{}", row(RECEIVER, &receiver.health, &endpoints.url, &receiver_says))?;
    }
    writeln!(out, "{}\n", row(SUPERVISOR, supervisor, "", ""))?;
    let mut rows = Vec::new();
    let held = servers.iter().find_map(|nats| nats.messages);
    if let Some(((messages, bytes), stream)) = held.zip(record.stream.as_ref()) {
        rows.push(["stream".into(), format!("{stream}: {messages} messages, {bytes} bytes")]);
    }
    if let Some((events, bytes)) = receiver.and_then(|receiver| receiver.backlog) {
        rows.push(["spool".into(), format!("{events} events waiting, {bytes} bytes")]);
    }
    if let Some(nats) = urls.0 {
        rows.push(["websocket".into(), nats.websocket_url.clone()]);
        rows.push(["monitor".into(), nats.monitor_url.clone()]);
        rows.push(["creds".into(), nats.creds.clone()]);
    }
    if let Some(receiver) = urls.1 {
        rows.push(["secret".into(), receiver.secret_file.clone()]);
    }
    rows.push(["logs".into(), directory.logs().display().to_string()]);
    output::table(&mut out, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_state_is_found_in_any_account() {
        let jsz = serde_json::json!({ "account_details": [
            { "name": "OTHER" },
            { "name": "A", "stream_detail": [{ "name": "GITHUB", "state": { "messages": 7, "bytes": 70 } }] },
        ]});
        assert_eq!(stream_state(&jsz, "GITHUB"), Some((7, 70)));
        assert_eq!(stream_state(&jsz, "OTHER"), None);
        assert_eq!(stream_state(&Value::Null, "GITHUB"), None);
    }

    #[test]
    fn answers_become_health() {
        let answer = |status| Ok(Answer { status, body: "{}".into() });
        assert_eq!(judge(answer(200), |_| None), Health::Healthy);
        assert_eq!(judge(answer(503), |_| None), Health::Impaired("answers 503: {}".into()));
        assert_eq!(judge(answer(200), |_| Some("x".into())), Health::Impaired("x".into()));
        let silent = judge(Err(io::ErrorKind::TimedOut.into()), |_| None);
        assert_eq!(silent, Health::Impaired("no answer within 2 s".into()));
    }
}
