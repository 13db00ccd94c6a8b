//! What of a fleet runs on this machine: from the fleet's own words to those of the parts. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use windlass_fleet::{Bytes, Cluster, Fleet, Github, Host, Period, SecretSource, Stream};
use windlass_nats::config::Sync;
use windlass_nats::hub::{self, EVENT_SUBJECTS, PAYLOAD_BUCKET};
use windlass_nats::server::Binary;
use windlass_nats::stream::{Compression, Discard, ObjectBucketSpec, Retention, Storage, StreamSpec};

use crate::ports::Wish;
use crate::run_record::RECEIVER;

/// The ports, as they are named where ports are chosen.
pub const CLIENT: &str = "nats";
/// Clients over WebSocket.
pub const WEBSOCKET: &str = "websocket";
/// The monitoring endpoint.
pub const MONITOR: &str = "monitor";

/// The account where the file names none.
const ACCOUNT: &str = "GITHUB";
/// A payload outlives the message that points at it by as long as a redelivery may still come.
const PAYLOAD_GRACE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// What this machine is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The fleet's name.
    pub fleet: String,
    /// The account that scripts and people get credentials for.
    pub account: String,
    /// The receiver, if there is to be one.
    pub receiver: Option<Receiver>,
    cluster: String,
    host: IpAddr,
    ports: windlass_fleet::Ports,
    storage: u64,
    domain: Option<String>,
    sync: Sync,
    max_payload: u64,
    accounts: Vec<AccountSpecs>,
}

/// The receiver as it is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The stream that takes the events.
    pub stream: String,
    /// The bucket that takes large payloads.
    pub bucket: String,
    /// The first token of every subject.
    pub subject_prefix: String,
    /// Payloads above this size go to the bucket.
    pub claim_check_above: u64,
    /// Deliveries handled at once.
    pub in_flight: u32,
    /// How much the spool may hold.
    pub spool_max_size: u64,
    /// Where the webhook secrets come from, in the file's order.
    pub secrets: Vec<SecretSource>,
    /// What paths in the fleet file are relative to; `None` for the built-in default, which has none.
    pub base: Option<PathBuf>,
}

/// The streams and buckets of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSpecs {
    /// The account's name.
    pub name: String,
    /// Its streams.
    pub streams: Vec<StreamSpec>,
    /// Its object buckets.
    pub buckets: Vec<ObjectBucketSpec>,
}

impl Wanted {
    /// What `fleet` wants here, or why it cannot run here.
    pub fn of(fleet: &Fleet, base: Option<PathBuf>) -> Result<Self, String> {
        let Some((name, cluster)) = fleet.only_cluster() else {
            return Err(match fleet.clusters.len() {
                0 => "it has no cluster; add a table such as [clusters.hub]".to_owned(),
                count => format!("it has {count} clusters, and `up` runs one"),
            });
        };
        if !fleet.platforms.self_hosted.hosts.contains(&Host::Local) {
            return Err(
                "platforms.self-hosted.hosts does not have \"local\", which is this machine".to_owned()
            );
        }
        let stream = fleet.github_stream();
        let account = stream.map(|(_, stream)| stream).or_else(|| fleet.streams.values().next());
        let account = account.map_or(ACCOUNT, |stream| stream.account.as_str()).to_owned();
        let receiver = match (&fleet.github, stream) {
            (None, _) => None,
            (Some(github), Some(_)) => Some(receiver(github, base)),
            (Some(github), None) => {
                return Err(format!("there is no [streams.{}] for GitHub's events", github.stream.as_str()));
            }
        };
        let accounts = accounts(fleet, &account, stream.map(|(_, stream)| stream));
        Ok(Self { receiver, ..Self::servers(fleet.name(), name, cluster, account, accounts) })
    }

