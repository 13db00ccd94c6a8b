//! The raw limit: what a plain async-nats publisher reaches with the same messages.
//!
//! No HTTP, no signature, no JSON: the same subjects, headers and bytes as the receiver stores, as many in flight,
//! each acknowledged by JetStream before its task publishes the next. A receiver can come near it, not past it.

use std::sync::Arc;
use std::time::Instant;

use async_nats::HeaderMap;
use tokio::task::JoinSet;

use crate::Result;
use crate::clock::{Clock, Outcome, Plan, Samples, on_own_thread};
use crate::delivery::{Deliveries, text};
use crate::nats_server;
use crate::payload::{OWNER, Pool};

/// Publishes to the server at `url` as the plan says.
pub async fn run(url: String, plan: Plan, pool: Arc<Pool>, deliveries: Arc<Deliveries>) -> Result<Outcome> {
    on_own_thread("raw", async move {
        let context = nats_server::context(&url).await?;
        let clock = Clock::start(&plan);
        let mut publishers = JoinSet::new();
        for _ in 0..plan.in_flight {
            let (context, pool, deliveries) = (context.clone(), Arc::clone(&pool), Arc::clone(&deliveries));
            publishers.spawn(async move {
                let mut samples = Samples::default();
                loop {
                    let sent = Instant::now();
                    if clock.is_over(sent) {
                        return Result::Ok(samples);
                    }
                    let (number, guid) = deliveries.next();
                    let signed = pool.signed(number);
                    let headers = headers(&signed.repository, text(&guid));
                    let subject = signed.subject.clone();
                    let ack =
                        context.publish_with_headers(subject, headers, signed.body.clone()).await?.await?;
                    if ack.duplicate {
                        return Err("a delivery was called a duplicate on its first publish".into());
                    }
                    samples.answered(&clock, 200, sent, Instant::now());
                }
            });
        }
        let cpu = clock.watch(plan.watched.clone()).await;
        let mut samples = Vec::with_capacity(plan.in_flight);
        while let Some(joined) = publishers.join_next().await {
            samples.push(joined??);
        }
        Outcome::of(&plan, samples, cpu)
    })
    .await
}

/// The headers that the receiver gives a push event.
fn headers(repository: &str, delivery: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", delivery);
    headers.insert("X-GitHub-Event", "push");
    headers.insert("X-GitHub-Delivery", delivery);
    headers.insert("X-GitHub-Hook-ID", "12345");
    headers.insert("X-GitHub-Hook-Installation-Target-ID", "67890");
    headers.insert("X-GitHub-Hook-Installation-Target-Type", "organization");
    headers.insert("Content-Type", "application/json");
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", delivery);
    headers.insert("ce-type", "com.github.push");
    headers.insert("ce-source", format!("https://github.com/{OWNER}/{repository}"));
    headers.insert("ce-time", "2026-03-04T05:06:07.089Z");
    headers.insert("ce-datacontenttype", "application/json");
    headers
}
