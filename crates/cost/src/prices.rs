//! The price list: entries with a source and a date, the built-in ones and a user's own over them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::money::decimal;
use crate::{Currency, Error, Money};

/// The list that is part of the program.
const BUILT_IN: &str = include_str!("../prices.toml");
/// What it is called.
const BUILT_IN_NAME: &str = "the built-in price list";
/// Prices of which a user may add more: machines and plans, of which a bill takes the cheapest that fits.
const FAMILIES: [&str; 4] = ["aws.ec2.t4g.", "digitalocean.droplet.", "hetzner.server.", "synadia.plan."];
/// The most that a number of an entry may be: 10¹².
const MOST: Decimal = Decimal::from_parts(0xd4a5_1000, 0xe8, 0, false, 0);
/// After how many days a price that nobody has read again counts as old.
pub const OLD_AFTER_DAYS: i64 = 180;

/// One price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Price {
    /// Its name: `cloudflare.r2.storage`.
    pub id: String,
    /// What it is for.
    pub what: String,
    /// What is counted.
    pub unit: String,
    /// In which currency.
    pub currency: Currency,
    /// For how many units the prices are.
    #[serde(serialize_with = "as_text")]
    pub per: Decimal,
    /// What each month has without charge, in units.
    #[serde(serialize_with = "as_text")]
    pub free: Decimal,
    /// Prices, each from a usage on; the first from 0.
    pub tiers: Vec<Tier>,
    /// What a plan or a machine has in it.
    #[serde(serialize_with = "as_texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub includes: BTreeMap<String, Decimal>,
    /// Where it holds, if not everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where it was read.
    #[serde(flatten)]
    pub origin: Origin,
}

/// A price from a usage on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// From how many units on.
    #[serde(serialize_with = "as_text")]
    pub from: Decimal,
    /// The price of `per` units.
    #[serde(serialize_with = "as_text")]
    pub price: Decimal,
}

/// Where a figure comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The vendor's page.
    pub source: String,
    /// When it was read; where that is not known, as of when it is counted.
    pub read: Date,
    /// Whether it is known when it was read.
    pub dated: bool,
    /// Whether the vendor's own text said so.
    pub confirmed: bool,
    /// What else is to be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What one currency is in another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// Of one of this.
    pub from: Currency,
    /// In that.
    pub to: Currency,
    /// So much.
    #[serde(serialize_with = "as_text")]
    pub value: Decimal,
    /// Where it was read.
    #[serde(flatten)]
    pub origin: Origin,
}

fn as_text<S: serde::Serializer>(number: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&number.normalize().to_string())
}

fn as_texts<S: serde::Serializer>(
    numbers: &BTreeMap<String, Decimal>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(numbers.iter().map(|(key, number)| (key, number.normalize().to_string())))
}

impl Price {
    /// What a plan or a machine has of something; nothing, where the entry does not say.
    #[must_use]
    pub fn includes(&self, what: &str) -> Decimal {
        self.includes.get(what).copied().unwrap_or_default()
    }

    /// The price of `per` units of the first tier.
    #[must_use]
    pub fn first(&self) -> Money {
        Money::new(self.tiers.first().map(|tier| tier.price).unwrap_or_default(), self.currency)
    }
}

impl Origin {
    /// The day on which it was read, for a person; `not dated` where that is not known.
    #[must_use]
    pub fn day(&self) -> String {
        if self.dated { self.read.to_string() } else { "not dated".to_owned() }
    }

    /// How many days ago it was read.
    #[must_use]
    pub fn age(&self, today: Date) -> i64 {
        i64::from((today - self.read).get_days())
    }

    /// Whether it should be read again.
    #[must_use]
    pub fn is_old(&self, today: Date) -> bool {
        self.age(today) > OLD_AFTER_DAYS
    }
}

/// Prices by their ids, and rates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PriceList {
    /// The prices, in the order of their ids.
    pub prices: Vec<Price>,
    /// The rates.
    pub rates: Vec<Rate>,
    /// The ids that a user's own list has changed or added.
    pub own: BTreeSet<String>,
    /// What the list is called, or the user's own over it.
    #[serde(skip)]
    pub name: String,
}

impl PriceList {
    /// The built-in list.
    ///
    /// # Errors
    /// Never, as the tests see to.
    pub fn built_in() -> Result<Self, Error> {
        Self::of(&parse(BUILT_IN, BUILT_IN_NAME)?, BUILT_IN_NAME, BTreeSet::new())
    }

