//! Makes an event durable: in JetStream if it can, in the spool if it must, and says which.

use super::Timeline;
use crate::event::Event;
use crate::publish::{Publisher, Stored};
use crate::refusal::Refusal;
use crate::spool::Spool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long JetStream may take before the spool takes over. Long for an acknowledgement even on a slow disk, short
/// enough to leave time for the spool.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where an event is safe.
#[derive(Debug)]
pub(super) enum Kept {
    /// In the stream.
    Stored(Stored),
    /// On this machine's disk.
    Spooled,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) publisher: Arc<Publisher>,
    pub(super) spool: Spool,
    /// JetStream did not take what it was last offered.
    pub(super) stalled: Arc<AtomicBool>,
}

impl Store {
    /// Whether an event could be taken right now, as far as the last ones tell.
    pub(super) fn is_ready(&self) -> bool {
        let jetstream = self.publisher.is_connected() && !self.stalled.load(Ordering::Relaxed);
        jetstream || self.spool.has_room()
    }

    pub(super) async fn keep(&self, event: &Event, timeline: Timeline) -> Result<Kept, Refusal> {
        // While the spool holds anything, later events queue up behind it: otherwise they would overtake.
        let direct = !self.spool.levels().is_open();
        if direct {
            match self.publish(event, timeline).await {
                Some(stored) => return Ok(Kept::Stored(stored)),
                None => self.spool.open_for_events(),
            }
        }
        match timeout_at(timeline.spooled, self.spool.append(event)).await {
            Ok(Ok(())) => return Ok(Kept::Spooled),
            Ok(Err(error)) => {
                tracing::warn!(delivery = %event.delivery, %error, "the spool did not take an event");
            }
            Err(_) => tracing::warn!(delivery = %event.delivery, "the spool did not take an event in time"),
        }
        // No use in waiting once more for what has just failed.
        if direct || self.stalled.load(Ordering::Relaxed) {
            return Err(Refusal::NotStored);
        }
        // Out of order is better than not at all.
        self.publish(event, timeline).await.map(Kept::Stored).ok_or(Refusal::NotStored)
    }

    async fn publish(&self, event: &Event, timeline: Timeline) -> Option<Stored> {
        let deadline = timeline.acknowledged.min(Instant::now() + PATIENCE);
        let result = self.publisher.publish(event, deadline).await;
        self.stalled.store(result.is_err(), Ordering::Relaxed);
        result
            .inspect_err(|reason| {
                tracing::debug!(delivery = %event.delivery, %reason, "JetStream did not take an event");
            })
            .ok()
    }
}
