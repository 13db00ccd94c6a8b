//! Moves a stream's clock without waiting: makes every message older, in the files of a server that is stopped.
//!
//! nats-server has no clock that could be set from outside, but what it knows of the past is in its message blocks. A block
//! is a sequence of records:
//!
//! ```text
//! u32 length, its highest bit set where the message has headers
//! u64 sequence    i64 time, nanoseconds since 1970    u16 length of the subject
//! subject         u32 length of the headers, headers  (where it has some)
//! body            u64 checksum
//! ```
//!
//! all little-endian. The checksum is HighwayHash-64 over sequence, time, subject, headers and body, without the lengths,
//! keyed with the SHA-256 of "`<stream>-<block's number>`". Every checksum is recomputed before anything is changed, so
//! that a format that is another one is noticed and not written over.

use highway::{HighwayHash, HighwayHasher, Key};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HEAD: usize = 4 + 8 + 8 + 2;
const CHECKSUM: usize = 8;
const HAS_HEADERS: u32 = 1 << 31;
/// Marks of records that are no messages: what was erased, and tombstones.
const NO_MESSAGE: u64 = 0b11 << 62;

/// Makes every message of a stream older, and says how many there were. `jetstream` is the directory `jetstream/` of a
/// server that does not run.
///
/// # Panics
/// When the files are not as described above.
pub fn make_older(jetstream: &Path, stream: &str, by: Duration) -> usize {
    let accounts = fs::read_dir(jetstream).expect("the server's storage");
    let accounts: Vec<PathBuf> = accounts.map(|entry| entry.expect("an entry").path()).collect();
    let found: Vec<PathBuf> = accounts
        .into_iter()
        .map(|account| account.join("streams").join(stream).join("msgs"))
        .filter(|messages| messages.is_dir())
        .collect();
    let [messages] = found.as_slice() else { panic!("the stream {stream} is not there once: {found:?}") };
    let mut count = 0;
    for entry in fs::read_dir(messages).expect("the stream's blocks") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "blk") {
            let number = path.file_stem().and_then(|stem| stem.to_str()).expect("a block's number");
            let mut block = fs::read(&path).expect("a block");
            count += make_block_older(&mut block, &key(stream, number), by);
            fs::write(&path, block).expect("a block can be written");
        }
    }
    // What the server remembers about the blocks; without it, it reads the blocks themselves.
    fs::remove_file(messages.join("index.db")).expect("the stream's index");
    count
}

fn make_block_older(block: &mut [u8], key: &Key, by: Duration) -> usize {
    let by = i64::try_from(by.as_nanos()).expect("a duration of years at most");
    let mut count = 0;
    let mut start = 0;
    while start < block.len() {
        let length = u32::from_le_bytes(array(&block[start..]));
        let record = &mut block[start..][..(length & !HAS_HEADERS) as usize];
        let stored: [u8; CHECKSUM] = array(&record[record.len() - CHECKSUM..]);
        assert_eq!(checksum(record, length, key), stored, "the checksum of the record at {start}");
        let sequence = u64::from_le_bytes(array(&record[4..]));
        let time = i64::from_le_bytes(array(&record[12..]));
        if sequence & NO_MESSAGE == 0 {
            record[12..20].copy_from_slice(&(time - by).to_le_bytes());
            let end = record.len() - CHECKSUM;
            let renewed = checksum(record, length, key);
            record[end..].copy_from_slice(&renewed);
            count += 1;
        }
        start += record.len();
    }
    count
}

fn checksum(record: &[u8], length: u32, key: &Key) -> [u8; CHECKSUM] {
    let subject = usize::from(u16::from_le_bytes(array(&record[20..])));
    let (body, end) = (HEAD + subject, record.len() - CHECKSUM);
    let headers_length = if length & HAS_HEADERS == 0 { 0 } else { 4 };
    let hashed = [&record[4..20], &record[HEAD..body], &record[body + headers_length..end]].concat();
    HighwayHasher::new(*key).hash64(&hashed).to_le_bytes()
}

fn key(stream: &str, block: &str) -> Key {
    let bytes = Sha256::digest(format!("{stream}-{block}"));
    let (words, _) = bytes.as_slice().as_chunks::<8>();
    Key([0, 1, 2, 3].map(|at: usize| u64::from_le_bytes(words[at])))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("N bytes")
}
