//! An OCI layout: a directory of blobs, named by what they are, and an index that names images.
//!
//! A blob is written beside its place, synced and renamed, and so is the index, last: a reader sees the image before or the
//! image after. Builds into one layout take turns by a lock on the file `oci-layout`. A blob that is there and right is
//! kept; one that is damaged is written again.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use oci_spec::image::{
    Descriptor, ImageConfiguration, ImageIndex, ImageIndexBuilder, ImageManifest, MediaType, OciLayout,
    SCHEMA_VERSION, Sha256Digest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::recipe::{Built, Document};
use crate::{Error, Recipe, digest};

const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs/sha256";
/// The annotation of the index that names an image.
const NAME: &str = "org.opencontainers.image.ref.name";
/// More than any document of an image takes.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// An OCI layout in a directory.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
}

/// An image of a layout.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name that it has in the layout.
    pub reference: String,
    /// The digest of its manifest, by which every registry knows it.
    pub digest: String,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The manifest as it is stored and sent.
    pub bytes: Vec<u8>,
    /// The configuration.
    pub configuration: ImageConfiguration,
}

/// What `inspect` says of an image.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    /// The name that it has in the layout.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
    /// What it runs on, such as `linux/amd64`.
    pub platform: String,
    /// Bytes that a registry keeps of it.
    pub size: u64,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// As whom.
    pub user: String,
    /// The variables that it sets.
    pub env: Vec<String>,
    /// The ports that it serves.
    pub ports: Vec<String>,
    /// What it says of itself, in order.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Its layers' digests and sizes, lowest first.
    pub layers: Vec<(String, u64)>,
}

/// What was found right.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The name that the image has in the layout.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
    /// How many blobs were read.
    pub blobs: usize,
    /// How many bytes these are.
    pub bytes: u64,
}

