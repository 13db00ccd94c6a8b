//! Finds the few names that decide an event's subject, in one pass over the payload and without copying it.
//!
//! The whole payload is checked to be JSON, but only these names are kept: payloads are stored as the bytes that
//! came, so nothing is gained by building a tree. Wrong types count as absent: GitHub's payloads vary by
//! event and by year, and an event must not be lost over a field that only names it.

mod json;

use crate::refusal::Refusal;
use json::{Malformed, Reader};
use std::borrow::Cow;

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
        read(json).map_err(|Malformed| Refusal::NotAnObject)
    }
}

fn read(json: &[u8]) -> Result<Names<'_>, Malformed> {
    let mut reader = Reader::new(json);
    let mut action = None;
    let mut repository = Repository::default();
    let mut organization = None;
    reader.object(|reader, key| {
        match key {
            b"action" => action = name(reader)?,
            b"repository" => repository = Repository::read(reader)?,
            b"organization" => organization = Account::read(reader)?.login,
            _ => reader.value()?,
        }
        Ok(())
    })?;
    reader.end()?;
    let owner = repository.owner.login.or(repository.owner.name).or(organization);
    Ok(Names { action, owner, repository: repository.name })
}

#[derive(Default)]
struct Repository<'a> {
    name: Option<Cow<'a, str>>,
    owner: Account<'a>,
}

impl<'a> Repository<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut found = Self::default();
        if !reader.is_object() {
            return reader.value().map(|()| found);
        }
        reader.object(|reader, key| {
            match key {
                b"name" => found.name = name(reader)?,
                b"owner" => found.owner = Account::read(reader)?,
                _ => reader.value()?,
            }
            Ok(())
        })?;
        Ok(found)
    }
}

#[derive(Default)]
struct Account<'a> {
    login: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
}

impl<'a> Account<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut found = Self::default();
        if !reader.is_object() {
            return reader.value().map(|()| found);
        }
        reader.object(|reader, key| {
            match key {
                b"login" => found.login = name(reader)?,
                b"name" => found.name = name(reader)?,
                _ => reader.value()?,
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// A string that is not empty; `None` for anything else.
fn name<'a>(reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, Malformed> {
    Ok(reader.text()?.filter(|text| !text.is_empty()))
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
        assert_eq!(
            form_payload(b"a=1&payload=%7B%22a%22%3A+%22%C3%A9%22%7D").unwrap(),
            "{\"a\": \"é\"}".as_bytes()
        );
        assert_eq!(form_payload(b"body=%7B%7D"), Err(Refusal::FormPayload));
    }
}
