//! Tokens after NATS's JWT format, version 2, written by ourselves.
//!
//! The ready-made crates leave out what the server needs (an absent limit counts as zero and locks everyone out) or
//! hand out bearer users, so the claims here are few, explicit and complete: every limit is always written, "no limit"
//! as -1, and a user's token is worth nothing without the user's seed. Time comes in from outside and ed25519 has no
//! randomness, so the same keys, claims and time give the same token, byte for byte.

mod claims;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde::Serialize;
use sha2::{Digest as _, Sha512_256};

use crate::Error;
use crate::keys::Key;
pub use claims::{
    Access, AccountClaims, AccountLimits, Exchange, Export, Import, JetStreamLimits, OperatorClaims,
    Permissions, UserClaims, UserLimits,
};

const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// The operator's token, signed by the operator's identity.
///
/// # Errors
/// When the key cannot sign.
pub fn operator(claims: &OperatorClaims, identity: &Key, issued_at: i64) -> Result<String, Error> {
    let standard = Standard::new(&claims.name, identity.public(), identity, issued_at);
    sign("operator", standard, &claims.body(), identity)
}

/// An account's token, signed by the operator or one of its signing keys.
///
/// # Errors
/// When the key cannot sign.
pub fn account(claims: &AccountClaims, subject: &str, signer: &Key, issued_at: i64) -> Result<String, Error> {
    sign("account", Standard::new(&claims.name, subject, signer, issued_at), &claims.body(), signer)
}

/// A user's token, signed by the account or one of its signing keys.
///
/// # Errors
/// When the key cannot sign.
pub fn user(claims: &UserClaims, subject: &str, signer: &Key, issued_at: i64) -> Result<String, Error> {
    let mut standard = Standard::new(&claims.name, subject, signer, issued_at);
    standard.expires = claims.expires;
    sign("user", standard, &claims.body(), signer)
}

/// Keeps `existing` when it says what a fresh token would say but for the time of issue; else issues at `now`.
///
/// This is what makes a second run change no file.
///
/// # Errors
/// When the token cannot be signed.
pub fn renew(
    existing: Option<&str>,
    now: i64,
    issue: impl Fn(i64) -> Result<String, Error>,
) -> Result<String, Error> {
    if let Some(existing) = existing.map(str::trim)
        && let Ok(token) = decode(existing)
        && issue(token.issued_at)? == existing
    {
        return Ok(existing.to_owned());
    }
    issue(now)
}

/// A token that was read: its signature fits its issuer. Whether that issuer is trusted is the reader's to decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Public key of who signed it.
    pub issuer: String,
    /// Public key of whom it is about.
    pub subject: String,
    /// Seconds since 1970.
    pub issued_at: i64,
    /// All of the claims.
    pub claims: serde_json::Value,
}

/// Reads a token and checks its signature.
///
/// # Errors
/// When it is not a token of this format, or its signature is wrong.
pub fn decode(token: &str) -> Result<Token, Error> {
    read(token).map_err(|reason| Error::Token { what: "given", action: "read", reason })
}

fn read(token: &str) -> Result<Token, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("it has no signature")?;
    let (header, payload) = signed.split_once('.').ok_or("it has no claims")?;
    let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|error| error.to_string());
    if part(header)? != HEADER.as_bytes() {
        return Err("its header is not that of a NATS token".to_owned());
    }
    let claims: serde_json::Value =
        serde_json::from_slice(&part(payload)?).map_err(|error| error.to_string())?;
    let text = |name: &str| claims[name].as_str().map(str::to_owned).ok_or(format!("it has no {name:?}"));
    let issuer = text("iss")?;
    nkeys::KeyPair::from_public_key(&issuer)
        .and_then(|key| key.verify(signed.as_bytes(), &part(signature).unwrap_or_default()))
        .map_err(|_| "its signature is wrong".to_owned())?;
    let issued_at = claims["iat"].as_i64().ok_or("it has no \"iat\"")?;
    Ok(Token { issuer, subject: text("sub")?, issued_at, claims })
}

/// The registered claims, in the order in which NATS's own library writes them: the identifier is a hash of the text.
#[derive(Serialize)]
struct Standard<'a> {
    #[serde(rename = "exp", skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(rename = "jti", skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(rename = "iat")]
    issued_at: i64,
    #[serde(rename = "iss")]
    issuer: &'a str,
    name: &'a str,
    #[serde(rename = "sub")]
    subject: &'a str,
}

impl<'a> Standard<'a> {
    fn new(name: &'a str, subject: &'a str, signer: &'a Key, issued_at: i64) -> Self {
        Self { expires: None, id: String::new(), issued_at, issuer: signer.public(), name, subject }
    }
}

#[derive(Serialize)]
struct Payload<'a, Body> {
    #[serde(flatten)]
    standard: Standard<'a>,
    nats: &'a Body,
}

fn sign<Body: Serialize>(
    what: &'static str,
    mut standard: Standard<'_>,
    body: &Body,
    signer: &Key,
) -> Result<String, Error> {
    let failed = |reason: String| Error::Token { what, action: "signed", reason };
    let hashed = serde_json::to_vec(&standard).map_err(|error| failed(error.to_string()))?;
    standard.id = BASE32_NOPAD.encode(&Sha512_256::digest(&hashed));
    let payload =
        serde_json::to_vec(&Payload { standard, nats: body }).map_err(|error| failed(error.to_string()))?;
    let mut token = BASE64URL_NOPAD.encode(HEADER.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(&payload, &mut token);
    let signature = signer.sign(token.as_bytes()).map_err(failed)?;
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    Ok(token)
}

#[cfg(test)]
mod tests;