impl Layout {
    /// Opens a layout.
    ///
    /// # Errors
    /// When the directory is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let marker: OciLayout = read_document(&path.join(LAYOUT))?;
        if marker.image_layout_version() != "1.0.0" {
            let why = format!("its version is {}, and 1.0.0 is understood", marker.image_layout_version());
            return Err(Error::NotALayout { path: path.to_owned(), why });
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Opens a layout, or makes an empty one where there is none.
    ///
    /// # Errors
    /// When the directory cannot be written, or is the place of a layout of another version.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let layout = Self { path: path.to_owned() };
        let blobs = path.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(|source| Error::Write { path: blobs, source })?;
        if !path.join(LAYOUT).exists() {
            layout.write_new(&path.join(LAYOUT), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Self::open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Builds the image and stores it under this name, in the place of what had the name before.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn build(&self, recipe: &Recipe, reference: &str) -> Result<Image, Error> {
        let built = recipe.build().map_err(|source| self.cannot_write(source))?;
        self.store(&built, reference)?;
        self.image(reference)
    }

    fn store(&self, built: &Built, reference: &str) -> Result<(), Error> {
        let lock = File::open(self.path.join(LAYOUT)).map_err(|source| self.cannot_write(source))?;
        lock.lock().map_err(|source| self.cannot_write(source))?;
        for layer in &built.layers {
            self.write_blob(&layer.digest, &layer.bytes)?;
        }
        for document in [&built.config, &built.manifest] {
            self.write_blob(&document.digest, &document.bytes)?;
        }
        let mut entries =
            if self.path.join(INDEX).exists() { self.index()?.manifests().clone() } else { Vec::new() };
        entries.retain(|entry| name_of(entry) != Some(reference));
        entries.push(entry(&built.manifest, reference).map_err(|source| self.cannot_write(source))?);
        entries.sort_by(|one, other| name_of(one).cmp(&name_of(other)));
        let index = ImageIndexBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageIndex)
            .manifests(entries)
            .build()
            .map_err(|error| self.cannot_write(io::Error::other(error)))?;
        let index = Document::new(&index).map_err(|source| self.cannot_write(source))?;
        self.write_new(&self.path.join(INDEX), &index.bytes)
    }

    /// The names of the images that are there, sorted.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> =
            self.index()?.manifests().iter().filter_map(|entry| name_of(entry).map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }

    /// The image of this name.
    ///
    /// # Errors
    /// When there is none, or its documents are damaged.
    pub fn image(&self, reference: &str) -> Result<Image, Error> {
        let index = self.index()?;
        let Some(entry) = index.manifests().iter().find(|entry| name_of(entry) == Some(reference)) else {
            let (reference, path) = (reference.to_owned(), self.path.clone());
            return Err(Error::NoSuchImage { reference, path, known: self.names()? });
        };
        self.image_of(reference, self.document(entry)?)
    }

    /// The image of a manifest that lies elsewhere, while its blobs lie here.
    ///
    /// # Errors
    /// When it is no manifest, or the configuration that it names is damaged or not here.
    pub fn image_of(&self, reference: &str, bytes: Vec<u8>) -> Result<Image, Error> {
        let damaged = |descriptor: &Descriptor, error: serde_json::Error| Error::Damaged {
            path: self.blob(descriptor).unwrap_or_default(),
            why: error.to_string(),
        };
        let manifest: ImageManifest = serde_json::from_slice(&bytes).map_err(|error| Error::NotALayout {
            path: self.path.clone(),
            why: format!("{reference} has no manifest of an image: {error}"),
        })?;
        let configuration: ImageConfiguration = serde_json::from_slice(&self.document(manifest.config())?)
            .map_err(|error| damaged(manifest.config(), error))?;
        let digest = digest::of(&bytes);
        Ok(Image { reference: reference.to_owned(), digest, manifest, bytes, configuration })
    }

    /// Reads every blob of an image and compares it with its name, its length and, for a layer, with what the
    /// configuration says of the archive in it.
    ///
    /// # Errors
    /// When something differs.
    pub fn verify(&self, image: &Image) -> Result<Verified, Error> {
        let documents = [(image.manifest.config(), None)];
        let layers = image.layers()?;
        let layers = layers.iter().map(|(layer, diff_id)| (*layer, Some(*diff_id)));
        // The manifest was compared when it was read.
        let (mut blobs, mut bytes) = (1, image.bytes.len() as u64);
        for (descriptor, diff_id) in documents.into_iter().chain(layers) {
            let path = self.blob(descriptor)?;
            let damaged = |why: String| Error::Damaged { path: path.clone(), why };
            let open = || File::open(&path).map(BufReader::new).map_err(|error| damaged(error.to_string()));
            let (found, length) =
                digest::of_reader(&mut open()?).map_err(|error| damaged(error.to_string()))?;
            compare(descriptor, &found, length).map_err(damaged)?;
            if let Some(diff_id) = diff_id {
                let (found, _) = digest::of_reader(&mut self.archive(descriptor)?)
                    .map_err(|error| damaged(error.to_string()))?;
                if found != diff_id {
                    return Err(damaged(format!("the archive in it is {found}, and not {diff_id}")));
                }
            }
            blobs += 1;
            bytes += length;
        }
        Ok(Verified { reference: image.reference.clone(), digest: image.digest.clone(), blobs, bytes })
    }

    /// Where a blob lies.
    ///
    /// # Errors
    /// When its digest is none that could be a file's name.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<PathBuf, Error> {
        let digest = descriptor.digest().to_string();
        let hex = digest::hex_of(&digest).ok_or_else(|| Error::NotALayout {
            path: self.path.clone(),
            why: format!("{digest:?} is no SHA-256 digest"),
        })?;
        Ok(self.path.join(BLOBS).join(hex))
    }

    /// The archive in a layer.
    pub(crate) fn archive(&self, layer: &Descriptor) -> Result<Box<dyn Read>, Error> {
        let path = self.blob(layer)?;
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        let file = BufReader::new(File::open(&path).map_err(|error| damaged(error.to_string()))?);
        match layer.media_type() {
            MediaType::ImageLayer => Ok(Box::new(file)),
            MediaType::ImageLayerGzip => Ok(Box::new(GzDecoder::new(file))),
            // As Docker's own tools still name it.
            MediaType::Other(name) if name == "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Ok(Box::new(GzDecoder::new(file)))
            }
            other => Err(damaged(format!("a layer of the kind {other} is not understood"))),
        }
    }

    fn index(&self) -> Result<ImageIndex, Error> {
        read_document(&self.path.join(INDEX))
    }

