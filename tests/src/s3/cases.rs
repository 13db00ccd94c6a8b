//! The cases of `tests/vectors/r2.json`, and how one is run.

use super::servers::Server;
use super::sigv4::{self, Form, Signed};
use crate::vectors;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use s3s::crypto::{Checksum, Crc32, Md5};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A case: requests in order, and what is to be answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What R2 does, as a sentence.
    pub name: String,
    /// Who relies on it, or why it is looked at.
    pub of: Group,
    /// The requests.
    pub steps: Vec<Step>,
}

/// Who relies on a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Terraform's `backend "s3"`.
    Terraform,
    /// Windlass's own state.
    Windlass,
    /// Other S3 clients.
    Clients,
    /// What R2 refuses.
    Refused,
    /// What R2's documents do not say: the case says what the local R2 does.
    Unknown,
}

/// A request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `METHOD /key?query` in the test's bucket, or `METHOD //bucket…` outside of it. `{…}` is replaced, as in all that is sent or expected: see `fill`.
    pub send: String,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// Instead of `body`: so many bytes.
    pub size: Option<usize>,
    /// How it is signed.
    #[serde(default)]
    pub sign: Form,
    /// The status that is to be answered.
    pub status: u16,
    /// The error code that is to be answered.
    pub code: Option<String>,
    /// The whole body that is to be answered.
    pub answer: Option<String>,
    /// What is to be in the body that is answered.
    #[serde(default)]
    pub contains: Vec<String>,
    /// What is not to be in it.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Headers that are to be answered.
    #[serde(default)]
    pub with: BTreeMap<String, String>,
    /// What later steps need: a name, and `header:NAME` or `xml:ELEMENT`.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

/// All cases.
pub fn all() -> Vec<Case> {
    vectors::cases("r2.json")
}

/// What went otherwise: words that are the same in every run.
pub type Difference = String;

/// Runs a case. `number` keeps its keys apart from those of others.
pub async fn run(client: &Client, server: &Server, number: usize, case: &Case) -> Result<(), Difference> {
    let mut values = BTreeMap::from([("case".to_owned(), format!("case-{number}"))]);
    for step in &case.steps {
        let done = step.run(client, server, &mut values).await;
        done.map_err(|difference| {
            let request = step.send.replace("{case}/", "").replace("{case}", "");
            eprintln!("{}: {:?}: {request}: {difference}", server.name, case.name);
            difference
        })?;
    }
    Ok(())
}

impl Step {
    async fn run(
        &self,
        client: &Client,
        server: &Server,
        values: &mut BTreeMap<String, String>,
    ) -> Result<(), Difference> {
        let send = fill(&self.send, values);
        let (method, target) = send.split_once(' ').expect("METHOD /path");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = match path.strip_prefix("//") {
            Some("/") => "/".to_owned(),
            Some(path) => format!("/{path}"),
            None if path == "/" => format!("/{}", server.bucket),
            None => format!("/{}{path}", server.bucket),
        };
        let query: Vec<(String, String)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let bucket = [("bucket".to_owned(), server.bucket.clone())];
        values.extend(bucket);
        let headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| (name.clone(), fill(value, values))).collect();
        let body = match self.size {
            Some(size) => vec![b'x'; size],
            None => fill(&self.body, values).into_bytes(),
        };
        let signed = sigv4::sign(
            self.sign,
            &server.keys,
            &server.endpoints[0],
            (method, &path),
            &query,
            &headers,
            &body,
        );
        let answer = Answer::of(client, method, signed).await.ok_or("no answer")?;
        self.compare(&answer, values)?;
        for (name, place) in &self.save {
            let value = match place.split_once(':') {
                Some(("header", header)) => answer.headers.get(header).cloned(),
                Some(("xml", element)) => answer.element(element),
                _ => panic!("{place} is no place"),
            };
            values.insert(name.clone(), value.ok_or_else(|| format!("no {place}"))?);
        }
        Ok(())
    }

    fn compare(&self, answer: &Answer, values: &BTreeMap<String, String>) -> Result<(), Difference> {
        let code = answer.element("Code");
        if answer.status != self.status || (self.code.is_some() && self.code != code) {
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            return Err(format!("{}{code}", answer.status));
        }
        for (name, wanted) in &self.with {
            let (found, wanted) = (answer.headers.get(name), fill(wanted, values));
            match found {
                None => return Err(format!("no header {name}")),
                Some(found) if *found != wanted => return Err(format!("another {name}")),
                Some(_) => {}
            }
        }
        if let Some(wanted) = &self.answer
            && fill(wanted, values) != answer.body
        {
            return Err("another body".into());
        }
        let has = |text: &String| answer.body.contains(&fill(text, values));
        if let Some(text) = self.contains.iter().find(|text| !has(text)) {
            return Err(format!("no {}", text.replace("{case}/", "")));
        }
        match self.lacks.iter().find(|text| has(text)) {
            Some(text) => Err(format!("{} is there", text.replace("{case}/", ""))),
            None => Ok(()),
        }
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    /// Sends a request; `None` when there is no answer.
    pub async fn of(client: &Client, method: &str, signed: Signed) -> Option<Self> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = client.request(method, signed.url).timeout(Duration::from_secs(20));
        for (name, value) in signed.headers {
            request = request.header(name, value);
        }
        let response = request.body(signed.body).send().await.ok()?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = String::from_utf8_lossy(&response.bytes().await.ok()?).into_owned();
        Some(Self { status, headers, body })
    }

    /// The text of the first element with this name.
    pub fn element(&self, name: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    }
}

/// Replaces `{NAME}` by what was saved, and `{md5:TEXT}`, `{crc32:TEXT}` (base64), `{etag:TEXT}` (quoted hex),
/// `{key:C}` and `{keymd5:C}` (32 times the character, base64) by what they say.
fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        let of = |text: &str| <_ as AsRef<[u8]>>::as_ref(&Md5::checksum(text.as_bytes())).to_vec();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match name.split_once(':') {
            None if name.is_empty() => filled.push_str("{}"),
            None => filled.push_str(values.get(name).unwrap_or_else(|| panic!("{name} was not saved"))),
            Some(("md5", text)) => filled.push_str(&STANDARD.encode(of(text))),
            Some(("crc32", text)) => filled.push_str(&STANDARD.encode(Crc32::checksum(text.as_bytes()))),
            Some(("etag", text)) => filled.push_str(&format!("\"{}\"", hex(&of(text)))),
            Some(("key", text)) => filled.push_str(&STANDARD.encode(text.repeat(32))),
            Some(("keymd5", text)) => filled.push_str(&STANDARD.encode(of(&text.repeat(32)))),
            Some((other, _)) => panic!("{other} is no function"),
        }
        rest = behind;
    }
    filled + rest
}
