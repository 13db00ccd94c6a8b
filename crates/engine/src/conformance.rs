//! What any platform must do, as a check that runs against it: the engine relies on all of this.
//!
//! A platform's own tests call [`check`] with resources that it can make. The suite leaves nothing behind.

use crate::platform::{Platform, Scope, Step};
use crate::{Address, Found, Resource, order};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the suite works with.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Resources to make, with what they need among themselves.
    pub wanted: Vec<Resource>,
    /// The same addresses, at least one of them with another body.
    pub changed: Vec<Resource>,
    /// A resource that the platform must refuse at plan time.
    pub impossible: Option<Resource>,
}

/// Runs the suite.
///
/// # Errors
/// The first thing that is not as it must be, in words.
pub async fn check(platform: &dyn Platform, fixture: &Fixture) -> Result<(), String> {
    let wanted = in_order(&fixture.wanted)?;
    let changed = in_order(&fixture.changed)?;
    for resource in wanted.iter().chain(&changed) {
        platform.supports(resource).map_err(|reason| format!("{} is refused: {reason}", resource.address))?;
    }
    if let Some(impossible) = &fixture.impossible
        && platform.supports(impossible).is_ok()
    {
        return Err(format!("{} is not refused at plan time", impossible.address));
    }
    expect(find(platform, &wanted).await?.is_empty(), "something is there before anything was made")?;

    make(platform, &wanted).await?;
    settled(platform, &wanted, "after it was made").await?;
    // A killed apply does a step again that was done.
    make(platform, &wanted).await.map_err(|reason| format!("making it twice: {reason}"))?;
    settled(platform, &wanted, "after it was made twice").await?;

    let mut differences = 0;
    for resource in &changed {
        let all = find(platform, &changed).await?;
        let Some(found) = all.iter().find(|found| found.address == resource.address) else {
            return Err(format!("{} is not found before its change", resource.address));
        };
        let compared = platform.compare(resource, found)?;
        expect(compared == platform.compare(resource, found)?, "comparing twice gives two answers")?;
        if let Some(difference) = compared {
            differences += 1;
            let step = Step::Change { wanted: resource, found, how: difference.how, allow_data_loss: true };
            platform.apply(step).await.map_err(|trouble| format!("{}: {trouble}", resource.address))?;
        }
    }
    expect(differences > 0, "the changed resources differ in nothing")?;
    settled(platform, &changed, "after it was changed").await?;

    for resource in changed.iter().rev() {
        delete(platform, resource).await?;
    }
    for resource in changed.iter().rev() {
        delete(platform, resource).await.map_err(|reason| format!("deleting it twice: {reason}"))?;
    }
    expect(find(platform, &changed).await?.is_empty(), "something is left after all was deleted")
}

fn expect(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn in_order(resources: &[Resource]) -> Result<Vec<Resource>, String> {
    let graph = resources.iter().map(|one| (one.address.clone(), one.depends_on.clone())).collect();
    let by_address: BTreeMap<&Address, &Resource> = resources.iter().map(|one| (&one.address, one)).collect();
    let sorted = order(&graph).map_err(|error| error.to_string())?;
    Ok(sorted.iter().filter_map(|address| by_address.get(address).map(|one| (*one).clone())).collect())
}

async fn find(platform: &dyn Platform, wanted: &[Resource]) -> Result<Vec<Found>, String> {
    let wanted: Vec<&Resource> = wanted.iter().collect();
    platform
        .find(Scope { wanted: &wanted, recorded: &[], memory: &[] })
        .await
        .map_err(|trouble| trouble.to_string())
}

async fn make(platform: &dyn Platform, wanted: &[Resource]) -> Result<(), String> {
    // What does not need each other is made at the same time: three servers need a quorum to become ready.
    let mut made = Vec::new();
    while made.len() < wanted.len() {
        let needs = |one: &&Resource| {
            !made.contains(&one.address)
                && one
                    .depends_on
                    .iter()
                    .all(|need| made.contains(need) || wanted.iter().all(|w| w.address != *need))
        };
        let layer: Vec<&Resource> = wanted.iter().filter(needs).collect();
        let steps = layer.iter().map(|one| platform.apply(Step::Create(one)));
        for (resource, result) in layer.iter().zip(futures::future::join_all(steps).await) {
            result.map_err(|trouble| format!("{}: {trouble}", resource.address))?;
        }
        made.extend(layer.iter().map(|one| one.address.clone()));
    }
    Ok(())
}

async fn settled(platform: &dyn Platform, wanted: &[Resource], when: &str) -> Result<(), String> {
    let all = find(platform, wanted).await?;
    for resource in wanted {
        let found = all.iter().find(|found| found.address == resource.address);
        let Some(found) = found else { return Err(format!("{} is not found {when}", resource.address)) };
        if let Some(trouble) = &found.trouble {
            return Err(format!("{} is in trouble {when}: {trouble}", resource.address));
        }
        if let Some(difference) = platform.compare(resource, found)? {
            return Err(format!("{} differs {when}: {difference:?}", resource.address));
        }
    }
    Ok(())
}

async fn delete(platform: &dyn Platform, resource: &Resource) -> Result<(), String> {
    let body: &Value = &resource.body;
    let step = Step::Delete { address: &resource.address, body, allow_data_loss: true };
    platform.apply(step).await.map_err(|trouble| format!("{}: {trouble}", resource.address))
}
