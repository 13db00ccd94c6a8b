//! Credentials that are over after a while. Only their digests are kept, and only in memory: a restart ends them all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The user name that Cloudflare gives with every password.
const USERNAME: &str = "v1";

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read images.
    Pull,
    /// Write and delete them.
    Push,
}

/// Credentials for a registry.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

#[derive(Debug)]
struct Grant {
    permissions: Vec<Permission>,
    until: Instant,
}

/// Who gives credentials and looks at them.
#[derive(Debug, Default)]
pub(super) struct Desk {
    grants: Mutex<HashMap<[u8; 32], Grant>>,
}

/// What the desk says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Come in.
    Allowed,
    /// Nobody knows you, or not any more.
    Unknown,
    /// You are known, and may not do this.
    Denied,
}

impl Desk {
    pub(super) fn issue(&self, permissions: &[Permission], lasts: Duration) -> Issued {
        let password = hex::encode(rand::random::<[u8; 32]>());
        let grant = Grant { permissions: permissions.to_vec(), until: Instant::now() + lasts };
        let mut grants = self.grants.lock();
        grants.retain(|_, grant| grant.until > Instant::now());
        grants.insert(Sha256::digest(&password).into(), grant);
        Issued { username: USERNAME.to_owned(), password: password.into() }
    }

    /// Judges the value of an `Authorization` header.
    pub(super) fn judge(&self, header: Option<&str>, wanted: Option<Permission>, now: Instant) -> Verdict {
        let Some(password) = header.and_then(password) else { return Verdict::Unknown };
        // Looked up by its digest: the time that takes says nothing about the password.
        let key: [u8; 32] = Sha256::digest(&password).into();
        match self.grants.lock().get(&key) {
            Some(grant) if grant.until > now => match wanted {
                Some(wanted) if !grant.permissions.contains(&wanted) => Verdict::Denied,
                _ => Verdict::Allowed,
            },
            _ => Verdict::Unknown,
        }
    }
}

/// The password of a `Basic` header with the user name that was given.
fn password(header: &str) -> Option<Vec<u8>> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    (&decoded[..colon] == USERNAME.as_bytes()).then(|| decoded[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn only_what_was_given_for_as_long_as_it_lasts() {
        let desk = Desk::default();
        let pull = desk.issue(&[Permission::Pull], Duration::from_secs(60));
        let both = desk.issue(&[Permission::Pull, Permission::Push], Duration::from_secs(60));
        let header =
            |user: &str, password: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let now = Instant::now();
        let judge = |header: &str, wanted, now| desk.judge(Some(header), wanted, now);
        let of = |issued: &Issued| header(&issued.username, issued.password.expose_secret());
        assert_eq!(judge(&of(&pull), Some(Permission::Pull), now), Verdict::Allowed);
        assert_eq!(judge(&of(&pull), None, now), Verdict::Allowed);
        assert_eq!(judge(&of(&pull), Some(Permission::Push), now), Verdict::Denied);
        assert_eq!(judge(&of(&both), Some(Permission::Push), now), Verdict::Allowed);
        assert_eq!(
            judge(&of(&both), Some(Permission::Push), now + Duration::from_secs(61)),
            Verdict::Unknown
        );
        assert_eq!(desk.judge(None, None, now), Verdict::Unknown);
        for wrong in [
            "",
            "Basic",
            "Basic !!",
            "Bearer x",
            &header("v1", "x"),
            &header("v2", both.password.expose_secret()),
        ] {
            assert_eq!(judge(wrong, None, now), Verdict::Unknown, "{wrong}");
        }
    }
}
