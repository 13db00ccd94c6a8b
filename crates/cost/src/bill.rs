//! A bill: lines of usage × price − what is free, each with how it came about.

use std::collections::BTreeSet;

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::money::quantity;
use crate::prices::{Origin, Price, PriceList};
use crate::{Currency, Error, Money, Platform};

/// To so many places lines are carried: a part of a month may be a fraction without an end.
const PLACES: u32 = 15;

/// One line of a bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is called within its bill: the price's id without the platform.
    pub id: String,
    /// What it is for.
    pub what: String,
    /// How much is used in the month.
    pub usage: Decimal,
    /// Of what.
    pub unit: String,
    /// How the usage comes about, in words and numbers.
    pub basis: String,
    /// How much of it is free.
    pub free: Decimal,
    /// What the rest costs, one part a tier.
    pub parts: Vec<Part>,
    /// The sum of the parts.
    pub amount: Money,
    /// The price's id.
    pub price: String,
    /// For how many units the prices are.
    pub per: Decimal,
    /// Where the price was read.
    pub origin: Origin,
}

/// A part of a line that has one price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// How many units.
    pub units: Decimal,
    /// At which price for `per` units.
    pub price: Money,
    /// What that is.
    pub amount: Money,
}

/// How bills are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whether nothing is free: every unit at the list's price.
    pub list_prices: bool,
}

impl Line {
    /// A line: the usage at the price, less what is free. The free units are the first ones; tiers count from the first
    /// unit that is used, free or not.
    ///
    /// # Errors
    /// When the usage is negative, or the amount too large.
    pub fn of(price: &Price, usage: Decimal, basis: String, terms: Terms) -> Result<Self, Error> {
        if usage < Decimal::ZERO {
            return Err(Error::Usage { what: "a usage", value: usage.to_string() });
        }
        let free = if terms.list_prices { Decimal::ZERO } else { price.free.min(usage) };
        let mut parts = Vec::new();
        let mut amount = Money::zero(price.currency);
        for (at, tier) in price.tiers.iter().enumerate() {
            let end = price.tiers.get(at + 1).map_or(usage, |next| next.from.min(usage));
            let units = end - tier.from.max(free);
            if units <= Decimal::ZERO {
                continue;
            }
            let each = Money::new(tier.price, price.currency);
            let total = each.times(units)?.amount().checked_div(price.per).ok_or(Error::TooLarge)?;
            // A quotient may have no end. Cut here, sums are exact in whichever order they are made.
            let total = Money::new(total.round_dp(PLACES), price.currency);
            parts.push(Part { units, price: each, amount: total });
            amount = amount.plus(total)?;
        }
        Ok(Self {
            id: price.id.split_once('.').map_or(price.id.as_str(), |(_, rest)| rest).to_owned(),
            what: price.what.clone(),
            usage,
            unit: price.unit.clone(),
            basis,
            free,
            parts,
            amount,
            price: price.id.clone(),
            per: price.per,
            origin: price.origin.clone(),
        })
    }

    /// How the amount comes about: `26,280 − 22,500 free = 3,780 vCPU-seconds × 0.00002 USD = 0.0756 USD`.
    #[must_use]
    pub fn arithmetic(&self) -> String {
        let currency = self.amount.currency();
        let charged = self.usage - self.free;
        let unit = if charged == Decimal::ONE { self.unit.clone() } else { plural(&self.unit) };
        let less = if self.free.is_zero() {
            format!("{} {unit}", quantity(self.usage))
        } else {
            let (usage, free, rest) = (quantity(self.usage), quantity(self.free), quantity(charged));
            format!("{usage} − {free} free = {rest} {unit}")
        };
        let per = match self.per {
            per if per == Decimal::ONE => String::new(),
            per => format!(" for {}", quantity(per)),
        };
        match self.parts.as_slice() {
            [] => format!("{less} = 0 {currency}"),
            [part] => {
                format!("{less} × {} {currency}{per} = {} {currency}", part.price.exact(), self.amount.fine())
            }
            parts => {
                let each = parts
                    .iter()
                    .map(|part| format!("{} × {} {currency}{per}", quantity(part.units), part.price.exact()));
                let sum = each.collect::<Vec<_>>().join(" + ");
                format!("{less}: {sum} = {} {currency}", self.amount.fine())
            }
        }
    }
}

