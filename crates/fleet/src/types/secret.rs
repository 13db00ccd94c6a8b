//! Where a secret comes from. The secret itself is never in the file, so what is read here may be shown; what stands
//! where a source belongs, and is none, may be the secret and is masked.

use super::Invalid;
use crate::code;
use crate::print::Written;
use crate::reader::Reader;
use crate::suggest::{nearest, with_article};
use crate::value::{Node, Shape, Value};
use std::path::PathBuf;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment variable of this name.
    Env(String),
    /// The content of this file, without the line break at its end; relative to the fleet file.
    File(PathBuf),
    /// What this program prints, without the line break at its end: the program, then its arguments.
    Command(Vec<String>),
}

const KEYS: [&str; 3] = ["env", "file", "command"];
const FORMS: &str = "{ env = \"NAME\" }, { file = \"path\" } or { command = [\"program\", \"argument\"] }";

impl Value for SecretSource {
    const ALONE: bool = true;

    fn shape() -> Shape {
        Shape::Secret
    }

    fn stand_in() -> Self {
        Self::Env("SECRET".to_owned())
    }

    fn read(node: &Node<'_>, reader: &mut Reader<'_>) -> Self {
        reader.is_source(node);
        let Some(table) = node.get_ref().as_table() else {
            reader.mask(node);
            let is_text = node.get_ref().is_str();
            let (code, problem) = match is_text {
                true => (code::SECRET_IN_FILE, "a secret is never written in the file"),
                false => (code::WRONG_TYPE, "a secret's source is a table"),
            };
            let first = if is_text { "name where it comes from" } else { "write" };
            let last = if is_text { "; if this file was ever shared, replace the secret" } else { "" };
            reader.invalid(node.span(), Invalid::new(code, problem, format!("{first}: {FORMS}{last}")));
            return Self::stand_in();
        };
        for (key, value) in table.iter().filter(|(key, _)| !KEYS.contains(&&**key.get_ref())) {
            reader.mask(value);
            let remedy = match nearest(key.get_ref(), KEYS) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => {
                    // Whoever writes `{ ghp_x = 1 }` has the secret as the key.
                    reader.mask_span(key.span());
                    format!("write {FORMS}")
                }
            };
            let problem = format!("{}: unknown key", reader.here());
            reader.report(code::UNKNOWN_KEY, key.span(), problem, remedy);
        }
        let mut given = KEYS.iter().filter_map(|key| table.get(*key).map(|value| (*key, value)));
        match (given.next(), given.next()) {
            (Some((key, value)), None) => reader.inside(key, |reader| source(key, value, reader)),
            (None, _) if table.iter().next().is_some() => Self::stand_in(),
            (one, _) => {
                let problem =
                    if one.is_some() { "more than one source is given" } else { "no source is given" };
                let remedy = match one {
                    Some(_) => {
                        "keep one of them; several secrets are an array: [{ env = \"NEW\" }, { env = \"OLD\" }]"
                    }
                    None => "write { env = \"NAME\" }, { file = \"path\" } or { command = [\"program\"] }",
                };
                reader.invalid(node.span(), Invalid::new(code::SECRET_SOURCE, problem, remedy));
                Self::stand_in()
            }
        }
    }

    fn write(&self) -> Option<Written> {
        let (key, value) = match self {
            Self::Env(name) => ("env", Written::Text(name.clone())),
            Self::File(path) => ("file", Written::Text(path.to_string_lossy().into_owned())),
            Self::Command(words) => {
                ("command", Written::Array(words.iter().cloned().map(Written::Text).collect()))
            }
        };
        Some(Written::Table { inline: true, entries: vec![(key.to_owned(), value)] })
    }
}

fn source(key: &str, node: &Node<'_>, reader: &mut Reader<'_>) -> SecretSource {
    let value = node.get_ref();
    let useless = |reader: &mut Reader<'_>, problem: &str, remedy: &str| {
        // Whoever writes the secret itself after `env` should not read it again in a log.
        reader.mask(node);
        reader.invalid(node.span(), Invalid::new(code::SECRET_USELESS, problem, remedy));
        SecretSource::stand_in()
    };
    match (key, value.as_str(), value.as_array()) {
        ("env", Some(name), _) => {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
                let remedy =
                    "write the variable's name, not its value: letters, digits and '_', no digit first";
                return useless(reader, "this is not the name of an environment variable", remedy);
            }
            SecretSource::Env(name.to_owned())
        }
        ("file", Some(path), _) => {
            if path.is_empty() || path.contains(['\0', '\n']) {
                return useless(
                    reader,
                    "this is not a file's path",
                    "write the path of a file that holds the secret",
                );
            }
            SecretSource::File(path.into())
        }
        ("command", _, Some(words)) => {
            let texts: Option<Vec<_>> =
                words.iter().map(|word| word.get_ref().as_str().map(str::to_owned)).collect();
            match texts {
                Some(words)
                    if words.first().is_some_and(|program| !program.is_empty())
                        && !words.iter().any(|word| word.contains('\0')) =>
                {
                    SecretSource::Command(words)
                }
                _ => {
                    let remedy =
                        "write the program and its arguments as strings: [\"pass\", \"show\", \"webhook\"]";
                    useless(reader, "this is not a command", remedy)
                }
            }
        }
        ("command", ..) => {
            reader.mask(node);
            let remedy =
                "write the program and its arguments apart: command = [\"pass\", \"show\", \"webhook\"]";
            let problem = "a command is an array of strings";
            reader.invalid(node.span(), Invalid::new(code::WRONG_TYPE, problem, remedy));
            SecretSource::stand_in()
        }
        _ => {
            reader.mask(node);
            let problem = format!("{} stands where a string belongs", with_article(value.type_str()));
            let remedy = "write a string, in double quotes";
            reader.invalid(node.span(), Invalid::new(code::WRONG_TYPE, problem, remedy));
            SecretSource::stand_in()
        }
    }
}
