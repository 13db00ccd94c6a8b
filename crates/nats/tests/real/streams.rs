//! Streams and buckets on a real server: made once, changed in place, and still there after a restart.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::server::{GITHUB, PAYLOADS, Server, Setup};
use windlass_nats::async_nats::HeaderMap;
use windlass_nats::async_nats::jetstream::{self, Context};
use windlass_nats::stream::Permission::KeepMessages;
use windlass_nats::stream::{Action, Change, Compression, KvBucketSpec, ObjectBucketSpec, Spec, StreamSpec};
use windlass_nats::{Error, stream};

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
        name: PAYLOADS.to_owned(),
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

async fn ensure(
    server: &Server,
    streams: &[StreamSpec],
    buckets: &[ObjectBucketSpec],
) -> Result<Vec<Change>, Error> {
    let specs = streams.iter().cloned().map(Spec::from).chain(buckets.iter().cloned().map(Spec::from));
    stream::ensure(&server.admin().await, "acme", &specs.collect::<Vec<_>>(), KeepMessages).await
}

#[tokio::test]
async fn streams_and_buckets_are_ensured_once_and_updated_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Setup::new(directory.path())).await;
    let changes = ensure(&server, &[events()], &[payloads()]).await.unwrap();
    let created: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(created, ["stream GITHUB created", "object bucket GITHUB_PAYLOADS created"]);
    assert_eq!(ensure(&server, &[events()], &[payloads()]).await.unwrap(), []);

    let admin = server.admin().await;
    let kv = KvBucketSpec { name: "FLAGS".to_owned(), history: 3, ..KvBucketSpec::default() };
    for changes in [1, 0] {
        let done = stream::ensure(&admin, "acme", &[kv.clone().into()], KeepMessages).await.unwrap();
        assert_eq!(done.len(), changes);
    }
    let context = jetstream::new(admin.clone());
    let store = context.get_key_value("FLAGS").await.unwrap();
    store.put("on", "yes".into()).await.unwrap();
    assert_eq!(store.get("on").await.unwrap().unwrap(), "yes");
    let objects = context.get_object_store(PAYLOADS).await.unwrap();
    objects.put("guid", &mut vec![7; 300_000].as_slice()).await.unwrap();
    assert_eq!(objects.info("guid").await.unwrap().size, 300_000);

    for id in ["a", "b", "c"] {
        publish(&context, id).await;
    }
    let mut next = events();
    next.description = "All of them".to_owned();
    next.max_bytes = Some(50 << 20);
    next.subjects.push("extra.>".to_owned());
    let changes = ensure(&server, &[next.clone()], &[payloads()]).await.unwrap();
    let Action::Updated(fields) = &changes[0].action else { panic!("{changes:?}") };
    let fields: Vec<&str> = fields.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["description", "max_bytes", "subjects"]);
    assert_eq!(ensure(&server, &[next.clone()], &[]).await.unwrap(), []);

    let mut loses = next.clone();
    loses.max_messages = Some(2);
    let mut harmless = payloads();
    harmless.description = "must not be applied".to_owned();
    let error = ensure(&server, &[loses], &[harmless]).await.unwrap_err();
    assert_eq!(error.code(), "WL0213", "{error}");
    assert_eq!(ensure(&server, &[next.clone()], &[payloads()]).await.unwrap(), [], "all or nothing");
    let mut stream = context.get_stream(GITHUB).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 3);

    let error = stream::ensure(&admin, "other", &[next.clone().into()], KeepMessages).await.unwrap_err();
    assert_eq!(error.code(), "WL0219", "{error}");
    next.replicas = 3;
    let error = ensure(&server, &[next], &[]).await.unwrap_err();
    assert!(matches!(&error, Error::JetStream { code: Some(10_074), .. }), "{error}");
}

#[tokio::test]
async fn data_identities_and_the_duplicate_window_survive() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(Setup::new(directory.path())).await;
    ensure(&server, &[events()], &[payloads()]).await.unwrap();
    let context = jetstream::new(server.admin().await);
    assert_eq!(publish(&context, "one").await, (1, false));
    assert_eq!(publish(&context, "two").await, (2, false));
    let creds = fs::read(&server.setup.admin).unwrap();

    server.kill();
    drop(server);
    // On other ports, and with everything issued again.
    let server = Server::start(Setup::new(directory.path())).await;
    assert_eq!(fs::read(&server.setup.admin).unwrap(), creds);
    assert_eq!(ensure(&server, &[events()], &[payloads()]).await.unwrap(), []);
    let context = jetstream::new(server.admin().await);
    assert_eq!(publish(&context, "two").await, (2, true));
    assert_eq!(publish(&context, "three").await, (3, false));
    let stream = context.get_stream(GITHUB).await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!((message.subject.as_str(), &message.payload[..]), ("github.acme.site.push.-", &b"{}"[..]));
}
