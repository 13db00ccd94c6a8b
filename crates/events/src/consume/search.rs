//! Finds events from the end of the stream backwards, which JetStream itself cannot do.

use super::error::Error;
use super::feed::{Feed, Range, pending};
use super::filter::Filter;
use super::reader::{Reader, by_sequence};
use super::stored::{StoredEvent, delivery_of};

/// How far back the first look goes, and by how much each further one goes farther.
const FIRST_LOOK: u64 = 1_000;
const GROWTH: u64 = 8;
const LONGEST_LOOK: u64 = 100_000;

impl Reader {
    /// The newest event with this delivery GUID. Reads headers only, the newest part of the stream first.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub async fn find(&self, delivery: &str) -> Result<StoredEvent, Error> {
        let (first, last) = self.bounds();
        for (low, high) in Looks::new(first, last) {
            let range =
                Range { subjects: Vec::new(), start: by_sequence(low), end: Some(high), headers_only: true };
            let mut feed = Feed::open(self.stream.clone(), range).await?;
            let mut found = None;
            while let Some((sequence, message)) = feed.next().await? {
                if message.headers.as_ref().and_then(delivery_of) == Some(delivery) {
                    found = Some(sequence);
                }
            }
            feed.close().await;
            if let Some(sequence) = found {
                return self.at(sequence).await;
            }
        }
        Err(Error::NotFound { wanted: delivery.to_owned(), stream: self.name().to_owned() })
    }

    /// The sequence with which the last `count` wanted events begin.
    pub(super) async fn start_of_last(&self, count: u64, filter: &Filter) -> Result<u64, Error> {
        let (first, last) = self.bounds();
        if count == 0 || last == 0 {
            return Ok(last + 1);
        }
        let selection = self.selection(filter).await?;
        // What the server lets through may be more than what is wanted: then go farther back until it is enough.
        let mut enough = count;
        loop {
            let start = self.last_with(enough, &selection.subjects, first, last).await?;
            if selection.exact {
                return Ok(start);
            }
            let mut sequences = Vec::new();
            let headers_only = !filter.asks_for_sender();
            let mut events =
                self.events(filter.clone(), by_sequence(start), Some(last), headers_only).await?.in_silence();
            while let Some(event) = events.next().await? {
                sequences.push(event.sequence);
            }
            events.close().await;
            let surplus = sequences.len().checked_sub(usize::try_from(count).unwrap_or(usize::MAX));
            if let Some(sequence) = surplus.and_then(|surplus| sequences.get(surplus)) {
                return Ok(*sequence);
            }
            if start <= first {
                return Ok(first);
            }
            enough = enough.saturating_mul(GROWTH);
        }
    }

    /// The highest sequence from which on there are so many messages; the first where there are fewer.
    async fn last_with(&self, count: u64, subjects: &[String], first: u64, last: u64) -> Result<u64, Error> {
        let (mut low, mut high) = (first, last + 1);
        if subjects.is_empty() {
            // Where nothing was deleted, sequences count messages.
            let guess = last.saturating_sub(count - 1).max(first);
            if guess == first || pending(&self.stream, subjects, guess).await? >= count {
                return Ok(guess);
            }
            high = guess;
        }
        // From `low` on there are enough (or it is the first); from `high` on there are not.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if pending(&self.stream, subjects, middle).await? >= count {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Ranges of sequences, newest first, each longer than the one before.
struct Looks {
    first: u64,
    high: u64,
    length: u64,
}

impl Looks {
    const fn new(first: u64, last: u64) -> Self {
        Self { first, high: last, length: FIRST_LOOK }
    }
}

impl Iterator for Looks {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.high == 0 || self.high < self.first {
            return None;
        }
        let high = self.high;
        let low = high.saturating_sub(self.length - 1).max(self.first).max(1);
        self.high = low - 1;
        self.length = (self.length * GROWTH).min(LONGEST_LOOK);
        Some((low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_cover_the_stream_once_from_its_end() {
        for (first, last) in [(1, 1), (5, 2_500), (1, 250_000), (1_000, 1_999), (7, 1_006)] {
            let mut next = last;
            for (low, high) in Looks::new(first, last) {
                assert_eq!(high, next);
                assert!(low <= high && low >= first);
                next = low - 1;
            }
            assert_eq!(next, first - 1);
        }
    }

    #[test]
    fn an_empty_stream_is_not_looked_at() {
        assert_eq!(Looks::new(0, 0).next(), None);
        // All messages were deleted: the first is yet to come.
        assert_eq!(Looks::new(11, 10).next(), None);
    }
}
