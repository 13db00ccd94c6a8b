//! Who may ask for what: one account, and nothing that R2 does not have. Pure, but for the signature that `s3s` checks.

use crate::r2::refusal::Refusal;
use crate::r2::{Asked, Sessions};
use http::HeaderMap;
use parking_lot::Mutex;
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::Arc;

/// Headers that R2 knows of and does not implement, and the operations that refuse them; none named: all do. A trailing
/// `*` stands for any rest.
const REFUSED_HEADERS: &[(&str, &[&str])] = &[
    ("x-amz-expected-bucket-owner", &[]),
    ("x-amz-source-expected-bucket-owner", &[]),
    ("x-amz-bucket-object-lock-enabled", &["CreateBucket"]),
    ("x-amz-bypass-governance-retention", DELETES),
    ("x-amz-mfa", DELETES),
    ("x-amz-grant-*", WRITES),
    ("x-amz-object-lock-*", WRITES),
    ("x-amz-tagging*", WRITES),
    ("x-amz-website-redirect-location", WRITES),
    ("x-amz-server-side-encryption-aws-kms-key-id", WRITES),
    ("x-amz-server-side-encryption-bucket-key-enabled", WRITES),
    ("x-amz-server-side-encryption-context", WRITES),
    ("x-amz-server-side-encryption", &["UploadPart"]),
    ("x-amz-checksum-algorithm", &["CopyObject"]),
    ("x-amz-copy-source-if-*", &["UploadPartCopy"]),
];

const WRITES: &[&str] = &["PutObject", "CopyObject", "CreateMultipartUpload", "CreateBucket"];

const DELETES: &[&str] = &["DeleteObject", "DeleteObjects"];

/// Headers that a write may have with one of these values, which then mean nothing, and with no other.
const HARMLESS_VALUES: &[(&str, &[&str])] = &[
    ("x-amz-server-side-encryption", &["AES256"]),
    (
        "x-amz-acl",
        &[
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
            "aws-exec-read",
            "bucket-owner-read",
            "bucket-owner-full-control",
        ],
    ),
];

/// The length of an R2 access key id: 128 bits in hex.
pub const ACCESS_KEY_LENGTH: usize = 32;

/// The one account.
#[derive(Debug)]
pub struct Account {
    /// Its access key id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: SecretString,
    /// Its temporary credentials.
    pub temporary: Arc<Temporary>,
}

/// Temporary credentials of requests that are under way: a signature is checked by the access key id alone, and what the
/// session token says of it is put here beforehand.
#[derive(Debug, Default)]
pub struct Temporary {
    /// Who knows of them.
    pub sessions: Option<Arc<dyn Sessions>>,
    secrets: Mutex<HashMap<String, SecretString>>,
}

/// The header with a session token.
const SESSION: &str = "x-amz-security-token";

impl Temporary {
    /// Requests' credentials, by these sessions.
    pub fn new(sessions: Option<Arc<dyn Sessions>>) -> Self {
        Self { sessions, secrets: Mutex::default() }
    }

    /// Looks at a request before its signature is checked.
    pub fn announce(&self, headers: &HeaderMap, query: Option<&str>) {
        let Some(keys) =
            self.sessions.as_ref().zip(session(headers, query)).and_then(|(all, token)| all.keys(&token))
        else {
            return;
        };
        let mut secrets = self.secrets.lock();
        // They can be found again at any time, so that none needs to stay.
        if secrets.len() >= 1000 {
            secrets.clear();
        }
        secrets.insert(keys.access_key_id, keys.secret_access_key);
    }
}

/// The session token of a request.
fn session(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let header = headers.get(SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    header.or_else(|| {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == "X-Amz-Security-Token").map(|(_, value)| value.into_owned())
    })
}

#[async_trait::async_trait]
impl S3Auth for Account {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let length = access_key.len();
        if length != ACCESS_KEY_LENGTH {
            let text = format!("Credential access key has length {length}, should be {ACCESS_KEY_LENGTH}");
            return Err(Refusal::InvalidArgument(text.into()).into());
        }
        if access_key != self.access_key_id {
            let known = self.temporary.secrets.lock().get(access_key).cloned();
            let secret = known.ok_or(Refusal::Unauthorized)?;
            return Ok(SecretKey::from(secret.expose_secret()));
        }
        Ok(SecretKey::from(self.secret_access_key.expose_secret()))
    }
}

/// What R2 implements, and what whoever asks may do of it.
#[derive(Debug)]
pub struct Implemented {
    /// The account's own access key id, which may do everything.
    pub access_key_id: String,
    /// Others, and what they may do.
    pub temporary: Arc<Temporary>,
}

#[async_trait::async_trait]
impl S3Access for Implemented {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if is_version_2(context.headers(), context.uri().query()) {
            return Err(Refusal::InvalidRequest("Please use AWS4-HMAC-SHA256".into()).into());
        }
        if context.credentials().is_none() {
            return Err(Refusal::InvalidArgument("Authorization".into()).into());
        }
        let operation = context.s3_op().name();
        if !super::is_operation(operation) {
            return Err(Refusal::NotImplemented(operation.to_owned().into()).into());
        }
        check_headers(operation, context.headers())?;
        let is_own = context.credentials().is_some_and(|known| known.access_key == self.access_key_id);
        if is_own || self.may(context) { Ok(()) } else { Err(Refusal::AccessDenied.into()) }
    }
}

