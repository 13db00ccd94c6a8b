//! GitHub under load: many deliveries at once, each tried again as a redelivery would, and a record of every answer.

use crate::delivery::{Delivery, Github};
use crate::fleet::Message;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// GitHub waits ten seconds for an answer. Starved of processor time, a test's own clock reads a little more.
const GITHUB_WAITS: Duration = Duration::from_secs(10);

/// A delivery that was answered with 2xx.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The delivery.
    pub delivery: Delivery,
    /// The status it was taken with: 200 or 202.
    pub status: u16,
    /// Which sender sent it, and as which of its deliveries.
    pub sender: usize,
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    senders: Vec<JoinHandle<Vec<Taken>>>,
}

impl Load {
    /// Starts `senders` senders. Each sends one delivery after another to a repository of its own, and each delivery
    /// again (same GUID) until it gets a 2xx.
    pub fn start(github: &Github, senders: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let senders = (0..senders)
            .map(|sender| tokio::spawn(send(github.clone(), sender, Arc::clone(&stop), Arc::clone(&sent))))
            .collect();
        Self { stop, sent, senders }
    }

    /// How many deliveries have been taken.
    pub fn taken(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until this many more have been taken.
    pub async fn wait_for(&self, more: usize) {
        let goal = self.taken() + more;
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.taken() < goal {
            // A sender ends early only when an answer was wrong or late; `stop` says which.
            let failed = self.senders.iter().any(JoinHandle::is_finished);
            if failed {
                return;
            }
            assert!(Instant::now() < deadline, "{} of {goal} deliveries were taken", self.taken());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Lets every sender finish its delivery, and gives all that were taken, each sender's in order.
    pub async fn stop(self) -> Vec<Taken> {
        self.stop.store(true, Ordering::Relaxed);
        let mut taken = Vec::new();
        for sender in self.senders {
            taken.extend(sender.await.expect("a sender"));
        }
        taken
    }
}

/// All that was taken is in the stream, once, and each sender's in the order in which it was sent; and nothing else is.
///
/// # Panics
/// When it is not so.
pub fn assert_kept(taken: &[Taken], messages: &[Message]) {
    let sequences: HashMap<&str, u64> =
        messages.iter().map(|message| (message.header("ce-id"), message.sequence)).collect();
    let lost: Vec<&Taken> =
        taken.iter().filter(|taken| !sequences.contains_key(&*taken.delivery.id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {:?}", lost.len(), taken.len(), lost.first());
    assert_eq!((messages.len(), sequences.len()), (taken.len(), taken.len()), "each exactly once");
    let mut senders: HashMap<usize, Vec<u64>> = HashMap::new();
    for taken in taken {
        senders.entry(taken.sender).or_default().push(sequences[&*taken.delivery.id]);
    }
    for (sender, order) in senders {
        assert!(order.is_sorted(), "sender {sender}: {order:?}");
    }
}

async fn send(github: Github, sender: usize, stop: Arc<AtomicBool>, sent: Arc<AtomicUsize>) -> Vec<Taken> {
    let mut taken = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let delivery = Delivery::push("acme", &format!("sender-{sender}"), number);
        loop {
            let took = match github.try_deliver(&delivery).await {
                Ok(answer) if answer.is_success() => {
                    assert!(answer.took < GITHUB_WAITS, "{answer:?}");
                    taken.push(Taken { delivery, status: answer.status, sender });
                    sent.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Ok(answer) => {
                    // 502: there is no Worker just now.
                    assert!([502, 503].contains(&answer.status), "{answer:?}");
                    answer.took
                }
                // The receiver was killed, or is not up again yet.
                Err((_, took)) => took,
            };
            assert!(took < GITHUB_WAITS, "no answer within {took:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    taken
}
