//! Least privilege, tried for real: what the receiver may publish arrives, what it may not does not, and so with reading.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::server::{GITHUB, NAME, PAYLOADS, Server, Setup, settle};
use futures::StreamExt as _;
use windlass_nats::async_nats::{Client, jetstream};
use windlass_nats::stream::Permission::KeepMessages;
use windlass_nats::stream::{self, ObjectBucketSpec, StreamSpec};

/// Whether the receiver may publish there.
const PUBLISH: &[(&str, bool)] = &[
    ("github.acme.site.push.-", true),
    ("github.-.-.ping.-", true),
    ("$O.GITHUB_PAYLOADS.C.abc", true),
    ("$O.GITHUB_PAYLOADS.M.abc", true),
    ("$JS.API.INFO", true),
    ("$JS.API.STREAM.NAMES", true),
    ("$JS.API.STREAM.INFO.GITHUB", true),
    ("$JS.API.STREAM.INFO.OBJ_GITHUB_PAYLOADS", true),
    ("$JS.API.DIRECT.GET.OBJ_GITHUB_PAYLOADS.$O.GITHUB_PAYLOADS.M.abc", true),
    ("github", false),
    ("githubx.acme", false),
    ("other.subject", false),
    ("_INBOX.abc", false),
    ("$O.OTHER.C.abc", false),
    ("$O.GITHUB_PAYLOADS.X.abc", false),
    ("$KV.FLAGS.on", false),
    ("$JS.API.STREAM.LIST", false),
    ("$JS.API.STREAM.CREATE.X", false),
    ("$JS.API.STREAM.UPDATE.GITHUB", false),
    ("$JS.API.STREAM.DELETE.GITHUB", false),
    ("$JS.API.STREAM.PURGE.GITHUB", false),
    ("$JS.API.STREAM.PURGE.OBJ_GITHUB_PAYLOADS", false),
    ("$JS.API.STREAM.MSG.DELETE.GITHUB", false),
    ("$JS.API.STREAM.MSG.GET.GITHUB", false),
    ("$JS.API.STREAM.INFO.KV_FLAGS", false),
    ("$JS.API.STREAM.SNAPSHOT.GITHUB", false),
    ("$JS.API.DIRECT.GET.GITHUB", false),
    ("$JS.API.DIRECT.GET.OBJ_GITHUB_PAYLOADS.$O.GITHUB_PAYLOADS.C.abc", false),
    ("$JS.API.CONSUMER.CREATE.GITHUB", false),
    ("$JS.API.CONSUMER.CREATE.OBJ_GITHUB_PAYLOADS", false),
    ("$JS.API.CONSUMER.MSG.NEXT.GITHUB.x", false),
    ("$JS.ACK.GITHUB.x.1.1.1.1.0", false),
    ("$SYS.REQ.SERVER.PING", false),
    ("$SYS.REQ.USER.INFO", false),
];

/// Whether the receiver may subscribe there; what is published to find out.
const SUBSCRIBE: &[(&str, &str, bool)] = &[
    ("_INBOX.abc.>", "_INBOX.abc.1", true),
    ("github.>", "github.acme.site.push.-", false),
    (">", "anything", false),
    ("*", "anything", false),
    ("_INBOX", "_INBOX", false),
    ("$O.GITHUB_PAYLOADS.>", "$O.GITHUB_PAYLOADS.C.abc", false),
    ("$JS.API.>", "$JS.API.INFO", false),
    ("$SYS.>", "$SYS.x", false),
];

async fn server() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(Setup::new(directory.path())).await;
    let events = StreamSpec {
        name: GITHUB.to_owned(),
        subjects: vec!["github.>".to_owned()],
        ..StreamSpec::default()
    };
    let payloads = ObjectBucketSpec { name: PAYLOADS.to_owned(), ..ObjectBucketSpec::default() };
    let specs = [events.into(), payloads.into()];
    stream::ensure(&server.admin().await, "acme", &specs, KeepMessages).await.unwrap();
    (directory, server)
}

async fn receiver(server: &Server) -> Client {
    server.client(&server.setup.receiver).await
}

