//! `windlass forget`, `windlass import` and `windlass move`: what the state knows, without touching what runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use windlass_engine::plan::Wish;
use windlass_engine::store::{self, Locked};
use windlass_engine::{Address, Error, Recorded};

use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::interrupts::Interrupts;
use crate::output;

/// Arguments of `windlass forget`.
#[derive(Debug, clap::Args)]
pub struct ForgetArgs {
    /// The resource, such as stream.OLD
    address: Address,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Arguments of `windlass import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The resource as the fleet file names it, such as stream.ORDERS
    address: Address,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Arguments of `windlass move`.
#[derive(Debug, clap::Args)]
pub struct MoveArgs {
    /// What it is called in the state
    from: Address,
    /// What it is called in the fleet file
    to: Address,
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

async fn open(file: Option<PathBuf>, purpose: &str, context: &Context) -> Result<(Session, Locked), Failure> {
    let session = Session::open(&Source::find(file.as_deref())?, context)?;
    let interrupts = Interrupts::hear()?;
    let locked = session.lock(purpose, Duration::ZERO).await?;
    interrupts.holds(&locked.lock);
    Ok((session, locked))
}

fn say(context: &Context, what: &str, address: &Address, text: &str) -> Result<ExitCode, Failure> {
    if context.json() {
        output::json(&json!({ what: address }))?;
    } else if !context.quiet() {
        writeln!(output::out(), "{text}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes a resource out of the state.
pub async fn forget(args: ForgetArgs, context: &Context) -> Result<ExitCode, Failure> {
    let (session, mut locked) = open(args.file, "forget", context).await?;
    if locked.state.resources.remove(&args.address).is_none() {
        return Err(Error::Unknown { address: args.address.to_string(), place: "in the state" }.into());
    }
    store::save(session.store()?, &mut locked.state).await?;
    let text = format!("{} is forgotten; what it is goes on as it was", args.address);
    say(context, "forgotten", &args.address, &text)
}

/// Takes what is there into the state, as the file names it.
pub async fn import(args: ImportArgs, context: &Context) -> Result<ExitCode, Failure> {
    let (session, mut locked) = open(args.file, "import", context).await?;
    if locked.state.resources.contains_key(&args.address) {
        return Err(Error::Taken { address: args.address }.into());
    }
    let unknown = |place| Error::Unknown { address: args.address.to_string(), place };
    let wanted = session.wanted.iter().find(|one| one.address == args.address);
    let wanted = wanted.ok_or_else(|| unknown("in the fleet file"))?;
    let planned = session.plan(&locked.state, &Wish::default()).await?;
    if planned.found.iter().all(|found| found.address != args.address) {
        return Err(unknown("on the servers").into());
    }
    let recorded = Recorded {
        platform: wanted.platform.clone(),
        body: wanted.body.clone(),
        depends_on: wanted.depends_on.clone(),
        uncertain: false,
    };
    locked.state.resources.insert(args.address.clone(), recorded);
    store::save(session.store()?, &mut locked.state).await?;
    let differs = planned.plan.actions.iter().any(|action| action.address == args.address);
    let next = if differs { "it differs from the file: windlass plan" } else { "it is what the file says" };
    let text = format!("{} is under this file now; {next}", args.address);
    say(context, "imported", &args.address, &text)
}

/// Gives what the state knows another name, after it was renamed in the file.
pub async fn rename(args: MoveArgs, context: &Context) -> Result<ExitCode, Failure> {
    let (session, mut locked) = open(args.file, "move", context).await?;
    if args.from.kind != args.to.kind {
        let address = args.to.to_string();
        return Err(Error::Unknown { address, place: "of the same kind" }.into());
    }
    if args.from.kind.holds_data() || matches!(args.from.kind, windlass_engine::Kind::Account) {
        let reason =
            "NATS knows it by its name, which cannot change: keep the old name, or make a new one and copy";
        return Err(Error::Blocked { address: args.from, reason: reason.to_owned() }.into());
    }
    if locked.state.resources.contains_key(&args.to) {
        return Err(Error::Taken { address: args.to }.into());
    }
    let Some(recorded) = locked.state.resources.remove(&args.from) else {
        return Err(Error::Unknown { address: args.from.to_string(), place: "in the state" }.into());
    };
    for other in locked.state.resources.values_mut() {
        if other.depends_on.remove(&args.from) {
            other.depends_on.insert(args.to.clone());
        }
    }
    locked.state.resources.insert(args.to.clone(), recorded);
    store::save(session.store()?, &mut locked.state).await?;
    let text = format!("{} is called {} from now on", args.from, args.to);
    say(context, "moved", &args.to, &text)
}
