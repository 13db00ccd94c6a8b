//! Durations: `"30d"`, `"2m"`, `"1h30m"`, `"250ms"`.

use super::{Invalid, as_text};
use crate::code;
use crate::suggest::echo;
use crate::value::Text;
use std::time::Duration;

/// A length of time in whole milliseconds. NATS counts nanoseconds in signed 64 bits, so the longest is 292 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(u64);

const MOST: u64 = i64::MAX as u64 / 1_000_000;

/// From long to short: `w` is read but not written, since a month of `30d` is easier to see than `4w2d`.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Period {
    /// The longest there can be.
    pub const MAX: Self = Self(MOST);

    /// As many milliseconds, cut to [`MAX`](Self::MAX).
    #[must_use]
    pub const fn millis(count: u64) -> Self {
        Self(if count > MOST { MOST } else { count })
    }

    /// As many seconds, cut to [`MAX`](Self::MAX).
    #[must_use]
    pub const fn seconds(count: u64) -> Self {
        Self::millis(count.saturating_mul(1_000))
    }

    /// As many days, cut to [`MAX`](Self::MAX).
    #[must_use]
    pub const fn days(count: u64) -> Self {
        Self::millis(count.saturating_mul(86_400_000))
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.duration()
    }
}

impl Text for Period {
    const WHAT: &'static str = "a duration such as \"30d\"";
    const PATTERN: Option<&'static str> = Some("^(\\d+w)?(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?(\\d+ms)?$");

    fn from_text(text: &str) -> Result<Self, Invalid> {
        let wrong = |remedy: &str| {
            Err(Invalid::new(code::DURATION, format!("{} is not a duration", echo(text)), remedy))
        };
        let mut rest = text;
        let mut total: Option<u64> = Some(0);
        let mut next = 0;
        if text.is_empty() {
            return wrong("write a whole number and a unit: \"30d\", \"1h30m\", \"250ms\"");
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            match UNITS.iter().position(|(name, _)| *name == unit) {
                _ if number.is_empty() => {
                    return wrong("write a whole number and a unit: \"30d\", \"1h30m\", \"250ms\"");
                }
                None if unit.is_empty() => return wrong("add a unit: w, d, h, m, s or ms"),
                None => return wrong("the units are w, d, h, m, s and ms, after whole numbers"),
                Some(at) if at < next => return wrong("write each unit once, the longest first: \"1h30m\""),
                Some(at) => {
                    let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(UNITS[at].1));
                    total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
                    next = at + 1;
                }
            }
            rest = after;
        }
        match total.filter(|total| *total <= MOST) {
            Some(total) => Ok(Self(total)),
            None => {
                let problem = format!("{} is longer than NATS can count", echo(text));
                Err(Invalid::new(code::OUT_OF_RANGE, problem, "write a shorter one; 292 years is the most"))
            }
        }
    }

    fn to_text(&self) -> String {
        if self.0 == 0 {
            return "0s".to_owned();
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, factor) in &UNITS[1..] {
            if rest >= *factor {
                text.push_str(&format!("{}{unit}", rest / factor));
                rest %= factor;
            }
        }
        text
    }

    fn stand_in() -> Self {
        Self(1)
    }
}
as_text!(Period);

/// When the disk is asked to make written messages durable: JetStream's `sync_interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Every so often: an acknowledged message survives the server's death, not the machine's.
    Every(Period),
    /// Before each acknowledgement: it survives the machine's death too, and is slower.
    Always,
}

impl Text for Sync {
    const WHAT: &'static str = "a duration such as \"2m\", or \"always\"";
    const PATTERN: Option<&'static str> = None;

    fn from_text(text: &str) -> Result<Self, Invalid> {
        if text == "always" {
            return Ok(Self::Always);
        }
        match Period::from_text(text) {
            Ok(Period(0)) => {
                let remedy =
                    "write \"always\" to sync before each acknowledgement, or a duration such as \"2m\"";
                Err(Invalid::new(code::OUT_OF_RANGE, format!("{} is no interval", echo(text)), remedy))
            }
            Ok(period) => Ok(Self::Every(period)),
            Err(invalid) if text.eq_ignore_ascii_case("always") => {
                Err(Invalid::new(code::DURATION, invalid.problem, "did you mean \"always\"?"))
            }
            Err(Invalid { code, problem, remedy }) => {
                Err(Invalid::new(code, problem, format!("{remedy}; or write \"always\"")))
            }
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Every(period) => period.to_text(),
            Self::Always => "always".to_owned(),
        }
    }

    fn stand_in() -> Self {
        Self::Always
    }
}
as_text!(Sync);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis, again) in [
            ("30d", 30 * 86_400_000, "30d"),
            ("2m", 120_000, "2m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("250ms", 250, "250ms"),
            ("2w", 14 * 86_400_000, "14d"),
            ("1s5ms", 1_005, "1s5ms"),
            ("0s", 0, "0s"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.as_millis(), period.to_string().as_str()), (millis, again), "{text}");
            assert_eq!(period.to_string().parse(), Ok(period));
        }
        assert_eq!("always".parse(), Ok(Sync::Always));
        assert_eq!("2m".parse(), Ok(Sync::Every(Period::seconds(120))));
        assert_eq!(Period::MAX.to_string().parse(), Ok(Period::MAX));
    }

    #[test]
    fn what_is_no_duration_says_what_would_be() {
        for (text, code, remedy) in [
            ("", code::DURATION, "whole number"),
            ("d", code::DURATION, "whole number"),
            ("-1d", code::DURATION, "whole number"),
            ("30", code::DURATION, "add a unit"),
            ("30 d", code::DURATION, "the units are"),
            ("1.5h", code::DURATION, "the units are"),
            ("3 days", code::DURATION, "the units are"),
            ("30m1h", code::DURATION, "longest first"),
            ("1h1h", code::DURATION, "longest first"),
            ("999999w", code::OUT_OF_RANGE, "shorter"),
            ("99999999999999999999s", code::OUT_OF_RANGE, "shorter"),
        ] {
            let invalid = text.parse::<Period>().unwrap_err();
            assert_eq!(invalid.code, code, "{text}");
            assert!(invalid.remedy.contains(remedy), "{text}: {}", invalid.remedy);
        }
        assert_eq!("0s".parse::<Sync>().unwrap_err().code, code::OUT_OF_RANGE);
        assert!("Always".parse::<Sync>().unwrap_err().remedy.contains("\"always\""));
    }
}
