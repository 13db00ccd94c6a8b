//! Break-even: the platforms' totals over one figure of the workload, and where they cross.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::bill::Terms;
use crate::money::quantity;
use crate::prices::PriceList;
use crate::workload::{Workload, n};
use crate::{Currency, Error, Money, Platform};

/// The figure that varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Which share of the time servers are awake.
    Awake,
    /// What leaves the servers in a month.
    Egress,
    /// Messages a second, and what leaves because of them.
    Messages,
}

impl Axis {
    /// Every axis.
    pub const ALL: [Self; 3] = [Self::Awake, Self::Egress, Self::Messages];

    /// Its name in options and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awake => "awake",
            Self::Egress => "egress",
            Self::Messages => "messages",
        }
    }

    /// What it is, with its unit.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Awake => "time awake, in percent",
            Self::Egress => "egress, in GB a month",
            Self::Messages => "messages a second",
        }
    }

    /// What it is, without a unit.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Awake => "the share of time that servers are awake",
            Self::Egress => "egress",
            Self::Messages => "messages a second",
        }
    }

    /// A value with its unit: `25 %`, `1,000 GB a month`.
    #[must_use]
    pub fn value(self, x: Decimal) -> String {
        let x = quantity(significant(x));
        match self {
            Self::Awake => format!("{x} % of the time awake"),
            Self::Egress => format!("{x} GB of egress a month"),
            Self::Messages => format!("{x} messages a second"),
        }
    }

    /// Whether equal steps are equal factors.
    #[must_use]
    pub const fn is_logarithmic(self) -> bool {
        !matches!(self, Self::Awake)
    }

    /// The values at which bills are made.
    #[must_use]
    pub fn points(self) -> Vec<Decimal> {
        // Ten to a decade, in round figures.
        const STEPS: [i64; 10] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
        let decades = |first: u32, count: u32, places: u32| {
            let mut points: Vec<Decimal> = (first..first + count)
                .flat_map(|decade| STEPS.map(|step| Decimal::new(step * 10_i64.pow(decade), 2 + places)))
                .collect();
            points.push(Decimal::new(100 * 10_i64.pow(first + count), 2 + places));
            points
        };
        match self {
            // A server that is never awake carries nothing.
            Self::Awake => (1..=100).map(n).collect(),
            // 1 GB to 100 TB.
            Self::Egress => decades(0, 5, 0),
            // 0.1 to 100,000.
            Self::Messages => decades(0, 6, 1),
        }
    }

    /// The workload at this value.
    ///
    /// # Errors
    /// When it is too large.
    pub fn at(self, workload: &Workload, x: Decimal) -> Result<Workload, Error> {
        match self {
            Self::Awake => Ok(workload.clone().awake(x)),
            Self::Egress => workload.clone().leaving(x),
            Self::Messages => workload.clone().talking(x),
        }
    }

    /// The value that the workload has itself.
    #[must_use]
    pub fn of(self, workload: &Workload) -> Decimal {
        match self {
            Self::Awake => {
                let count = workload.server_count();
                let awake: Decimal =
                    workload.servers.iter().map(|servers| servers.count * servers.awake_percent).sum();
                awake.checked_div(count).unwrap_or_default()
            }
            Self::Egress => workload.egress(),
            Self::Messages => workload.messages.checked_div(workload.seconds).unwrap_or_default(),
        }
    }
}

/// To three digits that say something.
fn significant(x: Decimal) -> Decimal {
    x.round_sf(3).unwrap_or(x).normalize()
}

/// One platform's totals, a value a point; none where it cannot carry the workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The platform.
    pub platform: Platform,
    /// Its totals.
    pub totals: Vec<Option<Decimal>>,
}

/// A part of the axis on which Cloudflare is the cheaper one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// From here on; from the axis's beginning where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Decimal>,
    /// Up to here; to the axis's end where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Decimal>,
}

/// Where Cloudflare is cheaper than another platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BreakEven {
    /// The other one.
    pub against: Platform,
    /// The parts of the axis; none where it never is.
    pub cheaper: Vec<Interval>,
}

/// The platforms' totals over an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    /// The axis.
    pub axis: Axis,
    /// Its points.
    pub points: Vec<Decimal>,
    /// In which currency the totals are.
    pub currency: Currency,
    /// The platforms.
    pub series: Vec<Series>,
    /// Where the workload itself is.
    pub here: Decimal,
    /// Where Cloudflare is the cheaper one, against each of the others.
    pub break_even: Vec<BreakEven>,
}

impl Curves {
    /// The bills of every platform at every point of the axis.
    ///
    /// # Errors
    /// When the workload cannot be, or the list lacks a price or a rate.
    pub fn of(axis: Axis, workload: &Workload, prices: &PriceList, terms: Terms) -> Result<Self, Error> {
        let currency = Currency::Usd;
        workload.check()?;
        let total = |platform: Platform, x: Decimal| {
            let bill = platform.bill(&axis.at(workload, x)?, prices, terms)?;
            Ok::<_, Error>(bill.total_in(currency, prices)?.map(Money::amount))
        };
        let mut points = axis.points();
        if axis == Axis::Messages {
            // Beyond that, the servers are too small on every platform, and more of them are another workload.
            let mut carried = Vec::new();
            for x in points {
                let talking = axis.at(workload, x)?;
                talking.check()?;
                if talking.busy() <= workload.capacity() {
                    carried.push(x);
                }
            }
            points = carried;
        }
        let mut series = Vec::new();
        for platform in Platform::ALL {
            let totals = points.iter().map(|x| total(platform, *x)).collect::<Result<Vec<_>, _>>()?;
            series.push(Series { platform, totals });
        }
        let mut break_even = Vec::new();
        for other in &series[1..] {
            let against = other.platform;
            // A platform that cannot carry the workload is never the cheaper one.
            let cheaper = |x: Decimal| {
                Ok::<_, Error>(match (total(Platform::Cloudflare, x)?, total(against, x)?) {
                    (Some(here), Some(there)) => here < there,
                    (here, _) => here.is_some(),
                })
            };
            break_even.push(BreakEven { against, cheaper: intervals(&points, &cheaper)? });
        }
        Ok(Self { axis, points, currency, series, here: axis.of(workload), break_even })
    }

