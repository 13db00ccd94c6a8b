//! How a command ends when it does not succeed: a code, what is wrong, what to do, and an exit code.
//!
//! Every crate keeps its own error enum with `code()` and `help()`; a [`Failure`] is the form in which any of them
//! reaches the person (or the script) at the terminal. [`Error`] is this crate's own enum.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::context::Format;
use crate::output;

/// Exit code: something went wrong.
pub const FAILED: u8 = 1;
/// Exit code: the input (arguments, a file) is not usable.
pub const BAD_INPUT: u8 = 3;
/// Exit code: ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Failure(Box<Kind>);

#[derive(Debug)]
enum Kind {
    /// The reader of standard output went away; nothing is left to say.
    BrokenPipe,
    /// Everything was said already; only the exit code is left.
    Told(u8),
    Said {
        code: Cow<'static, str>,
        message: String,
        help: String,
        exit: u8,
    },
}

impl Failure {
    /// A failure with exit code 1: its stable code, what is wrong, and what to do about it.
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self(Box::new(Kind::Said {
            code: code.into(),
            message: message.into(),
            help: help.into(),
            exit: FAILED,
        }))
    }

    /// The same failure, with the exit code for bad input (3).
    pub fn bad_input(self) -> Self {
        self.exit_with(BAD_INPUT)
    }

    /// The same failure, with another exit code.
    pub fn exit_with(mut self, code: u8) -> Self {
        match self.0.as_mut() {
            Kind::Said { exit, .. } | Kind::Told(exit) => *exit = code,
            Kind::BrokenPipe => {}
        }
        self
    }

    /// A failure that the command has already printed by itself.
    pub fn told(exit: u8) -> Self {
        Self(Box::new(Kind::Told(exit)))
    }

    /// The failure's parts: code, message, help, exit code. `None` when there is nothing to say.
    pub fn parts(&self) -> Option<(&str, &str, &str, u8)> {
        match self.0.as_ref() {
            Kind::Said { code, message, help, exit } => Some((code, message, help, *exit)),
            Kind::BrokenPipe | Kind::Told(_) => None,
        }
    }

    /// Prints the failure on standard error and gives the exit code.
    pub fn report(&self, format: Format) -> ExitCode {
        match self.0.as_ref() {
            Kind::BrokenPipe => ExitCode::SUCCESS,
            Kind::Told(exit) => ExitCode::from(*exit),
            Kind::Said { code, message, help, exit } => {
                output::failure(format, code, message, help);
                ExitCode::from(*exit)
            }
        }
    }
}

/// Failures to write a result. A reader that went away (`windlass … | head -1`) is no failure worth a word.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self(Box::new(Kind::BrokenPipe))
        } else {
            Error::Output(error).into()
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.code(), error.to_string(), error.help());
        if error.is_bad_input() { failure.bad_input() } else { failure }
    }
}

