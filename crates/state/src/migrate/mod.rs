//! Moves Terraform's state from one place to another, byte by byte, so that lineage and serial stay.
//!
//! ```text
//! lock every workspace on both sides → read and check all → only then write:
//! history of what is replaced → history of what comes → the state itself, conditionally → read back and compare
//! → unlock the target → move the local file aside
//! ```
//!
//! Nothing is written down about how far it got: each step looks at what is there. Killed at any instruction, the source or
//! the target (or both) is whole, and the same command again finishes.

use crate::blobs::{Condition, Tag};
use crate::error::Error;
use crate::location::{DEFAULT_WORKSPACE, Place};
use crate::locks::{Locks, until};
use crate::store::digest;
use crate::terraform::{self, Summary};
use bytes::Bytes;
use serde::Serialize;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How to migrate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Check everything and write nothing, not even a lock.
    pub dry_run: bool,
    /// Take a state without resources as well.
    pub allow_empty: bool,
    /// How long to wait for whoever holds a lock.
    pub wait: Duration,
}

/// What is done to a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// There was nothing, and it was written.
    Create,
    /// An older version was there, and was replaced.
    Replace,
    /// It was there already.
    Same,
}

/// What happened to a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Which.
    pub workspace: String,
    /// Where it was.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// What was done.
    pub action: Action,
    /// Its lineage.
    pub lineage: String,
    /// Its serial.
    pub serial: u64,
    /// How many resources it has.
    pub resources: usize,
    /// Its length.
    pub bytes: usize,
    /// The digest of what was there.
    pub sha256_before: String,
    /// The digest of what is there now, as it was read back; nothing in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256_after: Option<String>,
    /// Whether it is encrypted now.
    pub encrypted: bool,
    /// Where the local file was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<PathBuf>,
}

/// What a migration did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing was written, because that was asked for.
    pub dry_run: bool,
    /// Every workspace.
    pub workspaces: Vec<Moved>,
    /// Who held locks whose process is gone, and which were taken over.
    pub took_over: Vec<String>,
}

/// What is going on, for a progress bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many workspaces were found.
    Found(usize),
    /// One is being read and checked.
    Checking(String),
    /// One of so many bytes is being written.
    Writing(String, usize),
    /// One is done.
    Done(String),
}

/// What was checked of a workspace.
struct Candidate {
    workspace: String,
    sha256: String,
    bytes: usize,
    summary: Summary,
    action: Action,
    target: Option<Target>,
}

/// What is there already. Its content is not held: it is read again should it not be in the history.
struct Target {
    tag: Tag,
    sha256: String,
    /// Nothing, where the file is empty.
    serial: Option<u64>,
}

/// Migrates every workspace of `from` to `to`.
///
/// # Errors
/// When something cannot be migrated. Then nothing was changed, unless a store failed in the middle: the same call again goes
/// on where it was.
pub async fn migrate(
    from: &Place,
    to: &Place,
    options: Options,
    tell: &(dyn Fn(Event) + Sync),
    stop: impl Future<Output = ()>,
) -> Result<Report, Error> {
    if from.is_same(to) {
        let reason = "it is the source and the target".to_owned();
        return Err(Error::Address { address: to.place_of(DEFAULT_WORKSPACE), reason });
    }
    until(stop, async |locks| run(from, to, options, tell, locks).await).await
}

