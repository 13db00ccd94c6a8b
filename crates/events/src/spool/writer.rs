//! The thread that writes the spool. If it ended, every append would fail and the receiver would answer 503: nothing
//! would be acknowledged that is not on the disk.

use super::position::Position;
use super::segment::{self, Record};
use super::{Error, Levels, Options, sync_directory};
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::{Notify, mpsc, oneshot};

/// What one fsync may cover: more would make the first of them wait for the last.
const GROUP_BYTES: u64 = 8 * 1024 * 1024;
const GROUP_RECORDS: usize = 1024;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Write a record, and say when it is on the disk.
    Append { record: Record, done: oneshot::Sender<Result<(), Error>> },
    /// Close the spool if everything up to its end has been drained; answers with the place where it will go on.
    TryClose { drained: Position, done: oneshot::Sender<Option<Position>> },
}

pub(crate) fn start(
    options: Options,
    next_segment: u64,
    levels: Arc<Levels>,
    appended: Arc<Notify>,
    commands: mpsc::Receiver<Command>,
) -> io::Result<()> {
    let writer = Writer { options, levels, appended, next_segment, active: None };
    std::thread::Builder::new().name("spool".into()).spawn(move || writer.run(commands))?;
    Ok(())
}

struct Writer {
    options: Options,
    levels: Arc<Levels>,
    appended: Arc<Notify>,
    next_segment: u64,
    active: Option<Active>,
}

struct Active {
    number: u64,
    file: File,
    length: u64,
}

type Waiting = (Record, oneshot::Sender<Result<(), Error>>);

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut group: Vec<Waiting> = Vec::new();
        while let Some(command) = commands.blocking_recv() {
            let mut next = Some(command);
            let mut bytes = 0;
            while let Some(command) = next.take() {
                match command {
                    Command::Append { record, done } => {
                        bytes += record.len();
                        group.push((record, done));
                    }
                    Command::TryClose { drained, done } => {
                        self.write_group(&mut group);
                        bytes = 0;
                        let _ = done.send(self.try_close(drained));
                    }
                }
                if bytes < GROUP_BYTES && group.len() < GROUP_RECORDS {
                    next = commands.try_recv().ok();
                }
            }
            self.write_group(&mut group);
        }
    }

    /// Writes what has gathered, fsyncs once, and answers everyone.
    fn write_group(&mut self, group: &mut Vec<Waiting>) {
        let mut room = self.options.max_size.saturating_sub(self.levels.bytes());
        let mut accepted = Vec::with_capacity(group.len());
        for (record, done) in group.drain(..) {
            if record.len() <= room {
                room -= record.len();
                accepted.push((record, done));
            } else {
                let _ = done.send(Err(Error::Full));
            }
        }
        if accepted.is_empty() {
            return;
        }
        match self.write(&accepted) {
            Ok(written) => {
                *self.levels.refused.lock() = None;
                self.levels.bytes.fetch_add(written, Ordering::Relaxed);
                self.levels.events.fetch_add(accepted.len() as u64, Ordering::Relaxed);
                if let Some(active) = &self.active {
                    *self.levels.confirmed.lock() =
                        Position { segment: active.number, offset: active.length };
                }
                self.levels.open.store(true, Ordering::Release);
                self.appended.notify_one();
                for (_, done) in accepted {
                    let _ = done.send(Ok(()));
                }
            }
            Err(error) => {
                tracing::error!(%error, events = accepted.len(), "the spool could not be written");
                *self.levels.refused.lock() = Some(Instant::now());
                self.abandon_segment();
                for (_, done) in accepted {
                    let _ = done.send(Err(Error::Io(io::Error::new(error.kind(), error.to_string()))));
                }
            }
        }
    }

    fn write(&mut self, group: &[Waiting]) -> io::Result<u64> {
        let active = self.active()?;
        let mut slices = Vec::with_capacity(group.len() * 2);
        let mut written = 0;
        for (record, _) in group {
            slices.push(IoSlice::new(&record.head));
            slices.push(IoSlice::new(&record.body));
            written += record.len();
        }
        write_all_vectored(&mut active.file, &mut slices)?;
        active.file.sync_data()?;
        active.length += written;
        self.levels.fsyncs.fetch_add(1, Ordering::Relaxed);
        Ok(written)
    }

    /// The segment that is written to, a new one if there is none or it is large enough.
    fn active(&mut self) -> io::Result<&mut Active> {
        if self.active.as_ref().is_some_and(|active| active.length >= self.options.segment_size) {
            self.active = None;
        }
        if self.active.is_none() {
            let number = self.next_segment;
            let path = segment::path(&self.options.directory, number);
            let file = File::options().create_new(true).append(true).open(&path)?;
            self.next_segment += 1;
            sync_directory(&self.options.directory)?;
            self.active = Some(Active { number, file, length: 0 });
        }
        self.active.as_mut().ok_or_else(|| io::Error::other("no active segment"))
    }

    /// After a failed write or fsync nobody knows what the disk holds of the last group (a second fsync may say
    /// "done" although pages were dropped), so the segment is cut to what was confirmed and never written again.
    fn abandon_segment(&mut self) {
        let Some(active) = self.active.take() else { return };
        if let Err(error) = active.file.set_len(active.length).and_then(|()| active.file.sync_all()) {
            tracing::warn!(%error, segment = active.number, "the spool's failed segment could not be cut");
        }
        if active.length == 0 {
            let _ = fs::remove_file(segment::path(&self.options.directory, active.number));
        }
    }

    fn try_close(&mut self, drained: Position) -> Option<Position> {
        let end = match &self.active {
            Some(active) => Position { segment: active.number, offset: active.length },
            None => drained,
        };
        if self.levels.events() > 0 || drained < end {
            return None;
        }
        if let Some(active) = self.active.take() {
            let _ = fs::remove_file(segment::path(&self.options.directory, active.number));
        } else {
            let _ = fs::remove_file(segment::path(&self.options.directory, drained.segment));
        }
        self.levels.bytes.store(0, Ordering::Relaxed);
        self.levels.open.store(false, Ordering::Release);
        Some(Position { segment: self.next_segment, offset: 0 })
    }
}

fn write_all_vectored(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    /// The kernel takes at most this many slices in one call (IOV_MAX).
    const MOST: usize = 1024;
    while !slices.is_empty() {
        let most = slices.len().min(MOST);
        match file.write_vectored(&slices[..most]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
