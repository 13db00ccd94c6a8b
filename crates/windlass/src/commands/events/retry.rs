//! Whether and when to try again.

use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(8);
/// A receiver may ask for more patience, but not for all of ours.
const LONGEST_WISH: Duration = Duration::from_secs(60);

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Taken,
    /// It was not, and would not be another time.
    Refused,
    /// It was not, this time.
    Again,
}

/// What an HTTP status means.
pub const fn judge(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Taken,
        408 | 425 | 429 | 500..=599 => Verdict::Again,
        _ => Verdict::Refused,
    }
}

/// How long to wait after so many attempts; `wish` is the receiver's own.
pub fn delay(attempts: u32, wish: Option<Duration>) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    doubled.min(LONGEST_DELAY).max(wish.unwrap_or_default().min(LONGEST_WISH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_judged() {
        for (status, verdict) in [
            (200, Verdict::Taken),
            (202, Verdict::Taken),
            (301, Verdict::Refused),
            (401, Verdict::Refused),
            (408, Verdict::Again),
            (413, Verdict::Refused),
            (429, Verdict::Again),
            (500, Verdict::Again),
            (503, Verdict::Again),
        ] {
            assert_eq!(judge(status), verdict, "{status}");
        }
    }

    #[test]
    fn delays_double_and_are_bounded() {
        let milliseconds: Vec<u128> = (1..=7).map(|attempts| delay(attempts, None).as_millis()).collect();
        assert_eq!(milliseconds, [250, 500, 1000, 2000, 4000, 8000, 8000]);
        assert_eq!(delay(1, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(delay(1, Some(Duration::from_secs(3_600))), LONGEST_WISH);
        assert_eq!(delay(u32::MAX, None), LONGEST_DELAY);
    }
}
