//! Times in the form that the state keeps them.

/// Milliseconds since 1970.
pub fn now() -> u64 {
    crate::r2::store::now()
}

/// Milliseconds since 1970, as Cloudflare writes them.
pub fn rfc3339(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    format!("{:.3}", time.unwrap_or_default())
}
