//! The spool: events on this machine's disk, for as long as JetStream cannot take them.
//!
//! An event in the spool is as safe as a file can be: [`Spool::append`] returns when it has been written *and* fsynced.
//! One thread writes, and takes whatever has gathered since the last fsync as one group, so that a hundred waiting
//! deliveries cost one fsync and not a hundred. Events leave in the order in which they came. What was handed to
//! JetStream may be handed over once more after a crash; its duplicate window drops that.
//!
//! On disk: `<directory>/<number>.spool` are segments ([`segment`] has the format), `position` says how far the
//! oldest one has been drained. The position may lag behind the truth, never run ahead of it.
//!
//! The writer decides, too, whether the spool is *open*: events go there while it is, and past it when it is not.
//! It closes only when nothing is left, between two appends, so that no event can overtake an earlier one.

mod position;
pub mod segment;
mod writer;

use crate::event::Event;
use parking_lot::Mutex;
use position::Position;
use segment::{Reader, Record};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};
use tokio::sync::{Notify, mpsc, oneshot};
use writer::Command;

/// The usual size of a segment.
pub const SEGMENT_SIZE: u64 = 64 * 1024 * 1024;

/// With less than this free, in bytes, a spool counts as full: most events are far smaller, and few are larger.
pub const ROOM: u64 = 1024 * 1024;

/// How long a disk's refusal speaks against it. Nobody tells when a disk has room again, so then the next event may try.
const REFUSAL_COUNTS: Duration = Duration::from_secs(5);

/// Where the spool is and how much it may hold.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory, made if it is not there.
    pub directory: PathBuf,
    /// The most bytes it may take on disk.
    pub max_size: u64,
    /// When a segment has this many bytes, the next one is begun: what is drained is freed by the segment.
    pub segment_size: u64,
}

/// Why an event could not be spooled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spool holds as much as it may.
    #[error("the spool is full")]
    Full,
    /// The disk would not take it.
    #[error("the spool's disk: {0}")]
    Io(#[from] io::Error),
    /// What was confirmed cannot be read back: the disk has failed. A restart sets the damaged part aside.
    #[error("segment {segment} of the spool is damaged at byte {offset}")]
    Damaged {
        /// The segment's number.
        segment: u64,
        /// Where the first unreadable record begins.
        offset: u64,
    },
    /// The writer has ended, as it does when the process stops.
    #[error("the spool is closed")]
    Closed,
}

/// Counters that the writer keeps and anyone may read.
#[derive(Debug, Default)]
pub struct Levels {
    events: AtomicU64,
    bytes: AtomicU64,
    fsyncs: AtomicU64,
    open: AtomicBool,
    /// When the disk last refused.
    refused: Mutex<Option<Instant>>,
    /// The end of what is certainly on the disk. Nothing beyond it is drained.
    confirmed: Mutex<Position>,
}

impl Levels {
    /// Events that wait in the spool.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
    /// Bytes of segments on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    /// How often the writer has called fsync.
    pub fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }
    /// Whether events are to go to the spool (rather than straight to JetStream).
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

/// The side that puts events in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spool {
    commands: mpsc::Sender<Command>,
    levels: Arc<Levels>,
    appended: Arc<Notify>,
    max_size: u64,
}

impl Spool {
    /// Opens the spool, repairs a torn end, and starts the writer. The other half takes events out.
    ///
    /// # Errors
    /// When the directory cannot be made, read or written.
    pub fn open(options: Options) -> Result<(Self, Drain), Error> {
        fs::create_dir_all(&options.directory)?;
        let found = segment::scan(&options.directory, Position::load(&options.directory))?;
        let levels = Arc::new(Levels::default());
        levels.events.store(found.events, Ordering::Relaxed);
        levels.bytes.store(found.bytes, Ordering::Relaxed);
        levels.open.store(found.events > 0, Ordering::Release);
        *levels.confirmed.lock() = found.end;
        let appended = Arc::new(Notify::new());
        let (commands, received) = mpsc::channel(4096);
        let drain = Drain {
            directory: options.directory.clone(),
            position: found.position,
            reader: None,
            commands: commands.clone(),
            levels: Arc::clone(&levels),
            appended: Arc::clone(&appended),
        };
        let max_size = options.max_size;
        writer::start(options, found.next_segment, Arc::clone(&levels), Arc::clone(&appended), received)?;
        Ok((Self { commands, levels, appended, max_size }, drain))
    }

