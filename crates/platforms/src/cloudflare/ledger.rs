//! What secrets were set to: digests, since Cloudflare never shows a secret again.

use super::Error;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A digest of a secret's value. It is of a secret with this name, so that equal values do not look equal.
#[must_use]
pub(super) fn digest(name: &str, value: &str) -> String {
    let mut digest = Sha256::new();
    for part in ["windlass secret", name, value] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    hex::encode(digest.finalize())
}

/// The digests of a fleet's secrets, in a file.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    /// One writes at a time.
    writing: tokio::sync::Mutex<()>,
}

impl Ledger {
    pub(super) fn at(directory: &Path) -> Self {
        Self { path: directory.join("cloudflare.json"), writing: tokio::sync::Mutex::default() }
    }

    /// What is known; nothing, when there is no file or it makes no sense: then the secrets are set again.
    pub(super) fn read(&self) -> BTreeMap<String, String> {
        std::fs::read(&self.path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Notes a digest, or that there is none any more.
    pub(super) async fn note(&self, secret: &str, digest: Option<String>) -> Result<(), Error> {
        let _alone = self.writing.lock().await;
        let mut all = self.read();
        match digest {
            Some(digest) => drop(all.insert(secret.to_owned(), digest)),
            None => drop(all.remove(secret)),
        }
        let text = serde_json::to_vec_pretty(&all).unwrap_or_default();
        write_private(&self.path, &text)
    }
}

/// Writes a file that only its owner reads; others see the old one or the new one.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let next = path.with_extension("next");
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&next, path)
    };
    write().map_err(|cause| Error::File {
        action: "write",
        path: path.display().to_string(),
        cause: cause.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_names_and_values_apart() {
        assert_eq!(digest("A", "x"), digest("A", "x"));
        assert_ne!(digest("A", "x"), digest("B", "x"));
        assert_ne!(digest("A", "x"), digest("A", "y"));
        assert!(!digest("A", "secret").contains("secret"));
    }
}
