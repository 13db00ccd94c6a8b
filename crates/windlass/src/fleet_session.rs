//! One plan or apply, from the fleet file to the report: what the commands share.
//!
//! lock the state → ask every server what is there → plan → (a person says yes) → apply → ask again. `up` takes the same
//! way with the answer given, so that there is no second one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use windlass_engine::apply::{self, Event, Report, World};
use windlass_engine::journal::Probe;
use windlass_engine::plan::{self, Plan, Wish};
use windlass_engine::store::{self, Locked, Versioned};
use windlass_engine::wanted::{self, ADMIN, main_account};
use windlass_engine::{Address, Found, Platform, Resource, State, Trouble};
use windlass_fleet::{Fleet, SecretSource};
use windlass_platforms::cloudflare::{self, Cloudflare};
use windlass_platforms::self_hosted::control::AgentCommand;
use windlass_platforms::self_hosted::{Options, SelfHosted};

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_file::Source;
use crate::local_edge::{self, LocalEdge};
use crate::own_state::{Asked, OwnState};
use crate::run_directory::RunDirectory;
use crate::run_record::RunRecord;
use crate::secrets;

/// Ends the process before or after the n-th write of the journal. For tests: what a kill at that instruction does.
const ABORT_AT: &str = "WINDLASS_ABORT_AT_JOURNAL_STEP";

/// A fleet and the platforms that it lives on.
pub struct Session {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// The fleet file, absolute; `None` for the built-in default.
    pub path: Option<PathBuf>,
    /// A digest of the file's content.
    pub digest: String,
    /// The directory of everything.
    pub directory: RunDirectory,
    /// This machine.
    pub platform: SelfHosted,
    /// Cloudflare. It is asked nothing while nothing of the fleet is there.
    pub cloudflare: Cloudflare,
    /// Everything that the fleet wants.
    pub wanted: Vec<Resource>,
    /// Where the state is, once it was needed.
    own_state: OnceLock<OwnState>,
    /// Whether it may begin in the local R2.
    may_begin_locally: bool,
    /// What the state is called: the fleet's name, with the environment's where there is one, so that none is changed
    /// in place of another.
    label: String,
}

/// What is there, what is known of it, and what to do.
pub struct Planned {
    /// What was found.
    pub found: Vec<Found>,
    /// The plan.
    pub plan: Plan,
    /// Whether it is to delete what the state knows.
    destroy: bool,
}

impl Session {
    /// Opens the fleet of a file. Mistakes in it are printed.
    pub fn open(source: &Source, context: &Context) -> Result<Self, Failure> {
        let fleet = source
            .parse(context.environment.as_deref())
            .map_err(|mistakes| crate::fleet_file::tell(&mistakes, context.format))?;
        Self::of(fleet, source.absolute()?, source.digest(), context)
    }

    /// Opens a fleet that was read from `path`.
    pub fn of(
        fleet: Fleet,
        path: Option<PathBuf>,
        digest: String,
        context: &Context,
    ) -> Result<Self, Failure> {
        let directory = RunDirectory::at(&context.directory);
        let edge = LocalEdge::read(&directory);
        let fleet = if edge.is_some() { local_edge::laid_over(fleet) } else { fleet };
        Self::on(Arc::new(fleet), edge.as_ref(), path, digest, context)
    }

    /// The same, but for the edge: that is none, unless the file has one. What is left of a local one can be deleted.
    pub fn without_local_edge(source: &Source, context: &Context) -> Result<Self, Failure> {
        let fleet = source
            .parse(context.environment.as_deref())
            .map_err(|mistakes| crate::fleet_file::tell(&mistakes, context.format))?;
        let edge = LocalEdge::read(&RunDirectory::at(&context.directory));
        Self::on(Arc::new(fleet), edge.as_ref(), source.absolute()?, source.digest(), context)
    }

    fn on(
        fleet: Arc<Fleet>,
        edge: Option<&LocalEdge>,
        path: Option<PathBuf>,
        digest: String,
        context: &Context,
    ) -> Result<Self, Failure> {
        let directory = RunDirectory::at(&context.directory);
        let program = own_program()?;
        let mut arguments = vec!["agent".into(), "--directory".into(), directory.root().into()];
        arguments.extend((0..context.verbosity).map(|_| "-v".into()));
        let base = path.as_deref().and_then(Path::parent);
        let options = Options {
            fleet: Arc::clone(&fleet),
            directory: directory.root().to_owned(),
            program: program.clone(),
            agent: AgentCommand { program, arguments },
            secrets: secrets_of(&fleet, &directory, base),
        };
        let mut cloudflare = cloudflare_options(&fleet, &directory, base);
        if let Some(edge) = edge {
            edge.apply_to(&mut cloudflare, &directory);
        }
        let cloudflare = Cloudflare::new(cloudflare);
        let wanted = wanted::resources(&fleet);
        let label = match &context.environment {
            Some(environment) => format!("{}@{environment}", fleet.name()),
            None => fleet.name().to_owned(),
        };
        let (own_state, may_begin_locally) = (OnceLock::new(), false);
        let platform = SelfHosted::new(options);
        Ok(Self {
            fleet,
            path,
            digest,
            directory,
            platform,
            cloudflare,
            wanted,
            own_state,
            may_begin_locally,
            label,
        })
    }

