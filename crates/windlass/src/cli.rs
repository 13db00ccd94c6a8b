//! The command line: what there is, and its documentation.
//!
//! Help is written to be read: `-h` is one screen, `--help` has the whole story with examples. Arguments that make no
//! sense end with exit code 3 like every other bad input, and as JSON where the script asked for JSON.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    agent, apply, certificates, cloudflare, completion, cost, creds, doctor, down, events, explain, image,
    init, logs, nats, plan, receive, sandbox, schema, state, state_records, status, topology, up, validate,
};
use crate::context::{Context, Format};
use crate::failure::{Error, Failure};
use crate::output::{self, Color};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const ABOUT: &str = "Runs NATS for an organization and carries GitHub's events into it, without losing one.";

const LONG_ABOUT: &str = "\
Runs NATS for an organization and carries GitHub's events into it, without losing one.

`windlass up` starts a NATS hub with JetStream and a webhook receiver on this machine, from the fleet file \
windlass.toml or, without one, from a built-in default. GitHub's webhooks, posted to the receiver, are verified \
and stored in the stream GITHUB exactly once, under subjects such as `github.acme.api.push.-`.

Results go to standard output, everything else to standard error. With --format json, results are JSON, and so are \
errors: {\"error\":{\"code\",\"message\",\"help\"}}. Every error has a code; `windlass explain CODE` tells what it \
means and what to do.";

const AFTER_LONG_HELP: &str = "\
Examples:
  Start everything here, and watch events arrive:
      windlass up --detach
      windlass events tail

  Let a script find the addresses:
      windlass up --detach --format json | jq -r .nats.url

  See how it is, and end it (what was stored stays):
      windlass status
      windlass down

Exit codes:
  0    done
  1    failed
  2    changes are present (only where --detailed-exitcode asks for it)
  3    bad input: arguments or a file
  130  interrupted by Ctrl-C";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "windlass",
    bin_name = "windlass",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_long_help = AFTER_LONG_HELP,
    styles = STYLES,
    max_term_width = 100,
    disable_help_subcommand = true,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where a run keeps its data, secrets and logs
    ///
    /// One directory is one run: with another directory, a second Windlass runs beside the first, on ports of its own.
    #[arg(long, global = true, value_name = "DIR", env = "WINDLASS_DIRECTORY", default_value = ".windlass")]
    pub directory: PathBuf,
    /// Environment of the fleet file that is laid over the rest of it
    ///
    /// Its part of the file is [environments.NAME]. Each environment has a directory of its own: see --directory.
    #[arg(long, global = true, value_name = "NAME", env = "WINDLASS_ENVIRONMENT")]
    pub environment: Option<String>,
    /// How to print results: `text` for people, `json` for scripts; `cost` has `markdown` and `csv`, too
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub format: Format,
    /// When to use colour: auto, always or never
    ///
    /// `auto` means on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: Color,
    /// Log more (-v information, -vv debugging); RUST_LOG says it finer
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say less: only results and errors
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,
}

