//! The test vectors: what every implementation of the event format has to agree on.

use crate::tools::repository;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// A case of `subjects.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectCase {
    /// What the case is about.
    pub case: String,
    /// The event's name.
    pub event: String,
    /// The payload, unless its exact text matters.
    #[serde(default)]
    pub payload: Value,
    /// Its exact text, where that matters.
    pub text: Option<String>,
    /// The subject that is expected.
    pub subject: Option<String>,
    /// Or the code of the refusal.
    pub code: Option<String>,
}

impl SubjectCase {
    /// The payload's bytes.
    pub fn body(&self) -> String {
        self.text.clone().unwrap_or_else(|| self.payload.to_string())
    }
}

/// A case of `headers.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderCase {
    /// What the case is about.
    pub case: String,
    /// What came.
    pub request: ReceivedRequest,
    /// When it came, RFC 3339.
    pub received: String,
    /// The bucket, where the payload is left there.
    pub claim_check_bucket: Option<String>,
    /// The headers that are expected.
    pub headers: BTreeMap<String, String>,
}

/// The request of a [`HeaderCase`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivedRequest {
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

impl ReceivedRequest {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A case of `signatures.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureCase {
    /// What the case is about.
    pub case: String,
    /// Every secret that is configured.
    pub secrets: Vec<String>,
    /// The body, in Base64.
    pub body: String,
    /// The header, if it is sent.
    pub header: Option<String>,
    /// Whether the signature is good.
    pub accept: bool,
    /// The code of the refusal.
    pub code: Option<String>,
}

/// `errors.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// What the file is.
    pub description: String,
    /// The only secret.
    pub secret: String,
    /// The request that every case changes.
    pub request: Value,
    /// The cases.
    pub cases: Vec<ErrorCase>,
}

/// A case of `errors.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorCase {
    /// What the case is about.
    pub case: String,
    /// Another method.
    pub method: Option<String>,
    /// Another path.
    pub path: Option<String>,
    /// Other headers; null takes one away.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    /// Another body.
    pub body: Option<Value>,
    /// The status that is expected.
    pub status: u16,
    /// The code that is expected.
    pub code: String,
    /// The methods that the header `Allow` names.
    pub allow: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Cases<T> {
    cases: Vec<T>,
}

/// The cases of a file with nothing else in it.
pub fn cases<T: DeserializeOwned>(file: &str) -> Vec<T> {
    read::<Cases<T>>(file).cases
}

/// The bad requests.
pub fn errors() -> Errors {
    read("errors.json")
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    let path = repository().join("tests/vectors").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