impl Implemented {
    /// Whether temporary credentials allow this.
    fn may(&self, context: &S3AccessContext<'_>) -> bool {
        let Some(sessions) = &self.temporary.sessions else { return false };
        let query = context.uri().query();
        let Some(token) = session(context.headers(), query) else { return false };
        let signed_with = context.credentials().map(|known| known.access_key.as_str());
        if sessions.keys(&token).as_ref().map(|keys| keys.access_key_id.as_str()) != signed_with {
            return false;
        }
        let operation = context.s3_op().name();
        let (bucket, key) = match context.s3_path() {
            S3Path::Root => ("", None),
            S3Path::Bucket { bucket } => (bucket.as_ref(), None),
            S3Path::Object { bucket, key } => (bucket.as_ref(), Some(key.to_string())),
        };
        // A listing is about the keys that begin with its prefix.
        let key = key.or_else(|| {
            let lists = matches!(operation, "ListObjects" | "ListObjectsV2");
            let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            let prefix = pairs.find(|(name, _)| name == "prefix").map(|(_, value)| value.into_owned());
            lists.then(|| prefix.unwrap_or_default())
        });
        let reads = ["Get", "Head", "List"].iter().any(|kind| operation.starts_with(kind));
        // What it copies from lies elsewhere, and is not looked at here.
        let copies = context.headers().contains_key("x-amz-copy-source");
        // The keys of a deletion of many are in its body.
        let many = operation == "DeleteObjects";
        let asked = Asked { writes: !reads, bucket, key: key.as_deref() };
        !copies && !many && sessions.allows(&token, &asked)
    }
}

/// Whether a request is signed in the old way, which `s3s` knows and R2 does not.
fn is_version_2(headers: &HeaderMap, query: Option<&str>) -> bool {
    let in_header =
        headers.get(http::header::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    let mut pairs = query.unwrap_or_default().split('&');
    in_header || pairs.any(|pair| pair.starts_with("Signature="))
}

/// Refuses a request with a header that R2 does not implement.
fn check_headers(operation: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let is = |name: &str, pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    let refused = |name: &str, value: &[u8]| {
        let unknown = REFUSED_HEADERS
            .iter()
            .any(|(pattern, by)| is(name, pattern) && (by.is_empty() || by.contains(&operation)));
        let harmful = HARMLESS_VALUES.iter().any(|(pattern, values)| {
            name == *pattern
                && WRITES.contains(&operation)
                && !values.iter().any(|text| text.as_bytes() == value)
        });
        unknown || harmful
    };
    match headers.iter().find(|(name, value)| refused(name.as_str(), value.as_bytes())) {
        None => Ok(()),
        Some((name, value)) => {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            Err(Refusal::NotImplemented(format!("Header '{name}' with value '{value}'").into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operation: &str, name: &'static str, value: &'static str) -> Result<(), Refusal> {
        check_headers(operation, &HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
    }

    #[test]
    fn headers_that_r2_does_not_implement() {
        let refused = check("PutObject", "x-amz-server-side-encryption", "aws:kms").unwrap_err();
        let text = "Header 'x-amz-server-side-encryption' with value 'aws:kms' not implemented";
        assert_eq!(refused.to_string(), text);
        assert_eq!(refused.code(), ("NotImplemented", 501));
        for name in ["x-amz-grant-read", "x-amz-object-lock-mode", "x-amz-tagging", "x-amz-acl"] {
            assert!(check("PutObject", name, "x").is_err(), "{name}");
        }
        assert!(check("GetObject", "x-amz-expected-bucket-owner", "1").is_err());
        assert!(check("UploadPart", "x-amz-server-side-encryption", "AES256").is_err());
    }

    #[test]
    fn old_signatures_are_known() {
        let headers = HeaderMap::from_iter([("authorization".parse().unwrap(), "AWS a:b".parse().unwrap())]);
        assert!(is_version_2(&headers, None));
        assert!(is_version_2(&HeaderMap::new(), Some("AWSAccessKeyId=a&Signature=b")));
        let new =
            HeaderMap::from_iter([("authorization".parse().unwrap(), "AWS4-HMAC-SHA256 a".parse().unwrap())]);
        assert!(!is_version_2(&new, Some("X-Amz-Signature=b")));
    }

    #[test]
    fn operations_that_there_are() {
        assert!(super::super::is_operation("GetObject"));
        assert!(!super::super::is_operation("ListObjectVersions"));
    }

    #[test]
    fn headers_that_it_takes() {
        for (name, value) in [
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption-customer-key", "x"),
            ("x-amz-acl", "private"),
            ("x-amz-meta-acl", "x"),
            ("if-match", "x"),
        ] {
            check("PutObject", name, value).unwrap();
        }
        check("GetObject", "x-amz-tagging", "x").unwrap();
    }
}
