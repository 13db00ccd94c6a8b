//! What references stand for.

use super::image::{Config, Image};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The images that can be run. Clones share one table, so whoever keeps one can change it while the engine runs.
#[derive(Clone, Debug, Default)]
pub struct Images {
    table: Arc<Mutex<BTreeMap<String, Image>>>,
    layouts: Option<Layouts>,
}

/// Where images lie that the table does not name.
#[derive(Clone, Debug)]
struct Layouts {
    /// An OCI layout, or a directory of such.
    directory: PathBuf,
    /// Where they are unpacked, each once.
    unpacked: PathBuf,
}

impl Images {
    /// No image.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the images of the OCI layouts in `directory` as well, as `windlass image build` makes them. What is run of them
    /// is unpacked below `unpacked`. They are looked for when they are needed, so one that is built later is found, too.
    #[must_use]
    pub fn with_layouts(self, directory: &Path, unpacked: &Path) -> Self {
        Self { layouts: Some(Layouts { directory: directory.to_owned(), unpacked: unpacked.to_owned() }), ..self }
    }

    /// With one more image.
    #[must_use]
    pub fn with(self, reference: &str, image: Image) -> Self {
        self.insert(reference, image);
        self
    }

    /// From now on, this reference stands for this image. What runs goes on with the image that it was started from.
    pub fn insert(&self, reference: &str, image: Image) {
        self.table.lock().insert(reference.to_owned(), image);
    }

    /// From now on, this reference stands for nothing.
    pub fn remove(&self, reference: &str) {
        self.table.lock().remove(reference);
    }

    /// What a reference stands for. As with Docker, one without a tag means `latest`.
    pub(super) fn find(&self, reference: &str) -> Option<Image> {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let tagged = (!name.contains([':', '@'])).then(|| format!("{reference}:latest"));
        let table = self.table.lock();
        let known = table.get(reference).or_else(|| table.get(tagged.as_ref()?)).cloned();
        drop(table);
        let layouts = || self.layouts.as_ref()?.find(tagged.as_deref().unwrap_or(reference));
        known.or_else(layouts)
    }
}

impl Layouts {
    fn find(&self, reference: &str) -> Option<Image> {
        let (layout, image) = windlass_image::find(&self.directory, reference).ok()?;
        let root = windlass_image::unpack_once(&layout, &image, &self.unpacked)
            .map_err(|error| tracing::warn!(%error, reference, "the image cannot be unpacked"))
            .ok()?;
        let run = image.configuration.config().clone().unwrap_or_default();
        let config = Config {
            env: run.env().clone().unwrap_or_default(),
            entrypoint: run.entrypoint().clone().unwrap_or_default(),
            cmd: run.cmd().clone().unwrap_or_default(),
            user: run.user().clone().unwrap_or_default(),
        };
        Some(Image { root, config })
    }
}
