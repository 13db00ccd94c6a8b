//! Points in time as people write them: how long ago, or when.

use jiff::{Span, Timestamp, ZonedDateTime, civil};

const FORMS: &str = "write how long ago (90s, 15m, 1h30m, 2 days) or when (2026-01-31T18:00:00Z, 2026-01-31 18:00, 2026-01-31, 18:00)";

/// Reads a point in time, for clap.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, &ZonedDateTime::now())
}

/// Times without an offset are local: in the time zone of `now`.
fn parse_at(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let zone = now.time_zone();
    let local = text.parse::<civil::DateTime>().ok().or_else(|| {
        let time = text.parse::<civil::Time>().ok()?;
        // Digits alone are more likely a forgotten unit than a time of day.
        text.contains(':').then(|| now.date().to_datetime(time))
    });
    if let Some(local) = local {
        return local
            .to_zoned_datetime(zone.clone())
            .map(|zoned| zoned.timestamp())
            .map_err(|_| FORMS.to_owned());
    }
    let span: Span = text.parse().map_err(|_| FORMS.to_owned())?;
    now.checked_sub(span.abs())
        .map(|zoned| zoned.timestamp())
        .map_err(|_| "that is before all time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::{TimeZone, offset};

    #[test]
    fn times_are_read_in_every_form() {
        let now = "2026-03-01T12:00:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .to_zoned_datetime(TimeZone::fixed(offset(2)));
        for (text, expected) in [
            ("90s", "2026-03-01T11:58:30Z"),
            ("15m", "2026-03-01T11:45:00Z"),
            ("1h", "2026-03-01T11:00:00Z"),
            ("1h30m", "2026-03-01T10:30:00Z"),
            ("1 hour 30 minutes", "2026-03-01T10:30:00Z"),
            ("1h ago", "2026-03-01T11:00:00Z"),
            ("2 days", "2026-02-27T12:00:00Z"),
            ("3d", "2026-02-26T12:00:00Z"),
            ("PT1H", "2026-03-01T11:00:00Z"),
            ("2026-02-28T18:00:00Z", "2026-02-28T18:00:00Z"),
            ("2026-02-28T18:00:00.5+01:00", "2026-02-28T17:00:00.5Z"),
            ("2026-02-28 18:00", "2026-02-28T16:00:00Z"),
            ("2026-02-28", "2026-02-27T22:00:00Z"),
            ("08:30", "2026-03-01T06:30:00Z"),
        ] {
            let parsed = parse_at(text, &now).map(|timestamp| timestamp.to_string());
            assert_eq!(parsed, Ok(expected.to_owned()), "{text}");
        }
        for bad in ["", "soon", "1", "12", "1830", "1x", "2026-13-01", "99999999999 years"] {
            assert!(parse_at(bad, &now).is_err(), "{bad}");
        }
    }
}
