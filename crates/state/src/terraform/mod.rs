//! Terraform's state, as far as it must be understood: which one it is, which version, and what is in it.

pub mod backend;
pub mod diff;

use crate::error::Error;
use crate::room::Room;
use bytes::Bytes;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fmt;
use std::ops::Range;

/// The format that Terraform 0.12 and every later one writes.
const FORMAT: u64 = 4;

/// What a state is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The Terraform that wrote it.
    pub terraform_version: String,
    /// Which state it is: the same through all its versions.
    pub lineage: String,
    /// Which version of it.
    pub serial: u64,
    /// How many resources and data sources it has.
    pub resources: usize,
    /// How many instances they have.
    pub instances: usize,
}

#[derive(Deserialize)]
struct Document {
    version: Option<u64>,
    #[serde(default)]
    terraform_version: String,
    serial: Option<u64>,
    lineage: Option<String>,
    #[serde(default)]
    resources: Count,
}

/// Counts a list of resources without holding it.
#[derive(Default)]
struct Count {
    resources: usize,
    instances: usize,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    instances: Vec<IgnoredAny>,
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of resources")
            }

            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
                let mut count = Count::default();
                while let Some(resource) = list.next_element::<Resource>()? {
                    count.resources += 1;
                    count.instances += resource.instances.len();
                }
                Ok(count)
            }
        }
        deserializer.deserialize_any(Counting)
    }
}

/// Reads what a state is. What has no resources is read as well: whether that will do, the caller decides.
///
/// # Errors
/// When it is empty, no JSON, of another format, or without a lineage.
pub fn parse(place: &str, content: &[u8]) -> Result<Summary, Error> {
    let place = || place.to_owned();
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Empty { place: place() });
    }
    let corrupt = |reason: String| Error::Corrupt { place: place(), reason };
    let document: Document = serde_json::from_slice(content).map_err(|error| corrupt(plain(&error)))?;
    match document.version {
        None => return Err(corrupt("it has no version, so it is no state of Terraform's".to_owned())),
        Some(version) if version < FORMAT => return Err(Error::OldFormat { place: place(), version }),
        Some(version) if version > FORMAT => return Err(Error::NewFormat { place: place(), version }),
        Some(_) => {}
    }
    let lineage = document.lineage.filter(|lineage| !lineage.is_empty());
    let lineage = lineage.ok_or_else(|| corrupt("it has no lineage".to_owned()))?;
    let serial = document.serial.ok_or_else(|| corrupt("it has no serial".to_owned()))?;
    let Count { resources, instances } = document.resources;
    Ok(Summary { terraform_version: document.terraform_version, lineage, serial, resources, instances })
}

