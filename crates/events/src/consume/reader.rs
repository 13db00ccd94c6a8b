//! Opens a stream and reads its events.

use std::sync::Arc;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::{self, stream::Stream};
use async_nats::{Client, HeaderMap, datetime};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::error::Error;
use super::feed::{Feed, Range, pending};
use super::filter::{Filter, Selection, prefixes};
use super::outline::Outline;
use super::payloads::{Payloads, json};
use super::stored::StoredEvent;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes after [`Reader::open`].
    New,
    /// With the oldest that the stream has.
    Oldest,
    /// With what the stream took at this time or later.
    At(Timestamp),
    /// With this sequence.
    Sequence(u64),
    /// With so many before the end, counting only what is wanted.
    Last(u64),
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Query {
    /// Where to begin.
    pub start: Start,
    /// Ends before the first event that the stream took at this time or later.
    pub until: Option<Timestamp>,
    /// Goes on with what comes. Otherwise the end is what was in the stream at [`Reader::open`].
    pub follow: bool,
    /// What is wanted.
    pub filter: Filter,
}

/// A stream of events.
#[derive(Debug)]
pub struct Reader {
    pub(super) stream: Stream,
    payloads: Arc<Payloads>,
    prefixes: Vec<String>,
    trusted: OnceCell<bool>,
}

impl Reader {
    /// Opens a stream.
    ///
    /// # Errors
    /// [`Error::NoStream`] when it is not there or may not be seen.
    pub async fn open(client: Client, stream: &str) -> Result<Self, Error> {
        let context = jetstream::new(client);
        let stream = context
            .get_stream(stream)
            .await
            .map_err(|error| Error::NoStream { stream: stream.to_owned(), cause: error.to_string() })?;
        let prefixes = prefixes(&stream.cached_info().config.subjects);
        Ok(Self { stream, payloads: Arc::new(Payloads::new(context)), prefixes, trusted: OnceCell::new() })
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.stream.cached_info().config.name
    }

    /// Fetches payloads.
    pub const fn payloads(&self) -> &Arc<Payloads> {
        &self.payloads
    }

    /// The first and the last sequence at the time of [`Reader::open`].
    pub fn bounds(&self) -> (u64, u64) {
        let state = &self.stream.cached_info().state;
        (state.first_sequence, state.last_sequence)
    }

    /// Begins to read.
    ///
    /// # Errors
    /// [`Error::Read`] when JetStream does not let us.
    pub async fn read(&self, query: &Query) -> Result<Events<'_>, Error> {
        let (_, last) = self.bounds();
        let start = match query.start {
            Start::New => by_sequence(last + 1),
            Start::Oldest => DeliverPolicy::All,
            Start::Sequence(sequence) => by_sequence(sequence),
            Start::Last(count) => by_sequence(self.start_of_last(count, &query.filter).await?),
            Start::At(time) => by_time(time),
        };
        let end = (!query.follow).then_some(last);
        let events = self.events(query.filter.clone(), start, end, false).await?;
        Ok(Events { until: query.until, ..events })
    }

    /// What of a filter the server can decide.
    pub(super) async fn selection(&self, filter: &Filter) -> Result<Selection, Error> {
        let selection = filter.selection(&self.prefixes);
        if selection.subjects.is_empty() || *self.trusted.get_or_try_init(|| self.has_only_events()).await? {
            return Ok(selection);
        }
        Ok(filter.selection(&[]))
    }

    /// Whether every subject in the stream is one of the prefixes and four names. A stream on `github.acme.>` has its
    /// prefix before the owner, one on `replayed.>` may have it behind `replayed`: there, a filter on the subject
    /// would miss events, and of an empty stream nobody knows.
    async fn has_only_events(&self) -> Result<bool, Error> {
        let events: Vec<String> = self.prefixes.iter().map(|prefix| format!("{prefix}.*.*.*.*")).collect();
        let all = pending(&self.stream, &[], 1).await?;
        Ok(all > 0 && all == pending(&self.stream, &events, 1).await?)
    }

    pub(super) async fn events(
        &self,
        filter: Filter,
        start: DeliverPolicy,
        end: Option<u64>,
        headers_only: bool,
    ) -> Result<Events<'_>, Error> {
        let Selection { subjects, .. } = self.selection(&filter).await?;
        let range = Range { subjects, start, end, headers_only };
        let feed = Feed::open(self.stream.clone(), range).await?;
        Ok(Events { reader: self, feed, filter, until: None, silent: false })
    }

    /// The event at a sequence.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub async fn at(&self, sequence: u64) -> Result<StoredEvent, Error> {
        let not_found = || Error::NotFound { wanted: format!("#{sequence}"), stream: self.name().to_owned() };
        let message = self.stream.get_raw_message(sequence).await.map_err(|error| {
            use async_nats::jetstream::stream::RawMessageErrorKind;
            match error.kind() {
                RawMessageErrorKind::NoMessageFound => not_found(),
                _ => Error::Read { stream: self.name().to_owned(), cause: error.to_string() },
            }
        })?;
        let nanoseconds = message.time.unix_timestamp_nanos();
        stored(sequence, nanoseconds, &message.subject, Some(&message.headers), message.payload)
            .ok_or_else(not_found)
    }

    /// The login of who caused the event. Reads the payload.
    async fn sender(&self, event: &StoredEvent) -> Result<Option<String>, Error> {
        let body = self.payloads.body(event).await?;
        let json = json(event, &body)?;
        Ok(Outline::of(&json).and_then(|outline| outline.sender().map(str::to_owned)))
    }
}

