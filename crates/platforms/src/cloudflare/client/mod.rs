//! Cloudflare's REST API: the calls that a fleet at the edge needs, and no more.
//!
//! Every call says in words what it is for; that is what a person reads when it fails. A call that can be made twice is made
//! again when its answer is lost or Cloudflare fails, with growing pauses. One that makes something new is not: whoever
//! made it looks whether it is there ([`Error::is_uncertain`]). The limit of 1,200 requests in five minutes is for the
//! token, so everything of one plan shares one client, which slows down before the limit is reached.

pub mod account;
pub mod analytics;
pub mod containers;
mod error;
pub mod kv;
pub mod multipart;
pub mod page;
mod permission;
pub mod r2;
pub mod retry;
pub mod workers;

pub use error::{Error, Reason, classify};
pub use permission::{Permission, needed};

use multipart::Part;
use page::Next;
use retry::Outcome;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Cloudflare's own.
pub const BASE: &str = "https://api.cloudflare.com/client/v4";
/// The variable that leads elsewhere, as in Cloudflare's own tools.
pub const BASE_VARIABLE: &str = "CLOUDFLARE_API_BASE_URL";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// More items than this at once are asked for by nobody.
const MOST_PAGES: u64 = 10_000;

/// The HTTP method of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Look.
    Get,
    /// Set.
    Put,
    /// Make, or do.
    Post,
    /// Change.
    Patch,
    /// Delete.
    Delete,
}

/// What a call carries.
#[derive(Clone, Debug)]
enum Body {
    None,
    Json(Value),
    Form(Vec<Part>),
    Text(String),
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Body,
    /// In words, such as `make the bucket acme-payloads`.
    what: String,
    idempotent: bool,
}

impl Call {
    /// A call to `path` below the API's base, to do `what`. All but a POST can be made twice.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::None,
            what: what.into(),
            idempotent: method != Method::Post,
        }
    }

    /// With a query parameter.
    #[must_use]
    pub fn query(mut self, key: &str, value: impl Into<String>) -> Self {
        self.query.push((key.to_owned(), value.into()));
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body of JSON.
    #[must_use]
    pub fn json(mut self, value: Value) -> Self {
        self.body = Body::Json(value);
        self
    }

    /// With a form.
    #[must_use]
    pub fn form(mut self, parts: Vec<Part>) -> Self {
        self.body = Body::Form(parts);
        self
    }

    /// With a body of text.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.body = Body::Text(text.into());
        self
    }

    /// It can be made twice, though it is a POST.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// It must not be made twice.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.idempotent = false;
        self
    }
}

/// What Cloudflare says around every result.
#[derive(Debug, serde::Deserialize)]
struct Envelope {
    #[serde(default)]
    success: bool,
    #[serde(default)]
    errors: Vec<Reason>,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    result_info: Value,
}

/// An answer: its status, its content type and its bytes.
struct Answer {
    status: u16,
    content_type: String,
    bytes: Vec<u8>,
}

/// A client of one account.
pub struct Client {
    http: reqwest::Client,
    base: String,
    account: String,
    token: SecretString,
    not_before: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// The API's base: Cloudflare's own, or what [`BASE_VARIABLE`] says.
#[must_use]
pub fn base_url() -> String {
    let set = std::env::var(BASE_VARIABLE).ok().filter(|url| !url.is_empty());
    set.map_or_else(|| BASE.to_owned(), |url| url.trim_end_matches('/').to_owned())
}

/// A client for plain HTTP requests.
///
/// # Errors
/// When the system has no trusted certificates.
pub fn http_client() -> Result<reqwest::Client, Error> {
    // Someone else may have installed it; there is only one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Error::Unreachable { call: "set up a client".to_owned(), cause: chain(&error) })
}

impl Client {
    /// A client of the account, at `base` (as a rule [`base_url`]).
    ///
    /// # Errors
    /// When the system has no trusted certificates.
    pub fn new(base: &str, account: &str, token: SecretString) -> Result<Self, Error> {
        Ok(Self {
            http: http_client()?,
            base: base.trim_end_matches('/').to_owned(),
            account: account.to_owned(),
            token,
            not_before: Mutex::new(None),
        })
    }

