//! The checks that ask someone outside.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::Finding;
use crate::output;

const CHECK: &str = "clock online";
const VARIABLE: &str = "GITHUB_API_URL";
const DEFAULT: &str = "https://api.github.com";
/// GitHub's `Date` has whole seconds, and the answer takes a moment.
const TOLERANCE: Duration = Duration::from_secs(5);

/// Compares the clock with the `Date` header of GitHub's API.
pub async fn clock() -> Finding {
    let url =
        std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT.to_owned());
    match date(&url).await {
        Ok(theirs) => judge(theirs, Timestamp::now()),
        Err(reason) => Finding::warn(
            CHECK,
            format!("{url} could not be asked: {reason}"),
            format!("check the network and proxy settings, or set {VARIABLE}"),
        ),
    }
}

async fn date(url: &str) -> Result<Timestamp, String> {
    // Only here is TLS needed, so only here is it set up. A provider that is installed already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())?;
    let answer = client.head(url).send().await.map_err(|error| innermost(&error))?;
    let date =
        answer.headers().get("date").and_then(|date| date.to_str().ok()).ok_or("the answer has no date")?;
    rfc2822::DateTimeParser::new().parse_timestamp(date).map_err(|error| error.to_string())
}

/// The last cause is the one that helps: the outer ones only say that there was an error.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

fn judge(theirs: Timestamp, ours: Timestamp) -> Finding {
    let apart = ours.duration_since(theirs);
    let distance = Duration::try_from(apart.abs()).unwrap_or(Duration::MAX);
    let direction = if apart.is_negative() { "behind" } else { "ahead of" };
    if distance > TOLERANCE {
        let message = format!("this clock is {} {direction} GitHub's", output::duration(distance));
        Finding::fail(CHECK, message, "let NTP keep the clock: `timedatectl set-ntp true`")
    } else {
        Finding::ok(CHECK, "agrees with GitHub's")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn dates_are_compared() {
        let parser = rfc2822::DateTimeParser::new();
        let theirs = parser.parse_timestamp("Tue, 24 Nov 2026 10:00:00 GMT").unwrap();
        let after = |seconds: i64| theirs + Duration::from_secs(seconds.unsigned_abs());
        assert_eq!(judge(theirs, after(1)).level, Level::Ok);
        assert_eq!(judge(theirs, after(60)).level, Level::Fail);
        assert!(judge(theirs, after(60)).message.contains("1 min 0 s ahead of"));
        assert!(judge(after(60), theirs).message.contains("behind"));
    }
}
