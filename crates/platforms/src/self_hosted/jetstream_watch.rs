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
        let heard = match answer {
            Ok(Ok(answer)) => hear(answer.as_ref().err().map(String::as_str)),
            _ => Heard::Nothing,
        };
        self.judge.hear(heard, || free(&self.store))
    }

    /// The server was started anew.
    pub fn started(&mut self) {
        self.judge = Judge::default();
    }
}

/// What a health check's answer says about storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It stores.
    Stores,
    /// A write has failed: nothing comes back without a new start.
    Failed,
    /// JetStream is off: it has given up, or it has not yet begun.
    Off,
    /// Nothing about that.
    Nothing,
}

/// Understands the health check's reason, or that there is none. (Words of nats-server 2.15.)
fn hear(reason: Option<&str>) -> Heard {
    match reason {
        None => Heard::Stores,
        Some(reason) if reason.contains("write error") => Heard::Failed,
        Some(reason) if reason.contains("JetStream not enabled") => Heard::Off,
        Some(_) => Heard::Nothing,
    }
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
    fn hear(&mut self, heard: Heard, free: impl Fn() -> u64) -> bool {
        match heard {
            Heard::Stores => {
                self.was_healthy = true;
                self.given_up = 0;
            }
            Heard::Failed => self.given_up += 1,
            Heard::Off if self.was_healthy => self.given_up += 1,
            Heard::Off | Heard::Nothing => {}
        }
        self.given_up >= IN_A_ROW && free() >= ROOM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(answers: &[Heard], free: u64) -> Vec<bool> {
        let mut judge = Judge::default();
        answers.iter().map(|on| judge.hear(*on, || free)).collect()
    }

    const ON: Heard = Heard::Stores;
    const OFF: Heard = Heard::Off;
    const FAILED: Heard = Heard::Failed;
    const NOTHING: Heard = Heard::Nothing;

    #[test]
    fn a_server_that_has_given_up_is_started_again_once_there_is_room() {
        for end in [OFF, FAILED] {
            assert_eq!(heard(&[ON, end, end, end], ROOM), [false, false, false, true]);
            assert_eq!(heard(&[ON, end, end, ON, end, end], ROOM), [false; 6]);
            assert_eq!(heard(&[ON, end, end, end, end], ROOM - 1), [false; 5]);
        }
        // A disk can be full before the server was ever seen to be well.
        assert_eq!(heard(&[FAILED, FAILED, FAILED], ROOM), [false, false, true]);
    }

    #[test]
    fn what_passes_by_itself_is_no_reason() {
        let full = "JetStream stream 'A > GITHUB' write error: write /x: no space left on device";
        assert_eq!(hear(Some(full)), FAILED);
        assert_eq!(hear(Some("JetStream not enabled for account")), OFF);
        assert_eq!(hear(Some("JetStream stream 'A > GITHUB' is not current")), NOTHING);
        assert_eq!(hear(None), ON);
    }

    #[test]
    fn a_server_that_still_reads_its_streams_or_says_nothing_is_left_alone() {
        assert_eq!(heard(&[OFF, OFF, OFF, OFF, OFF], ROOM), [false; 5]);
        assert_eq!(heard(&[ON, NOTHING, NOTHING, NOTHING, NOTHING], ROOM), [false; 5]);
    }
}
