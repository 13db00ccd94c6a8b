//! The suite that any platform must pass, run against a stand-in for Cloudflare with the real Worker and real nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::FutureExt;
use secrecy::SecretString;
use std::path::Path;
use std::sync::Arc;
use windlass_engine::conformance::{Fixture, check};
use windlass_engine::wanted::CLOUDFLARE;
use windlass_engine::{Address, Kind, Resource, wanted};
use windlass_platforms::cloudflare::{Cloudflare, Options, Source, WORKER};
use windlass_tests::edge_fleet::Sandbox;
use windlass_tests::engine::apply_all;
use windlass_tests::tools;

const CHANGES: [(&str, &str); 3] = [
    ("weur = { min = 1, max = 2 }", "weur = { min = 1, max = 3 }"),
    ("instance = \"lite\"", "instance = \"basic\"\nsleep_after = \"2m\""),
    ("subjects = [\"github.>\"]", "subjects = [\"github.>\"]\nmax_age = \"10d\""),
];

fn platform(sandbox: &Sandbox, file: &str, directory: &Path) -> (Cloudflare, Vec<Resource>) {
    let fleet =
        windlass_fleet::parse(file, "windlass.toml").unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let fleet = Arc::new(fleet);
    let wanted = wanted::resources(&fleet).into_iter().filter(|one| one.platform == CLOUDFLARE).collect();
    let addresses = sandbox.api.addresses();
    let source = |value: &str| -> Source {
        let value = SecretString::from(value.to_owned());
        Arc::new(move || Ok(Some(value.clone())))
    };
    let secrets = directory.join("webhook-secret");
    std::fs::write(&secrets, "0123456789abcdef0123456789abcdef\n").unwrap();
    let options = Options {
        fleet,
        directory: directory.to_owned(),
        account_id: source(sandbox.account()),
        api_token: source(sandbox.api.token()),
        secrets: Arc::new(move |_| Ok(Some((secrets.clone(), "digest".to_owned())))),
        base: addresses.api_url.clone(),
        worker_url: Some(addresses.worker_url.clone()),
        worker: WORKER,
    };
    (Cloudflare::new(options), wanted)
}

/// Puts an object into a bucket, as any client would.
async fn fill(sandbox: &Sandbox, resource: &Resource) -> Result<bool, String> {
    if resource.address.kind != Kind::Bucket {
        return Ok(false);
    }
    let path = format!("r2/buckets/{}/objects/one", resource.address.name);
    let answer = sandbox.put(&path, "an object").await;
    assert_eq!(answer["success"], true, "{answer}");
    Ok(true)
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudflare_passes_the_suite() {
    let Some(sandbox) = Sandbox::start().await else { return };
    let fleet = sandbox.fleet();
    let file = fleet.file();
    // The hub, and who the nodes are.
    let targets = ["cluster.hub", "user.GITHUB/edge", "user.GITHUB/outbox", "stream.GITHUB"];
    let targets: Vec<&str> = targets.iter().flat_map(|target| ["--target", target]).collect();
    apply_all(&fleet, &targets);
    let mut changed_file = file.clone();
    for (from, to) in CHANGES {
        assert!(changed_file.contains(from), "{from} is not in {changed_file}");
        changed_file = changed_file.replacen(from, to, 1);
    }
    let (before, wanted) = platform(&sandbox, &file, &fleet.state());
    let (after, changed) = platform(&sandbox, &changed_file, &fleet.state());
    let kinds = [
        Kind::Bucket,
        Kind::Namespace,
        Kind::Worker,
        Kind::Secret,
        Kind::Container,
        Kind::Cluster,
        Kind::Receiver,
    ];
    for kind in kinds {
        assert!(wanted.iter().any(|one| one.address.kind == kind), "no {} among them", kind.as_str());
    }
    let impossible = Resource::new(Address::new(Kind::Stream, "EDGE"), CLOUDFLARE, serde_json::json!({}));
    let store = |resource: &Resource| {
        let resource = resource.clone();
        let sandbox = &sandbox;
        async move { fill(sandbox, &resource).await }.boxed()
    };
    let fixture = Fixture { wanted, changed, impossible: Some(impossible), fill: Some(&store) };
    let result = check(&before, &after, &fixture).await;
    fleet.down();
    let left = tools::end_processes_of(fleet.path());
    result.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
