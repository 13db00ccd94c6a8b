//! The keys of a directory: made once, then always the same, so that a server that starts again is the same account.

use super::api::access::ACCESS_KEY_LENGTH;
use super::{Error, Keys};
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The keys in this directory. Of two processes that make them at once, both use those of the first.
pub fn of_directory(directory: &Path) -> io::Result<Keys> {
    let path = directory.join("credentials");
    if let Some(keys) = read(&path)? {
        return Ok(keys);
    }
    let keys = Keys {
        access_key_id: hex::encode(rand::random::<[u8; 16]>()),
        secret_access_key: SecretString::from(hex::encode(rand::random::<[u8; 32]>())),
    };
    let work = directory.join(format!("credentials.{}", uuid::Uuid::new_v4()));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&work)?;
    writeln!(file, "{}\n{}", keys.access_key_id, keys.secret_access_key.expose_secret())?;
    file.sync_all()?;
    // Unlike a rename, a link does not replace what is there.
    let linked = fs::hard_link(&work, &path);
    fs::remove_file(&work)?;
    match linked {
        Ok(()) => Ok(keys),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<Keys>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match text.lines().collect::<Vec<_>>().as_slice() {
        [id, secret] if id.len() == ACCESS_KEY_LENGTH && !secret.is_empty() => Ok(Some(Keys {
            access_key_id: (*id).to_owned(),
            secret_access_key: SecretString::from((*secret).to_owned()),
        })),
        _ => Err(io::Error::other(format!("{} does not hold two keys", path.display()))),
    }
}

/// Fails where R2 would not take these keys.
pub fn check(keys: &Keys) -> Result<(), Error> {
    if keys.access_key_id.len() != ACCESS_KEY_LENGTH {
        return Err(Error::Option(format!(
            "the access key id has {} characters, and R2's have {ACCESS_KEY_LENGTH}",
            keys.access_key_id.len()
        )));
    }
    if keys.secret_access_key.expose_secret().is_empty() {
        return Err(Error::Option("the secret access key is empty".into()));
    }
    Ok(())
}
