//! `windlass creds`: who may connect, what they may do, and where their credentials are.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use windlass_nats::creds::{self, Holder};
use windlass_nats::jwt;
use windlass_nats::rights::Rights;

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::output;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
List the users, their rights and their credentials files.

With ACCOUNT/USER it prints the path of that user's file alone, for any NATS client. What a user may do is read from the \
token in the file, so it is what the servers go by. Nothing secret is printed, unless --show asks for the file's content.

The user `admin` of an account may do everything in it; SYS/admin may look after the servers themselves.";

const EXAMPLES: &str = "\
Examples:
  windlass creds
  nats --creds $(windlass creds GITHUB/admin) stream ls
  windlass creds --format json | jq -r '.[] | select(.account == \"GITHUB\") | .creds'
  windlass creds GITHUB/workers --show | kubectl create secret generic nats --from-file=creds=/dev/stdin";

/// Arguments of `windlass creds`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The user; without one, all are listed
    #[arg(value_name = "ACCOUNT/USER")]
    user: Option<String>,
    /// Print the file's content, which is secret
    #[arg(long, requires = "user")]
    show: bool,
}

/// Runs the command.
#[allow(clippy::needless_pass_by_value)] // All commands take their arguments by value.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let mut out = output::out();
    let Some(asked) = args.user else {
        let holders = all(context)?;
        if context.json() {
            let list: Vec<Value> = holders.iter().map(|holder| described(holder, &rights(holder))).collect();
            output::json(&list)?;
        } else {
            let row = |holder: &Holder| {
                let rights =
                    rights(holder).map_or_else(|| "its token is unreadable".into(), |one| one.in_short());
                [name(holder), holder.file.display().to_string(), rights]
            };
            let rows: Vec<[String; 3]> = holders.iter().map(row).collect();
            output::table(&mut out, &rows)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let holder = find(context, &asked)?;
    if args.show {
        out.write_all(&read(&holder.file)?)?;
    } else if context.json() {
        output::json(&described(&holder, &rights(&holder)))?;
    } else {
        writeln!(out, "{}", holder.file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everyone who has credentials.
pub fn all(context: &Context) -> Result<Vec<Holder>, Error> {
    let directory = context.directory.join("creds");
    let holders = creds::holders(&directory);
    if holders.is_empty() {
        return Err(Error::NoCredentials { directory });
    }
    Ok(holders)
}

/// The user that is called ACCOUNT/USER.
pub fn find(context: &Context, asked: &str) -> Result<Holder, Error> {
    let mut holders = all(context)?;
    match holders.iter().position(|holder| name(holder) == asked) {
        Some(at) => Ok(holders.swap_remove(at)),
        None => Err(Error::UnknownUser {
            asked: asked.to_owned(),
            directory: context.directory.join("creds"),
            known: holders.iter().map(name).collect(),
        }),
    }
}

fn name(holder: &Holder) -> String {
    format!("{}/{}", holder.account, holder.user)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|cause| Error::Directory { action: "read", path: file.to_owned(), cause })
}

/// What the token in the file says; `None` where there is none that can be read.
fn rights(holder: &Holder) -> Option<Rights> {
    let text = String::from_utf8(read(&holder.file).ok()?).ok()?;
    Some(Rights::of(&jwt::decode(creds::token(&text)?).ok()?.claims))
}

fn described(holder: &Holder, rights: &Option<Rights>) -> Value {
    json!({
        "account": holder.account,
        "user": holder.user,
        "creds": holder.file,
        "rights": rights.as_ref().map(Rights::in_short),
        "permissions": rights,
    })
}
