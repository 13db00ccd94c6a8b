//! Encryption with the customer's key (SSE-C), so that the bytes on disk are of no use without it. Pure.
//!
//! AES-256-GCM over blocks of 64 KiB, so that a range can be read without the rest. The key of a segment is derived from
//! the customer's with a salt of its own, so a block's number can be its nonce.

use super::object::Segment;
use super::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use s3s::crypto::{Checksum, Md5};
use std::fmt;
use std::io;

/// Bytes of a block before it is sealed.
pub const BLOCK: usize = 64 * 1024;

/// Bytes that sealing adds to each block.
pub const TAG: usize = 16;

/// A key that came with a request.
#[derive(Clone)]
pub struct CustomerKey {
    key: [u8; 32],
    md5: String,
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CustomerKey")
    }
}

impl CustomerKey {
    /// The key of the three SSE-C headers; `None` when there is none of them.
    ///
    /// # Errors
    /// When one of them is missing or does not fit the others.
    pub fn from_headers(
        algorithm: Option<&str>,
        key: Option<&str>,
        md5: Option<&str>,
    ) -> Result<Option<Self>, Refusal> {
        if algorithm.is_none() && key.is_none() && md5.is_none() {
            return Ok(None);
        }
        let missing = |what: &str| {
            let text = "Requests specifying Server Side Encryption with Customer provided keys must provide";
            Refusal::InvalidArgument(format!("{text} {what}.").into())
        };
        let key = key.ok_or_else(|| missing("an appropriate secret key"))?;
        let md5 = md5.ok_or_else(|| missing("the client calculated MD5 of the secret key"))?;
        let algorithm = algorithm.ok_or_else(|| missing("a valid encryption algorithm"))?;
        if algorithm != "AES256" {
            return Err(Refusal::InvalidEncryptionAlgorithm);
        }
        let bytes = STANDARD.decode(key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = bytes.ok_or_else(|| Refusal::InvalidArgument("The secret key was invalid.".into()))?;
        let right = STANDARD.encode(Md5::checksum(&key));
        if md5 != right {
            let text = "The calculated MD5 hash of the key did not match the hash that was provided.";
            return Err(Refusal::InvalidArgument(text.into()));
        }
        Ok(Some(Self { key, md5: right }))
    }

    /// Base64 of the key's MD5: what is kept of it.
    pub fn md5(&self) -> &str {
        &self.md5
    }

    /// The cipher of a segment with this salt.
    ///
    /// # Errors
    /// When `ring` has no memory for it.
    pub fn cipher(&self, salt: &[u8]) -> io::Result<Cipher> {
        let unusable = |_| io::Error::other("the customer's key could not be used");
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&self.key);
        let okm = prk.expand(&[b"windlass sandbox r2"], &AES_256_GCM).map_err(unusable)?;
        Ok(Cipher { key: LessSafeKey::new(UnboundKey::from(okm)) })
    }

    /// The key for an object, checked against what the object was written with.
    ///
    /// # Errors
    /// When a key is needed and missing, is given without need, or is another one.
    pub fn check<'key>(
        given: Option<&'key Self>,
        written_with: Option<&str>,
    ) -> Result<Option<&'key Self>, Refusal> {
        match (given, written_with) {
            (None, None) => Ok(None),
            (Some(key), Some(md5)) if key.md5 == md5 => Ok(Some(key)),
            (Some(_), Some(_)) => Err(Refusal::WrongCustomerKey),
            (None, Some(_)) => Err(Refusal::InvalidRequest(
                "The object was stored using a form of Server Side Encryption. The correct parameters must be \
                 provided to retrieve the object."
                    .into(),
            )),
            (Some(_), None) => Err(Refusal::InvalidRequest(
                "The encryption parameters are not applicable to this object.".into(),
            )),
        }
    }
}

/// What seals and opens the blocks of one segment.
#[derive(Debug)]
pub struct Cipher {
    key: LessSafeKey,
}

