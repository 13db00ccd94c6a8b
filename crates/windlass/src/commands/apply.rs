//! `windlass apply` and `windlass destroy`: do what the plan says, and see that it is so.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use windlass_engine::apply::{Event, Report};
use windlass_engine::plan::{Plan, Wish};

use super::plan::{PlanFile, WishArgs, cost, show};
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED};
use crate::fleet_file::Source;
use crate::fleet_session::{ApplyOptions, Session};
use crate::interrupts::Interrupts;
use crate::output::{self, BOLD, DIM, GREEN, RED, YELLOW, paint};

/// The documentation of `apply`.
pub const LONG_ABOUT: &str = "\
Make the fleet what the file says.

Shows the plan, asks, and does it: in order, in parallel where nothing depends on it. Each step is written down before \
it begins and after it is done, so that an apply that is killed is continued by the next one. Afterwards the servers \
are asked whether everything is as wanted.

With PLAN, a file from `windlass plan --out`, it does exactly that, or refuses when something has changed since.";

const EXAMPLES: &str = "\
Examples:
  windlass apply
  windlass apply --yes --format json
  windlass apply plan.json
  windlass apply --target stream.GITHUB --allow-data-loss";

/// The documentation of `destroy`.
pub const LONG_ABOUT_DESTROY: &str = "\
Delete everything that the state knows, from what nothing needs to what all need.

Streams and buckets are deleted with what is in them, which needs --allow-data-loss where they hold messages. Files of \
identities are put aside in `removed/`, and servers' logs stay.";

/// Arguments of `windlass apply`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// A plan from `windlass plan --out`
    #[arg(conflicts_with_all = ["file", "target"])]
    plan: Option<PathBuf>,
    /// What it is about
    #[command(flatten)]
    wish: WishArgs,
    /// How
    #[command(flatten)]
    how: How,
}

/// Arguments of `windlass destroy`.
#[derive(Debug, clap::Args)]
pub struct DestroyArgs {
    /// What it is about
    #[command(flatten)]
    wish: WishArgs,
    /// How
    #[command(flatten)]
    how: How,
}

/// How to apply.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct How {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Actions at once
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    parallelism: usize,
    /// Allow what deletes messages
    #[arg(long)]
    allow_data_loss: bool,
    /// How many seconds to wait for another apply
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    lock_timeout: u64,
}

impl How {
    /// The same, with the question answered.
    pub fn agreed(self) -> Self {
        Self { yes: true, ..self }
    }
}

/// Runs `apply`.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    match &args.plan {
        Some(path) => {
            let (file, session, wish) = PlanFile::open(path, context)?;
            carry_out(&session, &wish, Some(&file.plan), &args.how, context).await
        }
        None => {
            let session = Session::open(&Source::find(args.wish.file.as_deref())?, context)?;
            carry_out(&session, &args.wish.wish(false), None, &args.how, context).await
        }
    }
}

/// Runs `destroy`.
pub async fn destroy(args: DestroyArgs, context: &Context) -> Result<ExitCode, Failure> {
    let session = Session::open(&Source::find(args.wish.file.as_deref())?, context)?;
    carry_out(&session, &args.wish.wish(true), None, &args.how, context).await
}

/// Plans, asks, applies and verifies.
pub async fn carry_out(
    session: &Session,
    wish: &Wish,
    expected: Option<&Plan>,
    how: &How,
    context: &Context,
) -> Result<ExitCode, Failure> {
    carry_out_after(Map::new(), session, wish, expected, how, context).await
}

/// The same, as the last part of a command: `before` is what the JSON document says of the other parts.
pub async fn carry_out_after(
    before: Map<String, Value>,
    session: &Session,
    wish: &Wish,
    expected: Option<&Plan>,
    how: &How,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let purpose = if wish.destroy { "destroy" } else { "apply" };
    let interrupts = Interrupts::hear()?;
    let mut locked = session.lock(purpose, Duration::from_secs(how.lock_timeout)).await?;
    interrupts.holds(&locked.lock);
    if locked.recovered > 0 && !context.quiet() {
        output::note("an earlier apply was ended half-way; this one goes on from there");
    }
    let planned = session.plan(&locked.state, wish).await?;
    let plan = &planned.plan;
    if let Some(expected) = expected.filter(|expected| expected.world != plan.world) {
        let what = difference(expected, plan);
        return Err(windlass_engine::Error::Moved { what }.into());
    }
    // Whoever is asked is shown what for.
    let nobody_reads = context.json() || (context.quiet() && how.yes);
    if !nobody_reads {
        let cost = cost(session, &locked.state, plan, wish, context);
        show(plan, cost.as_ref())?;
    }
    let losses = plan.losses();
    if !losses.is_empty() && !how.allow_data_loss {
        return Err(windlass_engine::Error::LosesData { what: losses.join(", ") }.into());
    }
    if !plan.is_empty() && !how.yes && expected.is_none() {
        confirm(wish, context)?;
    }
    let (stop, stopping) = watch::channel(false);
    let options =
        ApplyOptions { parallelism: how.parallelism, allow_data_loss: how.allow_data_loss, stop: stopping };
    interrupts.finish_first(stop);
    let began = Instant::now();
    let shown = context.json() || context.quiet();
    let tell = |event: Event<'_>| {
        if !shown {
            told(&event);
        }
    };
    let report = session.apply(&planned, &mut locked.state, options.clone(), &tell).await?;
    let mut differing = Vec::new();
    if report.failed.is_empty() && !report.stopped {
        differing = session.verify(&mut locked.state, wish, options, &tell).await?;
    }
    if wish.destroy && locked.state.resources.is_empty() {
        // Nothing is left to keep running.
        let _ = session.platform.control().stop_all().await;
        let _ = std::fs::remove_file(session.directory.run_file());
    } else {
        session.record()?;
    }
    if context.json() {
        let differing: Vec<String> = differing.iter().map(ToString::to_string).collect();
        let mut document = before;
        document.insert("plan".to_owned(), json!(plan));
        document.insert("report".to_owned(), json!(report));
        document.insert("differs_after".to_owned(), json!(differing));
        output::json(&document)?;
    } else if !context.quiet() {
        for note in session.platform.notes() {
            output::note(&note);
        }
    }
    end(plan, &report, &differing, began.elapsed(), context)
}

