//! Whether a call is made again, and when. Pure.
//!
//! Only what can be done twice is done again by itself. What makes something new is looked up again by whoever asked.

use std::time::Duration;

/// How often a call is made at most.
pub const ATTEMPTS: u32 = 6;
/// The longest that is waited for one more attempt. A token that is blocked is so for five minutes; a person should know
/// that instead of waiting for it.
pub const LONGEST: Duration = Duration::from_secs(30);
const FIRST: Duration = Duration::from_millis(250);

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, with its status and how long it asks us to wait, in seconds.
    Answered(u16, Option<u64>),
    /// No answer, and nothing can have been done: the connection was refused.
    NotSent,
    /// No answer, and nobody knows what was done.
    Lost,
}

/// After how long the call is made again; `None` when it is not. `attempt` counts from 1; `jitter` is between 0 and 1.
#[must_use]
pub fn again(idempotent: bool, outcome: Outcome, attempt: u32, jitter: f64) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let back_off = FIRST
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(LONGEST)
        .mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    match outcome {
        // It was refused before it was looked at.
        Outcome::Answered(429, after) => {
            let after = after.map_or(back_off, Duration::from_secs);
            (after <= LONGEST).then_some(after.max(back_off))
        }
        Outcome::Answered(500 | 502 | 503 | 504 | 520..=530, after) if idempotent => {
            let after = after.map_or(back_off, Duration::from_secs);
            (after <= LONGEST).then_some(after.max(back_off))
        }
        Outcome::NotSent => Some(back_off),
        Outcome::Lost if idempotent => Some(back_off),
        Outcome::Answered(..) | Outcome::Lost => None,
    }
}

/// How long to wait before the next call, by the header `Ratelimit`: `"default";r=50;t=30` says that 50 are left for 30
/// seconds. Nothing while a tenth is left; then the rest is spread.
#[must_use]
pub fn pause(header: &str) -> Option<Duration> {
    let value = |key: &str| {
        header.split([';', ',']).find_map(|part| part.trim().strip_prefix(key)?.trim().parse::<u64>().ok())
    };
    let (remaining, seconds) =
        (value("r=").or_else(|| value("remaining="))?, value("t=").or_else(|| value("reset="))?);
    if remaining > 20 || seconds == 0 {
        return None;
    }
    let each =
        Duration::from_secs(seconds).checked_div(u32::try_from(remaining).unwrap_or(u32::MAX).max(1))?;
    Some(each.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_done_twice_is_done_again() {
        let again = |idempotent, outcome, attempt| again(idempotent, outcome, attempt, 1.0);
        assert_eq!(again(true, Outcome::Lost, 1), Some(FIRST));
        assert_eq!(again(false, Outcome::Lost, 1), None);
        assert_eq!(again(false, Outcome::NotSent, 1), Some(FIRST));
        assert_eq!(again(true, Outcome::Answered(503, None), 2), Some(FIRST * 2));
        assert_eq!(again(false, Outcome::Answered(503, None), 2), None);
        assert_eq!(again(false, Outcome::Answered(429, Some(3)), 1), Some(Duration::from_secs(3)));
        assert_eq!(again(true, Outcome::Answered(429, Some(299)), 1), None, "a person should know");
        assert_eq!(again(true, Outcome::Answered(400, None), 1), None);
        assert_eq!(again(true, Outcome::Answered(503, None), ATTEMPTS), None);
    }

    #[test]
    fn what_is_left_is_spread() {
        assert_eq!(pause(r#""default";r=50;t=30"#), None);
        assert_eq!(pause(r#""default";r=10;t=30"#), Some(Duration::from_secs(3)));
        assert_eq!(pause(r#""default";r=0;t=300"#), Some(LONGEST));
        assert_eq!(pause("nonsense"), None);
    }
}
