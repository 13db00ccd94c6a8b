//! `windlass receive`: the webhook receiver as a process of its own.
//!
//! `up` runs it as one part; alone it serves any NATS that has the stream and the bucket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use windlass_events::receiver::{self, Service};
use windlass_events::{publish, spool};

use crate::context::Context;
use crate::failure::{Error, Failure, INTERRUPTED};
use crate::secrets;
use crate::signals::{End, Signals};

const EXAMPLES: &str = "\
Examples:
  windlass receive --nats-url tls://connect.ngs.global --creds github.creds \\
      --secret-file webhook-secret

  Two secrets while one is being rotated, listening for a proxy on the same machine:
      windlass receive --listen 127.0.0.1:9000 --secret-file new --secret-file old

Paths: POST /github for deliveries; GET /healthz, /readyz and /metrics (Prometheus). What is answered when, and \
what arrives in the stream, is written down in docs/events.md.

The stream must exist, with a duplicate window of three days (as long as GitHub can redeliver) and the subjects \
`<prefix>.>`; so must the bucket, for payloads above the claim-check threshold. `windlass up` makes both.";

/// Arguments of `windlass receive`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Address to listen on
    #[arg(long, value_name = "IP:PORT", env = "WINDLASS_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// NATS servers, separated by commas
    #[arg(long, value_name = "URL", env = "NATS_URL", default_value = "nats://127.0.0.1:4222")]
    nats_url: String,
    /// Credentials file for NATS
    #[arg(long, value_name = "FILE", env = "NATS_CREDS")]
    creds: Option<PathBuf>,
    /// Certificate authorities that signed the servers' certificates, PEM [default: the system's]
    #[arg(long, value_name = "FILE", env = "NATS_CA")]
    ca: Option<PathBuf>,
    /// Stream that takes the events
    #[arg(long, value_name = "NAME", env = "WINDLASS_STREAM", default_value = "GITHUB")]
    stream: String,
    /// Object bucket for large payloads
    #[arg(long, value_name = "NAME", env = "WINDLASS_BUCKET", default_value = "GITHUB_PAYLOADS")]
    bucket: String,
    /// File with webhook secrets, one a line; may be given several times
    ///
    /// A delivery is genuine if any of the secrets signed it. To rotate: add the new one, change it at GitHub,
    /// remove the old one.
    #[arg(long, value_name = "FILE", env = "WINDLASS_SECRET_FILE", required = true)]
    secret_file: Vec<PathBuf>,
    /// Where events wait on disk while NATS is away
    #[arg(long, value_name = "DIR", env = "WINDLASS_SPOOL_DIRECTORY")]
    #[arg(long_help = "Where events wait on disk while NATS is away [default: spool in the run directory]")]
    spool_directory: Option<PathBuf>,
    /// How much the spool may hold, such as 512MiB
    #[arg(
        long, value_name = "SIZE", env = "WINDLASS_SPOOL_MAX_SIZE", default_value = "1GiB", value_parser = size
    )]
    spool_max_size: u64,
    /// Payloads above this size go to the bucket; the server's max_payload may lower it
    #[arg(
        long, value_name = "SIZE", env = "WINDLASS_CLAIM_CHECK_ABOVE", default_value = "512KiB", value_parser = size
    )]
    claim_check_above: u64,
    /// Deliveries handled at once; more wait, and are refused after four seconds
    #[arg(long, value_name = "COUNT", env = "WINDLASS_IN_FLIGHT", default_value_t = 4096)]
    in_flight: usize,
    /// Threads that handle deliveries
    ///
    /// Two let one read deliveries while the other hands them to NATS. One does the least work for each; more than two
    /// help where single deliveries are huge.
    #[arg(long, value_name = "COUNT", env = "WINDLASS_THREADS", default_value_t = 2)]
    threads: usize,
    /// First token of every subject
    #[arg(long, value_name = "TOKEN", env = "WINDLASS_SUBJECT_PREFIX", default_value = "github")]
    subject_prefix: String,
}

impl Args {
    /// How many threads the runtime is to have.
    pub fn threads(&self) -> usize {
        self.threads.max(1)
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let mut signals = Signals::take()?;
    let mut secrets = Vec::new();
    for file in &args.secret_file {
        secrets.extend(secrets::read(file)?);
    }
    let options = receiver::Options {
        listen: args.listen,
        secrets,
        subject_prefix: args.subject_prefix,
        nats: publish::Options {
            url: args.nats_url,
            credentials: args.creds,
            authority: args.ca,
            stream: args.stream,
            bucket: args.bucket,
            claim_check_above: usize::try_from(args.claim_check_above).unwrap_or(usize::MAX),
        },
        spool: spool::Options {
            directory: args.spool_directory.unwrap_or_else(|| context.directory.join("spool")),
            max_size: args.spool_max_size,
            segment_size: spool::SEGMENT_SIZE,
        },
        in_flight: args.in_flight,
    };
    let service = Service::bind(options)
        .await
        .map_err(|error| Failure::new(error.code(), error.to_string(), error.help()))?;
    let address = service
        .local_address()
        .map_err(|cause| Error::Environment { what: "the listening socket", cause: cause.to_string() })?;
    tracing::info!(url = %format_args!("http://{address}/github"), "receiving");
    let mut end = End::Terminated;
    service.run(async { end = signals.next().await }).await;
    tracing::info!("stopped");
    Ok(match end {
        End::Interrupted => ExitCode::from(INTERRUPTED),
        End::Terminated => ExitCode::SUCCESS,
    })
}

/// A number of bytes: `1048576`, `512KiB`, `1GiB`, `25MB`.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim())).map(|(_, factor)| factor);
    number
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(*factor))
        .ok_or_else(|| "write it as 1048576, 512KiB or 1GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("512KiB"), Ok(524_288));
        assert_eq!(size("1 GiB"), Ok(1 << 30));
        assert_eq!(size("25mb"), Ok(25_000_000));
        assert_eq!(size("7"), Ok(7));
        for bad in ["", "KiB", "-1", "1.5GiB", "1XB", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