impl Global {
    /// The options in the form that commands use.
    pub fn context(&self) -> Result<Context, Failure> {
        let directory = std::path::absolute(&self.directory).map_err(|cause| Error::Directory {
            action: "find",
            path: self.directory.clone(),
            cause,
        })?;
        let count = |flag: u8| i8::try_from(flag).unwrap_or(i8::MAX);
        let environment = self.environment.clone().filter(|name| !name.is_empty());
        Ok(Context {
            directory,
            environment,
            format: self.format,
            verbosity: count(self.verbose) - count(self.quiet),
        })
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a fleet file to begin with
    #[command(long_about = init::LONG_ABOUT)]
    Init(init::Args),
    /// Start NATS, the receiver and a local R2 on this machine
    #[command(long_about = up::LONG_ABOUT)]
    Up(up::Args),
    /// Stop what `up` started; the data stays
    Down(down::Args),
    /// Show what runs, where, and how it is
    #[command(long_about = status::LONG_ABOUT)]
    Status(status::Args),
    /// Draw the fleet: as the file has it, and as it runs
    #[command(long_about = topology::LONG_ABOUT)]
    Topology(topology::Args),
    /// Print what the agent, the servers and the receiver log
    #[command(long_about = logs::LONG_ABOUT)]
    Logs(logs::Args),
    /// List the users, their rights and their credentials files
    #[command(long_about = creds::LONG_ABOUT)]
    Creds(creds::Args),
    /// Run the `nats` client with this fleet's address and credentials
    #[command(long_about = nats::LONG_ABOUT)]
    Nats(nats::Args),
    /// Show what an apply would do
    #[command(long_about = plan::LONG_ABOUT)]
    Plan(plan::Args),
    /// Say what it costs: compare platforms, estimate this fleet, check a limit
    #[command(long_about = cost::LONG_ABOUT)]
    Cost(cost::Args),
    /// Make the fleet what the file says
    #[command(long_about = apply::LONG_ABOUT)]
    Apply(apply::Args),
    /// Delete everything that was applied
    #[command(long_about = apply::LONG_ABOUT_DESTROY)]
    Destroy(apply::DestroyArgs),
    /// Take what is there already under the fleet file
    Import(state_records::ImportArgs),
    /// Take a resource out of the state; it goes on as it is
    Forget(state_records::ForgetArgs),
    /// Give a resource of the state another name
    Move(state_records::MoveArgs),
    /// Show the fleet's certificates, or change who signs them
    #[command(long_about = certificates::LONG_ABOUT)]
    Certificates(certificates::Args),
    /// Set up, deploy, test and take down the edge at Cloudflare
    #[command(long_about = cloudflare::LONG_ABOUT)]
    Cloudflare(cloudflare::Args),
    /// Keep Terraform's state safe: migrate, verify, restore, encrypt
    State(state::Args),
    /// Watch, send, show and replay GitHub's events
    Events(events::Args),
    /// Build the container image of an edge node, and push it
    Image(image::Args),
    /// Check a fleet file and report every mistake in it
    #[command(long_about = validate::LONG_ABOUT)]
    Validate(validate::Args),
    /// Print the fleet as it is read, with every default
    Show(schema::ShowArgs),
    /// Print the fleet file's JSON Schema, for editors
    Schema(schema::Args),
    /// Check this machine: tools, ports, disk, clock, credentials
    #[command(long_about = doctor::LONG_ABOUT)]
    Doctor(doctor::Args),
    /// Explain an error code
    Explain(explain::Args),
    /// Run the webhook receiver alone, against any NATS
    Receive(receive::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Keep the fleet's parts on this machine running
    #[command(hide = true)]
    Agent(agent::Args),
    /// Run a stand-in for what is in the cloud
    #[command(hide = true)]
    Sandbox(sandbox::Args),
}

/// Parses the arguments. `Err` is the exit code after help, the version or a mistake was printed.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let arguments: Vec<OsString> = arguments.collect();
    // Help and mistakes are printed before there are parsed arguments to ask.
    let color = option(&arguments, "--color");
    output::set_color(match color {
        Some("always") => Color::Always,
        Some("never") => Color::Never,
        _ => Color::Auto,
    });
    let parsed =
        Cli::command().try_get_matches_from(&arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let format = match option(&arguments, "--format") {
            Some("json") => Format::Json,
            _ => Format::Text,
        };
        answer(&error, format)
    })
}

fn answer(error: &clap::Error, format: Format) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away has seen enough.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if format == Format::Text => {
            let _ = error.print();
            ExitCode::from(crate::failure::BAD_INPUT)
        }
        _ => {
            let (message, help) = split(&error.render().to_string());
            Failure::from(Error::Usage { message, help }).report(format)
        }
    }
}

/// Clap's text in our form: the first paragraph says what is wrong, the rest how it is written.
fn split(text: &str) -> (String, String) {
    let text = text.trim().trim_start_matches("error: ");
    let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let rest: Vec<&str> = rest
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .map(|line| line.strip_prefix("tip: ").unwrap_or(line))
        .collect();
    let help = if rest.is_empty() { "`windlass --help` shows what there is".into() } else { rest.join("; ") };
    (message.to_owned(), help)
}

/// The value of a global option, found without understanding the rest.
fn option<'a>(arguments: &'a [OsString], name: &str) -> Option<&'a str> {
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str());
    while let Some(argument) = arguments.next() {
        if argument == name {
            return arguments.next();
        }
        if let Some(value) = argument.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_say_what_and_how() {
        let error = Cli::command().try_get_matches_from(["windlass", "explian"]).unwrap_err();
        let (message, help) = split(&error.render().to_string());
        assert_eq!(message, "unrecognized subcommand 'explian'");
        assert!(help.contains("a similar subcommand exists: 'explain'"), "{help}");
    }

    #[test]
    fn options_are_found_in_both_forms() {
        let arguments = ["windlass", "x", "--format=json", "--color", "never"].map(OsString::from);
        assert_eq!(option(&arguments, "--format"), Some("json"));
        assert_eq!(option(&arguments, "--color"), Some("never"));
        assert_eq!(option(&arguments, "--directory"), None);
    }

    /// The help of every command is a golden file; run the tests with `UPDATE_GOLDEN=1` to take a change over.
    /// `events` documents itself and is tested beside its code.
    #[test]
    fn the_help_is_as_written_down() {
        let mut text = String::new();
        let mut command = Cli::command().term_width(100);
        command.build();
        text.push_str(&format!("# windlass --help\n\n{}\n", command.clone().render_long_help()));
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "events") {
            let name = sub.get_name().to_owned();
            text.push_str(&format!("# windlass {name} --help\n\n{}\n", sub.render_long_help()));
        }
        let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/help.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            golden == text,
            "golden/help.txt differs; look at it after UPDATE_GOLDEN=1 cargo test -p windlass"
        );
    }
}