    fn servers(
        fleet: &str,
        name: &str,
        cluster: &Cluster,
        account: String,
        accounts: Vec<AccountSpecs>,
    ) -> Self {
        Self {
            fleet: fleet.to_owned(),
            account,
            receiver: None,
            cluster: name.to_owned(),
            host: cluster.host,
            ports: cluster.ports.clone(),
            storage: cluster.jetstream.storage.get(),
            domain: cluster.jetstream.domain.as_ref().map(|domain| domain.as_str().to_owned()),
            sync: match cluster.jetstream.sync {
                windlass_fleet::Sync::Every(period) => Sync::Every(period.duration()),
                windlass_fleet::Sync::Always => Sync::Always,
            },
            max_payload: cluster.max_payload.get(),
            accounts,
        }
    }

    /// Every port that is wished for, with the address that it is on.
    pub fn wishes(&self) -> Vec<(Wish, IpAddr)> {
        // The monitoring endpoint asks nobody who they are and stays on loopback.
        let monitor = if self.host.is_loopback() { self.host } else { std::net::Ipv4Addr::LOCALHOST.into() };
        let mut wishes = vec![
            (Wish { part: CLIENT, port: self.ports.client }, self.host),
            (Wish { part: WEBSOCKET, port: self.ports.websocket }, self.host),
            (Wish { part: MONITOR, port: self.ports.monitor }, monitor),
        ];
        if let Some(receiver) = &self.receiver {
            wishes.push((Wish { part: RECEIVER, port: receiver.listen.port() }, receiver.listen.ip()));
        }
        wishes
    }

    /// The hub, on the ports that it got.
    pub fn hub(&self, directory: &Path, ports: hub::Ports, binary: Binary) -> hub::Options {
        hub::Options {
            directory: directory.to_owned(),
            fleet: self.fleet.clone(),
            cluster: self.cluster.clone(),
            host: self.host,
            ports,
            storage: self.storage,
            domain: self.domain.clone(),
            sync: self.sync,
            max_payload: self.max_payload,
            accounts: self.accounts.iter().map(|account| account.name.clone()).collect(),
            binary,
        }
    }

    /// Each account with what must be in it.
    pub fn accounts(&self) -> &[AccountSpecs] {
        &self.accounts
    }

    /// The fleet in a few words.
    pub fn summary(&self) -> String {
        let streams: usize = self.accounts.iter().map(|account| account.streams.len()).sum();
        let receiver = match &self.receiver {
            Some(receiver) => format!("GitHub's events into {}", receiver.stream),
            None => "no receiver".to_owned(),
        };
        let plural = if streams == 1 { "" } else { "s" };
        format!("fleet {}, cluster {}, {streams} stream{plural}, {receiver}", self.fleet, self.cluster)
    }
}

fn receiver(github: &Github, base: Option<PathBuf>) -> Receiver {
    Receiver {
        listen: github.listen,
        stream: github.stream.as_str().to_owned(),
        bucket: PAYLOAD_BUCKET.to_owned(),
        // The file's own check is that the stream takes all of these subjects.
        subject_prefix: EVENT_SUBJECTS.trim_end_matches(".>").to_owned(),
        claim_check_above: github.claim_check_above.get(),
        in_flight: github.in_flight,
        spool_max_size: github.spool.max_size.get(),
        secrets: github.secret.clone(),
        base,
    }
}

fn accounts(fleet: &Fleet, account: &str, events: Option<&Stream>) -> Vec<AccountSpecs> {
    let mut names: BTreeSet<&str> = fleet.streams.values().map(|stream| stream.account.as_str()).collect();
    names.insert(account);
    let specs = |name: &str| AccountSpecs {
        name: name.to_owned(),
        streams: fleet
            .streams
            .iter()
            .filter(|(_, stream)| stream.account.as_str() == name)
            .map(|(name, stream)| spec(name, stream))
            .collect(),
        buckets: events.filter(|stream| stream.account.as_str() == name).map(payloads).into_iter().collect(),
    };
    names.into_iter().map(specs).collect()
}

