//! The lowest layer: named objects with conditional writes, in a directory or in a bucket.
//!
//! All that is above (locks, history, encryption, migration) is built on four promises, which every store keeps:
//!
//! 1. A reader sees an object as a whole: the old one or the new one, whenever the writer or its machine dies.
//! 2. [`Condition::Absent`] and [`Condition::Is`] are decided by the store, at one instant, also between processes: of any
//!    number of takers, exactly one wins.
//! 3. What was answered with [`Put::Done`] is durable.
//! 4. An answer that got lost is looked up: a write that was refused only because its own first try had arrived is
//!    [`Put::Done`].

mod bucket;
mod conformance;
mod directory;
mod patience;
mod probed;

use crate::error::Error;
use crate::room::Room;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use std::fmt;

pub use bucket::{Bucket, Service};
pub use conformance::check;
pub use directory::Directory;
pub(crate) use directory::sync_directory;
pub use probed::{Probe, Probed, abort_at};

/// What identifies the content of an object at one time: an ETag in a bucket, a digest in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag that a store gave.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As the store gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When an object is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// In any case. Only for what a lock protects, or what nobody else writes.
    Always,
    /// Only when there is none.
    Absent,
    /// Only when it is still the one with this tag.
    Is(Tag),
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It is there, durably, under this tag.
    Done(Tag),
    /// The condition did not hold, and nothing was changed.
    Refused,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its whole key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// What identifies its content. A listing of a directory leaves it out: it would have to read every file.
    pub tag: Option<Tag>,
    /// When it was written.
    pub modified: jiff::Timestamp,
}

/// An object that is being read. A version is read to its end even when a newer one is written meanwhile.
pub struct Reading {
    /// What it is.
    pub meta: Meta,
    /// Its content, in pieces.
    pub content: BoxStream<'static, Result<Bytes, Error>>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl Reading {
    /// The first `length` bytes, or as many as there are. They stay in the content, whose first piece they are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn peek(&mut self, length: usize) -> Result<Bytes, Error> {
        let mut first = Bytes::new();
        while first.len() < length {
            let Some(more) = self.content.try_next().await? else { break };
            first = if first.is_empty() { more } else { [first, more].concat().into() };
        }
        let rest = std::mem::replace(&mut self.content, stream::empty().boxed());
        self.content = stream::iter([Ok(first.clone())]).chain(rest).boxed();
        first.truncate(length);
        Ok(first)
    }

    /// The content in one piece.
    ///
    /// # Errors
    /// When the store fails before the end.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let mut content = self.content;
        let Some(first) = content.try_next().await? else { return Ok(Bytes::new()) };
        if first.len() as u64 >= self.meta.size {
            return Ok(first);
        }
        let mut all = Room::new(self.meta.size);
        all.add(&first);
        while let Some(more) = content.try_next().await? {
            all.add(&more);
        }
        Ok(all.freeze())
    }
}

/// A store of objects. See the [module](self) for what it promises.
pub trait Blobs: Send + Sync + fmt::Debug {
    /// For people: where an object is, such as `r2://states/nats/terraform.tfstate`.
    fn place(&self, key: &str) -> String;

    /// Begins to read an object; `None` when there is none.
    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Reading>, Error>>;

    /// What an object is; `None` when there is none.
    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Meta>, Error>>;

    /// Writes an object under a condition.
    fn put<'a>(
        &'a self,
        key: &'a str,
        content: Bytes,
        condition: &'a Condition,
    ) -> BoxFuture<'a, Result<Put, Error>>;

    /// Deletes an object, with `tag` only when it is still that one. Whether it was there.
    ///
    /// S3 has no conditional delete that every service knows: in a bucket, the tag is compared just before.
    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a Tag>) -> BoxFuture<'a, Result<bool, Error>>;

    /// Every object whose key begins with `prefix`, sorted by key. A prefix is text: it may end inside of a name.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Meta>, Error>>;

    /// An object as a whole, with its tag; `None` when there is none.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<(Meta, Bytes)>, Error>> {
        async move {
            match self.read(key).await? {
                Some(reading) => {
                    let meta = reading.meta.clone();
                    Ok(Some((meta, reading.bytes().await?)))
                }
                None => Ok(None),
            }
        }
        .boxed()
    }
}