    /// The same, where the state may begin in the local R2.
    pub fn may_begin_locally(self) -> Self {
        Self { may_begin_locally: true, ..self }
    }

    /// What the fleet says of its state.
    pub fn asked(&self) -> Asked<'_> {
        Asked {
            fleet: &self.fleet,
            label: &self.label,
            directory: &self.directory,
            base: self.path.as_deref().and_then(Path::parent),
            may_begin_locally: self.may_begin_locally,
        }
    }

    /// The fleet's state. Its keys are fetched when it is first asked for.
    pub fn own_state(&self) -> Result<&OwnState, Failure> {
        if self.own_state.get().is_none() {
            let opened = self.asked().open()?;
            return Ok(self.own_state.get_or_init(|| opened));
        }
        self.own_state.get().ok_or_else(|| Error::Interrupted.into())
    }

    /// Where the state is kept.
    pub fn store(&self) -> Result<&Versioned, Failure> {
        Ok(&self.own_state()?.store)
    }

    /// What the state is called.
    pub fn label(&self) -> &str {
        &self.label
    }

    fn platforms(&self) -> BTreeMap<String, &dyn Platform> {
        let all: [&dyn Platform; 2] = [&self.platform, &self.cloudflare];
        all.map(|platform| (platform.name().to_owned(), platform)).into()
    }

    /// Locks the state; waits up to `wait` for whoever has it.
    pub async fn lock(&self, purpose: &str, wait: Duration) -> Result<Locked, Failure> {
        self.directory.create()?;
        let own = self.own_state()?;
        let locked = store::open(&own.store, &self.label, purpose, wait).await?;
        own.check_beginning(&locked.state, locked.recovered, &self.asked())?;
        self.asked().remember(&own.address)?;
        Ok(locked)
    }

    /// The state without a lock.
    pub async fn look(&self) -> Result<State, Failure> {
        let own = self.own_state()?;
        let (state, recovered) = store::read(&own.store, &self.label).await?;
        own.check_beginning(&state, recovered, &self.asked())?;
        Ok(state)
    }

    /// Asks what is there, and decides what to do.
    pub async fn plan(&self, state: &State, wish: &Wish) -> Result<Planned, Failure> {
        let platforms = self.platforms();
        let found = windlass_engine::find(&self.wanted, state, &platforms).await?;
        let plan = plan::make(&self.wanted, state, &found, &platforms, wish)?;
        Ok(Planned { found, plan, destroy: wish.destroy })
    }

    /// Does what the plan says.
    pub async fn apply(
        &self,
        planned: &Planned,
        state: &mut State,
        options: ApplyOptions,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Report, Failure> {
        let platforms = self.platforms();
        // A destroy takes nothing under the file on its way: that would be deleted without having been shown.
        let wanted: &[Resource] = if planned.destroy { &[] } else { &self.wanted };
        let store = self.store()?;
        let world = World { wanted, found: &planned.found, platforms: &platforms, store };
        let options = apply::Options {
            parallelism: options.parallelism,
            allow_data_loss: options.allow_data_loss,
            stop: options.stop,
            probe: probe(),
        };
        Ok(apply::apply(&planned.plan, state, &world, &options, tell).await?)
    }

    /// Asks the servers whether everything is as wanted; gives what is not. What could not be seen before (its servers
    /// were down) is put right on the way.
    pub async fn verify(
        &self,
        state: &mut State,
        wish: &Wish,
        options: ApplyOptions,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Vec<Address>, Failure> {
        let planned = self.plan(state, wish).await?;
        if planned.plan.is_empty() {
            return Ok(Vec::new());
        }
        let losses = planned.plan.losses();
        if !losses.is_empty() && !options.allow_data_loss {
            return Err(windlass_engine::Error::LosesData { what: losses.join(", ") }.into());
        }
        self.apply(&planned, state, options, tell).await?;
        let again = self.plan(state, wish).await?;
        Ok(again.plan.actions.into_iter().map(|action| action.address).collect())
    }

    /// The file with the webhook secrets, once there are any.
    pub fn webhook_secret_file(&self) -> Option<PathBuf> {
        let base = self.path.as_deref().and_then(Path::parent);
        secrets_of(&self.fleet, &self.directory, base)(false).ok()?.map(|(path, _)| path)
    }

    /// Writes down where everything is, for `status`, `events` and scripts.
    pub fn record(&self) -> Result<RunRecord, Failure> {
        let account = main_account(&self.fleet);
        let creds = self.directory.root().join("creds").join(account).join(format!("{ADMIN}.creds"));
        let record = RunRecord::of(self, &creds);
        record.write(&self.directory)?;
        Ok(RunRecord::read(&self.directory).unwrap_or(record))
    }
}

/// How to apply.
#[derive(Clone, Debug)]
pub struct ApplyOptions {
    /// Actions at once.
    pub parallelism: usize,
    /// Whether data may be lost.
    pub allow_data_loss: bool,
    /// Turns to true when nothing more is to be begun.
    pub stop: watch::Receiver<bool>,
}

fn secrets_of(
    fleet: &Arc<Fleet>,
    directory: &RunDirectory,
    base: Option<&Path>,
) -> windlass_platforms::self_hosted::Secrets {
    let (fleet, directory, base) = (Arc::clone(fleet), directory.clone(), base.map(Path::to_owned));
    Arc::new(move |create| {
        let Some(github) = &fleet.github else { return Ok(None) };
        let configured = || secrets::from_sources(&github.secret, base.as_deref());
        let settled = secrets::from_variable().and_then(|variable| {
            if create {
                secrets::settle(&directory, variable, configured).map(|(path, _)| {
                    let text = std::fs::read(&path).unwrap_or_default();
                    Some((path, text))
                })
            } else {
                secrets::look(&directory, variable, configured)
            }
        });
        let told = |error: Error| Trouble::new(error.code(), error.to_string(), error.help());
        let digest = |text: Vec<u8>| hex(&Sha256::digest(text));
        Ok(settled.map_err(told)?.map(|(path, text)| (path, digest(text))))
    })
}

/// What Cloudflare is asked with. Of a fleet whose file no longer names it, what is left there is still deleted: with what
/// Cloudflare's own tools would use.
fn cloudflare_options(
    fleet: &Arc<Fleet>,
    directory: &RunDirectory,
    base: Option<&Path>,
) -> cloudflare::Options {
    let named = fleet.platforms.cloudflare.as_ref();
    let source = |named: Option<&SecretSource>, variable: &str| -> cloudflare::Source {
        let source = named.cloned().unwrap_or_else(|| SecretSource::Env(variable.to_owned()));
        let base = base.map(Path::to_owned);
        Arc::new(move || {
            let secrets = secrets::from_sources(std::slice::from_ref(&source), base.as_deref());
            let told = |error: Error| Trouble::new(error.code(), error.to_string(), error.help());
            Ok(secrets.map_err(told)?.into_iter().next())
        })
    };
    cloudflare::Options {
        fleet: Arc::clone(fleet),
        directory: directory.root().to_owned(),
        account_id: source(named.map(|named| &named.account_id), "CLOUDFLARE_ACCOUNT_ID"),
        api_token: source(named.map(|named| &named.api_token), "CLOUDFLARE_API_TOKEN"),
        secrets: secrets_of(fleet, directory, base),
        base: cloudflare::client::base_url(),
        worker_url: std::env::var(cloudflare::WORKER_URL_VARIABLE).ok().filter(|url| !url.is_empty()),
        worker: cloudflare::WORKER,
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn probe() -> Option<Probe> {
    let at: u64 = std::env::var(ABORT_AT).ok()?.parse().ok()?;
    Some(Arc::new(move |step| {
        if step == at {
            std::process::abort();
        }
    }))
}

/// This program, for the parts that it runs itself.
pub fn own_program() -> Result<PathBuf, Error> {
    std::env::current_exe()
        .map_err(|cause| Error::Environment { what: "the path of this program", cause: cause.to_string() })
}

impl From<windlass_engine::Error> for Failure {
    fn from(error: windlass_engine::Error) -> Self {
        let failure = Self::new(error.code().to_owned(), error.to_string(), error.help());
        match error {
            windlass_engine::Error::Unknown { .. }
            | windlass_engine::Error::PlanUnusable { .. }
            | windlass_engine::Error::MovedAway { .. }
            | windlass_engine::Error::Store { bad_input: true, .. } => failure.bad_input(),
            _ => failure,
        }
    }
}
