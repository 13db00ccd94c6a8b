//! Ctrl-C and SIGTERM while a fleet's state is locked.
//!
//! The lock of a bucket outlives its process, so nobody ends by a signal without releasing it. They are heard on a thread
//! of their own: the command's thread may be waiting for an answer at the terminal.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use windlass_engine::store::Lock;

use crate::failure::{Error, INTERRUPTED};
use crate::output;
use crate::signals::Signals;

/// How long the lock may take to be taken, or released by whoever holds it, after a signal. Whoever waits for another's lock
/// waits so long for the end.
const WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Held {
    /// Whoever holds it drops it in the end, and not this.
    lock: Option<Weak<dyn Lock>>,
    stop: Option<watch::Sender<bool>>,
    /// There was a signal before there was a lock.
    ending: bool,
}

/// What a signal does now. Before anything is changed it ends the process; then, it lets what has begun be finished, and a
/// second one ends the process.
#[derive(Clone, Debug, Default)]
pub struct Interrupts(Arc<Mutex<Held>>);

impl Interrupts {
    /// Hears signals from now on.
    pub fn hear() -> Result<Self, Error> {
        let interrupts = Self::default();
        let failed =
            |cause: std::io::Error| Error::Environment { what: "signal handling", cause: cause.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut signals = {
            let _inside = runtime.enter();
            Signals::take()?
        };
        let heard = interrupts.clone();
        let hear = move || {
            runtime.block_on(async {
                loop {
                    signals.next().await;
                    if heard.is_the_end() {
                        end();
                    }
                    if !heard.finishes() {
                        // The lock is being taken, or released, right now: the process ends with that.
                        tokio::time::sleep(WITHIN).await;
                        end();
                    }
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(hear).map_err(failed)?;
        Ok(interrupts)
    }

    /// This is released before the process ends by a signal.
    pub fn holds(&self, lock: &Arc<dyn Lock>) {
        let ending = {
            let mut held = self.0.lock();
            held.lock = Some(Arc::downgrade(lock));
            held.ending
        };
        if ending {
            lock.release();
            end();
        }
    }

    /// From now on, the first signal lets what has begun be finished.
    pub fn finish_first(&self, stop: watch::Sender<bool>) {
        self.0.lock().stop = Some(stop);
    }

    /// Whether what has begun is being finished.
    fn finishes(&self) -> bool {
        let held = self.0.lock();
        held.stop.is_none() && held.lock.as_ref().is_some_and(|lock| lock.strong_count() > 0)
    }

    /// Answers a signal: whether the process is to end now.
    fn is_the_end(&self) -> bool {
        let lock = {
            let mut held = self.0.lock();
            if let Some(stop) = held.stop.take() {
                output::note("what has begun is finished; press Ctrl-C again to leave at once");
                stop.send_replace(true);
                return false;
            }
            held.ending = true;
            held.lock.as_ref().and_then(Weak::upgrade)
        };
        match lock {
            Some(lock) => {
                lock.release();
                true
            }
            None => false,
        }
    }
}

fn end() -> ! {
    std::process::exit(i32::from(INTERRUPTED))
}
