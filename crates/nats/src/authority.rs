//! Who may do what, on disk: keys, tokens and credentials of one fleet, made once and kept.
//!
//! Everything is derived from the keys and from what is asked for; a token is renewed only when it would say
//! something else. The operator's identity signs nothing but its own token, an account's nothing at all: their signing
//! keys do the daily work and can be replaced.
//!
//! ```text
//! keys/…                 see `keys`
//! jwt/operator.jwt       jwt/accounts/GITHUB.jwt
//! jwt/revoked/GITHUB.json         users whose earlier tokens no longer count, with the time up to which
//! creds/GITHUB/admin.creds
//! ```
//!
//! A token is good until it is revoked. So what a user was once given is revoked when the user goes, and when the user's
//! rights change: the revocation is written down first, then the new credentials, and the account's token carries it to
//! the servers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::jwt::{
    self, AccountClaims, AccountLimits, Exchange, Export, Import, JetStreamLimits, OperatorClaims,
    Permissions, UserClaims,
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

/// What an account may use, and shares with others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountTerms {
    /// Connections and the like.
    pub limits: AccountLimits,
    /// Streams.
    pub jetstream: JetStreamLimits,
    /// What others may import.
    pub exports: Vec<Export>,
    /// What it has of others.
    pub imports: Vec<ImportFrom>,
}

