//! A hub with a real nats-server: what is prepared runs, says that it is itself, and keeps what it was given.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::server::{GITHUB, Server, now, options};
use windlass_nats::async_nats::HeaderMap;
use windlass_nats::async_nats::jetstream::{self, Context};
use windlass_nats::config::Sync;
use windlass_nats::hub::{Hub, PAYLOAD_BUCKET};
use windlass_nats::server::{Health, signal_lame_duck};
use windlass_nats::stream::{Action, Compression, KvBucketSpec, ObjectBucketSpec, StreamSpec};
use windlass_nats::{Error, connect, stream};

const DAY: Duration = Duration::from_secs(86_400);

fn events() -> StreamSpec {
    StreamSpec {
        name: GITHUB.to_owned(),
        subjects: vec!["github.>".to_owned()],
        max_age: Some(30 * DAY),
        max_bytes: Some(100 << 20),
        duplicate_window: Some(3 * DAY),
        description: "GitHub's events".to_owned(),
        metadata: BTreeMap::from([("team".to_owned(), "platform".to_owned())]),
        ..StreamSpec::default()
    }
}

fn payloads() -> ObjectBucketSpec {
    ObjectBucketSpec {
        name: PAYLOAD_BUCKET.to_owned(),
        max_age: Some(30 * DAY),
        compression: Compression::S2,
        ..ObjectBucketSpec::default()
    }
}

async fn publish(context: &Context, id: &str) -> (u64, bool) {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let ack = context.publish_with_headers("github.acme.site.push.-", headers, "{}".into()).await.unwrap();
    let ack = ack.await.unwrap();
    (ack.sequence, ack.duplicate)
}

fn files(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let modified = fs::metadata(&path).unwrap().modified().unwrap();
                let content = fs::read(&path).unwrap();
                found.insert(path, (modified, content));
            }
        }
    }
    found
}

#[test]
fn preparing_twice_changes_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let first = Hub::prepare(&options, now()).unwrap();
    let before = files(directory.path());
    let later = now() + jiff::SignedDuration::from_hours(24);
    let second = Hub::prepare(&options, later).unwrap();
    assert_eq!(before, files(directory.path()));
    assert_eq!(first.config_digest(), second.config_digest());
    for creds in [first.admin_creds(GITHUB), first.receiver_creds(GITHUB), Some(first.system_creds())] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(creds.unwrap()).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(first.admin_creds("NONE").is_none() && first.admin_creds("SYS").is_none());
}

#[test]
fn names_that_cannot_be_used_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for accounts in [vec!["SYS"], vec!["A", "A"], vec!["../A"], vec![""]] {
        let mut options = options(directory.path());
        options.accounts = accounts.into_iter().map(str::to_owned).collect();
        assert_eq!(Hub::prepare(&options, now()).unwrap_err().code(), "WL0204");
    }
}

#[test]
fn nats_server_has_the_last_word_on_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.max_payload = 1 << 40;
    let error = Hub::prepare(&options, now()).unwrap_err();
    assert_eq!(error.code(), "WL0208", "{error}");
    assert!(error.to_string().contains("max_payload"), "{error}");
}

#[tokio::test]
async fn what_runs_is_what_was_prepared() {
    let directory = tempfile::Builder::new().prefix("it's \"a\" place ä").tempdir().unwrap();
    let mut options = options(directory.path());
    options.sync = Sync::Always;
    let server = Server::start(&options).await;
    let varz = &server.varz;
    assert_eq!(varz.config_digest.as_deref(), Some(server.hub.config_digest()));
    assert_eq!((varz.server_name.as_str(), varz.max_payload), ("acme-hub-0", 1 << 20));
    assert_eq!(varz.version, options.binary.version.to_string());
    assert_eq!(varz.system_account.as_deref(), server.hub.account_key("SYS"));
    let jetstream = varz.jetstream.config.as_ref().unwrap();
    assert_eq!((jetstream.domain.as_str(), jetstream.sync_always), ("hub", true));
    assert_eq!(jetstream.max_storage, 1 << 30);
    assert_eq!(Path::new(&jetstream.store_dir), directory.path().join("nats/hub/jetstream"));
    assert_eq!(server.hub.monitor().health(Health::Everything).await.unwrap(), Ok(()));
    let pid = fs::read_to_string(server.hub.pid_file()).unwrap();
    assert_eq!(pid.trim().parse::<u32>().unwrap(), server.pid());
}

#[tokio::test]
async fn another_configuration_is_not_taken_for_ready() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let server = Server::start(&options).await;
    let mut changed = options.clone();
    changed.max_payload = 2 << 20;
    let hub = Hub::prepare(&changed, now()).unwrap();
    let error = hub.wait_ready(Duration::from_millis(200)).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotReady { reason, log: Some(_), .. } if reason.contains("configuration"))
    );
    drop(server);
    let error = hub.wait_ready(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.code(), "WL0209");
}

