//! Who may ask for what: one account, and nothing that R2 does not have. Pure, but for the signature that `s3s` checks.

use crate::r2::refusal::Refusal;
use http::HeaderMap;
use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use secrecy::{ExposeSecret, SecretString};

/// Headers that R2 knows of and does not implement. A trailing `*` stands for any rest.
const REFUSED_HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-*",
    "x-amz-mfa",
    "x-amz-object-lock-*",
    "x-amz-request-payer",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-context",
    "x-amz-source-expected-bucket-owner",
    "x-amz-tagging*",
    "x-amz-website-redirect-location",
];

/// Operations that there are here. Everything else is refused by its name.
const OPERATIONS: &[&str] = &[
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateBucket",
    "CreateMultipartUpload",
    "DeleteBucket",
    "DeleteObject",
    "DeleteObjects",
    "GetBucketLocation",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjects",
    "ListObjectsV2",
    "ListParts",
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
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
            return Err(Refusal::Unauthorized.into());
        }
        Ok(SecretKey::from(self.secret_access_key.expose_secret()))
    }
}

/// What R2 implements.
#[derive(Debug)]
pub struct Implemented;

#[async_trait::async_trait]
impl S3Access for Implemented {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(Refusal::Unauthorized.into());
        }
        let operation = context.s3_op().name();
        if !OPERATIONS.contains(&operation) {
            return Err(Refusal::NotImplemented(operation.to_owned().into()).into());
        }
        Ok(check_headers(context.headers())?)
    }
}

/// Refuses a request with a header that R2 does not implement.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let refused = |name: &str| {
        REFUSED_HEADERS.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        })
    };
    match headers.iter().find(|(name, _)| refused(name.as_str())) {
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

    fn check(name: &'static str, value: &'static str) -> Result<(), Refusal> {
        check_headers(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
    }

    #[test]
    fn headers_that_r2_does_not_implement() {
        let refused = check("x-amz-acl", "public-read").unwrap_err();
        assert_eq!(refused.to_string(), "Header 'x-amz-acl' with value 'public-read' not implemented");
        assert_eq!(refused.code(), ("NotImplemented", 501));
        for name in ["x-amz-grant-read", "x-amz-object-lock-mode", "x-amz-server-side-encryption"] {
            assert!(check(name, "x").is_err(), "{name}");
        }
    }

    #[test]
    fn headers_that_it_does() {
        for name in ["x-amz-server-side-encryption-customer-key", "x-amz-meta-acl", "x-amz-date", "if-match"]
        {
            check(name, "x").unwrap();
        }
    }
}
