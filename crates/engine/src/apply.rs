//! Doing what a plan says: in order, in parallel where nothing depends on it, journalled before and after each step.
//!
//! A failed action does not stop what has nothing to do with it; what needs it is not begun. Whoever asks to stop gets
//! what has begun finished, and nothing new begun. At the end the state is brought up to the journal by the same
//! function that continues after a kill, so there is no second way to be wrong.

use crate::error::{Error, Trouble};
use crate::journal::{Entry, Probe, replay};
use crate::plan::{Action, Do, Plan};
use crate::platform::{Found, How, Platform, Risk, Step};
use crate::state::{Recorded, State};
use crate::store::{self, Store};
use crate::{Address, Resource};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How to apply.
#[derive(Clone)]
pub struct Options {
    /// Actions at once.
    pub parallelism: usize,
    /// Whether data may be lost.
    pub allow_data_loss: bool,
    /// Turns to true when nothing more is to be begun.
    pub stop: watch::Receiver<bool>,
    /// For tests: called around each write of the journal.
    pub probe: Option<Probe>,
}

/// What happens while it is applied.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// An action begins.
    Begun(&'a Action),
    /// It is done.
    Done(&'a Action, Duration),
    /// It failed.
    Failed(&'a Action, &'a Trouble),
    /// It is not begun, because this failed (or because somebody asked to stop).
    Skipped(&'a Action, Option<&'a Address>),
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// What was done.
    pub done: Vec<Address>,
    /// What failed, and why.
    pub failed: Vec<Failure>,
    /// What was not begun.
    pub skipped: Vec<Address>,
    /// Whether somebody asked to stop.
    pub stopped: bool,
}

/// An action that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// On what.
    pub address: Address,
    /// The code.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// Everything that an apply works on.
pub struct World<'a> {
    /// What is wanted.
    pub wanted: &'a [Resource],
    /// What was found when the plan was made.
    pub found: &'a [Found],
    /// The platforms by name.
    pub platforms: &'a BTreeMap<String, &'a dyn Platform>,
    /// Where the state is kept.
    pub store: &'a dyn Store,
}

/// Does what the plan says, and brings the state up to it, also when some of it failed.
///
/// # Errors
/// When data would be lost that may not be, or the state cannot be written. What fails on a platform is in the report.
pub async fn apply(
    plan: &Plan,
    state: &mut State,
    world: &World<'_>,
    options: &Options,
    tell: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Report, Error> {
    let losses = plan.losses();
    if !losses.is_empty() && !options.allow_data_loss {
        return Err(Error::LosesData { what: losses.join(", ") });
    }
    let mut report = Report::default();
    if !plan.is_empty() {
        let journal = world.store.begin_journal(options.probe.clone()).await?;
        let mut run = Run::new(plan, state, world);
        let entries = run.all(&journal, options, tell, &mut report).await?;
        replay(state, entries);
    }
    let before = state.clone();
    record_unchanged(plan, state, world, &report);
    if !plan.is_empty() || *state != before {
        store::save(world.store, state).await?;
        world.store.end_journal().await?;
    }
    Ok(report)
}

/// What was as wanted already is known from now on.
fn record_unchanged(plan: &Plan, state: &mut State, world: &World<'_>, report: &Report) {
    let acted: BTreeSet<&Address> = plan.actions.iter().map(|action| &action.address).collect();
    let blocked: BTreeSet<&Address> = plan.blocked.iter().map(|blocked| &blocked.address).collect();
    let found: BTreeSet<&Address> = world.found.iter().map(|found| &found.address).collect();
    let deletes: BTreeSet<&Address> = report.done.iter().collect();
    for resource in world.wanted {
        let address = &resource.address;
        if !found.contains(address)
            || acted.contains(address)
            || blocked.contains(address)
            || deletes.contains(address)
        {
            continue;
        }
        let recorded = Recorded {
            platform: resource.platform.clone(),
            body: resource.body.clone(),
            depends_on: resource.depends_on.clone(),
            uncertain: false,
        };
        if state.resources.get(address) != Some(&recorded) {
            state.resources.insert(address.clone(), recorded);
        }
    }
}

struct Run<'a> {
    world: &'a World<'a>,
    wanted: BTreeMap<&'a Address, &'a Resource>,
    found: BTreeMap<&'a Address, &'a Found>,
    recorded: BTreeMap<Address, Value>,
    waiting: VecDeque<&'a Action>,
    open: BTreeSet<&'a Address>,
    failed: BTreeMap<&'a Address, &'a Address>,
    busy: BTreeSet<&'a str>,
    /// Deletions of what holds data that are not done yet.
    deletions: usize,
}

fn takes_over(action: &Action) -> bool {
    action.what != Do::Delete && action.address.kind.holds_data()
}

