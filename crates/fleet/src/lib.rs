//! The fleet file: what is *wanted*.
//!
//! `windlass.toml` goes in, a [`Fleet`] or **every** mistake in the file comes out. The crate is pure: it opens no file,
//! asks no clock and reads no environment, so whoever calls it decides where the text comes from and when.
//!
//! The way through:
//!
//! 1. `syntax` lets the `toml` crate parse with recovery, so that one missing quote does not hide the rest.
//! 2. `model` holds the one definition of each table (`table!`): from it come the struct, its reader, the known keys,
//!    the printer, the JSON Schema ([`schema`]) and the rows of `docs/fleet-file.md`.
//! 3. `check` looks at what no single key can show: references, overlapping subjects, windows and sizes that disagree.
//! 4. [`Mistakes`] shows all of it by file, line and column, to a person or as JSON, and never shows a secret.

#[macro_use]
mod definition;
mod check;
mod code;
mod environment;
mod mask;
mod mistake;
mod model;
mod print;
mod reader;
#[cfg(test)]
mod reference;
mod render;
mod schema;
mod starter;
mod suggest;
mod syntax;
mod types;
mod value;

pub use code::{CODES, title};
pub use mistake::{Mistake, Mistakes};
pub use model::{
    Account, Acknowledge, Alert, AlertMetric, Cloudflare, Cluster, Compression, Consumer, Cost, Deliver,
    Discard, Environments, Exchange, Export, Flag, Fleet, Github, Identity, Import, Instance, JetStream,
    JetStreamAccess, Jurisdiction, KvBucket, Limits, Machine, Machines, ObjectBucket, Objects, PlatformName,
    Platforms, Ports, ReceiveAt, Region, Retention, Rollout, Scaling, ScalingMetric, SelfHosted, Severity,
    Spool, State, Storage, Stream, Synadia, TlsUse, User,
};
pub use print::print;
pub use schema::schema;
pub use starter::{Answers, starter};
pub use types::{
    Bytes, Endpoint, EventName, FleetName, Host, HostName, Invalid, Line, Name, Organization, Period,
    SecretSource, StoreAddress, Subject, SubjectPattern, Sync, Version, WebSocketUrl,
};

use reader::Reader;
use value::Value as _;

/// A fleet file larger than this is refused unread: it is somebody's data under the wrong name.
const LARGEST: usize = 16 * 1024 * 1024;

/// Reads a fleet file. `file_name` is only for the messages. Its environments are checked, and none is applied.
///
/// # Errors
/// Every mistake in the file, sorted by position.
pub fn parse(source: &str, file_name: &str) -> Result<Fleet, Mistakes> {
    parse_environment(source, file_name, None)
}

/// Reads a fleet file with one of its environments laid over the rest. All of them are checked.
///
/// # Errors
/// Every mistake in the file, sorted by position; that there is no such environment is one.
pub fn parse_environment(
    source: &str,
    file_name: &str,
    environment: Option<&str>,
) -> Result<Fleet, Mistakes> {
    if source.len() > LARGEST {
        let remedy = "check that this is the fleet file: one is a few KiB as a rule, and 1 MiB for ten thousand streams".to_owned();
        let problem = format!("the file has {} bytes; the most is {LARGEST}", source.len());
        return Err(Mistakes::single(file_name, code::TOO_LARGE, problem, remedy));
    }
    let repaired = syntax::repair(source);
    let (document, errors) = syntax::parse(&repaired, source);
    let mut reader = Reader::new(source, errors.clone());
    let mut fleet = read(&document, &mut reader, None);
    for (name, overlaid) in environment::all(&document, &mut reader, environment) {
        let mut own = Reader::new(source, errors.clone());
        let of_environment = read(&overlaid, &mut own, Some(&name));
        reader.add(own, &name);
        if environment == Some(name.as_str()) {
            fleet = of_environment;
        }
    }
    match reader.finish(file_name) {
        None => Ok(fleet),
        Some(mistakes) => Err(mistakes),
    }
}

fn read(document: &value::Node<'_>, reader: &mut Reader<'_>, environment: Option<&Name>) -> Fleet {
    let mut fleet = Fleet::read(document, reader);
    environment::settle(&mut fleet, document, environment);
    check::check(&mut fleet, document, reader);
    fleet
}

/// [`parse`] for bytes as they come from a file: that they are UTF-8 is part of what is checked.
///
/// # Errors
/// Every mistake in the file; only the first where it is not UTF-8.
pub fn parse_bytes(source: &[u8], file_name: &str) -> Result<Fleet, Mistakes> {
    parse_bytes_environment(source, file_name, None)
}

/// [`parse_environment`] for bytes as they come from a file.
///
/// # Errors
/// Every mistake in the file; only the first where it is not UTF-8.
pub fn parse_bytes_environment(
    source: &[u8],
    file_name: &str,
    environment: Option<&str>,
) -> Result<Fleet, Mistakes> {
    match std::str::from_utf8(source) {
        Ok(text) => parse_environment(text, file_name, environment),
        Err(error) => Err(Mistakes::not_utf8(source, error.valid_up_to(), file_name)),
    }
}

/// The names of a file's environments, in the order of the alphabet; none where the file is not TOML.
#[must_use]
pub fn environment_names(source: &[u8]) -> Vec<String> {
    let table = std::str::from_utf8(source).ok().and_then(|text| text.parse::<toml::Table>().ok());
    let environments = table.as_ref().and_then(|table| table.get("environments")?.as_table());
    environments.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// The fleet that runs where no file is given: the repository's `windlass.toml`.
#[must_use]
pub fn embedded() -> &'static str {
    include_str!("../../../windlass.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_fleet_is_valid() {
        let fleet = parse(embedded(), "windlass.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(fleet.github.is_some());
        assert!(fleet.streams.contains_key("GITHUB"));
    }

    #[test]
    fn what_the_embedded_fleet_shows_in_comments_is_valid_too() {
        let shown = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ") => {
                rest.to_owned()
            }
            _ => line.to_owned(),
        };
        let text: String = embedded().lines().map(|line| shown(line) + "\n").collect();
        let fleet = parse(&text, "windlass.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(fleet.github.is_some_and(|github| github.organization.is_some()));

        let short: String = embedded().lines().filter_map(|line| line.strip_prefix("#     ")).fold(
            String::new(),
            |text, line| if line.starts_with("secret") { text } else { text + line + "\n" },
        );
        let fleet = parse(&short, "windlass.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(fleet.name(), "acme");
        assert!(fleet.github_stream().is_some());
    }

    #[test]
    fn environments_have_names() {
        let file = b"[environments.b]\n[environments.a.cost]\nfan_out = 2\n";
        assert_eq!(environment_names(file), ["a", "b"]);
        assert!(environment_names(b"no = toml = here").is_empty());
    }

    #[test]
    fn what_is_too_large_is_refused_unread() {
        let mistakes = parse(&"#".repeat(LARGEST + 1), "x").unwrap_err();
        assert_eq!(mistakes.as_slice()[0].code, code::TOO_LARGE);
    }

    #[test]
    fn bytes_that_are_not_text_have_a_place() {
        let mistakes = parse_bytes(b"[fleet]\nname = \"\xff\"\n", "x").unwrap_err();
        let mistake = &mistakes.as_slice()[0];
        assert_eq!((mistake.code, mistake.line, mistake.column), (code::NOT_UTF8, 2, 9));
        assert!(mistakes.to_string().contains("--> x:2:9"), "{mistakes}");
    }
}
