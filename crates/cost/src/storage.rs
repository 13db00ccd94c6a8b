//! Where state is stored: R2 against S3, for so much stored, read, written and carried away in a month.
//!
//! A GB is here what the vendor calls one: 10⁹ bytes at Cloudflare, 2³⁰ at AWS.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::bill::{Bill, Line, Terms};
use crate::money::{counted, quantity};
use crate::prices::PriceList;
use crate::workload::Objects;
use crate::{Currency, Error, Platform};

/// Both bills, and what the first saves.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Cloudflare's.
    pub r2: Bill,
    /// AWS's.
    pub s3: Bill,
}

impl Comparison {
    /// The bills of both.
    ///
    /// # Errors
    /// When a figure is negative, or the list lacks a price.
    pub fn of(objects: &Objects, prices: &PriceList, terms: Terms) -> Result<Self, Error> {
        let bill = |platform, ids: [&str; 4]| {
            let mut bill = Bill::new(platform, Currency::Usd);
            let uses = [
                (objects.gb, format!("{} GB for a month", quantity(objects.gb))),
                (objects.writes, counted(objects.writes, "write")),
                (objects.reads, counted(objects.reads, "read")),
                (objects.egress_gb, format!("{} GB to the internet", quantity(objects.egress_gb))),
            ];
            for (id, (usage, basis)) in ids.into_iter().zip(uses) {
                bill.lines.push(Line::of(prices.price(id)?, usage, basis, terms)?);
            }
            bill.currency = bill.lines.first().map_or(bill.currency, |line| line.amount.currency());
            Ok::<_, Error>(bill)
        };
        let mut r2 = bill(
            Platform::Cloudflare,
            [
                "cloudflare.r2.storage",
                "cloudflare.r2.class-a",
                "cloudflare.r2.class-b",
                "cloudflare.r2.egress",
            ],
        )?;
        let mut s3 =
            bill(Platform::AwsFargate, ["aws.s3.storage", "aws.s3.writes", "aws.s3.reads", "aws.egress"])?;
        r2.not_counted.push("the Workers plan, which R2 alone does not need".into());
        s3.not_counted.push("AWS's free tier for new accounts, which ends; versions of objects".into());
        Ok(Self { r2, s3 })
    }

    /// Which part of S3's bill R2 saves, in percent with one place; negative where R2 costs more. Nothing where S3 costs
    /// nothing.
    ///
    /// # Errors
    /// When the bills are of different currencies.
    pub fn saving_percent(&self) -> Result<Option<Decimal>, Error> {
        let (r2, s3) = (self.r2.total()?, self.s3.total()?);
        let saved = s3.minus(r2)?.amount();
        let Some(part) = saved.checked_div(s3.amount()) else { return Ok(None) };
        let percent = part.checked_mul(Decimal::ONE_HUNDRED).ok_or(Error::TooLarge)?;
        Ok(Some(percent.round_dp_with_strategy(1, RoundingStrategy::MidpointAwayFromZero).normalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::n;

    /// 10 GB, a million reads, 100 GB to the internet.
    fn compare(list_prices: bool) -> (String, String, String) {
        let objects = Objects { gb: n(10), reads: n(1_000_000), writes: n(0), egress_gb: n(100) };
        let prices = PriceList::built_in().unwrap();
        let both = Comparison::of(&objects, &prices, Terms { list_prices }).unwrap();
        let saving = both.saving_percent().unwrap().unwrap();
        (both.r2.total().unwrap().cents(), both.s3.total().unwrap().cents(), saving.to_string())
    }

    #[test]
    fn the_reference_comparison_to_the_cent() {
        // R2: 10 × 0.015 + 1 × 0.36 + 0 = 0.51. S3: 10 × 0.023 + 1,000 × 0.0004 + 100 × 0.09 = 9.63.
        // (9.63 − 0.51) ÷ 9.63 = 94.7 %.
        assert_eq!(compare(true), ("0.51".into(), "9.63".into(), "94.7".into()));
    }

    #[test]
    fn with_what_is_free_on_both_sides() {
        // R2: all of it is free. S3: 0.23 + 0.40, and 100 GB are free.
        assert_eq!(compare(false), ("0.00".into(), "0.63".into(), "100".into()));
    }
}