fn gives_way(action: &Action) -> bool {
    action.what == Do::Delete && action.address.kind.holds_data()
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, state: &State, world: &'a World<'a>) -> Self {
        Self {
            world,
            wanted: world.wanted.iter().map(|resource| (&resource.address, resource)).collect(),
            found: world.found.iter().map(|found| (&found.address, found)).collect(),
            recorded: state
                .resources
                .iter()
                .map(|(address, recorded)| (address.clone(), recorded.body.clone()))
                .collect(),
            waiting: plan.actions.iter().collect(),
            open: plan.actions.iter().map(|action| &action.address).collect(),
            failed: BTreeMap::new(),
            busy: BTreeSet::new(),
            deletions: plan.actions.iter().filter(|action| gives_way(action)).count(),
        }
    }

    /// Runs everything, and gives the journal's lines.
    async fn all(
        &mut self,
        journal: &crate::journal::Journal,
        options: &Options,
        tell: &(dyn Fn(Event<'_>) + Sync),
        report: &mut Report,
    ) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut running = FuturesUnordered::new();
        loop {
            report.stopped |= *options.stop.borrow();
            while !report.stopped && running.len() < options.parallelism.max(1) {
                let Some(action) = self.next(tell, report) else { break };
                let entry = Entry::begun(action, self.wanted_of(action));
                entries.push(entry.clone());
                tell(Event::Begun(action));
                if let Some(group) = &action.group {
                    self.busy.insert(group);
                }
                let work = self.work(action, options.allow_data_loss);
                running.push(async move {
                    let began = Instant::now();
                    let result = match journal.write(&entry).await {
                        Ok(()) => Ok(work.await),
                        Err(error) => Err(error),
                    };
                    let last = match &result {
                        Ok(Ok(())) => Some(Entry::Done { address: action.address.clone() }),
                        Ok(Err(trouble)) => Some(Entry::Failed {
                            address: action.address.clone(),
                            code: trouble.code.clone(),
                        }),
                        Err(_) => None,
                    };
                    let written = match &last {
                        Some(last) => journal.write(last).await,
                        None => Ok(()),
                    };
                    (action, began.elapsed(), last, result, written)
                });
            }
            let Some((action, took, entry, result, written)) = running.next().await else { break };
            if let Some(group) = &action.group {
                self.busy.remove(group.as_str());
            }
            self.open.remove(&action.address);
            self.deletions -= usize::from(gives_way(action));
            entries.extend(entry);
            match result? {
                Ok(()) => {
                    tell(Event::Done(action, took));
                    report.done.push(action.address.clone());
                }
                Err(trouble) => {
                    tell(Event::Failed(action, &trouble));
                    self.failed.insert(&action.address, &action.address);
                    report.failed.push(Failure {
                        address: action.address.clone(),
                        code: trouble.code,
                        message: trouble.message,
                        help: trouble.help,
                    });
                }
            }
            written?;
        }
        for action in self.waiting.drain(..) {
            let cause = action.after.iter().find_map(|need| self.failed.get(need)).copied();
            tell(Event::Skipped(action, cause));
            report.skipped.push(action.address.clone());
        }
        Ok(entries)
    }

    /// The next action that may begin. What can no longer begin leaves the queue.
    fn next(&mut self, tell: &(dyn Fn(Event<'_>) + Sync), report: &mut Report) -> Option<&'a Action> {
        let mut at = 0;
        while at < self.waiting.len() {
            let action = self.waiting[at];
            let cause = action.after.iter().find_map(|need| self.failed.get(need)).copied();
            if let Some(cause) = cause {
                self.waiting.remove(at);
                self.open.remove(&action.address);
                self.deletions -= usize::from(gives_way(action));
                self.failed.insert(&action.address, cause);
                tell(Event::Skipped(action, Some(cause)));
                report.skipped.push(action.address.clone());
                // What was passed over before may depend on this one.
                at = 0;
                continue;
            }
            let ready = action.after.iter().all(|need| !self.open.contains(need))
                && action.group.as_ref().is_none_or(|group| !self.busy.contains(group.as_str()));
            // What holds data may take over names or subjects from what is deleted in the same plan.
            let early = takes_over(action) && self.deletions > 0;
            if ready && !early {
                return self.waiting.remove(at);
            }
            at += 1;
        }
        None
    }

    fn wanted_of(&self, action: &Action) -> Option<&'a Resource> {
        if action.what == Do::Delete { None } else { self.wanted.get(&action.address).copied() }
    }

    fn work(
        &self,
        action: &'a Action,
        allow_data_loss: bool,
    ) -> impl Future<Output = Result<(), Trouble>> + use<'a> {
        let platform = self.world.platforms.get(&action.platform).copied();
        let wanted = self.wanted_of(action);
        let found = self.found.get(&action.address).copied();
        let recorded = self.recorded.get(&action.address).cloned().unwrap_or(Value::Null);
        // What was not to lose anything when somebody said yes does not lose what has arrived since.
        let allow_data_loss = allow_data_loss && action.risk >= Risk::LosesData;
        async move {
            let missing = |what: &str| Trouble::new("WL0508", format!("{}: {what}", action.address), "");
            let platform = platform.ok_or_else(|| missing("its platform is not known here"))?;
            if action.what == Do::Delete {
                // What was not found is not looked for once more with a deletion in hand: it only leaves the state.
                if found.is_none() {
                    return Ok(());
                }
                let step = Step::Delete { address: &action.address, body: &recorded, allow_data_loss };
                return platform.apply(step).await;
            }
            let wanted = wanted.ok_or_else(|| missing("it is not wanted"))?;
            let change = |found, how| Step::Change { wanted, found, how, allow_data_loss };
            let step = match (action.what, found) {
                (Do::Update, Some(found)) => change(found, How::InPlace),
                (Do::Restart, Some(found)) => change(found, How::Restart),
                (Do::Replace, Some(found)) => change(found, How::Replace),
                _ => Step::Create(wanted),
            };
            platform.apply(step).await
        }
    }
}
