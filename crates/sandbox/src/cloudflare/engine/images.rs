//! What references stand for.

use super::image::Image;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The images that can be run. Clones share one table, so whoever keeps one can change it while the engine runs.
#[derive(Clone, Debug, Default)]
pub struct Images {
    table: Arc<Mutex<BTreeMap<String, Image>>>,
}

impl Images {
    /// No image.
    pub fn new() -> Self {
        Self::default()
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
        let table = self.table.lock();
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let tagged = || (!name.contains([':', '@'])).then(|| format!("{reference}:latest"));
        table.get(reference).or_else(|| table.get(&tagged()?)).cloned()
    }
}
