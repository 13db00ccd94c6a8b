//! The fleet as canonical TOML: every key in the order of its definition, defaults included.

use crate::model::Fleet;
use crate::value::Value;
use serde_json::Value as Json;

/// A value as it is written, before it is TOML or JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Written {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Written>),
    Table { inline: bool, entries: Vec<(String, Written)> },
}

/// The file that [`crate::parse`] reads this fleet from. The same fleet gives the same text.
#[must_use]
pub fn print(fleet: &Fleet) -> String {
    let mut out = String::new();
    if let Some(Written::Table { entries, .. }) = fleet.write() {
        section(&mut out, &mut Vec::new(), &entries);
    }
    out
}

fn section(out: &mut String, path: &mut Vec<String>, entries: &[(String, Written)]) {
    let is_section = |value: &Written| matches!(value, Written::Table { inline: false, .. });
    let keys: Vec<_> = entries.iter().filter(|(_, value)| !is_section(value)).collect();
    let sections = entries.iter().filter(|(_, value)| is_section(value));
    // A table that only holds tables needs no header of its own, but an empty one does.
    if !path.is_empty() && (!keys.is_empty() || entries.is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("[{}]\n", path.join(".")));
    }
    for (key, value) in keys {
        out.push_str(&format!("{} = {}\n", key_text(key), value.to_toml()));
    }
    for (key, value) in sections {
        if let Written::Table { entries, .. } = value {
            path.push(key_text(key));
            section(out, path, entries);
            path.pop();
        }
    }
}

fn key_text(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { text(key) }
}

/// A basic string on one line.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            character if character.is_control() => out.push_str(&format!("\\U{:08X}", u32::from(character))),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}

impl Written {
    /// On one line.
    pub(crate) fn to_toml(&self) -> String {
        match self {
            Self::Text(value) => text(value),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::Array(items) => {
                format!("[{}]", items.iter().map(Self::to_toml).collect::<Vec<_>>().join(", "))
            }
            Self::Table { entries, .. } if entries.is_empty() => "{}".to_owned(),
            Self::Table { entries, .. } => {
                let entry =
                    |(key, value): &(String, Self)| format!("{} = {}", key_text(key), value.to_toml());
                format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Boolean(value) => (*value).into(),
            Self::Array(items) => items.iter().map(Self::to_json).collect(),
            Self::Table { entries, .. } => {
                Json::Object(entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }
}
