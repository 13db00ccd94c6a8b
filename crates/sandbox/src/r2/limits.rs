//! R2's limit of one write a second to one key. Pure: the time comes from outside.
//!
//! What counts is a write that was let through; deleting is no write. R2 says no more about it than "one a second".

use std::collections::HashMap;

/// When each key was last written, in milliseconds of any clock.
#[derive(Debug, Default)]
pub struct Writes {
    last: HashMap<String, u64>,
}

impl Writes {
    /// Whether `key` may be written now, when one write each `interval` milliseconds is allowed.
    pub fn may(&self, key: &str, now: u64, interval: u64) -> bool {
        self.last.get(key).is_none_or(|last| now >= last.saturating_add(interval))
    }

    /// Notes that `key` was written.
    pub fn record(&mut self, key: &str, now: u64, interval: u64) {
        // What is past is forgotten when it becomes much.
        if self.last.len() >= 10_000 {
            self.last.retain(|_, last| now < last.saturating_add(interval));
        }
        self.last.insert(key.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_for_each_key() {
        let mut writes = Writes::default();
        assert!(writes.may("a", 0, 1000));
        writes.record("a", 0, 1000);
        assert!(!writes.may("a", 999, 1000));
        assert!(writes.may("b", 999, 1000));
        assert!(writes.may("a", 1000, 1000));
    }
}
