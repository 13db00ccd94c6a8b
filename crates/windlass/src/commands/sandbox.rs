//! `windlass sandbox`: stand-ins for what is in the cloud, each a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use secrecy::ExposeSecret;
use serde_json::json;
use windlass_sandbox::r2;

use crate::context::Context;
use crate::failure::{Error, Failure, INTERRUPTED};
use crate::output;
use crate::signals::{End, Signals};

/// Arguments of `windlass sandbox`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Run a local Cloudflare R2
    R2(R2Args),
}

const R2_EXAMPLES: &str = "\
Prints one line when it answers, {\"endpoint\",\"access_key_id\",\"secret_access_key\",\"bucket\",\"admin_url\"}, and runs \
until Ctrl-C or SIGTERM. The keys are made once and kept in the data directory, in the file `credentials`.

With --admin: POST /faults orders a fault, GET /requests says what was asked, PUT /write-interval sets the limit.
    curl -d '{\"method\":\"PUT\",\"key\":\"*.tflock\",\"effect\":\"lose_answer\"}' $ADMIN_URL/faults";

/// Arguments of `windlass sandbox r2`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = R2_EXAMPLES)]
struct R2Args {
    /// Address to listen on, of this machine alone; port 0 is any
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the admin endpoint (faults, limits, the log of requests); without it there is none
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// Where the objects are [default: r2 in the run directory]
    #[arg(long, value_name = "DIR")]
    data_directory: Option<PathBuf>,
    /// Bucket to make where it is missing
    #[arg(long, value_name = "NAME", default_value = "windlass")]
    bucket: String,
    /// Refuse a second write to one key within a second, as R2 does
    #[arg(long)]
    limit_writes: bool,
    /// Leave the keys out of what is printed, where that becomes a log: they are in the file `credentials`
    #[arg(long)]
    hide_keys: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.part {
        Part::R2(args) => run_r2(args, context).await,
    }
}

async fn run_r2(args: R2Args, context: &Context) -> Result<ExitCode, Failure> {
    let mut signals = Signals::take()?;
    let options = r2::Options {
        directory: args.data_directory.unwrap_or_else(|| context.directory.join("r2")),
        listen: args.listen,
        admin: args.admin,
        keys: None,
        bucket: Some(args.bucket.clone()),
        write_interval: args.limit_writes.then_some(r2::R2_WRITE_INTERVAL),
    };
    let service = r2::Service::bind(options).await.map_err(|error| {
        let failure = Failure::new(error.code(), error.to_string(), error.help());
        if error.is_bad_input() { failure.bad_input() } else { failure }
    })?;
    let unknown =
        |cause: std::io::Error| Error::Environment { what: "the listening socket", cause: cause.to_string() };
    let address = service.local_address().map_err(unknown)?;
    let admin = service.admin_address().map_err(unknown)?;
    let mut line = json!({ "endpoint": format!("http://{address}"), "bucket": args.bucket });
    if !args.hide_keys {
        let keys = service.keys();
        line["access_key_id"] = json!(keys.access_key_id);
        // What the stand-in was started for: it opens nothing but what is on this machine already.
        line["secret_access_key"] = json!(keys.secret_access_key.expose_secret());
    }
    if let Some(address) = admin {
        line["admin_url"] = json!(format!("http://{address}"));
    }
    let mut out = output::out();
    writeln!(out, "{line}")?;
    out.flush()?;
    let mut end = End::Terminated;
    service.run(async { end = signals.next().await }).await;
    Ok(match end {
        End::Interrupted => ExitCode::from(INTERRUPTED),
        End::Terminated => ExitCode::SUCCESS,
    })
}
