//! The bytes of a stored object, or a range of them, opened where they were sealed.

use crate::r2::object::Segment;
use crate::r2::sealing::{self, Cipher, CustomerKey};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The most bytes that are read at once where they are not sealed.
const PIECE: u64 = 256 * 1024;

/// A range of an object's bytes. What it reads stays the same when the object is replaced meanwhile.
#[derive(Debug)]
pub struct Body {
    file: File,
    pieces: Vec<Piece>,
    at: u64,
    end: u64,
}

#[derive(Debug)]
struct Piece {
    segment: Segment,
    /// Where it begins, as the client counts.
    start: u64,
    /// Where it begins in the file.
    place: u64,
    cipher: Option<Cipher>,
}

impl Body {
    /// This range of an object in `file`.
    pub fn new(
        file: File,
        segments: &[Segment],
        key: Option<&CustomerKey>,
        range: Range<u64>,
    ) -> io::Result<Self> {
        let (mut start, mut place) = (0, 0);
        let mut pieces = Vec::with_capacity(segments.len());
        for segment in segments {
            let cipher = match (&segment.salt, key) {
                (None, _) => None,
                (Some(salt), Some(key)) => Some(key.cipher(&hex::decode(salt).map_err(io::Error::other)?)?),
                (Some(_), None) => {
                    return Err(io::Error::other("a sealed object was opened without its key"));
                }
            };
            pieces.push(Piece { segment: segment.clone(), start, place, cipher });
            start += segment.size;
            place += segment.stored;
        }
        Ok(Self { file, pieces, at: range.start, end: range.end.min(start) })
    }

    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// The next bytes; `None` at the end.
    pub fn next_bytes(&mut self) -> io::Result<Option<Bytes>> {
        if self.remaining() == 0 {
            return Ok(None);
        }
        let piece = self.pieces.iter().find(|piece| self.at < piece.start + piece.segment.size);
        let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)?;
        let offset = self.at - piece.start;
        let wanted = self.remaining().min(piece.segment.size - offset);
        let bytes = match &piece.cipher {
            None => {
                let length = usize::try_from(wanted.min(PIECE)).map_err(io::Error::other)?;
                let mut bytes = vec![0; length];
                self.file.read_exact_at(&mut bytes, piece.place + offset)?;
                Bytes::from(bytes)
            }
            Some(cipher) => {
                let (number, skip) = sealing::block_of(offset);
                let (place, length) = sealing::block_place(&piece.segment, number);
                let mut block = vec![0; length];
                self.file.read_exact_at(&mut block, piece.place + place)?;
                cipher.open(number, &mut block)?;
                let end = block.len().min(skip.saturating_add(usize::try_from(wanted).unwrap_or(usize::MAX)));
                if skip >= end {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Bytes::from(block).slice(skip..end)
            }
        };
        self.at += bytes.len() as u64;
        Ok(Some(bytes))
    }
}
