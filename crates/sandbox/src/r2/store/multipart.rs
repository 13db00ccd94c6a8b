//! Multipart uploads: parts that become one object at the end, or never.
//!
//! Everything that changes an upload happens under the lock of the key that it will be.

use super::draft::{self, Received};
use super::{Found, Store, if_there, now, read};
use crate::r2::condition::Conditions;
use crate::r2::object::{Checksums, Headers, Object};
use crate::r2::refusal::Refusal;
use crate::r2::sealing::CustomerKey;
use s3s::crypto::{Checksum, Md5};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The least size of a part that is not the last.
const LEAST_PART: u64 = 5 * 1024 * 1024;

/// What an upload will be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The key.
    pub key: String,
    /// When it was begun: milliseconds since 1970.
    pub begun: u64,
    /// The object's headers.
    pub headers: Headers,
    /// The object's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Base64 of the MD5 of the customer's key.
    pub customer_key_md5: Option<String>,
}

/// A part that was uploaded.
#[derive(Clone, Debug)]
pub struct PartRecord {
    /// Its number.
    pub number: i32,
    /// What is known of it.
    pub object: Object,
}

impl Store {
    fn uploads(&self, bucket: &str) -> PathBuf {
        self.bucket(bucket).join("uploads")
    }

    fn upload_directory(&self, bucket: &str, id: &str) -> Result<PathBuf, Refusal> {
        // An id that was not given out here never becomes part of a path.
        uuid::Uuid::try_parse(id).map_err(|_| Refusal::NoSuchUpload)?;
        Ok(self.uploads(bucket).join(id))
    }

    /// Begins an upload and gives its id.
    pub fn create_upload(&self, bucket: &str, mut upload: Upload) -> Result<Upload, Refusal> {
        self.check_bucket(bucket)?;
        upload.id = uuid::Uuid::new_v4().to_string();
        upload.begun = now();
        let mut draft = self.draft()?;
        draft.write(&serde_json::to_vec(&upload).map_err(std::io::Error::from)?)?;
        let directory = self.uploads(bucket).join(&upload.id);
        // Without its description, the directory is no upload yet.
        fs::create_dir(&directory)?;
        draft::sync_directory(&directory)?;
        draft.move_to(&directory.join("upload.json"))?;
        Ok(upload)
    }

    /// The upload with this id, if it is one of this key's.
    pub fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<Upload, Refusal> {
        self.check_bucket(bucket)?;
        let path = self.upload_directory(bucket, id)?.join("upload.json");
        let bytes = if_there(fs::read(path))?.ok_or(Refusal::NoSuchUpload)?;
        let upload: Upload = serde_json::from_slice(&bytes).map_err(std::io::Error::from)?;
        if upload.key == key { Ok(upload) } else { Err(Refusal::NoSuchUpload) }
    }

    /// Puts a part in place; a part with the same number is replaced.
    pub fn put_part(
        &self,
        bucket: &str,
        upload: &Upload,
        number: i32,
        received: Received,
    ) -> Result<Object, Refusal> {
        let _guard = self.lock(bucket, &upload.key)?;
        self.upload(bucket, &upload.key, &upload.id)?;
        let object = Object {
            key: upload.key.clone(),
            size: received.segment.size,
            etag: received.etag,
            modified: now(),
            headers: Headers::default(),
            metadata: BTreeMap::new(),
            checksums: received.checksums,
            customer_key_md5: upload.customer_key_md5.clone(),
            segments: vec![received.segment],
        };
        let place = self.upload_directory(bucket, &upload.id)?.join(format!("{number:05}"));
        received.draft.place(&object, &place)?;
        Ok(object)
    }

    /// The parts of an upload, by number.
    pub fn parts(&self, bucket: &str, upload: &Upload) -> Result<Vec<PartRecord>, Refusal> {
        Ok(self.found_parts(bucket, upload)?.into_iter().map(|(part, _)| part).collect())
    }

    fn found_parts(&self, bucket: &str, upload: &Upload) -> Result<Vec<(PartRecord, Found)>, Refusal> {
        let directory = self.upload_directory(bucket, &upload.id)?;
        let mut parts = Vec::new();
        for entry in if_there(fs::read_dir(directory))?.ok_or(Refusal::NoSuchUpload)? {
            let entry = entry?;
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number
                && let Some(found) = read(&entry.path())?
            {
                parts.push((PartRecord { number, object: found.object.clone() }, found));
            }
        }
        parts.sort_by_key(|(part, _)| part.number);
        Ok(parts)
    }

