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
            Ok(Some(metered(&worker, &containers, near)?))
        }
        // A figure that cannot be read is none that nothing was used.
        Err(Trouble::Unreadable(failure)) => Err(*failure),
        Err(Trouble::NotSaid(reason)) => {
            if !context.quiet() {
                output::note(&format!("what Cloudflare counted cannot be said, and is assumed: {reason}"));
            }
            Ok(None)
        }
    }
}

type Counted = (WorkerUse, ContainerUse);

/// Why there is no count.
enum Trouble {
    /// Cloudflare is not to be asked, or does not say.
    NotSaid(String),
    /// It says what cannot be read.
    Unreadable(Box<Failure>),
}

async fn ask(session: &Session, cluster: &str) -> Result<Counted, Trouble> {
    let said = |error: Error| match &error {
        Error::Unreadable { .. } => {
            let failure = Failure::new(error.code(), error.to_string(), error.help());
            Trouble::Unreadable(Box::new(failure))
        }
        _ => Trouble::NotSaid(error.to_string()),
    };
    let client = session.cloudflare.client().await.map_err(|trouble| Trouble::NotSaid(trouble.message))?;
    let now = Timestamp::now();
    let from = now.checked_sub(SPAN).map_err(|error| Trouble::NotSaid(error.to_string()))?;
    let (from, to) = (from.to_string(), now.to_string());
    let worker = client.worker_use(&edge::script(&session.fleet), &from, &to).await.map_err(said)?;
    let application = edge::application(&session.fleet, cluster);
    let containers = match client.application(&application).await.map_err(said)? {
        Some(application) => client.container_use(&application.id, &from, &to).await.map_err(said)?,
        None => return Err(Trouble::NotSaid(format!("there is no application {application}"))),
    };
    Ok((worker, containers))
}

/// What was counted, by the price that it is billed at. Pure. Cloudflare's count does not say in which region traffic left, so
/// with one that is far all of it has the higher price.
fn metered(
    worker: &WorkerUse,
    containers: &ContainerUse,
    near: bool,
) -> Result<Metered, windlass_cost::Error> {
    // Cloudflare gives floating-point numbers; money is never counted in them.
    let exact = |what: &'static str, amount: f64| match Decimal::try_from(amount) {
        Ok(exact) if exact >= Decimal::ZERO => Ok(exact),
        _ => Err(windlass_cost::Error::Usage { what, value: amount.to_string() }),
    };
    let egress =
        if near { "cloudflare.containers.egress.na-eu" } else { "cloudflare.containers.egress.elsewhere" };
    let usage = BTreeMap::from([
        ("cloudflare.plan.workers-paid".to_owned(), Decimal::ONE),
        ("cloudflare.workers.requests".to_owned(), Decimal::from(worker.requests)),
        (
            "cloudflare.containers.vcpu".to_owned(),
            exact("the processor time that Cloudflare counted", containers.cpu_seconds)?,
        ),
        (
            "cloudflare.containers.memory".to_owned(),
            exact("the memory that Cloudflare counted", containers.memory_byte_seconds)?
                / Decimal::from(1_u64 << 30),
        ),
        (
            "cloudflare.containers.disk".to_owned(),
            exact("the disk that Cloudflare counted", containers.disk_byte_seconds)?
                / Decimal::from(1_000_000_000),
        ),
        (
            egress.to_owned(),
            exact("the egress that Cloudflare counted", containers.egress_bytes)?
                / Decimal::from(1_000_000_000),
        ),
    ]);
    Ok(Metered { seconds: Decimal::from(SPAN.as_secs()), usage })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet_cost::Estimate;
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
        let metered = metered(&worker, &containers, true).unwrap();
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
        let metered = metered(&WorkerUse::default(), &ContainerUse::default(), false).unwrap();
        assert!(metered.usage.contains_key("cloudflare.containers.egress.elsewhere"));
    }

    #[test]
    fn what_is_no_number_is_an_error_and_not_nothing() {
        for wrong in [f64::NAN, f64::INFINITY, 1e40, -1.0] {
            let containers = ContainerUse { cpu_seconds: wrong, ..ContainerUse::default() };
            let error = metered(&WorkerUse::default(), &containers, true).unwrap_err();
            assert!(error.to_string().contains("processor time"), "{error}");
        }
    }

    #[test]
    fn what_cloudflare_does_not_count_stays_as_it_is_assumed() {
        let prices = PriceList::built_in().unwrap();
        let terms = Terms { list_prices: true };
        let workload = windlass_cost::Profile::Small.workload();
        let assumed = Platform::Cloudflare.bill(&workload, &prices, terms).unwrap();
        let of = |bill: &windlass_cost::Bill, price: &str| {
            bill.lines.iter().find(|line| line.price == price).map(|line| line.amount.exact())
        };
        let metered = metered(&WorkerUse::default(), &ContainerUse::default(), true).unwrap();
        let estimate = Estimate {
            total: assumed.total().unwrap(),
            bills: vec![assumed.clone()],
            not_counted: Vec::new(),
        };
        let bill = metered.bill(Platform::Cloudflare, &prices, terms).unwrap();
        let estimate = estimate.with_metered(bill, &prices).unwrap();
        let [bill] = estimate.bills.as_slice() else { panic!("{:?}", estimate.bills) };
        for kept in [
            "cloudflare.workers.cpu",
            "cloudflare.durable-objects.duration",
            "cloudflare.durable-objects.requests",
            "cloudflare.kv.reads",
            "cloudflare.r2.storage",
            "cloudflare.r2.class-a",
        ] {
            assert!(of(bill, kept).is_some() && of(bill, kept) == of(&assumed, kept), "{kept}");
            let line = bill.lines.iter().find(|line| line.price == kept).unwrap();
            assert!(line.basis.starts_with("assumed, not metered"), "{line:?}");
        }
        assert_eq!(of(bill, "cloudflare.containers.memory").as_deref(), Some("0"));
        assert_eq!(bill.lines.iter().filter(|line| line.price.contains(".egress.")).count(), 1);
        let sum: Decimal = bill.lines.iter().map(|line| line.amount.amount()).sum();
        assert_eq!(estimate.total.amount(), sum);
        assert_eq!(bill.not_counted, assumed.not_counted);
    }
}
