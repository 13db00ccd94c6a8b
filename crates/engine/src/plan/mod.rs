//! The plan: what will change, why, and what it puts at risk.
//!
//! [`make`] is a pure function over what is wanted, what is recorded and what was found. The same three give the same
//! plan, byte for byte: that is how a plan that was looked at yesterday is known to be still true today ([`Plan::world`]).

mod render;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::platform::{Difference, FieldChange, Found, How, Loss, Platform, Risk};
use crate::resource::order;
use crate::state::State;
use crate::{Address, Resource};
pub use render::{Style, render, render_with};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Do {
    /// It is made.
    Create,
    /// It is changed while it goes on.
    Update,
    /// It is changed and started again.
    Restart,
    /// It is deleted and made anew.
    Replace,
    /// It is deleted.
    Delete,
}

impl Do {
    /// The sign in front of it.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Create => "+",
            Self::Update => "~",
            Self::Restart => "!",
            Self::Replace => "±",
            Self::Delete => "-",
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// To what.
    pub address: Address,
    /// What.
    #[serde(rename = "do")]
    pub what: Do,
    /// Why.
    pub reason: String,
    /// What it puts at risk.
    pub risk: Risk,
    /// What changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// What would be lost, where something would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loses: Option<Loss>,
    /// Actions that have to be done before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<Address>,
    /// Of a group only one action runs at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where it lives.
    pub platform: String,
}

/// Something that is wanted and cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// What.
    pub address: Address,
    /// Where it should live.
    pub platform: String,
    /// Why not.
    pub reason: String,
}

/// Something that is to be deleted and cannot be seen, so that nobody can say what would be lost: a later plan decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// What.
    pub address: Address,
    /// Why not now.
    pub reason: String,
}

/// Something to know about a resource that can be made as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Of which.
    pub address: Address,
    /// What.
    pub text: String,
}

/// All there is to do, in an order in which it can be done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The fleet.
    pub fleet: String,
    /// The environment, if one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What to do.
    pub actions: Vec<Action>,
    /// What is wanted and cannot be made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Blocked>,
    /// What is to be deleted as soon as it can be seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deferred: Vec<Deferred>,
    /// What a person should know of what is wanted: it can be made, and is not as good as it could be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// How many resources are as wanted.
    pub unchanged: usize,
    /// A digest of everything that the plan was made from.
    pub world: String,
}

/// What a plan is to be about.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Only these and what they need; all, when empty.
    pub targets: Vec<Address>,
    /// Delete instead of make.
    pub destroy: bool,
}

/// How many there are of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// To be made.
    pub create: usize,
    /// To be changed, in place or by a restart.
    pub change: usize,
    /// To be made anew.
    pub replace: usize,
    /// To be deleted.
    pub delete: usize,
}

impl Plan {
    /// Whether there is nothing to do now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Whether everything is as wanted: nothing to do, now or later, and nothing that cannot be done.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.actions.is_empty() && self.blocked.is_empty() && self.deferred.is_empty()
    }

    /// How many actions of each sort there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for action in &self.actions {
            match action.what {
                Do::Create => counts.create += 1,
                Do::Update | Do::Restart => counts.change += 1,
                Do::Replace => counts.replace += 1,
                Do::Delete => counts.delete += 1,
            }
        }
        counts
    }

    /// What would be lost, one line for each; empty when nothing would.
    #[must_use]
    pub fn losses(&self) -> Vec<String> {
        let losing = self.actions.iter().filter(|action| action.risk >= Risk::LosesData);
        losing
            .map(|action| {
                let what = match action.loses.filter(|loss| loss.messages > 0) {
                    Some(loss) => render::loss(loss, action.address.kind.unit()),
                    None => action.risk.as_str().to_owned(),
                };
                format!("{} ({what})", action.address)
            })
            .collect()
    }
}

