//! Decrypts an object while it arrives, on a thread of its own: in memory is what comes out, and never the whole of what
//! came in beside it.

use super::Store;
use crate::blobs::Reading;
use crate::error::Error;
use bytes::{Buf, Bytes};
use futures::TryStreamExt;
use std::io::{self, BufRead, Read, Write};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// Pieces that wait to be decrypted. A store's are some 16 KiB long, or as long as the object.
const WAITING: usize = 4;

/// The pieces of an object, as a reader.
struct Arriving {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Store {
    /// Reads an object to its end, decrypted where it is encrypted, into `content`, and gives that back.
    pub(super) async fn receive<W: Write + Send + 'static>(
        &self,
        key: &str,
        mut reading: Reading,
        mut content: W,
    ) -> Result<W, Error> {
        // The first piece must be long enough to tell.
        reading.peek(crate::keys::TELLING).await?;
        let (give, pieces) = mpsc::channel(WAITING);
        let (keys, place) = (self.keys.clone(), self.place(key));
        let opening = spawn_blocking(move || {
            let arriving = Arriving { pieces, piece: Bytes::new() };
            keys.open_into(&place, arriving, &mut content).map(|()| content)
        });
        let arrived = async {
            while let Some(piece) = reading.content.try_next().await? {
                if give.send(piece).await.is_err() {
                    // It was seen to be wrong before it ended.
                    break;
                }
            }
            Ok(())
        };
        let arrived = arrived.await;
        drop(give);
        let opened = opening.await.unwrap_or_else(|died| Err(self.died(key, &died)));
        // What is cut off because the store failed is not damaged.
        arrived?;
        opened
    }

    /// Encrypts, where there are keys.
    pub(super) async fn seal(&self, key: &str, content: &Bytes) -> Result<Bytes, Error> {
        if self.keys.is_empty() {
            return Ok(content.clone());
        }
        let (keys, place, content) = (self.keys.first(), self.place(key), content.clone());
        let sealing = spawn_blocking(move || keys.seal(&place, &content));
        sealing.await.unwrap_or_else(|died| Err(self.died(key, &died)))
    }

    fn died(&self, key: &str, died: &tokio::task::JoinError) -> Error {
        Error::Encrypt { place: self.place(key), reason: died.to_string() }
    }
}
