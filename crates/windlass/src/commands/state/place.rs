//! What the subcommands share: an address with its keys, a question, a progress bar.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use windlass_state::blobs::abort_at;
use windlass_state::keys::{KeySource, Keys};
use windlass_state::location::{Access, Location, Place};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, paint};

/// Ends the process before or after the n-th thing that is done to a store. For tests: what a kill at that instruction does.
const ABORT_AT: &str = "WINDLASS_ABORT_AT_STATE_STEP";

/// An address and the keys to it.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// Where the state is: a file, s3://BUCKET/KEY or r2://BUCKET/KEY
    address: String,
    /// The keys
    #[command(flatten)]
    keys: KeyArgs,
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
    pub fn open(&self) -> Result<Place, Failure> {
        Ok(self.location()?.open(&self.keys.access()?)?)
    }

    /// The address.
    pub fn location(&self) -> Result<Location, Failure> {
        Ok(self.address.parse()?)
    }

    /// Whether the service encrypts.
    pub const fn has_customer_key(&self) -> bool {
        self.keys.sse_c.is_some()
    }
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
