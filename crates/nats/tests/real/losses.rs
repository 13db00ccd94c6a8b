//! What a change would drop, foretold and then done, on a real server: the plan's figures are the server's.

use std::time::Duration;

use crate::server::{Server, Setup};
use serde_json::{Value, json};
use windlass_nats::async_nats::jetstream::{self, Context};
use windlass_nats::stream::Permission::{KeepMessages, LoseMessages};
use windlass_nats::stream::{
    self, Action, Decision, Found, KvBucketSpec, Loss, Retention, Spec, Storage, StreamSpec,
};

fn stream(change: impl FnOnce(&mut StreamSpec)) -> Spec {
    let mut spec =
        StreamSpec { name: "A".to_owned(), subjects: vec!["a.>".to_owned()], ..StreamSpec::default() };
    change(&mut spec);
    spec.into()
}

struct Bench {
    _directory: tempfile::TempDir,
    server: Server,
    context: Context,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(Setup::new(directory.path())).await;
        let context = jetstream::new(server.admin().await);
        Self { _directory: directory, server, context }
    }

    /// A new stream that holds `a.0`, `a.1`, `a.0`, …
    async fn fresh(&self, spec: &Spec, messages: usize) {
        let _ = self.context.delete_stream("A").await;
        self.ensure(spec, KeepMessages).await.unwrap();
        self.publish(messages).await;
    }

    async fn publish(&self, messages: usize) {
        for number in 0..messages {
            let subject = format!("a.{}", number % 2);
            self.context.publish(subject, "x".into()).await.unwrap().await.unwrap();
        }
    }

    async fn ensure(
        &self,
        spec: &Spec,
        permission: stream::Permission,
    ) -> Result<Vec<stream::Change>, windlass_nats::Error> {
        stream::ensure(&self.server.admin().await, "acme", std::slice::from_ref(spec), permission).await
    }

    async fn info(&self, name: &str) -> Value {
        self.context.request(format!("STREAM.INFO.{name}"), &json!({})).await.unwrap()
    }

    /// What is foretold: whether it is made anew, and what goes.
    async fn foretold(&self, name: &str, spec: &Spec) -> (bool, Option<Loss>) {
        let mut answer = self.info(name).await;
        stream::measure(&self.server.admin().await, spec, &mut answer).await;
        match stream::decide(&spec.wanted("acme").unwrap(), Some(&Found::parse(answer).unwrap())) {
            Decision::Update { loses, .. } => (false, loses),
            Decision::Replace { loses, .. } => (true, loses),
            other => panic!("{other:?}"),
        }
    }

    async fn messages(&self) -> u64 {
        self.info("A").await["state"]["messages"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn what_is_foretold_is_what_goes() {
    let bench = Bench::new().await;
    let all = stream(|_| {});
    type Edit = fn(&mut StreamSpec);
    let exact: [(Edit, bool, u64); 7] = [
        (|spec| spec.max_messages = Some(3), false, 7),
        (|spec| spec.max_messages_per_subject = Some(2), false, 6),
        (|spec| spec.retention = Retention::Interest, false, 10),
        (|spec| spec.retention = Retention::WorkQueue, true, 10),
        (|spec| spec.storage = Storage::Memory, true, 10),
        (|spec| spec.discard = stream::Discard::New, false, 0),
        (|spec| spec.max_messages = Some(10), false, 0),
    ];
    for (edit, anew, lost) in exact {
        bench.fresh(&all, 10).await;
        let wanted = stream(edit);
        let (replaces, loss) = bench.foretold("A", &wanted).await;
        assert_eq!((replaces, loss.map_or(0, |loss| loss.messages)), (anew, lost), "{wanted:?}");
        assert!(loss.is_none_or(|loss| !loss.at_most), "{wanted:?}");
        if lost > 0 {
            let refused = bench.ensure(&wanted, KeepMessages).await.unwrap_err();
            assert_eq!(refused.code(), "WL0213", "{refused}");
            assert!(refused.to_string().contains(&format!("{lost} messages")), "{refused}");
            assert_eq!(bench.messages().await, 10, "refused, and nothing is lost");
        }
        let changes = bench.ensure(&wanted, LoseMessages).await.unwrap();
        assert_eq!(matches!(changes[0].action, Action::Replaced(_)), anew, "{changes:?}");
        assert_eq!(bench.messages().await, 10 - lost, "{wanted:?}");
        assert_eq!(bench.ensure(&wanted, KeepMessages).await.unwrap(), []);
    }

    bench.fresh(&all, 10).await;
    let small = stream(|spec| spec.max_bytes = Some(100));
    let loss = bench.foretold("A", &small).await.1.unwrap();
    assert_eq!((loss.messages, loss.at_most), (10, true), "how large each is, nobody says");
    bench.ensure(&small, LoseMessages).await.unwrap();
    assert!((1..10).contains(&bench.messages().await));
}

#[tokio::test]
async fn a_full_stream_that_refuses_new_messages_drops_none() {
    let bench = Bench::new().await;
    bench.fresh(&stream(|spec| spec.discard = stream::Discard::New), 10).await;
    let smaller = stream(|spec| {
        spec.discard = stream::Discard::New;
        spec.max_messages = Some(3);
    });
    assert_eq!(bench.foretold("A", &smaller).await, (false, None));
    bench.ensure(&smaller, KeepMessages).await.unwrap();
    assert_eq!(bench.messages().await, 10);
    // Once it discards the old ones, it does.
    let old = stream(|spec| spec.max_messages = Some(3));
    assert_eq!(bench.foretold("A", &old).await.1.unwrap().messages, 7);
    assert!(bench.ensure(&old, KeepMessages).await.is_err());
}

#[tokio::test]
async fn messages_that_are_too_old_are_counted_by_the_server() {
    let bench = Bench::new().await;
    bench.fresh(&stream(|_| {}), 4).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bench.publish(3).await;
    let short = |millis| {
        stream(|spec| {
            spec.max_age = Some(Duration::from_millis(millis));
            spec.duplicate_window = Some(Duration::from_millis(millis));
        })
    };
    let loss = bench.foretold("A", &short(1000)).await.1.unwrap();
    assert_eq!((loss.messages, loss.at_most), (4, false));
    assert_eq!(bench.foretold("A", &short(3_600_000)).await, (false, None), "all are younger than that");
    // With one of them deleted by hand, the sequences do not tell any more.
    let deleted: Value = bench.context.request("STREAM.MSG.DELETE.A", &json!({ "seq": 2 })).await.unwrap();
    assert_eq!(deleted["success"], true);
    assert!(bench.foretold("A", &short(1000)).await.1.unwrap().at_most);
}

#[tokio::test]
async fn a_buckets_history_shrinks_where_no_key_has_that_many() {
    let bench = Bench::new().await;
    let bucket =
        |history| Spec::from(KvBucketSpec { name: "FLAGS".to_owned(), history, ..KvBucketSpec::default() });
    bench.ensure(&bucket(5), KeepMessages).await.unwrap();
    let store = bench.context.get_key_value("FLAGS").await.unwrap();
    for (key, value) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")] {
        store.put(key, value.into()).await.unwrap();
    }
    assert_eq!(bench.foretold("KV_FLAGS", &bucket(3)).await, (false, None));
    assert_eq!(bench.foretold("KV_FLAGS", &bucket(2)).await.1.unwrap().messages, 1);
    bench.ensure(&bucket(3), KeepMessages).await.unwrap();
    assert!(bench.ensure(&bucket(1), KeepMessages).await.is_err());
    assert_eq!(store.get("a").await.unwrap().unwrap(), "3");
}

#[tokio::test]
async fn an_empty_stream_is_made_anew_and_one_that_holds_something_is_not_removed() {
    let bench = Bench::new().await;
    let strict = stream(|spec| spec.deny_delete = true);
    bench.fresh(&strict, 0).await;
    let changes = bench.ensure(&stream(|_| {}), KeepMessages).await.unwrap();
    assert!(matches!(changes[0].action, Action::Replaced(_)), "{changes:?}");
    bench.publish(1).await;
    assert_eq!(bench.messages().await, 1);

    let client = bench.server.admin().await;
    let refused = stream::remove(&client, "A", "stream A", KeepMessages).await.unwrap_err();
    assert_eq!(refused.code(), "WL0213", "{refused}");
    bench.publish(1).await;
    assert_eq!(bench.messages().await, 2, "it takes messages as before");
    stream::remove(&client, "A", "stream A", LoseMessages).await.unwrap();
    for permission in [KeepMessages, LoseMessages] {
        stream::remove(&client, "A", "stream A", permission).await.unwrap();
    }
}

#[tokio::test]
async fn consumers_of_an_empty_stream_are_counted_too() {
    let bench = Bench::new().await;
    bench.fresh(&stream(|_| {}), 0).await;
    let stream_of = bench.context.get_stream("A").await.unwrap();
    let config = jetstream::consumer::pull::Config { durable_name: Some("c".into()), ..Default::default() };
    stream_of.create_consumer(config).await.unwrap();
    let memory = stream(|spec| spec.storage = Storage::Memory);
    let (replaces, loss) = bench.foretold("A", &memory).await;
    assert_eq!((replaces, loss.unwrap().messages, loss.unwrap().consumers), (true, 0, 1));
    assert!(bench.ensure(&memory, KeepMessages).await.unwrap_err().to_string().contains("1 consumer"));
}