/// Subjects of another account, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportFrom {
    /// The other account.
    pub account: String,
    /// The subjects, as the other account has them.
    pub subject: String,
    /// What they are called here, if otherwise.
    pub to: Option<String>,
    /// Messages or requests.
    pub exchange: Exchange,
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
    pub fn account(&self, name: &str, terms: &AccountTerms) -> Result<Issued, Error> {
        let identity = self.store.account(name)?;
        let signer = self.store.operator_signing()?;
        let signing = self.store.account_signing(name)?;
        let key_of = |other: &str| self.store.account(other).map(|key| key.public().to_owned());
        let claims = self.claims(name, terms, signing.public(), key_of)?;
        let path = self.directory.join("jwt").join("accounts").join(format!("{name}.jwt"));
        let token = self.keep(&path, |at| jwt::account(&claims, identity.public(), &signer, at))?;
        Ok(Issued { public_key: identity.public().to_owned(), token })
    }

    /// What an account's token would say, below `nats`. Nothing is made for it: `None` when the account, or one that it
    /// imports from, has no key yet.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn account_would_say(
        &self,
        name: &str,
        terms: &AccountTerms,
    ) -> Result<Option<serde_json::Value>, Error> {
        let Some((_, signing)) = self.store.known_account(name)? else { return Ok(None) };
        for import in &terms.imports {
            if self.store.known_account(&import.account)?.is_none() {
                return Ok(None);
            }
        }
        let key_of = |other: &str| {
            self.store
                .known_account(other)
                .map(|known| known.map_or_else(String::new, |(identity, _)| identity))
        };
        Ok(Some(self.claims(name, terms, &signing, key_of)?.to_json()))
    }

    fn claims(
        &self,
        name: &str,
        terms: &AccountTerms,
        signing_key: &str,
        key_of: impl Fn(&str) -> Result<String, Error>,
    ) -> Result<AccountClaims, Error> {
        let import = |import: &ImportFrom| {
            Ok(Import {
                subject: import.subject.clone(),
                account: key_of(&import.account)?,
                local_subject: import.to.clone(),
                r#type: import.exchange,
            })
        };
        Ok(AccountClaims {
            name: name.to_owned(),
            limits: terms.limits.clone(),
            jetstream: (name != SYSTEM_ACCOUNT).then(|| terms.jetstream.clone()),
            signing_keys: vec![signing_key.to_owned()],
            revocations: self.revoked(name)?,
            exports: terms.exports.clone(),
            imports: terms.imports.iter().map(import).collect::<Result<_, Error>>()?,
        })
    }

    fn revoked_file(&self, account: &str) -> Result<PathBuf, Error> {
        names::check("account", account)?;
        Ok(self.directory.join("jwt").join("revoked").join(format!("{account}.json")))
    }

    fn revoked(&self, account: &str) -> Result<BTreeMap<String, i64>, Error> {
        let path = self.revoked_file(account)?;
        let damaged = |error: serde_json::Error| Error::io("read", &path)(error.into());
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(damaged),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Notes that a user's tokens no longer count that were issued up to `until`, seconds since 1970. The account's
    /// token says so from its next issue on.
    fn revoke(&self, account: &str, user: &str, until: i64) -> Result<(), Error> {
        let mut all = self.revoked(account)?;
        let last = all.entry(user.to_owned()).or_insert(until);
        *last = until.max(*last);
        let path = self.revoked_file(account)?;
        if let Some(parent) = path.parent() {
            files::create_directory(parent)?;
        }
        let text =
            serde_json::to_vec_pretty(&all).map_err(|error| Error::io("write", &path)(error.into()))?;
        files::write(&path, &text).map(|_| ())
    }

    /// What a user's credentials that count now can be told by: its key, and up to when earlier ones were revoked. `None`
    /// when the user has no key. Nothing is made.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn user_version(&self, account: &str, user: &str) -> Result<Option<String>, Error> {
        if !self.store.user_file(account, user)?.is_file() {
            return Ok(None);
        }
        let key = self.store.user(account, user)?;
        let until = self.revoked(account)?.get(key.public()).copied().unwrap_or_default();
        Ok(Some(format!("{} {until}", key.public())))
    }

    /// Takes a user away: what it was given is revoked, and its key and credentials are moved below `removed/`. A later
    /// user of that name is somebody else.
    ///
    /// # Errors
    /// When a file cannot be read, written or moved.
    pub fn remove_user(&self, account: &str, user: &str) -> Result<(), Error> {
        let key = self.store.user_file(account, user)?;
        if key.is_file() {
            self.revoke(account, self.store.user(account, user)?.public(), self.now)?;
        }
        let creds = self.directory.join("creds").join(account).join(format!("{user}.creds"));
        // The key goes last: with it, a removal that was interrupted is done again from the start.
        self.put_aside(&creds)?;
        self.put_aside(&key)
    }

    /// Moves a file below `removed/`: what it signed cannot be signed again without it.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn put_aside(&self, path: &Path) -> Result<(), Error> {
        if !path.exists() {
            return Ok(());
        }
        let relative = path.strip_prefix(&self.directory).unwrap_or(path);
        let aside = self.directory.join("removed").join(self.now.to_string()).join(relative);
        if let Some(parent) = aside.parent() {
            files::create_directory(parent)?;
        }
        fs::rename(path, &aside).map_err(Error::io("put aside", path))
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

    /// A user's credentials file, at `creds/<account>/<user>.creds`. Credentials that said something else are revoked.
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
        // Tokens count seconds, and a revocation takes all of its second.
        let revoked = self.revoked(account)?.get(key.public()).copied();
        let now = self.now.max(revoked.map_or(i64::MIN, |until| until + 1));
        let issue = |at| jwt::user(&claims, key.public(), &signer, at);
        let mut token = jwt::renew(existing, now, issue)?;
        let issued_at = |token: &str| jwt::decode(token).map(|token| token.issued_at);
        if let Some(before) =
            existing.filter(|before| *before != token).and_then(|before| issued_at(before).ok())
        {
            self.revoke(account, key.public(), before)?;
            token = issue(now.max(before + 1))?;
        } else if revoked.is_some_and(|until| issued_at(&token).is_ok_and(|at| at <= until)) {
            token = issue(now)?;
        }
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
            let account = authority.account("GITHUB", &AccountTerms::default()).unwrap();
            let creds = authority.user("GITHUB", "receiver", permissions).unwrap();
            (operator, account, fs::read_to_string(creds).unwrap())
        };
        let first = issue(100, &Permissions::default());
        assert_eq!(first, issue(200, &Permissions::default()));
        let wider = issue(300, &Permissions::everything());
        assert_eq!(first.0, wider.0);
        // What the user had before no longer counts, and the account says so.
        let before = jwt::decode(creds::token(&first.2).unwrap()).unwrap();
        let account = jwt::decode(&issue(300, &Permissions::everything()).1.token).unwrap().claims;
        assert_eq!(account["nats"]["revocations"], serde_json::json!({ (before.subject): 100 }));
        let token = jwt::decode(creds::token(&wider.2).unwrap()).unwrap();
        assert_eq!(token.issued_at, 300);
        assert_eq!(token.claims["nats"]["issuer_account"], first.1.public_key.as_str());
        assert_eq!(files::mode(&directory.path().join("creds/GITHUB/receiver.creds")).unwrap(), 0o600);
    }

    #[test]
    fn who_goes_is_revoked_and_who_comes_after_is_somebody_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |now| Authority::open(directory.path(), "acme", now).unwrap();
        let subject = |path: &Path| {
            let text = fs::read_to_string(path).unwrap();
            jwt::decode(creds::token(&text).unwrap()).unwrap().subject
        };
        let terms = AccountTerms::default();
        let path = at(100).user("SHOP", "till", &Permissions::default()).unwrap();
        let before = subject(&path);
        at(200).remove_user("SHOP", "till").unwrap();
        at(200).remove_user("SHOP", "till").unwrap();
        assert!(!path.exists());
        let token = at(200).account("SHOP", &terms).unwrap().token;
        let said = jwt::decode(&token).unwrap().claims["nats"].clone();
        assert_eq!(said["revocations"], serde_json::json!({ (before.clone()): 200 }));
        assert_eq!(
            at(300).account_would_say("SHOP", &terms).unwrap().unwrap(),
            said,
            "said without being made"
        );
        assert_ne!(subject(&at(300).user("SHOP", "till", &Permissions::default()).unwrap()), before);
        assert_eq!(at(300).account_would_say("NONE", &terms).unwrap(), None);
    }

    #[test]
    fn data_without_its_key_is_not_given_up_in_silence() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path(), "acme", 1).unwrap();
        let issue = || authority.account("GITHUB", &AccountTerms::default()).unwrap().public_key;
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
        let system = authority.account(SYSTEM_ACCOUNT, &AccountTerms::default()).unwrap();
        let claims = jwt::decode(&system.token).unwrap().claims;
        assert!(claims["nats"]["limits"].get("disk_storage").is_none());
        let operator = jwt::decode(&authority.operator().unwrap().token).unwrap().claims;
        assert_eq!(operator["nats"]["system_account"], system.public_key.as_str());
    }
}
