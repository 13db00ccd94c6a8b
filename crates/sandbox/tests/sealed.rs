//! What is written with a customer's key: unreadable on disk, whole and in ranges for who has the key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use s3s::crypto::{Checksum, Md5};
use std::fs;
use std::ops::Range;
use std::path::Path;
use windlass_sandbox::r2::condition::Conditions;
use windlass_sandbox::r2::object::{Checksums, Headers, Object};
use windlass_sandbox::r2::sealing::CustomerKey;
use windlass_sandbox::r2::store::{Body, Receiving, Store};

fn key(byte: u8) -> CustomerKey {
    let (key, md5) = (STANDARD.encode([byte; 32]), STANDARD.encode(Md5::checksum(&[byte; 32])));
    CustomerKey::from_headers(Some("AES256"), Some(&key), Some(&md5)).unwrap().unwrap()
}

fn put(store: &Store, bytes: &[u8], key: Option<&CustomerKey>) -> Object {
    let mut receiving = Receiving::new(store.draft().unwrap(), Default::default(), key).unwrap();
    // As a network delivers it: in pieces that fit no block.
    for piece in bytes.chunks(7_001) {
        receiving.write(piece).unwrap();
    }
    let received = receiving.finish().unwrap();
    let object = Object {
        key: "k".into(),
        size: received.segment.size,
        etag: received.etag,
        modified: 0,
        headers: Headers::default(),
        metadata: Default::default(),
        checksums: Checksums::default(),
        customer_key_md5: key.map(|key| key.md5().to_owned()),
        segments: vec![received.segment],
    };
    store.commit("states", received.draft, object, &Conditions::default()).unwrap()
}

fn get(store: &Store, key: Option<&CustomerKey>, range: Range<u64>) -> std::io::Result<Vec<u8>> {
    let found = store.find("states", "k").unwrap();
    let mut body = Body::new(found.file, &found.object.segments, key, range)?;
    let mut bytes = Vec::new();
    while let Some(more) = body.next_bytes()? {
        bytes.extend(more);
    }
    Ok(bytes)
}

fn files(directory: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(fs::read(path).unwrap());
        }
    }
    found
}

fn on_disk(directory: &Path, text: &[u8]) -> bool {
    files(directory).iter().any(|file| file.windows(text.len()).any(|bytes| bytes == text))
}

#[test]
fn sealed_on_disk_and_whole_for_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().to_owned()).unwrap();
    store.create_bucket("states").unwrap();
    let text: Vec<u8> = (0..50_000).flat_map(|number| format!("resource-{number};").into_bytes()).collect();
    let size = text.len() as u64;
    assert!(size > 5 * 64 * 1024, "several blocks");

    let plain = put(&store, &text, None);
    assert!(on_disk(directory.path(), b"resource-49"));
    let sealed = put(&store, &text, Some(&key(1)));
    assert!(!on_disk(directory.path(), b"resource-49"));
    assert_ne!(sealed.etag, plain.etag);
    assert_ne!(put(&store, &text, Some(&key(1))).etag, sealed.etag, "the same bytes are sealed anew");

    let block = 64 * 1024;
    for range in [0..size, 0..1, block - 1..block + 1, block..2 * block, size - 3..size, 5..4 * block + 9] {
        let wanted = &text[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(get(&store, Some(&key(1)), range.clone()).unwrap() == wanted, "{range:?}");
    }
    assert!(get(&store, Some(&key(2)), 0..10).is_err());
    assert!(get(&store, None, 0..10).is_err());
}

#[test]
fn a_reader_keeps_what_it_began_to_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().to_owned()).unwrap();
    store.create_bucket("states").unwrap();
    put(&store, &vec![1; 1_000_000], None);
    let found = store.find("states", "k").unwrap();
    let mut body = Body::new(found.file, &found.object.segments, None, 0..1_000_000).unwrap();
    let mut bytes = body.next_bytes().unwrap().unwrap().to_vec();
    put(&store, &vec![2; 1_000_000], None);
    store.delete("states", "k").unwrap();
    while let Some(more) = body.next_bytes().unwrap() {
        bytes.extend(more);
    }
    assert!(bytes == vec![1; 1_000_000]);
}
