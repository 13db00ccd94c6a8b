//! One file of the spool: records, one after another, each provably whole.
//!
//! A record is: length of the rest (u32), CRC-32C of the rest (u32), length of the head (u32), the head as JSON
//! (delivery, subject, headers), the body's exact bytes. Numbers are little-endian. A crash in the middle
//! of a write leaves a record whose length or checksum does not fit: there the segment ends. Such a record was
//! never acknowledged to anyone.

use super::position::Position;
use super::sync_directory;
use crate::event::Event;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const EXTENSION: &str = "spool";
/// Length and checksum.
const PREFIX: usize = 8;
/// No record is larger than a body of 25 MiB with its head; a length beyond this is damage, not data.
const MAX_RECORD: u32 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    delivery: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    headers: Vec<(Cow<'static, str>, String)>,
}

/// An event as it is written: everything before the body, and the body, which is not copied.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Bytes,
}

impl Record {
    pub(crate) fn encode(event: &Event) -> Self {
        let head = Head {
            delivery: Cow::Borrowed(&event.delivery),
            subject: Cow::Borrowed(&event.subject),
            headers: event.headers.clone(),
        };
        let mut bytes = vec![0; PREFIX + 4];
        // Writing JSON of strings into a vector cannot fail; an empty head would be caught on reading.
        let _ = serde_json::to_writer(&mut bytes, &head);
        let head_length = (bytes.len() - PREFIX - 4) as u32;
        bytes[PREFIX..PREFIX + 4].copy_from_slice(&head_length.to_le_bytes());
        let length = (bytes.len() - PREFIX + event.body.len()) as u32;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[PREFIX..]), &event.body);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        Self { head: bytes, body: event.body.clone() }
    }

    pub(crate) fn len(&self) -> u64 {
        (self.head.len() + self.body.len()) as u64
    }
}

fn decode(rest: Vec<u8>) -> Option<Event> {
    let head_length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    let head: Head<'_> = serde_json::from_slice(rest.get(4..4 + head_length)?).ok()?;
    let (delivery, subject, headers) = (head.delivery.into_owned(), head.subject.into_owned(), head.headers);
    Some(Event { delivery, subject, headers, body: Bytes::from(rest).slice(4 + head_length..) })
}

/// Reads one segment from a place in it.
#[derive(Debug)]
pub(crate) struct Reader {
    file: BufReader<File>,
    position: Position,
}

impl Reader {
    /// `None` when there is no such segment (yet).
    pub(crate) fn open(directory: &Path, position: Position) -> io::Result<Option<Self>> {
        let mut file = match File::open(path(directory, position.segment)) {
            Ok(file) => BufReader::with_capacity(256 * 1024, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(position.offset))?;
        Ok(Some(Self { file, position }))
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next whole record; `None` where they end for now. Reading may go on later, when more was written.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        match self.read_record()? {
            Some((event, length)) => {
                self.position.offset += length;
                Ok(Some(event))
            }
            None => {
                self.file.seek(SeekFrom::Start(self.position.offset))?;
                Ok(None)
            }
        }
    }

    fn read_record(&mut self) -> io::Result<Option<(Event, u64)>> {
        let mut prefix = [0; PREFIX];
        if !read_whole(&mut self.file, &mut prefix)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
        let checksum = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
        if length > MAX_RECORD {
            return Ok(None);
        }
        let mut rest = vec![0; length as usize];
        if !read_whole(&mut self.file, &mut rest)? || crc32c::crc32c(&rest) != checksum {
            return Ok(None);
        }
        Ok(decode(rest).map(|event| (event, PREFIX as u64 + u64::from(length))))
    }
}

/// Fills the buffer, or says that the file ends before.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a spool directory holds when it is opened.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) position: Position,
    pub(crate) next_segment: u64,
    pub(crate) end: Position,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// Looks through the directory: counts what waits, and cuts off a torn end, keeping the cut bytes beside it when a
/// segment is damaged in any other way than by an interrupted write.
pub(crate) fn scan(directory: &Path, saved: Position) -> io::Result<Found> {
    let segments = list(directory)?;
    let first = segments.first().copied().unwrap_or(saved.segment);
    let position =
        if segments.contains(&saved.segment) { saved } else { Position { segment: first, offset: 0 } };
    let mut found = Found { position, next_segment: first, end: position, events: 0, bytes: 0 };
    for &number in &segments {
        found.next_segment = number + 1;
        if number < position.segment {
            fs::remove_file(path(directory, number))?;
            continue;
        }
        let offset = if number == position.segment { position.offset } else { 0 };
        let Some(mut reader) = Reader::open(directory, Position { segment: number, offset })? else {
            continue;
        };
        while reader.next()?.is_some() {
            found.events += 1;
        }
        found.end = reader.position();
        found.bytes += keep_whole_records(directory, found.end)?;
    }
    found.next_segment = found.next_segment.max(position.segment + 1);
    Ok(found)
}

/// Ends a segment after its last whole record and returns its length.
fn keep_whole_records(directory: &Path, end: Position) -> io::Result<u64> {
    let path = path(directory, end.segment);
    let length = fs::metadata(&path)?.len();
    if length <= end.offset {
        return Ok(length);
    }
    // An interrupted write and a damaged disk look alike from here. The bytes are set aside and not thrown away, so
    // that a person can look; they hold nothing that was acknowledged unless the disk itself has failed.
    let mut file = File::open(&path)?;
    file.seek(SeekFrom::Start(end.offset))?;
    let aside = path.with_extension(format!("torn-at-{}", end.offset));
    io::copy(&mut file, &mut File::create(&aside)?)?;
    let file = File::options().write(true).open(&path)?;
    file.set_len(end.offset)?;
    file.sync_all()?;
    sync_directory(directory)?;
    tracing::warn!(
        segment = end.segment,
        bytes = length - end.offset,
        kept = %aside.display(),
        "the spool ended in an incomplete record: an interrupted write (never acknowledged), or a failing disk"
    );
    Ok(end.offset)
}

/// The numbers of the segments, in order.
fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The first segment after this one.
pub(crate) fn next_after(directory: &Path, number: u64) -> io::Result<Option<u64>> {
    Ok(list(directory)?.into_iter().find(|&other| other > number))
}

pub(crate) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{EXTENSION}"))
}
