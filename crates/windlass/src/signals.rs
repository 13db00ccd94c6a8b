//! The signals that end what runs in the foreground.

use tokio::signal::unix::{self, SignalKind, signal};

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
