//! Cloudflare's limit of requests, and the headers that speak of it. Pure: the time comes from outside.

use std::collections::HashMap;

/// Requests that Cloudflare allows a token in [`WINDOW`].
pub const LIMIT: u32 = 1200;

/// Milliseconds in which they are counted.
pub const WINDOW: u64 = 300_000;

/// The requests of each token.
#[derive(Debug, Default)]
pub struct Rate {
    /// How many are allowed in a window; `None`: as many as one likes, and the headers speak of Cloudflare's limit.
    pub limit: Option<u32>,
    counted: HashMap<String, (u64, u32)>,
}

/// Where a token stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the request is one too many.
    pub exceeded: bool,
    /// How many are allowed.
    pub limit: u32,
    /// How many are left.
    pub remaining: u32,
    /// Seconds until they are counted anew.
    pub resets_in: u64,
}

impl Rate {
    /// Nothing is counted yet.
    pub fn new(limit: Option<u32>) -> Self {
        Self { limit, counted: HashMap::new() }
    }

    /// Counts a request of a token.
    pub fn count(&mut self, token: &str, now: u64) -> Standing {
        let limit = self.limit.unwrap_or(LIMIT);
        let (begun, count) = self.counted.entry(token.to_owned()).or_insert((now, 0));
        if now >= begun.saturating_add(WINDOW) {
            (*begun, *count) = (now, 0);
        }
        let exceeded = self.limit.is_some() && *count >= limit;
        if !exceeded {
            *count = count.saturating_add(1);
        }
        let resets_in = (begun.saturating_add(WINDOW) - now).div_ceil(1000);
        Standing { exceeded, limit, remaining: limit.saturating_sub(*count), resets_in }
    }

    /// Counts anew from now on.
    pub fn forget(&mut self) {
        self.counted.clear();
    }
}

impl Standing {
    /// The value of `Ratelimit`.
    pub fn header(self) -> String {
        format!("\"default\";r={};t={}", self.remaining, self.resets_in)
    }

    /// The value of `Ratelimit-Policy`.
    pub fn policy(self) -> String {
        format!("\"default\";q={};w={}", self.limit, WINDOW / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_is_too_many_until_the_window_ends() {
        let mut rate = Rate::new(Some(2));
        assert_eq!(rate.count("a", 0).remaining, 1);
        assert!(!rate.count("a", 1000).exceeded);
        let third = rate.count("a", 2000);
        assert_eq!((third.exceeded, third.resets_in), (true, 298));
        assert_eq!(third.header(), "\"default\";r=0;t=298");
        assert_eq!(third.policy(), "\"default\";q=2;w=300");
        assert!(!rate.count("b", 2000).exceeded, "each token for itself");
        assert!(!rate.count("a", WINDOW).exceeded);
    }

    #[test]
    fn without_a_limit_the_headers_speak_of_cloudflares() {
        let mut rate = Rate::default();
        let last = (0..2000).map(|now| rate.count("a", now)).last().unwrap();
        assert_eq!((last.exceeded, last.limit, last.remaining), (false, LIMIT, 0));
    }
}