/// Decides what to do.
///
/// # Errors
/// When a target is unknown, or resources depend on each other in a circle.
pub fn make(
    wanted: &[Resource],
    state: &State,
    found: &[Found],
    platforms: &BTreeMap<String, &dyn Platform>,
    wish: &Wish,
) -> Result<Plan, Error> {
    let all: BTreeMap<&Address, &Resource> =
        wanted.iter().map(|resource| (&resource.address, resource)).collect();
    let found: BTreeMap<&Address, &Found> = found.iter().map(|found| (&found.address, found)).collect();
    let selected = select(&all, state, wish)?;
    let is_selected = |address: &Address| selected.as_ref().is_none_or(|selected| selected.contains(address));
    let mut plan = Plan { fleet: state.fleet.clone(), ..Plan::default() };
    let mut actions = BTreeMap::new();
    let mut as_wanted = BTreeSet::new();

    for (address, resource) in &all {
        if wish.destroy || !is_selected(address) {
            continue;
        }
        let block = |reason: String| Blocked {
            address: (*address).clone(),
            platform: resource.platform.clone(),
            reason,
        };
        let Some(platform) = platforms.get(&resource.platform) else {
            let reason = format!("this version of Windlass cannot apply the platform {}", resource.platform);
            plan.blocked.push(block(reason));
            continue;
        };
        if let Err(reason) = platform.supports(resource) {
            plan.blocked.push(block(reason));
            continue;
        }
        let warnings = platform.warnings(resource).into_iter();
        plan.warnings.extend(warnings.map(|text| Warning { address: (*address).clone(), text }));
        let there = found.get(address).copied();
        match judge(resource, there, state, *platform) {
            Ok(Some(action)) => {
                actions.insert((*address).clone(), action);
            }
            Ok(None) => drop(as_wanted.insert(*address)),
            Err(reason) => plan.blocked.push(block(reason)),
        }
    }
    replace_what_is_inside(&mut actions, &all, &found);
    plan.unchanged = as_wanted.iter().filter(|address| !actions.contains_key(**address)).count();
    block_dependents(&mut plan, &mut actions, &all);
    for (address, recorded) in &state.resources {
        let gone = wish.destroy || !all.contains_key(address);
        if !gone || !is_selected(address) {
            continue;
        }
        let there = found.get(address).copied();
        let unseen = there.filter(|there| there.unseen && address.kind.holds_data());
        if let Some(there) = unseen.filter(|_| !wish.destroy) {
            let reason = there.trouble.clone().unwrap_or_else(|| "it cannot be seen".to_owned());
            plan.deferred.push(Deferred { address: address.clone(), reason });
            continue;
        }
        match deletion(address, &recorded.platform, there, platforms, wish.destroy) {
            Ok(action) => drop(actions.insert(address.clone(), action)),
            Err(reason) => plan.deferred.push(Deferred { address: address.clone(), reason }),
        }
    }
    sort(&mut plan, actions, &all, state)?;
    plan.world = world(&plan, wanted);
    Ok(plan)
}

/// What is inside something that is deleted and made anew goes with it, whether it is as wanted or not, and whether or not
/// it is a target: it is made anew as well.
fn replace_what_is_inside(
    actions: &mut BTreeMap<Address, Action>,
    wanted: &BTreeMap<&Address, &Resource>,
    found: &BTreeMap<&Address, &Found>,
) {
    let replaces = |action: &Action| action.what == Do::Replace;
    if !actions.values().any(replaces) {
        return;
    }
    for (address, resource) in wanted.iter().filter(|(address, _)| found.contains_key(**address)) {
        let around =
            |need: &&Address| address.kind.is_inside(need.kind) && actions.get(*need).is_some_and(replaces);
        let Some(around) = resource.depends_on.iter().find(around) else { continue };
        let reason = format!("it is in {around}, which is deleted and made anew");
        let before = actions.remove(*address);
        let action = Action {
            address: (*address).clone(),
            what: Do::Replace,
            reason,
            // Its place in what was there is gone.
            risk: before.as_ref().map_or(Risk::None, |action| action.risk).max(Risk::Irreversible),
            fields: before.map(|action| action.fields).unwrap_or_default(),
            loses: None,
            after: BTreeSet::new(),
            group: resource.group.clone(),
            platform: resource.platform.clone(),
        };
        actions.insert((*address).clone(), action);
    }
}

