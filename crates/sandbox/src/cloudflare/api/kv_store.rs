//! The entries of KV namespaces, in the same kind of store as R2's objects: a bucket is a namespace.
//!
//! Workers KV is eventually consistent; here what is written is there at once.

use super::answer::Refusal;
use crate::r2::condition::Conditions;
use crate::r2::listing::{self, After, Query};
use crate::r2::object::{Checksums, Headers, Object};
use crate::r2::refusal::Refusal as R2;
use crate::r2::store::{Body, Receiving, Store};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The most bytes of a key.
pub const LONGEST_KEY: usize = 512;

/// The most bytes of a value.
pub const LARGEST_VALUE: usize = 25 * 1024 * 1024;

/// The most bytes of an entry's metadata.
pub const LARGEST_METADATA: usize = 1024;

/// The shortest time that an entry lasts, in seconds.
pub const SHORTEST_LIFE: u64 = 60;

/// The entries of all namespaces.
#[derive(Debug)]
pub struct KvStore(Store);

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Vec<u8>,
    /// What is known of it.
    pub about: About,
}

/// What is known of an entry beyond its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// When it ends, in seconds since 1970.
    pub expiration: Option<u64>,
    /// What was written beside it.
    pub metadata: Option<Value>,
}

/// A page of keys, and where the next one begins.
pub type Keys = (Vec<(String, About)>, Option<String>);

impl About {
    /// What is said beside a value: an expiration as such, or as seconds from now.
    pub fn new(
        expiration: Option<u64>,
        ttl: Option<u64>,
        metadata: Option<Value>,
        now: u64,
    ) -> Result<Self, Refusal> {
        let wrong = |why: &str| Refusal::new(400, 10033, why);
        if ttl.is_some_and(|ttl| ttl < SHORTEST_LIFE) {
            return Err(wrong("Invalid expiration_ttl. Expiration TTL must be at least 60."));
        }
        let expiration = ttl.map(|ttl| now + ttl).or(expiration);
        if expiration.is_some_and(|end| end < now + SHORTEST_LIFE) {
            return Err(wrong(
                "Invalid expiration. Expiration times must be at least 60 seconds in the future.",
            ));
        }
        if metadata.as_ref().is_some_and(|value| value.to_string().len() > LARGEST_METADATA) {
            return Err(Refusal::new(413, 10038, "metadata exceeds the limit of 1024 bytes"));
        }
        Ok(Self { expiration, metadata })
    }

    fn of(object: &Object) -> Self {
        let expiration = object.metadata.get("expiration").and_then(|text| text.parse().ok());
        let metadata = object.metadata.get("metadata").and_then(|text| serde_json::from_str(text).ok());
        Self { expiration, metadata }
    }

    fn ended(&self, now: u64) -> bool {
        self.expiration.is_some_and(|end| end <= now)
    }
}

/// Fails for a key that KV does not take.
pub fn check_key(key: &str) -> Result<(), Refusal> {
    match key {
        "" => Err(Refusal::new(400, 10033, "Key names must not be empty")),
        "." | ".." => Err(Refusal::new(400, 10033, format!("Illegal key name \"{key}\""))),
        _ if key.len() > LONGEST_KEY => {
            let text = format!("UTF-8 encoded length of {} exceeds key length limit of 512.", key.len());
            Err(Refusal::new(414, 10030, text))
        }
        _ => Ok(()),
    }
}

