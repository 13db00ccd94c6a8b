//! Where a Terraform state is: `FILE`, `s3://BUCKET/KEY` or `r2://BUCKET/KEY`; and where its workspaces are.

use crate::blobs::{Blobs, Bucket, Directory, Probe, Probed, Service};
use crate::error::Error;
use crate::keys::{Keys, TELLING, is_sealed};
use crate::lock::LockInfo;
use crate::store::{HISTORY, Store, lock_key};
use secrecy::SecretString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// The workspace that every state has.
pub const DEFAULT_WORKSPACE: &str = "default";
/// Where Terraform's S3 backend keeps the other workspaces, unless it is told otherwise.
const WORKSPACES_IN_A_BUCKET: &str = "env:/";
/// Where Terraform's local backend keeps them.
const WORKSPACES_IN_A_DIRECTORY: &str = "terraform.tfstate.d/";
const LOCAL_NAME: &str = "terraform.tfstate";

/// The address of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of this machine: as Terraform's local backend writes it, or a state in a store `dir:…`.
    File(PathBuf),
    /// An object.
    Bucket {
        /// `s3` or `r2`.
        scheme: &'static str,
        /// The bucket.
        bucket: String,
        /// The key of the default workspace.
        key: String,
    },
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Err(Error::Address { address: text.to_owned(), reason: reason.to_owned() });
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text {
                "" => bad("it is empty"),
                text if text.ends_with('/') || Path::new(text).file_name().is_none() => {
                    bad("it is a directory; name the file, such as terraform.tfstate")
                }
                text => Ok(Self::File(text.into())),
            };
        };
        let scheme = match scheme {
            "s3" => "s3",
            "r2" => "r2",
            _ => return bad("only s3:// and r2:// are known"),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(allowed) {
            return bad("a bucket's name has 3 to 63 lower-case letters, digits, '-' and '.'");
        }
        let parts_are_names = key.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if key.is_empty() || !parts_are_names || key.contains(char::is_control) {
            return bad("a key is needed behind the bucket, such as nats/terraform.tfstate");
        }
        if key.starts_with(HISTORY) {
            return bad("what begins with history/ are old versions; `windlass state show` shows one");
        }
        Ok(Self::Bucket { scheme, bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bucket { scheme, bucket, key } => write!(f, "{scheme}://{bucket}/{key}"),
        }
    }
}

/// The address of a store of many states: `dir:PATH`, `s3://BUCKET[/PREFIX]` or `r2://BUCKET[/PREFIX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket, and what stands before every key.
    Bucket {
        /// `s3` or `r2`.
        scheme: &'static str,
        /// The bucket.
        bucket: String,
        /// Without a `/` at its ends; may be empty.
        prefix: String,
    },
}

impl FromStr for Root {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::Address { address: text.to_owned(), reason: reason.to_owned() };
        if let Some(path) = text.strip_prefix("dir:") {
            return match path {
                "" => Err(bad("the directory is missing behind dir:")),
                path => Ok(Self::Directory(path.into())),
            };
        }
        if !text.contains("://") {
            return Err(bad(
                "a store is dir:PATH, s3://BUCKET or r2://BUCKET, with a prefix where you want one",
            ));
        }
        // The same rules as for one state: below a bucket alone, any key will do.
        let text = text.trim_end_matches('/');
        let with_key = format!("{text}/key");
        match with_key.parse() {
            Ok(Location::Bucket { scheme, bucket, key }) => {
                let prefix = key.strip_suffix("/key").unwrap_or_default().to_owned();
                Ok(Self::Bucket { scheme, bucket, prefix })
            }
            Ok(Location::File(_)) => Err(bad("it is a file")),
            Err(Error::Address { reason, .. }) => Err(bad(&reason)),
            Err(other) => Err(other),
        }
    }
}