    /// The account's identifier.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The API's base.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A path of the account.
    pub(super) fn at(&self, rest: &str) -> String {
        format!("/accounts/{}/{rest}", encode(&self.account))
    }

    /// The result of a call.
    pub(super) async fn get<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let envelope = self.envelope(call).await?;
        serde_json::from_value(envelope.result)
            .map_err(|error| Error::Unreadable { call: call.what.clone(), cause: error.to_string() })
    }

    /// A call whose result says nothing.
    pub(super) async fn run(&self, call: &Call) -> Result<(), Error> {
        self.envelope(call).await.map(drop)
    }

    /// The same, of what may be gone already.
    pub(super) async fn run_or_gone(&self, call: &Call) -> Result<(), Error> {
        match self.run(call).await {
            Err(error) if error.is_not_found() => Ok(()),
            done => done,
        }
    }

    /// What a call finds; `None` when there is no such thing.
    pub(super) async fn find<T: DeserializeOwned>(&self, call: &Call) -> Result<Option<T>, Error> {
        match self.get(call).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every item of a list, however it is handed out. The items are the result itself, or are below `key` in it.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        call: Call,
        key: Option<&str>,
    ) -> Result<Vec<T>, Error> {
        self.some(call, key, usize::MAX).await
    }

    /// The items of a list, until there are `most` or no more.
    pub(super) async fn some<T: DeserializeOwned>(
        &self,
        call: Call,
        key: Option<&str>,
        most: usize,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let unreadable = |cause: String| Error::Unreadable { call: call.what.clone(), cause };
        let mut next = call.clone();
        for page in 1..=MOST_PAGES {
            let mut envelope = self.envelope(&next).await?;
            let list = match key {
                Some(key) => envelope.result.get_mut(key).map(Value::take).unwrap_or_default(),
                None => envelope.result,
            };
            let list: Vec<T> = match list {
                Value::Null => Vec::new(),
                list => serde_json::from_value(list).map_err(|error| unreadable(error.to_string()))?,
            };
            let got = list.len();
            items.extend(list);
            if items.len() >= most {
                return Ok(items);
            }
            match page::next(&envelope.result_info, got, page) {
                Next::Query(key, value) => next = call.clone().query(key, value),
                Next::End => return Ok(items),
            }
        }
        Err(unreadable("the list has no end".to_owned()))
    }

    /// The raw body of an answer, with its content type.
    pub(super) async fn raw(&self, call: &Call) -> Result<(String, Vec<u8>), Error> {
        let answer = self.send(call).await?;
        if (200..300).contains(&answer.status) {
            return Ok((answer.content_type, answer.bytes));
        }
        Err(self.refused(call, &answer).await)
    }

    async fn envelope(&self, call: &Call) -> Result<Envelope, Error> {
        let answer = self.send(call).await?;
        let good = (200..300).contains(&answer.status);
        if good && answer.bytes.is_empty() {
            return Ok(Envelope {
                success: true,
                errors: Vec::new(),
                result: Value::Null,
                result_info: Value::Null,
            });
        }
        match serde_json::from_slice::<Envelope>(&answer.bytes) {
            Ok(envelope) if good && envelope.success => Ok(envelope),
            Err(error) if good => {
                Err(Error::Unreadable { call: call.what.clone(), cause: error.to_string() })
            }
            _ => Err(self.refused(call, &answer).await),
        }
    }

    /// Why an answer is no success. A token that is refused is asked about, so that the person reads which of three things
    /// is wrong: the token, its permissions, or the account.
    async fn refused(&self, call: &Call, answer: &Answer) -> Error {
        let reason = reason_of(answer.status, &answer.bytes);
        let error = classify(&call.what, needed(&call.path), answer.status, reason);
        match error {
            Error::Permission { call, permission, reason } => match self.token_works().await {
                Some(false) => Error::Token { call, reason },
                Some(true) if !self.account_is_seen().await => {
                    Error::Account { call, account: self.account.clone(), reason }
                }
                _ => Error::Permission { call, permission, reason },
            },
            Error::Account { call, reason, .. } => {
                Error::Account { call, account: self.account.clone(), reason }
            }
            error => error,
        }
    }

