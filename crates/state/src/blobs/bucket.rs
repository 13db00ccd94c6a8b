//! Objects in a bucket of an S3 service or of R2, with conditional writes.

use super::patience::{Patient, Trace, chain, traced};
use super::{Blobs, Condition, Meta, Put, Reading, Tag};
use crate::error::Error;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, Checksum, S3ConditionalPut};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{
    ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig, UpdateVersion,
};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long the store is asked before it counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Between two writes of one key, where the service wants that.
const BETWEEN_WRITES: Duration = Duration::from_millis(1_050);
/// How R2 names the refusal of a bucket lock rule, which comes with 409.
const LOCKED: &str = "ObjectLockedByBucketPolicy";
/// How long a body may stand still.
const STALL: Duration = Duration::from_secs(60);

/// Where a bucket is, and with which keys.
#[derive(Clone)]
pub struct Service {
    /// `s3` or `r2`: how it is written in addresses.
    pub scheme: &'static str,
    /// The endpoint; `None` is Amazon's own of the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The access key's ID.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: SecretString,
    /// The session's token, for temporary keys.
    pub session_token: Option<SecretString>,
    /// A key of 32 bytes in base64, with which the service encrypts what it stores (SSE-C).
    pub customer_key: Option<SecretString>,
    /// How long it is asked before it counts as unreachable.
    pub patience: Duration,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("scheme", &self.scheme)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// The service that the usual variables describe: `AWS_ENDPOINT_URL_S3` (or `AWS_ENDPOINT_URL`), `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` (or `AWS_DEFAULT_REGION`). R2's region is `auto`.
    /// `WINDLASS_STATE_PATIENCE` is how many seconds a service that does not answer is asked again.
    ///
    /// # Errors
    /// When a variable is missing; R2 needs the endpoint as well.
    pub fn from_variables(
        scheme: &'static str,
        place: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let one =
            |names: &[&str]| names.iter().find_map(|name| variable(name)).filter(|value| !value.is_empty());
        let need = |name: &'static str| {
            one(&[name]).ok_or_else(|| Error::Setup {
                place: place.to_owned(),
                missing: format!("{name} is not set"),
            })
        };
        let endpoint = one(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        if scheme == "r2" && endpoint.is_none() {
            need("AWS_ENDPOINT_URL_S3")?;
        }
        let region = one(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
        let usual = if scheme == "r2" { "auto" } else { "us-east-1" };
        let patience = one(&["WINDLASS_STATE_PATIENCE"]).and_then(|seconds| seconds.parse().ok());
        Ok(Self {
            scheme,
            endpoint,
            region: region.unwrap_or_else(|| usual.to_owned()),
            access_key_id: need("AWS_ACCESS_KEY_ID")?,
            secret_access_key: need("AWS_SECRET_ACCESS_KEY")?.into(),
            session_token: one(&["AWS_SESSION_TOKEN"]).map(Into::into),
            customer_key: None,
            patience: patience.map_or(PATIENCE, Duration::from_secs),
        })
    }
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    store: Box<dyn ObjectStore>,
    scheme: &'static str,
    name: String,
    /// When each key was last written, where writes must keep a distance.
    written: Option<Mutex<HashMap<String, Instant>>>,
}

#[derive(Debug)]
struct Connector {
    no_proxy: bool,
    patience: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // The first one installed counts; it does not matter by whom.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .tcp_nodelay(true);
        if self.no_proxy {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(HttpClient::new(Patient::new(HttpClient::new(client), self.patience)))
    }
}

impl Bucket {
    /// The bucket `name` of a service. Nothing is asked yet.
    ///
    /// # Errors
    /// When the endpoint or the customer key is unusable.
    pub fn new(service: &Service, name: &str) -> Result<Self, Error> {
        let place = format!("{}://{name}", service.scheme);
        let setup = |missing: String| Error::Setup { place: place.clone(), missing };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&service.region)
            .with_access_key_id(&service.access_key_id)
            .with_secret_access_key(service.secret_access_key.expose_secret())
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_disable_tagging(true)
            // Requests are tried again below; here would be a second time.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
        let mut no_proxy = false;
        if let Some(endpoint) = &service.endpoint {
            let url = reqwest::Url::parse(endpoint)
                .map_err(|error| setup(format!("AWS_ENDPOINT_URL_S3 is no URL: {error}")))?;
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                return Err(setup("AWS_ENDPOINT_URL_S3 is not an http or https URL".to_owned()));
            }
            no_proxy = is_this_machine(&url);
            if url.scheme() == "http" && !no_proxy {
                return Err(setup(
                    "AWS_ENDPOINT_URL_S3 is http, and only this machine may be asked in clear text"
                        .to_owned(),
                ));
            }
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_virtual_hosted_style_request(false)
                .with_allow_http(url.scheme() == "http");
        }
        if let Some(token) = &service.session_token {
            builder = builder.with_token(token.expose_secret());
        }
        if let Some(key) = &service.customer_key {
            builder = builder.with_ssec_encryption(key.expose_secret());
        }
        let connector = Connector { no_proxy, patience: service.patience };
        let store = builder.with_http_connector(connector).build().map_err(|error| setup(chain(&error)))?;
        Ok(Self {
            store: Box::new(store),
            scheme: service.scheme,
            name: name.to_owned(),
            written: (service.scheme == "r2").then(Mutex::default),
        })
    }

    /// Objects in this process's memory, for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        let store = Box::new(object_store::memory::InMemory::new());
        Self { store, scheme: "memory", name: "test".to_owned(), written: None }
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        let bad = |reason: String| Error::Address { address: self.place(key), reason };
        if key.is_empty() {
            return Err(bad("the key is missing behind the bucket".to_owned()));
        }
        let path = Path::parse(key).map_err(|error| bad(error.to_string()))?;
        if path.as_ref() != key {
            return Err(bad("the key begins or ends with '/'".to_owned()));
        }
        Ok(path)
    }

    /// Waits until a key may be written again.
    async fn keep_distance(&self, key: &str) {
        let Some(written) = &self.written else { return };
        let last = written.lock().get(key).copied();
        if let Some(wait) = last.and_then(|last| BETWEEN_WRITES.checked_sub(last.elapsed())) {
            tokio::time::sleep(wait).await;
        }
    }

    fn has_written(&self, key: &str) {
        if let Some(written) = &self.written {
            let mut written = written.lock();
            written.retain(|_, last| last.elapsed() < BETWEEN_WRITES);
            written.insert(key.to_owned(), Instant::now());
        }
    }

    fn error(&self, key: &str, error: &object_store::Error, trace: &Trace) -> Error {
        let place = self.place(key);
        let said = || said(error);
        match (trace.status, error) {
            (None, object_store::Error::InvalidPath { .. }) => {
                Error::Address { address: place, reason: chain(error) }
            }
            (None, _) => {
                let reason = trace.failure.clone().unwrap_or_else(said);
                Error::Unreachable { place, tries: trace.tries, reason }
            }
            (Some(401 | 403), _) => Error::Denied { place, reason: said() },
            (Some(404), _) => Error::NoBucket { place },
            (Some(status @ (429 | 503)), _) => Error::Busy { place, tries: trace.tries, status },
            (Some(500 | 502 | 504), _) => Error::Unreachable { place, tries: trace.tries, reason: said() },
            (Some(409), _) if said().starts_with(LOCKED) => Error::Kept { place },
            (Some(_), _) => Error::Answer { place, reason: said() },
        }
    }

    async fn write(&self, key: &str, content: Bytes, condition: &Condition) -> Result<Put, Error> {
        let path = self.path(key)?;
        let mode = match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Is(tag) => {
                PutMode::Update(UpdateVersion { e_tag: Some(tag.as_str().to_owned()), version: None })
            }
        };
        self.keep_distance(key).await;
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.store.put_opts(&path, content.clone().into(), options);
        let (result, trace) = traced(put).await;
        if result.is_ok() || trace.unsure {
            self.has_written(key);
        }
        use object_store::Error::{AlreadyExists, NotModified, Precondition};
        match result {
            Ok(put) => match put.e_tag {
                Some(tag) => Ok(Put::Done(Tag::new(tag))),
                None => Err(Error::Answer { place: self.place(key), reason: "no ETag".to_owned() }),
            },
            // R2 looks at its lock rules before it looks at the condition: what is locked is there.
            Err(error) if trace.status == Some(409) && said(&error).starts_with(LOCKED) => match condition {
                Condition::Absent => Ok(Put::Refused),
                _ => Err(self.error(key, &error, &trace)),
            },
            Err(AlreadyExists { .. } | Precondition { .. } | NotModified { .. }) => {
                // The first try may have arrived, and its answer got lost: then what is there is what was sent.
                match trace.unsure {
                    true => self.is_there(key, &content).await,
                    false => Ok(Put::Refused),
                }
            }
            // Real S3: another conditional write of this key was going on at that moment.
            Err(_) if trace.status == Some(409) => Ok(Put::Refused),
            Err(error) if trace.unsure => match self.is_there(key, &content).await {
                Ok(Put::Done(tag)) => Ok(Put::Done(tag)),
                _ => Err(self.error(key, &error, &trace)),
            },
            Err(error) => Err(self.error(key, &error, &trace)),
        }
    }

    async fn is_there(&self, key: &str, content: &Bytes) -> Result<Put, Error> {
        let Some(mut reading) = self.read(key).await? else { return Ok(Put::Refused) };
        let mut left = content.as_ref();
        while let Some(piece) = reading.content.try_next().await? {
            let Some(behind) = left.strip_prefix(piece.as_ref()) else { return Ok(Put::Refused) };
            left = behind;
        }
        Ok(match reading.meta.tag {
            Some(tag) if left.is_empty() => {
                tracing::info!(key, "an answer had got lost; the write had arrived");
                Put::Done(tag)
            }
            _ => Put::Refused,
        })
    }
}

