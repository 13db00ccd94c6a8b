//! Notices a nats-server that has given up storing, and says when to start it again.
//!
//! After a failed write (a full disk, as a rule) nats-server stores nothing more in that stream, or switches JetStream off
//! altogether, and stays so when there is room again: only a new start brings it back. What arrives meanwhile is
//! in the receiver's spool. A server that is slow, or that does not answer at all, is left alone: it may be reading its
//! streams, or paused, and killing it would help nobody.

use std::path::PathBuf;
use std::time::Duration;

use windlass_nats::server::{Health, Monitor};

/// How often the server is asked.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// How many answers in a row must say that it stores nothing more.
const IN_A_ROW: u32 = 3;
/// With less room than this, a new start would end the same way.
const ROOM: u64 = 16 * 1024 * 1024;

/// What is known of one server.
#[derive(Clone, Debug)]
pub struct JetStreamWatch {
    monitor: Monitor,
    store: PathBuf,
    judge: Judge,
}

impl JetStreamWatch {
    /// Watches the server with this monitoring endpoint, whose data is in this directory.
    pub fn new(monitor: Monitor, store: PathBuf) -> Self {
        Self { monitor, store, judge: Judge::default() }
    }

    /// Asks the server once. True when it is to be started again.
    pub async fn is_restart_due(&mut self) -> bool {
        let answer = tokio::time::timeout(INTERVAL, self.monitor.health(Health::Everything)).await;
        let stores = match answer {
            Ok(Ok(Ok(()))) => Some(true),
            Ok(Ok(Err(reason))) if has_given_up(&reason) => Some(false),
            _ => None,
        };
        self.judge.hear(stores, || free(&self.store))
    }

    /// The server was started anew.
    pub fn started(&mut self) {
        self.judge = Judge::default();
    }
}

/// Whether the health check's reason is one that a server does not recover from. (Words of nats-server 2.15.)
fn has_given_up(reason: &str) -> bool {
    reason.contains("write error") || reason.contains("JetStream not enabled")
}

fn free(store: &std::path::Path) -> u64 {
    rustix::fs::statvfs(store).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The decision, apart from asking.
#[derive(Clone, Debug, Default)]
struct Judge {
    /// It was healthy once since its start. Before that, it may still be reading its streams.
    was_healthy: bool,
    given_up: u32,
}

impl Judge {
    fn hear(&mut self, stores: Option<bool>, free: impl Fn() -> u64) -> bool {
        match stores {
            Some(true) => {
                self.was_healthy = true;
                self.given_up = 0;
            }
            Some(false) if self.was_healthy => self.given_up += 1,
            Some(false) | None => {}
        }
        self.given_up >= IN_A_ROW && free() >= ROOM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(answers: &[Option<bool>], free: u64) -> Vec<bool> {
        let mut judge = Judge::default();
        answers.iter().map(|on| judge.hear(*on, || free)).collect()
    }

    const ON: Option<bool> = Some(true);
    const OFF: Option<bool> = Some(false);

    #[test]
    fn a_server_that_has_given_up_is_started_again_once_there_is_room() {
        assert_eq!(heard(&[ON, OFF, OFF, OFF], ROOM), [false, false, false, true]);
        assert_eq!(heard(&[ON, OFF, OFF, ON, OFF, OFF], ROOM), [false; 6]);
        assert_eq!(heard(&[ON, OFF, OFF, OFF, OFF], ROOM - 1), [false; 5]);
    }

    #[test]
    fn what_passes_by_itself_is_no_reason() {
        assert!(has_given_up("JetStream stream 'A > GITHUB' write error: write /x: no space left on device"));
        assert!(!has_given_up("JetStream stream 'A > GITHUB' is not current"));
    }

    #[test]
    fn a_server_that_still_reads_its_streams_or_says_nothing_is_left_alone() {
        assert_eq!(heard(&[OFF, OFF, OFF, OFF, OFF], ROOM), [false; 5]);
        assert_eq!(heard(&[ON, None, None, None, None], ROOM), [false; 5]);
    }
}
