//! Encryption before anything leaves the machine, with age (<https://age-encryption.org/v1>).
//!
//! Of several keys the first encrypts and each decrypts, so that a key is replaced without a moment in which something
//! cannot be read. What is encrypted begins with age's own line, so nothing has to remember which objects are.

use crate::error::Error;
use crate::room::Room;
use age::{DecryptError, x25519};
use age_core::format::{FileKey, Stanza};
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

const AGE: &[u8] = b"age-encryption.org/v1\n";
const IDENTITY: &str = "AGE-SECRET-KEY-1";
/// How many bytes tell whether something is encrypted.
pub(crate) const TELLING: usize = AGE.len();
/// What a passphrase costs whoever guesses: 2^17 rounds of scrypt, 128 MiB and some tenths of a second for each try. That is
/// the least that OWASP advises, and goes with a passphrase that is not short (below). It is also what each encryption and
/// each decryption needs here for that moment, beside the state, and the largest share of what a small machine has to give:
/// one more would double it.
const WORK: u8 = 17;
/// What is accepted from others: 1 GiB. Whoever may write into the bucket could ask for any number, and so bring down the
/// machine that reads.
const MOST_WORK: u8 = 20;
const SHORTEST_PASSPHRASE: usize = 16;

/// Where a key comes from. The key itself is never an argument, nor in a file that others read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The environment variable of this name.
    Env(String),
    /// The content of this file: age identities as `age-keygen` writes them, or one passphrase.
    File(PathBuf),
    /// What this program prints: the program, then its arguments.
    Command(Vec<String>),
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains('=') => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("command", line)) if !line.trim().is_empty() => {
                Ok(Self::Command(line.split_whitespace().map(str::to_owned).collect()))
            }
            // Whoever gives the key itself should not read it again in a log.
            _ => Err("a key comes from env:NAME, file:PATH or command:PROGRAM".to_owned()),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Command(words) => {
                write!(f, "the command {}", words.first().map_or("", String::as_str))
            }
        }
    }
}

impl KeySource {
    /// Fetches the text of the key.
    ///
    /// # Errors
    /// When the source gives none.
    pub fn fetch(&self) -> Result<SecretString, Error> {
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| "it is not set".to_owned()),
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| error.to_string()),
            Self::Command(words) => output_of(words),
        };
        let text = text.map_err(|reason| self.unusable(reason))?;
        let text = text.trim();
        if text.is_empty() {
            return Err(self.unusable("it is empty"));
        }
        Ok(SecretString::from(text.to_owned()))
    }

    /// An error about this source.
    pub(crate) fn unusable(&self, reason: impl Into<String>) -> Error {
        Error::KeyUnusable { source_name: self.to_string(), reason: reason.into() }
    }
}

fn output_of(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("it is empty")?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    String::from_utf8(output.stdout).map_err(|_| "it did not print UTF-8".to_owned())
}

#[derive(Clone)]
enum Key {
    Identity(x25519::Identity),
    Passphrase(SecretString),
}

/// A passphrase, after which others are tried: age takes one that does not fit for the last word.
struct OneOfSeveral(age::scrypt::Identity);

impl age::Identity for OneOfSeveral {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.0.unwrap_stanza(stanza).filter(|result| !matches!(result, Err(DecryptError::DecryptionFailed)))
    }
}

