//! Ctrl-C and SIGTERM while a fleet's state is locked.
//!
//! The lock of a bucket outlives its process, so nobody ends by a signal without releasing it. They are heard on a thread
//! of their own: the command's thread may be waiting for an answer at the terminal.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;
use windlass_engine::store::Lock;

use crate::failure::{Error, INTERRUPTED};
use crate::output;
use crate::signals::Signals;

#[derive(Debug, Default)]
struct Held {
    /// Whoever holds it drops it in the end, and not this.
    lock: Option<Weak<dyn Lock>>,
    stop: Option<watch::Sender<bool>>,
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
                    heard.signalled();
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(hear).map_err(failed)?;
        Ok(interrupts)
    }

    /// This is released before the process ends by a signal.
    pub fn holds(&self, lock: &Arc<dyn Lock>) {
        self.0.lock().lock = Some(Arc::downgrade(lock));
    }

    /// From now on, the first signal lets what has begun be finished.
    pub fn finish_first(&self, stop: watch::Sender<bool>) {
        self.0.lock().stop = Some(stop);
    }

    fn signalled(&self) {
        let (stop, lock) = {
            let mut held = self.0.lock();
            match held.stop.take() {
                Some(stop) => (Some(stop), None),
                None => (None, held.lock.take()),
            }
        };
        if let Some(stop) = stop {
            output::note("what has begun is finished; press Ctrl-C again to leave at once");
            stop.send_replace(true);
            return;
        }
        if let Some(lock) = lock.and_then(|lock| lock.upgrade()) {
            lock.release();
        }
        std::process::exit(i32::from(INTERRUPTED));
    }
}
