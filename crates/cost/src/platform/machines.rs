//! Machines by the month: DigitalOcean's, Hetzner's, and one's own.

use rust_decimal::Decimal;

use super::{Draft, gib};
use crate::Error;
use crate::money::{counted, quantity};
use crate::prices::{Price, PriceList};
use crate::workload::{Size, Workload, n};

/// The cheapest machine of a family that a server fits in.
pub(super) fn smallest<'l>(prices: &'l PriceList, family: &'l str, size: Size) -> Option<&'l Price> {
    prices
        .family(family)
        .filter(|price| {
            price.includes("vcpu") >= size.vcpu && price.includes("memory-gib") >= size.memory_gib
        })
        .min_by_key(|price| price.first().amount())
}

/// What the machines that were taken have in them, all together.
#[derive(Default)]
struct Taken {
    disk: Decimal,
    transfer: Decimal,
}

/// A line for each size of machine; nothing when a server fits in none.
fn take(
    draft: &mut Draft<'_>,
    workload: &Workload,
    family: &str,
    [disk, transfer]: [&str; 2],
) -> Result<Option<Taken>, Error> {
    let of_month = workload.of_month();
    let mut taken = Taken::default();
    for servers in workload.servers.iter().filter(|servers| !servers.count.is_zero()) {
        let Some(price) = smallest(draft.prices, family, servers.size) else {
            let (vcpu, memory) = (quantity(servers.size.vcpu), quantity(servers.size.memory_gib));
            draft.give_up(format!("no machine of the list is large enough for {vcpu} vCPU and {memory} GiB"));
            return Ok(None);
        };
        taken.disk += servers.count * price.includes(disk);
        taken.transfer += servers.count * price.includes(transfer) * of_month;
        let id = price.id.clone();
        let basis =
            format!("{} × {} of a month; it does not sleep", quantity(servers.count), quantity(of_month));
        draft.line(&id, servers.count * of_month, basis)?;
    }
    Ok(Some(taken))
}

fn above(usage: Decimal, included: Decimal) -> Decimal {
    (usage - included).max(Decimal::ZERO)
}

fn objects_are_left_out(draft: &mut Draft<'_>, workload: &Workload) {
    if !workload.objects.gb.is_zero() {
        let gb = quantity(workload.objects.gb);
        draft.leaves_out(&format!("an object store for {gb} GB, and its requests"));
    }
}

pub(super) fn digital_ocean(draft: &mut Draft<'_>, workload: &Workload) -> Result<(), Error> {
    let included = ["disk-gib", "transfer-gib"];
    let Some(taken) = take(draft, workload, "digitalocean.droplet.", included)? else { return Ok(()) };
    let stored = gib(workload.stored_gb);
    let basis = format!("{} GiB − {} GiB in the Droplets", quantity(stored), quantity(taken.disk));
    draft.line("digitalocean.volume", above(stored, taken.disk) * workload.of_month(), basis)?;
    let egress = gib(workload.egress());
    let basis = format!("{} GiB − {} GiB in the Droplets' pool", quantity(egress), quantity(taken.transfer));
    draft.line("digitalocean.transfer", above(egress, taken.transfer), basis)?;
    objects_are_left_out(draft, workload);
    draft.leaves_out("a load balancer: NATS clients know every server");
    Ok(())
}

pub(super) fn hetzner(draft: &mut Draft<'_>, workload: &Workload) -> Result<(), Error> {
    let included = ["disk-gb", "traffic-tb"];
    let Some(taken) = take(draft, workload, "hetzner.server.", included)? else { return Ok(()) };
    let (count, of_month) = (workload.server_count(), workload.of_month());
    let basis = format!("{} × {} of a month", counted(count, "server"), quantity(of_month));
    draft.line("hetzner.ipv4", count * of_month, basis)?;
    let stored = workload.stored_gb;
    let basis = format!("{} GB − {} GB in the servers", quantity(stored), quantity(taken.disk));
    draft.line("hetzner.volume", above(stored, taken.disk) * of_month, basis)?;
    let egress = workload.egress() / n(1000);
    let basis = format!("{} TB − {} TB in the servers", quantity(egress), quantity(taken.transfer));
    draft.line("hetzner.traffic", above(egress, taken.transfer), basis)?;
    objects_are_left_out(draft, workload);
    draft.leaves_out("a load balancer: NATS clients know every server");
    Ok(())
}

pub(super) fn own(draft: &mut Draft<'_>, workload: &Workload) -> Result<(), Error> {
    let (count, of_month) = (workload.server_count(), workload.of_month());
    let server = draft.prices.price("own.server")?;
    let watts = server.includes("watts");
    let basis = format!("{} × {} of a month", counted(count, "machine"), quantity(of_month));
    draft.line("own.server", count * of_month, basis)?;
    let hours = workload.hours();
    let power = count * watts * hours / n(1000);
    let basis = format!("{} × {} W × {} h", counted(count, "machine"), quantity(watts), quantity(hours));
    draft.line("own.power", power, basis)?;
    draft.leaves_out("the line to the internet, the place, cooling, spare parts, and who is called at night");
    objects_are_left_out(draft, workload);
    Ok(())
}
