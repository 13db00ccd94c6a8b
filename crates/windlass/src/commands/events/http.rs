//! Posts deliveries over HTTP, as GitHub does.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::Value;

use super::error::Error;
use super::line::plain;
use crate::failure::{self, Failure};

/// Some receivers look for the beginning, which is GitHub's.
const USER_AGENT: &str = concat!("GitHub-Hookshot/windlass-", env!("CARGO_PKG_VERSION"));
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// More than this of an answer is not read.
const LONGEST_ANSWER: usize = 64 * 1024;
const LONGEST_MESSAGE: usize = 200;

/// Posts to one URL.
#[derive(Clone, Debug)]
pub struct Poster {
    client: Client,
    url: Url,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the body.
    pub body: Vec<u8>,
    /// How long the receiver wants us to wait.
    pub retry_after: Option<Duration>,
}

impl Poster {
    /// Posts to this URL, and waits so long for each answer.
    pub fn new(url: &str, within: Duration) -> Result<Self, Failure> {
        let wrong = |reason: &str| Error::Target { target: url.to_owned(), reason: reason.to_owned() };
        let parsed: Url = url.parse().map_err(|_| wrong("it is not a URL"))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(wrong("it is not an http or https URL").into());
        }
        // The first one installed counts; it does not matter by whom.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(within)
            .tcp_nodelay(true);
        if is_this_machine(&parsed) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| failure::Error::Environment { what: "HTTP", cause: chain(&error) })?;
        Ok(Self { client, url: parsed })
    }

    /// The URL.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Posts a delivery. The error says why there is no answer.
    pub async fn post(&self, headers: Vec<(&'static str, String)>, body: Bytes) -> Result<Answer, String> {
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| format!("the header {name} has a value that HTTP cannot carry"))?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            map.insert(name, value);
        }
        let request = self.client.post(self.url.clone()).headers(map).body(body);
        let mut response = request.send().await.map_err(|error| chain(&error.without_url()))?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while body.len() < LONGEST_ANSWER {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // The status has been said; what else was to come does not change it.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(Answer { status, body, retry_after: retry_after.map(Duration::from_secs) })
    }
}

impl Answer {
    /// The body, where it is JSON; `null` otherwise.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What it says, in a line: `code message`, or the beginning of whatever it is.
    pub fn message(&self) -> String {
        let json = self.json();
        let words: Vec<&str> = ["code", "message"].iter().filter_map(|field| json[field].as_str()).collect();
        let text =
            if words.is_empty() { String::from_utf8_lossy(&self.body).into_owned() } else { words.join(" ") };
        plain(text.trim()).chars().take(LONGEST_MESSAGE).collect()
    }
}

fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// An error with its causes. A cause often says again what the one before said.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(&format!(": {words}"));
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.into(), retry_after: None }
    }

    #[test]
    fn answers_are_put_in_a_line() {
        assert_eq!(answer(401, r#"{"code":"WL0305","message":"no","help":"x"}"#).message(), "WL0305 no");
        assert_eq!(answer(404, "Cannot POST /\n\u{1b}[1m").message(), "Cannot POST / [1m");
        assert_eq!(answer(500, &"x".repeat(1_000)).message().len(), LONGEST_MESSAGE);
        assert_eq!(answer(200, "").json(), Value::Null);
    }

    #[test]
    fn only_other_machines_are_behind_a_proxy() {
        for (url, expected) in [
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]:1/x", true),
            ("http://localhost/x", true),
            ("https://example.com/127.0.0.1", false),
        ] {
            assert_eq!(is_this_machine(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_bad_input() {
        for url in ["ftp://x/y", "http://", "nothing"] {
            let failure = Poster::new(url, Duration::from_secs(1)).unwrap_err();
            assert_eq!(failure.parts().map(|(code, .., exit)| (code, exit)), Some(("WL0364", 3)), "{url}");
        }
    }
}