impl KvStore {
    /// Opens a directory.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Store::open(directory.to_owned()).map(Self)
    }

    /// Makes a namespace.
    pub fn create(&self, namespace: &str) -> Result<(), Refusal> {
        match self.0.create_bucket(namespace) {
            Ok(()) | Err(R2::BucketExists) => Ok(()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Removes a namespace with its entries.
    pub fn remove(&self, namespace: &str) -> Result<(), Refusal> {
        for key in self.0.keys(namespace, "")? {
            self.0.delete(namespace, &key)?;
        }
        Ok(self.0.delete_bucket(namespace)?)
    }

    /// Writes an entry.
    pub fn put(&self, namespace: &str, key: &str, value: &[u8], about: &About) -> Result<(), Refusal> {
        check_key(key)?;
        if value.len() > LARGEST_VALUE {
            let text = format!("Value length of {} exceeds limit of {LARGEST_VALUE}.", value.len());
            return Err(Refusal::new(413, 10047, text));
        }
        let mut metadata = BTreeMap::new();
        metadata.extend(about.expiration.map(|end| ("expiration".to_owned(), end.to_string())));
        metadata.extend(about.metadata.as_ref().map(|value| ("metadata".to_owned(), value.to_string())));
        let mut receiving = Receiving::new(self.0.draft()?, Default::default(), None)?;
        receiving.write(value)?;
        let received = receiving.finish()?;
        let object = Object {
            key: key.to_owned(),
            size: received.segment.size,
            etag: received.etag,
            modified: 0,
            headers: Headers::default(),
            metadata,
            checksums: Checksums::default(),
            customer_key_md5: None,
            segments: vec![received.segment],
        };
        self.0.commit(namespace, received.draft, object, &Conditions::default())?;
        Ok(())
    }

    /// An entry; `None` where there is none, or none any more.
    pub fn get(&self, namespace: &str, key: &str, now: u64) -> Result<Option<Entry>, Refusal> {
        check_key(key)?;
        let found = match self.0.find(namespace, key) {
            Ok(found) => found,
            Err(R2::NoSuchKey) => return Ok(None),
            Err(refusal) => return Err(refusal.into()),
        };
        let about = About::of(&found.object);
        if about.ended(now) {
            return Ok(None);
        }
        let mut body = Body::new(found.file, &found.object.segments, None, 0..found.object.size)?;
        let mut value = Vec::new();
        while let Some(bytes) = body.next_bytes()? {
            value.extend_from_slice(&bytes);
        }
        Ok(Some(Entry { value, about }))
    }

    /// Removes an entry. One that is not there is no mistake.
    pub fn delete(&self, namespace: &str, key: &str) -> Result<(), Refusal> {
        check_key(key)?;
        Ok(self.0.delete(namespace, key)?)
    }

    /// A page of keys.
    pub fn list(
        &self,
        namespace: &str,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
        now: u64,
    ) -> Result<Keys, Refusal> {
        let after = match cursor.filter(|cursor| !cursor.is_empty()) {
            None => None,
            Some(cursor) => Some(
                After::from_token(cursor)
                    .ok_or_else(|| Refusal::new(400, 10031, "The cursor is not valid."))?,
            ),
        };
        let query = Query { prefix: prefix.to_owned(), delimiter: None, after, max_keys: limit };
        let page = listing::page(&self.0.keys(namespace, prefix)?, &query);
        let mut keys = Vec::with_capacity(page.keys.len());
        for key in page.keys {
            match self.0.find(namespace, &key) {
                Ok(found) => keys.push((key, About::of(&found.object))),
                Err(R2::NoSuchKey) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        keys.retain(|(_, about)| !about.ended(now));
        Ok((keys, page.next.map(|next| next.to_token())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = KvStore::open(directory.path()).unwrap();
        let namespace = "0123456789abcdef0123456789abcdef";
        store.create(namespace).unwrap();
        let about = About::new(None, Some(60), Some(json!({ "a": 1 })), 1000).unwrap();
        store.put(namespace, "a/é", b"x", &about).unwrap();
        let found = store.get(namespace, "a/é", 1059).unwrap().unwrap();
        assert_eq!((found.value.as_slice(), found.about), (b"x".as_slice(), about));
        assert_eq!(store.get(namespace, "a/é", 1060).unwrap(), None);
        assert_eq!(store.list(namespace, "a/", None, 10, 1059).unwrap().0.len(), 1);
        assert!(store.list(namespace, "", None, 10, 1060).unwrap().0.is_empty());
        assert!(store.put(namespace, "..", b"x", &About::default()).is_err());
        assert!(About::new(Some(1059), None, None, 1000).is_err());
        store.remove(namespace).unwrap();
        assert_eq!(store.get(namespace, "b", 0).unwrap_err().code, 10006);
    }
}
