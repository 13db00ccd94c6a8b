//! Locks, in Terraform's own form: Terraform waits for ours and we for Terraform's.
//!
//! A lock is the object `KEY.tflock`, made create-only. Ours carries one field more than Terraform's, which Terraform
//! passes over: what the owner's process was. With it, a lock whose owner is *provably* gone is taken over: on the same
//! boot of the same kernel and in the same process namespace, there is no process of that number, or it began at another
//! time. Anything else may be alive, and its lock stays.

use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs;

/// What follows a state's key in its lock's.
pub const SUFFIX: &str = ".tflock";

/// The content of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LockInfo {
    /// Names this lock; whoever unlocks must know it.
    #[serde(rename = "ID")]
    pub id: String,
    /// What for, such as `OperationTypeApply`.
    #[serde(default)]
    pub operation: String,
    /// More for people.
    #[serde(default)]
    pub info: String,
    /// Who, as `user@host`.
    #[serde(default)]
    pub who: String,
    /// The version of the program that holds it.
    #[serde(default)]
    pub version: String,
    /// Since when, RFC 3339.
    #[serde(default)]
    pub created: String,
    /// What is locked.
    #[serde(default)]
    pub path: String,
    /// The process that holds it, where it is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// A process, so that it can be told from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Owner {
    /// Which boot of which kernel.
    pub boot: String,
    /// The namespace in which the number counts: containers share a kernel and not their numbers.
    pub namespace: String,
    /// Its number.
    pub pid: i32,
    /// When it began, in the kernel's ticks since boot.
    pub started: u64,
}

impl LockInfo {
    /// A lock of this process, with a new ID.
    #[must_use]
    pub fn new(operation: &str, path: &str) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            operation: operation.to_owned(),
            info: format!("windlass (pid {})", std::process::id()),
            who: format!("{}@{host}", user.unwrap_or_else(|| "somebody".to_owned())),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created: Timestamp::now().to_string(),
            path: path.to_owned(),
            owner: Owner::current(),
        }
    }

    /// The lock in a stored object. What is no JSON is a lock all the same: of somebody unknown.
    #[must_use]
    pub fn parse(content: &[u8]) -> Self {
        serde_json::from_slice(content).unwrap_or_else(|_| Self {
            id: "unknown".to_owned(),
            operation: "something".to_owned(),
            info: String::new(),
            who: "somebody".to_owned(),
            version: String::new(),
            created: "some time".to_owned(),
            path: String::new(),
            owner: None,
        })
    }

    /// As it is stored.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether its owner is provably gone.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::is_gone)
    }
}

impl Owner {
    /// This process; `None` where the system does not tell enough to prove anything later.
    #[must_use]
    pub fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// A process of this machine; `None` where it is gone, or the system does not tell enough.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let (boot, namespace) = here()?;
        let (started, _) = process(pid)?;
        Some(Self { boot, namespace, pid, started })
    }

    /// Whether the process has surely ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let Some((boot, namespace)) = here() else { return false };
        if boot != self.boot || namespace != self.namespace {
            return false;
        }
        // The number was written by somebody else: it may be anything.
        let Some(pid) = (self.pid > 0).then(|| Pid::from_raw(self.pid)).flatten() else { return false };
        // Asked of the kernel: /proc may hide the processes of others.
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return true;
        }
        process(self.pid).is_some_and(|(started, ended)| ended || started != self.started)
    }
}

fn here() -> Option<(String, String)> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some((boot.trim().to_owned(), namespace.to_string_lossy().into_owned()))
}

/// When a process began, and whether it has ended and only waits for its parent.
fn process(pid: i32) -> Option<(u64, bool)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, also a parenthesis.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((started, matches!(state, "Z" | "X" | "x")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terraforms_locks_are_read_and_ours_are_terraforms() {
        let text = r#"{"ID":"b0","Operation":"OperationTypeApply","Info":"","Who":"a@b","Version":"1.11.4","Created":"2026-01-02T03:04:05.6Z","Path":"states/x"}"#;
        let lock = LockInfo::parse(text.as_bytes());
        assert_eq!((lock.id.as_str(), lock.who.as_str(), lock.is_orphaned()), ("b0", "a@b", false));
        assert_eq!(String::from_utf8(lock.to_json()).unwrap(), text);
        assert_eq!(LockInfo::parse(b"").id, "unknown");
        let ours = LockInfo::new("migrate", "states/x");
        assert_eq!(LockInfo::parse(&ours.to_json()), ours);
        assert!(!ours.is_orphaned(), "this process lives");
    }

    #[test]
    fn only_what_is_provably_gone_is_gone() {
        let Some(owner) = Owner::current() else { return };
        assert!(!owner.is_gone());
        assert!(Owner { started: owner.started + 1, ..owner.clone() }.is_gone());
        assert!(Owner { pid: i32::MAX, ..owner.clone() }.is_gone());
        // Another boot, another container: nothing is known.
        assert!(!Owner { boot: "other".into(), pid: i32::MAX, ..owner.clone() }.is_gone());
        assert!(!Owner { namespace: "other".into(), pid: i32::MAX, ..owner.clone() }.is_gone());
        assert!(!Owner { pid: 0, ..owner.clone() }.is_gone());
        assert!(!Owner { pid: -1, ..owner }.is_gone());
    }
}
