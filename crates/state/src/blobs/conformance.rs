//! What every store must do, as one function: each implementation runs it in its tests.

use super::{Blobs, Condition, Put, Tag};
use bytes::Bytes;
use std::sync::Arc;

/// Runs the whole suite against an empty store.
///
/// # Panics
/// When the store breaks one of its promises, or answers with an error.
#[allow(clippy::expect_used, reason = "for tests, in which a broken promise is a panic")]
pub async fn check(blobs: Arc<dyn Blobs>) {
    const KEY: &str = "env:/dev/nats/terraform.tfstate";
    let done = |put: Put| match put {
        Put::Done(tag) => tag,
        Put::Refused => panic!("the write was refused"),
    };
    let put = |content: &'static str, condition: Condition| {
        let blobs = Arc::clone(&blobs);
        async move { blobs.put(KEY, Bytes::from(content), &condition).await.expect("a put") }
    };
    let get = || async { blobs.get(KEY).await.expect("a get").map(|(_, content)| content) };

    assert!(blobs.read(KEY).await.expect("a read").is_none(), "an empty store has something to read");
    assert!(blobs.head(KEY).await.expect("a head").is_none(), "an empty store has a head");
    assert!(!blobs.delete(KEY, None).await.expect("a delete"), "nothing was deleted");
    assert_eq!(blobs.list("").await.expect("a list"), [], "an empty store lists something");
    assert_eq!(put("x", Condition::Is(Tag::new("\"0\""))).await, Put::Refused, "if-match on nothing");

    let first = done(put("one", Condition::Absent).await);
    assert_eq!(put("two", Condition::Absent).await, Put::Refused, "create-only wrote twice");
    assert_eq!(get().await.expect("content"), "one");
    let second = done(put("two", Condition::Is(first.clone())).await);
    assert_ne!(first, second, "two contents have one tag");
    assert_eq!(put("three", Condition::Is(first.clone())).await, Put::Refused, "if-match on an old tag");
    let meta = blobs.head(KEY).await.expect("a head").expect("an object");
    assert_eq!((meta.size, meta.tag.as_ref()), (3, Some(&second)));
    let read = blobs.read(KEY).await.expect("a read").expect("an object");
    assert_eq!((read.meta.key.as_str(), read.meta.tag.as_ref()), (KEY, Some(&second)));
    assert_eq!(read.bytes().await.expect("content"), "two");
    done(put("four", Condition::Always).await);

    assert!(!blobs.delete(KEY, Some(&second)).await.expect("a delete"), "an old tag deleted");
    for key in ["env:/dev/nats/terraform.tfstate.tflock", "env:/prod/x", "history/a/1-ab", "historya"] {
        done(blobs.put(key, Bytes::from_static(b"x"), &Condition::Absent).await.expect("a put"));
    }
    let keys = |prefix: &'static str| {
        let blobs = Arc::clone(&blobs);
        async move {
            let list = blobs.list(prefix).await.expect("a list");
            list.into_iter().map(|meta| meta.key).collect::<Vec<_>>()
        }
    };
    assert_eq!(keys("env:/dev/").await, [KEY, "env:/dev/nats/terraform.tfstate.tflock"]);
    assert_eq!(keys("env:/").await.len(), 3);
    assert_eq!(keys("history/").await, ["history/a/1-ab"]);
    assert_eq!(keys("history").await, ["history/a/1-ab", "historya"]);
    assert_eq!(keys("nothing/").await, Vec::<String>::new());
    assert!(blobs.delete(KEY, None).await.expect("a delete"), "it was there");
    assert!(get().await.is_none(), "deleted, and still there");

    // Of any number of takers, exactly one wins.
    for round in 0..5 {
        let key = format!("race/{round}");
        let takers = (0..20).map(|taker| {
            let (blobs, key) = (Arc::clone(&blobs), key.clone());
            tokio::spawn(async move {
                let content = Bytes::from(format!("taker {taker}"));
                blobs.put(&key, content, &Condition::Absent).await.expect("a put") != Put::Refused
            })
        });
        let won = futures::future::join_all(takers).await;
        let winners = won.into_iter().filter(|won| matches!(won, Ok(true))).count();
        assert_eq!(winners, 1, "round {round}");
    }
    // A large object comes back as it was.
    let large: Bytes = (0..6_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>().into();
    done(blobs.put("large", large.clone(), &Condition::Absent).await.expect("a put"));
    assert!(blobs.get("large").await.expect("a get").expect("an object").1 == large);
}