/// What depends on something that cannot be made, however indirectly, is not begun either.
fn block_dependents(
    plan: &mut Plan,
    actions: &mut BTreeMap<Address, Action>,
    wanted: &BTreeMap<&Address, &Resource>,
) {
    if plan.blocked.is_empty() {
        return;
    }
    let mut dependents: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, resource) in wanted {
        for need in &resource.depends_on {
            dependents.entry(need).or_default().push(address);
        }
    }
    let causes: Vec<Address> = plan.blocked.iter().map(|blocked| blocked.address.clone()).collect();
    let mut seen: BTreeSet<&Address> = causes.iter().collect();
    let mut next: Vec<(&Address, &Address)> = causes.iter().map(|cause| (cause, cause)).collect();
    while let Some((address, cause)) = next.pop() {
        for dependent in dependents.get(address).into_iter().flatten() {
            if !seen.insert(dependent) {
                continue;
            }
            next.push((dependent, cause));
            if let Some(action) = actions.remove(dependent) {
                let reason = format!("it needs {cause}");
                plan.blocked.push(Blocked { address: action.address, platform: action.platform, reason });
            }
        }
    }
}

fn deletion(
    address: &Address,
    platform: &str,
    there: Option<&Found>,
    platforms: &BTreeMap<String, &dyn Platform>,
    destroy: bool,
) -> Result<Action, String> {
    let unseen = there.is_some_and(|there| there.unseen);
    let risk = match there {
        // Nobody can say what it holds.
        Some(_) if unseen && address.kind.holds_data() => Risk::LosesData,
        Some(there) => {
            platforms.get(platform).map_or(Ok(Risk::None), |platform| platform.deletion(address, there))?
        }
        None => Risk::None,
    };
    let reason = match (destroy, there) {
        (_, None) => "it is gone already, and leaves the state",
        (true, _) => "everything is to be destroyed",
        (false, _) => "the fleet file no longer has it",
    };
    Ok(Action {
        address: address.clone(),
        what: Do::Delete,
        reason: reason.to_owned(),
        risk,
        fields: Vec::new(),
        loses: there.filter(|_| risk >= Risk::LosesData && !unseen).map(|there| there.data.into()),
        after: BTreeSet::new(),
        group: None,
        platform: platform.to_owned(),
    })
}

/// The addresses that the targets mean, with what they need (or, to destroy, with what needs them).
fn select(
    wanted: &BTreeMap<&Address, &Resource>,
    state: &State,
    wish: &Wish,
) -> Result<Option<BTreeSet<Address>>, Error> {
    if wish.targets.is_empty() {
        return Ok(None);
    }
    let mut selected = BTreeSet::new();
    let mut next: Vec<Address> = wish.targets.clone();
    for target in &wish.targets {
        if !wanted.contains_key(target) && !state.resources.contains_key(target) {
            return Err(Error::Unknown {
                address: target.to_string(),
                place: "in the fleet file or in the state",
            });
        }
    }
    while let Some(address) = next.pop() {
        if wish.destroy {
            let dependents =
                state.resources.iter().filter(|(_, recorded)| recorded.depends_on.contains(&address));
            next.extend(dependents.map(|(address, _)| address.clone()).filter(|one| !selected.contains(one)));
        } else if let Some(resource) = wanted.get(&address) {
            next.extend(resource.depends_on.iter().filter(|one| !selected.contains(*one)).cloned());
        }
        selected.insert(address);
    }
    Ok(Some(selected))
}

