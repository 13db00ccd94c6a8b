//! What a fleet costs: from its resources and the assumptions of its file to bills.
//!
//! Resources of the file and resources of the state are counted by the same function, so that a plan can say what it adds.
//! What nothing is charged for is named, never left out in silence.

mod parts;
mod plan;

use std::collections::BTreeSet;
use std::path::Path;

use jiff::civil::Date;
use windlass_cost::bill::{Provenance, Terms};
use windlass_cost::workload::{Objects, n};
use windlass_cost::{Bill, Currency, Decimal, Money, Platform, PriceList, Workload};
use windlass_fleet::{Cost, Fleet, Machines};

use crate::failure::{Error, Failure};
pub use parts::{Parts, workload};
use parts::{empty, hosting, objects, work};
pub use plan::PlanCost;

impl From<windlass_cost::Error> for Failure {
    fn from(error: windlass_cost::Error) -> Self {
        // Prices, assumptions and amounts are all the person's own, or laid over by them.
        Self::new(error.code(), error.to_string(), error.help()).bad_input()
    }
}

/// The day, as prices are dated.
pub fn today() -> Date {
    jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
}

/// The price list with a file of the user's own over it, if there is one.
pub fn prices(file: Option<&Path>) -> Result<PriceList, Failure> {
    let Some(path) = file else { return Ok(PriceList::built_in()?) };
    let text =
        std::fs::read_to_string(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?;
    Ok(PriceList::with(&text, &path.display().to_string(), today())?)
}

/// The price list of a fleet; what is said on the command line goes before what the file says.
pub fn prices_of(fleet: &Fleet, base: Option<&Path>, asked: Option<&Path>) -> Result<PriceList, Failure> {
    let written = fleet.cost.prices.as_ref().map(|file| base.unwrap_or(Path::new("")).join(file.as_str()));
    prices(asked.or(written.as_deref()))
}

/// What a fleet costs in a month.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// A bill for each platform that it uses.
    pub bills: Vec<Bill>,
    /// All of them together, in dollars.
    pub total: Money,
    /// What has no bill.
    pub not_counted: Vec<String>,
}

impl Estimate {
    /// From the parts of a fleet. `change` puts what was measured in the place of what is assumed.
    pub fn of(
        parts: &Parts,
        cost: &Cost,
        prices: &PriceList,
        terms: Terms,
        change: &dyn Fn(Workload) -> Result<Workload, windlass_cost::Error>,
    ) -> Result<Self, windlass_cost::Error> {
        let (mut bills, mut not_counted) = (Vec::new(), Vec::new());
        if parts.has_cloudflare() {
            let mut workload = work(parts, cost, |cluster| cluster.instance.is_some())?;
            // What its servers have on disk is gone when they sleep: the hub's disks are counted where the hub is.
            workload.stored_gb = Decimal::ZERO;
            if parts.edge {
                workload.webhooks = (n(cost.webhooks_per_day) * workload.seconds / n(86_400)).ceil();
            }
            if !parts.s3 {
                workload.objects = objects(cost);
            }
            bills.push(Platform::Cloudflare.bill(&workload, prices, terms)?);
        }
        let own = work(parts, cost, |cluster| cluster.own > 0)?;
        if own.server_count() > Decimal::ZERO {
            let mut workload = change(own)?;
            if parts.s3 {
                workload.objects = objects(cost);
            }
            match hosting(cost.machines) {
                Some(platform) => bills.push(platform.bill(&workload, prices, terms)?),
                None => not_counted.push("your own machines ([cost] machines)".to_owned()),
            }
        }
        if parts.s3 && !matches!(cost.machines, Machines::AwsEc2 | Machines::AwsFargate) {
            let workload = Workload { objects: objects(cost), ..empty(cost) };
            bills.push(Platform::AwsEc2.bill(&workload, prices, terms)?);
        }
        if !parts.s3 && !parts.has_cloudflare() && objects(cost) != Objects::default() {
            not_counted.push(
                "what is kept as objects ([cost] objects): neither [state] store nor a cluster says where"
                    .to_owned(),
            );
        }
        if parts.clusters.values().any(|cluster| cluster.synadia) {
            let workload = work(parts, cost, |cluster| cluster.synadia)?;
            bills.push(Platform::Synadia.bill(&workload, prices, terms)?);
        }
        Self::sum(bills, not_counted, prices)
    }

    /// The same, with a vendor's own count in place of what is assumed of the same things. What the vendor does not count stays
    /// as it is assumed, and says so.
    pub fn with_metered(mut self, metered: Bill, prices: &PriceList) -> Result<Self, windlass_cost::Error> {
        let place = self.bills.iter().position(|bill| bill.platform == metered.platform);
        let mut bill = metered;
        if let Some(place) = place {
            let assumed = self.bills.remove(place);
            if assumed.impossible.is_some() {
                bill.not_counted.push("what is not metered, and of which nothing can be assumed".to_owned());
            }
            // Traffic is metered without its zone, and so in place of every zone's.
            let traffic = |price: &str| price.starts_with("cloudflare.containers.egress.");
            let counted = |price: &str| {
                bill.lines.iter().any(|line| line.price == price || (traffic(&line.price) && traffic(price)))
            };
            let left: Vec<_> = assumed.lines.into_iter().filter(|line| !counted(&line.price)).collect();
            bill.lines.extend(left.into_iter().map(|mut line| {
                line.basis = format!("assumed, not metered: {}", line.basis);
                line
            }));
            bill.not_counted.extend(assumed.not_counted);
        }
        self.bills.insert(0, bill);
        let known: Vec<String> = self.no_price();
        self.not_counted
            .retain(|what| !known.contains(what) && !what.starts_with(Platform::Cloudflare.name()));
        Self::sum(self.bills, self.not_counted, prices)
    }

    fn sum(
        bills: Vec<Bill>,
        mut not_counted: Vec<String>,
        prices: &PriceList,
    ) -> Result<Self, windlass_cost::Error> {
        let mut total = Money::zero(Currency::Usd);
        for bill in &bills {
            match bill.total_in(Currency::Usd, prices)? {
                Some(amount) => total = total.plus(amount)?,
                None => not_counted.push(format!(
                    "{}: {}",
                    bill.platform.name(),
                    bill.impossible.as_deref().unwrap_or_default()
                )),
            }
        }
        Ok(Self { bills, total, not_counted })
    }

    /// What cannot be on the platform where it is to be: there is no total then.
    pub fn no_price(&self) -> Vec<String> {
        let why = |bill: &Bill| {
            bill.impossible.as_ref().map(|reason| format!("{}: {reason}", bill.platform.name()))
        };
        self.bills.iter().filter_map(why).collect()
    }

    /// Whether there is no total.
    pub fn has_no_price(&self) -> bool {
        self.bills.iter().any(|bill| bill.impossible.is_some())
    }

    /// Where its figures come from.
    pub fn provenance(&self, prices: &PriceList) -> Provenance {
        Provenance::of_bills(&self.bills, prices, Currency::Usd, today())
    }

    /// Everything that is not counted, once.
    pub fn left_out(&self) -> Vec<String> {
        let of_bills = self.bills.iter().flat_map(|bill| bill.not_counted.iter().cloned());
        let mut seen = BTreeSet::new();
        self.not_counted.iter().cloned().chain(of_bills).filter(|what| seen.insert(what.clone())).collect()
    }
}
