//! The fleet file: found, read, parsed, and its mistakes shown.

use std::io::Write;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest, Sha256};
use windlass_fleet::{Fleet, Mistakes};

use crate::context::Format;
use crate::failure::{BAD_INPUT, Error, Failure};
use crate::output;

/// The file that is taken when none is named.
const DEFAULT: &str = "windlass.toml";
/// What the built-in default is called.
const BUILT_IN: &str = "the built-in default";

/// A fleet file's content, and where it came from.
#[derive(Debug)]
pub struct Source {
    /// The file as it was named; `None` for the built-in default.
    path: Option<PathBuf>,
    content: Vec<u8>,
}

impl Source {
    /// The file that is named, else the one in the current directory, else the built-in default.
    pub fn find(file: Option<&Path>) -> Result<Self, Error> {
        match file {
            Some(path) => Self::read(path),
            None if Path::new(DEFAULT).exists() => Self::read(Path::new(DEFAULT)),
            None => Ok(Self::built_in()),
        }
    }

    /// The file at `path`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let content =
            std::fs::read(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?;
        Ok(Self { path: Some(path.to_owned()), content })
    }

    /// The built-in default.
    pub fn built_in() -> Self {
        Self { path: None, content: windlass_fleet::embedded().into() }
    }

    /// The name for people.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| BUILT_IN.to_owned(), |path| path.display().to_string())
    }

    /// The names of its environments.
    pub fn environments(&self) -> Vec<String> {
        windlass_fleet::environment_names(&self.content)
    }

    /// The fleet that the file describes, with an environment laid over it, or every mistake in it.
    pub fn parse(&self, environment: Option<&str>) -> Result<Fleet, Mistakes> {
        windlass_fleet::parse_bytes_environment(&self.content, &self.name(), environment)
    }

    /// The file's absolute path; `None` for the built-in default. Paths in the file are relative to it.
    pub fn absolute(&self) -> Result<Option<PathBuf>, Error> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|cause| Error::Unreadable { path: path.clone(), cause })
        };
        self.path.as_ref().map(absolute).transpose()
    }

    /// A digest of its content.
    pub fn digest(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(&self.content))
    }
}

/// The fleet in a few words.
pub fn summary(fleet: &Fleet) -> String {
    let counted = |count: usize, what: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    };
    let receiver = match &fleet.github {
        Some(github) => format!("GitHub's events into {}", github.stream.as_str()),
        None => "no receiver".to_owned(),
    };
    let (clusters, streams) =
        (counted(fleet.clusters.len(), "cluster"), counted(fleet.streams.len(), "stream"));
    format!("fleet {}, {clusters}, {streams}, {receiver}", fleet.name())
}

/// Prints every mistake on standard error.
pub fn tell(mistakes: &Mistakes, format: Format) -> Failure {
    let mut err = output::err();
    // That they cannot be printed is nothing that anyone could be told.
    let _ = match format {
        Format::Text | Format::Markdown | Format::Csv => {
            writeln!(err, "{}", mistakes.render(true).trim_end())
        }
        Format::Json => {
            let count = mistakes.len();
            let plural = if count == 1 { "" } else { "s" };
            let message = format!("{count} mistake{plural} in {}", mistakes.file_name());
            let object = json!({
                "error": {
                    "code": mistakes.code(),
                    "message": message,
                    "help": "correct the file; `mistakes` has each with its place",
                    "mistakes": mistakes.to_json(),
                }
            });
            writeln!(err, "{object}")
        }
    };
    Failure::told(BAD_INPUT)
}