async fn run(
    from: &Place,
    to: &Place,
    options: Options,
    tell: &(dyn Fn(Event) + Sync),
    locks: &mut Locks,
) -> Result<Report, Error> {
    let workspaces = from.workspaces().await?;
    tell(Event::Found(workspaces.len()));
    if workspaces.is_empty() {
        return finished_before(from, to, options).await;
    }
    if !options.dry_run {
        for place in [from, to] {
            for workspace in &workspaces {
                locks.take(&place.store, &place.key_of(workspace), "migrate", options.wait).await?;
            }
        }
    }
    // What one alone holds is kept in memory from the check to the write. Several are read once more, so that the memory
    // that is needed does not grow with their number.
    let mut checked = Vec::new();
    for workspace in &workspaces {
        tell(Event::Checking(workspace.clone()));
        let (candidate, content) = check(from, to, workspace, options).await?;
        checked.push((candidate, (workspaces.len() == 1).then_some(content)));
    }
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    for (candidate, content) in checked {
        let workspace = candidate.workspace.clone();
        tell(Event::Writing(workspace.clone(), candidate.bytes));
        report.workspaces.push(carry_over(from, to, candidate, content, options).await?);
        tell(Event::Done(workspace));
    }
    report.took_over =
        locks.took_over.iter().map(|lock| format!("{} ({})", lock.who, lock.operation)).collect();
    if from.is_local() && !options.dry_run {
        // From here on the target is the state: whoever works there need not wait.
        locks.release_remote().await?;
        for moved in &mut report.workspaces {
            moved.moved_to = Some(put_aside(from, &from.key_of(&moved.workspace), moved.serial)?);
        }
    }
    Ok(report)
}

/// Reads one on both sides and decides. Changes nothing. Gives the source's content as well.
async fn check(
    from: &Place,
    to: &Place,
    workspace: &str,
    options: Options,
) -> Result<(Candidate, Bytes), Error> {
    let (key, place) = (from.key_of(workspace), from.place_of(workspace));
    let source = from.store.read(&key).await?.ok_or_else(|| Error::Absent { place: place.clone() })?;
    let summary = terraform::parse(&place, &source.content)?;
    if summary.resources == 0 && !options.allow_empty {
        return Err(Error::NoResources { place });
    }
    let place = to.place_of(workspace);
    let candidate = |summary, action, target| Candidate {
        workspace: workspace.to_owned(),
        sha256: source.sha256.clone(),
        bytes: source.content.len(),
        summary,
        action,
        target,
    };
    let Some(target) = to.store.read(&to.key_of(workspace)).await? else {
        return Ok((candidate(summary, Action::Create, None), source.content));
    };
    let there = match terraform::parse(&place, &target.content) {
        // Terraform's local backend makes an empty file before it has something to write.
        Err(Error::Empty { .. }) if to.is_local() => None,
        there => Some(there?),
    };
    let wants_encryption = !to.store.keys().is_empty();
    let action = match &there {
        None => Action::Create,
        Some(_) if target.sha256 == source.sha256 => {
            if target.sealed == wants_encryption {
                Action::Same
            } else {
                Action::Replace
            }
        }
        Some(there) => judge(&place, &summary, there)?,
    };
    let serial = there.map(|there| there.serial);
    let target = Target { tag: target.tag, sha256: target.sha256, serial };
    Ok((candidate(summary, action, Some(target)), source.content))
}

/// Whether one state may replace another.
fn judge(place: &str, source: &Summary, target: &Summary) -> Result<Action, Error> {
    let place = place.to_owned();
    if source.lineage != target.lineage {
        let (found, wanted) = (target.lineage.clone(), source.lineage.clone());
        return Err(Error::ForeignLineage { place, found, wanted });
    }
    match source.serial.cmp(&target.serial) {
        std::cmp::Ordering::Greater => Ok(Action::Replace),
        std::cmp::Ordering::Equal => Err(Error::Fork { place, serial: source.serial }),
        std::cmp::Ordering::Less => {
            Err(Error::LowerSerial { place, found: target.serial, wanted: source.serial })
        }
    }
}