/// What a line is for, so that lines of different vendors can stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// A fee for the plan.
    Plan,
    /// Processors, memory, machines.
    Servers,
    /// Disks of the streams.
    Disks,
    /// Egress, load balancers, gateways, addresses.
    Network,
    /// Workers, Durable Objects and KV.
    Requests,
    /// The object store.
    Objects,
}

impl Category {
    /// Every category, in the order of a comparison.
    pub const ALL: [Self; 6] =
        [Self::Plan, Self::Servers, Self::Disks, Self::Network, Self::Requests, Self::Objects];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Servers => "servers",
            Self::Disks => "disks",
            Self::Network => "network",
            Self::Requests => "requests",
            Self::Objects => "objects",
        }
    }

    /// The category of a price, by its id.
    #[must_use]
    pub fn of(price: &str) -> Self {
        let has = |part: &str| price.split('.').any(|word| word == part);
        if has("plan") {
            Self::Plan
        } else if has("r2") || has("s3") {
            Self::Objects
        } else if has("ebs") || has("volume") {
            Self::Disks
        } else if ["egress", "nlb", "nat", "ipv4", "traffic", "transfer"].into_iter().any(has) {
            Self::Network
        } else if has("workers") || has("durable-objects") || has("kv") {
            Self::Requests
        } else {
            Self::Servers
        }
    }
}

/// So many of a unit, for an amount: `1 month`, `2 months`, `3 GB`.
#[must_use]
pub fn units(number: Decimal, unit: &str) -> String {
    let unit = if number == Decimal::ONE { unit.to_owned() } else { plural(unit) };
    format!("{} {unit}", quantity(number))
}

/// One of a unit: `a month`, `an hour`, `an NLCU-hour`.
#[must_use]
pub fn one(unit: &str) -> String {
    let an = unit.starts_with(['a', 'e', 'i', 'o']) || ["hour", "NLCU-hour"].contains(&unit);
    format!("{} {unit}", if an { "an" } else { "a" })
}

/// More of a unit: `vCPU-seconds`, `GB-months`, `GB`.
#[must_use]
pub fn plural(unit: &str) -> String {
    let is_size = ["GB", "GiB", "TB", "kWh", "CPU-ms"].contains(&unit);
    if is_size { unit.to_owned() } else { format!("{unit}s") }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |number: Decimal| number.normalize().to_string();
        let mut line = serializer.serialize_struct("Line", 13)?;
        line.serialize_field("id", &self.id)?;
        line.serialize_field("what", &self.what)?;
        line.serialize_field("usage", &text(self.usage))?;
        line.serialize_field("unit", &self.unit)?;
        line.serialize_field("basis", &self.basis)?;
        line.serialize_field("free", &text(self.free))?;
        line.serialize_field("charged", &text(self.usage - self.free))?;
        line.serialize_field("amount", &self.amount.cents())?;
        line.serialize_field("amount_exact", &self.amount.exact())?;
        line.serialize_field("currency", &self.amount.currency())?;
        line.serialize_field("arithmetic", &self.arithmetic())?;
        line.serialize_field("price", &self.price)?;
        line.serialize_field("origin", &self.origin)?;
        line.end()
    }
}

/// What a platform would charge for a month.
#[derive(Clone, Debug, PartialEq)]
pub struct Bill {
    /// Whose bill it is.
    pub platform: Platform,
    /// In which currency.
    pub currency: Currency,
    /// Its lines, those without charge among them.
    pub lines: Vec<Line>,
    /// What it leaves out.
    pub not_counted: Vec<String>,
    /// Why the platform cannot carry this usage, if it cannot: then the bill has no lines.
    pub impossible: Option<String>,
}

impl Bill {
    /// A bill without lines.
    #[must_use]
    pub fn new(platform: Platform, currency: Currency) -> Self {
        Self { platform, currency, lines: Vec::new(), not_counted: Vec::new(), impossible: None }
    }

    /// The bill of a platform that cannot carry the usage.
    #[must_use]
    pub fn impossible(platform: Platform, currency: Currency, reason: String) -> Self {
        Self { impossible: Some(reason), ..Self::new(platform, currency) }
    }

    /// The sum of the lines, exactly.
    ///
    /// # Errors
    /// When a line is in another currency.
    pub fn total(&self) -> Result<Money, Error> {
        self.lines.iter().try_fold(Money::zero(self.currency), |sum, line| sum.plus(line.amount))
    }

