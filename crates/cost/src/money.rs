//! Money: an exact decimal and its currency.
//!
//! Nothing here is floating point, and amounts of two currencies never meet in a sum: that is an error, and a conversion
//! is a step of its own at a rate that has a date. An amount is rounded to money in one place only, where it is printed
//! ([`Money::cents`]): half away from zero, to hundredths. Numbers carry 28 digits, lines of a bill 15 places.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Serialize, Serializer};

use crate::Error;

/// What money is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// The dollar of the United States.
    Usd,
    /// The euro.
    Eur,
}

impl Currency {
    /// Every currency.
    pub const ALL: [Self; 2] = [Self::Usd, Self::Eur];

    /// Its code in ISO 4217.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Eur => "EUR",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|currency| currency.code().eq_ignore_ascii_case(text))
            .ok_or_else(|| Error::Currency { text: text.to_owned() })
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// An amount of a currency, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

impl Money {
    /// An amount.
    #[must_use]
    pub const fn new(amount: Decimal, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// Nothing.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { amount: Decimal::ZERO, currency }
    }

    /// How much, exactly.
    #[must_use]
    pub const fn amount(self) -> Decimal {
        self.amount
    }

    /// In which currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The sum of both.
    ///
    /// # Errors
    /// When they are of different currencies, or too large for each other.
    pub fn plus(self, other: Self) -> Result<Self, Error> {
        self.same(other)?;
        let amount = self.amount.checked_add(other.amount).ok_or(Error::TooLarge)?;
        Ok(Self { amount, ..self })
    }

    /// This less the other.
    ///
    /// # Errors
    /// As [`Self::plus`].
    pub fn minus(self, other: Self) -> Result<Self, Error> {
        self.plus(Self { amount: -other.amount, ..other })
    }

    /// This many times.
    ///
    /// # Errors
    /// When the product is too large.
    pub fn times(self, factor: Decimal) -> Result<Self, Error> {
        let amount = self.amount.checked_mul(factor).ok_or(Error::TooLarge)?;
        Ok(Self { amount, ..self })
    }

    /// Which is more.
    ///
    /// # Errors
    /// When they are of different currencies.
    pub fn compare(self, other: Self) -> Result<Ordering, Error> {
        self.same(other)?;
        Ok(self.amount.cmp(&other.amount))
    }

    /// As it is printed: to hundredths, half away from zero.
    #[must_use]
    pub fn rounded(self) -> Self {
        let amount = self.amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        Self { amount, ..self }
    }

    /// To hundredths, half away from zero, without the currency: `9.63`. This is where amounts are rounded, and the only
    /// place.
    #[must_use]
    pub fn cents(self) -> String {
        format!("{:.2}", self.rounded().amount)
    }

    /// The amount as it is, without the currency and without zeros at the end: `0.000114`.
    #[must_use]
    pub fn exact(self) -> String {
        self.amount.normalize().to_string()
    }

    /// The amount for a person who checks it: to six places, without zeros at the end.
    #[must_use]
    pub(crate) fn fine(self) -> String {
        self.amount.round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero).normalize().to_string()
    }

    fn same(self, other: Self) -> Result<(), Error> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(Error::Mixed { one: self.currency, other: other.currency, place: String::new() })
    }
}

/// With thousands in groups and the currency: `1,234.50 USD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.cents();
        let (whole, rest) = cents.split_at(cents.len() - 3);
        let text = format!("{}{rest} {}", grouped(whole), self.currency);
        f.pad(&text)
    }
}

/// Money as a person writes it: `50USD`, `50 USD`, `12.50EUR`, or `50` for dollars.
impl FromStr for Money {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unreadable = || Error::Amount { text: text.to_owned() };
        let text = text.trim();
        let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, code) = text.split_at(end);
        let currency = if code.is_empty() { Currency::Usd } else { code.parse()? };
        let amount = decimal(number.trim()).ok_or_else(unreadable)?;
        if amount.is_sign_negative() && !amount.is_zero() {
            return Err(unreadable());
        }
        Ok(Self { amount, currency })
    }
}

/// A decimal as it is written, exactly: digits, perhaps a sign and a point, no exponent.
pub(crate) fn decimal(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    if plain { Decimal::from_str_exact(text).ok() } else { None }
}

/// A whole number with its thousands in groups: `1,234,567`.
pub(crate) fn grouped(whole: &str) -> String {
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things: `1 server`, `2 servers`.
#[must_use]
pub fn counted(number: Decimal, what: &str) -> String {
    format!("{} {what}{}", quantity(number), if number == Decimal::ONE { "" } else { "s" })
}

/// A quantity for a person: thousands in groups, and at most four places, of which the last may be rounded.
#[must_use]
pub fn quantity(number: Decimal) -> String {
    let places = if number.abs() >= Decimal::ONE_HUNDRED { 1 } else { 4 };
    let rounded = number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero).normalize();
    let text = rounded.to_string();
    match text.split_once('.') {
        Some((whole, rest)) => format!("{}.{rest}", grouped(whole)),
        None => grouped(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn money_is_read_and_printed() {
        for (text, printed) in [
            ("50USD", "50.00 USD"),
            ("50 usd", "50.00 USD"),
            ("12.5EUR", "12.50 EUR"),
            ("7", "7.00 USD"),
            ("1234567.891", "1,234,567.89 USD"),
            ("0.005", "0.01 USD"),
            ("0.0049", "0.00 USD"),
        ] {
            assert_eq!(money(text).to_string(), printed, "{text}");
        }
        for text in ["", "USD", "-1USD", "1e3", "1,000USD", "1.2.3", ".", "NaN", "5 GBP", "5USDx"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }

    #[test]
    fn halves_are_rounded_up_and_only_when_printed() {
        let third = money("0.125").plus(money("0.125")).unwrap();
        assert_eq!((money("0.125").cents().as_str(), third.cents().as_str()), ("0.13", "0.25"));
        assert_eq!(third.exact(), "0.25");
    }

    #[test]
    fn currencies_do_not_mix() {
        assert!(matches!(money("1USD").plus(money("1EUR")), Err(Error::Mixed { .. })));
        assert!(matches!(money("1USD").compare(money("1EUR")), Err(Error::Mixed { .. })));
    }

    #[test]
    fn what_is_too_large_is_an_error_and_no_other_number() {
        let most = Money::new(Decimal::MAX, Currency::Usd);
        assert!(matches!(most.plus(most), Err(Error::TooLarge)));
        assert!(matches!(most.times(Decimal::TEN), Err(Error::TooLarge)));
    }

    #[test]
    fn quantities_read_well() {
        for (number, text) in [
            ("1000000", "1,000,000"),
            ("0.25", "0.25"),
            ("1234.567", "1,234.6"),
            ("0.00004", "0"),
            ("12.50", "12.5"),
        ] {
            assert_eq!(quantity(decimal(number).unwrap()), text);
        }
    }
}