impl Cipher {
    /// Seals the block with this number in place.
    ///
    /// # Errors
    /// When the block is too large for the cipher.
    pub fn seal(&self, number: u64, block: &mut Vec<u8>) -> io::Result<()> {
        self.key
            .seal_in_place_append_tag(nonce(number), Aad::empty(), block)
            .map_err(|_| io::Error::other("a block could not be sealed"))
    }

    /// Opens the block with this number in place.
    ///
    /// # Errors
    /// When the bytes are not what was sealed with this key.
    pub fn open(&self, number: u64, block: &mut Vec<u8>) -> io::Result<()> {
        let length = self
            .key
            .open_in_place(nonce(number), Aad::empty(), block)
            .map_err(|_| io::Error::other("a block is damaged or sealed with another key"))?
            .len();
        block.truncate(length);
        Ok(())
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// What to read for a piece of a sealed segment: the first block, and how many bytes of it to leave out.
pub fn block_of(offset: u64) -> (u64, usize) {
    let block = BLOCK as u64;
    // Less than a block, which fits.
    (offset / block, usize::try_from(offset % block).unwrap_or_default())
}

/// Where the block with this number is in its segment on disk, and its length there.
pub fn block_place(segment: &Segment, number: u64) -> (u64, usize) {
    let sealed = (BLOCK + TAG) as u64;
    let start = number.saturating_mul(sealed);
    let length = segment.stored.saturating_sub(start).min(sealed);
    (start, usize::try_from(length).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> CustomerKey {
        let (key, md5) = (STANDARD.encode([byte; 32]), STANDARD.encode(Md5::checksum(&[byte; 32])));
        CustomerKey::from_headers(Some("AES256"), Some(&key), Some(&md5)).unwrap().unwrap()
    }

    #[test]
    fn only_the_right_key_opens() {
        let mut block = b"a secret".to_vec();
        key(1).cipher(b"salt").unwrap().seal(7, &mut block).unwrap();
        assert!(!block.windows(6).any(|bytes| bytes == b"secret"));
        assert!(key(2).cipher(b"salt").unwrap().open(7, &mut block.clone()).is_err());
        assert!(key(1).cipher(b"tlas").unwrap().open(7, &mut block.clone()).is_err());
        assert!(key(1).cipher(b"salt").unwrap().open(8, &mut block.clone()).is_err());
        key(1).cipher(b"salt").unwrap().open(7, &mut block).unwrap();
        assert_eq!(block, b"a secret");
    }

    #[test]
    fn headers_must_fit_each_other() {
        let (good, md5) = (STANDARD.encode([1; 32]), STANDARD.encode(Md5::checksum(&[1; 32])));
        assert!(CustomerKey::from_headers(None, None, None).unwrap().is_none());
        for (algorithm, key, md5) in [
            (Some("AES128"), Some(good.as_str()), Some(md5.as_str())),
            (Some("AES256"), None, Some(md5.as_str())),
            (Some("AES256"), Some(good.as_str()), None),
            (Some("AES256"), Some(good.as_str()), Some("AAAA")),
            (Some("AES256"), Some("c2hvcnQ="), Some(md5.as_str())),
            (None, Some(good.as_str()), Some(md5.as_str())),
        ] {
            let refused = CustomerKey::from_headers(algorithm, key, md5).unwrap_err();
            let code = if algorithm == Some("AES128") {
                "InvalidEncryptionAlgorithmError"
            } else {
                "InvalidArgument"
            };
            assert_eq!(refused.code(), (code, 400));
        }
    }

    #[test]
    fn a_key_is_checked_against_the_object() {
        let (mine, other) = (key(1), key(2));
        assert!(CustomerKey::check(None, None).unwrap().is_none());
        assert!(CustomerKey::check(Some(&mine), Some(mine.md5())).unwrap().is_some());
        assert_eq!(
            CustomerKey::check(Some(&other), Some(mine.md5())).unwrap_err(),
            Refusal::WrongCustomerKey
        );
        assert_eq!(CustomerKey::check(None, Some(mine.md5())).unwrap_err().code(), ("InvalidRequest", 400));
        assert_eq!(CustomerKey::check(Some(&mine), None).unwrap_err().code(), ("InvalidRequest", 400));
    }
}