async fn carry_over(
    from: &Place,
    to: &Place,
    candidate: Candidate,
    mut content: Option<Bytes>,
    options: Options,
) -> Result<Moved, Error> {
    let Candidate { workspace, sha256, bytes, summary, action, target } = candidate;
    let key = to.key_of(&workspace);
    let condition = target.as_ref().map_or(Condition::Absent, |there| Condition::Is(there.tag.clone()));
    let sha256_after = match action {
        _ if options.dry_run => None,
        Action::Same => target.map(|there| there.sha256),
        Action::Create | Action::Replace => {
            if let Some(Target { sha256, serial: Some(serial), tag }) = target
                && !to.store.has(&key, serial, &sha256).await?
            {
                // One at a time in memory: the source is read again.
                content = None;
                to.store.keep_current(&key, serial, &tag).await?;
            }
            let content = match content {
                Some(content) => content,
                None => again(from, &workspace, &sha256).await?,
            };
            Some(to.store.write(&key, summary.serial, &content, &condition).await?.sha256)
        }
    };
    Ok(Moved {
        from: from.place_of(&workspace),
        to: to.place_of(&workspace),
        workspace,
        action,
        lineage: summary.lineage,
        serial: summary.serial,
        resources: summary.resources,
        bytes,
        sha256_before: sha256,
        sha256_after,
        encrypted: !to.store.keys().is_empty(),
        moved_to: None,
    })
}

/// The content of the source, which must be what was checked.
async fn again(from: &Place, workspace: &str, sha256: &str) -> Result<Bytes, Error> {
    match from.store.read(&from.key_of(workspace)).await? {
        Some(there) if there.sha256 == sha256 => Ok(there.content),
        _ => Err(Error::Changed { place: from.place_of(workspace) }),
    }
}

fn aside(file: &Path, serial: u64, number: usize) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let more = if number == 0 { String::new() } else { format!("-{number}") };
    file.with_file_name(format!("{name}.migrated-{serial}{more}"))
}

/// Renames a migrated file, so that Terraform does not find it and ask what it is.
fn put_aside(place: &Place, key: &str, serial: u64) -> Result<PathBuf, Error> {
    let Some(file) = place.file(key).transpose()? else { return Ok(PathBuf::new()) };
    let free = (0..).map(|number| aside(&file, serial, number)).find(|path| !path.exists());
    let Some(to) = free else { return Ok(file) };
    place.step();
    fs::rename(&file, &to).map_err(Error::io("rename", &file))?;
    place.step();
    crate::blobs::sync_directory(file.parent().unwrap_or_else(|| Path::new(".")))?;
    place.step();
    Ok(to.strip_prefix(".").map(Path::to_owned).unwrap_or(to))
}

/// The source is not there. When it was put aside by an earlier run whose end nobody saw, that is success.
async fn finished_before(from: &Place, to: &Place, options: Options) -> Result<Report, Error> {
    let absent = || Error::Absent { place: from.place_of(DEFAULT_WORKSPACE) };
    if !from.is_local() {
        return Err(absent());
    }
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    for workspace in to.workspaces().await? {
        let Some(stored) = to.store.read(&to.key_of(&workspace)).await? else { continue };
        let summary = terraform::parse(&to.place_of(&workspace), &stored.content)?;
        let Some(file) = from.file(&from.key_of(&workspace)).transpose()? else { continue };
        let left = (0..100).map(|number| aside(&file, summary.serial, number));
        let same = |path: &PathBuf| fs::read(path).is_ok_and(|content| digest(&content) == stored.sha256);
        if let Some(path) = left.take_while(|path| path.exists()).find(same) {
            report.workspaces.push(Moved {
                from: from.place_of(&workspace),
                to: to.place_of(&workspace),
                workspace,
                action: Action::Same,
                lineage: summary.lineage,
                serial: summary.serial,
                resources: summary.resources,
                bytes: stored.content.len(),
                sha256_before: stored.sha256.clone(),
                sha256_after: Some(stored.sha256),
                encrypted: stored.sealed,
                moved_to: Some(path),
            });
        }
    }
    if report.workspaces.is_empty() { Err(absent()) } else { Ok(report) }
}

#[cfg(test)]
mod tests;