/// The keys of a store. None at all means: what is written stays readable.
#[derive(Clone, Default)]
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// No key.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Fetches the keys of all sources.
    ///
    /// # Errors
    /// When a source gives none, or none that is usable.
    pub fn fetch(sources: &[KeySource]) -> Result<Self, Error> {
        let mut keys = Self::none();
        for source in sources {
            keys.add(source.fetch()?.expose_secret()).map_err(|reason| source.unusable(reason))?;
        }
        Ok(keys)
    }

    /// Adds the keys in a text: age identities, one a line, or one passphrase.
    ///
    /// # Errors
    /// When there is no usable key in it.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        if lines.iter().any(|line| line.starts_with(IDENTITY)) {
            for line in lines {
                // The message of the parser may repeat what it was given.
                let identity = x25519::Identity::from_str(line).map_err(|_| "it is no age identity")?;
                self.0.push(Key::Identity(identity));
            }
            return Ok(());
        }
        match text.trim() {
            phrase if phrase.chars().count() < SHORTEST_PASSPHRASE => {
                Err(format!("a passphrase has at least {SHORTEST_PASSPHRASE} characters"))
            }
            phrase if phrase.contains('\n') => Err("a passphrase is one line".to_owned()),
            phrase => {
                self.0.push(Key::Passphrase(phrase.to_owned().into()));
                Ok(())
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first alone: the one that encrypts.
    #[must_use]
    pub fn first(&self) -> Self {
        Self(self.0.first().cloned().into_iter().collect())
    }

    /// Encrypts with the first key; without keys it gives back what it got.
    ///
    /// # Errors
    /// When age refuses.
    pub fn seal(&self, place: &str, content: &Bytes) -> Result<Bytes, Error> {
        let Some(key) = self.0.first() else { return Ok(content.clone()) };
        let failed = |reason: String| Error::Encrypt { place: place.to_owned(), reason };
        let recipient: Box<dyn age::Recipient> = match key {
            Key::Identity(identity) => Box::new(identity.to_public()),
            Key::Passphrase(phrase) => {
                let mut recipient = age::scrypt::Recipient::new(phrase.clone());
                recipient.set_work_factor(WORK);
                Box::new(recipient)
            }
        };
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&*recipient))
            .map_err(|error| failed(error.to_string()))?;
        // A header, and 16 bytes for every 64 KiB.
        let mut sealed = Room::new((content.len() + content.len() / 4_096 + 1_024) as u64);
        let write = |sealed: &mut Room| {
            let mut writer = encryptor.wrap_output(sealed)?;
            writer.write_all(content)?;
            writer.finish().map(drop)
        };
        write(&mut sealed).map_err(|error| failed(error.to_string()))?;
        Ok(sealed.freeze())
    }

    /// Decrypts with whichever key fits. What is not encrypted comes back as it is.
    ///
    /// # Errors
    /// When there is no key, none that fits, or when the content was tampered with.
    pub fn open(&self, place: &str, stored: &Bytes) -> Result<Bytes, Error> {
        if !is_sealed(stored) {
            return Ok(stored.clone());
        }
        let mut content = Room::new(stored.len() as u64);
        self.open_into(place, stored.as_ref(), &mut content)?;
        Ok(content.freeze())
    }

    /// Decrypts piece by piece, for what is not to be in memory as a whole. The first piece of `stored` tells whether it is
    /// encrypted; what is not comes out as it is.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn open_into(
        &self,
        place: &str,
        mut stored: impl BufRead,
        content: &mut impl Write,
    ) -> Result<(), Error> {
        let corrupt = |reason: String| Error::Corrupt { place: place.to_owned(), reason };
        if !is_sealed(stored.fill_buf().map_err(|error| corrupt(error.to_string()))?) {
            return std::io::copy(&mut stored, content).map(drop).map_err(|error| corrupt(error.to_string()));
        }
        if self.0.is_empty() {
            return Err(Error::NoKey { place: place.to_owned() });
        }
        let identities: Vec<Box<dyn age::Identity>> = self
            .0
            .iter()
            .map(|key| match key {
                Key::Identity(identity) => Box::new(identity.clone()) as Box<dyn age::Identity>,
                Key::Passphrase(phrase) => {
                    let mut identity = age::scrypt::Identity::new(phrase.clone());
                    identity.set_max_work_factor(MOST_WORK);
                    Box::new(OneOfSeveral(identity))
                }
            })
            .collect();
        let decryptor = age::Decryptor::new_buffered(stored).map_err(|error| corrupt(error.to_string()))?;
        let mut reader = match decryptor.decrypt(identities.iter().map(|identity| &**identity)) {
            Ok(reader) => reader,
            Err(DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed) => {
                return Err(Error::WrongKey { place: place.to_owned(), keys: self.len() });
            }
            Err(DecryptError::ExcessiveWork { required, .. }) => {
                let (place, most) = (place.to_owned(), MOST_WORK);
                return Err(Error::TooMuchWork { place, found: required, most });
            }
            Err(error) => return Err(corrupt(format!("the encryption's header: {error}"))),
        };
        std::io::copy(&mut reader, content)
            .map(drop)
            .map_err(|error| corrupt(format!("the encrypted content is cut off or changed: {error}")))
    }
}

/// Whether something is encrypted, by how it begins.
#[must_use]
pub fn is_sealed(stored: &[u8]) -> bool {
    stored.starts_with(AGE)
}

