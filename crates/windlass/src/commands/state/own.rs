//! The fleet's own state, where it is not as Terraform's: what is in it, and how it is locked.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use windlass_engine::store::{Holder, Locked, Store as _, Versioned};
use windlass_engine::{Recorded, State};
use windlass_state::lock::LockInfo;
use windlass_state::store::Stored;
use windlass_state::terraform::diff::{Attribute, Change, What};
use windlass_state::terraform::{self, Summary};
use windlass_state::verify::{Check, Outcome};

use super::place::interrupted;
use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::fleet_session::Session;
use crate::output::{self, BOLD, GREEN, paint};

/// Whether a content is the state of a fleet, and not one of Terraform's.
pub fn is_own(content: &[u8]) -> bool {
    Versioned::state_of("", content).is_ok()
}

/// What a state is, a fleet's or one of Terraform's.
pub fn summary(place: &str, content: &Bytes) -> Result<Summary, windlass_state::Error> {
    match Versioned::state_of(place, content) {
        Ok(state) => Ok(Summary {
            terraform_version: String::new(),
            lineage: state.lineage,
            serial: state.serial,
            resources: state.resources.len(),
            instances: state.resources.len(),
        }),
        Err(error @ windlass_engine::Error::MovedAway { .. }) => {
            Err(windlass_state::Error::Corrupt { place: place.to_owned(), reason: error.to_string() })
        }
        Err(_) => terraform::parse(place, content),
    }
}

/// Shows a version: which resources there are, and none of their fields.
pub fn show(name: &str, stored: &Stored, context: &Context) -> Result<ExitCode, Failure> {
    let state = Versioned::state_of(name, &stored.content)?;
    let addresses: Vec<String> = state.resources.keys().map(ToString::to_string).collect();
    if context.json() {
        output::json(&json!({
            "place": name, "fleet": state.fleet, "serial": state.serial, "lineage": state.lineage,
            "sha256": stored.sha256, "encrypted": stored.sealed, "addresses": addresses,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::out();
    writeln!(out, "{}", paint(BOLD, name))?;
    let rows = [
        ["fleet", &state.fleet],
        ["serial", &state.serial.to_string()],
        ["lineage", &state.lineage],
        ["SHA-256", &stored.sha256],
        ["encrypted", if stored.sealed { "yes" } else { "no" }],
        ["resources", &state.resources.len().to_string()],
    ]
    .map(|row| row.map(str::to_owned));
    output::table(&mut out, &rows)?;
    for (address, recorded) in &state.resources {
        let uncertain = if recorded.uncertain { " (begun, and not seen to be done)" } else { "" };
        writeln!(out, "  {address}{uncertain}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is different between two versions.
pub fn diff(name: &str, a: &Stored, b: &Stored, values: bool) -> Result<Vec<Change>, Failure> {
    let (a, b): (State, State) =
        (Versioned::state_of(name, &a.content)?, Versioned::state_of(name, &b.content)?);
    let addresses: BTreeSet<_> = a.resources.keys().chain(b.resources.keys()).collect();
    let mut changes = Vec::new();
    for address in addresses {
        let (what, attributes) = match (a.resources.get(address), b.resources.get(address)) {
            (None, _) => (What::Added, Vec::new()),
            (_, None) => (What::Removed, Vec::new()),
            (Some(one), Some(other)) if one == other => continue,
            (Some(one), Some(other)) => (What::Changed, fields(one, other, values)),
        };
        changes.push(Change { address: address.to_string(), what, attributes });
    }
    Ok(changes)
}

fn fields(one: &Recorded, other: &Recorded, values: bool) -> Vec<Attribute> {
    let all = |recorded: &Recorded| {
        let mut fields = recorded.body.as_object().cloned().unwrap_or_default();
        fields.insert("(platform)".to_owned(), recorded.platform.clone().into());
        fields.insert("(uncertain)".to_owned(), recorded.uncertain.into());
        fields
    };
    let (one, other) = (all(one), all(other));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differs = |name: &&&String| one.get(**name) != other.get(**name);
    let value = |of: &serde_json::Map<String, Value>, name: &str| of.get(name).filter(|_| values).cloned();
    names
        .iter()
        .filter(differs)
        .map(|name| Attribute {
            name: (*name).clone(),
            sensitive: false,
            before: value(&one, name),
            after: value(&other, name),
        })
        .collect()
}

/// The kernel's lock of a directory, as a lock.
pub fn lock_of(holder: Holder) -> LockInfo {
    LockInfo {
        id: "kernel".to_owned(),
        operation: holder.purpose,
        info: "it ends with its process".to_owned(),
        who: holder.who,
        version: String::new(),
        created: holder.since,
        path: String::new(),
        owner: None,
    }
}

/// What is to be checked of a fleet's state alone.
pub async fn more_checks(session: &Session) -> Result<Vec<Check>, Failure> {
    let store = session.store()?;
    let mut checks = Vec::new();
    let mut add = |what, outcome, found| {
        let workspace = windlass_state::location::DEFAULT_WORKSPACE.to_owned();
        checks.push(Check { workspace, what, outcome, found });
    };
    // What is wrong with the state itself was said before.
    let Ok(_) = store.load().await else { return Ok(checks) };
    match store.left_behind().await {
        Ok(lines) if lines.is_empty() => {
            add("journal", Outcome::Good, "no apply was ended half-way".to_owned());
        }
        Ok(lines) => {
            let found = format!(
                "an apply was ended half-way, after {} lines; the next one goes on from there",
                lines.len()
            );
            add("journal", Outcome::Note, found);
        }
        Err(error) => add("journal", Outcome::Bad, error.to_string()),
    }
    if let Some(holder) = store.local_holder()? {
        let found = format!("held by {}, for {}, since {}", holder.who, holder.purpose, holder.since);
        add("lock", Outcome::Note, found);
    }
    Ok(checks)
}

/// Brings the state up to what a killed apply has left, so that no journal is under an older key; and keeps others out
/// where the lock is the kernel's.
pub async fn ready_for_rekey(session: &Session, wait: Duration) -> Result<Option<Locked>, Failure> {
    let locked = session.lock("rekey", wait).await?;
    let store = session.store()?;
    store.end_journal().await?;
    Ok(store.is_local().then_some(locked))
}

/// Puts an older version back.
pub async fn restore(
    session: &Session,
    wanted: &str,
    wait: Duration,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let store = session.store()?;
    let restores = async {
        let mut locked = store.open_to_restore(session.label(), wait).await?;
        store.restore(&mut locked, wanted).await
    };
    // Whichever ends first, the lock is released by being dropped.
    let done = tokio::select! {
        done = restores => done?,
        () = interrupted() => return Err(stopped()),
    };
    if context.json() {
        output::json(&done)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mark = paint(GREEN, "✓");
    let mut out = output::out();
    if done.already {
        writeln!(out, "{mark} serial {} is that version already; nothing was changed", done.before)?;
    } else {
        writeln!(
            out,
            "{mark} serial {} is back as serial {} in place of serial {}: {} resources",
            done.restored, done.after, done.before, done.resources
        )?;
        output::note("what runs was not changed; `windlass plan` says how it differs");
    }
    Ok(ExitCode::SUCCESS)
}

/// Somebody pressed Ctrl-C.
pub fn stopped() -> Failure {
    Failure::from(Error::Interrupted).exit_with(crate::failure::INTERRUPTED)
}
