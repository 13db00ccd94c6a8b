//! `windlass init`: a fleet file to begin with.
//!
//! The questions are asked one at a time, each with the answer that Enter gives; an answer that cannot stand in the file is
//! refused with the reason, and asked for again. What was said with a flag is not asked.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use windlass_fleet::{Answers, Mistakes, starter};

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_file;
use crate::output::{self, BOLD, CYAN, DIM, GREEN, YELLOW, paint};
use crate::run_directory::replace;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Write a fleet file to begin with.

Asks what the fleet is to be, with an answer that Enter gives, and writes windlass.toml: commented, valid, and as short as \
it can be. What a flag says is not asked; with --yes nothing is. A file that is there already is left alone, unless \
--force is given.";

const EXAMPLES: &str = "\
Examples:
  windlass init
  windlass init --yes --name acme --servers 3 --organization acme
  windlass init --yes --no-github --file staging.toml
  windlass init && windlass up --detach

Exit code 0: the file is written. 3: it is there already, or an answer cannot stand in it.";

/// Arguments of `windlass init`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The fleet's name [default: the current directory's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Servers of the cluster: 1, 3 or 5 [default: 1]
    #[arg(long, value_name = "COUNT")]
    servers: Option<u32>,
    /// Address that servers listen on; 0.0.0.0 is the network [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    host: Option<IpAddr>,
    /// Organization at GitHub whose events are taken
    #[arg(long, value_name = "ORGANIZATION")]
    organization: Option<String>,
    /// Take no events from GitHub
    #[arg(long, conflicts_with = "organization")]
    no_github: bool,
    /// Environments, separated by commas; '' for none [default: development,production]
    #[arg(long, value_name = "NAMES")]
    environments: Option<String>,
    /// Ask nothing; take the defaults for what no flag says
    #[arg(short, long)]
    yes: bool,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "windlass.toml")]
    file: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    if !args.force && args.file.symlink_metadata().is_ok() {
        return Err(Error::FileExists { path: args.file }.into());
    }
    let mut answers = Answers { name: name_of_here(), ..Answers::default() };
    let asks = !args.yes && !context.json();
    let said = said(&args, &mut answers);
    if asks {
        if !io::stdin().is_terminal() {
            return Err(Error::NobodyAnswers.into());
        }
        ask(&said, &mut answers, &mut io::stdin().lock(), &mut output::err())?;
    }
    let text = starter(&answers);
    let name = args.file.display().to_string();
    let fleet = windlass_fleet::parse(&text, &name).map_err(|mistakes| refused(&mistakes))?;
    write(&args.file, &text, args.force)?;
    if context.json() {
        output::json(&json!({ "file": args.file, "name": fleet.name() }))?;
    } else if !context.quiet() {
        let mut out = output::out();
        writeln!(out, "{} {name}: {}", paint(GREEN, "wrote"), fleet_file::summary(&fleet))?;
        let flag =
            if args.file == Path::new("windlass.toml") { String::new() } else { format!(" --file {name}") };
        let next = [("look at what it would do", "plan"), ("make it so", "up --detach")];
        for (what, command) in next {
            writeln!(
                out,
                "  {:<40}  {}",
                paint(CYAN, format!("windlass {command}{flag}")),
                paint(DIM, what)
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What flags have said; it is not asked.
#[derive(Default)]
struct Said {
    name: bool,
    servers: bool,
    host: bool,
    github: bool,
    environments: bool,
}

fn said(args: &Args, answers: &mut Answers) -> Said {
    if let Some(name) = &args.name {
        answers.name.clone_from(name);
    }
    answers.servers = args.servers.unwrap_or(answers.servers);
    answers.host = args.host.unwrap_or(answers.host);
    answers.organization.clone_from(&args.organization);
    answers.github = !args.no_github;
    if let Some(names) = &args.environments {
        answers.environments = names_of(names);
    }
    Said {
        name: args.name.is_some(),
        servers: args.servers.is_some(),
        host: args.host.is_some(),
        github: args.no_github || args.organization.is_some(),
        environments: args.environments.is_some(),
    }
}

fn names_of(text: &str) -> Vec<String> {
    let words = text.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "none");
    let mut names: Vec<String> = Vec::new();
    for word in words {
        if names.iter().all(|name| name != word) {
            names.push(word.to_owned());
        }
    }
    names
}

/// Asks for what was not said.
fn ask(
    said: &Said,
    answers: &mut Answers,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut question = |answers: &mut Answers,
                        what: &str,
                        default: String,
                        set: &dyn Fn(&mut Answers, &str) -> Result<(), String>|
     -> Result<(), Failure> {
        loop {
            write!(out, "{} {}: ", paint(BOLD, what), paint(DIM, format!("[{default}]")))?;
            out.flush()?;
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                writeln!(out)?;
                return Err(Error::NobodyAnswers.into());
            }
            let answer = if line.trim().is_empty() { default.as_str() } else { line.trim() };
            let mut next = answers.clone();
            let fits = set(&mut next, answer).and_then(|()| {
                windlass_fleet::parse(&starter(&next), "").map(drop).map_err(|mistakes| first(&mistakes))
            });
            match fits {
                Ok(()) => {
                    *answers = next;
                    return Ok(());
                }
                Err(reason) => writeln!(out, "  {}", paint(YELLOW, reason))?,
            }
        }
    };
    if !said.name {
        let default = answers.name.clone();
        question(answers, "The fleet's name", default, &|answers, text| {
            answers.name = text.to_owned();
            Ok(())
        })?;
    }
    if !said.host {
        let what = "Where it runs: on this machine, listening on (0.0.0.0 for the network)";
        question(answers, what, answers.host.to_string(), &|answers, text| {
            answers.host = text.parse().map_err(|_| "write an IP address, such as 127.0.0.1 or 0.0.0.0")?;
            Ok(())
        })?;
    }
    if !said.servers {
        let what = "Servers: 1, or 3 so that one may fail, or 5 so that two may";
        question(answers, what, answers.servers.to_string(), &|answers, text| {
            answers.servers = text.parse().map_err(|_| "write 1, 3 or 5")?;
            Ok(())
        })?;
    }
    if !said.github {
        let what =
            "Organization at GitHub whose events are taken (`none` for none, `later` for a name later)";
        question(answers, what, "later".to_owned(), &|answers, text| {
            answers.github = text != "none";
            answers.organization = (!["none", "later"].contains(&text)).then(|| text.to_owned());
            Ok(())
        })?;
    }
    if !said.environments {
        let what = "Environments, separated by commas (`none` for none)";
        question(answers, what, answers.environments.join(","), &|answers, text| {
            answers.environments = names_of(text);
            Ok(())
        })?;
    }
    Ok(())
}

/// The first mistake in a few words: what is wrong, and what would be right.
fn first(mistakes: &Mistakes) -> String {
    mistakes.as_slice().first().map(|one| format!("{}; {}", one.problem, one.remedy)).unwrap_or_default()
}

/// An answer that a flag gave cannot stand in the file.
fn refused(mistakes: &Mistakes) -> Failure {
    let first = mistakes.as_slice().first();
    let (problem, remedy) =
        first.map(|one| (one.problem.to_string(), one.remedy.to_string())).unwrap_or_default();
    Error::Usage { message: problem, help: remedy }.into()
}

/// The current directory's name, made into one that a fleet can have.
fn name_of_here() -> String {
    let here = std::env::current_dir().ok();
    let name = here.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    fleet_name(name)
}

fn fleet_name(text: &str) -> String {
    let mut name = String::new();
    for character in text.to_lowercase().chars() {
        let good = character.is_ascii_lowercase() || character.is_ascii_digit();
        if good {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(40);
    let name = name.trim_matches('-').to_owned();
    let fits = |name: &str| {
        let answers = Answers { name: name.to_owned(), ..Answers::default() };
        windlass_fleet::parse(&starter(&answers), "").is_ok()
    };
    if fits(&name) { name } else { Answers::default().name }
}

/// Writes the file whole or not at all; a file that has come meanwhile is left alone.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Error> {
    let failed = |cause| Error::Directory { action: "write", path: path.to_owned(), cause };
    if force {
        return replace(path, text.as_bytes(), 0o644);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|cause| {
        if cause.kind() == io::ErrorKind::AlreadyExists {
            Error::FileExists { path: path.to_owned() }
        } else {
            failed(cause)
        }
    })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|cause| {
        let _ = std::fs::remove_file(path);
        failed(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(input: &str) -> (Answers, String) {
        let mut answers = Answers::default();
        let mut out = Vec::new();
        ask(&Said::default(), &mut answers, &mut input.as_bytes(), &mut out).unwrap();
        (answers, anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string())
    }

    #[test]
    fn enter_takes_what_is_offered() {
        let (answers, said) = asked("\n\n\n\n\n");
        assert_eq!(answers, Answers::default());
        assert!(said.starts_with("The fleet's name [acme]: "), "{said}");
    }

    #[test]
    fn an_answer_that_does_not_fit_is_asked_for_again() {
        let (answers, said) =
            asked("Not A Name\nshop\nhere\n0.0.0.0\n2\n3\nno one!\nacme-inc\nstaging, staging,dev\n");
        assert_eq!((answers.name.as_str(), answers.servers), ("shop", 3));
        assert_eq!(answers.host, IpAddr::from([0, 0, 0, 0]));
        assert_eq!(answers.organization.as_deref(), Some("acme-inc"));
        assert_eq!(answers.environments, ["staging", "dev"]);
        assert!(said.contains("2 servers: decisions need a majority"), "{said}");
    }

    #[test]
    fn nobody_answers_is_an_error() {
        let failure =
            ask(&Said::default(), &mut Answers::default(), &mut "shop\n".as_bytes(), &mut Vec::new())
                .unwrap_err();
        assert_eq!(failure.parts().unwrap().0, "WL0419");
    }

    #[test]
    fn a_directorys_name_becomes_a_fleets() {
        assert_eq!(fleet_name("My Shop_2"), "my-shop-2");
        assert_eq!(fleet_name("--"), "acme");
        assert_eq!(fleet_name(".tmpA"), "tmpa");
    }
}
