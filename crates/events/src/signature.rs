//! GitHub's signature: HMAC-SHA256 over the exact bytes of the body, as hex in `X-Hub-Signature-256`.
//!
//! Several keys may be valid at once so that a secret can be rotated without losing a delivery. Every key is tried
//! and each comparison takes the same time wherever the bytes differ.

use crate::refusal::Refusal;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

const SCHEME: &str = "sha256=";
const LENGTH: usize = 32;

/// The secrets that a delivery may be signed with.
#[derive(Clone)]
pub struct Keys(Vec<hmac::Key>);

impl Keys {
    /// The keys of these secrets. With none, every signature is refused.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self(secrets.into_iter().map(|secret| key(secret.expose_secret().as_bytes())).collect())
    }

    /// How many secrets are valid.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no secret is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that one of the secrets made this signature over these exact bytes.
    ///
    /// # Errors
    /// [`Refusal::SignatureMismatch`] when none of them did.
    pub fn verify(&self, signature: &Signature, body: &[u8]) -> Result<(), Refusal> {
        // Every key is tried, so the time does not tell which one matched.
        let matches = self.0.iter().filter(|key| hmac::verify(key, body, &signature.0).is_ok()).count();
        if matches == 0 { Err(Refusal::SignatureMismatch) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} secrets)", self.0.len())
    }
}

/// A well-formed signature, not yet verified.
#[derive(Clone)]
pub struct Signature([u8; LENGTH]);

impl Signature {
    /// Reads the value of `X-Hub-Signature-256`.
    ///
    /// # Errors
    /// [`Refusal::SignatureMissing`] without a value, [`Refusal::SignatureMalformed`] when it is not `sha256=` and
    /// 64 hex digits (of either case).
    pub fn parse(value: Option<&[u8]>) -> Result<Self, Refusal> {
        let value = value.ok_or(Refusal::SignatureMissing)?;
        let digits = value.strip_prefix(SCHEME.as_bytes()).ok_or(Refusal::SignatureMalformed)?;
        let mut bytes = [0; LENGTH];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| Refusal::SignatureMalformed)?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// Signs a body as GitHub does: the value for `X-Hub-Signature-256`.
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    format!("{SCHEME}{}", hex::encode(hmac::sign(&key(secret), body)))
}

fn key(secret: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> Keys {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        Keys::new(&secrets)
    }

    #[test]
    fn githubs_published_example_is_reproduced() {
        // https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
        let signed = sign(b"It's a Secret to Everybody", b"Hello, World!");
        assert_eq!(signed, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }

    #[test]
    fn any_of_several_secrets_is_accepted_and_no_other() {
        let signature = Signature::parse(Some(sign(b"new", b"{}").as_bytes())).unwrap();
        assert!(keys(&["old", "new"]).verify(&signature, b"{}").is_ok());
        assert!(keys(&["new"]).verify(&signature, b"{} ").is_err());
        assert!(keys(&["old"]).verify(&signature, b"{}").is_err());
        assert!(keys(&[]).verify(&signature, b"{}").is_err());
    }

    #[test]
    fn secrets_and_signatures_do_not_print() {
        let signature = Signature::parse(Some(sign(b"k", b"").as_bytes())).unwrap();
        assert_eq!(format!("{signature:?} {:?}", keys(&["hidden"])), "Signature(…) Keys(1 secrets)");
    }
}
