//! What can go wrong, with stable codes.

use std::path::PathBuf;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that is none.
    #[error("{address:?} is not a place for state: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bucket cannot be asked: its endpoint or keys are not known.
    #[error("{place} cannot be reached: {missing}")]
    Setup {
        /// The place.
        place: String,
        /// What is missing or unusable.
        missing: String,
    },
    /// The store does not answer, however often it is asked.
    #[error("{place} does not answer after {tries} tries: {reason}")]
    Unreachable {
        /// The place.
        place: String,
        /// How often it was tried.
        tries: u32,
        /// What happened last.
        reason: String,
    },
    /// The store knows the key and does not allow it, or does not know it.
    #[error("{place} refuses these keys: {reason}")]
    Denied {
        /// The place.
        place: String,
        /// What the store says.
        reason: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket for {place}")]
    NoBucket {
        /// The place.
        place: String,
    },
    /// The store is asked too often, by others too.
    #[error("{place} is written too often: after {tries} tries it still answers {status}")]
    Busy {
        /// The place.
        place: String,
        /// How often it was tried.
        tries: u32,
        /// What it answers: 429 or 503.
        status: u16,
    },
    /// The store answers with an error that trying again would not change.
    #[error("{place} answers: {reason}")]
    Answer {
        /// The place.
        place: String,
        /// What it says.
        reason: String,
    },
    /// The disk refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Somebody holds the lock, and may be alive.
    #[error("{place} is locked by {who}, for {operation}, since {since} (lock {id})")]
    Locked {
        /// The place.
        place: String,
        /// Who, such as `user@host`.
        who: String,
        /// What for.
        operation: String,
        /// Since when.
        since: String,
        /// The lock's ID.
        id: String,
    },
    /// There is no lock of this ID.
    #[error("{place} has no lock {id}: {found}")]
    NoLock {
        /// The place.
        place: String,
        /// The ID that was named.
        id: String,
        /// What there is instead.
        found: String,
    },
    /// The object is another one than a moment ago.
    #[error("{place} was changed by somebody else meanwhile")]
    Changed {
        /// The place.
        place: String,
    },
    /// What was read back is not what was written.
    #[error("{place} is not what was written: SHA-256 {found}, and {wanted} was sent")]
    Damaged {
        /// The place.
        place: String,
        /// The digest of what is there.
        found: String,
        /// The digest of what was sent.
        wanted: String,
    },
    /// There is no state.
    #[error("there is no state at {place}")]
    Absent {
        /// The place.
        place: String,
    },
    /// The state has no bytes.
    #[error("the state at {place} is empty: it has no content at all")]
    Empty {
        /// The place.
        place: String,
    },
    /// The state is not what Terraform writes.
    #[error("the state at {place} cannot be read: {reason}")]
    Corrupt {
        /// The place.
        place: String,
        /// Why.
        reason: String,
    },
    /// The state is of a Terraform that is too old.
    #[error("the state at {place} has the format {version} of Terraform 0.11 and before")]
    OldFormat {
        /// The place.
        place: String,
        /// Its version.
        version: u64,
    },
    /// The state is of a Terraform that is newer than this program.
    #[error("the state at {place} has the format {version}, which this version does not know")]
    NewFormat {
        /// The place.
        place: String,
        /// Its version.
        version: u64,
    },
    /// The state has no resources.
    #[error("the state at {place} has no resources")]
    NoResources {
        /// The place.
        place: String,
    },
    /// Another state is there already.
    #[error("{place} holds another state: its lineage is {found}, and {wanted} was to go there")]
    ForeignLineage {
        /// The place.
        place: String,
        /// The lineage that is there.
        found: String,
        /// The lineage that was to be written.
        wanted: String,
    },
    /// A newer version of the same state is there.
    #[error("{place} is newer: its serial is {found}, and {wanted} was to go there")]
    LowerSerial {
        /// The place.
        place: String,
        /// The serial that is there.
        found: u64,
        /// The serial that was to be written.
        wanted: u64,
    },
    /// Two states with one number.
    #[error("{place} has the same lineage and serial {serial}, and another content")]
    Fork {
        /// The place.
        place: String,
        /// The serial of both.
        serial: u64,
    },
    /// It is encrypted, and no key was given.
    #[error("{place} is encrypted, and no key was given")]
    NoKey {
        /// The place.
        place: String,
    },
    /// It is encrypted for other keys.
    #[error("none of the {keys} keys opens {place}")]
    WrongKey {
        /// The place.
        place: String,
        /// How many keys were tried.
        keys: usize,
    },
    /// A passphrase would need more memory than is given to it.
    #[error("{place} wants 2^{found} rounds of scrypt for its passphrase, and at most 2^{most} are done")]
    TooMuchWork {
        /// The place.
        place: String,
        /// The work factor that stands in it.
        found: u8,
        /// The largest that is taken.
        most: u8,
    },
    /// A key's source gives no usable key.
    #[error("no key from {source_name}: {reason}")]
    KeyUnusable {
        /// The source, such as `the file key.txt`.
        source_name: String,
        /// Why not.
        reason: String,
    },
    /// The history has no such version.
    #[error("the history of {place} has no serial {serial}")]
    NoVersion {
        /// The place.
        place: String,
        /// What was asked for.
        serial: String,
    },
    /// The history has several versions of one serial.
    #[error("the history of {place} has {count} versions of serial {serial}: {digests}")]
    Ambiguous {
        /// The place.
        place: String,
        /// The serial.
        serial: u64,
        /// How many there are.
        count: usize,
        /// Their digests, shortened.
        digests: String,
    },
    /// An old version cannot be replaced.
    #[error("{place} cannot be re-encrypted: {reason}")]
    Protected {
        /// The place.
        place: String,
        /// What the store says.
        reason: String,
    },
    /// A rule of the bucket keeps it as it is.
    #[error("{place} is kept by a bucket lock rule, and can neither be replaced nor deleted")]
    Kept {
        /// The place.
        place: String,
    },
    /// Something is not as it should be.
    #[error("{count} of {total} checks failed: {first}")]
    Unsound {
        /// How many failed.
        count: usize,
        /// How many there were.
        total: usize,
        /// The first.
        first: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("stopped before it was done")]
    Interrupted,
    /// Encryption itself failed.
    #[error("cannot encrypt for {place}: {reason}")]
    Encrypt {
        /// The place.
        place: String,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "WL0701",
            Self::Setup { .. } => "WL0702",
            Self::Unreachable { .. } => "WL0703",
            Self::Denied { .. } => "WL0704",
            Self::NoBucket { .. } => "WL0705",
            Self::Busy { .. } => "WL0706",
            Self::Answer { .. } => "WL0707",
            Self::Io { .. } => "WL0708",
            Self::Locked { .. } => "WL0709",
            Self::NoLock { .. } => "WL0710",
            Self::Changed { .. } => "WL0711",
            Self::Damaged { .. } => "WL0712",
            Self::Absent { .. } => "WL0713",
            Self::Empty { .. } => "WL0714",
            Self::Corrupt { .. } => "WL0715",
            Self::OldFormat { .. } => "WL0716",
            Self::NewFormat { .. } => "WL0717",
            Self::NoResources { .. } => "WL0718",
            Self::ForeignLineage { .. } => "WL0719",
            Self::LowerSerial { .. } => "WL0720",
            Self::Fork { .. } => "WL0721",
            Self::NoKey { .. } => "WL0722",
            Self::WrongKey { .. } => "WL0723",
            Self::KeyUnusable { .. } => "WL0724",
            Self::NoVersion { .. } => "WL0725",
            Self::Ambiguous { .. } => "WL0726",
            Self::Protected { .. } => "WL0727",
            Self::Unsound { .. } => "WL0728",
            Self::Encrypt { .. } => "WL0729",
            Self::Interrupted => "WL0730",
            Self::TooMuchWork { .. } => "WL0739",
            Self::Kept { .. } => "WL0740",
        }
    }

    /// Whether what was given, not the world, is what must change.
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Address { .. }
                | Self::Setup { .. }
                | Self::Absent { .. }
                | Self::Empty { .. }
                | Self::Corrupt { .. }
                | Self::OldFormat { .. }
                | Self::NewFormat { .. }
                | Self::NoResources { .. }
                | Self::NoKey { .. }
                | Self::WrongKey { .. }
                | Self::TooMuchWork { .. }
                | Self::KeyUnusable { .. }
                | Self::NoVersion { .. }
                | Self::Ambiguous { .. }
                | Self::NoLock { .. }
        )
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Address { .. } => {
                "write a file's path, s3://BUCKET/KEY or r2://BUCKET/KEY; the key names the state itself".into()
            }
            Self::Setup { .. } => {
                "set AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for R2 the endpoint is \
                 https://ACCOUNT.r2.cloudflarestorage.com"
                    .into()
            }
            Self::Unreachable { .. } => {
                "check the network and AWS_ENDPOINT_URL_S3, then run the same command again: it goes on where it was"
                    .into()
            }
            Self::Denied { .. } => {
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and that the token may read and write this bucket".into()
            }
            Self::NoBucket { .. } => "create the bucket first, or correct its name in the address".into(),
            Self::Busy { .. } => "find out who else writes this key, then run the same command again".into(),
            Self::Answer { .. } => "check that the endpoint is an S3 service and that the bucket is the right one".into(),
            Self::Io { .. } => "check that the path is yours, writable and has room, then run the same command again".into(),
            Self::Locked { id, .. } => format!(
                "wait, or say how long to wait with --lock-timeout; when its owner is surely gone: windlass state unlock ADDRESS {id}"
            ),
            Self::NoLock { .. } => "`windlass state locks ADDRESS` shows what is locked".into(),
            Self::Changed { .. } => "look at what is there now (windlass state show), then run the same command again".into(),
            Self::Damaged { .. } => {
                "run the same command again; the source is untouched, and the sent bytes are in the history".into()
            }
            Self::Absent { .. } => "check the address; `windlass state history ADDRESS` shows whether there ever was one".into(),
            Self::Empty { .. } | Self::Corrupt { .. } => {
                "take a good version: `windlass state history ADDRESS`, or Terraform's terraform.tfstate.backup".into()
            }
            Self::OldFormat { .. } => "let Terraform 0.13 or newer write it first: terraform apply -refresh-only".into(),
            Self::NewFormat { .. } => "use a newer Windlass".into(),
            Self::NoResources { .. } => "check that this is the right file; if it is really to be empty, say --allow-empty".into(),
            Self::ForeignLineage { .. } => "check the address: this is not the state of the same project. Nothing was changed".into(),
            Self::LowerSerial { .. } => {
                "the other side is the current one; nothing was changed. To go back to an older version: windlass state restore".into()
            }
            Self::Fork { .. } => {
                "two people changed the same version. Compare them (terraform show), decide, and raise one's serial by an apply".into()
            }
            Self::NoKey { .. } => "give the key: --key env:NAME, --key file:PATH or --key command:PROGRAM".into(),
            Self::WrongKey { .. } => "give the key that it was encrypted with as a further --key".into(),
            Self::TooMuchWork { .. } => {
                "find out who wrote it: Windlass asks for 2^17. If it is yours, decrypt it with `age` and write it anew".into()
            }
            Self::KeyUnusable { .. } => {
                "a key is an age identity (AGE-SECRET-KEY-1…) or a passphrase of at least 16 characters".into()
            }
            Self::NoVersion { .. } => "`windlass state history ADDRESS` shows what there is".into(),
            Self::Ambiguous { .. } => "name one by the beginning of its digest: SERIAL-DIGEST".into(),
            Self::Protected { .. } => {
                "a bucket lock rule keeps old versions from being changed. Lift it for the history prefix, run rekey again, put it back"
                    .into()
            }
            Self::Kept { .. } => {
                "limit the rule to the prefix history/: a state and its lock must be replaceable, or nobody can apply".into()
            }
            Self::Unsound { .. } => "see each check above; `windlass state restore` puts back an older version".into(),
            Self::Interrupted => "nothing is left locked; the same command again goes on where it was".into(),
            Self::Encrypt { .. } => "check the first --key: it is the one that encrypts".into(),
        }
    }

    /// Makes an [`Error::Io`].
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
