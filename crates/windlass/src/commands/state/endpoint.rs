//! What `exec` and `serve` share: the store, the endpoint in front of it, and what Terraform must be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use windlass_state::location::Root;
use windlass_state::serve::{Error, Options, Service};

use super::place::{KeyArgs, local_r2};
use crate::context::Context;
use crate::failure::Failure;
use crate::local_r2::LocalR2;

/// What would lead Terraform past the endpoint, or give it other keys.
pub const UNSET: [&str; 9] = [
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// An endpoint in front of a store.
#[derive(Debug, clap::Args)]
pub struct EndpointArgs {
    /// Where the states are: r2://BUCKET, s3://BUCKET (each with /PREFIX where wanted) or dir:PATH
    #[arg(long, value_name = "STORE")]
    store: String,
    /// Address to listen on, of this machine alone; port 0 is any
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Which of Terraform's backends is told of it
    ///
    /// With s3 and both, the keys of AWS_* are those of the endpoint: a provider of AWS in the same project needs others.
    #[arg(long, value_name = "BACKEND", default_value = "both")]
    backend: Backend,
    /// State of the http backend
    #[arg(long, value_name = "KEY", default_value = "terraform.tfstate")]
    http_state: String,
    /// File that gets a line of JSON for each operation [default: state-audit.jsonl in the run directory]
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// The keys
    #[command(flatten)]
    keys: KeyArgs,
}

/// Terraform's backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// Its S3 backend
    S3,
    /// Its http backend
    Http,
    /// Whichever the project has
    Both,
}

impl EndpointArgs {
    /// Begins to listen, on the port where it was before if any is free to choose.
    pub async fn bind(
        &self,
        before: Option<u16>,
        context: &Context,
    ) -> Result<(Service, Option<LocalR2>), Failure> {
        let mut listen = self.listen;
        if let Some(port) = before.filter(|_| listen.port() == 0) {
            listen.set_port(port);
        }
        let root: Root = self.store.parse()?;
        let local = match &root {
            Root::Bucket { scheme: "r2", bucket, .. } => local_r2(bucket, context)?,
            _ => None,
        };
        let variable = |name: &str| match &local {
            Some(local) => local.variable(name),
            None => std::env::var(name).ok(),
        };
        let (store, prefix) = root.open_with(&self.keys.access()?, variable)?;
        let audit = self.audit.clone().unwrap_or_else(|| context.directory.join("state-audit.jsonl"));
        let options = Options { store, prefix, listen, audit: Some(audit) };
        Ok((Service::bind(options).await?, local))
    }

    /// Whether the variables of AWS are set.
    pub fn has_s3(&self) -> bool {
        self.backend != Backend::Http
    }

    /// The variables with which Terraform finds it.
    pub fn variables(&self, service: &Service) -> BTreeMap<&'static str, String> {
        let mut variables = BTreeMap::new();
        let (id, secret) =
            (&service.keys().access_key_id, service.keys().secret_access_key.expose_secret().to_owned());
        if self.has_s3() {
            variables.insert("AWS_ENDPOINT_URL_S3", service.endpoint());
            variables.insert("AWS_ENDPOINT_URL_STS", service.endpoint());
            variables.insert("AWS_ACCESS_KEY_ID", id.clone());
            variables.insert("AWS_SECRET_ACCESS_KEY", secret.clone());
            variables.insert("AWS_EC2_METADATA_DISABLED", "true".to_owned());
            // Terraform knows no region `auto`; which one it is does not matter here.
            let region =
                std::env::var("AWS_REGION").ok().filter(|region| !matches!(region.as_str(), "" | "auto"));
            variables.insert("AWS_REGION", region.unwrap_or_else(|| "us-east-1".to_owned()));
        }
        if self.backend != Backend::S3 {
            let address = service.http_address(&self.http_state);
            for name in ["TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_UNLOCK_ADDRESS"] {
                variables.insert(name, address.clone());
            }
            variables.insert("TF_HTTP_USERNAME", id.clone());
            variables.insert("TF_HTTP_PASSWORD", secret);
        }
        variables
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.code(), error.to_string(), error.help());
        if error.is_bad_input() { failure.bad_input() } else { failure }
    }
}
