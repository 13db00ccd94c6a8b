//! What workerd's R2 binding says of an object, and what is said to it. Pure.

use crate::r2::condition::{Conditions, Tag};
use crate::r2::object::{Headers, Object};
use crate::r2::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Range;

/// A request of the binding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wanted {
    /// `get`, `head`, `put`, `list`, `delete`, `createMultipartUpload`, …
    pub method: String,
    /// The key.
    pub object: Option<String>,
    /// The keys of a deletion.
    pub objects: Option<Vec<String>>,
    /// Which bytes.
    pub range: Option<Value>,
    /// The same, as a header has it.
    pub range_header: Option<String>,
    /// Only under these conditions.
    pub only_if: Option<OnlyIf>,
    /// What the client said of the object.
    pub custom_fields: Vec<Field>,
    /// HTTP headers that come back with it.
    pub http_fields: Option<HttpFields>,
    /// MD5 that the body should have, in base64.
    pub md5: Option<String>,
    /// SHA-1, in hex.
    pub sha1: Option<String>,
    /// SHA-256, in hex.
    pub sha256: Option<String>,
    /// SHA-384, in hex.
    pub sha384: Option<String>,
    /// SHA-512, in hex.
    pub sha512: Option<String>,
    /// The upload.
    pub upload_id: Option<String>,
    /// The part.
    pub part_number: Option<i32>,
    /// The parts of a completion.
    pub parts: Vec<Part>,
    /// Entries of a page.
    pub limit: Option<usize>,
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// Where the page begins.
    pub cursor: Option<String>,
    /// What rolls keys up.
    pub delimiter: Option<String>,
    /// Only keys behind this one.
    pub start_after: Option<String>,
    /// What is to be said of each: 0 for HTTP headers, 1 for metadata.
    pub include: Option<Vec<u8>>,
}

/// A name and what stands for it.
#[derive(Clone, Debug, Deserialize)]
pub struct Field {
    k: String,
    v: String,
}

/// A part of a completion.
#[derive(Clone, Debug, Deserialize)]
pub struct Part {
    /// Its entity tag.
    pub etag: String,
    /// Its number.
    pub part: i32,
}

/// HTTP headers, as the binding names them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFields {
    content_type: Option<String>,
    content_language: Option<String>,
    content_disposition: Option<String>,
    content_encoding: Option<String>,
    cache_control: Option<String>,
    cache_expiry: Option<Value>,
}

/// Conditions, as the binding has them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OnlyIf {
    etag_matches: Option<Vec<EntityTag>>,
    etag_does_not_match: Option<Vec<EntityTag>>,
    uploaded_before: Option<Value>,
    uploaded_after: Option<Value>,
    seconds_granularity: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct EntityTag {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: String,
}

/// Numbers come as numbers or as texts.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

impl EntityTag {
    fn fits(&self, etag: &str, weak: bool) -> bool {
        self.kind == "wildcard" || (self.value == etag && (weak || self.kind == "strong"))
    }
}

impl OnlyIf {
    /// Whether this object meets the conditions.
    pub fn holds(&self, object: &Object) -> bool {
        let truncated = |millis: u64| if self.seconds_granularity { millis / 1000 * 1000 } else { millis };
        let any = |tags: &[EntityTag], weak| tags.iter().any(|tag| tag.fits(&object.etag, weak));
        let modified = truncated(object.modified);
        let matches = self.etag_matches.as_ref().map(|tags| any(tags, false));
        let differs = self.etag_does_not_match.as_ref().map(|tags| !any(tags, true));
        let after = self.uploaded_after.as_ref().and_then(number).map(truncated);
        let before = self.uploaded_before.as_ref().and_then(number).map(truncated);
        matches.unwrap_or(true)
            && differs.unwrap_or(true)
            && (after.is_none_or(|after| after < modified) || differs == Some(true))
            && (before.is_none_or(|before| modified < before) || matches == Some(true))
    }

