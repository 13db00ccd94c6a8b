//! What can go wrong with an image.

use std::io;
use std::path::PathBuf;

/// Why an image was not built, read, unpacked or pushed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program cannot run in an image without libraries, or not on this architecture.
    #[error("{path} cannot be the image's nats-server: {why}", path = path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something that goes into the image cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file with the authorities holds none.
    #[error("{path} holds no certificates: {why}", path = path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A layout or a root file system cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory is no OCI layout.
    #[error("{path} is no OCI layout: {why}", path = path.display())]
    NotALayout {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
    /// The layout does not hold the image.
    #[error("there is no image {reference} in {path}", path = path.display())]
    NoSuchImage {
        /// What was asked for.
        reference: String,
        /// The layout.
        path: PathBuf,
        /// The images that are there.
        known: Vec<String>,
    },
    /// A blob is not what its name says.
    #[error("{path} is damaged: {why}", path = path.display())]
    Damaged {
        /// The blob.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// A layer holds what must not be unpacked.
    #[error("the image holds {entry:?}, which is not unpacked: {why}")]
    Unsafe {
        /// The entry's path.
        entry: String,
        /// Why not.
        why: &'static str,
    },
    /// The place of a root file system is taken.
    #[error("{path} is there already, and was left as it is", path = path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A reference is not written as references are.
    #[error("{text:?} is no reference of an image: {why}")]
    Reference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry does not let these credentials in.
    #[error("{registry} refuses {what}: {cause}")]
    Refused {
        /// The registry.
        registry: String,
        /// What was asked of it.
        what: String,
        /// What it answered.
        cause: String,
    },
    /// The registry answers with an error.
    #[error("{registry} failed at {what}: {cause}")]
    Registry {
        /// The registry.
        registry: String,
        /// What was asked of it.
        what: String,
        /// What it answered.
        cause: String,
    },
    /// The registry does not answer.
    #[error("{registry} is not reached for {what}, tried {tries} times: {cause}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// What was asked of it.
        what: String,
        /// How often.
        tries: u32,
        /// What the last try ended with.
        cause: String,
    },
    /// The registry has something else under the reference.
    #[error("{registry} has {answered} under {reference}, and {wanted} was pushed")]
    Mismatch {
        /// The registry.
        registry: String,
        /// The reference.
        reference: String,
        /// The digest that was pushed.
        wanted: String,
        /// The digest that the registry gives.
        answered: String,
    },
    /// Cloudflare gives no credentials for its registry.
    #[error("Cloudflare gives no credentials for {registry}: {cause}")]
    Cloudflare {
        /// The registry.
        registry: String,
        /// What it answered, with its code.
        cause: String,
    },
    /// There is nothing to ask Cloudflare with.
    #[error("Cloudflare's registry needs {missing}")]
    NoAccount {
        /// What is missing.
        missing: &'static str,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Program { .. } => "WL1030",
            Self::Unreadable { .. } => "WL1031",
            Self::Certificates { .. } => "WL1032",
            Self::Write { .. } => "WL1033",
            Self::NotALayout { .. } => "WL1034",
            Self::NoSuchImage { .. } => "WL1035",
            Self::Damaged { .. } => "WL1036",
            Self::Unsafe { .. } => "WL1037",
            Self::Exists { .. } => "WL1038",
            Self::Reference { .. } => "WL1039",
            Self::Refused { .. } => "WL1040",
            Self::Registry { .. } => "WL1041",
            Self::Unreachable { .. } => "WL1042",
            Self::Mismatch { .. } => "WL1043",
            Self::Cloudflare { .. } => "WL1044",
            Self::NoAccount { .. } => "WL1045",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Program { .. } => {
                "name a static nats-server for Linux with --nats-server, and what it runs on with --architecture"
                    .into()
            }
            Self::Unreadable { .. } => "check the path, and that you may read it".into(),
            Self::Certificates { .. } => {
                "give a file of certificates as PEM, or leave --ca-certificates out for Mozilla's".into()
            }
            Self::Write { .. } => "check that the directory is yours, writable and has room".into(),
            Self::NotALayout { .. } => "`windlass image build` makes one; --layout names another".into(),
            Self::NoSuchImage { known, .. } if known.is_empty() => {
                "it holds none; `windlass image build` makes one".into()
            }
            Self::NoSuchImage { known, .. } => format!("there are: {}", known.join(", ")),
            Self::Damaged { .. } => "build the image again: what is right is kept, what is damaged replaced".into(),
            Self::Unsafe { .. } => "nothing was unpacked; ask who made the image".into(),
            Self::Exists { .. } => "name another directory, or remove this one".into(),
            Self::Reference { .. } => {
                "write REGISTRY/NAME:TAG, such as registry.example.com/acme/nats:2.15.1".into()
            }
            Self::Refused { .. } => {
                "check user name, password and that they may push there; short-lived ones may be over".into()
            }
            Self::Registry { .. } => "nothing is under the reference yet; what was sent is not sent again".into(),
            Self::Unreachable { .. } => "check name and port of the registry, and push again: it goes on".into(),
            Self::Mismatch { .. } => "somebody else pushes to this tag: choose another, or push by turns".into(),
            Self::Cloudflare { .. } => {
                "the API token needs the permission \"Account · Containers · Edit\"; see Cloudflare's code".into()
            }
            Self::NoAccount { .. } => "set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN".into(),
        }
    }

    /// Whether the input, not the world, is what must change.
    pub const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Program { .. }
                | Self::Unreadable { .. }
                | Self::Certificates { .. }
                | Self::NotALayout { .. }
                | Self::NoSuchImage { .. }
                | Self::Exists { .. }
                | Self::Reference { .. }
                | Self::NoAccount { .. }
        )
    }
}
