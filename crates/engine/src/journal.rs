//! The journal: what an apply has begun and what it has finished, so that a killed one is continued.
//!
//! A line is on the disk before the step that it announces begins. What was begun and not finished is *uncertain*: it
//! goes into the state as such, so that the next plan looks for it and whoever removes it from the file gets it
//! deleted. One thread writes; what has gathered since the last fsync shares the next one.

use crate::error::Error;
use crate::plan::{Action, Do};
use crate::state::{Recorded, State};
use crate::{Address, Resource};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry")]
pub enum Entry {
    /// A step begins.
    Begun {
        /// On what.
        address: Address,
        /// What.
        #[serde(rename = "do")]
        what: Do,
        /// What it is to be; nothing for a deletion.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recorded: Option<Recorded>,
    },
    /// It is done, and seen to be done.
    Done {
        /// On what.
        address: Address,
    },
    /// It failed; how far it came is not known.
    Failed {
        /// On what.
        address: Address,
        /// The code of why.
        code: String,
    },
}

impl Entry {
    /// The announcement of an action.
    #[must_use]
    pub fn begun(action: &Action, wanted: Option<&Resource>) -> Self {
        let recorded = wanted.map(|wanted| Recorded {
            platform: wanted.platform.clone(),
            body: wanted.body.clone(),
            depends_on: wanted.depends_on.clone(),
            uncertain: true,
        });
        Self::Begun { address: action.address.clone(), what: action.what, recorded }
    }
}

/// Brings the state to where the journal's lines lead.
pub fn replay(state: &mut State, entries: impl IntoIterator<Item = Entry>) {
    let mut begun = std::collections::BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Begun { address, what, recorded } => {
                let known = state.resources.get_mut(&address);
                match (known, &recorded) {
                    // It may or may not be that still. What is replaced stays recorded as it was until it is done: it may
                    // have been elsewhere, and whoever goes on has to find it there to take it away.
                    (Some(known), None) => known.uncertain = true,
                    (Some(known), Some(_)) if what == Do::Replace => known.uncertain = true,
                    (_, Some(recorded)) => drop(state.resources.insert(address.clone(), recorded.clone())),
                    (None, None) => {}
                }
                begun.insert(address, (what, recorded));
            }
            Entry::Done { address } => match begun.remove(&address) {
                Some((Do::Delete, _)) => drop(state.resources.remove(&address)),
                Some((_, Some(recorded))) => {
                    state.resources.insert(address, Recorded { uncertain: false, ..recorded });
                }
                _ => {
                    if let Some(known) = state.resources.get_mut(&address) {
                        known.uncertain = false;
                    }
                }
            },
            Entry::Failed { .. } => {}
        }
    }
}

/// Called before each write with its number, from 1: tests end the process there.
pub type Probe = Arc<dyn Fn(u64) + Send + Sync>;

/// A line, and whoever waits until it is durable.
pub struct Waiting {
    /// The line, with its end.
    pub line: Vec<u8>,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Waiting {
    /// Says how it went.
    pub fn answer(self, result: Result<(), Error>) {
        // Whoever waited may have been stopped.
        let _ = self.done.send(result);
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("bytes", &self.line.len()).finish_non_exhaustive()
    }
}

/// A journal that is open for writing.
#[derive(Clone)]
pub struct Journal {
    lines: mpsc::UnboundedSender<Waiting>,
    place: PathBuf,
    probe: Option<Probe>,
    count: Arc<AtomicU64>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Journal {
    /// Begins an empty journal in a file.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, probe: Option<Probe>) -> Result<Self, Error> {
        let file = File::create(path).map_err(Error::io("write", path))?;
        file.sync_all().map_err(Error::io("sync", path))?;
        let (journal, waiting) = Self::to(path.to_owned(), probe);
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write(file, &path, waiting))
            .map_err(Error::io("write", &journal.place))?;
        Ok(journal)
    }

    /// A journal whose lines somebody else makes durable, in their order or not: who waits for one has not begun what it
    /// announces. `place` is where, for people.
    #[must_use]
    pub fn to(place: PathBuf, probe: Option<Probe>) -> (Self, mpsc::UnboundedReceiver<Waiting>) {
        let (lines, waiting) = mpsc::unbounded_channel();
        (Self { lines, place, probe, count: Arc::default() }, waiting)
    }

    /// Writes a line, and returns when it is durable.
    ///
    /// # Errors
    /// When the disk, or whatever holds it, refuses.
    pub async fn write(&self, entry: &Entry) -> Result<(), Error> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(probe) = &self.probe {
            probe(2 * number - 1);
        }
        let failed = |cause: std::io::Error| Error::io("write", &self.place)(cause);
        let gone = || failed(std::io::Error::other("whoever writes the journal has ended"));
        let mut line = serde_json::to_vec(entry).map_err(|error| failed(std::io::Error::other(error)))?;
        line.push(b'\n');
        let (done, answer) = oneshot::channel();
        self.lines.send(Waiting { line, done }).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))?;
        if let Some(probe) = &self.probe {
            probe(2 * number);
        }
        Ok(())
    }
}

fn write(mut file: File, path: &Path, mut waiting: mpsc::UnboundedReceiver<Waiting>) {
    while let Some(first) = waiting.blocking_recv() {
        let group = gathered(first, &mut waiting);
        let text: Vec<u8> = group.iter().flat_map(|waiting| &waiting.line).copied().collect();
        let result = file.write_all(&text).and_then(|()| file.sync_data());
        for waiting in group {
            waiting.answer(match &result {
                Ok(()) => Ok(()),
                Err(error) => {
                    Err(Error::io("write", path)(std::io::Error::new(error.kind(), error.to_string())))
                }
            });
        }
    }
}

/// What has gathered behind a first line: it is made durable with it.
pub(crate) fn gathered(first: Waiting, waiting: &mut mpsc::UnboundedReceiver<Waiting>) -> Vec<Waiting> {
    let mut group = vec![first];
    while let Ok(next) = waiting.try_recv() {
        group.push(next);
    }
    group
}

/// The lines of a journal that was left behind; none where there is none. A torn last line was never confirmed and is
/// left out.
///
/// # Errors
/// When the file cannot be read, or a line before the last makes no sense.
pub fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    parse(path, &text)
}

/// The lines of a text, but for a torn last one.
///
/// # Errors
/// When a line before the last makes no sense.
pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                return Err(Error::StateUnreadable { path: path.to_owned(), reason: error.to_string() });
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use serde_json::json;

    #[test]
    fn what_is_being_replaced_is_remembered_where_it_was() {
        let address = Address::new(Kind::Consumer, "billing");
        let recorded = |name: &str, uncertain| Recorded {
            platform: "memory".to_owned(),
            body: json!({ "name": name }),
            depends_on: std::collections::BTreeSet::new(),
            uncertain,
        };
        let mut state = State::new("acme", "lineage".to_owned());
        state.resources.insert(address.clone(), recorded("old", false));
        let begun = Entry::Begun {
            address: address.clone(),
            what: Do::Replace,
            recorded: Some(recorded("new", true)),
        };
        replay(&mut state, [begun.clone()]);
        assert_eq!(state.resources[&address], recorded("old", true));
        replay(&mut state, [begun, Entry::Done { address: address.clone() }]);
        assert_eq!(state.resources[&address], recorded("new", false));
    }
}
