//! Between `s3s`'s types and the core's. Pure.

use crate::r2::condition::{Conditions, Tag};
use crate::r2::object::{Headers, Object};
use crate::r2::refusal::Refusal;
use crate::r2::store::{PartRecord, Upload};
use http::{HeaderMap, HeaderValue};
use s3s::S3Error;
use s3s::dto::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range as Bytes;
use std::time::{Duration, UNIX_EPOCH};

/// The headers and the metadata of an input that has them.
macro_rules! headers_of {
    ($input:ident) => {
        (
            $crate::r2::object::Headers {
                content_type: $input.content_type.clone().map(String::from),
                cache_control: $input.cache_control.clone(),
                content_disposition: $input.content_disposition.clone(),
                content_encoding: $input.content_encoding.as_deref().and_then(convert::encoding),
                content_language: $input.content_language.clone(),
                expires: $input.expires.as_ref().and_then(convert::millis),
                storage_class: convert::storage_class($input.storage_class.as_ref())?,
            },
            $input
                .metadata
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect::<std::collections::BTreeMap<String, String>>(),
        )
    };
}
pub(super) use headers_of;

/// The customer's key of an input that may have one.
macro_rules! key_of {
    ($input:ident) => {
        $crate::r2::sealing::CustomerKey::from_headers(
            $input.sse_customer_algorithm.as_deref(),
            $input.sse_customer_key.as_deref(),
            $input.sse_customer_key_md5.as_deref(),
        )
    };
}
pub(super) use key_of;

/// The conditions of a read.
pub fn read_conditions(headers: &HeaderMap) -> Result<Conditions, Refusal> {
    write_conditions(headers, "if-")
}

/// The conditions in the headers that begin so. They are read here because R2 has more of them than S3.
pub fn write_conditions(headers: &HeaderMap, prefix: &str) -> Result<Conditions, Refusal> {
    let text = |name: &str| match headers.get(format!("{prefix}{name}")) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(Refusal::InvalidArgument(format!("{prefix}{name} is not text.").into())),
        },
    };
    let tag = |name: &str| -> Result<Option<Tag>, Refusal> { Ok(text(name)?.map(parse_tag)) };
    // RFC 9110: a date that cannot be read is no condition.
    let time = |name: &str| -> Result<Option<u64>, Refusal> {
        Ok(text(name)?.and_then(|text| {
            Timestamp::parse(TimestampFormat::HttpDate, text)
                .ok()
                .as_ref()
                .and_then(millis)
                .map(|ms| ms / 1000)
        }))
    };
    Ok(Conditions {
        if_match: tag("match")?,
        if_none_match: tag("none-match")?,
        if_modified_since: time("modified-since")?,
        if_unmodified_since: time("unmodified-since")?,
    })
}

fn parse_tag(text: &str) -> Tag {
    if text == "*" {
        return Tag::Any;
    }
    Tag::Exactly(text.strip_prefix("W/").unwrap_or(text).trim_matches('"').to_owned())
}

/// An entity tag without its quotes.
pub fn entity_tag(etag: &ETag) -> String {
    etag.value().trim_matches('"').to_owned()
}

/// An entity tag as it is sent.
pub fn etag_output(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

/// 304, with what RFC 9110 wants of it: the tag, so that the client knows which of its copies is meant.
pub fn not_modified(object: &Object) -> S3Error {
    let mut error = S3Error::from(Refusal::NotModified);
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", object.etag)) {
        error.set_headers(HeaderMap::from_iter([(http::header::ETAG, etag)]));
    }
    error
}

/// Milliseconds since 1970 as a time.
pub fn timestamp(millis: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(millis))
}