    /// A small blob, compared with its descriptor.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let path = self.blob(descriptor)?;
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        if descriptor.size() > LARGEST_DOCUMENT {
            return Err(damaged(format!("{} bytes are too many for a document", descriptor.size())));
        }
        let bytes = fs::read(&path).map_err(|error| damaged(error.to_string()))?;
        compare(descriptor, &digest::of(&bytes), bytes.len() as u64).map_err(damaged)?;
        Ok(bytes)
    }

    fn write_blob(&self, digest: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(BLOBS).join(digest::hex_of(digest).unwrap_or_default());
        let is_there = File::open(&path).and_then(|file| digest::of_reader(&mut BufReader::new(file)));
        if is_there.is_ok_and(|(found, _)| found == digest) {
            return Ok(());
        }
        self.write_new(&path, bytes)
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let directory = path.parent().unwrap_or(&self.path);
            let mut file = NamedTempFile::new_in(directory)?;
            file.write_all(bytes)?;
            // Others may read it, as they may any file here: nothing in an image is secret.
            file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            File::open(directory)?.sync_all()
        };
        write().map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    fn cannot_write(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

impl Image {
    /// Its layers, lowest first, each with the digest of the archive in it.
    pub(crate) fn layers(&self) -> Result<Vec<(&Descriptor, &str)>, Error> {
        let diff_ids = self.configuration.rootfs().diff_ids();
        let layers = self.manifest.layers();
        if diff_ids.len() != layers.len() {
            let why = format!("{} layers, and {} in the configuration", layers.len(), diff_ids.len());
            return Err(Error::NotALayout { path: self.reference.clone().into(), why });
        }
        Ok(layers.iter().zip(diff_ids.iter().map(String::as_str)).collect())
    }

    /// What can be said of it.
    pub fn describe(&self) -> Described {
        let run = self.configuration.config().clone().unwrap_or_default();
        let all = || self.manifest.layers().iter().chain([self.manifest.config()]);
        let mut ports = run.exposed_ports().clone().unwrap_or_default();
        ports.sort();
        Described {
            reference: self.reference.clone(),
            digest: self.digest.clone(),
            platform: format!("{}/{}", self.configuration.os(), self.configuration.architecture()),
            size: all().map(Descriptor::size).sum::<u64>() + self.bytes.len() as u64,
            entrypoint: run.entrypoint().clone().unwrap_or_default(),
            user: run.user().clone().unwrap_or_default(),
            env: run.env().clone().unwrap_or_default(),
            ports,
            labels: run.labels().clone().unwrap_or_default().into_iter().collect(),
            layers: self.manifest.layers().iter().map(|one| (one.digest().to_string(), one.size())).collect(),
        }
    }
}

/// The image of this name in a directory: in the layout that it is, or in one of those that lie in it.
///
/// # Errors
/// When no layout there holds it.
pub fn find(directory: &Path, reference: &str) -> Result<(Layout, Image), Error> {
    let mut places = vec![directory.to_owned()];
    if let Ok(entries) = fs::read_dir(directory) {
        places.extend(entries.flatten().map(|entry| entry.path()));
    }
    places.sort();
    let mut known = Vec::new();
    for layout in places.iter().filter(|path| path.join(LAYOUT).is_file()) {
        let layout = Layout::open(layout)?;
        match layout.image(reference) {
            Ok(image) => return Ok((layout, image)),
            Err(Error::NoSuchImage { known: names, .. }) => known.extend(names),
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoSuchImage { reference: reference.to_owned(), path: directory.to_owned(), known })
}

fn entry(manifest: &Document, reference: &str) -> io::Result<Descriptor> {
    let hex = digest::hex_of(&manifest.digest).ok_or(io::ErrorKind::InvalidData)?;
    let digest: Sha256Digest = hex.parse().map_err(io::Error::other)?;
    let mut entry = Descriptor::new(MediaType::ImageManifest, manifest.bytes.len() as u64, digest);
    entry.set_annotations(Some([(NAME.to_owned(), reference.to_owned())].into()));
    Ok(entry)
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations().as_ref()?.get(NAME).map(String::as_str)
}

fn compare(descriptor: &Descriptor, found: &str, length: u64) -> Result<(), String> {
    if length != descriptor.size() {
        return Err(format!("it has {length} bytes, and not {}", descriptor.size()));
    }
    let wanted = descriptor.digest().to_string();
    if found == wanted { Ok(()) } else { Err(format!("it is {found}, and not {wanted}")) }
}

fn read_document<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let not = |why: String| Error::NotALayout { path: path.to_owned(), why };
    let bytes = fs::read(path).map_err(|error| not(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| not(error.to_string()))
}
