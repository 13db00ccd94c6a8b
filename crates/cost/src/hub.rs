//! The hub that a fleet at Cloudflare needs besides: its containers keep nothing on disk, so the streams are on machines elsewhere.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::bill::{Bill, Terms};
use crate::money::{counted, quantity};
use crate::prices::PriceList;
use crate::workload::{Servers, Workload, n};
use crate::{Currency, Error, Money, Platform};

/// Where a hub is looked for. Machines that come with disk and traffic are the cheapest that there are.
const AT: [Platform; 2] = [Platform::Hetzner, Platform::DigitalOcean];
/// So many servers copy their streams among themselves.
const COPIES: u64 = 3;

/// A hub, where it is the cheapest.
#[derive(Clone, Debug, PartialEq)]
pub struct Hub {
    /// Its bill.
    pub bill: Bill,
    /// The total in dollars.
    pub usd: Money,
    /// How many servers it has: one where the fleet has one, else three.
    pub servers: Decimal,
    /// What its streams have on disk.
    pub stored_gb: Decimal,
}

impl Hub {
    /// The hub of a workload: machines as large as its largest servers that hold its streams. Nothing where it has none, or
    /// where no machine is large enough.
    ///
    /// # Errors
    /// When the workload cannot be, or the list lacks a price.
    pub fn of(workload: &Workload, prices: &PriceList, terms: Terms) -> Result<Option<Self>, Error> {
        workload.check()?;
        let there = workload.servers.iter().filter(|servers| !servers.count.is_zero());
        let largest = there.map(|servers| servers.size).max_by_key(|size| (size.memory_gib, size.vcpu));
        let Some(size) = largest.filter(|_| !workload.stored_gb.is_zero()) else { return Ok(None) };
        let servers = if workload.server_count() > Decimal::ONE { n(COPIES) } else { Decimal::ONE };
        let hub = Workload {
            seconds: workload.seconds,
            servers: vec![Servers { count: servers, size, awake_percent: n(100) }],
            stored_gb: workload.stored_gb,
            ..Workload::nothing()
        };
        let mut best: Option<Self> = None;
        for platform in AT {
            let bill = platform.bill(&hub, prices, terms)?;
            let Some(usd) = bill.total_in(Currency::Usd, prices)? else { continue };
            if best.as_ref().is_none_or(|best| usd.amount() < best.usd.amount()) {
                best = Some(Self { bill, usd, servers, stored_gb: workload.stored_gb });
            }
        }
        Ok(best)
    }

    /// What a fleet at Cloudflare costs with it.
    ///
    /// # Errors
    /// When that is too large.
    pub fn with(&self, cloudflare: Money) -> Result<Money, Error> {
        cloudflare.plus(self.usd)
    }

    /// What it does to a comparison: its amount, and how much less than AWS is left then.
    ///
    /// # Errors
    /// When there is no rate, or a figure is too large.
    pub fn sentence(&self, bills: &[Bill], prices: &PriceList) -> Result<Option<String>, Error> {
        let total = |platform: Platform| {
            let bill = bills.iter().find(|bill| bill.platform == platform);
            bill.map_or(Ok(None), |bill| bill.total_in(Currency::Usd, prices))
        };
        let Some(cloudflare) = total(Platform::Cloudflare)? else { return Ok(None) };
        let all = self.with(cloudflare)?;
        let mut sentence = format!(
            "A hub that holds the {} GB of streams comes on top of Cloudflare: {} on {} ({}), {all} in all",
            quantity(self.stored_gb),
            self.usd,
            self.bill.platform.name(),
            counted(self.servers, "server"),
        );
        let mut than = Vec::new();
        for aws in [Platform::AwsFargate, Platform::AwsEc2] {
            let Some(there) = total(aws)? else { continue };
            let part = there.minus(all)?.amount().checked_div(there.amount());
            let Some(percent) = part.and_then(|part| part.checked_mul(Decimal::ONE_HUNDRED)) else {
                continue;
            };
            let percent = percent.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
            let more = if percent.is_sign_negative() { "more" } else { "less" };
            than.push(format!("{} % {more} than {}", percent.abs(), aws.name()));
        }
        if !than.is_empty() {
            sentence.push_str(&format!(", {}", than.join(" and ")));
        }
        sentence.push_str(". What is said of Cloudflare otherwise is without it.");
        Ok(Some(sentence))
    }
}
