//! Finds the few names that decide an event's subject, in one pass over the payload and without copying it.
//!
//! The whole payload is checked to be JSON, but only these names are kept: payloads are stored as the bytes that
//! came, so nothing is gained by building a tree. Wrong types count as absent: GitHub's payloads vary by
//! event and by year, and an event must not be lost over a field that only names it.

use crate::refusal::Refusal;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The names in a payload, as GitHub wrote them. Empty strings count as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// The top-level `action`.
    pub action: Option<Cow<'a, str>>,
    /// `repository.owner.login`, else `repository.owner.name`, else `organization.login`.
    pub owner: Option<Cow<'a, str>>,
    /// `repository.name`.
    pub repository: Option<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    /// Reads the names from a JSON payload.
    ///
    /// # Errors
    /// [`Refusal::NotAnObject`] when it is not one JSON object.
    pub fn parse(json: &'a [u8]) -> Result<Self, Refusal> {
        let top: Top<'a> = serde_json::from_slice(json).map_err(|_| Refusal::NotAnObject)?;
        let Repository { name, login, owner_name } = top.repository.unwrap_or_default();
        Ok(Self { action: top.action, owner: login.or(owner_name).or(top.organization), repository: name })
    }
}

/// The JSON inside a form-encoded body: its field `payload`.
///
/// # Errors
/// [`Refusal::FormPayload`] when there is no such field.
pub fn form_payload(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    // The decoder works on bytes that are percent-decoded as UTF-8; JSON is UTF-8, so nothing is lost by it.
    form_urlencoded::parse(body)
        .find(|(name, _)| name == "payload")
        .map(|(_, value)| value.into_owned().into_bytes())
        .ok_or(Refusal::FormPayload)
}

#[derive(Default)]
struct Top<'a> {
    action: Option<Cow<'a, str>>,
    repository: Option<Repository<'a>>,
    organization: Option<Cow<'a, str>>,
}

#[derive(Default)]
struct Repository<'a> {
    name: Option<Cow<'a, str>>,
    login: Option<Cow<'a, str>>,
    owner_name: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Top<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopVisitor;
        impl<'de> Visitor<'de> for TopVisitor {
            type Value = Top<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut top = Top::default();
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Action => top.action = map.next_value::<Text<'de>>()?.0,
                        Key::Repository => top.repository = map.next_value::<Object<'de>>()?.repository(),
                        Key::Organization => top.organization = map.next_value::<Object<'de>>()?.login,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(top)
            }
        }
        deserializer.deserialize_map(TopVisitor)
    }
}

/// An object of which only names are wanted; anything else is read over.
#[derive(Default)]
struct Object<'a> {
    name: Option<Cow<'a, str>>,
    login: Option<Cow<'a, str>>,
    owner: Option<Box<Object<'a>>>,
}

impl<'a> Object<'a> {
    fn repository(self) -> Option<Repository<'a>> {
        let owner = self.owner.map(|owner| *owner).unwrap_or_default();
        Some(Repository { name: self.name, login: owner.login, owner_name: owner.name })
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<ObjectKind>::new())
    }
}

/// A string, or `None` for a value of any other type and for an empty one.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Lenient::<TextKind>::new())
    }
}

/// What a lenient visitor makes of the two kinds of value that anyone asks for; all else is its default.
trait Kind {
    type Value<'de>: Sized;
    fn absent<'de>() -> Self::Value<'de>;
    fn text<'de>(_: Cow<'de, str>) -> Self::Value<'de> {
        Self::absent()
    }
    fn object<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self::Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::absent())
    }
}

struct TextKind;
impl Kind for TextKind {
    type Value<'de> = Text<'de>;
    fn absent<'de>() -> Text<'de> {
        Text(None)
    }
    fn text<'de>(text: Cow<'de, str>) -> Text<'de> {
        Text((!text.is_empty()).then_some(text))
    }
}

struct ObjectKind;
impl Kind for ObjectKind {
    type Value<'de> = Object<'de>;
    fn absent<'de>() -> Object<'de> {
        Object::default()
    }
    fn object<'de, A: MapAccess<'de>>(mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Name => object.name = map.next_value::<Text<'de>>()?.0,
                Key::Login => object.login = map.next_value::<Text<'de>>()?.0,
                Key::Owner => object.owner = Some(Box::new(map.next_value()?)),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(object)
    }
}

struct Lenient<K>(std::marker::PhantomData<K>);

impl<K> Lenient<K> {
    const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<'de, K: Kind> Visitor<'de> for Lenient<K> {
    type Value = K::Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(K::text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(K::text(Cow::Owned(text.to_owned())))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        K::object(map)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(K::absent())
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(K::absent())
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(K::absent())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(K::absent())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(K::absent())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(K::absent())
    }
}

/// The keys that matter, told apart without copying a key.
enum Key {
    Action,
    Repository,
    Organization,
    Owner,
    Login,
    Name,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                Ok(match key {
                    "action" => Key::Action,
                    "repository" => Key::Repository,
                    "organization" => Key::Organization,
                    "owner" => Key::Owner,
                    "login" => Key::Login,
                    "name" => Key::Name,
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> Names<'_> {
        Names::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn wrong_types_count_as_absent() {
        for json in [
            r#"{"action":5,"repository":"x","organization":[{"login":"no"}]}"#,
            r#"{"action":null,"repository":{"name":7,"owner":null},"organization":{"login":""}}"#,
            r#"{"action":{"a":[1.5]},"repository":[[],{}],"organization":true}"#,
            "{}",
        ] {
            assert_eq!(names(json), Names::default(), "{json}");
        }
    }

    #[test]
    fn escapes_are_decoded_and_plain_names_borrowed() {
        let json = r#"{"action":"open\u0065d","repository":{"name":"r","owner":{"name":"n","login":"l"}}}"#;
        let names = names(json);
        assert_eq!(names.action.as_deref(), Some("opened"));
        assert_eq!(names.owner.as_deref(), Some("l"));
        assert!(matches!(names.repository, Some(Cow::Borrowed("r"))));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for json in ["", "[]", "null", "\"x\"", "{", "{}x", "{\"a\":}", "{\"a\":1,}", "\u{feff}{}"] {
            assert_eq!(Names::parse(json.as_bytes()), Err(Refusal::NotAnObject), "{json}");
        }
    }

    #[test]
    fn the_last_of_repeated_keys_counts() {
        assert_eq!(names(r#"{"action":"a","action":"b"}"#).action.as_deref(), Some("b"));
    }

    #[test]
    fn a_form_gives_its_payload() {
        assert_eq!(form_payload(b"a=1&payload=%7B%22a%22%3A+%22%C3%A9%22%7D").unwrap(), "{\"a\": \"é\"}".as_bytes());
        assert_eq!(form_payload(b"body=%7B%7D"), Err(Refusal::FormPayload));
    }
}