    /// Puts an event in and returns once it is on the disk.
    ///
    /// # Errors
    /// [`Error::Full`] when there is no room, [`Error::Io`] when the disk refuses; the event is then not in the
    /// spool as far as its sender is told (it may still be: JetStream drops a repetition).
    pub async fn append(&self, event: &Event) -> Result<(), Error> {
        let record = Record::encode(event);
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Append { record, done }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Whether it would take an event, as far as can be told without one: there is room for [`ROOM`], and the disk has
    /// not just refused.
    pub fn has_room(&self) -> bool {
        let refused = self.levels.refused.lock().is_some_and(|at| at.elapsed() < REFUSAL_COUNTS);
        !refused && self.levels.bytes().saturating_add(ROOM) <= self.max_size
    }

    /// The current levels.
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Sends events to the spool from now on, until it has been drained.
    pub fn open_for_events(&self) {
        if !self.levels.open.swap(true, Ordering::AcqRel) {
            self.appended.notify_one();
        }
    }
}

/// The side that takes events out, in order. There is one.
#[derive(Debug)]
pub struct Drain {
    directory: PathBuf,
    position: Position,
    reader: Option<Reader>,
    commands: mpsc::Sender<Command>,
    levels: Arc<Levels>,
    appended: Arc<Notify>,
}

/// Events that were read together, and where the spool stands after them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, oldest first.
    pub events: Vec<Event>,
    after: Option<Position>,
}

impl Drain {
    /// Waits until the spool is open.
    pub async fn wait_until_open(&self) {
        while !self.levels.is_open() {
            self.appended.notified().await;
        }
    }

    /// Reads the next events, up to about `bytes` of them (at least one, if there is one), without removing them.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn read(&mut self, bytes: usize) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let mut size = 0;
        let mut position = self.position;
        let confirmed = *self.levels.confirmed.lock();
        while size < bytes && position < confirmed {
            let event = match self.reader_at(position)? {
                Some(reader) => reader.next()?.map(|event| (event, reader.position())),
                None => None,
            };
            if let Some((event, after)) = event {
                size += event.size();
                position = after;
                batch.events.push(event);
                continue;
            }
            let length =
                fs::metadata(segment::path(&self.directory, position.segment)).map_or(0, |file| file.len());
            match segment::next_after(&self.directory, position.segment)? {
                // This one is no longer written to, and what it had has been read.
                Some(next) if length <= position.offset => position = Position { segment: next, offset: 0 },
                _ => return Err(Error::Damaged { segment: position.segment, offset: position.offset }),
            }
        }
        batch.after = Some(position);
        Ok(batch)
    }

    /// Removes a batch that JetStream has acknowledged as a whole.
    pub fn remove(&mut self, batch: &Batch) {
        let Some(after) = batch.after else { return };
        self.levels.events.fetch_sub(batch.events.len() as u64, Ordering::Relaxed);
        let before = std::mem::replace(&mut self.position, after);
        if let Err(error) = after.save(&self.directory) {
            tracing::warn!(%error, "the spool's position could not be saved; a restart would drain again");
        }
        for segment in before.segment..after.segment {
            self.delete(segment);
        }
    }

    /// Closes the spool if nothing is left in it, and says whether it did.
    pub async fn try_close(&mut self) -> bool {
        let (done, answer) = oneshot::channel();
        let command = Command::TryClose { drained: self.position, done };
        if self.commands.send(command).await.is_err() {
            return false;
        }
        let Ok(Some(next)) = answer.await else { return false };
        self.reader = None;
        self.position = next;
        true
    }

    fn reader_at(&mut self, position: Position) -> Result<Option<&mut Reader>, Error> {
        if self.reader.as_ref().is_none_or(|reader| reader.position() != position) {
            self.reader = Reader::open(&self.directory, position)?;
        }
        Ok(self.reader.as_mut())
    }

    fn delete(&self, number: u64) {
        let path = segment::path(&self.directory, number);
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        match fs::remove_file(&path) {
            Ok(()) => {
                self.levels.bytes.fetch_sub(size, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "a drained segment of the spool could not be deleted"),
        }
    }
}

/// Makes sure that a new or removed name in a directory survives a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}
