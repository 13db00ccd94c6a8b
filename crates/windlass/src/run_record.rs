//! `run.json`: what a run consists of, and the object that scripts may rely on.
//!
//! Addresses are written after each apply; processes are the agent's to know, and are read from its status. What scripts
//! get ([`Report`]) is a part of it, in the form that the design promises.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use windlass_engine::wanted::{edge, main_cluster};
use windlass_nats::certificates::Certificates;
use windlass_platforms::self_hosted::part::{Kind, Part, Places, Status};
use windlass_platforms::self_hosted::r2;

use crate::failure::Error;
use crate::fleet_session::Session;
use crate::local_edge::LocalEdge;
use crate::process::Identity;
use crate::run_directory::{RunDirectory, read_json, write_json};

/// The supervisor's name as a part.
pub const SUPERVISOR: &str = "supervisor";
/// nats-server's name as a part.
pub const NATS: &str = "nats";
/// The receiver's name as a part.
pub const RECEIVER: &str = "receiver";

/// The local Cloudflare's name as a part.
pub const CLOUDFLARE: &str = "cloudflare";

/// The local R2's name as a part.
pub const R2: &str = "r2";

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The version of Windlass that began it.
    pub windlass: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// The fleet's name.
    pub fleet: String,
    /// The fleet file, or `None` for the embedded default.
    pub file: Option<String>,
    /// A digest of the fleet file, to tell a second `up` with the same file from one with another.
    pub digest: String,
    /// The stream that takes GitHub's events, if they are received.
    pub stream: Option<String>,
    /// Every address.
    pub endpoints: Endpoints,
    /// Every process, by part. They are the agent's to write down.
    #[serde(skip)]
    pub processes: BTreeMap<String, Identity>,
    /// The monitoring endpoint of each server, by part.
    #[serde(skip)]
    pub servers: BTreeMap<String, SocketAddr>,
}

/// The addresses of the parts. A part that is not in the run is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// nats-server.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nats: Option<NatsEndpoints>,
    /// The receiver.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub receiver: Option<ReceiverEndpoints>,
    /// The local R2.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub r2: Option<R2Endpoints>,
    /// Cloudflare, or what stands in for it here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cloudflare: Option<CloudflareEndpoints>,
}

/// Where the edge is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudflareEndpoints {
    /// The API.
    pub api_url: String,
    /// The account.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub account_id: String,
    /// What opens the API: only that of the stand-in, which opens nothing but what is on this machine already. On disk it is
    /// in the stand-in's own directory alone.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub api_token: String,
    /// The Worker.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub worker_url: String,
}

/// The local R2's address, and the keys that open it. They open nothing but what is on this machine already; on disk they
/// are in the local R2's own directory alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct R2Endpoints {
    /// Where it is asked.
    pub endpoint: String,
    /// The ID of the access key.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub access_key_id: String,
    /// Its secret.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub secret_access_key: String,
    /// The bucket that is there from the beginning.
    pub bucket: String,
}

/// nats-server's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatsEndpoints {
    /// For clients.
    pub url: String,
    /// For clients over WebSocket.
    pub websocket_url: String,
    /// Credentials for everything of the fleet's account.
    pub creds: String,
    /// For monitoring.
    pub monitor_url: String,
    /// Who has signed the servers' certificates, where clients come in with TLS: for every client.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ca_file: Option<String>,
}

/// The receiver's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverEndpoints {
    /// Where GitHub posts to.
    pub url: String,
    /// The file with the webhook secret.
    pub secret_file: String,
}

/// What `up --format json` and `status --format json` print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The addresses.
    #[serde(flatten)]
    pub endpoints: Endpoints,
    /// The process of each part that runs.
    pub pids: BTreeMap<String, u32>,
}

