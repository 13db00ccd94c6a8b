//! What is known of a stored object. Pure: this is data, and its form on disk.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An object as the store knows it. Its bytes are in the same file: see [`encode`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The key, exactly as the client wrote it.
    pub key: String,
    /// Bytes, as the client sees them.
    pub size: u64,
    /// The entity tag, without quotes: MD5 of the bytes, or of the parts' MD5s and their number.
    pub etag: String,
    /// When it was written: milliseconds since 1970.
    pub modified: u64,
    /// The HTTP headers that come back with it.
    pub headers: Headers,
    /// What the client said of it in `x-amz-meta-*`.
    pub metadata: BTreeMap<String, String>,
    /// Checksums that the client sent along and that were right.
    pub checksums: Checksums,
    /// Base64 of the MD5 of the customer's key, for an object that was written with one.
    pub customer_key_md5: Option<String>,
    /// The pieces on disk, in order: one, or one for each part of a multipart upload.
    pub segments: Vec<Segment>,
}

/// A piece of an object's bytes that was sealed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Bytes, as the client sees them.
    pub size: u64,
    /// Bytes on disk: more than `size` when sealed.
    pub stored: u64,
    /// What the customer's key was mixed with, in hex, when sealed.
    pub salt: Option<String>,
}

/// HTTP headers that are kept with an object and come back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Headers {
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Cache-Control`
    pub cache_control: Option<String>,
    /// `Content-Disposition`
    pub content_disposition: Option<String>,
    /// `Content-Encoding`
    pub content_encoding: Option<String>,
    /// `Content-Language`
    pub content_language: Option<String>,
    /// `Expires`, in milliseconds since 1970
    pub expires: Option<u64>,
    /// `x-amz-storage-class`
    pub storage_class: Option<String>,
}

/// Checksums in base64, by algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checksums {
    /// CRC-32
    pub crc32: Option<String>,
    /// CRC-32C
    pub crc32c: Option<String>,
    /// CRC-64/NVME
    pub crc64nvme: Option<String>,
    /// SHA-1
    pub sha1: Option<String>,
    /// SHA-256
    pub sha256: Option<String>,
}

/// The last bytes of every object file.
const MAGIC: &[u8; 8] = b"WLobject";

/// Bytes of the end of a file that say how long what stands before it is: length and magic.
pub const TRAILER: u64 = 4 + 8;

/// What is written behind an object's bytes, into the same file: so that a rename puts both in place at once, and no
/// crash can leave one without the other.
///
/// # Errors
/// When the object cannot be written as JSON, which its types rule out.
pub fn encode(object: &Object) -> std::io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(object)?;
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(MAGIC);
    Ok(bytes)
}

/// The length of the description that the last [`TRAILER`] bytes of a file announce; `None` for another file.
pub fn description_length(trailer: [u8; TRAILER as usize]) -> Option<u64> {
    let (length, magic) = trailer.split_first_chunk::<4>()?;
    (magic == MAGIC).then(|| u64::from(u32::from_be_bytes(*length)))
}

impl Object {
    /// When it was written, in whole seconds: as precise as HTTP dates are.
    pub fn modified_seconds(&self) -> u64 {
        self.modified / 1000
    }
}

impl Checksums {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let object = Object {
            key: "a/b".into(),
            size: 3,
            etag: "e".into(),
            modified: 1,
            headers: Headers::default(),
            metadata: BTreeMap::new(),
            checksums: Checksums::default(),
            customer_key_md5: None,
            segments: vec![Segment { size: 3, stored: 3, salt: None }],
        };
        let bytes = encode(&object).unwrap();
        let (description, trailer) = bytes.split_at(bytes.len() - 12);
        assert_eq!(description_length(trailer.try_into().unwrap()), Some(description.len() as u64));
        assert_eq!(serde_json::from_slice::<Object>(description).unwrap(), object);
        assert_eq!(description_length(*b"\0\0\0\x01WLnothin"), None);
    }
}
