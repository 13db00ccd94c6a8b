//! The signals that end what runs in the foreground.

use signal_hook::consts::SIGINT;
use signal_hook::iterator::exfiltrator::WithOrigin;

use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::Cause;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::Error;

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM (as `down` sends), or the terminal went away.
    Terminated,
}

/// The signals that end a run.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    /// Takes over the signals; from here on they no longer end the process by themselves.
    pub fn take() -> Result<Self, Error> {
        let take = |kind| {
            signal(kind)
                .map_err(|cause| Error::Environment { what: "signal handling", cause: cause.to_string() })
        };
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Interrupted,
            _ = self.terminate.recv() => End::Terminated,
            _ = self.hangup.recv() => End::Terminated,
        }
    }
}

/// Who interrupts: a terminal, which tells every process in its foreground, or another process, which tells this one.
#[derive(Debug)]
pub struct Interrupts {
    sent: mpsc::UnboundedReceiver<()>,
    watch: Handle,
}

impl Interrupts {
    /// Looks at the interrupts from here on.
    pub fn watch() -> Result<Self, Error> {
        let failed =
            |cause: std::io::Error| Error::Environment { what: "signal handling", cause: cause.to_string() };
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT]).map_err(failed)?;
        let watch = signals.handle();
        let (give, sent) = mpsc::unbounded_channel();
        // It ends when this is dropped. If it ended before, an interrupt from another process would not be passed on.
        let work = move || {
            let by_a_process = signals.forever().filter(|origin| matches!(origin.cause, Cause::Sent(_)));
            by_a_process.take_while(|_| give.send(()).is_ok()).for_each(drop);
        };
        std::thread::Builder::new().name("interrupts".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { sent, watch })
    }

    /// Waits for one that another process has sent.
    pub async fn sent(&mut self) {
        if self.sent.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.watch.close();
    }
}
