//! SHA-256, as images write it.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

/// `sha256:<hex>` of some bytes.
pub fn of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// `sha256:<hex>` of what a reader gives, and how much that is.
pub fn of_reader(reader: &mut impl Read) -> io::Result<(String, u64)> {
    let mut tee = Tee { inner: io::sink(), hash: Sha256::new() };
    let length = io::copy(reader, &mut tee)?;
    Ok((tee.digest(), length))
}

/// The hexadecimal part of a SHA-256 digest; `None` for anything else, so that no digest becomes another path.
pub fn hex_of(digest: &str) -> Option<&str> {
    let hex = digest.strip_prefix("sha256:")?;
    let is_hex =
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_hex.then_some(hex)
}

/// Passes bytes on and digests them, written or read.
pub struct Tee<T> {
    inner: T,
    hash: Sha256,
}

impl<T> Tee<T> {
    /// Around a reader or a writer.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The digest of what has passed.
    pub fn digest(self) -> String {
        self.parts().1
    }

    /// What it was around, and the digest.
    pub fn parts(self) -> (T, String) {
        (self.inner, format!("sha256:{}", hex::encode(self.hash.finalize())))
    }
}

impl<T: Write> Write for Tee<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Tee<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
