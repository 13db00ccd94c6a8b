//! The account of a directory: made once, then always the same, so that a stand-in that starts again is the same account.

use super::state::{Disk, Token, hash, new_id, write_atomically};
use super::user::new_token_value;
use super::{Account, Error, permission};
use crate::r2::Keys;
use secrecy::{ExposeSecret, SecretString};
use std::fs;
use std::io;
use std::path::Path;

/// The account that is asked for, or the one of the directory.
pub fn account(directory: &Path, wanted: Option<Account>) -> Result<Account, Error> {
    if let Some(account) = wanted {
        check(&account)?;
        return Ok(account);
    }
    of_directory(directory).map_err(|source| Error::Directory { directory: directory.to_owned(), source })
}

fn of_directory(directory: &Path) -> io::Result<Account> {
    let path = directory.join("credentials");
    match fs::read_to_string(&path) {
        Ok(text) => match text.lines().collect::<Vec<_>>().as_slice() {
            [id, token] => {
                Ok(Account { id: (*id).to_owned(), token: SecretString::from((*token).to_owned()) })
            }
            _ => Err(io::Error::other(format!("{} does not hold an account and a token", path.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let account = Account { id: new_id(), token: SecretString::from(new_token_value()) };
            let text = format!("{}\n{}\n", account.id, account.token.expose_secret());
            write_atomically(&path, text.as_bytes())?;
            Ok(account)
        }
        Err(error) => Err(error),
    }
}

fn check(account: &Account) -> Result<(), Error> {
    let is_hex = account.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if account.id.len() != 32 || !is_hex {
        return Err(Error::Option(format!("the account id {:?} has not 32 hexadecimal digits", account.id)));
    }
    let legible = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let token = account.token.expose_secret();
    if token.len() < 40 || !token.bytes().all(legible) {
        return Err(Error::Option("the token has not 40 letters, digits, hyphens or underscores".to_owned()));
    }
    Ok(())
}

/// Brings the account and its token into the state. The token's id and the hash of its value are the keys of S3 requests,
/// as with Cloudflare.
pub fn enter(disk: &Disk, account: &Account) -> Result<Keys, super::answer::Refusal> {
    let hash = hash(account.token.expose_secret().as_bytes());
    let id = disk.change(|state| {
        state.account_id.clone_from(&account.id);
        let known = state.tokens.iter().find(|(_, token)| token.hash == hash).map(|(id, _)| id.clone());
        if let Some(id) = known {
            return Ok(id);
        }
        let id = new_id();
        let token = Token {
            name: "everything".into(),
            hash: hash.clone(),
            permissions: permission::all(),
            ..Token::default()
        };
        state.tokens.insert(id.clone(), token);
        Ok(id)
    })?;
    Ok(Keys { access_key_id: id, secret_access_key: SecretString::from(hash) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_account_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = account(directory.path(), None).unwrap();
        check(&first).unwrap();
        let second = account(directory.path(), None).unwrap();
        assert_eq!((&first.id, first.token.expose_secret()), (&second.id, second.token.expose_secret()));
        let disk = Disk::open(directory.path()).unwrap();
        let keys = enter(&disk, &first).unwrap();
        assert_eq!(enter(&disk, &second).unwrap().access_key_id, keys.access_key_id);
        assert_eq!(keys.access_key_id.len(), 32);
    }

    #[test]
    fn accounts_that_are_none() {
        let account =
            |id: &str, token: &str| Account { id: id.into(), token: SecretString::from(token.to_owned()) };
        assert!(check(&account("x", &"t".repeat(40))).is_err());
        assert!(check(&account(&"0".repeat(32), "short")).is_err());
        assert!(check(&account(&"0".repeat(32), &"t".repeat(40))).is_ok());
    }
}