impl RunRecord {
    /// Where everything of a fleet is that has just been applied.
    pub fn of(session: &Session, creds: &Path) -> Self {
        let status = session.platform.control().status();
        let parts = || status.parts.values().map(|running| &running.part);
        let main = main_cluster(&session.fleet).map(|(name, _)| name.as_str());
        let of_main = |part: &&Part| part.name.rsplit_once('-').map(|(cluster, _)| cluster) == main;
        let server = parts().filter(|part| part.kind == Kind::Server).find(of_main);
        let url = |scheme: &str, part: &Part, at: usize| {
            part.listens
                .get(at)
                .map(|address| format!("{scheme}://{}", reachable(*address)))
                .unwrap_or_default()
        };
        let encrypted = server.is_some_and(|part| part.loaded.tls);
        let scheme = |plain, secure| if encrypted { secure } else { plain };
        let authority = Certificates::at(session.directory.root(), session.fleet.name()).authority_file();
        let nats = server.map(|part| NatsEndpoints {
            url: url(scheme("nats", "tls"), part, 0),
            websocket_url: url(scheme("ws", "wss"), part, 1),
            creds: creds.display().to_string(),
            monitor_url: url("http", part, 2),
            ca_file: encrypted.then(|| authority.display().to_string()),
        });
        let receiver = parts().find(|part| part.kind == Kind::Receiver).map(|part| ReceiverEndpoints {
            url: url("http", part, 0) + "/github",
            secret_file: argument(part, "--secret-file").unwrap_or_default(),
        });
        let cloudflare = LocalEdge::read(&session.directory).map(|edge| CloudflareEndpoints {
            api_url: edge.api_url,
            worker_url: edge.worker_url,
            ..CloudflareEndpoints::default()
        });
        let at_edge = cloudflare.as_ref().filter(|_| edge::receives(&session.fleet));
        let receiver = receiver.or_else(|| {
            Some(ReceiverEndpoints {
                url: format!("{}/github", at_edge?.worker_url),
                secret_file: session.webhook_secret_file()?.display().to_string(),
            })
        });
        let r2 = parts().find(|part| part.kind == Kind::R2).map(|part| R2Endpoints {
            endpoint: url("http", part, 0),
            bucket: r2::bucket(part).unwrap_or_default().to_owned(),
            ..R2Endpoints::default()
        });
        Self {
            windlass: env!("CARGO_PKG_VERSION").to_owned(),
            since: status.since.clone(),
            fleet: session.fleet.name().to_owned(),
            file: session.path.as_ref().map(|path| path.display().to_string()),
            digest: session.digest.clone(),
            stream: session.fleet.github_stream().map(|(name, _)| name.as_str().to_owned()),
            endpoints: Endpoints { nats, receiver, r2, cloudflare },
            processes: BTreeMap::new(),
            servers: BTreeMap::new(),
        }
    }

    /// The record of the directory's fleet with the processes that the agent knows of, if there is one.
    pub fn read(directory: &RunDirectory) -> Option<Self> {
        let status: Status = read_json(&Places::at(directory.root()).status())?;
        let mut record: Self = read_json(&directory.run_file())?;
        record.since.clone_from(&status.since);
        record.take(&status);
        if let Some(r2) = &mut record.endpoints.r2 {
            let keys = windlass_sandbox::r2::keys_of(&directory.r2()).ok()?;
            r2.secret_access_key = keys.secret_access_key.expose_secret().to_owned();
            r2.access_key_id = keys.access_key_id;
        }
        if let Some((cloudflare, edge)) = record.endpoints.cloudflare.as_mut().zip(LocalEdge::read(directory))
        {
            *cloudflare = edge.endpoints(directory);
        }
        Some(record)
    }

    fn take(&mut self, status: &Status) {
        self.processes.extend(status.agent.clone().map(|agent| (SUPERVISOR.to_owned(), agent)));
        let servers = status.parts.values().filter(|running| running.part.kind == Kind::Server).count();
        for running in status.parts.values() {
            let name = match running.part.kind {
                Kind::Receiver => RECEIVER.to_owned(),
                Kind::Cloudflare => CLOUDFLARE.to_owned(),
                Kind::R2 => R2.to_owned(),
                Kind::Server if servers == 1 => NATS.to_owned(),
                Kind::Server => format!("{NATS}-{}", running.part.name),
            };
            if let Some(monitor) = running.part.monitor {
                self.servers.insert(name.clone(), monitor);
            }
            self.processes.extend(running.process.clone().map(|process| (name, process)));
        }
    }