    /// Makes the object of the parts that are named by number and entity tag.
    pub fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        named: &[(i32, String)],
        conditions: &Conditions,
    ) -> Result<Object, Refusal> {
        let guard = self.lock(bucket, key)?;
        let upload = self.upload(bucket, key, id)?;
        let mut there = self.found_parts(bucket, &upload)?;
        there.retain(|(part, _)| named.iter().any(|(number, _)| *number == part.number));
        check_parts(named, &there.iter().map(|(part, _)| part).collect::<Vec<_>>())?;
        let mut draft = self.draft()?;
        let mut md5s = Md5::new();
        let mut segments = Vec::new();
        for (part, found) in &there {
            for segment in &part.object.segments {
                draft.append(&found.file, segment.stored)?;
                segments.push(segment.clone());
            }
            md5s.update(&hex::decode(&part.object.etag).map_err(std::io::Error::other)?);
        }
        let object = Object {
            key: upload.key,
            size: segments.iter().map(|segment| segment.size).sum(),
            etag: format!("{}-{}", hex::encode(&md5s.finalize()[..]), there.len()),
            modified: 0,
            headers: upload.headers,
            metadata: upload.metadata,
            checksums: Checksums::default(),
            customer_key_md5: upload.customer_key_md5,
            segments,
        };
        let object = self.commit_under(&guard, bucket, draft, object, conditions)?;
        // If this is not reached, the upload stays, and completing it again writes the same object.
        self.remove_upload(bucket, id)?;
        Ok(object)
    }

    /// Gives an upload up.
    pub fn abort_upload(&self, bucket: &str, key: &str, id: &str) -> Result<(), Refusal> {
        let _guard = self.lock(bucket, key)?;
        self.upload(bucket, key, id)?;
        self.remove_upload(bucket, id)
    }

    fn remove_upload(&self, bucket: &str, id: &str) -> Result<(), Refusal> {
        let directory = self.upload_directory(bucket, id)?;
        // Without this file it is no upload any more, whatever else is left.
        fs::remove_file(directory.join("upload.json"))?;
        Ok(fs::remove_dir_all(directory)?)
    }

    /// Every upload that was begun and not ended, by key and time.
    pub fn list_uploads(&self, bucket: &str) -> Result<Vec<Upload>, Refusal> {
        self.check_bucket(bucket)?;
        let mut uploads: Vec<Upload> = Vec::new();
        for entry in fs::read_dir(self.uploads(bucket))? {
            if let Some(bytes) = if_there(fs::read(entry?.path().join("upload.json")))? {
                uploads.push(serde_json::from_slice(&bytes).map_err(std::io::Error::from)?);
            }
        }
        uploads.sort_by(|a, b| (&a.key, a.begun, &a.id).cmp(&(&b.key, b.begun, &b.id)));
        Ok(uploads)
    }
}

/// Whether the parts that a client names are there, in order, and of sizes that R2 takes. `there` is by number.
fn check_parts(named: &[(i32, String)], there: &[&PartRecord]) -> Result<(), Refusal> {
    if named.is_empty() {
        return Err(Refusal::InvalidRequest("You must specify at least one part.".into()));
    }
    if !named.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(Refusal::InvalidPartOrder);
    }
    let same =
        |(named, part): (&(i32, String), &&PartRecord)| named.0 == part.number && named.1 == part.object.etag;
    if named.len() != there.len() || !named.iter().zip(there).all(same) {
        return Err(Refusal::InvalidPart);
    }
    let sizes: Vec<u64> = there.iter().map(|part| part.object.size).collect();
    let Some((last, others)) = sizes.split_last() else {
        return Ok(());
    };
    if others.iter().any(|size| *size < LEAST_PART) {
        return Err(Refusal::EntityTooSmall);
    }
    let equal = others.windows(2).all(|pair| pair.first() == pair.last());
    if !equal || others.first().is_some_and(|first| last > first) {
        return Err(Refusal::UnequalParts);
    }
    Ok(())
}

impl Upload {
    /// What is to become an object with this key; id and time are given by [`Store::create_upload`].
    pub fn new(
        key: String,
        headers: Headers,
        metadata: BTreeMap<String, String>,
        customer_key: Option<&CustomerKey>,
    ) -> Self {
        let customer_key_md5 = customer_key.map(|key| key.md5().to_owned());
        Self { id: String::new(), key, begun: 0, headers, metadata, customer_key_md5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r2::object::Segment;

    const MIB: u64 = 1024 * 1024;

    fn part(number: i32, size: u64) -> PartRecord {
        let object = Object {
            key: "k".into(),
            size,
            etag: format!("e{number}"),
            modified: 0,
            headers: Headers::default(),
            metadata: BTreeMap::new(),
            checksums: Checksums::default(),
            customer_key_md5: None,
            segments: vec![Segment { size, stored: size, salt: None }],
        };
        PartRecord { number, object }
    }

    fn check(named: &[(i32, &str)], there: &[PartRecord]) -> Result<(), Refusal> {
        let named: Vec<_> = named.iter().map(|(number, etag)| (*number, (*etag).to_owned())).collect();
        check_parts(&named, &there.iter().collect::<Vec<_>>())
    }

    #[test]
    fn parts_that_are_taken() {
        check(&[(1, "e1")], &[part(1, 1)]).unwrap();
        check(&[(1, "e1"), (7, "e7")], &[part(1, 5 * MIB), part(7, 1)]).unwrap();
        check(&[(1, "e1"), (2, "e2")], &[part(1, 5 * MIB), part(2, 5 * MIB)]).unwrap();
    }

    #[test]
    fn parts_that_are_refused() {
        let two = [part(1, 5 * MIB), part(2, 1)];
        assert_eq!(check(&[], &[]).unwrap_err().code().0, "InvalidRequest");
        assert_eq!(check(&[(2, "e2"), (1, "e1")], &two), Err(Refusal::InvalidPartOrder));
        assert_eq!(check(&[(1, "e1"), (2, "x")], &two), Err(Refusal::InvalidPart));
        assert_eq!(check(&[(1, "e1"), (3, "e3")], &two[..1]), Err(Refusal::InvalidPart));
        assert_eq!(check(&[(1, "e1"), (2, "e2")], &[part(1, 1), part(2, 1)]), Err(Refusal::EntityTooSmall));
        assert_eq!(
            check(&[(1, "e1"), (2, "e2")], &[part(1, 5 * MIB), part(2, 6 * MIB)]),
            Err(Refusal::UnequalParts)
        );
    }
}