fn spec(name: &str, stream: &Stream) -> StreamSpec {
    StreamSpec {
        name: name.to_owned(),
        subjects: stream.subjects.iter().map(|subject| subject.as_str().to_owned()).collect(),
        storage: storage(stream),
        replicas: replicas(stream),
        max_age: stream.max_age.map(Period::duration),
        max_bytes: stream.max_bytes.map(Bytes::get),
        max_messages: stream.max_messages,
        max_message_size: stream.max_message_size.and_then(|size| u32::try_from(size.get()).ok()),
        discard: match stream.discard {
            windlass_fleet::Discard::Old => Discard::Old,
            windlass_fleet::Discard::New => Discard::New,
        },
        retention: match stream.retention {
            windlass_fleet::Retention::Limits => Retention::Limits,
            windlass_fleet::Retention::Interest => Retention::Interest,
            windlass_fleet::Retention::WorkQueue => Retention::WorkQueue,
        },
        duplicate_window: Some(stream.duplicate_window.duration()),
        compression: match stream.compression {
            windlass_fleet::Compression::None => Compression::None,
            windlass_fleet::Compression::S2 => Compression::S2,
        },
        ..StreamSpec::default()
    }
}

/// The bucket of large payloads: kept as its stream is kept, and a little longer.
fn payloads(stream: &Stream) -> ObjectBucketSpec {
    ObjectBucketSpec {
        name: PAYLOAD_BUCKET.to_owned(),
        storage: storage(stream),
        replicas: replicas(stream),
        max_age: stream.max_age.map(|age| age.duration().saturating_add(PAYLOAD_GRACE)),
        description: "Payloads of GitHub's events that are too large for a message".to_owned(),
        ..ObjectBucketSpec::default()
    }
}

fn storage(stream: &Stream) -> Storage {
    match stream.storage {
        windlass_fleet::Storage::File => Storage::File,
        windlass_fleet::Storage::Memory => Storage::Memory,
    }
}

fn replicas(stream: &Stream) -> u8 {
    u8::try_from(stream.replicas).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn wanted(text: &str) -> Result<Wanted, String> {
        let fleet =
            windlass_fleet::parse(text, "windlass.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Wanted::of(&fleet, None)
    }

    #[test]
    fn the_built_in_default_runs_here() {
        let wanted = wanted(windlass_fleet::embedded()).unwrap();
        assert_eq!(wanted.account, "GITHUB");
        assert_eq!(wanted.wishes().len(), 4);
        let [account] = wanted.accounts() else { panic!("one account") };
        let ([stream], [bucket]) = (account.streams.as_slice(), account.buckets.as_slice()) else {
            panic!("one stream and one bucket")
        };
        assert_eq!(stream.name, "GITHUB");
        assert_eq!(stream.duplicate_window, Some(Duration::from_secs(3 * DAY)));
        assert_eq!(stream.max_age, Some(Duration::from_secs(30 * DAY)));
        assert_eq!(bucket.name, "GITHUB_PAYLOADS");
        assert_eq!(bucket.max_age, Some(Duration::from_secs(33 * DAY)));
        let receiver = wanted.receiver.unwrap();
        assert_eq!((receiver.stream.as_str(), receiver.subject_prefix.as_str()), ("GITHUB", "github"));
    }

    #[test]
    fn without_github_there_is_no_receiver() {
        let text = "[fleet]\nname = \"a\"\n[clusters.hub]\n[streams.ORDERS]\naccount = \"SHOP\"\nsubjects = [\"o.>\"]\n";
        let wanted = wanted(text).unwrap();
        assert_eq!(wanted.receiver, None);
        assert_eq!(wanted.account, "SHOP");
        assert_eq!(wanted.wishes().len(), 3);
        assert!(wanted.accounts()[0].buckets.is_empty());
        assert_eq!(wanted.summary(), "fleet a, cluster hub, 1 stream, no receiver");
    }

    #[test]
    fn what_cannot_run_here_says_why() {
        assert!(wanted("[fleet]\nname = \"a\"\n").unwrap_err().contains("no cluster"));
        let two = "[fleet]\nname = \"a\"\n[clusters.a]\n[clusters.b]\nhost = \"127.0.0.2\"\n";
        assert!(wanted(two).unwrap_err().contains("2 clusters"));
    }
}
