//! What references stand for.

use super::image::{Config, Image};
use crate::registry::Registry;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use windlass_image::{find, unpack_once};

/// The images that can be run. Clones share one table, so whoever keeps one can change it while the engine runs.
#[derive(Clone, Debug, Default)]
pub struct Images {
    table: Arc<Mutex<BTreeMap<String, Image>>>,
    layouts: Option<Layouts>,
    pulls: Option<Pulls>,
}

/// Where images are pulled from.
#[derive(Clone, Debug)]
struct Pulls {
    registry: Registry,
    /// The names that the registry goes by.
    hosts: Vec<String>,
    unpacked: PathBuf,
}

impl Pulls {
    /// The image that was pushed under this name; `None` for one of another registry.
    fn image(&self, reference: &str) -> Option<Result<Image, String>> {
        let name = self.hosts.iter().find_map(|host| reference.strip_prefix(host)?.strip_prefix('/'))?;
        let pulled = self.registry.image(name).and_then(|(layout, image)| {
            unpacked(&layout, &image, &self.unpacked).map_err(|error| error.to_string())
        });
        Some(pulled)
    }
}

/// An image, unpacked under its digest: one that was built or pushed anew is another one.
fn unpacked(
    layout: &windlass_image::Layout,
    image: &windlass_image::Image,
    directory: &Path,
) -> Result<Image, windlass_image::Error> {
    let root = unpack_once(layout, image, directory)?;
    let run = image.configuration.config().clone().unwrap_or_default();
    let config = Config {
        env: run.env().clone().unwrap_or_default(),
        entrypoint: run.entrypoint().clone().unwrap_or_default(),
        cmd: run.cmd().clone().unwrap_or_default(),
        user: run.user().clone().unwrap_or_default(),
    };
    Ok(Image { root, config })
}

/// Where images lie as OCI layouts, and where they are unpacked.
#[derive(Clone, Debug)]
struct Layouts {
    directory: PathBuf,
    unpacked: PathBuf,
}

impl Layouts {
    /// An image by its name.
    fn image(&self, reference: &str) -> Result<Image, windlass_image::Error> {
        let (layout, image) = find(&self.directory, reference)?;
        unpacked(&layout, &image, &self.unpacked)
    }
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

    /// With the images that lie in a directory as OCI layouts, as `windlass image build` makes them: the directory is one
    /// itself, or has some in it. They are unpacked below `unpacked` when they are asked for.
    #[must_use]
    pub fn layouts(mut self, directory: &Path, unpacked: &Path) -> Self {
        self.layouts = Some(Layouts { directory: directory.to_owned(), unpacked: unpacked.to_owned() });
        self
    }

    /// With the images that are pushed to a registry, which goes by these names. They are unpacked below `unpacked`, once,
    /// when they are asked for.
    #[must_use]
    pub fn pulled(mut self, registry: Registry, hosts: Vec<String>, unpacked: &Path) -> Self {
        self.pulls = Some(Pulls { registry, hosts, unpacked: unpacked.to_owned() });
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

    /// What a reference stands for: what was given for it, else what was pushed under it, else the layout's of this name.
    /// As with Docker, one without a tag means `latest`. It may unpack an image, so it blocks.
    pub(super) fn find(&self, reference: &str) -> Result<Image, String> {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let tagged = (!name.contains([':', '@'])).then(|| format!("{reference}:latest"));
        let references = || [Some(reference), tagged.as_deref()].into_iter().flatten();
        if let Some(image) = references().find_map(|reference| self.table.lock().get(reference).cloned()) {
            return Ok(image);
        }
        let mut why = String::new();
        match self.pulls.as_ref().and_then(|pulls| pulls.image(reference)) {
            Some(Ok(image)) => return Ok(image),
            Some(Err(error)) => why = format!(": {error}"),
            None => {}
        }
        for reference in references().filter(|_| self.layouts.is_some()) {
            match self.layouts.as_ref().map(|layouts| layouts.image(reference)) {
                Some(Ok(image)) => return Ok(image),
                Some(Err(error)) if why.is_empty() => why = format!(": {error}"),
                _ => {}
            }
        }
        Err(format!("No such image: {reference}{why}"))
    }
}
