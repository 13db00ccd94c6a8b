//! How long to wait before a dead workerd is started again: the first time not at all, then longer and longer, so that
//! one that cannot run does not eat the machine. One that lived for [`HEALTHY`] starts afresh.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
const HEALTHY: Duration = Duration::from_secs(60);

/// Counts deaths that follow each other.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The wait after a death, given how long the process had lived.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= HEALTHY {
            self.deaths = 0;
        }
        let wait = match self.deaths {
            0 => Duration::ZERO,
            deaths => FIRST.saturating_mul(1 << (deaths - 1).min(16)).min(LONGEST),
        };
        self.deaths = self.deaths.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_the_wait_is_capped() {
        let mut backoff = Backoff::default();
        let mut after = |seconds| backoff.after(Duration::from_secs(seconds)).as_millis();
        assert_eq!([0; 9].map(&mut after), [0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!([60, 1].map(&mut after), [0, 100]);
    }
}
