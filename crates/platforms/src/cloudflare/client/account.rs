//! Who the token is, and which accounts it reaches.

use super::{Call, Client, Error, Method};
use serde::Deserialize;
use serde_json::Value;

/// What Cloudflare says of a token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Token {
    /// Its identifier, which is R2's access key as well.
    pub id: String,
    /// `active`, `disabled` or `expired`.
    pub status: String,
    /// Until when it is good.
    #[serde(default)]
    pub expires_on: Option<String>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Its identifier.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

impl Client {
    /// The token as Cloudflare knows it, be it the account's or a person's.
    ///
    /// # Errors
    /// When it is no token of either, or nobody answers.
    pub async fn verify(&self) -> Result<Token, Error> {
        let what = "verify the token";
        match self.get(&Call::new(Method::Get, self.at("tokens/verify"), what)).await {
            Err(error) if !error.is_uncertain() => {
                self.get(&Call::new(Method::Get, "/user/tokens/verify", what)).await
            }
            verified => verified,
        }
    }

    /// The accounts that the token reaches.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let call = Call::new(Method::Get, "/accounts", "list the accounts").query("per_page", "50");
        self.all(call, None).await
    }

    /// Whether the token is one at all; `None` when nobody can say. No question here leads back to [`Client::verify`].
    pub(super) async fn token_works(&self) -> Option<bool> {
        let mut refused = false;
        for path in [self.at("tokens/verify"), "/user/tokens/verify".to_owned()] {
            let answer = self.send(&Call::new(Method::Get, path, "verify the token")).await.ok()?;
            let body: Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
            if (200..300).contains(&answer.status) {
                return Some(body["result"]["status"] == "active");
            }
            refused |= matches!(answer.status, 400 | 401 | 403 | 404);
        }
        refused.then_some(false)
    }

    /// Whether the account is among those that the token reaches; true when nobody can say.
    pub(super) async fn account_is_seen(&self) -> bool {
        let call = Call::new(Method::Get, "/accounts", "list the accounts").query("per_page", "50");
        let Ok(answer) = self.send(&call).await else { return true };
        let body: Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
        match body["result"].as_array() {
            Some(accounts) if (200..300).contains(&answer.status) && !accounts.is_empty() => {
                accounts.iter().any(|one| one["id"] == self.account.as_str())
            }
            _ => true,
        }
    }
}
