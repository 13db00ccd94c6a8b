//! Wanted against found: what a fleet file says becomes a plan, and a plan becomes what runs.
//!
//! 1. [`Resource`]: one thing that is wanted, with an [`Address`] that stays the same for as long as its name does.
//! 2. [`Platform`] says what is there, what differs and how that can be mended; the engine knows no platform.
//! 3. [`plan::make`] decides, purely, what to do, in which order, why and at what risk.
//! 4. [`apply::apply`] does it: journalled before and after each step, so that a killed one is continued by the next.
//! 5. [`store`] keeps the [`State`]: what was made by us. What *is* there is always asked of the servers.

mod address;
pub mod apply;
pub mod conformance;
mod error;
pub mod journal;
pub mod plan;
mod platform;
mod resource;
mod state;
pub mod store;
pub mod topology;
pub mod wanted;

pub use address::{Address, Kind, NoAddress};
pub use error::{Error, Trouble};
pub use platform::{Data, Difference, FieldChange, Found, How, Loss, Platform, Risk, Scope, Step};
pub use resource::{Resource, order};
pub use state::{FORMAT, Recorded, State};

use std::collections::BTreeMap;

/// Asks every platform what is there.
///
/// # Errors
/// When one of them cannot say.
pub async fn find(
    wanted: &[Resource],
    state: &State,
    platforms: &BTreeMap<String, &dyn Platform>,
) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    for (name, platform) in platforms {
        let here: Vec<&Resource> = wanted.iter().filter(|one| one.platform == *name).collect();
        let names: std::collections::BTreeSet<&Address> = here.iter().map(|one| &one.address).collect();
        let (memory, recorded): (Vec<_>, Vec<_>) = state
            .resources
            .iter()
            .filter(|(_, recorded)| recorded.platform == *name)
            .map(|(address, recorded)| (address, &recorded.body))
            .partition(|(address, _)| names.contains(*address));
        let scope = Scope { wanted: &here, recorded: &recorded, memory: &memory };
        let found = platform.find(scope).await;
        all.extend(found.map_err(|trouble| Error::Find { platform: name.clone(), trouble })?);
    }
    Ok(all)
}
