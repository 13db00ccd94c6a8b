//! Why a request is refused, in R2's words: its codes, statuses and messages. Pure.

use s3s::{S3Error, S3ErrorCode};
use std::borrow::Cow;

/// A request that is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is by its message")]
pub enum Refusal {
    #[error("The specified key does not exist.")]
    NoSuchKey,
    #[error("The specified bucket does not exist.")]
    NoSuchBucket,
    #[error("The specified bucket name is not valid.")]
    InvalidBucketName,
    #[error("The bucket you tried to create already exists, and you own it.")]
    BucketExists,
    #[error("The bucket you tried to delete is not empty.")]
    BucketNotEmpty,
    #[error("The specified object name is not valid.")]
    InvalidObjectName,
    #[error("At least one of the pre-conditions you specified did not hold.")]
    PreconditionFailed,
    #[error("Not modified.")]
    NotModified,
    #[error("Reduce your concurrent request rate for the same object.")]
    TooManyRequests,
    #[error("The {0} you specified did not match what we received.")]
    BadDigest(Cow<'static, str>),
    #[error("The {0} you specified is not valid.")]
    InvalidDigest(Cow<'static, str>),
    #[error("The requested range is not satisfiable")]
    InvalidRange,
    #[error("The specified multipart upload does not exist.")]
    NoSuchUpload,
    #[error("One or more of the specified parts could not be found.")]
    InvalidPart,
    #[error("All non-trailing parts must have the same length.")]
    UnequalParts,
    #[error("The list of parts was not in ascending order.")]
    InvalidPartOrder,
    #[error("Your proposed upload is smaller than the minimum allowed object size.")]
    EntityTooSmall,
    #[error("Your metadata headers exceed the maximum allowed metadata size.")]
    MetadataTooLarge,
    #[error("{0}")]
    InvalidArgument(Cow<'static, str>),
    #[error("{0}")]
    InvalidRequest(Cow<'static, str>),
    #[error("The customer key that was given is not the one that the object was written with.")]
    WrongCustomerKey,
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your secret access key and signing method."
    )]
    SignatureDoesNotMatch,
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    ContentSha256Mismatch,
    #[error("The encryption request that you specified is not valid. The valid value is AES256.")]
    InvalidEncryptionAlgorithm,
    #[error("The storage class specified is not valid.")]
    InvalidStorageClass,
    #[error("MaxKeys params must be positive integer <= 1000.")]
    InvalidMaxKeys,
    #[error("The TagSet does not exist.")]
    NoSuchTagSet,
    #[error("Object Lock configuration does not exist for this bucket.")]
    NoObjectLockConfiguration,
    #[error("The replication configuration was not found.")]
    NoReplicationConfiguration,
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Access Denied")]
    AccessDenied,
    #[error("{0} not implemented")]
    NotImplemented(Cow<'static, str>),
    #[error("The request body terminated unexpectedly")]
    IncompleteBody,
    #[error("We encountered an internal error. Please try again.")]
    Internal(String),
}

impl Refusal {
    /// The code in the body of the answer, and the HTTP status.
    pub const fn code(&self) -> (&'static str, u16) {
        match self {
            Self::NoSuchKey => ("NoSuchKey", 404),
            Self::NoSuchBucket => ("NoSuchBucket", 404),
            Self::InvalidBucketName => ("InvalidBucketName", 400),
            Self::BucketExists => ("BucketAlreadyOwnedByYou", 409),
            Self::BucketNotEmpty => ("BucketNotEmpty", 409),
            Self::InvalidObjectName => ("InvalidObjectName", 400),
            Self::PreconditionFailed => ("PreconditionFailed", 412),
            Self::NotModified => ("NotModified", 304),
            Self::TooManyRequests => ("TooManyRequests", 429),
            Self::BadDigest(_) => ("BadDigest", 400),
            Self::InvalidDigest(_) => ("InvalidDigest", 400),
            Self::InvalidRange => ("InvalidRange", 416),
            Self::NoSuchUpload => ("NoSuchUpload", 404),
            Self::InvalidPart | Self::UnequalParts => ("InvalidPart", 400),
            Self::InvalidPartOrder => ("InvalidPartOrder", 400),
            Self::EntityTooSmall => ("EntityTooSmall", 400),
            Self::MetadataTooLarge => ("MetadataTooLarge", 400),
            Self::InvalidArgument(_) => ("InvalidArgument", 400),
            Self::InvalidRequest(_) => ("InvalidRequest", 400),
            Self::WrongCustomerKey | Self::AccessDenied => ("AccessDenied", 403),
            Self::SignatureDoesNotMatch => ("SignatureDoesNotMatch", 403),
            Self::ContentSha256Mismatch => ("XAmzContentSHA256Mismatch", 400),
            Self::InvalidEncryptionAlgorithm => ("InvalidEncryptionAlgorithmError", 400),
            Self::InvalidStorageClass => ("InvalidStorageClass", 400),
            Self::InvalidMaxKeys => ("InvalidMaxKeys", 400),
            Self::NoSuchTagSet => ("NoSuchTagSet", 404),
            Self::NoObjectLockConfiguration => ("ObjectLockConfigurationNotFoundError", 404),
            Self::NoReplicationConfiguration => ("ReplicationConfigurationNotFoundError", 404),
            Self::Unauthorized => ("Unauthorized", 401),
            Self::NotImplemented(_) => ("NotImplemented", 501),
            Self::IncompleteBody => ("IncompleteBody", 400),
            Self::Internal(_) => ("InternalError", 500),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<Refusal> for S3Error {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::Internal(cause) = &refusal {
            tracing::error!(cause, "a request failed");
        }
        let (code, status) = refusal.code();
        let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
        let mut error = Self::with_message(code, refusal.to_string());
        if let Ok(status) = http::StatusCode::from_u16(status) {
            error.set_status_code(status);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2s_own_codes_and_statuses_reach_the_answer() {
        let error = S3Error::from(Refusal::TooManyRequests);
        assert_eq!(error.code().as_str(), "TooManyRequests");
        assert_eq!(error.status_code().map(|status| status.as_u16()), Some(429));
        let error = S3Error::from(Refusal::Internal("disk".into()));
        assert!(!error.message().unwrap().contains("disk"));
    }
}
