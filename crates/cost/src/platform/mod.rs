//! The platforms, each a function from a workload to a bill.
//!
//! A platform counts what the workload needs there and what the vendor then charges. What it leaves out stands on the bill
//! ([`Bill::not_counted`]), because a comparison is only worth what both sides of it have in common.

mod aws;
mod cloudflare;
mod machines;
mod synadia;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::bill::{Bill, Line, Terms};
use crate::prices::PriceList;
use crate::{Currency, Error, Workload};

/// Where a fleet could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Cloudflare's containers, Workers and R2.
    Cloudflare,
    /// AWS with Fargate and S3.
    AwsFargate,
    /// AWS with EC2 and S3.
    AwsEc2,
    /// Synadia Cloud.
    Synadia,
    /// Droplets of DigitalOcean.
    DigitalOcean,
    /// Hetzner's cloud servers.
    Hetzner,
    /// Machines of one's own.
    Own,
}

impl Platform {
    /// Every platform, in the order of a comparison.
    pub const ALL: [Self; 7] = [
        Self::Cloudflare,
        Self::AwsFargate,
        Self::AwsEc2,
        Self::Synadia,
        Self::DigitalOcean,
        Self::Hetzner,
        Self::Own,
    ];

    /// Its name in files and options.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Cloudflare => "cloudflare",
            Self::AwsFargate => "aws-fargate",
            Self::AwsEc2 => "aws-ec2",
            Self::Synadia => "synadia",
            Self::DigitalOcean => "digital-ocean",
            Self::Hetzner => "hetzner",
            Self::Own => "own",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cloudflare => "Cloudflare",
            Self::AwsFargate => "AWS Fargate",
            Self::AwsEc2 => "AWS EC2",
            Self::Synadia => "Synadia",
            Self::DigitalOcean => "DigitalOcean",
            Self::Hetzner => "Hetzner",
            Self::Own => "own machines",
        }
    }

    /// What it bills in.
    #[must_use]
    pub const fn currency(self) -> Currency {
        match self {
            Self::Hetzner => Currency::Eur,
            _ => Currency::Usd,
        }
    }

    /// What the workload costs there in a month.
    ///
    /// # Errors
    /// When the workload cannot be, or the list lacks a price.
    pub fn bill(self, workload: &Workload, prices: &PriceList, terms: Terms) -> Result<Bill, Error> {
        workload.check()?;
        let mut draft = Draft { bill: Bill::new(self, self.currency()), prices, terms };
        match self {
            Self::Cloudflare => cloudflare::fill(&mut draft, workload)?,
            Self::AwsFargate => aws::fargate(&mut draft, workload)?,
            Self::AwsEc2 => aws::ec2(&mut draft, workload)?,
            Self::Synadia => synadia::fill(&mut draft, workload)?,
            Self::DigitalOcean => machines::digital_ocean(&mut draft, workload)?,
            Self::Hetzner => machines::hetzner(&mut draft, workload)?,
            Self::Own => machines::own(&mut draft, workload)?,
        }
        Ok(draft.bill)
    }
}

/// What no bill has: said once for all of them.
pub const NEVER_COUNTED: &str = "taxes, people's time, support plans, discounts and commitments, logs and metrics kept with the vendor, and what \
     protocols add to messages";

/// A bill that is being written.
struct Draft<'p> {
    bill: Bill,
    prices: &'p PriceList,
    terms: Terms,
}

impl Draft<'_> {
    /// Adds a line, unless nothing of it is used.
    fn line(&mut self, id: &str, usage: Decimal, basis: String) -> Result<(), Error> {
        if usage.is_zero() {
            return Ok(());
        }
        let line = Line::of(self.prices.price(id)?, usage, basis, self.terms)?;
        let currency = line.amount.currency();
        match self.bill.lines.first() {
            // Somebody's own list may have the platform's prices in another currency.
            None => self.bill.currency = currency,
            Some(first) if self.bill.currency != currency => {
                // The one to blame is the one that is somebody's own.
                let own = [id, first.price.as_str()].into_iter().find(|id| self.prices.own.contains(*id));
                let place = format!("{}: {}: ", self.prices.name, own.unwrap_or(id));
                return Err(Error::Mixed { one: self.bill.currency, other: currency, place });
            }
            Some(_) => {}
        }
        self.bill.lines.push(line);
        Ok(())
    }

    fn leaves_out(&mut self, what: &str) {
        self.bill.not_counted.push(what.to_owned());
    }

    /// The bill becomes one of a platform that cannot carry the workload.
    fn give_up(&mut self, reason: String) {
        self.bill = Bill::impossible(self.bill.platform, self.bill.currency, reason);
    }
}

/// GB of 10⁹ bytes as GiB of 2³⁰: exactly, since it is a fraction of 2²¹.
fn gib(gb: Decimal) -> Decimal {
    gb * Decimal::from(1_953_125) / Decimal::from(2_097_152)
}
