//! Where the events are: the fleet that runs here, or what the command line names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use secrecy::SecretString;
use windlass_events::consume::Reader;
use windlass_nats::connect;

use super::error::Error;
use crate::context::Context;
use crate::failure::Failure;
use crate::run_directory::RunDirectory;
use crate::run_record::{CLOUDFLARE, NATS, RECEIVER, ReceiverEndpoints, RunRecord};
use crate::secrets;

const DEFAULT_STREAM: &str = "GITHUB";
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The arguments that say where. Without any: the fleet that runs here.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// NATS servers, separated by commas [default: the fleet that runs here]
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
    /// Credentials file for NATS [default: those of the fleet that runs here]
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// Certificate authorities that signed the servers' certificates [default: those of the fleet that runs here]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Stream that has the events [default: that of the fleet that runs here, or GITHUB]
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
}

impl ConnectionArgs {
    /// Connects, and opens the stream.
    pub async fn open(self, context: &Context) -> Result<(Client, Reader), Failure> {
        let run = match &self.nats_url {
            Some(_) => None,
            None => Some(running_nats(context)?),
        };
        let stream = self.stream.or_else(|| run.as_ref().and_then(|run| run.stream.clone()));
        let here = run.and_then(|run| run.endpoints.nats);
        let (url, creds, ca) = match (self.nats_url, here) {
            (Some(url), _) => (url, self.creds, self.ca),
            (None, here) => {
                let here = here.ok_or_else(|| Error::NotRunning { directory: context.directory.clone() })?;
                let ca = self.ca.or_else(|| here.ca_file.map(PathBuf::from));
                (here.url, self.creds.or_else(|| Some(here.creds.into())), ca)
            }
        };
        let client = connect_to(&url, creds.as_deref(), ca).await?;
        let reader = Reader::open(client.clone(), stream.as_deref().unwrap_or(DEFAULT_STREAM)).await?;
        Ok((client, reader))
    }
}

fn running_nats(context: &Context) -> Result<RunRecord, Error> {
    RunRecord::read(&RunDirectory::at(&context.directory))
        .filter(|run| {
            // `nats`, or `nats-hub-0` and so on where there are several.
            run.processes.iter().any(|(part, process)| part.starts_with(NATS) && process.is_alive())
        })
        .ok_or_else(|| Error::NotRunning { directory: context.directory.clone() })
}

async fn connect_to(url: &str, creds: Option<&Path>, ca: Option<PathBuf>) -> Result<Client, Failure> {
    let mut options = match creds {
        Some(creds) => connect::client_options(creds)
            .await
            .map_err(|error| Failure::new(error.code(), error.to_string(), error.help()))?,
        None => ConnectOptions::new(),
    };
    if let Some(ca) = ca {
        options = options.add_root_certificates(ca);
    }
    let servers: Vec<&str> = url.split(',').map(str::trim).collect();
    options
        .name("windlass events")
        .connection_timeout(CONNECT_WITHIN)
        .request_timeout(Some(ANSWER_WITHIN))
        .reconnect_delay_callback(connect::reconnect_delay)
        .event_callback(|event| {
            match event {
                Event::Disconnected => tracing::warn!("NATS went away; waiting for it to come back"),
                Event::SlowConsumer(_) | Event::ServerError(_) => tracing::warn!(%event, "NATS"),
                _ => tracing::debug!(%event, "NATS"),
            }
            std::future::ready(())
        })
        .connect(servers)
        .await
        .map_err(|error| Error::Connect { url: url.to_owned(), cause: error.to_string() }.into())
}

/// The receiver that runs here.
pub fn receiver(context: &Context) -> Option<ReceiverEndpoints> {
    RunRecord::read(&RunDirectory::at(&context.directory))
        .filter(|run| {
            let lives = |part: &str| run.processes.get(part).is_some_and(crate::process::Identity::is_alive);
            lives(RECEIVER) || lives(CLOUDFLARE)
        })
        .and_then(|run| run.endpoints.receiver)
}

/// The secret to sign with: from the file, else from the environment, else that of the fleet that runs here. Of
/// several in a file it is the first: each of them is good.
pub fn secret(file: Option<&Path>, context: &Context) -> Result<SecretString, Failure> {
    let first = |path: &Path| -> Result<SecretString, Failure> {
        secrets::read(path)?.into_iter().next().ok_or_else(|| Error::NoSecret.into())
    };
    if let Some(file) = file {
        return first(file);
    }
    if let Some(secret) = secrets::from_variable()? {
        return Ok(secret);
    }
    match receiver(context) {
        Some(receiver) => first(Path::new(&receiver.secret_file)),
        None => Err(Error::NoSecret.into()),
    }
}
