//! What every command gets: where the run directory is, and how to print.

use std::path::PathBuf;

use clap::ValueEnum;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document on standard output (a stream of events: one a line), for scripts.
    Json,
    /// A table for a page or a comment. Only of results that are tables.
    Markdown,
    /// A table for a spreadsheet. Only of results that are tables.
    Csv,
}

impl Format {
    /// Whether only results that are tables have it.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Markdown | Self::Csv)
    }
}

/// The global options, resolved.
#[derive(Clone, Debug)]
pub struct Context {
    /// The run directory, absolute. It may not exist.
    pub directory: PathBuf,
    /// The environment of the fleet file that is applied, if one is.
    pub environment: Option<String>,
    /// How results are printed.
    pub format: Format,
    /// -v counts up, -q counts down, 0 is the default.
    pub verbosity: i8,
}

impl Context {
    /// Whether results are for scripts.
    pub fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether to leave out everything that is not the result.
    pub fn quiet(&self) -> bool {
        self.verbosity < 0
    }
}