    /// Makes a call, again and again where that is right.
    async fn send(&self, call: &Call) -> Result<Answer, Error> {
        let mut attempt = 1;
        loop {
            self.wait_for_turn().await;
            let result = self.send_once(call).await;
            let outcome = match &result {
                Ok((answer, after)) => Outcome::Answered(answer.status, *after),
                Err(error) if error.is_connect() || error.is_builder() => Outcome::NotSent,
                Err(_) => Outcome::Lost,
            };
            if let Some(pause) = retry::again(call.idempotent, outcome, attempt, jitter(attempt)) {
                tracing::debug!(call = call.what, attempt, ?outcome, ?pause, "Cloudflare is asked again");
                tokio::time::sleep(pause).await;
                attempt += 1;
                continue;
            }
            return match result {
                Ok((answer, _)) => Ok(answer),
                Err(error) => {
                    Err(Error::Unreachable { call: call.what.clone(), cause: chain(&error.without_url()) })
                }
            };
        }
    }

    async fn wait_for_turn(&self) {
        let until = *self.not_before.lock().await;
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    async fn send_once(&self, call: &Call) -> Result<(Answer, Option<u64>), reqwest::Error> {
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let url = format!("{}{}{}", self.base, call.path, query_text(&call.query));
        let mut request = self.http.request(method, url).bearer_auth(self.token.expose_secret());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        request = match &call.body {
            Body::None => request,
            Body::Json(value) => request.json(value),
            Body::Text(text) => request.header("content-type", "text/plain").body(text.clone()),
            Body::Form(parts) => {
                let (content_type, body) = multipart::write(parts);
                request.header("content-type", content_type).body(body)
            }
        };
        let response = request.send().await?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let after = header("retry-after").and_then(|value| value.parse().ok());
        if let Some(pause) = header("ratelimit").as_deref().and_then(retry::pause) {
            *self.not_before.lock().await = Some(Instant::now() + pause);
        }
        let (status, content_type) = (response.status().as_u16(), header("content-type").unwrap_or_default());
        let bytes = response.bytes().await?.to_vec();
        Ok((Answer { status, content_type, bytes }, after))
    }
}

/// What an answer gives as its reason: Cloudflare's first error, else what the status says.
fn reason_of(status: u16, bytes: &[u8]) -> Reason {
    let envelope = serde_json::from_slice::<Envelope>(bytes).ok();
    let first = envelope.and_then(|envelope| envelope.errors.into_iter().next());
    first.unwrap_or_else(|| {
        // Containers once said it so.
        let plain = serde_json::from_slice::<Value>(bytes).ok();
        let said = plain.as_ref().and_then(|plain| plain["error"].as_str()).map(str::to_owned);
        Reason { code: 0, message: said.unwrap_or_else(|| format!("HTTP status {status}, without a reason")) }
    })
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Between 0 and 1, different for each attempt and process; how, does not matter.
fn jitter(attempt: u32) -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    (RandomState::new().hash_one(attempt) % 1000) as f64 / 1000.0
}

/// One segment of a path.
#[must_use]
pub fn encode(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn query_text(query: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        query.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cloudflares_own_where_it_gives_one() {
        let said = br#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"messages":[],"result":null}"#;
        assert_eq!(reason_of(403, said).to_string(), "Authentication error [code: 10000]");
        assert_eq!(reason_of(400, br#"{"error":"IMAGE_NOT_FOUND"}"#).message, "IMAGE_NOT_FOUND");
        assert_eq!(reason_of(502, b"<html>").message, "HTTP status 502, without a reason");
    }

    #[test]
    fn paths_and_queries_are_encoded() {
        assert_eq!(encode("a/b c%?ü"), "a%2Fb%20c%25%3F%C3%BC");
        let query = [("page".to_owned(), "2".to_owned()), ("cursor".to_owned(), "a=b&c".to_owned())];
        assert_eq!(query_text(&query), "?page=2&cursor=a%3Db%26c");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let client = Client::new(BASE, "acc", SecretString::from("very-secret")).unwrap();
        assert!(!format!("{client:?}").contains("very-secret"));
    }
}
