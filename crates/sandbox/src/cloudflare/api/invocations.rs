//! What the Workers did, counted by the minute, for the analytics. It is in memory: a stand-in that starts again begins
//! at nothing.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Minutes that are kept: a day.
const KEPT: u64 = 24 * 60;

/// The requests that Workers answered.
#[derive(Debug, Default)]
pub struct Invocations {
    by: Mutex<BTreeMap<(u64, String, &'static str), Count>>,
}

/// Requests of a Worker in a minute that came to the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub requests: u64,
    /// Microseconds that they took, in sum.
    pub micros: u64,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Milliseconds since 1970 at which the minute began.
    pub minute: u64,
    /// The Worker.
    pub script: String,
    /// `success`, `scriptThrewException`, `clientDisconnected`.
    pub status: &'static str,
    /// What was counted.
    pub count: Count,
}

impl Invocations {
    /// Counts a request.
    pub fn count(&self, script: &str, status: &'static str, micros: u64, now: u64) {
        let minute = now / 60_000;
        let mut by = self.by.lock();
        let count = by.entry((minute, script.to_owned(), status)).or_default();
        count.requests += 1;
        count.micros = count.micros.saturating_add(micros);
        while let Some((key, _)) = by.first_key_value()
            && key.0 + KEPT < minute
        {
            by.pop_first();
        }
    }

    /// What was counted.
    pub fn rows(&self) -> Vec<Row> {
        let by = self.by.lock();
        let rows = by.iter().map(|((minute, script, status), count)| Row {
            minute: minute * 60_000,
            script: script.clone(),
            status,
            count: *count,
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_minute_for_a_day() {
        let invocations = Invocations::default();
        for now in [0, 59_999, 60_000] {
            invocations.count("a", "success", 5, now);
        }
        let rows = invocations.rows();
        assert_eq!((rows.len(), rows[0].count), (2, Count { requests: 2, micros: 10 }));
        invocations.count("a", "success", 5, (KEPT + 1) * 60_000);
        assert_eq!(invocations.rows().len(), 2, "the oldest is forgotten");
    }
}
