//! Temporary credentials of R2. As with Cloudflare, nothing is kept of them: the session token says what they may do and
//! until when, and is sealed with the account's secret. The secret of the credentials is the hash of the token.

use super::answer::Refusal;
use super::state::hash;
use super::time;
use crate::r2::{Asked, Keys, Sessions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The bucket.
    pub bucket: String,
    /// The access key id that they descend from.
    pub parent: String,
    /// What they may do.
    pub permission: String,
    /// Seconds that they last.
    pub ttl: u64,
    /// Only these keys.
    pub objects: Vec<String>,
    /// Only keys that begin so.
    pub prefixes: Vec<String>,
}

/// What a session token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The access key id that belongs to it.
    pub id: String,
    /// The bucket.
    pub bucket: String,
    /// `default`, `eu`, …
    pub jurisdiction: String,
    /// What it may do: `object-read-only` and so on.
    pub permission: String,
    /// Only these keys, and those that begin so; neither: all.
    pub objects: Vec<String>,
    /// As `objects` says.
    pub prefixes: Vec<String>,
    /// When it ends, in milliseconds since 1970.
    pub ends: u64,
}

const PERMISSIONS: &[&str] =
    &["admin-read-write", "admin-read-only", "object-read-write", "object-read-only"];

/// The longest that they last: seven days.
const LONGEST: u64 = 604_800;

impl Wanted {
    /// What the body of a request says.
    pub fn read(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let text = |name: &str| {
            let found = body.get(name).and_then(Value::as_str);
            found.map(str::to_owned).ok_or_else(|| Refusal::malformed(format!("{name} is missing")))
        };
        let list = |name: &str| {
            let all = body.get(name).and_then(Value::as_array);
            all.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let wanted = Self {
            bucket: text("bucket")?,
            parent: text("parentAccessKeyId")?,
            permission: text("permission")?,
            ttl: body.get("ttlSeconds").and_then(Value::as_u64).unwrap_or(3600),
            objects: list("objects"),
            prefixes: list("prefixes"),
        };
        if !PERMISSIONS.contains(&wanted.permission.as_str()) {
            return Err(Refusal::malformed(format!("permission is one of {}", PERMISSIONS.join(", "))));
        }
        if !(1..=LONGEST).contains(&wanted.ttl) {
            return Err(Refusal::malformed(format!("ttlSeconds is 1 to {LONGEST}")));
        }
        Ok(wanted)
    }
}

impl Grant {
    /// What was wanted, from now on.
    pub fn new(wanted: &Wanted, jurisdiction: &str, now: u64) -> Self {
        Self {
            id: super::state::new_id(),
            bucket: wanted.bucket.clone(),
            jurisdiction: jurisdiction.to_owned(),
            permission: wanted.permission.clone(),
            objects: wanted.objects.clone(),
            prefixes: wanted.prefixes.clone(),
            ends: now.saturating_add(wanted.ttl.saturating_mul(1000)),
        }
    }

    /// The session token.
    pub fn token(&self, secret: &str) -> String {
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes())))
    }

    /// What a session token says; `None` for one that was not made with this secret.
    pub fn from_token(token: &str, secret: &str) -> Option<Self> {
        let (text, seal) = token.split_once('.')?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        hmac::verify(&key, text.as_bytes(), &URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }

    /// Whether a request may be made: `key` is what it is about, or the prefix of a listing.
    pub fn allows(&self, writes: bool, bucket: &str, key: Option<&str>, now: u64) -> bool {
        let everywhere = self.objects.is_empty() && self.prefixes.is_empty();
        let here = key.is_some_and(|key| {
            self.objects.iter().any(|object| object == key)
                || self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
        });
        let admin = self.permission.starts_with("admin");
        now < self.ends
            && bucket == self.bucket
            && (everywhere || here)
            && (!writes || self.permission.ends_with("read-write"))
            && (admin || key.is_some())
    }
}

/// The secret access key that belongs to a session token.
pub fn secret_of(token: &str) -> String {
    hash(token.as_bytes())
}

/// The temporary credentials of a jurisdiction.
#[derive(Debug)]
pub struct Grants {
    /// `default`, `eu`, …
    pub jurisdiction: &'static str,
    /// The account's secret.
    pub secret: SecretString,
}

impl Grants {
    fn grant(&self, token: &str) -> Option<Grant> {
        let grant = Grant::from_token(token, self.secret.expose_secret())?;
        (grant.jurisdiction == self.jurisdiction).then_some(grant)
    }
}

impl Sessions for Grants {
    fn keys(&self, token: &str) -> Option<Keys> {
        let grant = self.grant(token).filter(|grant| time::now() < grant.ends)?;
        Some(Keys { access_key_id: grant.id, secret_access_key: secret_of(token).into() })
    }

    fn allows(&self, token: &str, asked: &Asked<'_>) -> bool {
        let grant = self.grant(token);
        grant.is_some_and(|grant| grant.allows(asked.writes, asked.bucket, asked.key, time::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grant(permission: &str, prefixes: &[&str]) -> Grant {
        let body = json!({ "bucket": "b", "parentAccessKeyId": "p", "permission": permission, "ttlSeconds": 1,
            "prefixes": prefixes });
        Grant::new(&Wanted::read(body.as_object().unwrap()).unwrap(), "default", 0)
    }

    #[test]
    fn a_token_says_what_it_was_made_of() {
        let grant = grant("object-read-only", &["a/"]);
        let token = grant.token("secret");
        assert_eq!(Grant::from_token(&token, "secret"), Some(grant));
        assert_eq!(Grant::from_token(&token, "another"), None);
        let other = format!("x{token}");
        assert_eq!(Grant::from_token(&other, "secret"), None);
    }

    #[test]
    fn what_it_allows() {
        let reads = grant("object-read-only", &["a/"]);
        assert!(reads.allows(false, "b", Some("a/1"), 999));
        assert!(!reads.allows(false, "b", Some("a/1"), 1000), "it has ended");
        assert!(!reads.allows(false, "b", Some("c"), 0) && !reads.allows(false, "c", Some("a/1"), 0));
        assert!(!reads.allows(true, "b", Some("a/1"), 0));
        let writes = grant("object-read-write", &[]);
        assert!(writes.allows(true, "b", Some("x"), 0) && !writes.allows(true, "b", None, 0));
        assert!(grant("admin-read-only", &[]).allows(false, "b", None, 0));
    }
}
