//! What the image is made of, and the two documents that describe it: a pure function of its ingredients.

use std::collections::HashMap;
use std::io;

use oci_spec::OciSpecError;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, HistoryBuilder, ImageConfigurationBuilder, ImageManifestBuilder,
    MediaType, Os, RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
};
use olpc_cjson::CanonicalFormatter;
use serde::Serialize;

use crate::layer::{Entries, Layer, Node, layer};
use crate::{Architecture, Certificates, Environment, Program, digest};

/// The server's configuration, the same in every image.
pub const CONFIGURATION: &str = include_str!("../../../containers/nats/nats-server.conf");

/// Nobody's number on any system: the server needs no name for it, and no right that it gives.
const USER: u32 = 65_532;
const PROGRAM: &str = "nats-server";
const CONFIGURATION_FILE: &str = "etc/nats/nats-server.conf";
const CERTIFICATES_FILE: &str = "etc/ssl/certs/ca-certificates.crt";
/// When everything in an image was made, so that the time of the build is not part of it.
const MADE: &str = "1970-01-01T00:00:00Z";

/// The ingredients.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// nats-server.
    pub program: Program,
    /// Its version.
    pub version: String,
    /// Whom the server trusts.
    pub certificates: Certificates,
    /// What the image is for.
    pub environment: Environment,
}

/// An image in memory.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub layers: Vec<Layer>,
    pub config: Document,
    pub manifest: Document,
}

/// A document as it is stored: canonical JSON, so that a map's order does not change its digest.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub bytes: Vec<u8>,
    pub digest: String,
}

impl Document {
    pub fn new(value: &impl Serialize) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, CanonicalFormatter::new());
        value.serialize(&mut serializer)?;
        let digest = digest::of(&bytes);
        Ok(Self { bytes, digest })
    }
}

impl Recipe {
    /// Makes the image.
    pub(crate) fn build(&self) -> io::Result<Built> {
        // The large one first: a change of the rest does not send it again.
        let program = Entries::default().with(PROGRAM, Node::File(0o755, self.program.bytes()), 0);
        let rest = Entries::default()
            .with("data", Node::Directory(0o700), USER)
            .with("etc", Node::Directory(0o755), 0)
            .with("etc/nats", Node::Directory(0o755), 0)
            .with(CONFIGURATION_FILE, Node::File(0o644, CONFIGURATION.as_bytes()), 0)
            .with("etc/ssl", Node::Directory(0o755), 0)
            .with("etc/ssl/certs", Node::Directory(0o755), 0)
            .with(CERTIFICATES_FILE, Node::File(0o644, self.certificates.as_pem().as_bytes()), 0);
        let layers = vec![layer(&program)?, layer(&rest)?];
        let config = self.configuration(&layers).map_err(io::Error::other)?;
        let config = Document::new(&config)?;
        let described = |media, bytes: &[u8], digest: &str| -> io::Result<Descriptor> {
            let hex = digest::hex_of(digest).ok_or(io::ErrorKind::InvalidData)?;
            let digest: Sha256Digest = hex.parse().map_err(io::Error::other)?;
            Ok(Descriptor::new(media, bytes.len() as u64, digest))
        };
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(described(MediaType::ImageConfig, &config.bytes, &config.digest)?)
            .layers(
                layers
                    .iter()
                    .map(|layer| described(MediaType::ImageLayerGzip, &layer.bytes, &layer.digest))
                    .collect::<io::Result<Vec<_>>>()?,
            )
            .build()
            .map_err(io::Error::other)?;
        Ok(Built { manifest: Document::new(&manifest)?, config, layers })
    }

    fn configuration(&self, layers: &[Layer]) -> Result<oci_spec::image::ImageConfiguration, OciSpecError> {
        let labels = [
            ("org.opencontainers.image.title", "NATS at the edge"),
            ("org.opencontainers.image.version", &self.version),
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("windlass.environment", self.environment.name()),
        ];
        let labels: HashMap<_, _> = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let run = ConfigBuilder::default()
            .user(format!("{USER}:{USER}"))
            .exposed_ports(["8080/tcp", "8222/tcp"].map(str::to_owned))
            .env(self.environment.variables())
            .entrypoint([format!("/{PROGRAM}"), "--config".to_owned(), format!("/{CONFIGURATION_FILE}")])
            .labels(labels)
            .build()?;
        let step = |what: &str| HistoryBuilder::default().created(MADE).created_by(what).build();
        ImageConfigurationBuilder::default()
            .created(MADE)
            .architecture(match self.program.architecture() {
                Architecture::Amd64 => Arch::Amd64,
                Architecture::Arm64 => Arch::ARM64,
            })
            .os(Os::Linux)
            .config(run)
            .rootfs(
                RootFsBuilder::default()
                    .typ("layers")
                    .diff_ids(layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>())
                    .build()?,
            )
            .history(vec![step("nats-server")?, step("configuration and certificates")?])
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::elf;

    fn recipe() -> Recipe {
        Recipe {
            program: Program::new(elf(62, 1), Architecture::Amd64).unwrap(),
            version: "2.15.1".into(),
            certificates: Certificates::from_pem(
                "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n",
            )
            .unwrap(),
            environment: Environment::Production,
        }
    }

    /// The whole promise of the crate: these digests are the same on any machine. A change of the configuration, of an
    /// environment or of the compressor changes them, and is seen here: run with `UPDATE_GOLDEN=1` to take it over.
    #[test]
    fn the_same_ingredients_are_the_same_image() {
        let (first, second) = (recipe().build().unwrap(), recipe().build().unwrap());
        assert_eq!(first.manifest.bytes, second.manifest.bytes);
        let text = |document: &Document| {
            let value: serde_json::Value = serde_json::from_slice(&document.bytes).unwrap();
            serde_json::to_string_pretty(&value).unwrap()
        };
        let found = format!(
            "# manifest {}\n{}\n# config {}\n{}\n",
            first.manifest.digest,
            text(&first.manifest),
            first.config.digest,
            text(&first.config)
        );
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/image.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &found).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            found,
            "UPDATE_GOLDEN=1, then look at it"
        );
    }

    #[test]
    fn environments_share_their_layers_and_every_ingredient_counts() {
        let production = recipe().build().unwrap();
        let mut digests = vec![production.manifest.digest.clone()];
        for environment in [Environment::Development, Environment::Staging] {
            let other = Recipe { environment, ..recipe() }.build().unwrap();
            let layers =
                |built: &Built| built.layers.iter().map(|one| one.digest.clone()).collect::<Vec<_>>();
            assert_eq!(layers(&production), layers(&other));
            digests.push(other.manifest.digest);
        }
        digests.push(Recipe { version: "2.15.2".into(), ..recipe() }.build().unwrap().manifest.digest);
        let program = Program::new(elf(183, 1), Architecture::Arm64).unwrap();
        digests.push(Recipe { program, ..recipe() }.build().unwrap().manifest.digest);
        digests.push(
            Recipe { certificates: Certificates::mozilla(), ..recipe() }.build().unwrap().manifest.digest,
        );
        let all = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), all);
    }
}