fn end(
    plan: &Plan,
    report: &Report,
    differing: &[windlass_engine::Address],
    took: Duration,
    context: &Context,
) -> Result<ExitCode, Failure> {
    if report.stopped {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if let Some(first) = report.failed.first() {
        let error = windlass_engine::Error::Incomplete {
            failed: report.failed.len(),
            skipped: report.skipped.len(),
            total: plan.actions.len(),
        };
        if report.failed.len() == 1 {
            let message = format!("{}: {}", first.address, first.message);
            return Err(Failure::new(first.code.clone(), message, first.help.clone()));
        }
        return Err(error.into());
    }
    if let Some(address) = differing.first() {
        let reason = "after the apply it is still not as wanted; windlass plan shows what differs".to_owned();
        return Err(windlass_engine::Error::Blocked { address: address.clone(), reason }.into());
    }
    if let Some(blocked) = plan.blocked.first() {
        let (address, reason) = (blocked.address.clone(), blocked.reason.clone());
        return Err(windlass_engine::Error::Blocked { address, reason }.into());
    }
    if !context.json() && !context.quiet() && !plan.is_empty() {
        let done = report.done.len();
        let plural = if done == 1 { "" } else { "s" };
        let seconds = took.as_secs_f64();
        writeln!(
            output::out(),
            "\n{} {done} action{plural} in {seconds:.1} s, seen to be as wanted",
            paint(GREEN, "✓")
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for what has just happened.
pub fn told(event: &Event<'_>) {
    let mut err = output::err();
    let _ = match event {
        Event::Begun(_) => Ok(()),
        Event::Done(action, took) => {
            let took = paint(DIM, format_args!("{:.2} s", took.as_secs_f64()));
            writeln!(err, "  {} {} {took}", paint(GREEN, "✓"), action.address)
        }
        Event::Failed(action, trouble) => {
            let code = paint(RED, format_args!("[{}]", trouble.code));
            writeln!(err, "  {} {} {code} {trouble}", paint(RED, "✗"), action.address)
        }
        Event::Skipped(action, cause) => {
            let cause = cause.map_or_else(|| "stopped".to_owned(), |cause| format!("because of {cause}"));
            writeln!(err, "  {} {} not begun, {cause}", paint(YELLOW, "·"), action.address)
        }
    };
}

fn confirm(wish: &Wish, context: &Context) -> Result<(), Failure> {
    let refuse =
        |message: &str| Failure::new("WL0513", message, "say --yes where nobody can answer").bad_input();
    if context.json() || !std::io::stdin().is_terminal() {
        return Err(refuse("nobody is there to say yes"));
    }
    let question = if wish.destroy { "Delete all of this?" } else { "Do this?" };
    write!(output::err(), "\n{} Only `yes` is taken for it: ", paint(BOLD, question))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(refuse("not confirmed, so nothing was done")) }
}

/// The first thing in which two plans differ.
fn difference(expected: &Plan, found: &Plan) -> String {
    let only = |one: &Plan, other: &Plan| {
        let missing = one
            .actions
            .iter()
            .find(|action| other.actions.iter().all(|there| there.address != action.address));
        missing.map(|action| action.address.to_string())
    };
    if let Some(address) = only(expected, found) {
        return format!("nothing is to be done to {address} any more");
    }
    if let Some(address) = only(found, expected) {
        return format!("{address} has to be changed as well");
    }
    let mut pairs = expected.actions.iter().zip(&found.actions);
    match pairs.find(|(one, other)| (one.what, &one.fields) != (other.what, &other.fields)) {
        Some((one, _)) => format!("{} is not what it was", one.address),
        None => "a resource is not what it was".to_owned(),
    }
}
