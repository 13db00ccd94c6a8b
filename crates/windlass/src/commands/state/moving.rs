//! `windlass state move`: the fleet's own state goes where the fleet file says.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use windlass_engine::store::Store as _;

use super::own::stopped;
use super::place::{WaitArgs, confirm, interrupted, progress};
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::output::{self, GREEN, paint};
use crate::own_state::{Address, absolute};

const EXAMPLES: &str = "\
For after `[state] store` was changed: brings the state with its whole history from where it was, and leaves a note there, so \
that whoever still has the old fleet file is told and changes nothing. Both places are locked meanwhile. Killed at any moment, \
the same command again goes on. The old history stays where it is.

Without --from it is the place that was last used from this run directory. The keys of [state] encrypt_with open the old \
place as well; what was not encrypted is encrypted on the way.

Examples:
  windlass state move
  windlass state move --from dir:.windlass/state
  windlass state move --from r2://acme-old-state --yes";

/// Bring the fleet's own state to where the fleet file says
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Where it is now: dir:PATH, r2://BUCKET/PREFIX or s3://BUCKET/PREFIX [default: where it was last]
    #[arg(long, value_name = "STORE")]
    from: Option<String>,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long
    #[command(flatten)]
    wait: WaitArgs,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let moved = carry_out(args, context).await?;
    if context.json() {
        output::json(&moved)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does it, and tells people; a JSON document is the caller's.
pub async fn carry_out(args: Args, context: &Context) -> Result<Value, Failure> {
    let session = Session::open(&Source::find(args.file.as_deref())?, context)?.may_begin_locally();
    session.directory.create()?;
    let (asked, own) = (session.asked(), session.own_state()?);
    let from = match &args.from {
        Some(store) => Some(Address {
            fleet: session.label().to_owned(),
            store: match store.strip_prefix("dir:") {
                Some(path) => format!("dir:{}", absolute(Path::new(path)).display()),
                None => store.clone(),
            },
            local_r2: asked.known().is_some_and(|known| known.store == *store && known.local_r2),
        }),
        None => asked.elsewhere(&own.address),
    };
    let Some(from) = from.filter(|from| *from != own.address) else {
        return match own.store.load().await? {
            Some(_) => already(&own.store.place(), context),
            None => Err(Error::NothingToMove { place: own.store.place() }.into()),
        };
    };
    let question = format!("Move the state from {from} to {}?", own.address);
    confirm(&question, args.yes, context)?;
    let old = asked.open_other(&from)?;
    let bar = progress(context);
    let tell = |done: usize, all: usize| bar.set_message(format!("{done} of {all} versions"));
    // Whichever ends first, both locks are released by being dropped.
    let moved = tokio::select! {
        moved = own.store.take_from(&old.store, session.label(), args.wait.wait(), &tell) => moved,
        () = interrupted() => return Err(stopped()),
    };
    bar.finish_and_clear();
    let (state, versions) = match moved {
        Ok(moved) => moved,
        Err(windlass_engine::Error::MovedAway { to, .. }) if to == own.store.place() => {
            asked.remember(&own.address)?;
            return already(&to, context);
        }
        Err(error) => return Err(error.into()),
    };
    asked.remember(&own.address)?;
    if context.json() {
        return Ok(json!({
            "from": old.store.place(), "to": own.store.place(), "serial": state.serial, "lineage": state.lineage,
            "resources": state.resources.len(), "versions": versions, "already": false,
        }));
    }
    writeln!(
        output::out(),
        "{} serial {} with {} resources and {versions} versions is in {} now; {} says so to whoever looks there",
        paint(GREEN, "✓"),
        state.serial,
        state.resources.len(),
        own.store.place(),
        old.store.place()
    )?;
    Ok(Value::Null)
}

fn already(place: &str, context: &Context) -> Result<Value, Failure> {
    if !context.json() {
        writeln!(output::out(), "{} the state is in {place}; nothing was moved", paint(GREEN, "✓"))?;
    }
    Ok(json!({ "to": place, "already": true }))
}
