//! Synadia Cloud: the cheapest plan that the workload fits in, and data above it.

use rust_decimal::Decimal;

use super::{Draft, gib};
use crate::Error;
use crate::money::{counted, quantity};
use crate::workload::{Workload, n};

pub(super) fn fill(draft: &mut Draft<'_>, workload: &Workload) -> Result<(), Error> {
    let egress = gib(workload.egress());
    let needs = [
        ("connections", workload.connections),
        ("leaf-nodes", workload.leaf_nodes),
        ("storage-gib", gib(workload.stored_gb)),
        ("message-mib", workload.message_bytes / n(1 << 20)),
    ];
    let fits = |price: &&crate::prices::Price| needs.iter().all(|(what, need)| price.includes(what) >= *need);
    let overage = draft.prices.price("synadia.egress")?.first();
    // A small plan with much data above it may cost more than a large one.
    let mut best: Option<(Decimal, String, Decimal)> = None;
    for price in draft.prices.family("synadia.plan.").filter(fits) {
        let above = (egress - price.includes("data-gib")).max(Decimal::ZERO);
        // The free plan ends where its data does.
        if price.first().amount().is_zero() && !above.is_zero() {
            continue;
        }
        let total = price.first().plus(overage.times(above)?)?.amount();
        if best.as_ref().is_none_or(|(least, ..)| total < *least) {
            best = Some((total, price.id.clone(), above));
        }
    }
    let Some((_, plan, above)) = best else {
        let needs = format!(
            "{}, {} and {} GiB stored need a plan without a listed price",
            counted(workload.connections, "connection"),
            counted(workload.leaf_nodes, "leaf node"),
            quantity(gib(workload.stored_gb))
        );
        draft.give_up(needs);
        return Ok(());
    };
    let included = draft.prices.price(&plan)?.includes("data-gib");
    draft.line(&plan, Decimal::ONE, "the cheapest that fits, whole even for a part of a month".into())?;
    let basis = format!("{} GiB − {} GiB in the plan", quantity(egress), quantity(included));
    draft.line("synadia.egress", above, basis)?;
    if !workload.webhooks.is_zero() {
        draft.leaves_out("a machine for the webhook receiver");
    }
    if !workload.objects.gb.is_zero() {
        let gb = quantity(workload.objects.gb);
        draft.leaves_out(&format!("an object store for {gb} GB, and its requests"));
    }
    draft.leaves_out("storage with replicas (HA), of which the plans have less");
    Ok(())
}
