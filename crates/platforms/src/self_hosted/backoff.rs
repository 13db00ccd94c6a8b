//! How long to wait before a dead part is started again.
//!
//! The first death is answered at once: most are a crash or an operator's `kill`, and each second without the part is
//! a second in which the spool fills. Deaths that follow each other wait longer and longer, up to [`LONGEST`], so
//! that a part that cannot run does not eat the machine. A part that was healthy for [`HEALTHY`] starts afresh.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
const HEALTHY: Duration = Duration::from_secs(60);

/// Counts deaths that follow each other.
#[derive(Debug, Default)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The wait after a death, given how long the part had lived.
    pub fn after(&mut self, lived: Duration) -> Duration {
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

    fn waits(lived: &[u64]) -> Vec<u128> {
        let mut backoff = Backoff::default();
        lived.iter().map(|&seconds| backoff.after(Duration::from_secs(seconds)).as_millis()).collect()
    }

    #[test]
    fn the_first_restart_is_immediate_and_the_wait_is_capped() {
        assert_eq!(waits(&[0; 9]), [0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    }

    #[test]
    fn a_minute_of_health_starts_afresh() {
        assert_eq!(waits(&[1, 1, 59, 60, 1]), [0, 100, 200, 0, 100]);
    }

    #[test]
    fn never_overflows() {
        let mut backoff = Backoff { deaths: u32::MAX };
        assert_eq!(backoff.after(Duration::ZERO), LONGEST);
        assert_eq!(backoff.after(Duration::ZERO), LONGEST);
    }
}
