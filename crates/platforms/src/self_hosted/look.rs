//! What runs on this machine, by asking each server and the receiver over HTTP: for people who look, not for plans.
//!
//! All are asked at once, and one that does not answer holds up nobody longer than [`WITHIN`].

use super::health::{self, Answer};
use super::logs::cluster_of;
use super::part::{Kind, Running, Status};
use super::process::Identity;
use super::servers::reachable;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use windlass_engine::topology::seen::{Health, Held, Lag, Receiver, Role, Seen, Server};

/// How long a part may take to say how it is.
pub const WITHIN: Duration = Duration::from_secs(2);

/// Looks at everything that the agent keeps running. `fleet` is the name that servers carry before their own.
pub async fn look(status: &Status, fleet: &str) -> Seen {
    let servers = status.parts.values().filter(|running| running.part.kind == Kind::Server);
    let receiver = status.parts.values().find(|running| running.part.kind == Kind::Receiver);
    let (servers, receiver) =
        tokio::join!(futures::future::join_all(servers.map(|running| server(running, fleet))), async {
            match receiver {
                Some(running) => Some(look_at_receiver(running).await),
                None => None,
            }
        });
    Seen { servers, receiver }
}

fn url(scheme: &str, address: SocketAddr) -> String {
    format!("{scheme}://{}", SocketAddr::new(reachable(address.ip()), address.port()))
}

/// The process, if it lives; else why it does not.
fn process(running: &Running) -> Result<u32, Health> {
    match running.process.as_ref().filter(|process| process.is_alive()) {
        Some(process) => Ok(process.pid),
        None => Err(Health::Down(match &running.ended {
            Some(how) => format!("it ended ({how}) and is started again"),
            None => "no process".to_owned(),
        })),
    }
}

async fn server(running: &Running, fleet: &str) -> Server {
    let part = &running.part;
    let mut server = Server {
        name: part.name.clone(),
        cluster: cluster_of(&part.name).unwrap_or(&part.name).to_owned(),
        health: Health::Healthy,
        pid: None,
        restarts: running.restarts,
        url: part.listens.first().map(|address| url(if part.loaded.tls { "tls" } else { "nats" }, *address)),
        version: None,
        role: None,
        routes: BTreeSet::new(),
        leaf_nodes: BTreeSet::new(),
        gateways: BTreeSet::new(),
        streams: Vec::new(),
    };
    match (process(running), part.monitor) {
        (Err(health), _) => server.health = health,
        (Ok(pid), None) => server.pid = Some(pid),
        (Ok(pid), Some(monitor)) => {
            server.pid = Some(pid);
            let get = |path| health::get(monitor, path, WITHIN);
            let json = async |path| get(path).await.ok().and_then(|answer| answer.json()).unwrap_or_default();
            let (healthz, varz, jsz, routez, leafz, gatewayz) = tokio::join!(
                get("/healthz"),
                json("/varz"),
                json("/jsz?accounts=true&streams=true"),
                json("/routez"),
                json("/leafz"),
                json("/gatewayz"),
            );
            server.health = judge(healthz, |_| None);
            server.version = varz["version"].as_str().map(str::to_owned);
            let own = |name: &str| {
                name.strip_prefix(fleet).and_then(|name| name.strip_prefix('-')).map(str::to_owned)
            };
            server.role = role(&jsz, &server.name, &own);
            server.streams = streams(&jsz, &own);
            server.routes = names(&routez["routes"], "remote_name", &own);
            server.leaf_nodes = names(&leafz["leafs"], "name", &own);
            let gateways = gatewayz["outbound_gateways"].as_object();
            server.gateways = gateways.into_iter().flatten().map(|(name, _)| name.clone()).collect();
        }
    }
    server
}

/// The servers of this fleet that a list of connections names.
fn names(connections: &Value, key: &str, own: &impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let all = connections.as_array().into_iter().flatten();
    all.filter_map(|connection| own(connection[key].as_str()?)).collect()
}

fn role(jsz: &Value, name: &str, own: &impl Fn(&str) -> Option<String>) -> Option<Role> {
    let Some(meta) = jsz["meta_cluster"].as_object() else {
        // Without JetStream nothing is said at all.
        return (jsz["server_id"].is_string() && jsz["disabled"] != true).then_some(Role::Standalone);
    };
    let leader = meta.get("leader").and_then(Value::as_str).and_then(own);
    Some(if leader.as_deref() == Some(name) { Role::Leader } else { Role::Follower })
}

