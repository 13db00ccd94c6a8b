//! Blobs, manifests, tags and uploads as files.
//!
//! ```text
//! oci-layout, blobs/sha256/<hex>                what is stored, by what it is
//! repositories/<name>/_blobs/<hex>              that the repository has the blob: an empty file
//! repositories/<name>/_manifests/<hex>          a manifest, and <hex>.type, its media type
//! repositories/<name>/_tags/<tag>               the hex of a manifest
//! repositories/<name>/_uploads/<id>             what has arrived of a blob
//! ```
//!
//! A part of a name never begins with `_`, so that no repository lies in another's files. What is complete is renamed into
//! its place; an upload that was broken off stays, and goes on where it ends. Blobs lie as in an OCI layout, so that what reads
//! those reads an image out of here.

use super::refusal::Refusal;
use super::route::Reference;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use windlass_image::{Image, Layout};

/// The most indexes that are followed to an image: one, and one in it.
const DEEPEST: usize = 2;

#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    /// The same directory: its blobs.
    layout: Layout,
}

/// A manifest as it was pushed.
#[derive(Debug)]
pub(super) struct Manifest {
    pub hex: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl Store {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory.join("repositories"))?;
        let layout = Layout::create(directory).map_err(io::Error::other)?;
        Ok(Self { directory: directory.to_owned(), layout })
    }

    fn part(&self, name: &str, part: &str) -> PathBuf {
        self.directory.join("repositories").join(name).join(part)
    }

    /// Where a blob lies, once it is there.
    fn place(&self, hex: &str) -> PathBuf {
        self.directory.join("blobs/sha256").join(hex)
    }

    fn exists(&self, name: &str) -> bool {
        ["_manifests", "_blobs"].iter().any(|part| self.part(name, part).is_dir())
    }

    /// Where a blob is that the repository has.
    pub(super) fn blob(&self, name: &str, hex: &str) -> Option<PathBuf> {
        let path = self.place(hex);
        (self.part(name, "_blobs").join(hex).exists() && path.exists()).then_some(path)
    }

    /// Gives a repository a blob of another.
    pub(super) fn mount(&self, name: &str, from: &str, hex: &str) -> io::Result<bool> {
        if self.blob(from, hex).is_none() {
            return Ok(false);
        }
        self.link(name, hex)?;
        Ok(true)
    }

    fn link(&self, name: &str, hex: &str) -> io::Result<()> {
        let directory = self.part(name, "_blobs");
        fs::create_dir_all(&directory)?;
        File::create(directory.join(hex)).map(|_| ())
    }

    /// Takes a blob from a repository; others keep it.
    pub(super) fn unlink(&self, name: &str, hex: &str) -> Result<(), Refusal> {
        self.blob(name, hex).ok_or(Refusal::BlobUnknown)?;
        Ok(fs::remove_file(self.part(name, "_blobs").join(hex))?)
    }

    /// Begins an upload, and gives its id.
    pub(super) fn begin(&self, name: &str) -> io::Result<String> {
        let directory = self.part(name, "_uploads");
        fs::create_dir_all(&directory)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        File::create_new(directory.join(&id))?;
        Ok(id)
    }

    /// An upload's file, for adding to it, for one at a time, and how much is there.
    pub(super) fn upload(&self, name: &str, id: &str) -> Result<(File, u64), Refusal> {
        let path = self.part(name, "_uploads").join(id);
        let file = OpenOptions::new().append(true).open(path).map_err(|_| Refusal::BlobUploadUnknown)?;
        file.try_lock().map_err(|_| Refusal::BlobUploadInvalid("another request writes this upload"))?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// Gives an upload up.
    pub(super) fn cancel(&self, name: &str, id: &str) -> Result<(), Refusal> {
        self.upload(name, id)?;
        Ok(fs::remove_file(self.part(name, "_uploads").join(id))?)
    }

    /// Makes an upload a blob, if it is what it is said to be; otherwise it is gone.
    pub(super) fn finish(&self, name: &str, id: &str, hex: &str) -> Result<(), Refusal> {
        // Held until the rename, so that nobody adds to it in between.
        let (lock, _) = self.upload(name, id)?;
        let path = self.part(name, "_uploads").join(id);
        if digest(&mut File::open(&path)?)? != hex {
            fs::remove_file(&path)?;
            return Err(Refusal::DigestInvalid);
        }
        lock.sync_all()?;
        fs::rename(&path, self.place(hex))?;
        Ok(self.link(name, hex)?)
    }

    /// Stores a manifest, and gives the hex of its digest.
    pub(super) fn put(
        &self,
        name: &str,
        reference: Reference<'_>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<String, Refusal> {
        let hex = hex::encode(Sha256::digest(bytes));
        if matches!(reference, Reference::Digest(wanted) if wanted != hex) {
            return Err(Refusal::DigestInvalid);
        }
        self.check(name, bytes)?;
        let directory = self.part(name, "_manifests");
        fs::create_dir_all(&directory)?;
        replace(&directory.join(format!("{hex}.type")), media_type.as_bytes())?;
        replace(&directory.join(&hex), bytes)?;
        if let Reference::Tag(tag) = reference {
            let tags = self.part(name, "_tags");
            fs::create_dir_all(&tags)?;
            replace(&tags.join(tag), hex.as_bytes())?;
        }
        Ok(hex)
    }

    /// Everything that a manifest names is there.
    fn check(&self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let invalid = |why: &str| Refusal::ManifestInvalid(why.to_owned());
        let manifest: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| Refusal::ManifestInvalid(error.to_string()))?;
        if manifest["schemaVersion"] != 2 {
            return Err(invalid("its schemaVersion is not 2"));
        }
        let digests = |key: &str| -> Vec<serde_json::Value> {
            let entries = manifest[key].as_array().cloned().unwrap_or_default();
            entries.into_iter().map(|mut entry| entry["digest"].take()).collect()
        };
        let blobs = digests("layers")
            .into_iter()
            .chain(manifest.get("config").map(|config| config["digest"].clone()));
        let manifests = digests("manifests");
        for (digest, is_manifest) in
            blobs.map(|digest| (digest, false)).chain(manifests.into_iter().map(|digest| (digest, true)))
        {
            let digest = digest.as_str().ok_or_else(|| invalid("something in it has no digest"))?;
            let hex = super::route::hex_of(digest).ok_or_else(|| invalid("a digest in it is none"))?;
            let is_there = match is_manifest {
                true => self.part(name, "_manifests").join(hex).exists(),
                false => self.blob(name, hex).is_some(),
            };
            if !is_there {
                return Err(Refusal::ManifestBlobUnknown(digest.to_owned()));
            }
        }
        Ok(())
    }

    pub(super) fn manifest(&self, name: &str, reference: Reference<'_>) -> Result<Manifest, Refusal> {
        let hex = match reference {
            Reference::Digest(hex) => hex.to_owned(),
            Reference::Tag(tag) => fs::read_to_string(self.part(name, "_tags").join(tag))
                .map_err(|_| Refusal::ManifestUnknown)?,
        };
        let path = self.part(name, "_manifests").join(&hex);
        let bytes = fs::read(&path).map_err(|_| Refusal::ManifestUnknown)?;
        let media_type = fs::read_to_string(path.with_extension("type"))?;
        Ok(Manifest { hex, media_type, bytes })
    }

    /// An image, to be unpacked. Of an index, the one for this system and `architecture`.
    pub(super) fn image(
        &self,
        name: &str,
        reference: Reference<'_>,
        architecture: &str,
    ) -> Result<(Layout, Image), String> {
        let mut manifest = self.manifest(name, reference).map_err(|_| "manifest unknown".to_owned())?;
        for _ in 0..DEEPEST {
            let parsed: serde_json::Value =
                serde_json::from_slice(&manifest.bytes).map_err(|error| error.to_string())?;
            let Some(entries) = parsed["manifests"].as_array() else { break };
            let fits = |entry: &&serde_json::Value| {
                entry["platform"]["os"] == "linux" && entry["platform"]["architecture"] == architecture
            };
            let fitting = entries.iter().find(fits).and_then(|entry| entry["digest"].as_str());
            let hex = fitting.and_then(super::route::hex_of);
            let hex = hex.ok_or_else(|| format!("no image for linux/{architecture} in it"))?;
            let found = self.manifest(name, Reference::Digest(hex));
            manifest = found.map_err(|_| "manifest unknown".to_owned())?;
        }
        let image = self.layout.image_of(name, manifest.bytes).map_err(|error| error.to_string())?;
        Ok((self.layout.clone(), image))
    }

    /// Deletes a tag, or a manifest with all its tags.
    pub(super) fn delete(&self, name: &str, reference: Reference<'_>) -> Result<(), Refusal> {
        let hex = match reference {
            Reference::Tag(tag) => {
                return fs::remove_file(self.part(name, "_tags").join(tag))
                    .map_err(|_| Refusal::ManifestUnknown);
            }
            Reference::Digest(hex) => hex,
        };
        self.manifest(name, reference)?;
        for tag in self.tags(name)? {
            let path = self.part(name, "_tags").join(tag);
            if fs::read_to_string(&path).is_ok_and(|found| found == hex) {
                fs::remove_file(path)?;
            }
        }
        Ok(fs::remove_file(self.part(name, "_manifests").join(hex))?)
    }

    /// A repository's tags, sorted.
    pub(super) fn tags(&self, name: &str) -> Result<Vec<String>, Refusal> {
        if !self.exists(name) {
            return Err(Refusal::NameUnknown);
        }
        let mut tags = Vec::new();
        for entry in fs::read_dir(self.part(name, "_tags")).into_iter().flatten() {
            let tag = entry?.file_name().to_string_lossy().into_owned();
            // What is being written is no tag yet.
            if !tag.starts_with('.') {
                tags.push(tag);
            }
        }
        tags.sort();
        Ok(tags)
    }

    /// Every repository that has something, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let root = self.directory.join("repositories");
        let (mut names, mut open) = (Vec::new(), vec![root.clone()]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('_')) {
                    open.push(path);
                }
            }
            let name = directory.strip_prefix(&root).unwrap_or(&directory).to_string_lossy().into_owned();
            if directory.join("_manifests").is_dir() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The hex of a file's SHA-256.
fn digest(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".").tempfile_in(path.parent().unwrap_or(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