    /// The sum of the lines of one category, exactly.
    ///
    /// # Errors
    /// As [`Self::total`].
    pub fn total_of(&self, category: Category) -> Result<Money, Error> {
        let mut lines = self.lines.iter().filter(|line| Category::of(&line.price) == category);
        lines.try_fold(Money::zero(self.currency), |sum, line| sum.plus(line.amount))
    }

    /// The sum in another currency; nothing where the platform cannot carry the usage.
    ///
    /// # Errors
    /// When there is no rate.
    pub fn total_in(&self, currency: Currency, prices: &PriceList) -> Result<Option<Money>, Error> {
        if self.impossible.is_some() {
            return Ok(None);
        }
        prices.convert(self.total()?, currency).map(Some)
    }
}

/// How far the figures behind a result can be relied on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// How many prices were used.
    pub prices: usize,
    /// The day on which the one was read that was read the longest ago.
    pub oldest: Option<Date>,
    /// The day on which the latest was read.
    pub newest: Option<Date>,
    /// Those whose source says not of when it is; `oldest` and `newest` are of the others.
    pub undated: Vec<String>,
    /// Those that the vendor's own text did not confirm.
    pub unconfirmed: Vec<String>,
    /// Those that were read more than [`crate::prices::OLD_AFTER_DAYS`] days ago.
    pub old: Vec<String>,
}

impl Provenance {
    /// Of figures by their ids. The same figure counts once.
    pub fn of<'a>(origins: impl IntoIterator<Item = (&'a str, &'a Origin)>, today: Date) -> Self {
        let mut provenance = Self::default();
        let mut seen = BTreeSet::new();
        for (id, origin) in origins {
            if !seen.insert(id) {
                continue;
            }
            provenance.prices += 1;
            if origin.dated {
                provenance.oldest = Some(provenance.oldest.map_or(origin.read, |day| day.min(origin.read)));
                provenance.newest = Some(provenance.newest.map_or(origin.read, |day| day.max(origin.read)));
            } else {
                provenance.undated.push(id.to_owned());
            }
            if !origin.confirmed {
                provenance.unconfirmed.push(id.to_owned());
            }
            if origin.is_old(today) {
                provenance.old.push(id.to_owned());
            }
        }
        provenance.undated.sort_unstable();
        provenance.unconfirmed.sort_unstable();
        provenance.old.sort_unstable();
        provenance
    }

    /// Of the prices on bills, and of the rates that lead from them to a currency.
    pub fn of_bills(bills: &[Bill], prices: &PriceList, currency: Currency, today: Date) -> Self {
        let lines = bills.iter().flat_map(|bill| &bill.lines);
        let lines = lines.map(|line| (line.price.as_str(), &line.origin));
        let others = Currency::ALL.into_iter().filter(|other| {
            *other != currency
                && bills.iter().any(|bill| bill.currency == *other && bill.impossible.is_none())
        });
        let rates = others.filter_map(|other| prices.rate(other, currency).ok());
        Self::of(lines.chain(rates.map(|rate| (rate.from.code(), &rate.origin))), today)
    }

    /// In a sentence: `Prices read 2026-01-01 to 2026-08-03; 12 of 20 not confirmed by the vendor.`
    #[must_use]
    pub fn sentence(&self) -> String {
        if self.prices == 0 {
            return "No prices were used.".to_owned();
        }
        let read = match (self.oldest, self.newest) {
            (Some(oldest), Some(newest)) if oldest == newest => Some(format!("Prices read {newest}")),
            (Some(oldest), Some(newest)) => Some(format!("Prices read {oldest} to {newest}")),
            _ => None,
        };
        let when = match (read, self.undated.len()) {
            (Some(read), 0) => read,
            (Some(read), count) => format!("{read}, {count} of {} not dated", self.prices),
            (None, _) => "Prices not dated".to_owned(),
        };
        let confirmed = match self.unconfirmed.len() {
            0 => "each confirmed by the vendor's own text".to_owned(),
            count => format!("{count} of {} not confirmed by the vendor's own text", self.prices),
        };
        format!("{when}; {confirmed}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_grammar() {
        let one_of = |unit: &str| units(Decimal::ONE, unit);
        assert_eq!(
            [one_of("month"), one_of("GB"), units(Decimal::TWO, "month")],
            ["1 month", "1 GB", "2 months"]
        );
        assert_eq!(
            ["hour", "NLCU-hour", "month", "GB-hour"].map(one),
            ["an hour", "an NLCU-hour", "a month", "a GB-hour"]
        );
    }
}
