//! `windlass plan`: what an apply would do, why, and at what risk. It changes nothing.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use windlass_engine::plan::{Plan, Style, Wish, render_with};
use windlass_engine::{Address, State};
use windlass_fleet::Fleet;

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_cost::PlanCost;
use crate::fleet_file::Source;
use crate::fleet_session::Session;
use crate::output;

/// Exit code: there is something to do, and `--detailed-exitcode` asked.
const CHANGES: u8 = 2;

/// The command's documentation.
pub const LONG_ABOUT: &str = "\
Show what an apply would do.

Compares what the fleet file wants with what the servers say is there, and shows each action with its reason and its \
risk: + create, ~ change in place, ! restart, ± delete and make anew, - delete. Nothing is changed, and no lock is \
taken.

What an action adds to the monthly bill stands beside it, at list prices; the total below has taken off what is free. \
[cost] of the fleet file says with which assumptions, `windlass cost estimate` how the figures come about.";

const EXAMPLES: &str = "\
Examples:
  windlass plan
  windlass plan --target stream.GITHUB
  windlass plan --out plan.json && windlass apply plan.json
  windlass plan --detailed-exitcode      0: nothing to do, 1: failed, 2: changes are present
  windlass plan --format json | jq '.actions[] | select(.risk != \"none\")'";

/// Arguments of `windlass plan`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// What the plan is about
    #[command(flatten)]
    pub wish: WishArgs,
    /// Write the plan to a file that `apply` takes
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// End with 2 when there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
    /// Leave out what it costs
    #[arg(long)]
    no_cost: bool,
}

/// What a plan is about: the file, and which part of it.
#[derive(Debug, Clone, clap::Args)]
pub struct WishArgs {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only this resource and what it needs; may be repeated
    #[arg(short, long, value_name = "ADDRESS")]
    pub target: Vec<Address>,
}

impl WishArgs {
    /// The wish to make (or to destroy).
    pub fn wish(&self, destroy: bool) -> Wish {
        Wish { targets: self.target.clone(), destroy }
    }
}

/// A plan on disk: with the fleet file that it was made from, so that it means the same wherever it is applied.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanFile {
    windlass: String,
    path: Option<PathBuf>,
    #[serde(default)]
    environment: Option<String>,
    digest: String,
    fleet_file: String,
    targets: Vec<Address>,
    destroy: bool,
    /// The plan.
    pub plan: Plan,
}

impl PlanFile {
    /// Reads a plan, and opens the fleet that it is about.
    pub fn open(path: &Path, context: &Context) -> Result<(Self, Session, Wish), Failure> {
        let unusable = |reason: String| {
            Failure::from(windlass_engine::Error::PlanUnusable { path: path.to_owned(), reason })
        };
        let text = std::fs::read(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?;
        let file: Self = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        if file.windlass != env!("CARGO_PKG_VERSION") {
            return Err(unusable(format!("windlass {} made it", file.windlass)));
        }
        let fleet = windlass_fleet::parse(&file.fleet_file, "the plan's fleet file")
            .map_err(|mistakes| unusable(format!("its fleet file has {} mistakes", mistakes.len())))?;
        let context = Context { environment: file.environment.clone(), ..context.clone() };
        let session = Session::of(fleet, file.path.clone(), file.digest.clone(), &context)?;
        let wish = Wish { targets: file.targets.clone(), destroy: file.destroy };
        Ok((file, session, wish))
    }

    fn write(
        path: &Path,
        session: &Session,
        wish: &Wish,
        plan: &Plan,
        context: &Context,
    ) -> Result<(), Failure> {
        let file = Self {
            windlass: env!("CARGO_PKG_VERSION").to_owned(),
            path: session.path.clone(),
            environment: context.environment.clone(),
            digest: session.digest.clone(),
            fleet_file: windlass_fleet::print(&session.fleet),
            targets: wish.targets.clone(),
            destroy: wish.destroy,
            plan: plan.clone(),
        };
        let failed = |cause| Error::Directory { action: "write", path: path.to_owned(), cause };
        let mut out = BufWriter::new(File::create(path).map_err(failed)?);
        serde_json::to_writer_pretty(&mut out, &file).map_err(|error| failed(error.into()))?;
        Ok(out.flush().map_err(failed)?)
    }
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let session = Session::open(&Source::find(args.wish.file.as_deref())?, context)?;
    let state = session.look().await?;
    let wish = args.wish.wish(false);
    let plan = session.plan(&state, &wish).await?.plan;
    if let Some(path) = &args.out {
        PlanFile::write(path, &session, &wish, &plan, context)?;
    }
    let cost = if args.no_cost { None } else { cost(&session, &state, &plan, &wish, context) };
    print(&plan, cost.as_ref(), context)?;
    if !context.json() {
        tell_unused(&session.fleet, context);
        if let Some(path) = args.out.filter(|_| !context.quiet()) {
            output::note(&format!("apply exactly this with `windlass apply {}`", path.display()));
        }
    }
    let changes = args.detailed_exitcode && !plan.is_settled();
    Ok(ExitCode::from(if changes { CHANGES } else { 0 }))
}

/// What this version reads and does nothing with, by its place in the file.
const UNUSED: [&str; 7] =
    ["platforms.synadia", "scaling", "rollout", "flags", "alerts", "github.organization", "github.events"];

/// Says which parts of the file this version reads and does nothing with.
pub fn tell_unused(fleet: &Fleet, context: &Context) {
    let default = windlass_fleet::parse(windlass_fleet::embedded(), "the built-in default").ok();
    let (written, default) = (fleet.to_json(), default.map(|fleet| fleet.to_json()).unwrap_or_default());
    let differs = |place: &&str| {
        let pointer = format!("/{}", place.replace('.', "/"));
        let value = written.pointer(&pointer).filter(|value| !value.is_null());
        value.is_some() && value != default.pointer(&pointer)
    };
    let unused: Vec<&str> = UNUSED.into_iter().filter(differs).collect();
    if !unused.is_empty() && !context.quiet() {
        output::note(&format!("[{}] is read, and this version does nothing with it", unused.join("], [")));
    }
}

/// A plan with what it costs, for scripts.
#[derive(Serialize)]
struct WithCost<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<&'a PlanCost>,
}

/// What a plan costs. That it cannot be said is a note and no failure: nobody is kept from an apply by a price list.
pub fn cost(
    session: &Session,
    state: &State,
    plan: &Plan,
    wish: &Wish,
    context: &Context,
) -> Option<PlanCost> {
    let base = session.path.as_deref().and_then(Path::parent);
    match PlanCost::of(&session.fleet, base, (&session.wanted, state), plan, wish) {
        Ok(cost) => Some(cost),
        Err(failure) => {
            let (code, message) = failure.parts().map_or(("", ""), |(code, message, ..)| (code, message));
            if !context.quiet() {
                output::note(&format!("what it costs cannot be said: {message} ({code})"));
            }
            None
        }
    }
}

/// Prints a plan in the form that was asked for.
pub fn print(plan: &Plan, cost: Option<&PlanCost>, context: &Context) -> Result<(), Failure> {
    if context.json() { output::json(&WithCost { plan, cost }) } else { show(plan, cost) }
}

/// Prints a plan for a person.
pub fn show(plan: &Plan, cost: Option<&PlanCost>) -> Result<(), Failure> {
    let column = cost.map(PlanCost::column).unwrap_or_default();
    let mut out = output::out();
    // The stream drops the colours where there is no terminal.
    write!(out, "{}", render_with(plan, Style { colour: true }, &column))?;
    if let Some(cost) = cost {
        writeln!(out, "{}", cost.line())?;
    }
    Ok(())
}
