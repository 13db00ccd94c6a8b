//! Why a delivery was not taken, and what its sender can do: the answers other than 2xx.
//!
//! Each variant is one row of the table in `docs/events.md` and one page in `docs/errors/`. What a sender sees is
//! only what is written here; causes (paths, addresses, NATS errors) go to the log.

use http::StatusCode;
use serde_json::json;

/// A request that was not taken. Nothing of it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// `X-GitHub-Event` is missing or not usable.
    #[error(
        "the header X-GitHub-Event is missing or is not a name of letters, digits, '_' and '-' (at most 64)"
    )]
    Event,
    /// `X-GitHub-Delivery` is missing or not usable.
    #[error(
        "the header X-GitHub-Delivery is missing or is not an identifier of letters, digits, '-', '_' and '.' (at most 128)"
    )]
    Delivery,
    /// `X-Hub-Signature-256` is missing.
    #[error("the header X-Hub-Signature-256 is missing: the delivery is not signed")]
    SignatureMissing,
    /// `X-Hub-Signature-256` does not have the right form.
    #[error("the header X-Hub-Signature-256 is not 'sha256=' followed by 64 hex digits")]
    SignatureMalformed,
    /// The signature was made with none of the configured secrets, or over other bytes.
    #[error("the signature matches none of the configured secrets")]
    SignatureMismatch,
    /// The content type is neither JSON nor a form.
    #[error("the content type is neither application/json nor application/x-www-form-urlencoded")]
    ContentType,
    /// The body is larger than GitHub ever sends.
    #[error("the body is larger than 26214400 bytes (25 MiB)")]
    TooLarge,
    /// The payload is not a JSON object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A form without a readable field `payload`.
    #[error("the form has no readable field 'payload'")]
    FormPayload,
    /// A name in the payload is too long for a subject.
    #[error("a name in the payload is longer than 255 bytes once it is encoded for a subject")]
    NameTooLong,
    /// Neither the stream nor the spool could take the event.
    #[error("the event could not be stored: NATS did not take it, and neither did the spool")]
    NotStored,
    /// Too many requests or bytes are in flight.
    #[error("too many deliveries are in flight")]
    Overloaded,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// No such path.
    #[error("there is nothing at this path; webhooks go to POST /github")]
    NotFound,
    /// The path exists, the method does not.
    #[error("this path does not take this method")]
    MethodNotAllowed,
}

impl Refusal {
    /// Every refusal, in the order of the codes.
    pub const ALL: [Self; 15] = [
        Self::Event,
        Self::Delivery,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::SignatureMismatch,
        Self::ContentType,
        Self::TooLarge,
        Self::NotAnObject,
        Self::FormPayload,
        Self::NameTooLong,
        Self::NotStored,
        Self::Overloaded,
        Self::BodyTimeout,
        Self::NotFound,
        Self::MethodNotAllowed,
    ];

    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Event => "WL0301",
            Self::Delivery => "WL0302",
            Self::SignatureMissing => "WL0303",
            Self::SignatureMalformed => "WL0304",
            Self::SignatureMismatch => "WL0305",
            Self::ContentType => "WL0306",
            Self::TooLarge => "WL0307",
            Self::NotAnObject => "WL0308",
            Self::FormPayload => "WL0309",
            Self::NameTooLong => "WL0310",
            Self::NotStored => "WL0311",
            Self::Overloaded => "WL0312",
            Self::BodyTimeout => "WL0313",
            Self::NotFound => "WL0314",
            Self::MethodNotAllowed => "WL0315",
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Event | Self::Delivery | Self::NotAnObject | Self::FormPayload | Self::NameTooLong => {
                StatusCode::BAD_REQUEST
            }
            Self::SignatureMissing | Self::SignatureMalformed | Self::SignatureMismatch => {
                StatusCode::UNAUTHORIZED
            }
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotStored | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// What the sender can do about it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Event | Self::Delivery => {
                "only GitHub's webhooks, or what sends the same headers, can post here"
            }
            Self::SignatureMissing => {
                "set a secret on the webhook at GitHub: without one GitHub does not sign"
            }
            Self::SignatureMalformed => {
                "sign with HMAC-SHA256; the older X-Hub-Signature (SHA-1) is not accepted"
            }
            Self::SignatureMismatch => {
                "set the same secret on the webhook and in [github] secret; a proxy must not change the body"
            }
            Self::ContentType => "set the webhook's content type to application/json",
            Self::TooLarge => "GitHub itself drops payloads above 25 MB: check what sends this",
            Self::NotAnObject | Self::FormPayload | Self::NameTooLong => {
                "check what sends this: GitHub does not"
            }
            Self::NotStored | Self::Overloaded => {
                "nothing was kept; deliver it again later (GitHub lists it as failed)"
            }
            Self::BodyTimeout => "check the network between GitHub and here, and any proxy on the way",
            Self::NotFound => "set the webhook's URL to one that ends in /github",
            Self::MethodNotAllowed => "see the Allow header for the methods this path takes",
        }
    }

    /// The body of the answer.
    pub fn to_json(self) -> serde_json::Value {
        json!({ "code": self.code(), "message": self.to_string(), "help": self.help() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        let codes: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
    }
}