#[tokio::test]
async fn streams_and_buckets_are_ensured_once_and_updated_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&options(directory.path())).await;
    let hub = &server.hub;
    let changes = hub.ensure(GITHUB, &[events()], &[payloads()]).await.unwrap();
    let created: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(created, ["stream GITHUB created", "object bucket GITHUB_PAYLOADS created"]);
    assert_eq!(hub.ensure(GITHUB, &[events()], &[payloads()]).await.unwrap(), []);

    let admin = server.admin().await;
    let kv = KvBucketSpec { name: "FLAGS".to_owned(), history: 3, ..KvBucketSpec::default() };
    for changes in [1, 0] {
        let done = stream::ensure(&admin, "acme", &[kv.clone().into()]).await.unwrap();
        assert_eq!(done.len(), changes);
    }
    let context = jetstream::new(admin.clone());
    let store = context.get_key_value("FLAGS").await.unwrap();
    store.put("on", "yes".into()).await.unwrap();
    assert_eq!(store.get("on").await.unwrap().unwrap(), "yes");
    let objects = context.get_object_store(PAYLOAD_BUCKET).await.unwrap();
    objects.put("guid", &mut vec![7; 300_000].as_slice()).await.unwrap();
    assert_eq!(objects.info("guid").await.unwrap().size, 300_000);

    for id in ["a", "b", "c"] {
        publish(&context, id).await;
    }
    let mut next = events();
    next.description = "All of them".to_owned();
    next.max_bytes = Some(50 << 20);
    next.subjects.push("extra.>".to_owned());
    let changes = hub.ensure(GITHUB, &[next.clone()], &[payloads()]).await.unwrap();
    let Action::Updated(fields) = &changes[0].action else { panic!("{changes:?}") };
    let fields: Vec<&str> = fields.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["description", "max_bytes", "subjects"]);
    assert_eq!(hub.ensure(GITHUB, &[next.clone()], &[]).await.unwrap(), []);

    let mut loses = next.clone();
    loses.max_messages = Some(2);
    let mut harmless = payloads();
    harmless.description = "must not be applied".to_owned();
    let error = hub.ensure(GITHUB, &[loses], &[harmless]).await.unwrap_err();
    assert_eq!(error.code(), "WL0213", "{error}");
    assert_eq!(hub.ensure(GITHUB, &[next.clone()], &[payloads()]).await.unwrap(), [], "all or nothing");
    let mut stream = context.get_stream(GITHUB).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 3);

    let error = stream::ensure(&admin, "other", &[next.clone().into()]).await.unwrap_err();
    assert_eq!(error.code(), "WL0219", "{error}");
    next.replicas = 3;
    let error = hub.ensure(GITHUB, &[next], &[]).await.unwrap_err();
    assert!(matches!(&error, Error::JetStream { code: Some(10_074), .. }), "{error}");
    assert_eq!(hub.ensure("NONE", &[], &[]).await.unwrap_err().code(), "WL0217");
}

#[tokio::test]
async fn data_identities_and_the_duplicate_window_survive() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    let mut server = Server::start(&options).await;
    server.hub.ensure(GITHUB, &[events()], &[payloads()]).await.unwrap();
    let context = jetstream::new(server.admin().await);
    assert_eq!(publish(&context, "one").await, (1, false));
    assert_eq!(publish(&context, "two").await, (2, false));
    let account = server.hub.account_key(GITHUB).unwrap().to_owned();
    let creds = fs::read(server.hub.admin_creds(GITHUB).unwrap()).unwrap();

    server.kill();
    drop(server);
    options.ports = crate::server::ports();
    let server = Server::start(&options).await;
    assert_eq!(server.hub.account_key(GITHUB), Some(account.as_str()));
    assert_eq!(fs::read(server.hub.admin_creds(GITHUB).unwrap()).unwrap(), creds);
    assert_eq!(server.hub.ensure(GITHUB, &[events()], &[payloads()]).await.unwrap(), []);
    let context = jetstream::new(server.admin().await);
    assert_eq!(publish(&context, "two").await, (2, true));
    assert_eq!(publish(&context, "three").await, (3, false));
    let stream = context.get_stream(GITHUB).await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!((message.subject.as_str(), &message.payload[..]), ("github.acme.site.push.-", &b"{}"[..]));
}

#[tokio::test]
async fn a_client_that_may_wait_connects_when_the_server_comes_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let hub = Hub::prepare(&options, now()).unwrap();
    let mut connect = connect::Options::new(&hub.client_url(), hub.admin_creds(GITHUB).unwrap(), "waiting");
    assert_eq!(connect::connect(&connect).await.unwrap_err().code(), "WL0211");
    connect.retry_on_initial_connect = true;
    let client = connect::connect(&connect).await.unwrap();
    let mut server = Server::start(&options).await;
    let mut heard = client.subscribe("hello").await.unwrap();
    for round in 0..2 {
        let said = async {
            loop {
                let admin = server.admin().await;
                admin.publish("hello", "".into()).await.unwrap();
                crate::server::settle(&admin).await;
                if tokio::time::timeout(Duration::from_millis(100), futures::StreamExt::next(&mut heard))
                    .await
                    .is_ok()
                {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), said).await.unwrap();
        if round == 0 {
            server.kill();
            server = Server::start(&options).await;
        }
    }
}

#[tokio::test]
async fn a_lame_duck_says_so_and_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(&options(directory.path())).await;
    signal_lame_duck(server.pid()).unwrap();
    let left = async {
        // Without clients it leaves at once; before that it is not healthy.
        while server.is_running() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), left).await.unwrap();
    let log = fs::read_to_string(server.hub.log_file()).unwrap();
    assert!(log.contains("Entering lame duck mode"), "{log}");
}
