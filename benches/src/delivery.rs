//! Delivery GUIDs: distinct, random-looking, and known again from their number.
//!
//! GitHub's GUIDs share no long prefix, and what a server pays to remember them depends on that. So a counter
//! goes through a bijective mixer: never the same GUID twice, no state but the counter, and the n-th delivery can
//! be sent again by its number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The length of a GUID as text.
pub const GUID_LENGTH: usize = 36;

/// The deliveries of one run.
pub struct Deliveries {
    seed: u64,
    next: AtomicU64,
}

impl Deliveries {
    /// Deliveries that no other run has made.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::seeded(u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap_or_default())
    }

    /// Deliveries that are the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    /// The next delivery's number and GUID.
    pub fn next(&self) -> (u64, [u8; GUID_LENGTH]) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, self.guid(number))
    }

    /// The GUID of the delivery with this number.
    pub fn guid(&self, number: u64) -> [u8; GUID_LENGTH] {
        let high = mix(self.seed.wrapping_add(number));
        let low = mix(high ^ self.seed);
        let mut digits = [0; 32];
        let bytes: [u8; 16] = ((u128::from(high) << 64) | u128::from(low)).to_be_bytes();
        // Sixteen bytes are thirty-two digits: this cannot fail.
        let _ = hex::encode_to_slice(bytes, &mut digits);
        let mut guid = [b'-'; GUID_LENGTH];
        for (from, to, length) in [(0, 0, 8), (8, 9, 4), (12, 14, 4), (16, 19, 4), (20, 24, 12)] {
            guid[to..to + length].copy_from_slice(&digits[from..from + length]);
        }
        guid
    }
}

/// A GUID as text.
pub fn text(guid: &[u8; GUID_LENGTH]) -> &str {
    std::str::from_utf8(guid).unwrap_or_default()
}

/// The finalizer of SplitMix64: every output belongs to exactly one input.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn guids_are_distinct_and_known_again() {
        let deliveries = Deliveries::seeded(7);
        let mut seen = HashSet::new();
        for number in 0..10_000 {
            let (drawn, guid) = deliveries.next();
            assert_eq!(drawn, number);
            assert_eq!(guid, deliveries.guid(number));
            assert!(seen.insert(guid));
        }
    }

    #[test]
    fn guids_have_the_usual_form() {
        let guid = Deliveries::seeded(1).guid(3);
        let parts: Vec<usize> = text(&guid).split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(text(&guid).chars().all(|c| c == '-' || c.is_ascii_hexdigit()));
    }
}
