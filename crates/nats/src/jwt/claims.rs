//! What the tokens say. Limits are `Option<u64>`: `None` is "no limit", and is written as -1.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

const VERSION: u8 = 2;

/// What the operator's token says.
#[derive(Debug, Clone, Default)]
pub struct OperatorClaims {
    /// The fleet.
    pub name: String,
    /// Public keys that may sign accounts besides the identity.
    pub signing_keys: Vec<String>,
    /// Public key of the system account.
    pub system_account: Option<String>,
}

/// What an account's token says.
#[derive(Debug, Clone, Default)]
pub struct AccountClaims {
    /// The account's name.
    pub name: String,
    /// What the account may use of the server.
    pub limits: AccountLimits,
    /// What it may use of JetStream; `None` is no JetStream at all.
    pub jetstream: Option<JetStreamLimits>,
    /// Public keys that may sign users besides the identity.
    pub signing_keys: Vec<String>,
    /// Users (by public key) whose tokens issued up to then (seconds since 1970) no longer count.
    pub revocations: BTreeMap<String, i64>,
    /// What other accounts may import.
    pub exports: Vec<Export>,
    /// What it has of other accounts.
    pub imports: Vec<Import>,
}

/// Messages, or requests and their answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Exchange {
    /// Messages.
    #[default]
    Stream,
    /// Requests and their answers.
    Service,
}

/// Subjects that every account of the same operator may import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// The subjects.
    pub subject: String,
    /// Messages or requests.
    pub r#type: Exchange,
}

/// Subjects of another account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The subjects, as the other account has them.
    pub subject: String,
    /// Public key of the other account.
    pub account: String,
    /// What they are called here, if otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_subject: Option<String>,
    /// Messages or requests.
    pub r#type: Exchange,
}

/// An account's limits. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccountLimits {
    /// Subscriptions.
    #[serde(rename = "subs", serialize_with = "limit")]
    pub subscriptions: Option<u64>,
    /// Bytes.
    #[serde(serialize_with = "limit")]
    pub data: Option<u64>,
    /// Bytes of one message.
    #[serde(serialize_with = "limit")]
    pub payload: Option<u64>,
    /// Imports from other accounts.
    #[serde(serialize_with = "limit")]
    pub imports: Option<u64>,
    /// Exports to other accounts.
    #[serde(serialize_with = "limit")]
    pub exports: Option<u64>,
    /// Client connections.
    #[serde(rename = "conn", serialize_with = "limit")]
    pub connections: Option<u64>,
    /// Leaf node connections.
    #[serde(rename = "leaf", serialize_with = "limit")]
    pub leaf_nodes: Option<u64>,
}

/// An account's JetStream limits. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JetStreamLimits {
    /// Bytes in memory.
    #[serde(rename = "mem_storage", serialize_with = "limit")]
    pub memory: Option<u64>,
    /// Bytes on disk.
    #[serde(rename = "disk_storage", serialize_with = "limit")]
    pub disk: Option<u64>,
    /// Streams.
    #[serde(serialize_with = "limit")]
    pub streams: Option<u64>,
    /// Consumers.
    #[serde(rename = "consumer", serialize_with = "limit")]
    pub consumers: Option<u64>,
    /// Messages that one consumer may leave unacknowledged.
    #[serde(serialize_with = "limit")]
    pub max_ack_pending: Option<u64>,
    /// Bytes of one stream in memory.
    #[serde(rename = "mem_max_stream_bytes", serialize_with = "limit")]
    pub max_memory_stream: Option<u64>,
    /// Bytes of one stream on disk.
    #[serde(rename = "disk_max_stream_bytes", serialize_with = "limit")]
    pub max_disk_stream: Option<u64>,
}

/// What a user's token says. There is no bearer token: the seed is always needed too.
#[derive(Debug, Clone, Default)]
pub struct UserClaims {
    /// The user's name.
    pub name: String,
    /// Public key of the account, whose signing key signs.
    pub account: String,
    /// What the user may do.
    pub permissions: Permissions,
    /// What the user may use.
    pub limits: UserLimits,
    /// Seconds since 1970 from which on the token no longer counts.
    pub expires: Option<i64>,
}

/// A user's limits. The default is none.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UserLimits {
    /// Subscriptions.
    #[serde(rename = "subs", serialize_with = "limit")]
    pub subscriptions: Option<u64>,
    /// Bytes.
    #[serde(serialize_with = "limit")]
    pub data: Option<u64>,
    /// Bytes of one message.
    #[serde(serialize_with = "limit")]
    pub payload: Option<u64>,
}

/// What a user may publish and subscribe to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects to publish to.
    pub publish: Access,
    /// Subjects to subscribe to.
    pub subscribe: Access,
    /// It may answer each request that it receives, once and within two minutes, wherever the answer goes to.
    pub responses: bool,
}