/// Where the JSON breaks, and not what stands there: it may be a secret.
fn plain(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "it ends in the middle",
        Category::Syntax | Category::Io => "it is no JSON",
        Category::Data => "it is not built as Terraform's states are",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// The same state under another serial. Every other byte stays as it is.
///
/// # Errors
/// When it is no state.
pub fn with_serial(place: &str, content: &Bytes, serial: u64) -> Result<Bytes, Error> {
    let at = place_of_serial(place, content)?;
    let serial = serial.to_string();
    let parts = [&content[..at.start], serial.as_bytes(), &content[at.end..]];
    let mut all = Room::new(parts.iter().map(|part| part.len() as u64).sum());
    parts.iter().for_each(|part| all.add(part));
    Ok(all.freeze())
}

/// The digest of what [`with_serial`] gives, which is not made for it.
///
/// # Errors
/// When it is no state.
pub fn digest_with_serial(place: &str, content: &[u8], serial: u64) -> Result<String, Error> {
    let at = place_of_serial(place, content)?;
    let digest = Sha256::new().chain_update(&content[..at.start]).chain_update(serial.to_string());
    Ok(hex::encode(digest.chain_update(&content[at.end..]).finalize()))
}

fn place_of_serial(place: &str, content: &[u8]) -> Result<Range<usize>, Error> {
    #[derive(Deserialize)]
    struct Serial<'a> {
        #[serde(borrow)]
        serial: &'a RawValue,
    }
    let corrupt = |reason: String| Error::Corrupt { place: place.to_owned(), reason };
    let text = std::str::from_utf8(content).map_err(|_| corrupt("it is not UTF-8".to_owned()))?;
    let found: Serial<'_> = serde_json::from_str(text).map_err(|error| corrupt(plain(&error)))?;
    // It is a part of `text`.
    let at = found.serial.get().as_ptr() as usize - text.as_ptr() as usize;
    Ok(at..at + found.serial.get().len())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A state as Terraform writes it.
    pub(crate) fn state(lineage: &str, serial: u64, resources: usize) -> Bytes {
        let one = |n: usize| {
            serde_json::json!({
                "mode": "managed", "type": "terraform_data", "name": format!("r{n}"),
                "provider": "provider[\"terraform.io/builtin/terraform\"]",
                "instances": [{ "schema_version": 0, "attributes": { "id": format!("id-{n}"), "input": serial }, "sensitive_attributes": [] }],
            })
        };
        let resources: Vec<_> = (0..resources).map(one).collect();
        let state = serde_json::json!({
            "version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": lineage,
            "outputs": {}, "resources": resources, "check_results": null,
        });
        serde_json::to_vec_pretty(&state).unwrap().into()
    }

    fn code(text: &str) -> &'static str {
        parse("x", text.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn a_state_is_understood() {
        let summary = parse("x", &state("abc", 8, 3)).unwrap();
        assert_eq!((summary.lineage.as_str(), summary.serial), ("abc", 8));
        assert_eq!((summary.resources, summary.instances), (3, 3));
        assert_eq!(
            parse("x", br#"{"version":4,"serial":1,"lineage":"a","resources":null}"#).unwrap().resources,
            0
        );
    }

    #[test]
    fn what_is_no_state_is_refused_with_the_right_code() {
        assert_eq!(code(""), "WL0714");
        assert_eq!(code(" \n"), "WL0714");
        assert_eq!(code("{"), "WL0715");
        assert_eq!(code("hello"), "WL0715");
        assert_eq!(code("[]"), "WL0715");
        assert_eq!(code("{}"), "WL0715");
        assert_eq!(code(r#"{"version":4,"serial":1,"lineage":""}"#), "WL0715");
        assert_eq!(code(r#"{"version":4,"lineage":"a"}"#), "WL0715");
        assert_eq!(code(r#"{"version":4,"serial":-1,"lineage":"a"}"#), "WL0715");
        assert_eq!(code(r#"{"version":4,"serial":1,"lineage":"a"} trailing"#), "WL0715");
        assert_eq!(code(r#"{"version":3,"serial":1,"lineage":"a","modules":[]}"#), "WL0716");
        assert_eq!(code(r#"{"version":5,"serial":1,"lineage":"a"}"#), "WL0717");
        let error = parse("x", br#"{"version":4,"serial":"hunter2"}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn only_the_serial_changes() {
        let old = state("abc", 8, 2);
        let new = with_serial("x", &old, 12).unwrap();
        let text = String::from_utf8(old.to_vec()).unwrap();
        assert_eq!(new, text.replacen("\"serial\": 8", "\"serial\": 12", 1));
        assert_eq!(parse("x", &new).unwrap().serial, 12);
        assert_eq!(digest_with_serial("x", &old, 12).unwrap(), crate::store::digest(&new));
        assert_eq!(with_serial("x", &new, 8).unwrap(), old);
        // A resource's own "serial" is another one.
        let inner = Bytes::from_static(br#"{"resources":[{"serial":1}],"serial":2}"#);
        assert_eq!(with_serial("x", &inner, 3).unwrap(), r#"{"resources":[{"serial":1}],"serial":3}"#);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in ".{0,200}") {
            let _ = parse("x", text.as_bytes());
            let _ = with_serial("x", &Bytes::from(text), 1);
        }
    }
}
