//! What can go wrong between here and Cloudflare. Cloudflare's own code and message are always repeated: they are what its
//! support and its documentation know.

use super::permission::Permission;
use serde::Deserialize;

/// One error in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reason {
    /// Cloudflare's number.
    pub code: i64,
    /// Its words.
    pub message: String,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [code: {}]", self.message, self.code)
    }
}

/// Why a call did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody answered.
    #[error("Cloudflare's API cannot be reached, to {call}: {cause}")]
    Unreachable {
        /// What was asked.
        call: String,
        /// Why.
        cause: String,
    },
    /// The token is none, or no longer one.
    #[error("Cloudflare does not take the API token, to {call}: {reason}")]
    Token {
        /// What was asked.
        call: String,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// The token is good, and may not do this.
    #[error("the API token lacks the permission \"{permission}\", to {call}: {reason}")]
    Permission {
        /// What was asked.
        call: String,
        /// The permission, as the dashboard shows it.
        permission: Permission,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// The token is good, and the account is not one of its own.
    #[error("the API token does not reach the account {account}, to {call}: {reason}")]
    Account {
        /// What was asked.
        call: String,
        /// The account's identifier.
        account: String,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// There is no such thing.
    #[error("Cloudflare has no such thing, to {call}: {reason}")]
    NotFound {
        /// What was asked.
        call: String,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// Another one has the name.
    #[error("the name is taken, to {call}: {reason}")]
    Taken {
        /// What was asked.
        call: String,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// The account may not have more.
    #[error("a limit of the account is reached, to {call}: {reason}")]
    Quota {
        /// What was asked.
        call: String,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// Too many requests, for longer than we wait.
    #[error("Cloudflare's API takes no more requests of this token now, to {call}: {reason}")]
    RateLimited {
        /// What was asked.
        call: String,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// Cloudflare failed, for longer than we wait.
    #[error("Cloudflare's API failed with {status}, to {call}: {reason}")]
    Failed {
        /// What was asked.
        call: String,
        /// The HTTP status.
        status: u16,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// Anything else that is refused.
    #[error("Cloudflare refuses to {call} ({status}): {reason}")]
    Refused {
        /// What was asked.
        call: String,
        /// The HTTP status.
        status: u16,
        /// Cloudflare's reason.
        reason: Reason,
    },
    /// An answer that makes no sense.
    #[error("Cloudflare's answer cannot be read, to {call}: {cause}")]
    Unreadable {
        /// What was asked.
        call: String,
        /// Why.
        cause: String,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "WL0640",
            Self::Token { .. } => "WL0641",
            Self::Permission { .. } => "WL0642",
            Self::Account { .. } => "WL0643",
            Self::Taken { .. } => "WL0644",
            Self::Quota { .. } => "WL0645",
            Self::RateLimited { .. } => "WL0646",
            Self::Refused { .. } | Self::NotFound { .. } => "WL0647",
            Self::Unreadable { .. } => "WL0648",
            Self::Failed { .. } => "WL0649",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "check the network, and CLOUDFLARE_API_BASE_URL if it is set; then run it again".into()
            }
            Self::Token { .. } => {
                "make a token at https://dash.cloudflare.com/profile/api-tokens, and put it where platforms.cloudflare.api_token \
                 says"
                .into()
            }
            Self::Permission { permission, .. } => {
                format!("edit the token in the dashboard, add \"{permission}\", and run it again")
            }
            Self::Account { .. } => {
                "check platforms.cloudflare.account_id: it is shown beside the account's name in the dashboard".into()
            }
            Self::Taken { .. } => "give it another name, or delete the other one; then run it again".into(),
            Self::Quota { .. } => "delete what is not needed, or ask Cloudflare for more; then run it again".into(),
            Self::RateLimited { .. } => {
                "wait five minutes and run it again: it goes on where it stopped; is another program using this token?"
                    .into()
            }
            Self::Failed { .. } => {
                "see https://www.cloudflarestatus.com, and run it again: it goes on where it stopped".into()
            }
            Self::Refused { .. } | Self::NotFound { .. } => {
                "look up Cloudflare's code in its documentation; `windlass plan` shows what is there now".into()
            }
            Self::Unreadable { .. } => {
                "check CLOUDFLARE_API_BASE_URL if it is set: does it lead to Cloudflare's API?".into()
            }
        }
    }

    /// Whether there is no such thing.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the answer was lost, so that nobody knows whether it was done.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Failed { .. } | Self::Unreadable { .. })
    }
}

impl From<Error> for windlass_engine::Trouble {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

/// What Cloudflare says of a thing whose name is taken: R2, KV, containers, workers.
const TAKEN: [i64; 4] = [10_004, 10_014, 10_073, 1608];
/// What it says when an account may not have more: KV namespaces, scripts, objects, containers.
const QUOTA: [i64; 6] = [10_013, 10_037, 10_047, 10_048, 10_064, 1610];

/// What an answer that is no success means, as far as it says so by itself. Whether 401 and 403 are the token's, the
/// permission's or the account's fault takes another question; until that is asked they are the permission's.
#[must_use]
pub fn classify(call: &str, permission: Permission, status: u16, reason: Reason) -> Error {
    let call = call.to_owned();
    let words = reason.message.to_ascii_lowercase();
    let taken =
        TAKEN.contains(&reason.code) || words.contains("already exists") || words.contains("already own");
    let limited = ["limit", "quota", "maximum number", "exceeded"].iter().any(|word| words.contains(word));
    match status {
        401 => Error::Token { call, reason },
        403 if limited && reason.code != 10_000 => Error::Quota { call, reason },
        403 => Error::Permission { call, permission, reason },
        404 => Error::NotFound { call, reason },
        429 => Error::RateLimited { call, reason },
        500.. => Error::Failed { call, status, reason },
        400 | 409 | 422 if taken => Error::Taken { call, reason },
        400..=499 if QUOTA.contains(&reason.code) || limited => Error::Quota { call, reason },
        400 if matches!(reason.code, 7003 | 7000) => Error::Account { call, account: String::new(), reason },
        400 if matches!(reason.code, 6003 | 1000 | 9109) => Error::Token { call, reason },
        409 => Error::Taken { call, reason },
        _ => Error::Refused { call, status, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_meaning() {
        let cases = [
            (401, 1000, "Invalid API Token", "WL0641"),
            (400, 6003, "Invalid request headers", "WL0641"),
            (403, 10_000, "Authentication error", "WL0642"),
            (400, 7003, "Could not route to /accounts/x/r2/buckets", "WL0643"),
            (409, 10_004, "The bucket you tried to create already exists, and you own it.", "WL0644"),
            (
                400,
                10_014,
                "create namespace: 'a namespace with this account ID and title already exists'",
                "WL0644",
            ),
            (403, 10_037, "You have exceeded the limit of 500 Workers on your account", "WL0645"),
            (400, 10_013, "This account has reached the maximum number of namespaces", "WL0645"),
            (429, 971, "Please wait and consider throttling your request speed", "WL0646"),
            (400, 10_021, "Uncaught SyntaxError: Unexpected token", "WL0647"),
            (404, 10_007, "This Worker does not exist on your account.", "WL0647"),
            (502, 0, "bad gateway", "WL0649"),
        ];
        for (status, code, message, expected) in cases {
            let reason = Reason { code, message: message.to_owned() };
            let error = classify("do it", Permission::Scripts, status, reason);
            assert_eq!(error.code(), expected, "{status} {code} {message}");
            assert!(error.to_string().contains(message), "{error}");
            assert!(error.to_string().contains(&format!("[code: {code}]")), "{error}");
            assert!(error.help().len() > 20);
        }
    }
}