    /// The built-in list with a user's own over it. `name` is what the user calls that; `today` is a day after which nothing
    /// can have been read.
    ///
    /// # Errors
    /// With what is wrong in it.
    pub fn with(own: &str, name: &str, today: Date) -> Result<Self, Error> {
        let mut table = parse(BUILT_IN, BUILT_IN_NAME)?;
        let mut changed = BTreeSet::new();
        for (kind, entries) in parse(own, name)? {
            let key = |entry: &Table| key_of(&kind, entry);
            let unknown = || Error::List {
                name: name.to_owned(),
                reason: format!("`{kind}` is neither [[price]] nor [[rate]]"),
            };
            let Value::Array(entries) = entries else { return Err(unknown()) };
            let Some(Value::Array(list)) = table.get_mut(&kind) else { return Err(unknown()) };
            for entry in entries {
                let Value::Table(entry) = entry else { return Err(unknown()) };
                let id = key(&entry);
                let wrong = |reason: &str| Error::Entry {
                    name: name.to_owned(),
                    id: id.clone(),
                    reason: reason.to_owned(),
                };
                if id.trim().is_empty() {
                    return Err(Error::List {
                        name: name.to_owned(),
                        reason: format!("a [[{kind}]] says not which it is"),
                    });
                }
                if !entry.contains_key("read") {
                    return Err(wrong("it says not when it was read: read = \"2026-01-31\""));
                }
                let read = entry.get("read").and_then(Value::as_str).and_then(|day| day.parse::<Date>().ok());
                if read.is_some_and(|day| day > today) {
                    return Err(wrong(&format!("it was read on a day to come; today is {today}")));
                }
                let known = list.iter().any(|value| value.as_table().is_some_and(|there| key(there) == id));
                if kind == "price" && !known && !FAMILIES.iter().any(|family| id.starts_with(family)) {
                    let families = FAMILIES.join("…, ");
                    return Err(wrong(&format!(
                        "the list has no such price, and new ones are only counted as {families}…"
                    )));
                }
                if !changed.insert(id.clone()) {
                    return Err(wrong("it stands there twice"));
                }
                merge(list, entry, &id, &key);
            }
        }
        Self::of(&table, name, changed)
    }

    fn of(table: &Table, name: &str, own: BTreeSet<String>) -> Result<Self, Error> {
        let list = |kind: &str| match table.get(kind) {
            Some(Value::Array(entries)) => entries.clone(),
            _ => Vec::new(),
        };
        let mut prices = BTreeMap::new();
        for entry in list("price") {
            let id = entry.as_table().map(|table| key_of("price", table)).unwrap_or_default();
            let wrong = |reason: String| Error::Entry { name: name.to_owned(), id: id.clone(), reason };
            let raw: RawPrice = entry.try_into().map_err(|error| wrong(brief(&error)))?;
            let price = raw.check().map_err(wrong)?;
            if prices.insert(price.id.clone(), price).is_some() {
                return Err(wrong("it stands there twice".to_owned()));
            }
        }
        let mut rates = Vec::new();
        for entry in list("rate") {
            let id = entry.as_table().map(|table| key_of("rate", table)).unwrap_or_default();
            let wrong = |reason: String| Error::Entry { name: name.to_owned(), id: id.clone(), reason };
            let raw: RawRate = entry.try_into().map_err(|error| wrong(brief(&error)))?;
            rates.push(raw.check().map_err(wrong)?);
        }
        Ok(Self { prices: prices.into_values().collect(), rates, own, name: name.to_owned() })
    }

    /// The price of that id.
    ///
    /// # Errors
    /// When the list has none.
    pub fn price(&self, id: &str) -> Result<&Price, Error> {
        let at = self.prices.binary_search_by(|price| price.id.as_str().cmp(id));
        at.map(|at| &self.prices[at]).map_err(|_| Error::NoPrice { id: id.to_owned() })
    }

    /// The prices whose ids begin so: the sizes of a machine.
    pub fn family<'l>(&'l self, prefix: &'l str) -> impl Iterator<Item = &'l Price> + 'l {
        self.prices.iter().filter(move |price| price.id.starts_with(prefix))
    }

    /// The rate that leads from one currency to another.
    ///
    /// # Errors
    /// When the list has none.
    pub fn rate(&self, from: Currency, to: Currency) -> Result<&Rate, Error> {
        self.rates.iter().find(|rate| rate.from == from && rate.to == to).ok_or(Error::NoRate { from, to })
    }

    /// An amount in another currency, at the list's rate.
    ///
    /// # Errors
    /// When the list has no rate, or the amount is too large.
    pub fn convert(&self, money: Money, to: Currency) -> Result<Money, Error> {
        if money.currency() == to {
            return Ok(money);
        }
        let rate = self.rate(money.currency(), to)?;
        Ok(Money::new(money.times(rate.value)?.amount(), to))
    }
}

fn parse(text: &str, name: &str) -> Result<Table, Error> {
    text.parse().map_err(|error: toml::de::Error| Error::List {
        name: name.to_owned(),
        reason: error.to_string().trim().to_owned(),
    })
}

