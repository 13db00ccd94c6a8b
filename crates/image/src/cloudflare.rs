//! Cloudflare's own registry, and the short-lived credentials that its API gives for it.
//!
//! An image there is `registry.cloudflare.com/<account>/<name>:<tag>`. Nobody has a password for it: whoever may change
//! containers asks for one that is over after some minutes.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::Error;
use crate::push::Credentials;

/// The registry.
pub const REGISTRY: &str = "registry.cloudflare.com";
/// The API.
pub const API: &str = "https://api.cloudflare.com/client/v4";
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Long enough for a slow line, short enough to be worth little to a thief.
const MINUTES: u32 = 15;

/// Who asks Cloudflare.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account's id.
    pub id: String,
    /// A token that may change containers.
    pub token: SecretString,
    /// The API's address, without a slash at the end.
    pub api: String,
}

/// The reference with the account in it, which Cloudflare's registry wants first: added where it is missing, as wrangler does.
pub fn with_account(reference: &str, account: &str) -> String {
    match reference.split_once('/') {
        Some((registry, rest)) if rest.split('/').next() != Some(account) => {
            format!("{registry}/{account}/{rest}")
        }
        _ => reference.to_owned(),
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Vec<Problem>,
    result: Option<Given>,
}

#[derive(Deserialize)]
struct Problem {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct Given {
    username: Option<String>,
    password: SecretString,
}

/// Asks for credentials that may push to and pull from `registry`.
///
/// # Errors
/// When Cloudflare gives none, with its own code and message.
pub async fn credentials(account: &Account, registry: &str) -> Result<Credentials, Error> {
    let failed = |cause: String| Error::Cloudflare { registry: registry.to_owned(), cause };
    // An account's id has no other letters; anything else would ask for another page of the API.
    if account.id.is_empty() || !account.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(failed("the account's id is not one".to_owned()));
    }
    let client = reqwest::Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_WITHIN)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let url = format!("{}/accounts/{}/containers/registries/{registry}/credentials", account.api, account.id);
    let answer = client
        .post(url)
        .bearer_auth(account.token.expose_secret())
        .json(&json!({ "expiration_minutes": MINUTES, "permissions": ["push", "pull"] }))
        .send()
        .await
        .map_err(|error| failed(error.without_url().to_string()))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| failed(error.without_url().to_string()))?;
    read(status.as_u16(), &body).map_err(failed)
}

/// What an answer gives. `Err` is what Cloudflare says instead.
fn read(status: u16, body: &[u8]) -> Result<Credentials, String> {
    // A body that is none of Cloudflare's is not repeated: whoever sent it might have sent a secret.
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| format!("status {status}, and an answer that is not understood"))?;
    if let (Some(given), 200..300) = (answer.result, status) {
        let username = given.username.unwrap_or_else(|| "v1".to_owned());
        return Ok(Credentials::Password { username, password: given.password });
    }
    let problems: Vec<String> =
        answer.errors.iter().map(|problem| format!("{} (code {})", problem.message, problem.code)).collect();
    Err(if problems.is_empty() { format!("status {status}") } else { problems.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_in_the_reference_once() {
        assert_eq!(
            with_account("registry.cloudflare.com/nats:1", "abc"),
            "registry.cloudflare.com/abc/nats:1"
        );
        assert_eq!(
            with_account("registry.cloudflare.com/abc/nats:1", "abc"),
            "registry.cloudflare.com/abc/nats:1"
        );
    }

    #[test]
    fn an_answer_gives_credentials_or_its_reason() {
        let given = br#"{"success":true,"errors":[],"result":{"username":"v1","password":"p4ss","registry_host":"r"}}"#;
        let Ok(Credentials::Password { username, password }) = read(200, given) else {
            panic!("credentials")
        };
        assert_eq!((username.as_str(), password.expose_secret()), ("v1", "p4ss"));
        let refused =
            br#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"result":null}"#;
        assert_eq!(read(403, refused).unwrap_err(), "Authentication error (code 10000)");
        assert_eq!(read(502, b"<html>p4ss").unwrap_err(), "status 502, and an answer that is not understood");
        assert_eq!(read(500, b"{}").unwrap_err(), "status 500");
    }
}
