//! Credentials files: a user's token and seed in one text, as every NATS client reads it.

use std::path::{Path, PathBuf};

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
/// A user that has a credentials file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its account.
    pub account: String,
    /// Its name within the account.
    pub user: String,
    /// The file. It holds a secret.
    pub file: PathBuf,
}

/// Every user that has a credentials file below `directory`, which has one directory an account.
#[must_use]
pub fn holders(directory: &Path) -> Vec<Holder> {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut all = Vec::new();
    for account in entries(directory) {
        for file in entries(&account.path()).map(|entry| entry.path()) {
            let user = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".creds"));
            if let (Some(user), Ok(account)) = (user.map(str::to_owned), account.file_name().into_string()) {
                all.push(Holder { account, user, file });
            }
        }
    }
    all.sort();
    all
}
