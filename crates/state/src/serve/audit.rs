//! The audit: one line of JSON for each operation, without any content and without any secret.

use super::Error;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What was done, with what came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Entry<'a> {
    pub protocol: &'static str,
    pub operation: &'static str,
    pub place: &'a str,
    /// `done`, `absent`, `locked`, or the code of an error.
    pub result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<&'a str>,
    /// The lock of a process that is gone, which was taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_over: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    entry: Entry<'a>,
}

/// Where the lines go.
#[derive(Debug)]
pub(super) struct Audit {
    file: Option<Mutex<File>>,
}

impl Audit {
    /// Lines are added to this file. It is made where it is missing, for its owner alone.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let open = || {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::create_dir_all(parent)?;
            }
            OpenOptions::new().create(true).append(true).mode(0o600).open(path)
        };
        let file = open().map_err(|source| Error::Audit { path: path.to_owned(), source })?;
        Ok(Self { file: Some(Mutex::new(file)) })
    }

    /// Adds a line, in one write: several processes may share the file.
    pub(super) fn add(&self, entry: Entry<'_>) {
        let Some(file) = &self.file else { return };
        let mut line =
            serde_json::to_vec(&Line { time: Timestamp::now().to_string(), entry }).unwrap_or_default();
        line.push(b'\n');
        // The operation is done; that it cannot be written down must not make Terraform lose a state.
        if let Err(error) = file.lock().write_all(&line) {
            tracing::error!(%error, "a line of the audit was not written");
        }
    }
}