/// A new key as `age-keygen` writes it: the public part in a comment, then the identity.
#[must_use]
pub fn generate() -> (String, SecretString) {
    let identity = x25519::Identity::generate();
    (identity.to_public().to_string(), identity.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Keys {
        let mut keys = Keys::none();
        texts.iter().for_each(|text| keys.add(text).unwrap());
        keys
    }

    #[test]
    fn the_first_encrypts_and_each_decrypts() {
        let (one, two) = (generate().1, generate().1);
        let (one, two) = (one.expose_secret(), two.expose_secret());
        let content = Bytes::from_static(b"aws_instance.web");
        let sealed = keys(&[one]).seal("x", &content).unwrap();
        assert!(is_sealed(&sealed) && !sealed.windows(4).any(|part| part == b"inst"));
        assert_eq!(keys(&[two, one]).open("x", &sealed).unwrap(), content);
        assert_eq!(keys(&[two]).open("x", &sealed).unwrap_err().code(), "WL0723");
        assert_eq!(Keys::none().open("x", &sealed).unwrap_err().code(), "WL0722");
        let sealed = keys(&[two, one]).seal("x", &content).unwrap();
        assert_eq!(keys(&[one]).open("x", &sealed).unwrap_err().code(), "WL0723");
        // What is not encrypted is read as it is; without keys it is written so.
        assert_eq!(keys(&[one]).open("x", &content).unwrap(), content);
        assert_eq!(Keys::none().seal("x", &content).unwrap(), content);
    }

    #[test]
    fn a_changed_byte_and_a_missing_end_are_noticed() {
        let key = generate().1;
        let keys = keys(&[key.expose_secret()]);
        let sealed = keys.seal("x", &Bytes::from(vec![7; 200_000])).unwrap();
        for at in [sealed.len() - 1, sealed.len() - 70_000, 60] {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert!(keys.open("x", &changed.into()).is_err(), "{at}");
        }
        assert_eq!(keys.open("x", &sealed.slice(..150_000)).unwrap_err().code(), "WL0715");
    }

    #[test]
    fn a_passphrase_is_a_key_too() {
        let keys = keys(&["correct horse battery staple"]);
        let sealed = keys.seal("x", &Bytes::from_static(b"content")).unwrap();
        assert_eq!(keys.open("x", &sealed).unwrap(), "content");
        let mut other = Keys::none();
        assert!(other.add("short").is_err() && other.add("two lines of\na long passphrase").is_err());
        other.add("another passphrase").unwrap();
        assert_eq!(other.open("x", &sealed).unwrap_err().code(), "WL0723");
        other.add("correct horse battery staple").unwrap();
        assert_eq!(other.open("x", &sealed).unwrap(), "content", "the second fits");
    }

    #[test]
    fn nobody_makes_a_reader_take_more_memory_than_there_is() {
        let phrase = SecretString::from("correct horse battery staple".to_owned());
        let mut recipient = age::scrypt::Recipient::new(phrase.clone());
        recipient.set_work_factor(1);
        let recipient: Box<dyn age::Recipient> = Box::new(recipient);
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&*recipient)).unwrap();
        let mut sealed = Vec::new();
        encryptor.wrap_output(&mut sealed).unwrap().finish().unwrap();
        // The factor stands behind the salt, readable and not yet checked.
        let at = sealed.windows(3).position(|part| part == b" 1\n").unwrap();
        let sealed = [&sealed[..at], b" 21\n", &sealed[at + 3..]].concat();
        let error = keys(&[phrase.expose_secret()]).open("x", &sealed.into()).unwrap_err();
        assert_eq!(error.code(), "WL0739");
        assert!(error.to_string().contains("2^21") && error.to_string().contains("2^20"), "{error}");
    }

    #[test]
    fn sources_are_named_and_never_show_a_key() {
        assert_eq!("env:KEY".parse(), Ok(KeySource::Env("KEY".into())));
        assert_eq!("file:a:b".parse(), Ok(KeySource::File("a:b".into())));
        assert_eq!("command:pass show x".parse::<KeySource>().unwrap().to_string(), "the command pass");
        let secret = generate().1;
        for bad in [secret.expose_secret(), "env:", "file:", "command: ", "vault:x"] {
            let error = bad.parse::<KeySource>().unwrap_err();
            assert!(!error.contains("AGE-"), "{error}");
        }
        let mut keys = Keys::none();
        let error = keys.add("AGE-SECRET-KEY-1NONSENSE").unwrap_err();
        assert!(!error.contains("NONSENSE"));
        assert!(!format!("{keys:?}").contains("AGE"));
    }
}
