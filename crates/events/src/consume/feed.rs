//! Messages in the stream's order, each once, for as long as anyone asks.
//!
//! This is an ordered consumer: it acknowledges nothing, lives in memory, and is made anew behind the last message
//! whenever it went quiet, was lost with its server, or skipped a number. Anew means by sequence, so that nothing
//! is missing and nothing comes twice. It is made of a plain pull consumer because the reader must know more than
//! messages: how many are to come, and whether the end was reached.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::message::Message;
use async_nats::jetstream::stream::Stream;
use futures::StreamExt;
use tokio::time::{Instant, sleep};

use super::error::Error;

/// Messages asked for at once; with payloads of half a megabyte, this bounds what waits in memory.
const BATCH: usize = 128;
const BATCH_OF_HEADERS: usize = 2_000;
/// The server says this often that it is there; twice as long without a word, and the consumer is made anew.
const HEARTBEAT: Duration = Duration::from_secs(3);
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// After this long without us, the server forgets the consumer.
const INACTIVE: Duration = Duration::from_secs(60);
/// How long to try again where there is an end in sight; without one there is no reason to stop.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// What to read.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) subjects: Vec<String>,
    pub(super) start: DeliverPolicy,
    /// The last sequence that is wanted; `None` goes on for ever.
    pub(super) end: Option<u64>,
    pub(super) headers_only: bool,
}

/// Messages of a stream.
pub(super) struct Feed {
    stream: Stream,
    range: Range,
    source: Option<Source>,
    /// The last sequence that was handed out.
    last: u64,
    done: bool,
    expected: u64,
}

struct Source {
    name: String,
    messages: pull::Stream,
    delivered: u64,
}

impl Feed {
    /// Begins to read. That it fails at all is found out here.
    pub(super) async fn open(stream: Stream, range: Range) -> Result<Self, Error> {
        let mut feed = Self { stream, range, source: None, last: 0, done: false, expected: 0 };
        feed.done = feed.range.end == Some(0);
        if !feed.done {
            let pending = feed.begin().await.map_err(|failure| failure.into_error(&feed.stream))?;
            feed.expected = pending;
        }
        Ok(feed)
    }

    /// How many messages there were to read in the beginning, as far as the server can tell.
    pub(super) const fn expected(&self) -> u64 {
        self.expected
    }

    /// The next message with its sequence; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Message)>, Error> {
        while !self.done {
            let Some(source) = self.source.as_mut() else {
                self.begin_again().await?;
                continue;
            };
            let message = match source.messages.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    tracing::debug!(%error, "the consumer is made anew");
                    self.source = None;
                    continue;
                }
                None => {
                    self.source = None;
                    continue;
                }
            };
            let (sequence, number, pending) = match message.info() {
                Ok(info) => (info.stream_sequence, info.consumer_sequence, info.pending),
                Err(error) => {
                    tracing::debug!(%error, "a message without a place in the stream");
                    self.source = None;
                    continue;
                }
            };
            if number != source.delivered + 1 {
                tracing::debug!(number, "a message is missing: the consumer is made anew");
                self.source = None;
                continue;
            }
            source.delivered = number;
            if let Some(end) = self.range.end {
                self.done = pending == 0 || sequence >= end;
                if sequence > end {
                    break;
                }
            }
            if sequence > self.last {
                self.last = sequence;
                return Ok(Some((sequence, message)));
            }
        }
        Ok(None)
    }

    /// Tells the server that it may forget the consumer. It would do so by itself, a minute later.
    pub(super) async fn close(mut self) {
        if let Some(source) = self.source.take() {
            forget(&self.stream, &source.name).await;
        }
    }

    async fn begin(&mut self) -> Result<u64, Failure> {
        let start = match self.last {
            0 => self.range.start,
            last => DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
        };
        let config = config(&self.range.subjects, start, self.range.headers_only);
        let consumer = create(&self.stream, config).await?;
        let info = consumer.cached_info();
        let (name, pending) = (info.name.clone(), info.num_pending);
        if pending == 0 && self.range.end.is_some() {
            self.done = true;
            forget(&self.stream, &name).await;
            return Ok(0);
        }
        let batch = if self.range.headers_only { BATCH_OF_HEADERS } else { BATCH };
        let messages = consumer
            .stream()
            .max_messages_per_batch(batch)
            .expires(PULL_EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| Failure(error.to_string()))?;
        self.source = Some(Source { name, messages, delivered: 0 });
        Ok(pending)
    }

    async fn begin_again(&mut self) -> Result<(), Error> {
        let mut delay = Duration::from_millis(50);
        let begun = Instant::now();
        let mut told = false;
        loop {
            let failure = match self.begin().await {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            if self.range.end.is_some() && begun.elapsed() > PATIENCE {
                return Err(failure.into_error(&self.stream));
            }
            if !told && begun.elapsed() > LONGEST_DELAY {
                tracing::warn!(cause = %failure.0, "the stream cannot be read; trying again");
                told = true;
            }
            sleep(delay).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }
}

/// How many messages there are from a sequence on.
pub(super) async fn pending(stream: &Stream, subjects: &[String], from: u64) -> Result<u64, Error> {
    let start = DeliverPolicy::ByStartSequence { start_sequence: from.max(1) };
    let consumer =
        create(stream, config(subjects, start, true)).await.map_err(|failure| failure.into_error(stream))?;
    let info = consumer.cached_info();
    forget(stream, &info.name).await;
    Ok(info.num_pending)
}

fn config(subjects: &[String], deliver_policy: DeliverPolicy, headers_only: bool) -> pull::Config {
    pull::Config {
        description: Some("windlass events".to_owned()),
        deliver_policy,
        ack_policy: AckPolicy::None,
        filter_subjects: subjects.to_vec(),
        headers_only,
        inactive_threshold: INACTIVE,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    }
}

async fn create(stream: &Stream, config: pull::Config) -> Result<Consumer<pull::Config>, Failure> {
    stream.create_consumer(config).await.map_err(|error| Failure(error.to_string()))
}

async fn forget(stream: &Stream, consumer: &str) {
    if let Err(error) = stream.delete_consumer(consumer).await {
        tracing::debug!(%error, "the consumer is left to its end");
    }
}

/// What JetStream said to the wish for a consumer.
struct Failure(String);

impl Failure {
    fn into_error(self, stream: &Stream) -> Error {
        Error::Read { stream: stream.cached_info().config.name.clone(), cause: self.0 }
    }
}
