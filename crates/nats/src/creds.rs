//! Credentials files: a user's token and seed in one text, as every NATS client reads it.

use secrecy::{ExposeSecret as _, SecretString};

use crate::Error;
use crate::keys::Key;

const TOKEN_BEGIN: &str = "-----BEGIN NATS USER JWT-----";

/// The text of a credentials file.
///
/// # Errors
/// When the key has no seed.
pub fn render(token: &str, user: &Key) -> Result<SecretString, Error> {
    let seed = user.seed().map_err(|reason| Error::Token { what: "user", action: "signed", reason })?;
    Ok(SecretString::from(format!(
        "{TOKEN_BEGIN}\n{token}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         The seed below proves this identity. Keep it as you keep a password.\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n\n\
         *************************************************************\n",
        seed.expose_secret()
    )))
}

/// The token in a credentials file, if there is one.
#[must_use]
pub fn token(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| *line == TOKEN_BEGIN)?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with('-'))
}