fn brief(error: &toml::de::Error) -> String {
    let message = error.message();
    match message.contains("floating point") || message.contains("integer") {
        true => format!("{message}: put numbers in quotes, so that they are exact"),
        false => message.to_owned(),
    }
}

/// What an entry is known by.
fn key_of(kind: &str, entry: &Table) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    if kind == "rate" { format!("{} {}", text("from"), text("to")) } else { text("id").to_owned() }
}

/// Lays an entry over the one of the same key, key by key, or adds it.
fn merge(list: &mut Vec<Value>, entry: Table, id: &str, key: &dyn Fn(&Table) -> String) {
    let there = list.iter_mut().find_map(|value| value.as_table_mut().filter(|there| key(there) == id));
    let Some(there) = there else {
        list.push(Value::Table(entry));
        return;
    };
    // The figure is no longer the vendor's, unless the user says so; and a price replaces tiers, and tiers a price.
    for key in ["confirmed", "dated", "note"] {
        there.remove(key);
    }
    if entry.contains_key("price") {
        there.remove("tiers");
    }
    if entry.contains_key("tiers") {
        there.remove("price");
    }
    there.extend(entry);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    id: String,
    what: String,
    unit: String,
    currency: String,
    price: Option<String>,
    per: Option<String>,
    free: Option<String>,
    tiers: Option<Vec<RawTier>>,
    #[serde(default)]
    includes: BTreeMap<String, String>,
    region: Option<String>,
    #[serde(default)]
    source: String,
    read: String,
    #[serde(default = "yes")]
    dated: bool,
    #[serde(default)]
    confirmed: bool,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTier {
    from: String,
    price: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRate {
    from: String,
    to: String,
    value: String,
    #[serde(default)]
    source: String,
    read: String,
    #[serde(default = "yes")]
    dated: bool,
    #[serde(default)]
    confirmed: bool,
    note: Option<String>,
}

const fn yes() -> bool {
    true
}

fn number(what: &str, text: &str) -> Result<Decimal, String> {
    match decimal(text) {
        Some(number) if number > MOST => {
            Err(format!("{what} = {text:?} is more than any price or number of units"))
        }
        Some(number) if number >= Decimal::ZERO => Ok(number),
        _ => Err(format!("{what} = {text:?} is no number from 0 up")),
    }
}

fn origin(
    source: String,
    (read, dated): (&str, bool),
    confirmed: bool,
    note: Option<String>,
) -> Result<Origin, String> {
    let read = read.parse().map_err(|_| format!("read = {read:?} is no date: write it as \"2026-01-31\""))?;
    Ok(Origin { source, read, dated, confirmed, note })
}

impl RawPrice {
    fn check(self) -> Result<Price, String> {
        let tiers = match (self.price, self.tiers) {
            (Some(price), None) => vec![Tier { from: Decimal::ZERO, price: number("price", &price)? }],
            (None, Some(tiers)) => {
                let tier = |tier: RawTier| {
                    Ok(Tier { from: number("from", &tier.from)?, price: number("price", &tier.price)? })
                };
                tiers.into_iter().map(tier).collect::<Result<Vec<_>, String>>()?
            }
            _ => return Err("it needs a `price` or `tiers`, and not both".to_owned()),
        };
        let rise = tiers.windows(2).all(|pair| pair[0].from < pair[1].from);
        if !rise || tiers.first().is_none_or(|first| !first.from.is_zero()) {
            return Err("its tiers do not rise from 0".to_owned());
        }
        let per = self.per.map_or(Ok(Decimal::ONE), |per| number("per", &per))?;
        if per.is_zero() {
            return Err("per = \"0\" is no number of units".to_owned());
        }
        let includes = self.includes.into_iter().map(|(key, text)| Ok((key.clone(), number(&key, &text)?)));
        Ok(Price {
            id: self.id,
            what: self.what,
            unit: self.unit,
            currency: self.currency.parse().map_err(|error: Error| error.to_string())?,
            per,
            free: self.free.map_or(Ok(Decimal::ZERO), |free| number("free", &free))?,
            tiers,
            includes: includes.collect::<Result<_, String>>()?,
            region: self.region,
            origin: origin(self.source, (&self.read, self.dated), self.confirmed, self.note)?,
        })
    }
}

impl RawRate {
    fn check(self) -> Result<Rate, String> {
        let currency = |text: &str| text.parse().map_err(|error: Error| error.to_string());
        let value = number("value", &self.value)?;
        if value.is_zero() {
            return Err(format!("value = {:?} would make everything free", self.value));
        }
        Ok(Rate {
            from: currency(&self.from)?,
            to: currency(&self.to)?,
            value,
            origin: origin(self.source, (&self.read, self.dated), self.confirmed, self.note)?,
        })
    }
}