#[tokio::test]
async fn the_receiver_publishes_what_it_needs_and_nothing_else() {
    let (_directory, server) = server().await;
    let (admin, receiver) = (server.admin().await, receiver(&server).await);
    let mut everything = admin.subscribe(">").await.unwrap();
    admin.request("$JS.API.CONSUMER.NAMES.GITHUB", "".into()).await.unwrap();
    for (subject, _) in PUBLISH {
        receiver.publish(*subject, "".into()).await.unwrap();
    }
    receiver.publish("github.the.last.one.-", "".into()).await.unwrap();
    let mut arrived = BTreeSet::new();
    loop {
        let message = tokio::time::timeout(Duration::from_secs(5), everything.next()).await.unwrap().unwrap();
        if message.subject.as_str() == "github.the.last.one.-" {
            break;
        }
        arrived.insert(message.subject.to_string());
    }
    for (subject, allowed) in PUBLISH {
        assert_eq!(arrived.contains(*subject), *allowed, "publish {subject}");
    }
}

#[tokio::test]
async fn the_receiver_reads_its_replies_and_nothing_else() {
    let (_directory, server) = server().await;
    let (admin, receiver) = (server.admin().await, receiver(&server).await);
    for (subject, published, allowed) in SUBSCRIBE {
        let mut subscription = receiver.subscribe(*subject).await.unwrap();
        settle(&receiver).await;
        admin.publish(*published, "".into()).await.unwrap();
        settle(&admin).await;
        let patience = Duration::from_millis(if *allowed { 5000 } else { 150 });
        let heard =
            tokio::time::timeout(patience, subscription.next()).await.is_ok_and(|next| next.is_some());
        assert_eq!(heard, *allowed, "subscribe {subject}");
    }
}

#[tokio::test]
async fn the_receiver_does_its_work() {
    let (_directory, server) = server().await;
    let context = jetstream::new(receiver(&server).await);
    let ack = context.publish("github.acme.site.push.-", "{}".into()).await.unwrap().await.unwrap();
    assert_eq!((ack.stream.as_str(), ack.sequence), (GITHUB, 1));
    context.get_stream(GITHUB).await.unwrap();
    let store = context.get_object_store(PAYLOADS).await.unwrap();
    assert!(store.info("guid").await.is_err());
    let bytes = vec![42; 3 << 20];
    store.put("guid", &mut bytes.as_slice()).await.unwrap();
    assert_eq!(store.info("guid").await.unwrap().size, bytes.len());
}

#[tokio::test]
async fn accounts_do_not_see_each_other_and_strangers_stay_outside() {
    let (_directory, server) = server().await;
    let other = server.client(&server.setup.other).await;
    let mut everything = other.subscribe(">").await.unwrap();
    settle(&other).await;
    let admin = server.admin().await;
    admin.publish("github.acme.site.push.-", "{}".into()).await.unwrap();
    settle(&admin).await;
    other.publish("the.end", "".into()).await.unwrap();
    let creds = std::fs::read_to_string(&server.setup.other).unwrap();
    let token = windlass_nats::jwt::decode(windlass_nats::creds::token(&creds).unwrap()).unwrap();
    let own = &token.claims["nats"]["issuer_account"];
    assert!(own.is_string());
    loop {
        let heard = tokio::time::timeout(Duration::from_secs(10), everything.next()).await.unwrap().unwrap();
        match heard.subject.as_str() {
            "the.end" => break,
            // What the server says of this account's own requests comes when it comes.
            "$JS.EVENT.ADVISORY.API" => {
                let advisory: serde_json::Value = serde_json::from_slice(&heard.payload).unwrap();
                assert_eq!(&advisory["client"]["acc"], own, "{advisory}");
            }
            // What was settled with comes by as well.
            subject if subject.starts_with("_INBOX.") || subject.starts_with("$JS.API.") => {}
            _ => panic!("{heard:?}"),
        }
    }
    assert!(jetstream::new(other).get_stream(GITHUB).await.is_err());

    let url = server.setup.url();
    assert!(windlass_nats::async_nats::connect(&url).await.is_err(), "without credentials");
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = Setup::new(elsewhere.path());
    let options = windlass_nats::connect::Options::new(&url, &stranger.admin, "stranger");
    assert_eq!(windlass_nats::connect::connect(&options).await.unwrap_err().code(), "WL0211");

    let system = server.client(&server.setup.system_admin).await;
    let answer = system.request("$SYS.REQ.SERVER.PING.VARZ", "".into()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["server"]["name"], NAME);
}