/// How long an answer may take: the server's own default for answers.
const ANSWER_WITHIN_NANOS: i64 = 2 * 60 * 1_000_000_000;

impl Permissions {
    /// Everything within the account.
    #[must_use]
    pub fn everything() -> Self {
        let all = Access::Everything { except: Vec::new() };
        Self { publish: all.clone(), subscribe: all, responses: false }
    }

    /// As a token says it: `{"pub": …, "sub": …}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({ "pub": self.publish.rules(), "sub": self.subscribe.rules() });
        if let Some(answers) = self.answers() {
            json["resp"] = serde_json::json!(answers);
        }
        json
    }

    fn answers(&self) -> Option<Answers> {
        self.responses.then_some(Answers { max: 1, ttl: ANSWER_WITHIN_NANOS })
    }
}

/// Which subjects. In NATS's format an empty list of allowed subjects allows *everything*; here it allows nothing,
/// and so does the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Every subject but these.
    Everything {
        /// Denied subjects.
        except: Vec<String>,
    },
    /// Only these.
    Only {
        /// Allowed subjects; none means nothing is allowed.
        allow: Vec<String>,
        /// Of those, denied subjects.
        except: Vec<String>,
    },
}

impl Default for Access {
    fn default() -> Self {
        Self::only([])
    }
}

impl Access {
    /// Only these subjects.
    #[must_use]
    pub fn only<const N: usize>(subjects: [&str; N]) -> Self {
        Self::Only { allow: subjects.map(str::to_owned).to_vec(), except: Vec::new() }
    }

    fn rules(&self) -> Rules<'_> {
        match self {
            Self::Everything { except } => Rules { allow: Vec::new(), deny: texts(except) },
            Self::Only { allow, .. } if allow.is_empty() => Rules { allow: Vec::new(), deny: vec![">"] },
            Self::Only { allow, except } => Rules { allow: texts(allow), deny: texts(except) },
        }
    }
}

fn texts(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

#[derive(Serialize)]
struct Rules<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<&'a str>,
}

#[derive(Serialize)]
struct Answers {
    max: i64,
    ttl: i64,
}

#[derive(Serialize)]
pub(super) struct OperatorBody<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    signing_keys: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    system_account: Option<&'a str>,
    r#type: &'static str,
    version: u8,
}

#[derive(Serialize)]
pub(super) struct AccountBody<'a> {
    limits: AllLimits<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    signing_keys: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    revocations: &'a BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "<[Export]>::is_empty")]
    exports: &'a [Export],
    #[serde(skip_serializing_if = "<[Import]>::is_empty")]
    imports: &'a [Import],
    r#type: &'static str,
    version: u8,
}

#[derive(Serialize)]
struct AllLimits<'a> {
    #[serde(flatten)]
    account: &'a AccountLimits,
    /// Whether the account may export whole trees of subjects.
    wildcards: bool,
    /// The server refuses a bearer token, should somebody else ever sign one for this account.
    disallow_bearer: bool,
    #[serde(flatten)]
    jetstream: Option<&'a JetStreamLimits>,
}

#[derive(Serialize)]
pub(super) struct UserBody<'a> {
    r#pub: Rules<'a>,
    sub: Rules<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resp: Option<Answers>,
    #[serde(flatten)]
    limits: &'a UserLimits,
    issuer_account: &'a str,
    r#type: &'static str,
    version: u8,
}

impl OperatorClaims {
    pub(super) fn body(&self) -> OperatorBody<'_> {
        OperatorBody {
            signing_keys: &self.signing_keys,
            system_account: self.system_account.as_deref(),
            r#type: "operator",
            version: VERSION,
        }
    }
}

impl AccountClaims {
    /// As a token says it, below `nats`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self.body()).unwrap_or_default()
    }

    pub(super) fn body(&self) -> AccountBody<'_> {
        AccountBody {
            limits: AllLimits {
                account: &self.limits,
                wildcards: true,
                disallow_bearer: true,
                jetstream: self.jetstream.as_ref(),
            },
            signing_keys: &self.signing_keys,
            revocations: &self.revocations,
            exports: &self.exports,
            imports: &self.imports,
            r#type: "account",
            version: VERSION,
        }
    }
}

impl UserClaims {
    pub(super) fn body(&self) -> UserBody<'_> {
        UserBody {
            r#pub: self.permissions.publish.rules(),
            sub: self.permissions.subscribe.rules(),
            resp: self.permissions.answers(),
            limits: &self.limits,
            issuer_account: &self.account,
            r#type: "user",
            version: VERSION,
        }
    }
}

fn limit<S: Serializer>(limit: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let written = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    serializer.serialize_i64(written)
}