/// Events, one after the other.
pub struct Events<'a> {
    reader: &'a Reader,
    feed: Feed,
    filter: Filter,
    until: Option<Timestamp>,
    silent: bool,
}

impl Events<'_> {
    /// Says nothing of events that are left out: another reading will.
    pub(super) fn in_silence(self) -> Self {
        Self { silent: true, ..self }
    }

    /// How many events are to come at most, as far as that could be told in the beginning.
    pub const fn expected(&self) -> u64 {
        self.feed.expected()
    }

    /// The next event that is wanted; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Read`] when JetStream stays away.
    pub async fn next(&mut self) -> Result<Option<StoredEvent>, Error> {
        while let Some((sequence, message)) = self.feed.next().await? {
            let Ok(nanoseconds) = message.info().map(|info| info.published.unix_timestamp_nanos()) else {
                continue;
            };
            let message = message.message;
            let headers = message.headers.as_ref();
            let Some(event) = stored(sequence, nanoseconds, &message.subject, headers, message.payload)
            else {
                tracing::debug!(sequence, subject = %message.subject, "not an event of GitHub's");
                continue;
            };
            if self.until.is_some_and(|until| event.time >= until) {
                return Ok(None);
            }
            if !self.filter.matches_names(&event.names) {
                continue;
            }
            if self.filter.asks_for_sender() {
                match self.reader.sender(&event).await {
                    Ok(sender) if self.filter.matches_sender(sender.as_deref()) => {}
                    Ok(_) => continue,
                    Err(error) => {
                        if !self.silent {
                            tracing::warn!(sequence, %error, "left out: its sender is not known");
                        }
                        continue;
                    }
                }
            }
            return Ok(Some(event));
        }
        Ok(None)
    }

    /// Ends reading. Without it, the server notices by itself after a while.
    pub async fn close(self) {
        self.feed.close().await;
    }
}

pub(super) const fn by_sequence(start_sequence: u64) -> DeliverPolicy {
    let start_sequence = if start_sequence == 0 { 1 } else { start_sequence };
    DeliverPolicy::ByStartSequence { start_sequence }
}

fn by_time(time: Timestamp) -> DeliverPolicy {
    // Every time that jiff can hold, the other type can hold too.
    datetime::from_nanos(time.as_nanosecond())
        .map_or(DeliverPolicy::All, |start_time| DeliverPolicy::ByStartTime { start_time })
}

fn stored(
    sequence: u64,
    nanoseconds: i128,
    subject: &str,
    headers: Option<&HeaderMap>,
    body: Bytes,
) -> Option<StoredEvent> {
    let time = Timestamp::from_nanosecond(nanoseconds).ok()?;
    StoredEvent::new(sequence, time, subject, headers, body)
}