/// What can go wrong in the command line and the supervisor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are not understood.
    #[error("{message}")]
    Usage {
        /// What is wrong with them.
        message: String,
        /// What to type instead.
        help: String,
    },
    /// A file named on the command line cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Another `windlass up` holds the directory.
    #[error(
        "windlass is already running in {directory} (pid {pid}, since {since})",
        directory = directory.display()
    )]
    AlreadyRunning {
        /// The run directory.
        directory: PathBuf,
        /// The process that holds it.
        pid: u32,
        /// Since when.
        since: String,
    },
    /// Something in the run directory cannot be created, read or written.
    #[error("cannot {action} {path}: {cause}", path = path.display())]
    Directory {
        /// What was tried: `create`, `write`, `read`, `lock`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A secret's source gives none.
    #[error("the webhook secret cannot be read from {source_name}: {cause}")]
    Secret {
        /// The source, such as `the environment variable X`.
        source_name: String,
        /// Why not.
        cause: String,
    },
    /// `explain` was asked for a code that does not exist.
    #[error("there is no error code {asked}")]
    UnknownCode {
        /// What was asked for.
        asked: String,
        /// The codes nearest to it.
        nearest: Vec<String>,
    },
    /// The result could not be written to standard output.
    #[error("the result could not be written to standard output: {0}")]
    Output(io::Error),
    /// Something that every system provides is not there: a runtime, signals, the path of the executable.
    #[error("cannot set up {what}: {cause}")]
    Environment {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        cause: String,
    },
    /// The fleet file names a place for the state where nothing is, and the state is somewhere else.
    #[error("there is no state in {place}, but there is one in {other}")]
    StateElsewhere {
        /// Where it should be.
        place: String,
        /// Where it is, or was last.
        other: String,
    },
    /// A key of the state cannot be had.
    #[error("a key of the state cannot be taken from {source_name}: {cause}")]
    StateKey {
        /// The source, never the key.
        source_name: String,
        /// Why not.
        cause: String,
    },
    /// The state is in R2, and nothing says where that is.
    #[error("nothing says where {place} is asked: there is no endpoint of R2")]
    NoEndpoint {
        /// The state's place.
        place: String,
    },
    /// There is no state anywhere else that could be moved.
    #[error("there is nothing to move to {place}: no other place of this fleet's state is known")]
    NothingToMove {
        /// Where it would go.
        place: String,
    },
    /// A run was interrupted before it was ready.
    #[error("stopped before everything was ready")]
    Interrupted,
    /// `init` found a file where it would write one.
    #[error("{path} is there already, and was left as it is", path = path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// `init` has questions, and nobody is there to answer them.
    #[error("nobody is there to answer: standard input is no terminal")]
    NobodyAnswers,
    /// `logs` was asked for a part that has none.
    #[error("there is no log of {asked} in {directory}", directory = directory.display())]
    UnknownPart {
        /// What was asked for.
        asked: String,
        /// Where it was looked for.
        directory: PathBuf,
        /// The parts that have logs.
        known: Vec<String>,
    },
    /// There are no logs at all.
    #[error("there are no logs in {directory}", directory = directory.display())]
    NoLogs {
        /// Where they were looked for.
        directory: PathBuf,
    },
    /// `creds` or `nats` was asked for a user that has no credentials file.
    #[error("there are no credentials of {asked} in {directory}", directory = directory.display())]
    UnknownUser {
        /// What was asked for, as ACCOUNT/USER.
        asked: String,
        /// Where they were looked for.
        directory: PathBuf,
        /// Those that there are.
        known: Vec<String>,
    },
    /// No credentials were made yet.
    #[error("no credentials were made in {directory} yet", directory = directory.display())]
    NoCredentials {
        /// Where they would be.
        directory: PathBuf,
    },
    /// No server is there to connect to.
    #[error("no nats-server of this fleet runs in {directory}", directory = directory.display())]
    NoServer {
        /// The run directory.
        directory: PathBuf,
    },
    /// `nats` was asked for a cluster that has no server here.
    #[error("no server of the cluster {asked} runs here")]
    UnknownCluster {
        /// What was asked for.
        asked: String,
        /// The clusters that run.
        known: Vec<String>,
    },
    /// The fleet's edge is in the local Cloudflare, and that does not run.
    #[error("the fleet's edge is in the local Cloudflare at {url}, and that does not run")]
    LocalCloudflareDown {
        /// Its API.
        url: String,
    },
    /// The fleet file has no cluster at Cloudflare.
    #[error("the fleet file has no cluster at Cloudflare")]
    NoEdgeInFile,
    /// The `nats` command line client is not installed.
    #[error("the program `nats`, NATS's own command line client, is not in PATH")]
    NoNatsCli,
    /// The `nats` command line client is there and cannot be started.
    #[error("cannot run {path}: {cause}", path = path.display())]
    NatsCli {
        /// The program.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A month costs more than was allowed.
    #[error("a month costs {total}, which is more than {max}")]
    TooExpensive {
        /// What it costs.
        total: String,
        /// What was allowed.
        max: String,
    },
    /// `cost explain` was asked for a line that no bill has.
    #[error("{}", if *several { format!("{asked} is in the names of several lines") } else { format!("no bill has a line {asked}") })]
    UnknownLine {
        /// Whether it is a part of several names.
        several: bool,
        /// What was asked for.
        asked: String,
        /// The lines that there are.
        known: Vec<String>,
    },
    /// No server answered that could be measured.
    #[error("no server of this fleet answers in {directory}, so there is nothing to measure", directory = directory.display())]
    NothingMeasured {
        /// The run directory.
        directory: PathBuf,
    },
    /// A part of the fleet has no price.
    #[error("what a month costs cannot be said: {what}")]
    NoPrice {
        /// What has none.
        what: String,
    },
}

impl Error {
    /// The stable code, with a page of its name in `docs/errors/`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "WL0401",
            Self::Unreadable { .. } => "WL0402",
            Self::AlreadyRunning { .. } => "WL0403",
            Self::Directory { .. } => "WL0404",
            Self::Secret { .. } => "WL0408",
            Self::UnknownCode { .. } => "WL0411",
            Self::Output(_) => "WL0414",
            Self::Environment { .. } => "WL0415",
            Self::Interrupted => "WL0416",
            Self::StateElsewhere { .. } => "WL0430",
            Self::StateKey { .. } => "WL0431",
            Self::NoEndpoint { .. } => "WL0432",
            Self::NothingToMove { .. } => "WL0433",
            Self::FileExists { .. } => "WL0418",
            Self::NobodyAnswers => "WL0419",
            Self::UnknownPart { .. } => "WL0420",
            Self::NoLogs { .. } => "WL0421",
            Self::UnknownUser { .. } => "WL0422",
            Self::NoCredentials { .. } => "WL0423",
            Self::NoServer { .. } => "WL0424",
            Self::UnknownCluster { .. } => "WL0425",
            Self::NoEdgeInFile => "WL0440",
            Self::LocalCloudflareDown { .. } => "WL0461",
            Self::NoNatsCli => "WL0426",
            Self::NatsCli { .. } => "WL0427",
            Self::TooExpensive { .. } => "WL0435",
            Self::UnknownLine { .. } => "WL0436",
            Self::NothingMeasured { .. } => "WL0437",
            Self::NoPrice { .. } => "WL0438",
        }
    }

    /// Whether the person's input, not the world, is what must change.
    const fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Self::Usage { .. }
                | Self::Unreadable { .. }
                | Self::UnknownCode { .. }
                | Self::StateElsewhere { .. }
                | Self::StateKey { .. }
                | Self::NoEndpoint { .. }
                | Self::NothingToMove { .. }
                | Self::FileExists { .. }
                | Self::NobodyAnswers
                | Self::UnknownPart { .. }
                | Self::UnknownUser { .. }
                | Self::UnknownCluster { .. }
                | Self::NoEdgeInFile
                | Self::UnknownLine { .. }
        )
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Usage { help, .. } => help.clone(),
            Self::Unreadable { .. } => "check the path, and that you may read it".into(),
            Self::AlreadyRunning { directory, .. } => format!(
                "`windlass status{0}` shows it, `windlass down{0}` ends it; another --directory runs beside it",
                directory_flag(directory)
            ),
            Self::Directory { .. } => {
                "check that the directory is yours, writable and has room; --directory puts it elsewhere"
                    .into()
            }
            Self::Secret { .. } => {
                "set the source, or set GITHUB_WEBHOOK_SECRET, or remove github.secret to have one generated"
                    .into()
            }
            Self::UnknownCode { nearest, .. } => {
                format!("nearest: {}; `windlass explain` lists them all", nearest.join(", "))
            }
            Self::Output(_) => "check where standard output goes: is the disk full?".into(),
            Self::Environment { .. } => "`windlass doctor` checks this machine".into(),
            Self::Interrupted => "nothing is left running; run it again".into(),
            Self::StateElsewhere { .. } => {
                "`windlass state move` brings it along, with its history. If it is of no use any more, remove it, and \
                 state-at.json in the run directory"
                    .into()
            }
            Self::StateKey { .. } => {
                "set the source that [state] names; `windlass state rekey` replaces a key of encrypt_with".into()
            }
            Self::NoEndpoint { .. } => {
                "set AWS_ENDPOINT_URL_S3, or [state] endpoint, or the variable of [platforms.cloudflare] account_id; on a \
                 laptop, `windlass up` begins a local R2 with nothing set at all"
                    .into()
            }
            Self::NothingToMove { .. } => "say from where: --from dir:PATH, r2://BUCKET or s3://BUCKET".into(),
            Self::FileExists { .. } => {
                "--force writes over it; --file PATH writes another; `windlass validate` checks what is there"
                    .into()
            }
            Self::NobodyAnswers => {
                "say --yes to take every default, and --name, --servers, --organization for what differs".into()
            }
            Self::UnknownPart { known, .. } => format!("there are: {}", known.join(", ")),
            Self::NoLogs { directory } => starts_it(directory.parent()),
            Self::UnknownUser { known, .. } => format!("there are: {}", known.join(", ")),
            Self::NoCredentials { directory } => starts_it(directory.parent()),
            Self::NoServer { directory } => starts_it(Some(directory)),
            Self::UnknownCluster { known, .. } => format!("these run: {}", known.join(", ")),
            Self::LocalCloudflareDown { .. } => {
                "`windlass up --edge` starts it; `windlass up` takes the edge out of this run".into()
            }
            Self::NoEdgeInFile => {
                "add one such as [clusters.edge] with platform = \"cloudflare\", leaf_of and regions".into()
            }
            Self::NoNatsCli => {
                "install it from https://github.com/nats-io/natscli (Releases), or let a client of yours read \
                 `windlass status --format json`"
                    .into()
            }
            Self::TooExpensive { .. } => {
                "`windlass cost estimate` shows what it is made of, `windlass cost explain LINE` how a line comes about"
                    .into()
            }
            Self::UnknownLine { known, .. } => format!("there are: {}", known.join(", ")),
            Self::NothingMeasured { directory } => starts_it(Some(directory)),
            Self::NoPrice { .. } => {
                "`windlass cost estimate` shows the rest; a price of your own goes into a file (--prices FILE)".into()
            }
            Self::NatsCli { .. } => "check that it is a program for this machine, and that you may run it".into(),
        }
    }
}

fn starts_it(directory: Option<&std::path::Path>) -> String {
    let flag = directory.map(directory_flag).unwrap_or_default();
    format!(
        "`windlass up --detach{flag}` makes and starts the fleet; another fleet is in another --directory"
    )
}

fn directory_flag(directory: &std::path::Path) -> String {
    let default = std::path::absolute(".windlass").ok();
    if default.as_deref() == Some(directory) {
        String::new()
    } else {
        format!(" --directory {}", directory.display())
    }
}