impl Root {
    /// Opens the store, and gives the prefix of its keys. Nothing is asked yet.
    ///
    /// # Errors
    /// When the endpoint or the keys of a bucket are missing.
    pub fn open(&self, access: &Access) -> Result<(Store, String), Error> {
        self.open_with(access, |name| std::env::var(name).ok())
    }

    /// Opens the store, with variables from somewhere else than the environment.
    ///
    /// # Errors
    /// When the endpoint or the keys of a bucket are missing.
    pub fn open_with(
        &self,
        access: &Access,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(Store, String), Error> {
        match self {
            Self::Directory(path) => {
                let store = Store::new(Arc::new(Directory::new(path))).with_keys(access.keys.clone());
                Ok((store, String::new()))
            }
            Self::Bucket { scheme, bucket, prefix } => {
                let location =
                    Location::Bucket { scheme, bucket: bucket.clone(), key: format!("{prefix}/key") };
                Ok((location.open_with(access, variable)?.store, prefix.clone()))
            }
        }
    }
}

/// How a location is opened.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The keys with which objects in buckets are encrypted. Files stay as Terraform reads them.
    pub keys: Keys,
    /// A key for SSE-C, in base64.
    pub customer_key: Option<SecretString>,
    /// For tests.
    pub probe: Option<Probe>,
}

/// An open location.
#[derive(Clone, Debug)]
pub struct Place {
    /// What is there.
    pub store: Store,
    /// The key of the default workspace.
    pub key: String,
    /// The directory, where it is one.
    local: Option<Directory>,
    /// The endpoint: two services can have buckets of one name.
    endpoint: Option<String>,
    probe: Option<Probe>,
}

impl Location {
    /// Opens the store. No bucket is asked yet; of a file it is looked at whether it is in a store.
    ///
    /// # Errors
    /// When the endpoint or the keys of a bucket are missing.
    pub fn open(&self, access: &Access) -> Result<Place, Error> {
        self.open_with(access, |name| std::env::var(name).ok())
    }

    /// Opens the store, with variables from somewhere else than the environment.
    ///
    /// # Errors
    /// When the endpoint or the keys of a bucket are missing.
    pub fn open_with(
        &self,
        access: &Access,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Place, Error> {
        let probe = access.probe.clone();
        let probed = |blobs: Arc<dyn Blobs>| match &access.probe {
            Some(probe) => Arc::new(Probed::new(blobs, probe.clone())),
            None => blobs,
        };
        match self {
            Self::File(path) => {
                if let Some((root, key)) = store_around(path) {
                    let blobs = probed(Arc::new(Directory::new(&root).with_probe(probe.clone())));
                    let store = Store::new(blobs).with_keys(access.keys.clone());
                    return Ok(Place { store, key, local: None, endpoint: None, probe });
                }
                let root = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let root = root.unwrap_or_else(|| Path::new(".")).to_owned();
                let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::Address {
                    address: self.to_string(),
                    reason: "the name is not UTF-8".to_owned(),
                })?;
                let directory = Directory::new(&root).with_probe(probe.clone());
                let store = Store::new(probed(Arc::new(directory.clone()))).with_local_locks(root);
                Ok(Place { store, key: name.to_owned(), local: Some(directory), endpoint: None, probe })
            }
            Self::Bucket { scheme, bucket, key } => {
                let mut service = Service::from_variables(scheme, &self.to_string(), variable)?;
                service.customer_key = access.customer_key.clone();
                let bucket = Bucket::new(&service, bucket)?;
                let store = Store::new(probed(Arc::new(bucket))).with_keys(access.keys.clone());
                Ok(Place { store, key: key.clone(), local: None, endpoint: service.endpoint, probe })
            }
        }
    }
}

