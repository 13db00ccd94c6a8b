//! `windlass sandbox`: stand-ins for what is in the cloud, each a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use secrecy::ExposeSecret;
use serde_json::json;
use windlass_sandbox::cloudflare::{api, engine};
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
    /// Run a local Cloudflare: its API, the Workers uploaded to it, their containers and R2
    Cloudflare(Box<CloudflareArgs>),
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

const CLOUDFLARE_EXAMPLES: &str = "\
Prints one line when it answers, {\"api_url\",\"account_id\",\"api_token\",\"worker_url\",\"registry\",\"r2\",\"admin_url\"}, and runs \
until Ctrl-C or SIGTERM. Account and token are made once and kept in the data directory, in the file `credentials`.

    export CLOUDFLARE_API_BASE_URL=$API_URL CLOUDFLARE_ACCOUNT_ID=$ACCOUNT_ID CLOUDFLARE_API_TOKEN=$API_TOKEN
    wrangler deploy && curl $WORKER_URL
    CLOUDFLARE_CONTAINER_REGISTRY=$REGISTRY windlass image push registry.cloudflare.com/nats:2.15.1

Workers run in workerd: WINDLASS_WORKERD, or `workerd` on the path. With several of them, `Host` says which one is meant:
NAME.anything, a custom domain or a route.

With --admin: POST /faults orders a fault, PATCH /switches sets limits and quotas, POST /tokens makes a token with few \
permissions, GET /requests says what was asked.
    curl -d '{\"method\":\"PUT\",\"key\":\"accounts/*/workers/*\",\"effect\":{\"error\":503}}' $ADMIN_URL/faults";

/// Arguments of `windlass sandbox cloudflare`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = CLOUDFLARE_EXAMPLES)]
struct CloudflareArgs {
    /// Address of the API, of this machine alone; port 0 is any
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the Workers
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    worker_listen: SocketAddr,
    /// Address of the S3 API
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    r2_listen: SocketAddr,
    /// Address of the container registry
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    registry_listen: SocketAddr,
    /// Address of the admin endpoint (faults, limits, tokens, the log of requests); without it there is none
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// Where everything is kept [default: cloudflare in the run directory]
    #[arg(long, value_name = "DIR")]
    data_directory: Option<PathBuf>,
    /// What a container image stands for: its unpacked root file system; may be given several times
    #[arg(long, value_name = "REFERENCE=DIR", value_parser = image)]
    image: Vec<(String, PathBuf)>,
    /// OCI layout with the images that are run, or a directory of such [default: images in the run directory]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Where the objects of R2 are kept [default: below the data directory]
    #[arg(long, value_name = "DIR")]
    r2_directory: Option<PathBuf>,
    /// The account's domain below workers.dev, where it has none [default: none, as a new account]
    #[arg(long, value_name = "NAME")]
    subdomain: Option<String>,
    /// Keep what is uploaded, and run nothing
    #[arg(long)]
    no_workers: bool,
    /// Begin with this fault or limit; may be given several times
    #[arg(long, value_name = "NAME", value_parser = ["rate-limit", "server-errors", "stale-rollouts", "never-healthy", "crash-at-start"])]
    fault: Vec<String>,
    /// Leave token and keys out of what is printed, where that becomes a log: they are in the file `credentials`
    #[arg(long)]
    hide_keys: bool,
}

fn image(text: &str) -> Result<(String, PathBuf), String> {
    let (reference, directory) = text.rsplit_once('=').ok_or("REFERENCE=DIR is needed")?;
    Ok((reference.to_owned(), PathBuf::from(directory)))
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match args.part {
        Part::Cloudflare(args) => run_cloudflare(*args, context).await,
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
        sessions: None,
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

fn failure(error: &api::Error) -> Failure {
    let failure = Failure::new(error.code(), error.to_string(), error.help());
    if error.is_bad_input() { failure.bad_input() } else { failure }
}

async fn run_cloudflare(args: CloudflareArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut signals = Signals::take()?;
    let data = args.data_directory.clone().unwrap_or_else(|| context.directory.join("cloudflare"));
    let layouts = args.images.clone().unwrap_or_else(|| context.directory.join("images"));
    let images = engine::Images::new().layouts(&layouts, &data.join("images"));
    for (reference, root) in &args.image {
        images.insert(reference, engine::Image { root: root.clone(), config: engine::Config::default() });
    }
    let asked = |name: &str| args.fault.iter().any(|fault| fault == name);
    let switches = api::Switches {
        rate_limit: asked("rate-limit").then_some(api::rate::LIMIT),
        stale_rollouts: asked("stale-rollouts"),
        ..api::Switches::default()
    };
    let options = api::Options {
        listen: args.listen,
        worker_listen: args.worker_listen,
        r2_listen: args.r2_listen,
        registry_listen: args.registry_listen,
        admin: args.admin,
        images,
        run_workers: !args.no_workers,
        switches,
        r2_directory: args.r2_directory.clone(),
        subdomain: args.subdomain.clone(),
        ..api::Options::new(data)
    };
    let service = api::Service::bind(options).await.map_err(|error| failure(&error))?;
    if asked("server-errors") {
        // Every third request, for as long as it runs.
        service.inject(api::Fault {
            method: None,
            key: None,
            skip: 2,
            times: u64::MAX,
            effect: api::Effect::Error(503),
        });
    }
    for (name, effect) in
        [("never-healthy", engine::Effect::NeverHealthy), ("crash-at-start", engine::Effect::CrashAtStart)]
    {
        if asked(name) {
            service.with_engine(|engine| engine.inject(engine::Fault::always(effect)));
        }
    }
    let unknown =
        |cause: std::io::Error| Error::Environment { what: "the listening socket", cause: cause.to_string() };
    let addresses = service.addresses().map_err(unknown)?;
    let endpoint = |jurisdiction: &str| addresses.r2.get(jurisdiction).cloned().unwrap_or_default();
    let mut r2 = json!({ "endpoint": endpoint("default"), "jurisdictions": addresses.r2 });
    let mut line = json!({
        "api_url": addresses.api_url,
        "account_id": addresses.account.id,
        "worker_url": addresses.worker_url,
        "registry": addresses.registry,
    });
    if !args.hide_keys {
        // What the stand-in was started for: it opens nothing but what is on this machine already.
        line["api_token"] = json!(addresses.account.token.expose_secret());
        r2["access_key_id"] = json!(addresses.r2_keys.access_key_id);
        r2["secret_access_key"] = json!(addresses.r2_keys.secret_access_key.expose_secret());
    }
    line["r2"] = r2;
    if let Some(url) = addresses.admin_url {
        line["admin_url"] = json!(url);
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
