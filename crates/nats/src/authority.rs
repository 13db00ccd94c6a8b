//! Who may do what, on disk: keys, tokens and credentials of one fleet, made once and kept.
//!
//! Everything is derived from the keys and from what is asked for; a token is renewed only when it would say
//! something else. The operator's identity signs nothing but its own token, an account's nothing at all: their signing
//! keys do the daily work and can be replaced.
//!
//! ```text
//! keys/…                 see `keys`
//! jwt/operator.jwt       jwt/accounts/GITHUB.jwt
//! creds/GITHUB/admin.creds
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::jwt::{
    self, AccountClaims, AccountLimits, JetStreamLimits, OperatorClaims, Permissions, UserClaims,
};
use crate::keys::{KeyStore, SYSTEM_ACCOUNT};
use crate::{Error, creds, files, names};

/// A token and whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The public key.
    pub public_key: String,
    /// The token.
    pub token: String,
}

/// The authority of one fleet.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    fleet: String,
    store: KeyStore,
    now: i64,
}

impl Authority {
    /// Opens the authority kept in `directory`; `now` (seconds since 1970) is the time of issue of what has to be issued.
    ///
    /// # Errors
    /// When the fleet's name cannot be used, or the keys' directory cannot.
    pub fn open(directory: &Path, fleet: &str, now: i64) -> Result<Self, Error> {
        names::check("fleet", fleet)?;
        let store = KeyStore::open(directory)?;
        Ok(Self { directory: directory.to_owned(), fleet: fleet.to_owned(), store, now })
    }

    /// The operator's token, which names the system account.
    ///
    /// # Errors
    /// When a key or the token's file cannot be read or written.
    pub fn operator(&self) -> Result<Issued, Error> {
        let identity = self.store.operator()?;
        let claims = OperatorClaims {
            name: self.fleet.clone(),
            signing_keys: vec![self.store.operator_signing()?.public().to_owned()],
            system_account: Some(self.store.system_account()?.public().to_owned()),
        };
        let path = self.directory.join("jwt").join("operator.jwt");
        let token = self.keep(&path, |at| jwt::operator(&claims, &identity, at))?;
        Ok(Issued { public_key: identity.public().to_owned(), token })
    }

    /// An account's token. The system account has no JetStream, whatever is asked.
    ///
    /// # Errors
    /// As [`Self::operator`], and when the name cannot be used.
    pub fn account(
        &self,
        name: &str,
        limits: AccountLimits,
        jetstream: Option<JetStreamLimits>,
    ) -> Result<Issued, Error> {
        let identity = self.store.account(name)?;
        let signer = self.store.operator_signing()?;
        let claims = AccountClaims {
            name: name.to_owned(),
            limits,
            jetstream: jetstream.filter(|_| name != SYSTEM_ACCOUNT),
            signing_keys: vec![self.store.account_signing(name)?.public().to_owned()],
            ..AccountClaims::default()
        };
        let path = self.directory.join("jwt").join("accounts").join(format!("{name}.jwt"));
        let token = self.keep(&path, |at| jwt::account(&claims, identity.public(), &signer, at))?;
        Ok(Issued { public_key: identity.public().to_owned(), token })
    }