    /// What the curves say; platforms of which the same is said share a sentence.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let (Some(_), Some(_)) = (self.points.first(), self.points.last()) else {
            return vec![
                "the servers are never awake, or too small: they carry no messages anywhere".to_owned(),
            ];
        };
        let mut said: Vec<((String, String), Vec<&str>)> = Vec::new();
        for one in &self.break_even {
            let words = self.words(one);
            match said.iter_mut().find(|(other, _)| *other == words) {
                Some((_, names)) => names.push(one.against.name()),
                None => said.push((words, vec![one.against.name()])),
            }
        }
        let sentence = |((before, after), names): ((String, String), Vec<&str>)| {
            let names = match names.split_last() {
                Some((last, [])) => (*last).to_owned(),
                Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
                None => String::new(),
            };
            format!("{before}{names}{after}")
        };
        said.into_iter().map(sentence).collect()
    }

    /// What is said before and after a platform's name.
    fn words(&self, one: &BreakEven) -> (String, String) {
        let value = |x: Decimal| self.axis.value(x);
        let series = self.series.iter().find(|series| series.platform == one.against);
        if series.is_some_and(|series| series.totals.iter().all(Option::is_none)) {
            return (String::new(), ": no listed price for this workload".to_owned());
        }
        let parts: Vec<String> = one
            .cheaper
            .iter()
            .map(|interval| match (interval.from, interval.to) {
                (None, None) => "everywhere".to_owned(),
                (None, Some(to)) => format!("below {}", value(to)),
                (Some(from), None) => format!("above {}", value(from)),
                (Some(from), Some(to)) => {
                    format!("between {} and {}", quantity(significant(from)), value(to))
                }
            })
            .collect();
        let range = match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => format!(" ({} to {})", quantity(*first), value(*last)),
            _ => String::new(),
        };
        match parts.as_slice() {
            [] => ("Cloudflare is never cheaper than ".to_owned(), range),
            [all] if all == "everywhere" => ("Cloudflare is always cheaper than ".to_owned(), range),
            parts => ("Cloudflare is cheaper than ".to_owned(), format!(" {}", parts.join(", and "))),
        }
    }
}

/// The parts of the axis on which something holds; each end is found to a millionth of the way between two points.
fn intervals(
    points: &[Decimal],
    holds: &dyn Fn(Decimal) -> Result<bool, Error>,
) -> Result<Vec<Interval>, Error> {
    let mut found = Vec::new();
    let (Some(first), Some(_)) = (points.first(), points.last()) else { return Ok(found) };
    let mut open = holds(*first)?.then_some(None);
    for pair in points.windows(2) {
        let after = holds(pair[1])?;
        match (open, after) {
            (Some(from), false) => {
                found.push(Interval { from, to: Some(edge(pair[0], pair[1], true, holds)?) });
                open = None;
            }
            (None, true) => open = Some(Some(edge(pair[0], pair[1], false, holds)?)),
            _ => {}
        }
    }
    if let Some(from) = open {
        found.push(Interval { from, to: None });
    }
    Ok(found)
}

/// The point between two at which something begins to hold, or ends to.
fn edge(
    mut low: Decimal,
    mut high: Decimal,
    at_low: bool,
    holds: &dyn Fn(Decimal) -> Result<bool, Error>,
) -> Result<Decimal, Error> {
    for _ in 0..20 {
        let middle = ((low + high) / n(2)).round_dp(9);
        if holds(middle)? == at_low {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high.round_sf(6).unwrap_or(high).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_found() {
        let points: Vec<Decimal> = (0..=10).map(n).collect();
        let between = |x: Decimal| Ok(x > Decimal::new(25, 1) && x < Decimal::new(725, 2));
        let found = intervals(&points, &between).unwrap();
        assert_eq!(found.len(), 1);
        let rounded = |x: Option<Decimal>| x.unwrap().round_dp(4).normalize().to_string();
        assert_eq!((rounded(found[0].from).as_str(), rounded(found[0].to).as_str()), ("2.5", "7.25"));
        let whole = Interval { from: None, to: None };
        assert_eq!(intervals(&points, &|_| Ok(true)).unwrap(), [whole]);
        assert_eq!(intervals(&points, &|_| Ok(false)).unwrap(), []);
    }

    #[test]
    fn points_rise_in_round_figures() {
        for axis in Axis::ALL {
            let points = axis.points();
            assert!(points.windows(2).all(|pair| pair[0] < pair[1]), "{axis:?}");
            assert!(points.len() > 50);
        }
        let messages = Axis::Messages.points();
        let ends = [messages.first().unwrap(), messages.last().unwrap()].map(|x| x.normalize().to_string());
        assert_eq!(ends, ["0.1", "100000"]);
    }

    #[test]
    fn servers_that_are_never_awake_are_not_said_to_have_no_price() {
        let workload = crate::Profile::Small.workload().awake(Decimal::ZERO);
        let prices = PriceList::built_in().unwrap();
        let curves = Curves::of(Axis::Messages, &workload, &prices, Terms::default()).unwrap();
        let said = curves.sentences().join("; ");
        assert!(said.contains("never awake") && !said.contains("no listed price"), "{said}");
    }
}
