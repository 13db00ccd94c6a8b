//! Where the fleet's own state is, and how it is reached: from the fleet file, the usual variables and, on a laptop, the
//! local R2.
//!
//! Which service `r2://` means is decided in this order: `AWS_ENDPOINT_URL_S3`, `[state] endpoint`, Cloudflare's own address
//! of `[platforms.cloudflare] account_id`, the local R2 in the run directory. The last one only where it holds this state
//! already, or where `windlass up` begins: whoever forgets a variable is not to get a second, empty state.
//!
//! The local R2 is served inside this process for as long as it is needed, on the same directory as the one that
//! `windlass up` keeps running (several processes may). So the state is there before anything was started, and after
//! `windlass down`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use windlass_engine::State;
use windlass_engine::store::{Store as _, Versioned};
use windlass_fleet::{Fleet, SecretSource, StoreAddress};
use windlass_state::blobs::{Blobs, Bucket, Probed, Service, abort_at};
use windlass_state::keys::Keys;
use windlass_state::store::{Retention, Store};

use crate::failure::{Error, Failure};
use crate::local_r2::LocalR2;
use crate::run_directory::{RunDirectory, read_json, write_json};
use crate::secrets;

/// The variable of the endpoint.
pub const ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
/// The variable of the access key's ID.
pub const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The local R2's bucket, where the fleet file names none.
const LOCAL_BUCKET: &str = "windlass";
/// The variable of its secret.
pub const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

/// Ends the process before or after the n-th thing that is done to the store. For tests: what a kill at that instruction does.
const ABORT_AT: &str = "WINDLASS_ABORT_AT_STATE_STEP";

/// The state of a fleet, open.
#[derive(Debug)]
pub struct OwnState {
    /// It.
    pub store: Versioned,
    /// Where it is.
    pub address: Address,
    /// Served for as long as this is open.
    _local_r2: Option<LocalR2>,
}

/// Where a state is; written down in the run directory, so that it is missed when the fleet file names another place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Whose it is: the fleet's name, with the environment's where there is one.
    pub fleet: String,
    /// `dir:PATH`, `s3://BUCKET/PREFIX` or `r2://BUCKET/PREFIX`.
    pub store: String,
    /// Whether it is in the local R2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_r2: bool,
}

/// What a fleet says of its state, with where it says it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// Its name in the state.
    pub label: &'a str,
    /// The run directory.
    pub directory: &'a RunDirectory,
    /// Where relative paths begin: the fleet file's directory.
    pub base: Option<&'a Path>,
    /// Whether a state may begin in the local R2.
    pub may_begin_locally: bool,
}