    /// Writes the record.
    pub fn write(&self, directory: &RunDirectory) -> Result<(), Error> {
        write_json(&directory.run_file(), self)
    }

    /// What scripts get: only processes that `is_alive` are in it.
    pub fn report(&self, is_alive: impl Fn(&Identity) -> bool) -> Report {
        let pids = self
            .processes
            .iter()
            .filter(|(_, process)| is_alive(process))
            .map(|(part, process)| (part.clone(), process.pid))
            .collect();
        Report { endpoints: self.endpoints.clone(), pids }
    }

    /// The processes that still run, in the order in which they are stopped.
    pub fn alive(&self) -> Vec<(String, Identity)> {
        let order = |part: &str| match part {
            SUPERVISOR => 0,
            RECEIVER | CLOUDFLARE => 1,
            R2 => 3,
            _ => 2,
        };
        let mut alive: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, process)| process.is_alive())
            .map(|(part, process)| (part.clone(), process.clone()))
            .collect();
        alive.sort_by_key(|(part, _)| order(part));
        alive
    }
}

/// Where something on this machine that listens on `address` is reached from this machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn argument(part: &Part, name: &str) -> Option<String> {
    let at = part.arguments.iter().position(|argument| argument == name)?;
    part.arguments.get(at + 1).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RunRecord {
        let process = |pid| Identity { pid, started: format!("boot/{pid}") };
        RunRecord {
            windlass: "0.1.0".into(),
            since: "2026-01-02T03:04:05Z".into(),
            fleet: "acme".into(),
            file: None,
            digest: "d".into(),
            stream: Some("GITHUB".into()),
            endpoints: Endpoints {
                nats: Some(NatsEndpoints {
                    url: "nats://127.0.0.1:4222".into(),
                    websocket_url: "ws://127.0.0.1:9222".into(),
                    creds: "/run/hub/creds/admin.creds".into(),
                    monitor_url: "http://127.0.0.1:8222".into(),
                    ca_file: None,
                }),
                receiver: Some(ReceiverEndpoints {
                    url: "http://127.0.0.1:8080/github".into(),
                    secret_file: "/run/secrets/github-webhook".into(),
                }),
                r2: Some(R2Endpoints {
                    endpoint: "http://127.0.0.1:9000".into(),
                    access_key_id: "0a".into(),
                    secret_access_key: "1b".into(),
                    bucket: "windlass".into(),
                }),
                cloudflare: None,
            },
            processes: BTreeMap::from([
                (SUPERVISOR.to_owned(), process(10)),
                (NATS.to_owned(), process(11)),
                (RECEIVER.to_owned(), process(12)),
            ]),
            servers: BTreeMap::new(),
        }
    }

    #[test]
    fn scripts_get_the_promised_object() {
        let report = record().report(|process| process.pid != 12);
        let expected = serde_json::json!({
            "nats": {
                "url": "nats://127.0.0.1:4222", "websocket_url": "ws://127.0.0.1:9222",
                "creds": "/run/hub/creds/admin.creds", "monitor_url": "http://127.0.0.1:8222",
            },
            "receiver": {
                "url": "http://127.0.0.1:8080/github", "secret_file": "/run/secrets/github-webhook",
            },
            "r2": {
                "endpoint": "http://127.0.0.1:9000", "access_key_id": "0a", "secret_access_key": "1b",
                "bucket": "windlass",
            },
            "pids": { "supervisor": 10, "nats": 11 },
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Report>(expected).unwrap(), report);
    }

    #[test]
    fn what_is_not_part_of_the_run_is_absent() {
        let report = Report { endpoints: Endpoints::default(), pids: BTreeMap::new() };
        assert_eq!(serde_json::to_string(&report).unwrap(), r#"{"pids":{}}"#);
    }

    #[test]
    fn the_record_survives_the_disk() {
        let text = serde_json::to_string(&record()).unwrap();
        let kept = RunRecord { processes: BTreeMap::new(), ..record() };
        assert_eq!(
            serde_json::from_str::<RunRecord>(&text).unwrap(),
            kept,
            "processes are the agent's to know"
        );
    }
}