fn streams(jsz: &Value, own: &impl Fn(&str) -> Option<String>) -> Vec<Held> {
    let mut all = Vec::new();
    for account in jsz["account_details"].as_array().into_iter().flatten() {
        for stream in account["stream_detail"].as_array().into_iter().flatten() {
            let (cluster, state) = (&stream["cluster"], &stream["state"]);
            let lag = |replica: &Value| {
                let lag = Lag {
                    current: replica["current"].as_bool().unwrap_or(false),
                    lag: replica["lag"].as_u64().unwrap_or(0),
                    offline: replica["offline"].as_bool().unwrap_or(false),
                };
                Some((own(replica["name"].as_str()?)?, lag))
            };
            let sources = stream["sources"].as_array().into_iter().flatten().chain(stream.get("mirror"));
            all.push(Held {
                account: account["name"].as_str().unwrap_or_default().to_owned(),
                stream: stream["name"].as_str().unwrap_or_default().to_owned(),
                messages: state["messages"].as_u64().unwrap_or(0),
                bytes: state["bytes"].as_u64().unwrap_or(0),
                leader: cluster["leader"].as_str().and_then(own),
                lags: cluster["replicas"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(lag)
                    .collect::<BTreeMap<_, _>>(),
                source_lag: sources.filter_map(|source| source["lag"].as_u64()).max(),
            });
        }
    }
    all
}

async fn look_at_receiver(running: &Running) -> Receiver {
    let address = running.part.listens.first().copied();
    let mut receiver = Receiver {
        health: Health::Healthy,
        pid: None,
        restarts: running.restarts,
        url: address.map(|address| url("http", address) + "/github"),
        backlog: None,
    };
    match (process(running), address) {
        (Err(health), _) => receiver.health = health,
        (Ok(pid), None) => receiver.pid = Some(pid),
        (Ok(pid), Some(address)) => {
            receiver.pid = Some(pid);
            let address = SocketAddr::new(reachable(address.ip()), address.port());
            let answer = health::get(address, "/readyz", WITHIN).await;
            let spool = answer.as_ref().ok().and_then(Answer::json).map(|body| body["spool"].clone());
            receiver.backlog =
                spool.and_then(|spool| Some((spool["events"].as_u64()?, spool["bytes"].as_u64()?)));
            receiver.health = judge(answer, |answer| {
                (answer.json()?["nats"] == "disconnected")
                    .then(|| "NATS is not connected; events go to the spool".to_owned())
            });
        }
    }
    receiver
}

/// What there is to see of what stands in for the cloud here, in the order in which it is told.
pub async fn stand_ins(status: &Status) -> Vec<StandIn> {
    let of_kind = |kind: Kind| status.parts.values().find(move |running| running.part.kind == kind);
    let mut all = Vec::new();
    for running in [Kind::Cloudflare, Kind::R2].into_iter().filter_map(of_kind) {
        let mut one = StandIn {
            name: running.part.name.clone(),
            health: Health::Healthy,
            pid: None,
            restarts: running.restarts,
            url: running.part.listens.first().map(|address| url("http", *address)),
        };
        match process(running) {
            Err(health) => one.health = health,
            Ok(pid) => {
                one.pid = Some(pid);
                let answered = match running.part.kind {
                    Kind::R2 => super::r2::health(running).await,
                    _ => super::local_cloudflare::health(running).await,
                };
                if let Err(reason) = answered {
                    one.health = Health::Impaired(reason);
                }
            }
        }
        all.push(one);
    }
    all
}

/// A local R2 or a local Cloudflare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The part's name.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// Its process.
    pub pid: Option<u32>,
    /// How often it was started again after it had ended by itself.
    pub restarts: u64,
    /// Where it is asked.
    pub url: Option<String>,
}

/// Whether the agent itself lives.
#[must_use]
pub fn agent(status: &Status) -> Health {
    if status.agent.as_ref().is_some_and(Identity::is_alive) {
        Health::Healthy
    } else {
        Health::Down("it was killed; `windlass up` takes over what it left".to_owned())
    }
}

fn judge(answer: io::Result<Answer>, impaired: impl FnOnce(&Answer) -> Option<String>) -> Health {
    match answer {
        Ok(answer) if answer.is_ok() => impaired(&answer).map_or(Health::Healthy, Health::Impaired),
        Ok(answer) => Health::Impaired(format!("answers {}: {}", answer.status, reason(&answer))),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Health::Impaired(format!("no answer within {} s", WITHIN.as_secs()))
        }
        Err(error) => Health::Impaired(format!("no answer: {error}")),
    }
}

/// What an answer gives as its reason, in one line.
fn reason(answer: &Answer) -> String {
    let error = answer.json().and_then(|body| body["error"].as_str().map(str::to_owned));
    error.unwrap_or_else(|| answer.body.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn own(name: &str) -> Option<String> {
        name.strip_prefix("shop-").map(str::to_owned)
    }

    #[test]
    fn answers_become_health() {
        let answer = |status, body: &str| Ok(Answer { status, body: body.into() });
        assert_eq!(judge(answer(200, "{}"), |_| None), Health::Healthy);
        assert_eq!(judge(answer(503, "{}"), |_| None), Health::Impaired("answers 503: {}".into()));
        let body = r#"{"status":"unavailable","error":"not current"}"#;
        assert_eq!(judge(answer(503, body), |_| None), Health::Impaired("answers 503: not current".into()));
        assert_eq!(judge(answer(200, "{}"), |_| Some("x".into())), Health::Impaired("x".into()));
        let silent = judge(Err(io::ErrorKind::TimedOut.into()), |_| None);
        assert_eq!(silent, Health::Impaired("no answer within 2 s".into()));
    }

    #[test]
    fn roles_and_streams_are_read() {
        let replica = json!({ "name": "shop-hub-2", "current": false, "lag": 7, "offline": true });
        let jsz = json!({
            "server_id": "N", "meta_cluster": { "leader": "shop-hub-1" },
            "account_details": [{ "name": "OTHER" }, { "name": "GITHUB", "stream_detail": [{
                "name": "GITHUB", "state": { "messages": 7, "bytes": 70 },
                "cluster": { "leader": "shop-hub-1", "replicas": [replica] },
                "sources": [{ "name": "A", "lag": 3 }, { "name": "B", "lag": 5 }],
            }]}],
        });
        assert_eq!(role(&jsz, "hub-1", &own), Some(Role::Leader));
        assert_eq!(role(&jsz, "hub-2", &own), Some(Role::Follower));
        assert_eq!(role(&json!({ "server_id": "N" }), "hub-0", &own), Some(Role::Standalone));
        assert_eq!(role(&Value::Null, "hub-0", &own), None);
        let streams = streams(&jsz, &own);
        assert_eq!((streams.len(), streams[0].messages, streams[0].source_lag), (1, 7, Some(5)));
        assert_eq!(streams[0].lags["hub-2"], Lag { current: false, lag: 7, offline: true });
    }
}
