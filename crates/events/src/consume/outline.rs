//! The outline of a payload: enough of it to say in a line what happened, whatever its size.
//!
//! A payload of 25 MB as a tree takes ten times that. The outline keeps the upper levels only, texts up to a length,
//! and of each list its length and first element; the rest is read over. It is lenient where a typed structure is
//! not: GitHub's payloads vary by event and by year.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

const MOST_LEVELS: usize = 5;
const LONGEST_TEXT: usize = 500;

/// A value of a payload.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Outline {
    /// Nothing, or nothing that is kept.
    #[default]
    Nothing,
    /// A truth value.
    Bool(bool),
    /// A number, as text.
    Number(String),
    /// A text, perhaps only its beginning.
    Text(String),
    /// A list.
    List {
        /// How long it is.
        length: usize,
        /// Its first element.
        first: Box<Outline>,
    },
    /// An object.
    Object(BTreeMap<String, Outline>),
}

static NOTHING: Outline = Outline::Nothing;

impl Outline {
    /// The outline of a JSON text; `None` when it is not JSON.
    pub fn of(json: &[u8]) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let outline = Level(0).deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(outline)
    }

    /// A text that is not empty.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A number, as it was written.
    pub fn number(&self) -> Option<&str> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Whether it is the value `true`.
    pub fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    /// The length of a list; 0 for all else.
    pub fn length(&self) -> usize {
        match self {
            Self::List { length, .. } => *length,
            _ => 0,
        }
    }

    /// The first element of a list.
    pub fn first(&self) -> &Self {
        match self {
            Self::List { first, .. } => first,
            _ => &NOTHING,
        }
    }

    /// The login of who caused the event.
    pub fn sender(&self) -> Option<&str> {
        self["sender"]["login"].text()
    }
}

/// What is not there is [`Outline::Nothing`].
impl Index<&str> for Outline {
    type Output = Outline;

    fn index(&self, key: &str) -> &Outline {
        match self {
            Self::Object(members) => members.get(key).unwrap_or(&NOTHING),
            _ => &NOTHING,
        }
    }
}

struct Level(usize);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Outline;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Outline, D::Error> {
        if self.0 > MOST_LEVELS {
            IgnoredAny::deserialize(deserializer)?;
            return Ok(Outline::Nothing);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Outline, E> {
        Ok(Outline::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Outline, E> {
        Ok(Outline::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Outline, E> {
        Ok(Outline::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Outline, E> {
        Ok(Outline::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Outline, E> {
        let end = value.floor_char_boundary(LONGEST_TEXT);
        Ok(Outline::Text(value[..end].to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Outline, E> {
        Ok(Outline::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Outline, A::Error> {
        let Some(first) = seq.next_element_seed(Level(self.0 + 1))? else {
            return Ok(Outline::List { length: 0, first: Box::default() });
        };
        let mut length = 1;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Outline::List { length, first: Box::new(first) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            match map.next_value_seed(Level(self.0 + 1))? {
                Outline::Nothing => members.remove(&key),
                value => members.insert(key, value),
            };
        }
        Ok(Outline::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_needs_is_kept() {
        let outline = Outline::of(
            br#"{"sender":{"login":"octocat"},"commits":[{"id":"a"},{"id":"b"}],"number":7,"draft":true,"x":null}"#,
        )
        .unwrap();
        assert_eq!(outline.sender(), Some("octocat"));
        assert_eq!((outline["commits"].length(), outline["commits"].first()["id"].text()), (2, Some("a")));
        assert_eq!((outline["number"].number(), outline["draft"].is_true()), (Some("7"), true));
        assert_eq!(outline["x"]["y"]["z"], Outline::Nothing);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(Outline::of(deep.as_bytes()).is_some());
        let long = format!("{:?}", "é".repeat(1_000));
        assert_eq!(Outline::of(long.as_bytes()).unwrap().text().unwrap().len(), LONGEST_TEXT);
    }

    #[test]
    fn what_is_not_json_has_no_outline() {
        for text in ["", "{", "{} x", "{\"a\":}"] {
            assert_eq!(Outline::of(text.as_bytes()), None, "{text}");
        }
    }
}
