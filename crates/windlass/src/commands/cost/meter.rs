//! What Cloudflare has counted of the fleet's edge over the last day, as it bills it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use windlass_cost::Decimal;
use windlass_cost::measured::Metered;
use windlass_engine::wanted::edge;
use windlass_platforms::cloudflare::client::Error;
use windlass_platforms::cloudflare::client::analytics::{ContainerUse, WorkerUse};

use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::{self, Source};
use crate::fleet_session::Session;
use crate::output;

/// A day: long enough for nights, and within what every plan of Cloudflare's keeps.
const SPAN: SignedDuration = SignedDuration::from_hours(24);
/// Regions whose traffic has the lowest price.
const NEAR: [&str; 4] = ["enam", "wnam", "weur", "eeur"];

/// Asks Cloudflare; `None` where the fleet has nothing there. That the token may not read analytics is a note: the rest is
/// assumed then.
pub async fn meter(
    source: &Source,
    environment: Option<&str>,
    context: &Context,
) -> Result<Option<Metered>, Failure> {
    let fleet = source.parse(environment).map_err(|mistakes| fleet_file::tell(&mistakes, context.format))?;
    let session = Session::of(fleet, source.absolute()?, source.digest(), context)?;
    let Some((name, cluster)) = edge::cluster(&session.fleet) else { return Ok(None) };
    match ask(&session, name.as_str()).await {
        Ok((worker, containers)) => {
            let near = cluster.regions.keys().all(|region| NEAR.contains(&region.as_str()));
            Ok(Some(metered(&worker, &containers, near)))
        }
        Err(reason) => {
            if !context.quiet() {
                output::note(&format!("what Cloudflare counted cannot be said, and is assumed: {reason}"));
            }
            Ok(None)
        }
    }
}

type Counted = (WorkerUse, ContainerUse);

async fn ask(session: &Session, cluster: &str) -> Result<Counted, String> {
    let said = |error: Error| error.to_string();
    let client = session.cloudflare.client().await.map_err(|trouble| trouble.message)?;
    let now = Timestamp::now();
    let (from, to) = (now.checked_sub(SPAN).map_err(|error| error.to_string())?.to_string(), now.to_string());
    let worker = client.worker_use(&edge::script(&session.fleet), &from, &to).await.map_err(said)?;
    let application = edge::application(&session.fleet, cluster);
    let containers = match client.application(&application).await.map_err(said)? {
        Some(application) => client.container_use(&application.id, &from, &to).await.map_err(said)?,
        None => return Err(format!("there is no application {application}")),
    };
    Ok((worker, containers))
}

/// What was counted, by the price that it is billed at. Pure. Cloudflare's count does not say in which region traffic left, so
/// with one that is far all of it has the higher price.
fn metered(worker: &WorkerUse, containers: &ContainerUse, near: bool) -> Metered {
    // Cloudflare gives floating-point numbers; money is never counted in them.
    let exact = |amount: f64| Decimal::try_from(amount).unwrap_or_default();
    let egress =
        if near { "cloudflare.containers.egress.na-eu" } else { "cloudflare.containers.egress.elsewhere" };
    let usage = BTreeMap::from([
        ("cloudflare.plan.workers-paid".to_owned(), Decimal::ONE),
        ("cloudflare.workers.requests".to_owned(), Decimal::from(worker.requests)),
        ("cloudflare.containers.vcpu".to_owned(), exact(containers.cpu_seconds)),
        (
            "cloudflare.containers.memory".to_owned(),
            exact(containers.memory_byte_seconds) / Decimal::from(1_u64 << 30),
        ),
        (
            "cloudflare.containers.disk".to_owned(),
            exact(containers.disk_byte_seconds) / Decimal::from(1_000_000_000),
        ),
        (egress.to_owned(), exact(containers.egress_bytes) / Decimal::from(1_000_000_000)),
    ]);
    Metered { seconds: Decimal::from(SPAN.as_secs()), usage }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_cost::bill::Terms;
    use windlass_cost::prices::PriceList;
    use windlass_cost::{Decimal, Platform};

    #[test]
    fn a_day_is_billed_as_a_month_that_goes_on_like_it() {
        let worker = WorkerUse { requests: 86_400, errors: 0, subrequests: 0 };
        let containers = ContainerUse {
            cpu_seconds: 8_640.0,
            memory_byte_seconds: 86_400.0 * 1024.0 * 1024.0 * 1024.0,
            disk_byte_seconds: 86_400.0 * 4e9,
            egress_bytes: 1e9,
        };
        let metered = metered(&worker, &containers, true);
        let prices = PriceList::built_in().unwrap();
        let bill = metered.bill(Platform::Cloudflare, &prices, Terms { list_prices: true }).unwrap();
        // A month is 2,628,000 s, so 30.41666… days: 262,800 vCPU-s × 0.00002 = 5.256; 2,628,000 GiB-s × 0.0000025 = 6.57;
        // 10,512,000 GB-s × 0.00000007 = 0.73584; 30.41666… GB × 0.025 = 0.7604166…; 2.628 M requests × 0.30 = 0.7884; 5.
        let total = bill.total().unwrap().exact();
        assert!(total.starts_with("19.1106"), "{total}");
        assert_eq!(metered.usage["cloudflare.containers.vcpu"], Decimal::from(8_640));
    }

    #[test]
    fn a_region_far_away_has_the_price_of_one() {
        let metered = metered(&WorkerUse::default(), &ContainerUse::default(), false);
        assert!(metered.usage.contains_key("cloudflare.containers.egress.elsewhere"));
    }
}