fn is_this_machine(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What the service said, without what the client wrapped around it.
fn said(error: &object_store::Error) -> String {
    let text = chain(error);
    let part = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    match (part("Code"), part("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => text.replace('\n', " "),
    }
}

fn meta(object: ObjectMeta) -> Meta {
    let modified = object.last_modified;
    Meta {
        key: object.location.to_string(),
        size: object.size,
        tag: object.e_tag.map(Tag::new),
        modified: jiff::Timestamp::new(
            modified.timestamp(),
            i32::try_from(modified.timestamp_subsec_nanos()).unwrap_or(0),
        )
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH),
    }
}

impl Blobs for Bucket {
    fn place(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.scheme, self.name)
    }

    fn read<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Reading>, Error>> {
        async move {
            let path = self.path(key)?;
            let (result, trace) = traced(self.store.get(&path)).await;
            let got = match result {
                Ok(got) => got,
                Err(object_store::Error::NotFound { .. }) => return self.nothing(key).await,
                Err(error) => return Err(self.error(key, &error, &trace)),
            };
            let meta = Meta { key: key.to_owned(), ..meta(got.meta.clone()) };
            let place = self.place(key);
            let broken = move |reason: String| Error::Unreachable { place: place.clone(), tries: 1, reason };
            let pieces = got.into_stream();
            let content = futures::stream::try_unfold((pieces, broken), |(mut pieces, broken)| async move {
                match tokio::time::timeout(STALL, pieces.try_next()).await {
                    Ok(Ok(Some(piece))) => Ok(Some((piece, (pieces, broken)))),
                    Ok(Ok(None)) => Ok(None),
                    Ok(Err(error)) => Err(broken(chain(&error))),
                    Err(_) => Err(broken("the content stands still".to_owned())),
                }
            });
            Ok(Some(Reading { meta, content: content.boxed() }))
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Meta>, Error>> {
        async move {
            let path = self.path(key)?;
            let (result, trace) = traced(self.store.head(&path)).await;
            match result {
                Ok(object) => Ok(Some(Meta { key: key.to_owned(), ..meta(object) })),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.error(key, &error, &trace)),
            }
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        content: Bytes,
        condition: &'a Condition,
    ) -> BoxFuture<'a, Result<Put, Error>> {
        self.write(key, content, condition).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str, tag: Option<&'a Tag>) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            let path = self.path(key)?;
            // A bucket answers the same whether there was something or not.
            let there = self.head(key).await?;
            if there.is_none() || (tag.is_some() && there.and_then(|meta| meta.tag).as_ref() != tag) {
                return Ok(false);
            }
            let (result, trace) = traced(self.store.delete(&path)).await;
            match result {
                Ok(()) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(self.error(key, &error, &trace)),
            }
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Meta>, Error>> {
        async move {
            // object_store's prefixes end at a '/'; ours may end inside of a name.
            let below = prefix.rsplit_once('/').map_or("", |(below, _)| below);
            let path = match below {
                "" => None,
                below => Some(self.path(below)?),
            };
            let (result, trace) = traced(self.store.list(path.as_ref()).try_collect::<Vec<_>>()).await;
            let objects = result.map_err(|error| self.error(prefix, &error, &trace))?;
            let mut found: Vec<Meta> =
                objects.into_iter().map(meta).filter(|meta| meta.key.starts_with(prefix)).collect();
            found.sort_by(|one, other| one.key.cmp(&other.key));
            Ok(found)
        }
        .boxed()
    }
}

impl Bucket {
    /// Told that there is no such object: there may be no such bucket either.
    async fn nothing(&self, key: &str) -> Result<Option<Reading>, Error> {
        let path = self.path(key)?;
        let (result, trace) = traced(self.store.list(Some(&path)).try_next()).await;
        match result {
            Err(error) => Err(self.error(key, &error, &trace)),
            Ok(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_bucket_keeps_the_promises_of_a_store() {
        crate::blobs::check(Arc::new(Bucket::in_memory())).await;
    }

    fn service(variables: &[(&str, &str)], scheme: &'static str) -> Result<Service, Error> {
        Service::from_variables(scheme, "r2://states/x", |name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_missing_is_named() {
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s3cret")];
        assert!(service(&keys, "r2").unwrap_err().to_string().contains("AWS_ENDPOINT_URL_S3"));
        assert_eq!(service(&keys, "s3").unwrap().region, "us-east-1");
        let all = [keys.as_slice(), &[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")]].concat();
        let found = service(&all, "r2").unwrap();
        assert_eq!(found.region, "auto");
        assert!(!format!("{found:?}").contains("s3cret"));
        assert!(service(&all[2..], "r2").unwrap_err().to_string().contains("AWS_ACCESS_KEY_ID"));
    }

    #[test]
    fn nothing_goes_over_the_network_in_clear_text() {
        let mut found = service(
            &[
                ("AWS_ACCESS_KEY_ID", "a"),
                ("AWS_SECRET_ACCESS_KEY", "b"),
                ("AWS_ENDPOINT_URL", "http://r2.test"),
            ],
            "r2",
        )
        .unwrap();
        assert_eq!(Bucket::new(&found, "states").unwrap_err().code(), "WL0702");
        found.endpoint = Some("http://127.0.0.1:9000".to_owned());
        assert!(Bucket::new(&found, "states").is_ok());
        found.endpoint = Some("not a url".to_owned());
        assert_eq!(Bucket::new(&found, "states").unwrap_err().code(), "WL0702");
    }

    #[tokio::test]
    async fn keys_that_would_become_others_are_refused() {
        let bucket = Bucket::in_memory();
        for bad in ["", "/a", "a/", "a//b", "../a"] {
            assert_eq!(bucket.get(bad).await.unwrap_err().code(), "WL0701", "{bad}");
        }
    }
}