    /// The conditions of a write, which the store checks under the key's lock. `current` is the tag of what is there
    /// now: of several tags, the store gets the one that decides.
    pub fn for_write(&self, current: Option<&str>) -> Conditions {
        let tag = |tags: &Option<Vec<EntityTag>>, weak: bool| {
            let tags = tags.as_ref()?;
            if tags.iter().any(|tag| tag.kind == "wildcard") {
                return Some(Tag::Any);
            }
            let fits = |tag: &&EntityTag| current.is_some_and(|etag| tag.fits(etag, weak));
            let tag = tags.iter().find(fits).or(tags.first())?;
            Some(Tag::Exactly(tag.value.clone()))
        };
        let seconds = |value: &Option<Value>| value.as_ref().and_then(number).map(|millis| millis / 1000);
        Conditions {
            if_match: tag(&self.etag_matches, false),
            if_none_match: tag(&self.etag_does_not_match, true),
            if_modified_since: seconds(&self.uploaded_after),
            if_unmodified_since: seconds(&self.uploaded_before),
        }
    }
}

impl Wanted {
    /// The HTTP headers to keep.
    pub fn headers(&self) -> Headers {
        let fields = self.http_fields.clone().unwrap_or_default();
        Headers {
            content_type: fields.content_type,
            content_language: fields.content_language,
            content_disposition: fields.content_disposition,
            content_encoding: fields.content_encoding,
            cache_control: fields.cache_control,
            expires: fields.cache_expiry.as_ref().and_then(number),
            storage_class: None,
        }
    }

    /// The metadata to keep.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.custom_fields.iter().map(|field| (field.k.clone(), field.v.clone())).collect()
    }

    /// The bytes that are wanted of an object.
    pub fn bytes(&self, size: u64) -> Result<Range<u64>, Refusal> {
        if let Some(header) = &self.range_header {
            // What is no range is no wish, as RFC 9110 has it.
            return Ok(header_range(header, size).unwrap_or(0..size));
        }
        let Some(range) = &self.range else { return Ok(0..size) };
        let part = |name: &str| number(&range[name]);
        if let Some(suffix) = part("suffix") {
            return if suffix == 0 {
                Err(Refusal::InvalidRange)
            } else {
                Ok(size.saturating_sub(suffix)..size)
            };
        }
        let offset = part("offset").unwrap_or(0);
        let length = part("length").unwrap_or(size.saturating_sub(offset));
        if offset > size || length == 0 && size > 0 {
            return Err(Refusal::InvalidRange);
        }
        Ok(offset..offset.saturating_add(length).min(size))
    }

    /// Refuses a body that has another hash than was said.
    pub fn check_hashes(&self, md5: &[u8], body: &[u8]) -> Result<(), Refusal> {
        use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
        let bad = |name: &'static str| Refusal::BadDigest(name.into());
        if let Some(said) = &self.md5
            && STANDARD.decode(said).ok().as_deref() != Some(md5)
        {
            return Err(bad("MD5 checksum"));
        }
        for (name, said, algorithm) in [
            ("SHA-1 checksum", &self.sha1, &SHA1_FOR_LEGACY_USE_ONLY),
            ("SHA-256 checksum", &self.sha256, &SHA256),
            ("SHA-384 checksum", &self.sha384, &SHA384),
            ("SHA-512 checksum", &self.sha512, &SHA512),
        ] {
            if let Some(said) = said
                && !said.eq_ignore_ascii_case(&hex::encode(digest(algorithm, body)))
            {
                return Err(bad(name));
            }
        }
        Ok(())
    }
}

/// The one range of a `Range` header.
fn header_range(header: &str, size: u64) -> Option<Range<u64>> {
    let (from, to) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    match (from.trim(), to.trim()) {
        ("", suffix) => Some(size.saturating_sub(suffix.parse().ok()?)..size),
        (from, "") => Some(from.parse().ok().filter(|from| *from < size)?..size),
        (from, to) => {
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to && from < size).then(|| from..to.saturating_add(1).min(size))
        }
    }
}

