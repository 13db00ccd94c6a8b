//! The identities: one nkey a file, under `<directory>/keys/`.
//!
//! A key *is* an account: JetStream keeps an account's data under its public key. So a key file is created once,
//! never replaced, and a file that is damaged or open to others stops everything with an error instead of quietly
//! becoming a new identity without its data. Of two processes that create the same key at once, the first wins and
//! the other reads what the first wrote.
//!
//! ```text
//! keys/operator.nk  keys/operator.signing.nk
//! keys/accounts/GITHUB/account.nk  keys/accounts/GITHUB/signing.nk  keys/accounts/GITHUB/users/admin.nk
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use nkeys::{KeyPair, KeyPairType};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{Error, files, names};

/// The account that the server itself uses: monitoring, account updates.
pub const SYSTEM_ACCOUNT: &str = "SYS";

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The root of trust.
    Operator,
    /// An account, or an account's signing key.
    Account,
    /// A user of an account.
    User,
}

impl Kind {
    fn nkey(self) -> KeyPairType {
        match self {
            Self::Operator => KeyPairType::Operator,
            Self::Account => KeyPairType::Account,
            Self::User => KeyPairType::User,
        }
    }

    fn seed_prefix(self) -> &'static str {
        match self {
            Self::Operator => "SO",
            Self::Account => "SA",
            Self::User => "SU",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Operator => "an operator's seed",
            Self::Account => "an account's seed",
            Self::User => "a user's seed",
        }
    }
}

/// A private key. Shows only its public half.
pub struct Key {
    pair: KeyPair,
    public: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Key").field(&self.public).finish()
    }
}

impl Key {
    /// A new random key.
    #[must_use]
    pub fn generate(kind: Kind) -> Self {
        Self::of(KeyPair::new(kind.nkey()))
    }

    /// The key that a seed stands for. The error says what is wrong with the seed, never the seed.
    ///
    /// # Errors
    /// The reason, when the seed is not one of this kind.
    pub fn from_seed(kind: Kind, seed: &SecretString) -> Result<Self, String> {
        let seed = seed.expose_secret();
        if !seed.starts_with(kind.seed_prefix()) {
            return Err(format!("it does not start with {}", kind.seed_prefix()));
        }
        KeyPair::from_seed(seed).map(Self::of).map_err(|error| error.to_string())
    }

    fn of(pair: KeyPair) -> Self {
        let public = pair.public_key();
        Self { pair, public }
    }

    /// The public key, such as `AB…` for an account.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The seed, for a credentials file.
    ///
    /// # Errors
    /// The reason, should the key have no private half.
    pub fn seed(&self) -> Result<SecretString, String> {
        self.pair.seed().map(SecretString::from).map_err(|error| error.to_string())
    }

    /// Signs `input`.
    ///
    /// # Errors
    /// The reason, should the key have no private half.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>, String> {
        self.pair.sign(input).map_err(|error| error.to_string())
    }
}

/// The keys on disk.
#[derive(Debug, Clone)]
pub struct KeyStore {
    root: PathBuf,
}

impl KeyStore {
    /// Opens `<directory>/keys`, creating it if it is absent.
    ///
    /// # Errors
    /// When the directory cannot be created, or is open to other users.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let root = directory.join("keys");
        files::create_directory(&root)?;
        check_closed(&root, files::PRIVATE_DIRECTORY)?;
        Ok(Self { root })
    }

    /// The operator's identity: the root of trust. Signs only the operator's own token.
    ///
    /// # Errors
    /// When the key file is damaged, open to others, or cannot be read or written.
    pub fn operator(&self) -> Result<Key, Error> {
        get_or_create(&self.root.join("operator.nk"), Kind::Operator)
    }

    /// The key with which the operator signs accounts.
    ///
    /// # Errors
    /// As [`Self::operator`].
    pub fn operator_signing(&self) -> Result<Key, Error> {
        get_or_create(&self.root.join("operator.signing.nk"), Kind::Operator)
    }

    /// The system account's identity.
    ///
    /// # Errors
    /// As [`Self::operator`].
    pub fn system_account(&self) -> Result<Key, Error> {
        self.account(SYSTEM_ACCOUNT)
    }

    /// An account's identity.
    ///
    /// # Errors
    /// As [`Self::operator`], and when the name cannot be used.
    pub fn account(&self, name: &str) -> Result<Key, Error> {
        get_or_create(&self.account_directory(name)?.join("account.nk"), Kind::Account)
    }

    /// The key with which an account signs its users.
    ///
    /// # Errors
    /// As [`Self::account`].
    pub fn account_signing(&self, name: &str) -> Result<Key, Error> {
        get_or_create(&self.account_directory(name)?.join("signing.nk"), Kind::Account)
    }

    /// A user's identity.
    ///
    /// # Errors
    /// As [`Self::account`].
    pub fn user(&self, account: &str, user: &str) -> Result<Key, Error> {
        get_or_create(&self.user_file(account, user)?, Kind::User)
    }

    /// The public keys of an account's identity and signing key, if it has both; nothing is made.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn known_account(&self, name: &str) -> Result<Option<(String, String)>, Error> {
        let directory = self.account_directory(name)?;
        let identity = read(&directory.join("account.nk"), Kind::Account)?;
        let signing = read(&directory.join("signing.nk"), Kind::Account)?;
        Ok(identity.zip(signing).map(|(one, other)| (one.public().to_owned(), other.public().to_owned())))
    }

    /// Where a user's key is.
    ///
    /// # Errors
    /// When a name cannot be used.
    pub fn user_file(&self, account: &str, user: &str) -> Result<PathBuf, Error> {
        names::check("user", user)?;
        Ok(self.account_directory(account)?.join("users").join(format!("{user}.nk")))
    }

    /// Names of the accounts that have a key.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn accounts(&self) -> Result<Vec<String>, Error> {
        let directory = self.root.join("accounts");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &directory)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &directory))?;
            if entry.path().join("account.nk").is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn account_directory(&self, name: &str) -> Result<PathBuf, Error> {
        names::check("account", name)?;
        Ok(self.root.join("accounts").join(name))
    }
}

