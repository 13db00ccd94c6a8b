//! Three ways to recognize a delivery that arrives again, and none, for comparison.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, context::PublishErrorKind, kv, stream};
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;

use crate::Result;
use crate::nats_server::{THREE_DAYS, events_stream};

const KEYS: &str = "DELIVERIES";
const SUBJECT: &str = "github.acme.repository.push.-";

/// How deliveries are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Not at all: what storing alone costs
    None,
    /// The stream's duplicate window of three days, by Nats-Msg-Id
    Window,
    /// A key per delivery, created in a bucket that forgets after three days, then the publish
    KeyValue,
    /// A subject per delivery that must not have a message yet
    Subject,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Window => "duplicate window, 3 days",
            Self::KeyValue => "key per delivery, then publish",
            Self::Subject => "subject per delivery",
        })
    }
}

/// A way, ready to publish.
#[derive(Clone)]
pub struct Publisher {
    way: Way,
    context: jetstream::Context,
    keys: Option<kv::Store>,
}

impl Publisher {
    /// Creates what the way needs on an empty server.
    pub async fn create(way: Way, context: &jetstream::Context) -> Result<()> {
        // Two minutes is the server's own window; without message ids it holds nothing.
        let window = if way == Way::Window { THREE_DAYS } else { Duration::from_secs(120) };
        context.create_stream(events_stream("github.>", window)).await?;
        if way == Way::KeyValue {
            let bucket = kv::Config {
                bucket: KEYS.to_owned(),
                max_age: THREE_DAYS,
                storage: stream::StorageType::File,
                ..kv::Config::default()
            };
            context.create_key_value(bucket).await?;
        }
        Ok(())
    }

    /// A publisher on this connection.
    pub async fn open(way: Way, context: jetstream::Context) -> Result<Self> {
        let keys = match way {
            Way::KeyValue => Some(context.get_key_value(KEYS).await?),
            _ => None,
        };
        Ok(Self { way, context, keys })
    }

    /// Publishes a delivery; `true` when it was recognized as one that is there already.
    pub async fn publish(&self, delivery: &str, payload: Bytes) -> Result<bool> {
        let mut headers = HeaderMap::new();
        headers.insert("X-GitHub-Delivery", delivery);
        match self.way {
            Way::None => {}
            Way::Window => headers.insert("Nats-Msg-Id", delivery),
            Way::KeyValue => {
                if let Some(keys) = &self.keys {
                    match keys.create(delivery, Bytes::new()).await {
                        Ok(_) => {}
                        Err(error) if error.kind() == kv::CreateErrorKind::AlreadyExists => return Ok(true),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Way::Subject => {
                headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
                let subject = format!("{SUBJECT}.{delivery}");
                let publish = self.context.publish_with_headers(subject, headers, payload).await?;
                return match publish.await {
                    Ok(_) => Ok(false),
                    Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(true),
                    Err(error) => Err(error.into()),
                };
            }
        }
        let ack = self.context.publish_with_headers(SUBJECT, headers, payload).await?.await?;
        Ok(ack.duplicate)
    }
}