/// An object as the binding takes it, with the range of its bytes that follow.
pub fn described(object: &Object, range: Option<Range<u64>>, http: bool, custom: bool) -> Value {
    let headers = &object.headers;
    let mut fields = Map::new();
    if http {
        for (name, value) in [
            ("contentType", &headers.content_type),
            ("contentLanguage", &headers.content_language),
            ("contentDisposition", &headers.content_disposition),
            ("contentEncoding", &headers.content_encoding),
            ("cacheControl", &headers.cache_control),
        ] {
            fields.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        fields.extend(headers.expires.map(|end| ("cacheExpiry".to_owned(), json!(end))));
    }
    let metadata = object.metadata.iter().filter(|_| custom);
    let metadata: Vec<_> = metadata.map(|(name, value)| json!({ "k": name, "v": value })).collect();
    let mut checksums = Map::new();
    if object.etag.len() == 32 && object.customer_key_md5.is_none() {
        checksums.insert("0".into(), json!(object.etag));
    }
    let mut value = json!({
        "name": object.key,
        "version": format!("{:012x}{}", object.modified, object.etag.get(..20).unwrap_or(&object.etag)),
        "size": object.size,
        "etag": object.etag,
        "uploaded": object.modified,
        "httpFields": fields,
        "customFields": metadata,
        "checksums": checksums,
    });
    if let Some(range) = range {
        value["range"] = json!({ "offset": range.start, "length": range.end - range.start });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r2::object::Checksums;

    fn wanted(value: Value) -> Wanted {
        serde_json::from_value(value).unwrap()
    }

    fn object(etag: &str, modified: u64) -> Object {
        Object {
            key: "k".into(),
            size: 10,
            etag: etag.into(),
            modified,
            headers: Headers::default(),
            metadata: BTreeMap::new(),
            checksums: Checksums::default(),
            customer_key_md5: None,
            segments: Vec::new(),
        }
    }

    #[test]
    fn ranges() {
        let of = |value: Value| wanted(value).bytes(10).ok();
        assert_eq!(of(json!({})), Some(0..10));
        assert_eq!(of(json!({ "range": { "offset": "2", "length": 3 } })), Some(2..5));
        assert_eq!(of(json!({ "range": { "suffix": 4 } })), Some(6..10));
        assert_eq!(of(json!({ "range": { "offset": 8, "length": 100 } })), Some(8..10));
        assert_eq!(of(json!({ "range": { "offset": 11 } })), None);
        assert_eq!(of(json!({ "rangeHeader": "bytes=1-2" })), Some(1..3));
        assert_eq!(of(json!({ "rangeHeader": "bytes=-3" })), Some(7..10));
        assert_eq!(of(json!({ "rangeHeader": "nonsense" })), Some(0..10));
    }

    #[test]
    fn conditions() {
        let only = |value: Value| wanted(json!({ "onlyIf": value })).only_if.unwrap();
        let tag = |etag: &str| json!([{ "type": "strong", "value": etag }]);
        assert!(only(json!({ "etagMatches": tag("a") })).holds(&object("a", 0)));
        assert!(!only(json!({ "etagMatches": tag("b") })).holds(&object("a", 0)));
        assert!(!only(json!({ "etagDoesNotMatch": [{ "type": "wildcard" }] })).holds(&object("a", 0)));
        assert!(!only(json!({ "uploadedAfter": "5000" })).holds(&object("a", 5000)));
        assert!(only(json!({ "uploadedBefore": 5001 })).holds(&object("a", 5000)));
        let create = only(json!({ "etagDoesNotMatch": [{ "type": "wildcard" }] })).for_write(None);
        assert_eq!(create.if_none_match, Some(Tag::Any));
        let either = only(json!({ "etagMatches": [
            { "type": "strong", "value": "a" }, { "type": "strong", "value": "b" }] }));
        assert_eq!(either.for_write(Some("b")).if_match, Some(Tag::Exactly("b".into())));
    }

    #[test]
    fn hashes_that_differ() {
        let said = wanted(json!({ "sha256": "00" }));
        assert!(said.check_hashes(&[], b"x").is_err());
        assert!(wanted(json!({})).check_hashes(&[], b"x").is_ok());
    }
}