    /// Refuses when `jetstream` (a server's directory of that name) holds streams of an account whose key is gone: a
    /// new key in its place would be an empty account, and the data would never be found again.
    ///
    /// # Errors
    /// [`Error::KeyLost`], or when a directory or key cannot be read.
    pub fn check_data(&self, jetstream: &Path) -> Result<(), Error> {
        let entries = match fs::read_dir(jetstream) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("read", jetstream)(error)),
        };
        let names = self.store.accounts()?;
        let known = names.iter().map(|name| self.store.account(name)).collect::<Result<Vec<_>, _>>()?;
        for entry in entries {
            let data = entry.map_err(Error::io("read", jetstream))?.path();
            let name = data.file_name().unwrap_or_default().to_string_lossy();
            let is_account = name.starts_with('A') && nkeys::from_public_key(&name).is_ok();
            let has_streams = || fs::read_dir(data.join("streams")).is_ok_and(|mut all| all.next().is_some());
            if is_account && has_streams() && !known.iter().any(|key| key.public() == name) {
                return Err(Error::KeyLost { data, keys: self.directory.join("keys") });
            }
        }
        Ok(())
    }

    /// A user's credentials file, at `creds/<account>/<user>.creds`.
    ///
    /// # Errors
    /// As [`Self::account`].
    pub fn user(&self, account: &str, user: &str, permissions: &Permissions) -> Result<PathBuf, Error> {
        let key = self.store.user(account, user)?;
        let signer = self.store.account_signing(account)?;
        let claims = UserClaims {
            name: user.to_owned(),
            account: self.store.account(account)?.public().to_owned(),
            permissions: permissions.clone(),
            ..UserClaims::default()
        };
        let directory = self.directory.join("creds").join(account);
        let path = directory.join(format!("{user}.creds"));
        files::create_directory(&directory)?;
        let existing = read(&path)?.map(SecretString::from);
        let existing = existing.as_ref().and_then(|text| creds::token(text.expose_secret()));
        let token = jwt::renew(existing, self.now, |at| jwt::user(&claims, key.public(), &signer, at))?;
        files::write(&path, creds::render(&token, &key)?.expose_secret().as_bytes())?;
        Ok(path)
    }

    fn keep(&self, path: &Path, issue: impl Fn(i64) -> Result<String, Error>) -> Result<String, Error> {
        if let Some(parent) = path.parent() {
            files::create_directory(parent)?;
        }
        let token = jwt::renew(read(path)?.as_deref(), self.now, issue)?;
        files::write(path, format!("{token}\n").as_bytes())?;
        Ok(token)
    }
}

/// What can be made anew (tokens, not keys) counts as absent when it is not text.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_once_and_renewed_only_when_it_says_something_else() {
        let directory = tempfile::tempdir().unwrap();
        let issue = |now, permissions: &Permissions| {
            let authority = Authority::open(directory.path(), "acme", now).unwrap();
            let operator = authority.operator().unwrap();
            let account = authority
                .account("GITHUB", AccountLimits::default(), Some(JetStreamLimits::default()))
                .unwrap();
            let creds = authority.user("GITHUB", "receiver", permissions).unwrap();
            (operator, account, fs::read_to_string(creds).unwrap())
        };
        let first = issue(100, &Permissions::default());
        assert_eq!(first, issue(200, &Permissions::default()));
        let wider = issue(300, &Permissions::everything());
        assert_eq!((&first.0, &first.1), (&wider.0, &wider.1));
        let token = jwt::decode(creds::token(&wider.2).unwrap()).unwrap();
        assert_eq!(token.issued_at, 300);
        assert_eq!(token.claims["nats"]["issuer_account"], first.1.public_key.as_str());
        assert_eq!(files::mode(&directory.path().join("creds/GITHUB/receiver.creds")).unwrap(), 0o600);
    }

    #[test]
    fn data_without_its_key_is_not_given_up_in_silence() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "acme", 1).unwrap();
        let issue = || authority.account("GITHUB", AccountLimits::default(), None).unwrap().public_key;
        let data = directory.path().join("jetstream");
        authority.check_data(&data).unwrap();
        fs::create_dir_all(data.join(issue()).join("streams").join("GITHUB")).unwrap();
        fs::create_dir_all(data.join("$SYS").join("streams").join("X")).unwrap();
        fs::create_dir_all(data.join(crate::keys::Key::generate(crate::keys::Kind::Account).public()))
            .unwrap();
        authority.check_data(&data).unwrap();
        fs::remove_dir_all(directory.path().join("keys/accounts")).unwrap();
        for _ in 0..2 {
            assert_eq!(authority.check_data(&data).unwrap_err().code(), "WL0220");
            issue();
        }
    }

    #[test]
    fn the_system_account_has_no_jetstream() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "acme", 1).unwrap();
        let system = authority
            .account(SYSTEM_ACCOUNT, AccountLimits::default(), Some(JetStreamLimits::default()))
            .unwrap();
        let claims = jwt::decode(&system.token).unwrap().claims;
        assert!(claims["nats"]["limits"].get("disk_storage").is_none());
        let operator = jwt::decode(&authority.operator().unwrap().token).unwrap().claims;
        assert_eq!(operator["nats"]["system_account"], system.public_key.as_str());
    }
}
