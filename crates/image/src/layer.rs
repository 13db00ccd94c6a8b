//! A layer: a tar archive, compressed, and the same to the byte for the same entries.
//!
//! What would differ between machines is fixed: times are 0, owners are numbers without names, entries are sorted, gzip's
//! header carries neither time nor system, and the compressor is the one that `Cargo.lock` names.

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use crate::digest::Tee;

/// gzip's byte for "no particular system".
const UNKNOWN_SYSTEM: u8 = 255;

/// What lies at a path.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// A directory, with its mode.
    Directory(u32),
    /// A file, with its mode.
    File(u32, &'a [u8]),
}

/// What lies in a layer, by path without a leading slash.
#[derive(Clone, Debug, Default)]
pub struct Entries<'a> {
    entries: BTreeMap<&'a str, (Node<'a>, u32)>,
}

impl<'a> Entries<'a> {
    /// Adds something that belongs to this user and group.
    pub fn with(mut self, path: &'a str, node: Node<'a>, owner: u32) -> Self {
        self.entries.insert(path, (node, owner));
        self
    }
}

/// A layer as it is stored and sent.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The compressed archive.
    pub bytes: Vec<u8>,
    /// The digest of it.
    pub digest: String,
    /// The digest of the archive before it was compressed.
    pub diff_id: String,
}

/// Makes a layer.
///
/// # Errors
/// Never, on entries that fit into memory; the formats' writers can fail for others.
pub fn layer(entries: &Entries<'_>) -> io::Result<Layer> {
    let packed = Tee::new(Vec::new());
    let gzip = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM).write(packed, Compression::best());
    let mut archive = tar::Builder::new(Tee::new(gzip));
    for (path, (node, owner)) in &entries.entries {
        let mut header = Header::new_ustar();
        header.set_uid(u64::from(*owner));
        header.set_gid(u64::from(*owner));
        header.set_mtime(0);
        let (kind, mode, bytes): (_, _, &[u8]) = match node {
            Node::Directory(mode) => (EntryType::Directory, *mode, &[]),
            Node::File(mode, bytes) => (EntryType::Regular, *mode, bytes),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        let name = if kind == EntryType::Directory { format!("{path}/") } else { (*path).to_owned() };
        archive.append_data(&mut header, name, bytes)?;
    }
    let mut plain = archive.into_inner()?;
    plain.flush()?;
    let (gzip, diff_id) = plain.parts();
    let (bytes, digest) = gzip.finish()?.parts();
    Ok(Layer { bytes, digest, diff_id })
}