impl Asked<'_> {
    /// Where the fleet file wants it, and whether that is the local R2.
    fn place(&self) -> StoreAddress {
        let base = self.base.unwrap_or(Path::new(""));
        let directory = |path: &Path| StoreAddress::Directory(path.display().to_string());
        match &self.fleet.state.store {
            None => directory(&self.directory.root().join("state")),
            Some(StoreAddress::Directory(path)) => directory(&absolute(&base.join(path))),
            Some(place) => place.clone(),
        }
    }

    /// The bucket of the local R2: the state's, if it is in R2.
    pub fn local_bucket(&self) -> String {
        match &self.fleet.state.store {
            Some(StoreAddress::R2(bucket, _)) => bucket.clone(),
            _ => LOCAL_BUCKET.to_owned(),
        }
    }

    /// Opens it. Nothing is asked yet.
    pub fn open(&self) -> Result<OwnState, Failure> {
        self.open_at(&self.place(), self.may_begin_locally)
    }

    /// Opens a state of this fleet somewhere else, such as where it was.
    pub fn open_other(&self, address: &Address) -> Result<OwnState, Failure> {
        let place = address.store.parse().map_err(|_| Error::Usage {
            message: format!("{} is not a place for state", address.store),
            help: "write dir:PATH, r2://BUCKET/PREFIX or s3://BUCKET/PREFIX".to_owned(),
        })?;
        match &place {
            StoreAddress::R2(bucket, prefix) if address.local_r2 => self.open_local(bucket, prefix, &place),
            place => self.open_at(place, false),
        }
    }

    fn open_at(&self, place: &StoreAddress, may_begin: bool) -> Result<OwnState, Failure> {
        match place {
            StoreAddress::Directory(path) => {
                let (keys, retention) = (self.keys()?, Some(self.retention()));
                let store = Versioned::in_directory(Path::new(path), keys, retention)?;
                Ok(OwnState { store, address: self.address(place, false), _local_r2: None })
            }
            StoreAddress::S3(bucket, prefix) => self.open_bucket("s3", bucket, prefix, place),
            StoreAddress::R2(bucket, prefix) => {
                if !self.knows_an_endpoint()? {
                    let was_here = self.known() == Some(self.address(place, true));
                    if was_here || (may_begin && !self.has_keys()) {
                        return self.open_local(bucket, prefix, place);
                    }
                    return Err(Error::NoEndpoint { place: place.to_string() }.into());
                }
                self.open_bucket("r2", bucket, prefix, place)
            }
        }
    }

    fn address(&self, place: &StoreAddress, local_r2: bool) -> Address {
        Address { fleet: self.label.to_owned(), store: place.to_string(), local_r2 }
    }

    /// What stands before every key of this fleet: one bucket can hold several.
    fn prefix(&self, prefix: &str) -> String {
        match prefix {
            "" => format!("{}/", self.label),
            prefix => format!("{prefix}/{}/", self.label),
        }
    }

    fn keys(&self) -> Result<Keys, Error> {
        let mut keys = Keys::none();
        for source in &self.fleet.state.encrypt_with {
            let text = self.secret(source)?.ok_or_else(|| key_error(source, "it is not set"))?;
            keys.add(text.expose_secret().trim()).map_err(|cause| key_error(source, &cause))?;
        }
        Ok(keys)
    }

    fn secret(&self, source: &SecretSource) -> Result<Option<secrecy::SecretString>, Error> {
        match secrets::from_sources(std::slice::from_ref(source), self.base) {
            Ok(secrets) => Ok(secrets.into_iter().next()),
            Err(Error::Secret { source_name, cause }) => Err(Error::StateKey { source_name, cause }),
            Err(error) => Err(error),
        }
    }

    fn retention(&self) -> Retention {
        let state = &self.fleet.state;
        Retention {
            count: usize::try_from(state.keep).ok(),
            age: Some(Duration::from_millis(state.keep_for.as_millis())),
        }
    }

    fn has_keys(&self) -> bool {
        self.fleet.state.access_key_id.is_some() || variable(KEY_ID).is_some() || variable(SECRET).is_some()
    }

    fn knows_an_endpoint(&self) -> Result<bool, Error> {
        let variables = [ENDPOINT, "AWS_ENDPOINT_URL"];
        Ok(variables.into_iter().any(|name| variable(name).is_some()) || self.endpoint()?.is_some())
    }

    /// What the fleet file says of where R2 or S3 is asked.
    fn endpoint(&self) -> Result<Option<String>, Error> {
        let state = &self.fleet.state;
        if let Some(endpoint) = &state.endpoint {
            return Ok(Some(endpoint.as_str().to_owned()));
        }
        let is_r2 = matches!(state.store, Some(StoreAddress::R2(..)));
        let Some(cloudflare) = self.fleet.platforms.cloudflare.as_ref().filter(|_| is_r2) else {
            return Ok(None);
        };
        let Some(account) = self.secret(&cloudflare.account_id)? else { return Ok(None) };
        let jurisdiction = state.jurisdiction.map(|one| format!(".{one}")).unwrap_or_default();
        let account = account.expose_secret().trim().to_owned();
        Ok(Some(format!("https://{account}{jurisdiction}.r2.cloudflarestorage.com")))
    }

    fn open_bucket(
        &self,
        scheme: &'static str,
        bucket: &str,
        prefix: &str,
        place: &StoreAddress,
    ) -> Result<OwnState, Failure> {
        let mut given = BTreeMap::new();
        if let Some(endpoint) = self.endpoint()? {
            given.insert(ENDPOINT, endpoint);
        }
        let state = &self.fleet.state;
        for (name, source) in [(KEY_ID, &state.access_key_id), (SECRET, &state.secret_access_key)] {
            // What is set in the environment goes before the file: its source is not even asked.
            let Some(source) = source.as_ref().filter(|_| variable(name).is_none()) else { continue };
            let text = self.secret(source)?.ok_or_else(|| key_error(source, "it is not set"))?;
            given.insert(name, text.expose_secret().trim().to_owned());
        }
        let service = Service::from_variables(scheme, &place.to_string(), |name| {
            variable(name).or_else(|| given.get(name).cloned())
        })?;
        self.bucket(&service, bucket, prefix, self.address(place, false), None)
    }

    fn open_local(&self, bucket: &str, prefix: &str, place: &StoreAddress) -> Result<OwnState, Failure> {
        let local = LocalR2::serve(&self.directory.r2(), bucket)?;
        let service = Service::from_variables("r2", &place.to_string(), |name| local.variable(name))?;
        self.bucket(&service, bucket, prefix, self.address(place, true), Some(local))
    }

    fn bucket(
        &self,
        service: &Service,
        bucket: &str,
        prefix: &str,
        address: Address,
        local_r2: Option<LocalR2>,
    ) -> Result<OwnState, Failure> {
        let mut blobs: Arc<dyn Blobs> = Arc::new(Bucket::new(service, bucket)?);
        if let Some(at) = variable(ABORT_AT).and_then(|at| at.parse().ok()) {
            blobs = Arc::new(Probed::new(blobs, abort_at(at)));
        }
        let store = Store::new(blobs).with_keys(self.keys()?).with_retention(Some(self.retention()));
        let store = Versioned::at(store, &self.prefix(prefix))?;
        Ok(OwnState { store, address, _local_r2: local_r2 })
    }

    /// Where the state was when it was last used from this run directory.
    pub fn known(&self) -> Option<Address> {
        read_json::<Address>(&self.directory.state_place_file()).filter(|known| known.fleet == self.label)
    }

    /// Where else there is a state of this fleet, seen from one that is empty.
    pub fn elsewhere(&self, empty: &Address) -> Option<Address> {
        let known = self.known().filter(|known| known != empty);
        let usual = self.directory.root().join("state");
        let usual = StoreAddress::Directory(usual.display().to_string());
        let usual = Some(self.address(&usual, false)).filter(|usual| usual != empty);
        known.into_iter().chain(usual).find(|other| self.may_hold(other))
    }

    /// Whether there may be a state of this fleet. Only a directory is looked into.
    fn may_hold(&self, address: &Address) -> bool {
        let Some(path) = address.store.strip_prefix("dir:") else { return true };
        let path = Path::new(path).join("state.json");
        let Ok(content) = std::fs::read(&path) else { return false };
        match Versioned::state_of(&path.display().to_string(), &content) {
            Ok(State { fleet, .. }) => fleet == self.label,
            Err(windlass_engine::Error::MovedAway { .. }) => false,
            // Encrypted, or damaged: it may be.
            Err(_) => true,
        }
    }

    /// Writes down where the state is.
    pub fn remember(&self, address: &Address) -> Result<(), Error> {
        if self.known().as_ref() == Some(address) {
            return Ok(());
        }
        write_json(&self.directory.state_place_file(), address)
    }
}

impl OwnState {
    /// Refuses to begin where nothing is while the state is somewhere else.
    pub fn check_beginning(&self, state: &State, recovered: usize, asked: &Asked<'_>) -> Result<(), Failure> {
        if state.serial > 0 || recovered > 0 {
            return Ok(());
        }
        match asked.elsewhere(&self.address) {
            Some(other) => {
                Err(Error::StateElsewhere { place: self.store.place(), other: other.to_string() }.into())
            }
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.store)?;
        if self.local_r2 { f.write_str(" in the local R2") } else { Ok(()) }
    }
}

/// A variable that is set to something.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A path from the root.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn key_error(source: &SecretSource, cause: &str) -> Error {
    let source_name = match source {
        SecretSource::Env(name) => format!("the environment variable {name}"),
        SecretSource::File(path) => format!("the file {}", path.display()),
        SecretSource::Command(words) => {
            format!("the command {}", words.first().map_or("", String::as_str))
        }
    };
    Error::StateKey { source_name, cause: cause.to_owned() }
}