fn get_or_create(path: &Path, kind: Kind) -> Result<Key, Error> {
    if let Some(key) = read(path, kind)? {
        return Ok(key);
    }
    if let Some(parent) = path.parent() {
        files::create_directory(parent)?;
    }
    let key = Key::generate(kind);
    let seed = key.seed().map_err(|reason| damaged(path, kind, reason))?;
    let line = SecretString::from(format!("{}\n", seed.expose_secret()));
    if files::write_new(path, line.expose_secret().as_bytes())? {
        return Ok(key);
    }
    read(path, kind)?.ok_or_else(|| damaged(path, kind, "it came and went while it was read".to_owned()))
}

fn read(path: &Path, kind: Kind) -> Result<Option<Key>, Error> {
    let content = match fs::read_to_string(path) {
        Ok(content) => SecretString::from(content),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(damaged(path, kind, "it is not text".to_owned()));
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    check_closed(path, files::PRIVATE_FILE)?;
    let seed = SecretString::from(content.expose_secret().trim_end());
    if seed.expose_secret().is_empty() {
        return Err(damaged(path, kind, "it is empty".to_owned()));
    }
    Key::from_seed(kind, &seed).map(Some).map_err(|reason| damaged(path, kind, reason))
}

fn damaged(path: &Path, kind: Kind, reason: String) -> Error {
    Error::KeyDamaged { path: path.to_owned(), expected: kind.expected(), reason }
}

fn check_closed(path: &Path, wanted: u32) -> Result<(), Error> {
    let mode = files::mode(path)?;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::KeyExposed { path: path.to_owned(), mode, wanted })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn store() -> (tempfile::TempDir, KeyStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = KeyStore::open(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn keys_are_created_once_and_kept() {
        let (directory, store) = store();
        let again = KeyStore::open(directory.path()).unwrap();
        type Get = fn(&KeyStore) -> Result<Key, Error>;
        let all: [(Get, char); 6] = [
            (KeyStore::operator, 'O'),
            (KeyStore::operator_signing, 'O'),
            (KeyStore::system_account, 'A'),
            (|store| store.account("GITHUB"), 'A'),
            (|store| store.account_signing("GITHUB"), 'A'),
            (|store| store.user("GITHUB", "admin"), 'U'),
        ];
        let mut seen = std::collections::HashSet::new();
        for (get, prefix) in all {
            let public = get(&store).unwrap().public().to_owned();
            assert!(public.starts_with(prefix), "{public}");
            assert_eq!(public, get(&again).unwrap().public());
            assert!(seen.insert(public));
        }
        let file = directory.path().join("keys/accounts/GITHUB/users/admin.nk");
        assert_eq!(files::mode(&file).unwrap(), 0o600);
        for path in ["keys", "keys/accounts", "keys/accounts/GITHUB", "keys/accounts/GITHUB/users"] {
            assert_eq!(files::mode(&directory.path().join(path)).unwrap(), 0o700, "{path}");
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_new_key() {
        let (directory, store) = store();
        let account = store.account("GITHUB").unwrap();
        let file = directory.path().join("keys/accounts/GITHUB/account.nk");
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
        let user = Key::generate(Kind::User).seed().unwrap();
        let bad: [&[u8]; 6] =
            [b"", b"\n", &whole[..30], &flipped, &[0xff, 0xfe], user.expose_secret().as_bytes()];
        for content in bad {
            fs::write(&file, content).unwrap();
            let error = store.account("GITHUB").unwrap_err();
            assert_eq!(error.code(), "WL0203", "{error}");
            assert!(!format!("{error:?} {error}").contains(user.expose_secret()));
            assert_eq!(fs::read(&file).unwrap(), content, "left as it was");
        }
        fs::write(&file, &whole).unwrap();
        assert_eq!(store.account("GITHUB").unwrap().public(), account.public());
    }

    #[test]
    fn keys_open_to_others_are_refused() {
        let (directory, store) = store();
        store.operator().unwrap();
        let file = directory.path().join("keys/operator.nk");
        for mode in [0o640, 0o604, 0o644, 0o620] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let error = store.operator().unwrap_err();
            assert_eq!(error.code(), "WL0202");
            assert!(error.help().contains("chmod 600"), "{}", error.help());
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        store.operator().unwrap();
        fs::set_permissions(directory.path().join("keys"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(KeyStore::open(directory.path()).unwrap_err().code(), "WL0202");
    }

    #[test]
    fn a_key_never_shows_its_seed() {
        let key = Key::generate(Kind::User);
        let shown = format!("{key:?}");
        assert!(shown.contains(key.public()) && !shown.contains(key.seed().unwrap().expose_secret()));
    }
}
