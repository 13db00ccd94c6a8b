//! What any platform must do, as a check that runs against it: the engine relies on all of this.
//!
//! A platform's own tests call [`check`] with resources that it can make. The suite leaves nothing behind.

use crate::platform::{Found, How, Platform, Risk, Scope, Step};
use crate::{Address, Resource, order};
use futures::future::BoxFuture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Puts something into what holds data; false where it cannot be filled like this.
pub type Fill<'a> = &'a (dyn Fn(&Resource) -> BoxFuture<'a, Result<bool, String>> + Sync);

/// What the suite works with.
#[derive(Clone)]
pub struct Fixture<'a> {
    /// Resources to make, with what they need among themselves.
    pub wanted: Vec<Resource>,
    /// The same addresses, at least one of them with another body.
    pub changed: Vec<Resource>,
    /// A resource that the platform must refuse at plan time.
    pub impossible: Option<Resource>,
    /// How to store a message in one of them.
    pub fill: Option<Fill<'a>>,
}

/// Runs the suite. A platform that serves one fleet is given twice: `platform` is of the fleet that wants
/// [`Fixture::wanted`], `after` of the one that wants [`Fixture::changed`]; else both are the same.
///
/// # Errors
/// The first thing that is not as it must be, in words.
pub async fn check(
    platform: &dyn Platform,
    after: &dyn Platform,
    fixture: &Fixture<'_>,
) -> Result<(), String> {
    let wanted = in_order(&fixture.wanted)?;
    let changed = in_order(&fixture.changed)?;
    expect(
        wanted.iter().map(|one| &one.address).eq(changed.iter().map(|one| &one.address)),
        "the changed resources have other addresses, or another order",
    )?;
    for (platform, resources) in [(platform, &wanted), (after, &changed)] {
        for resource in resources {
            let supported = platform.supports(resource);
            supported.map_err(|reason| format!("{} is refused: {reason}", resource.address))?;
        }
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
    only_what_is_asked_for(platform, &wanted).await?;
    let filled = fill(platform, &wanted, fixture).await?;
    change(after, &changed).await?;
    still_holds(after, &changed, &filled).await?;
    keeps_what_may_not_be_lost(after, &changed, &filled).await?;

    for resource in changed.iter().rev() {
        // Twice, as after a kill: the second one finds nothing to delete.
        for time in ["", " twice"] {
            let deleted = delete(after, resource, true).await;
            deleted.map_err(|trouble| format!("deleting {}{time}: {trouble}", resource.address))?;
        }
    }
    expect(find(after, &changed).await?.is_empty(), "something is left after all was deleted")
}

/// A difference is told the same way twice, and mended as the platform says; what it says can be done twice as well.
async fn change(platform: &dyn Platform, changed: &[Resource]) -> Result<(), String> {
    let mut differences = 0;
    for resource in changed {
        let found = found(platform, changed, &resource.address).await?;
        let compared = platform.compare(resource, &found)?;
        expect(compared == platform.compare(resource, &found)?, "comparing twice gives two answers")?;
        let Some(difference) = compared else { continue };
        differences += 1;
        expect(
            !difference.fields.is_empty() || difference.why.is_some(),
            "a difference says neither which field nor why",
        )?;
        expect(
            difference.how != How::Restart || difference.risk >= Risk::Interrupts || found.trouble.is_some(),
            "what is started again is said not to be interrupted",
        )?;
        let allow_data_loss = difference.risk >= Risk::LosesData;
        let step = Step::Change { wanted: resource, found: &found, how: difference.how, allow_data_loss };
        for _ in 0..2 {
            platform.apply(step).await.map_err(|trouble| format!("{}: {trouble}", resource.address))?;
        }
    }
    expect(differences > 0, "the changed resources differ in nothing")?;
    settled(platform, changed, "after it was changed").await
}

/// What was not asked for is not reported, also when it is there.
async fn only_what_is_asked_for(platform: &dyn Platform, wanted: &[Resource]) -> Result<(), String> {
    expect(find(platform, &[]).await?.is_empty(), "something is found though nothing was asked for")?;
    for resource in wanted {
        let all = find(platform, std::slice::from_ref(resource)).await?;
        let addresses: Vec<&Address> = all.iter().map(|found| &found.address).collect();
        if addresses != [&resource.address] {
            return Err(format!("{} was asked for, and {addresses:?} found", resource.address));
        }
    }
    // What left the file is asked for by what is recorded of it.
    let recorded: Vec<(&Address, &Value)> = wanted.iter().map(|one| (&one.address, &one.body)).collect();
    let scope = Scope { wanted: &[], recorded: &recorded, memory: &[] };
    let all = platform.find(scope).await.map_err(|trouble| trouble.to_string())?;
    let seen: BTreeSet<&Address> = all.iter().map(|found| &found.address).collect();
    match wanted.iter().find(|one| !seen.contains(&one.address)) {
        Some(missing) => Err(format!("{} is not found by what is recorded of it", missing.address)),
        None => Ok(()),
    }
}

/// Stores a message wherever one can be stored, and sees that it is counted.
async fn fill<'a>(
    platform: &dyn Platform,
    wanted: &'a [Resource],
    fixture: &Fixture<'_>,
) -> Result<BTreeSet<&'a Address>, String> {
    let mut filled = BTreeSet::new();
    let Some(fill) = fixture.fill else { return Ok(filled) };
    for resource in wanted.iter().filter(|one| one.address.kind.holds_data()) {
        if fill(resource).await? {
            filled.insert(&resource.address);
        }
    }
    expect(!filled.is_empty(), "nothing could be filled")?;
    still_holds(platform, wanted, &filled).await?;
    Ok(filled)
}

async fn still_holds(
    platform: &dyn Platform,
    wanted: &[Resource],
    filled: &BTreeSet<&Address>,
) -> Result<(), String> {
    for address in filled {
        let found = found(platform, wanted, address).await?;
        expect(found.data.messages > 0 && found.data.bytes > 0, "what is stored is not counted, or lost")?;
        let risk = platform.deletion(address, &found)?;
        expect(risk >= Risk::LosesData, "deleting what holds data is said to lose none")?;
    }
    Ok(())
}

/// What holds data and may not lose it is not deleted, whatever the plan has seen.
async fn keeps_what_may_not_be_lost(
    platform: &dyn Platform,
    wanted: &[Resource],
    filled: &BTreeSet<&Address>,
) -> Result<(), String> {
    for resource in wanted.iter().filter(|one| filled.contains(&one.address)) {
        if delete(platform, resource, false).await.is_ok() {
            return Err(format!("{} was deleted with its data, which was not allowed", resource.address));
        }
    }
    still_holds(platform, wanted, filled).await?;
    settled(platform, wanted, "after its deletion was refused").await
}

async fn found(platform: &dyn Platform, all: &[Resource], address: &Address) -> Result<Found, String> {
    let mut found = find(platform, all).await?.into_iter();
    found.find(|one| one.address == *address).ok_or_else(|| format!("{address} is not found"))
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

async fn delete(platform: &dyn Platform, resource: &Resource, allow_data_loss: bool) -> Result<(), String> {
    let step = Step::Delete { address: &resource.address, body: &resource.body, allow_data_loss };
    platform.apply(step).await.map_err(|trouble| trouble.to_string())
}