/// The store `dir:…` that a file is in, with its key there. Such a store has its history at its root, and its own locks and
/// workspaces; a file beside which there is nothing of that kind is one of Terraform's local backend.
fn store_around(file: &Path) -> Option<(PathBuf, String)> {
    let whole = std::path::absolute(file).ok()?;
    let beside = whole.parent()?;
    beside.ancestors().find_map(|root| {
        let key = whole.strip_prefix(root).ok()?.to_str()?;
        let has_history = root.join(HISTORY).join(key).is_dir();
        // Right beside it, the history is where that of a local file would be, too. Terraform encrypts none.
        let is_store = has_history && (root != beside || is_sealed_file(&whole));
        is_store.then(|| (root.to_owned(), key.to_owned()))
    })
}

fn is_sealed_file(path: &Path) -> bool {
    let mut first = [0; TELLING];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && is_sealed(&first)
}

impl Place {
    /// A place on objects that are open already.
    #[must_use]
    pub fn on(store: Store, key: &str) -> Self {
        Self { store, key: key.to_owned(), local: None, endpoint: None, probe: None }
    }

    /// Whether it is the same place under the same name.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.place_of(DEFAULT_WORKSPACE) == other.place_of(DEFAULT_WORKSPACE)
    }

    /// Whether it is a file of this machine.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The key of a workspace's state.
    #[must_use]
    pub fn key_of(&self, workspace: &str) -> String {
        match workspace {
            DEFAULT_WORKSPACE => self.key.clone(),
            name if self.is_local() => format!("{WORKSPACES_IN_A_DIRECTORY}{name}/{LOCAL_NAME}"),
            name => format!("{WORKSPACES_IN_A_BUCKET}{name}/{}", self.key),
        }
    }

    /// For people: where a workspace's state is.
    #[must_use]
    pub fn place_of(&self, workspace: &str) -> String {
        self.store.place(&self.key_of(workspace))
    }

    /// Every workspace that has a state, `default` first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn workspaces(&self) -> Result<Vec<String>, Error> {
        let (prefix, name) = match self.local {
            Some(_) => (WORKSPACES_IN_A_DIRECTORY, LOCAL_NAME),
            None => (WORKSPACES_IN_A_BUCKET, self.key.as_str()),
        };
        let mut found = Vec::new();
        if self.store.blobs().head(&self.key).await?.is_some() {
            found.push(DEFAULT_WORKSPACE.to_owned());
        }
        for meta in self.store.blobs().list(prefix).await? {
            let rest = meta.key.strip_prefix(prefix).and_then(|rest| rest.split_once('/'));
            found.extend(rest.filter(|(_, key)| *key == name).map(|(workspace, _)| workspace.to_owned()));
        }
        Ok(found)
    }

    /// Every lock that is held, with its workspace. A workspace can be locked before it has a state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn locks(&self) -> Result<Vec<(String, LockInfo)>, Error> {
        let mut workspaces = self.workspaces().await?;
        if !workspaces.iter().any(|workspace| workspace == DEFAULT_WORKSPACE) {
            workspaces.insert(0, DEFAULT_WORKSPACE.to_owned());
        }
        if self.local.is_none() {
            let lock = lock_key(&self.key);
            for meta in self.store.blobs().list(WORKSPACES_IN_A_BUCKET).await? {
                let rest =
                    meta.key.strip_prefix(WORKSPACES_IN_A_BUCKET).and_then(|rest| rest.split_once('/'));
                let locked = rest.filter(|(_, key)| *key == lock).map(|(workspace, _)| workspace.to_owned());
                workspaces.extend(locked.filter(|workspace| !workspaces.contains(workspace)));
            }
        }
        let mut locks = Vec::new();
        for workspace in workspaces {
            if let Some(holder) = self.store.holder(&self.key_of(&workspace)).await? {
                locks.push((workspace, holder));
            }
        }
        Ok(locks)
    }

    /// The file of a key, where it is one.
    pub(crate) fn file(&self, key: &str) -> Option<Result<PathBuf, Error>> {
        self.local.as_ref().map(|directory| directory.path(key))
    }

    /// For tests: something is about to be done that is not done through the store.
    pub(crate) fn step(&self) {
        if let Some(probe) = &self.probe {
            probe.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for good in
            ["terraform.tfstate", "/a/b.tfstate", "s3://states/a", "r2://acme-states/nats/terraform.tfstate"]
        {
            assert_eq!(good.parse::<Location>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "a/",
            "..",
            "gs://states/a",
            "r2://states",
            "r2://states/",
            "r2://S/a",
            "r2://states//a",
            "r2://states/a/../b",
            "r2://states/history/a/1-b",
            "r2://states/a/",
        ] {
            assert_eq!(bad.parse::<Location>().unwrap_err().code(), "WL0701", "{bad}");
        }
    }

    #[test]
    fn stores_are_read_as_they_are_written() {
        let bucket = |prefix: &str| Root::Bucket {
            scheme: "r2",
            bucket: "states".to_owned(),
            prefix: prefix.to_owned(),
        };
        assert_eq!("r2://states".parse::<Root>().unwrap(), bucket(""));
        assert_eq!("r2://states/".parse::<Root>().unwrap(), bucket(""));
        assert_eq!("r2://states/team/a/".parse::<Root>().unwrap(), bucket("team/a"));
        assert_eq!("dir:/a/b".parse::<Root>().unwrap(), Root::Directory("/a/b".into()));
        for bad in ["", "states", "dir:", "gs://states", "r2://", "r2://states//a", "r2://states/history"] {
            assert_eq!(bad.parse::<Root>().unwrap_err().code(), "WL0701", "{bad}");
        }
    }

    #[tokio::test]
    async fn a_file_in_a_store_is_the_state_of_that_store() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::Directory(directory.path().to_owned());
        let mut keys = Keys::none();
        keys.add("correct horse battery staple").unwrap();
        let open = |key: &str| {
            let access = Access { keys: keys.clone(), ..Access::default() };
            Location::File(directory.path().join(key)).open(&access).unwrap()
        };
        let (store, _) = root.open(&Access::default()).unwrap();
        let content = crate::terraform::tests::state("one", 3, 1);
        store.write("a/b/x.tfstate", 3, &content, &crate::blobs::Condition::Absent).await.unwrap();
        let place = open("a/b/x.tfstate");
        assert_eq!((place.key.as_str(), place.is_local()), ("a/b/x.tfstate", false));
        assert_eq!(place.key_of("dev"), "env:/dev/a/b/x.tfstate");
        assert_eq!(place.store.history(&place.key).await.unwrap().len(), 1);
        // At the root, only one that is encrypted cannot be a file of Terraform's.
        store.write("x", 3, &content, &crate::blobs::Condition::Absent).await.unwrap();
        assert!(open("x").is_local() && open("a/other").is_local());
        let sealed = store.with_keys(keys.clone());
        sealed.write("y", 3, &content, &crate::blobs::Condition::Absent).await.unwrap();
        assert!(!open("y").is_local());
        assert_eq!(open("y").store.read("y").await.unwrap().unwrap().content, content);
    }

    #[tokio::test]
    async fn workspaces_are_where_terraform_keeps_them() {
        let store = Store::new(Arc::new(Bucket::in_memory()));
        for key in
            ["env:/dev/a/x", "env:/prod/a/x", "env:/dev/a/x.tflock", "env:/dev/other", "a/x", "a/x.tflock"]
        {
            let _ = store.blobs().put(key, "x".into(), &crate::blobs::Condition::Absent).await.unwrap();
        }
        let place = Place::on(store, "a/x");
        assert_eq!(place.workspaces().await.unwrap(), ["default", "dev", "prod"]);
        assert_eq!(place.key_of("dev"), "env:/dev/a/x");

        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("terraform.tfstate.d/dev");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("terraform.tfstate"), "x").unwrap();
        let place =
            Location::File(directory.path().join("terraform.tfstate")).open(&Access::default()).unwrap();
        assert_eq!(place.workspaces().await.unwrap(), ["dev"]);
    }
}