/// A time as milliseconds since 1970; `None` before that.
pub fn millis(time: &Timestamp) -> Option<u64> {
    let mut text = Vec::new();
    time.format(TimestampFormat::EpochSeconds, &mut text).ok()?;
    let seconds: f64 = String::from_utf8(text).ok()?.parse().ok()?;
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// The encoding of the object itself: `aws-chunked` is only how it was sent.
pub fn encoding(text: &str) -> Option<String> {
    let kept: Vec<&str> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// R2 has two storage classes, of which one is not worth a word.
pub fn storage_class(class: Option<&StorageClass>) -> Result<Option<String>, Refusal> {
    match class.map(StorageClass::as_str) {
        None | Some("STANDARD") => Ok(None),
        Some("STANDARD_IA") => Ok(Some("STANDARD_IA".to_owned())),
        Some(_) => Err(Refusal::InvalidStorageClass),
    }
}

/// The bytes of one part of an object.
pub fn parts_range(object: &Object, number: i32) -> Result<Bytes<u64>, Refusal> {
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let index = index.filter(|index| *index < object.segments.len()).ok_or(Refusal::InvalidRange)?;
    let start = object.segments.iter().take(index).map(|segment| segment.size).sum();
    let size = object.segments.get(index).map_or(0, |segment| segment.size);
    Ok(start..start + size)
}

/// A part's number, which must be one that a part can have.
pub fn part_number(number: i32) -> Result<i32, Refusal> {
    if (1..=10_000).contains(&number) {
        return Ok(number);
    }
    Err(Refusal::InvalidArgument("Part number must be an integer between 1 and 10000, inclusive.".into()))
}

/// Bucket and key of the source of a copy.
pub fn source(source: &CopySource) -> Result<(String, String), Refusal> {
    match source {
        CopySource::Bucket { bucket, key, version_id: None } => Ok((bucket.to_string(), key.to_string())),
        _ => Err(Refusal::NotImplemented("A version or an access point as the source of a copy".into())),
    }
}

type Described = (Headers, BTreeMap<String, String>);

/// What a copy has: the source's, what came with the request, or, as only R2 can, the one over the other.
pub fn merge(directive: &str, source: Described, new: Described) -> Result<Described, Refusal> {
    match directive {
        "COPY" => Ok(source),
        "REPLACE" => Ok(new),
        "MERGE" => {
            let (mut headers, mut metadata) = source;
            let (over, more) = new;
            headers.content_type = over.content_type.or(headers.content_type);
            headers.cache_control = over.cache_control.or(headers.cache_control);
            headers.content_disposition = over.content_disposition.or(headers.content_disposition);
            headers.content_encoding = over.content_encoding.or(headers.content_encoding);
            headers.content_language = over.content_language.or(headers.content_language);
            headers.expires = over.expires.or(headers.expires);
            headers.storage_class = over.storage_class.or(headers.storage_class);
            metadata.extend(more);
            Ok((headers, metadata))
        }
        other => Err(Refusal::InvalidArgument(format!("Unknown metadata directive {other:?}.").into())),
    }
}

/// How names are written in a listing: as they are, or percent-encoded, for clients whose XML cannot hold every key.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    url: bool,
}

impl Encoding {
    /// What the client asks for.
    pub fn new(wanted: Option<&EncodingType>) -> Result<Self, Refusal> {
        match wanted.map(EncodingType::as_str) {
            None => Ok(Self { url: false }),
            Some(EncodingType::URL) => Ok(Self { url: true }),
            Some(other) => {
                Err(Refusal::NotImplemented(format!("Unrecognized encoding-type \"{other}\"").into()))
            }
        }
    }

    /// A name in this form.
    pub fn name(self, name: String) -> String {
        if !self.url {
            return name;
        }
        let mut encoded = String::with_capacity(name.len());
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        encoded
    }

    /// An object as a listing has it.
    pub fn entry(self, object: Object) -> s3s::dto::Object {
        let mut entry = entry(object);
        entry.key = entry.key.map(|key| self.name(key));
        entry
    }

    /// Common prefixes as a listing has them.
    pub fn prefixes(self, prefixes: Vec<String>) -> Vec<CommonPrefix> {
        prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(self.name(prefix)) }).collect()
    }
}

