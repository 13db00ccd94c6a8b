//! What a plan does to the bill.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use windlass_cost::bill::{Provenance, Terms};
use windlass_cost::{Currency, Decimal, Money};
use windlass_engine::plan::{Do, Plan, Wish};
use windlass_engine::{Address, Kind, Recorded, Resource, State};
use windlass_fleet::Fleet;

use super::{Estimate, Parts, prices_of};
use crate::failure::Failure;

/// What a month costs before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
    /// The difference, with its sign.
    pub change: String,
    #[serde(skip)]
    difference: Decimal,
}

impl Change {
    /// Both are rounded before, so that changes that are printed add up to the change that is printed.
    fn of(before: Money, after: Money) -> Result<Self, windlass_cost::Error> {
        let (before, after) = (before.rounded(), after.rounded());
        let difference = after.minus(before)?;
        let sign = if difference.amount() > Decimal::ZERO { "+" } else { "" };
        let change = if difference.amount().is_zero() {
            "0.00".to_owned()
        } else {
            format!("{sign}{}", difference.cents())
        };
        Ok(Self { before: before.cents(), after: after.cents(), change, difference: difference.amount() })
    }

    /// Whether nothing changes.
    pub fn is_nothing(&self) -> bool {
        self.difference.is_zero()
    }
}

/// Resources that cost something, with their platforms and what they are.
pub(super) type Things = BTreeMap<Address, (String, Value)>;

fn matters(address: &Address) -> bool {
    matches!(address.kind, Kind::Server | Kind::Cluster | Kind::Receiver | Kind::Worker | Kind::Container)
}

/// What is there when the plan is done.
fn after(before: &Things, wanted: &[Resource], plan: &Plan, wish: &Wish) -> Things {
    let mut things = before.clone();
    let actions: BTreeMap<&Address, Do> =
        plan.actions.iter().map(|action| (&action.address, action.what)).collect();
    let blocked: BTreeSet<&Address> = plan.blocked.iter().map(|blocked| &blocked.address).collect();
    things.retain(|address, _| actions.get(address) != Some(&Do::Delete));
    for resource in wanted.iter().filter(|resource| matters(&resource.address)) {
        let address = &resource.address;
        // What is as wanted has no action; what is no target has none either, and stays as it is.
        let as_wanted = wish.targets.is_empty() && !wish.destroy && !blocked.contains(address);
        let made = match actions.get(address) {
            Some(Do::Delete) => false,
            Some(_) => true,
            None => as_wanted,
        };
        if made {
            things.insert(address.clone(), (resource.platform.clone(), resource.body.clone()));
        }
    }
    things
}

/// What a plan does to the bill.
#[derive(Clone, Debug, Serialize)]
pub struct PlanCost {
    /// In which currency everything is.
    pub currency: Currency,
    /// The month's total, with what is free on each platform taken off.
    pub monthly: Change,
    /// What each action changes of the total, in the order of the plan: `before` is the total when those above it are done. Of
    /// what a cluster's servers share (a load balancer, messages, streams, what is free), the first to need it has all.
    pub actions: BTreeMap<Address, Change>,
    /// What cannot be on the platform where it is to be, and so has no price. The totals are without it.
    pub no_price: Vec<String>,
    /// What is not counted.
    pub not_counted: Vec<String>,
    /// Where the figures come from.
    pub prices: Provenance,
}

impl PlanCost {
    /// Of a plan: what was recorded, and what will be when all of it is done.
    pub fn of(
        fleet: &Fleet,
        base: Option<&Path>,
        (wanted, state): (&[Resource], &State),
        plan: &Plan,
        wish: &Wish,
    ) -> Result<Self, Failure> {
        let prices = prices_of(fleet, base, None)?;
        let cost = &fleet.cost;
        let terms = Terms { list_prices: cost.list_prices };
        let estimate =
            |parts: &Parts, terms: Terms| Estimate::of(parts, cost, &prices, terms, &|workload| Ok(workload));
        let recorded = |(address, there): (&'_ Address, &'_ Recorded)| {
            (address.clone(), (there.platform.clone(), there.body.clone()))
        };
        let before: Things =
            state.resources.iter().filter(|(address, _)| matters(address)).map(recorded).collect();
        let after = after(&before, wanted, plan, wish);
        let total = |things: &Things| estimate(&Parts::of_things(fleet, things), terms);
        let (total_before, total_after) = (total(&before)?, total(&after)?);
        let mut actions = BTreeMap::new();
        let (mut things, mut parts) = (before.clone(), Parts::of_things(fleet, &before));
        let mut sum = total_before.total;
        let mattering = plan.actions.iter().map(|action| &action.address).filter(|one| matters(one));
        let last = mattering.clone().next_back();
        for address in mattering {
            let (old, new) = (things.remove(address), after.get(address));
            let cut =
                old.as_ref().is_none_or(|(platform, body)| parts.remove_server(address, platform, body));
            if let Some(new) = new {
                things.insert(address.clone(), new.clone());
            }
            if !cut || things.len() <= 1 {
                parts = Parts::of_things(fleet, &things);
            } else if let Some((platform, body)) = new {
                parts.add(address, platform, body);
            }
            // The last has what is left, whatever had no price on the way there.
            let next = if Some(address) == last {
                total_after.total
            } else {
                let step = estimate(&parts, terms)?;
                if step.has_no_price() { sum } else { step.total }
            };
            let change = Change::of(sum, next)?;
            sum = next;
            if !change.is_nothing() {
                actions.insert(address.clone(), change);
            }
        }
        let mut not_counted = total_after.left_out();
        let blocked = plan.blocked.iter().filter(|blocked| matters(&blocked.address));
        not_counted.extend(blocked.map(|blocked| format!("{}, which cannot be made", blocked.address)));
        Ok(Self {
            currency: Currency::Usd,
            monthly: Change::of(total_before.total, total_after.total)?,
            actions,
            no_price: total_after.no_price(),
            not_counted,
            prices: total_after.provenance(&prices),
        })
    }

    /// The column beside an action.
    pub fn column(&self) -> BTreeMap<Address, String> {
        let text = |change: &Change| format!("{} {}/month", change.change, self.currency);
        self.actions.iter().map(|(address, change)| (address.clone(), text(change))).collect()
    }

    /// The line below the plan.
    pub fn line(&self) -> String {
        if let Some(why) = self.no_price.first() {
            return format!("What a month costs has no total: {why}.");
        }
        if self.prices.prices == 0 && self.monthly.is_nothing() && !self.not_counted.is_empty() {
            return format!("Costs are not counted: {}.", self.not_counted.join("; "));
        }
        let mut line = format!("Costs {} {} a month", self.monthly.after, self.currency);
        if !self.monthly.is_nothing() {
            line.push_str(&format!(" ({} with this plan)", self.monthly.change));
        }
        if self.prices.prices > 0 {
            line.push_str(&format!("; {}", lower(&self.prices.sentence())));
        } else {
            line.push('.');
        }
        if !self.not_counted.is_empty() {
            line.push_str(&format!(" Not counted: {}.", self.not_counted.join("; ")));
        }
        line
    }
}

fn lower(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}
