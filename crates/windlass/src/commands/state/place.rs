//! What the subcommands share: an address with its keys, a question, a progress bar.

use std::io::{BufRead, IsTerminal, Write};
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use windlass_state::blobs::abort_at;
use windlass_state::keys::{KeySource, Keys};
use windlass_state::location::{Access, Location, Place};

use super::show::CURRENT;
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::local_r2::LocalR2;
use crate::output::{self, BOLD, paint};
use crate::run_directory::RunDirectory;

/// Ends the process before or after the n-th thing that is done to a store. For tests: what a kill at that instruction does.
const ABORT_AT: &str = "WINDLASS_ABORT_AT_STATE_STEP";

/// An address and the keys to it; without one, the fleet's own state.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// Where the state is: a file, s3://BUCKET/KEY or r2://BUCKET/KEY [default: the fleet's own state]
    address: Option<String>,
    /// How
    #[command(flatten)]
    how: HowArgs,
}

/// An address that is only spoken of, and its keys.
#[derive(Debug, clap::Args)]
pub struct AddressArgs {
    /// Where the state is: a file, s3://BUCKET/KEY or r2://BUCKET/KEY
    address: String,
    /// The keys
    #[command(flatten)]
    keys: KeyArgs,
}

impl AddressArgs {
    /// The address.
    pub fn location(&self) -> Result<Location, Failure> {
        Ok(self.address.parse()?)
    }

    /// Whether the service encrypts.
    pub const fn has_customer_key(&self) -> bool {
        self.keys.sse_c.is_some()
    }
}

/// How a state is reached.
#[derive(Debug, clap::Args)]
pub struct HowArgs {
    /// Fleet file whose own state is meant where no address is given [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The keys
    #[command(flatten)]
    keys: KeyArgs,
}

/// A state that is open.
pub struct Opened {
    /// Where it is.
    pub place: Place,
    /// The fleet whose own state it is, if it was asked for as such.
    pub session: Option<Session>,
    /// Serves it, where nothing says where R2 is.
    _local_r2: Option<LocalR2>,
}

impl Deref for Opened {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

/// The keys of encrypted states.
#[derive(Debug, Clone, clap::Args)]
pub struct KeyArgs {
    /// Key of what is encrypted in buckets: env:NAME, file:PATH or command:PROGRAM
    ///
    /// An age identity (AGE-SECRET-KEY-1…, as age-keygen makes them) or a passphrase of 16 characters and more. Given
    /// several times, the first encrypts and each decrypts. Files of this machine stay as Terraform reads them.
    #[arg(long, value_name = "SOURCE")]
    key: Vec<KeySource>,
    /// Key with which the service itself encrypts (SSE-C), 32 bytes in base64: env:NAME, file:PATH or command:PROGRAM
    #[arg(long, value_name = "SOURCE")]
    sse_c: Option<KeySource>,
}

/// Which workspace of Terraform's.
#[derive(Debug, Clone, clap::Args)]
pub struct WorkspaceArgs {
    /// Workspace of Terraform's
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub workspace: String,
}

/// How long to wait for a lock.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct WaitArgs {
    /// How many seconds to wait for whoever holds the lock
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    lock_timeout: u64,
}

impl WaitArgs {
    /// How long.
    pub const fn wait(self) -> Duration {
        Duration::from_secs(self.lock_timeout)
    }
}

impl PlaceArgs {
    /// Opens it.
    pub fn open(&self, context: &Context) -> Result<Opened, Failure> {
        self.how.open(self.address.as_deref(), context)
    }
}

impl HowArgs {
    /// Opens an address; without one, the fleet's own state.
    pub fn open(&self, address: Option<&str>, context: &Context) -> Result<Opened, Failure> {
        let Some(address) = address else {
            if !self.keys.key.is_empty() || self.keys.sse_c.is_some() {
                let message = "--key and --sse-c belong to an address";
                let help = "the keys of the fleet's own state are [state] encrypt_with in the fleet file";
                return Err(Failure::new("WL0401", message, help).bad_input());
            }
            let session = Session::open(&Source::find(self.file.as_deref())?, context)?;
            let store = session.store()?;
            let place = Place::on(store.kept().clone(), store.key());
            return Ok(Opened { place, session: Some(session), _local_r2: None });
        };
        let (place, local_r2) = open_location(&address.parse()?, &self.keys.access()?, context)?;
        Ok(Opened { place, session: None, _local_r2: local_r2 })
    }
}

/// Opens an address: with nothing set for R2, in the local R2 of the run directory, if there is one.
pub fn open_location(
    location: &Location,
    access: &Access,
    context: &Context,
) -> Result<(Place, Option<LocalR2>), Failure> {
    let local = match location {
        Location::Bucket { scheme: "r2", bucket, .. } => local_r2(bucket, context)?,
        _ => None,
    };
    let variable = |name: &str| match &local {
        Some(local) => local.variable(name),
        None => std::env::var(name).ok(),
    };
    Ok((location.open_with(access, variable)?, local))
}

/// The local R2 of the run directory, where nothing is set for another one.
pub fn local_r2(bucket: &str, context: &Context) -> Result<Option<LocalR2>, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let local = LocalR2::where_nothing_is_set(&directory, bucket)?;
    if local.is_some() && !context.quiet() {
        let path = directory.r2();
        output::note(&format!("this is the local R2 in {}, as no endpoint of R2 is set", path.display()));
    }
    Ok(local)
}

/// Whether a word names a version, and not an address: `current`, a serial, or `SERIAL-DIGEST`.
pub fn is_version(word: &str) -> bool {
    let (serial, digest) = word.split_once('-').unwrap_or((word, "0"));
    let is_number = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit());
    let is_digest = !digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    word == CURRENT || (is_number && is_digest && !std::path::Path::new(word).exists())
}

impl KeyArgs {
    /// Fetches the keys.
    pub fn access(&self) -> Result<Access, Failure> {
        let customer_key = self.sse_c.as_ref().map(KeySource::fetch).transpose()?;
        let probe = std::env::var(ABORT_AT).ok().and_then(|at| at.parse().ok()).map(abort_at);
        Ok(Access { keys: Keys::fetch(&self.key)?, customer_key, probe })
    }
}

/// Asks, unless that was answered with `--yes`.
pub fn confirm(question: &str, yes: bool, context: &Context) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let refuse = |message: &str| {
        Failure::new("WL0731", message, "look with --dry-run where there is one, then say --yes").bad_input()
    };
    if context.json() || !std::io::stdin().is_terminal() {
        return Err(refuse("nobody is there to say yes"));
    }
    write!(output::err(), "{} Only `yes` is taken for it: ", paint(BOLD, question))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(refuse("not confirmed, so nothing was done")) }
}

/// Ends when Ctrl-C is pressed. Where it cannot be caught, it ends the process by itself.
pub async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A line that says what is going on; nothing where nobody looks.
pub fn progress(context: &Context) -> ProgressBar {
    if context.quiet() || context.json() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Bytes as people say them.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The beginning of a digest, enough to name it.
pub fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