fn entry(object: Object) -> s3s::dto::Object {
    let class = object.headers.storage_class.unwrap_or_else(|| "STANDARD".to_owned());
    s3s::dto::Object {
        key: Some(object.key),
        size: i64::try_from(object.size).ok(),
        e_tag: etag_output(&object.etag),
        last_modified: Some(timestamp(object.modified)),
        storage_class: Some(ObjectStorageClass::from(class)),
        ..s3s::dto::Object::default()
    }
}

/// A part as a listing has it.
pub fn part(part: &PartRecord) -> Part {
    Part {
        part_number: Some(part.number),
        size: i64::try_from(part.object.size).ok(),
        e_tag: etag_output(&part.object.etag),
        last_modified: Some(timestamp(part.object.modified)),
        ..Part::default()
    }
}

/// A page of uploads.
pub struct UploadsPage {
    /// The uploads.
    pub uploads: Vec<MultipartUpload>,
    /// Key and id of the last one, when there are more.
    pub next: Option<(String, String)>,
}

/// A page of these uploads, which are in order.
pub fn uploads(
    uploads: Vec<Upload>,
    prefix: &str,
    key_marker: Option<&str>,
    id_marker: Option<&str>,
    max: usize,
) -> UploadsPage {
    let behind = |upload: &Upload| match (key_marker.filter(|key| !key.is_empty()), id_marker) {
        (None, _) => true,
        (Some(key), None) => upload.key.as_str() > key,
        (Some(key), Some(_)) => upload.key.as_str() >= key,
    };
    let mut rest: Vec<Upload> = uploads.into_iter().filter(|upload| upload.key.starts_with(prefix)).collect();
    // Uploads of one key are in the order of their making, so the marker is found and not compared.
    let marked = id_marker.and_then(|id| rest.iter().position(|upload| upload.id == id));
    if let Some(at) = marked {
        rest.drain(..=at);
    }
    let mut rest: Vec<Upload> = rest.into_iter().filter(behind).collect();
    let more = rest.len() > max;
    rest.truncate(max);
    let next = rest.last().filter(|_| more).map(|upload| (upload.key.clone(), upload.id.clone()));
    let uploads = rest.into_iter().map(|upload| MultipartUpload {
        key: Some(upload.key),
        upload_id: Some(upload.id),
        initiated: Some(timestamp(upload.begun)),
        ..MultipartUpload::default()
    });
    UploadsPage { uploads: uploads.collect(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_from_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("if-none-match", "*".parse().unwrap());
        headers.insert("if-unmodified-since", "Thu, 01 Jan 1970 00:00:07 GMT".parse().unwrap());
        headers.insert("cf-copy-destination-if-match", "\"abc\"".parse().unwrap());
        let conditions = write_conditions(&headers, "if-").unwrap();
        assert_eq!(conditions.if_none_match, Some(Tag::Any));
        assert_eq!(conditions.if_unmodified_since, Some(7));
        assert_eq!(conditions.if_match, None);
        let conditions = write_conditions(&headers, "cf-copy-destination-if-").unwrap();
        assert_eq!(conditions.if_match, Some(Tag::Exactly("abc".into())));
    }

    #[test]
    fn names_in_a_listing() {
        let as_they_are = Encoding::new(None).unwrap();
        assert_eq!(as_they_are.name("a b/é".into()), "a b/é");
        let url = Encoding::new(Some(&EncodingType::from_static("url"))).unwrap();
        assert_eq!(url.name("a b/é".into()), "a%20b%2F%C3%A9");
        assert!(Encoding::new(Some(&EncodingType::from_static("x"))).is_err());
    }

    #[test]
    fn how_it_was_sent_is_not_kept() {
        assert_eq!(encoding("aws-chunked"), None);
        assert_eq!(encoding("gzip, aws-chunked").as_deref(), Some("gzip"));
    }
}
