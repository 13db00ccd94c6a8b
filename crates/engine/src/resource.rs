//! What is wanted, one thing at a time, and the order in which things need each other.

use crate::Address;
use crate::error::Error;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// What it is called.
    pub address: Address,
    /// Where it lives, as the fleet file writes it: `self-hosted`, `cloudflare`, `synadia`.
    pub platform: String,
    /// What must be there before it. Addresses that are not wanted at all are ignored.
    pub depends_on: BTreeSet<Address>,
    /// Of actions in the same group only one runs at a time, such as restarts within a cluster.
    pub group: Option<String>,
    /// What it is to be, in the fleet file's words. It holds no secrets.
    pub body: Value,
}

impl Resource {
    /// A resource that needs nothing.
    #[must_use]
    pub fn new(address: Address, platform: &str, body: Value) -> Self {
        Self { address, platform: platform.to_owned(), depends_on: BTreeSet::new(), group: None, body }
    }

    /// With what must be there before it.
    #[must_use]
    pub fn after(mut self, addresses: impl IntoIterator<Item = Address>) -> Self {
        self.depends_on.extend(addresses);
        self
    }
}

/// Sorts addresses so that each comes after what it depends on; among equals, by address.
///
/// # Errors
/// When they depend on each other in a circle.
pub fn order(depends_on: &BTreeMap<Address, BTreeSet<Address>>) -> Result<Vec<Address>, Error> {
    let mut missing: BTreeMap<&Address, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, needs) in depends_on {
        let needs = needs.iter().filter(|need| depends_on.contains_key(need));
        let mut count = 0;
        for need in needs {
            dependents.entry(need).or_default().push(address);
            count += 1;
        }
        missing.insert(address, count);
    }
    let mut ready: BTreeSet<&Address> =
        missing.iter().filter(|(_, count)| **count == 0).map(|(address, _)| *address).collect();
    let mut sorted = Vec::with_capacity(depends_on.len());
    while let Some(address) = ready.pop_first() {
        sorted.push(address.clone());
        missing.remove(address);
        for dependent in dependents.get(address).into_iter().flatten() {
            if let Some(count) = missing.get_mut(*dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(dependent);
                }
            }
        }
    }
    match missing.into_keys().next() {
        None => Ok(sorted),
        Some(address) => Err(Error::Circle { address: address.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use proptest::prelude::*;

    fn address(number: usize) -> Address {
        Address::new(Kind::Stream, format!("S{number}"))
    }

    proptest! {
        #[test]
        fn each_comes_after_what_it_needs(edges in prop::collection::vec((0usize..20, 0usize..20), 0..60)) {
            // An edge only towards a smaller number makes no circle.
            let mut graph: BTreeMap<_, BTreeSet<_>> = (0..20).map(|number| (address(number), BTreeSet::new())).collect();
            for (from, to) in edges {
                if to < from {
                    graph.get_mut(&address(from)).unwrap().insert(address(to));
                }
            }
            let sorted = order(&graph).unwrap();
            prop_assert_eq!(sorted.len(), 20);
            let place = |wanted: &Address| sorted.iter().position(|address| address == wanted).unwrap();
            for (address, needs) in &graph {
                for need in needs {
                    prop_assert!(place(need) < place(address));
                }
            }
        }
    }

    #[test]
    fn a_circle_is_an_error() {
        let graph = BTreeMap::from([
            (address(1), BTreeSet::from([address(2)])),
            (address(2), BTreeSet::from([address(1)])),
        ]);
        assert!(matches!(order(&graph), Err(Error::Circle { .. })));
    }
}
