//! `windlass nats`: NATS's own command line client, told where this fleet is and who one is.
//!
//! This process becomes the client (exec), so that signals, the terminal and the exit code are the client's own. Address
//! and credentials go into its environment: what is written on its command line is stronger.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use windlass_engine::wanted::ADMIN;
use windlass_platforms::self_hosted::logs::cluster_of;
use windlass_platforms::self_hosted::part::{Kind, Places, Status};

use super::creds;
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::run_directory::{RunDirectory, read_json};
use crate::run_record::{RunRecord, reachable};

/// The program.
const PROGRAM: &str = "nats";
/// Its option to leave the selected context alone.
const NO_CONTEXT: &str = "--no-context";
/// What would be in the way of this fleet's address and credentials.
const OTHERS: [&str; 9] = [
    "NATS_CONTEXT",
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_TOKEN",
    "NATS_NKEY",
    "NATS_CERT",
    "NATS_KEY",
    "NATS_JWT",
    "NATS_SEED",
];

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Run the `nats` client with this fleet's address and credentials.

Everything behind `--` is for NATS's own command line client, the program `nats` in PATH. It finds the fleet through its \
environment: NATS_URL has every server of the cluster, NATS_CREDS the user's credentials file, and NATS_CA the fleet's \
certificate authority where it has one. Where a context was selected with `nats context select`, it is told to leave that \
alone (--no-context). Its exit code is this command's.

Without --account it is the account of GitHub's events; without --user, `admin`, who may do everything in the account. \
The account SYS is the servers' own.";

const EXAMPLES: &str = "\
Examples:
  windlass nats -- stream ls
  windlass nats -- sub 'github.>'
  windlass nats --user workers -- consumer next GITHUB workers
  windlass nats --account SYS -- server list
  windlass nats --cluster west -- rtt";

/// Arguments of `windlass nats`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Account [default: that of GitHub's events]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// User of the account
    #[arg(long, value_name = "USER", default_value = ADMIN)]
    user: String,
    /// Cluster to connect to [default: that of `nats.url` in `windlass status`]
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Arguments of `nats`
    #[arg(last = true, value_name = "ARGUMENTS", required = true)]
    arguments: Vec<OsString>,
}

/// Runs the command. It returns only when it could not become the other program.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let record = RunRecord::read(&directory);
    let status: Status = read_json(&Places::at(directory.root()).status()).unwrap_or_default();
    let urls = urls(&status, args.cluster.as_deref(), &directory)?;
    let main = || {
        let creds = PathBuf::from(record?.endpoints.nats?.creds);
        Some(creds.parent()?.file_name()?.to_str()?.to_owned())
    };
    let account = match args.account {
        Some(account) => account,
        None => main().unwrap_or_else(|| windlass_engine::wanted::DEFAULT_ACCOUNT.to_owned()),
    };
    let holder = creds::find(context, &format!("{account}/{}", args.user))?;
    let program = in_path(std::env::var_os("PATH")).ok_or(Error::NoNatsCli)?;
    let mut command = Command::new(&program);
    let has_context = |argument: &OsString| {
        argument.to_str().is_some_and(|text| text.starts_with("--context") || text == NO_CONTEXT)
    };
    if context_is_selected() && !args.arguments.iter().any(has_context) {
        command.arg(NO_CONTEXT);
    }
    command.args(args.arguments).env("NATS_URL", urls).env("NATS_CREDS", holder.file);
    for name in OTHERS {
        command.env_remove(name);
    }
    let authority = directory.root().join("tls").join("ca.crt");
    if authority.is_file() {
        command.env("NATS_CA", authority);
    } else {
        command.env_remove("NATS_CA");
    }
    let cause = command.exec();
    Err(Error::NatsCli { path: program, cause }.into())
}

/// The addresses for clients of every server of a cluster, as the client takes them.
fn urls(status: &Status, cluster: Option<&str>, directory: &RunDirectory) -> Result<String, Error> {
    let servers =
        || status.parts.values().map(|running| &running.part).filter(|part| part.kind == Kind::Server);
    let cluster_of = |name: &str| cluster_of(name).unwrap_or(name).to_owned();
    let Some(first) = servers().next() else {
        return Err(Error::NoServer { directory: directory.root().to_owned() });
    };
    let cluster = cluster.map_or_else(|| cluster_of(&first.name), str::to_owned);
    let urls: Vec<String> = servers()
        .filter(|part| cluster_of(&part.name) == cluster)
        .filter_map(|part| {
            let scheme = if part.loaded.tls { "tls" } else { "nats" };
            Some(format!("{scheme}://{}", reachable(*part.listens.first()?)))
        })
        .collect();
    if urls.is_empty() {
        let mut known: Vec<String> = servers().map(|part| cluster_of(&part.name)).collect();
        known.dedup();
        return Err(Error::UnknownCluster { asked: cluster, known });
    }
    Ok(urls.join(","))
}

/// Whether the client would also take what a context says that was selected with `nats context select`: a user and a
/// password in it go before credentials.
fn context_is_selected() -> bool {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let selected = config.or_else(home).map(|config| config.join("nats").join("context.txt"));
    selected.and_then(|file| std::fs::read_to_string(file).ok()).is_some_and(|name| !name.trim().is_empty())
}

/// The program in PATH.
fn in_path(path: Option<OsString>) -> Option<PathBuf> {
    let can_be_run = |file: &Path| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path?).map(|directory| directory.join(PROGRAM)).find(|file| can_be_run(file))
}
