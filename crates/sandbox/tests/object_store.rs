//! The crate `object_store`, which Windlass itself uses, against the local R2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3CopyIfNotExists};
use object_store::path::Path;
use object_store::{
    Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig, UpdateVersion,
};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use windlass_sandbox::r2::{self, Effect, Fault, Handle, Options};

struct Local {
    server: Handle,
    store: Arc<AmazonS3>,
    _directory: tempfile::TempDir,
}

fn client(server: &Handle, secret: &str) -> AmazonS3 {
    // Only once in a process; another test may have done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_region("auto")
        .with_bucket_name("states")
        .with_access_key_id(server.access_key_id())
        .with_secret_access_key(secret)
        .with_copy_if_not_exists(S3CopyIfNotExists::Header(
            "cf-copy-destination-if-none-match".into(),
            "*".into(),
        ))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .build()
        .unwrap()
}

async fn local() -> Local {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { bucket: Some("states".into()), ..Options::new(directory.path()) };
    let server = r2::start(options).await.unwrap();
    let store = Arc::new(client(&server, server.secret_access_key().expose_secret()));
    Local { server, store, _directory: directory }
}

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

#[tokio::test]
async fn put_get_head_list_delete() {
    let local = local().await;
    let path = Path::from("env:/prod/terraform.tfstate");
    local.store.put(&path, "one".into()).await.unwrap();
    let found = local.store.get(&path).await.unwrap();
    assert_eq!(found.meta.size, 3);
    assert_eq!(found.bytes().await.unwrap(), "one");
    assert_eq!(local.store.get_range(&path, 1..2).await.unwrap(), "n");
    let listed: Vec<_> = local.store.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].location, path);
    local.store.delete(&path).await.unwrap();
    assert!(matches!(local.store.head(&path).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn conditions() {
    let local = local().await;
    let path = Path::from("k");
    let first = local.store.put_opts(&path, "one".into(), create()).await.unwrap();
    let again = local.store.put_opts(&path, "two".into(), create()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let swap = |etag: Option<String>| PutOptions {
        mode: PutMode::Update(UpdateVersion { e_tag: etag, version: None }),
        ..PutOptions::default()
    };
    local.store.put_opts(&path, "two".into(), swap(first.e_tag.clone())).await.unwrap();
    let stale = local.store.put_opts(&path, "three".into(), swap(first.e_tag)).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    let copied = Path::from("copy");
    local.store.copy_if_not_exists(&path, &copied).await.unwrap();
    assert!(local.store.copy_if_not_exists(&path, &copied).await.is_err());
    assert_eq!(local.store.get(&copied).await.unwrap().bytes().await.unwrap(), "two");
}

#[tokio::test]
async fn of_fifty_who_create_a_key_one_does() {
    let local = local().await;
    for round in 0..10 {
        let path = Path::from(format!("lock-{round}"));
        let takers = (0..50).map(|taker| {
            let (store, path) = (Arc::clone(&local.store), path.clone());
            tokio::spawn(async move { store.put_opts(&path, format!("{taker}").into(), create()).await })
        });
        let results = futures::future::join_all(takers.collect::<Vec<_>>()).await;
        let winners: Vec<_> =
            results.iter().enumerate().filter(|(_, result)| result.as_ref().unwrap().is_ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let held = local.store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(held, winners[0].0.to_string());
    }
}

#[tokio::test]
async fn many_parts_become_one_object() {
    let local = local().await;
    let path = Path::from("large");
    let part = vec![7; 5 * 1024 * 1024];
    let mut upload = local.store.put_multipart(&path).await.unwrap();
    upload.put_part(part.clone().into()).await.unwrap();
    upload.put_part(part.into()).await.unwrap();
    upload.put_part("end".into()).await.unwrap();
    upload.complete().await.unwrap();
    let meta = local.store.head(&path).await.unwrap();
    assert_eq!(meta.size, 10 * 1024 * 1024 + 3);
    assert!(meta.e_tag.unwrap().ends_with("-3\""));
    let mut stream = local.store.get(&path).await.unwrap().into_stream();
    let (mut length, mut last) = (0, Vec::new());
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.unwrap();
        length += bytes.len();
        last = bytes.to_vec();
    }
    assert_eq!(length, 10 * 1024 * 1024 + 3);
    assert!(last.ends_with(b"end"));
}

#[tokio::test]
async fn faults_and_the_log() {
    let local = local().await;
    let path = Path::from("k");
    local.server.inject(Fault::next("PUT", "states/k", Effect::LoseAnswer));
    local.store.put(&path, "written".into()).await.unwrap_err();
    assert_eq!(local.store.get(&path).await.unwrap().bytes().await.unwrap(), "written");
    local.server.inject(Fault::next("PUT", "states/*", Effect::LoseRequest));
    local.store.put(&path, "lost".into()).await.unwrap_err();
    assert_eq!(local.store.get(&path).await.unwrap().bytes().await.unwrap(), "written");
    // Longer than any machine takes for two requests.
    local.server.limit_writes(Some(Duration::from_secs(3600)));
    let refused = local.store.put(&path, "too soon".into()).await.unwrap_err();
    assert!(refused.to_string().contains("429"), "{refused}");
    let log: Vec<_> =
        local.server.requests().iter().map(|request| (request.method.clone(), request.status)).collect();
    assert_eq!(log[0], ("PUT".to_owned(), None));
    assert_eq!(log[4], ("PUT".to_owned(), Some(429)));
}

#[tokio::test]
async fn another_secret_is_refused() {
    let local = local().await;
    let refused = client(&local.server, "another").put(&Path::from("k"), "x".into()).await.unwrap_err();
    assert!(refused.to_string().contains("SignatureDoesNotMatch"), "{refused}");
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options { bucket: Some("states".into()), ..Options::new(directory.path()) };
    let keys = r2::keys_of(directory.path()).unwrap();
    let server = r2::start(options()).await.unwrap();
    assert_eq!(server.access_key_id(), keys.access_key_id);
    let secret = server.secret_access_key().expose_secret().to_owned();
    client(&server, &secret).put(&Path::from("k"), "x".into()).await.unwrap();
    server.shutdown().await;
    // The keys are those of the directory.
    let server = r2::start(options()).await.unwrap();
    let found = client(&server, &secret).get(&Path::from("k")).await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), "x");
}