/// What one wanted resource needs; `None` when nothing.
fn judge(
    resource: &Resource,
    there: Option<&Found>,
    state: &State,
    platform: &dyn Platform,
) -> Result<Option<Action>, String> {
    let recorded = state.resources.get(&resource.address);
    let action = |what, reason: String, risk, fields, loses| Action {
        address: resource.address.clone(),
        what,
        reason,
        risk,
        fields,
        loses,
        after: BTreeSet::new(),
        group: resource.group.clone(),
        platform: resource.platform.clone(),
    };
    let Some(there) = there else {
        let reason = match recorded {
            Some(recorded) if !recorded.uncertain => "it was there, and is gone: somebody deleted it",
            _ => "it is new",
        };
        return Ok(Some(action(Do::Create, reason.to_owned(), Risk::None, Vec::new(), None)));
    };
    let Some(difference) = platform.compare(resource, there)? else { return Ok(None) };
    let Difference { how, fields, risk, why } = difference;
    let reason = why.unwrap_or_else(|| match recorded {
        None => "it is there already, made by somebody else, and comes under this file".to_owned(),
        Some(recorded) if recorded.body == resource.body => {
            "it was changed by somebody else since the last apply (drift)".to_owned()
        }
        Some(_) => "the fleet file has changed".to_owned(),
    });
    let loses = (risk >= Risk::LosesData).then(|| platform.loss(resource, there));
    let what = match how {
        How::InPlace => Do::Update,
        How::Restart => Do::Restart,
        How::Replace => Do::Replace,
    };
    Ok(Some(action(what, reason, risk, fields, loses)))
}

/// Puts actions in order: what is needed before what needs it, deletions the other way round. Deletions come first: a
/// stream under a new name takes the subjects of the old one, and no two streams may have the same.
fn sort(
    plan: &mut Plan,
    mut actions: BTreeMap<Address, Action>,
    wanted: &BTreeMap<&Address, &Resource>,
    state: &State,
) -> Result<(), Error> {
    let is_deletion: BTreeMap<Address, bool> =
        actions.iter().map(|(address, action)| (address.clone(), action.what == Do::Delete)).collect();
    for (address, resource) in wanted {
        let makes = |one: &&Address| is_deletion.get(*one) == Some(&false);
        if let Some(action) = actions.get_mut(*address).filter(|action| action.what != Do::Delete) {
            action.after = resource.depends_on.iter().filter(makes).cloned().collect();
        }
    }
    let deletions: Vec<Address> =
        is_deletion.iter().filter(|(_, deletes)| **deletes).map(|(address, _)| address.clone()).collect();
    for address in &deletions {
        for need in state.resources.get(address).into_iter().flat_map(|recorded| &recorded.depends_on) {
            if is_deletion.get(need) == Some(&true)
                && let Some(action) = actions.get_mut(need)
            {
                action.after.insert(address.clone());
            }
        }
    }
    let graph = actions.iter().map(|(address, action)| (address.clone(), action.after.clone())).collect();
    let mut sorted: Vec<Action> =
        order(&graph)?.iter().filter_map(|address| actions.remove(address)).collect();
    sorted.sort_by_key(|action| action.what != Do::Delete);
    plan.actions = sorted;
    Ok(())
}

fn world(plan: &Plan, wanted: &[Resource]) -> String {
    let mut digest = Sha256::new();
    let mut feed = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    feed(&plan.fleet);
    // An action stands for what it found: messages that arrive meanwhile move the world only where they would be lost.
    for action in &plan.actions {
        feed(&action.address.to_string());
        feed(&format!("{:?} {:?} {:?}", action.what, action.fields, action.loses));
    }
    let others = plan.blocked.iter().map(|blocked| &blocked.address);
    for address in others.chain(plan.deferred.iter().map(|deferred| &deferred.address)) {
        feed(&address.to_string());
    }
    for resource in wanted {
        feed(&resource.address.to_string());
        feed(&resource.body.to_string());
    }
    hex::encode(digest.finalize())
}
