//! Empties the spool into JetStream, oldest first, for as long as the process lives.

use crate::event::Event;
use crate::metrics::Metrics;
use crate::publish::{Publisher, Unavailable};
use crate::spool::{Batch, Drain};
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How many events are on their way to JetStream at once. They are sent in order over one connection.
const WINDOW: usize = 256;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(super) async fn run(
    mut drain: Drain,
    publisher: Arc<Publisher>,
    stalled: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
) {
    let mut pause = FIRST_PAUSE;
    // After a failure one event goes first, alone: a server that does not answer is not sent the same megabytes
    // again and again.
    let mut probing = false;
    loop {
        drain.wait_until_open().await;
        publisher.wait_until_connected().await;
        let bytes = if probing { 1 } else { BATCH_BYTES };
        let (back, batch) = match read(drain, bytes).await {
            Some(read) => read,
            None => return,
        };
        drain = back;
        let Some(batch) = batch else {
            tokio::time::sleep(LONGEST_PAUSE).await;
            continue;
        };
        if batch.events.is_empty() {
            if !drain.try_close().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            continue;
        }
        match hand_over(&batch.events, &publisher).await {
            Ok(()) => {
                metrics.drained.inc_by(batch.events.len() as u64);
                drain.remove(&batch);
                pause = FIRST_PAUSE;
                probing = false;
                stalled.store(false, Ordering::Relaxed);
            }
            Err(reason) => {
                tracing::warn!(%reason, "the spool waits: JetStream does not take its events");
                probing = true;
                stalled.store(true, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Reads a batch off the async threads. `None` when the runtime is going down.
async fn read(mut drain: Drain, bytes: usize) -> Option<(Drain, Option<Batch>)> {
    tokio::task::spawn_blocking(move || {
        let batch = drain
            .read(bytes)
            .inspect_err(|error| tracing::error!(%error, "the spool cannot be read; it is tried again"))
            .ok();
        (drain, batch)
    })
    .await
    .ok()
}

/// Publishes all of them in order, or fails at one; then the whole batch is tried again, and JetStream drops what it has.
async fn hand_over(events: &[Event], publisher: &Publisher) -> Result<(), Unavailable> {
    // A claim check puts its payload first; what follows must not overtake it meanwhile, so it goes alone.
    for group in events.chunk_by(|a, b| !publisher.needs_claim_check(a) && !publisher.needs_claim_check(b)) {
        let deadline = Instant::now() + PATIENCE;
        let publishes: Vec<_> =
            group.iter().map(|event| publisher.publish(event, deadline).boxed()).collect();
        futures::stream::iter(publishes)
            .buffered(WINDOW)
            .try_for_each(|_| futures::future::ready(Ok(())))
            .await?;
    }
    Ok(())
}
