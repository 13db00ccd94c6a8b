//! Conditional requests, as RFC 9110 and R2 have them. Pure.

use super::object::Object;

/// What an entity tag is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `*`: whatever there is.
    Any,
    /// This one, without quotes.
    Exactly(String),
}

/// The conditions of one request. Times are whole seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`
    pub if_match: Option<Tag>,
    /// `If-None-Match`
    pub if_none_match: Option<Tag>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<u64>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<u64>,
}

/// What a read that has conditions comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Answer with the object.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412.
    Failed,
}

impl Tag {
    fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => wanted == etag,
        }
    }
}

impl Conditions {
    /// Whether this object may be read, in the order of RFC 9110, 13.2.2: an entity tag outweighs a date.
    pub fn read(&self, object: &Object) -> Read {
        let matched = self.if_match.as_ref().map(|tag| tag.matches(&object.etag));
        let unmodified = self.if_unmodified_since.is_none_or(|time| object.modified_seconds() <= time);
        if !matched.unwrap_or(unmodified) {
            return Read::Failed;
        }
        let differs = self.if_none_match.as_ref().map(|tag| !tag.matches(&object.etag));
        let modified = self.if_modified_since.is_none_or(|time| object.modified_seconds() > time);
        if differs.unwrap_or(modified) { Read::Proceed } else { Read::NotModified }
    }

    /// Whether a write may replace what is there now, or nothing.
    pub fn allow_write(&self, current: Option<&Object>) -> bool {
        match current {
            Some(object) => self.read(object) == Read::Proceed,
            // What is not there has no tag to match, and was not modified either.
            None => self.if_match.is_none() && self.if_unmodified_since.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r2::object::{Checksums, Headers};

    fn object(etag: &str, modified: u64) -> Object {
        Object {
            key: "k".into(),
            size: 0,
            etag: etag.into(),
            modified,
            headers: Headers::default(),
            metadata: Default::default(),
            checksums: Checksums::default(),
            customer_key_md5: None,
            segments: Vec::new(),
        }
    }

    fn tag(etag: &str) -> Option<Tag> {
        Some(Tag::Exactly(etag.into()))
    }

    #[test]
    fn create_only() {
        let conditions = Conditions { if_none_match: Some(Tag::Any), ..Conditions::default() };
        assert!(conditions.allow_write(None));
        assert!(!conditions.allow_write(Some(&object("a", 0))));
    }

    #[test]
    fn compare_and_swap() {
        let conditions = Conditions { if_match: tag("a"), ..Conditions::default() };
        assert!(conditions.allow_write(Some(&object("a", 0))));
        assert!(!conditions.allow_write(Some(&object("b", 0))));
        assert!(!conditions.allow_write(None));
    }

    #[test]
    fn reads() {
        let read = |conditions: Conditions| conditions.read(&object("a", 5_500));
        assert_eq!(read(Conditions::default()), Read::Proceed);
        assert_eq!(read(Conditions { if_none_match: tag("a"), ..Default::default() }), Read::NotModified);
        assert_eq!(read(Conditions { if_none_match: tag("b"), ..Default::default() }), Read::Proceed);
        assert_eq!(read(Conditions { if_match: tag("b"), ..Default::default() }), Read::Failed);
        assert_eq!(read(Conditions { if_modified_since: Some(5), ..Default::default() }), Read::NotModified);
        assert_eq!(read(Conditions { if_modified_since: Some(4), ..Default::default() }), Read::Proceed);
        assert_eq!(read(Conditions { if_unmodified_since: Some(4), ..Default::default() }), Read::Failed);
        assert_eq!(read(Conditions { if_unmodified_since: Some(5), ..Default::default() }), Read::Proceed);
    }

    #[test]
    fn a_tag_outweighs_a_date() {
        let conditions =
            Conditions { if_match: tag("a"), if_unmodified_since: Some(0), ..Default::default() };
        assert_eq!(conditions.read(&object("a", 9_000)), Read::Proceed);
        let conditions =
            Conditions { if_none_match: tag("b"), if_modified_since: Some(99), ..Default::default() };
        assert_eq!(conditions.read(&object("a", 9_000)), Read::Proceed);
    }
}
