//! Usage that was measured: by the servers themselves, or by a vendor who meters.
//!
//! A window of minutes stands for a month here, so a result says how long the window was.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::bill::{Bill, Line, Terms};
use crate::prices::PriceList;
use crate::workload::{MONTH_SECONDS, Workload, n};
use crate::{Error, Platform};

/// What one server said at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Clients that were connected.
    pub connections: u64,
    /// Leaf nodes that were joined.
    pub leaf_nodes: u64,
    /// Messages taken in since it started.
    pub in_messages: u64,
    /// Messages given out since it started.
    pub out_messages: u64,
    /// Bytes taken in since it started.
    pub in_bytes: u64,
    /// Bytes given out since it started.
    pub out_bytes: u64,
    /// Bytes of its streams on disk.
    pub stored_bytes: u64,
}

/// What servers did over a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// How long the window was, in seconds.
    pub seconds: Decimal,
    /// How many servers answered.
    pub servers: u64,
    /// Clients at once, the most that there were.
    pub connections: u64,
    /// Leaf nodes at once, the most that there were.
    pub leaf_nodes: u64,
    /// Messages that came in.
    pub in_messages: u64,
    /// Messages that went out.
    pub out_messages: u64,
    /// Bytes that came in.
    pub in_bytes: u64,
    /// Bytes that went out.
    pub out_bytes: u64,
    /// Bytes of streams on disk, at the end.
    pub stored_bytes: u64,
    /// At which share of the looks a server had clients or messages, in percent: what it would have been awake for.
    pub awake_percent: Decimal,
}

impl Measured {
    /// From looks at each server, in the order in which they were made. A counter that fell was that of a server that
    /// started again: what it has since then counts.
    #[must_use]
    pub fn of(seconds: Decimal, servers: &[Vec<Look>]) -> Self {
        let mut all = Self { seconds, ..Self::default() };
        let (mut steps, mut awake) = (0_u64, 0_u64);
        let looks = servers.iter().map(Vec::len).max().unwrap_or(0);
        let most = |what: fn(&Look) -> u64| {
            (0..looks)
                .map(|at| servers.iter().filter_map(|server| server.get(at)).map(what).sum::<u64>())
                .max()
                .unwrap_or(0)
        };
        all.connections = most(|look| look.connections);
        all.leaf_nodes = most(|look| look.leaf_nodes);
        for server in servers.iter().filter(|server| !server.is_empty()) {
            all.servers += 1;
            all.stored_bytes += server.last().map_or(0, |look| look.stored_bytes);
            for pair in server.windows(2) {
                let grew = |what: fn(&Look) -> u64| {
                    let (before, after) = (what(&pair[0]), what(&pair[1]));
                    after.checked_sub(before).unwrap_or(after)
                };
                all.in_messages += grew(|look| look.in_messages);
                all.out_messages += grew(|look| look.out_messages);
                all.in_bytes += grew(|look| look.in_bytes);
                all.out_bytes += grew(|look| look.out_bytes);
                steps += 1;
                let talked = grew(|look| look.in_messages) + grew(|look| look.out_messages) > 0;
                awake += u64::from(talked || pair[1].connections > 0);
            }
        }
        all.awake_percent = (n(awake) * n(100)).checked_div(n(steps)).unwrap_or_default();
        all
    }

    /// The workload with what was measured in place of what was assumed. What no server can say (webhooks, objects)
    /// stays as it was assumed.
    ///
    /// # Errors
    /// When the window has no length.
    pub fn lay_over(&self, mut workload: Workload) -> Result<Workload, Error> {
        let none = || Error::Usage { what: "the window", value: "0 s".into() };
        let month = workload.seconds.checked_div(self.seconds).ok_or_else(none)?;
        let gb = |bytes: u64| n(bytes) / n(1_000_000_000);
        workload.connections = n(self.connections);
        workload.leaf_nodes = n(self.leaf_nodes);
        workload.messages = n(self.in_messages).checked_mul(month).ok_or(Error::TooLarge)?;
        workload.message_bytes =
            n(self.in_bytes).checked_div(n(self.in_messages)).unwrap_or(workload.message_bytes);
        workload.fan_out = n(self.out_messages).checked_div(n(self.in_messages)).unwrap_or(Decimal::ONE);
        workload.stored_gb = gb(self.stored_bytes);
        let awake = self.awake_percent;
        let leaves = gb(self.out_bytes).checked_mul(month).ok_or(Error::TooLarge)?;
        Ok(workload.leaving(leaves)?.awake(awake))
    }
}

/// What a vendor metered, by the price that it is billed at: Cloudflare's analytics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// How long was metered, in seconds.
    pub seconds: Decimal,
    /// How much, by the price's id.
    pub usage: BTreeMap<String, Decimal>,
}

impl Metered {
    /// The bill of a month that goes on like that. Prices by the month (plans, storage) are taken as they are.
    ///
    /// # Errors
    /// When nothing was metered, or the list lacks a price.
    pub fn bill(&self, platform: Platform, prices: &PriceList, terms: Terms) -> Result<Bill, Error> {
        let none = || Error::Usage { what: "the time that was metered", value: "0 s".into() };
        let month = n(MONTH_SECONDS).checked_div(self.seconds).ok_or_else(none)?;
        let mut bill = Bill::new(platform, platform.currency());
        for (id, usage) in &self.usage {
            let price = prices.price(id)?;
            let by_the_month = price.unit.ends_with("month");
            let of_month = if by_the_month { Some(*usage) } else { usage.checked_mul(month) };
            let usage = of_month.ok_or(Error::TooLarge)?;
            bill.lines.push(Line::of(price, usage, format!("metered over {} s", self.seconds), terms)?);
        }
        Ok(bill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(connections: u64, messages: u64) -> Look {
        Look {
            connections,
            in_messages: messages,
            out_messages: 2 * messages,
            in_bytes: 100 * messages,
            out_bytes: 200 * messages,
            stored_bytes: 5_000_000_000,
            leaf_nodes: 1,
        }
    }

    #[test]
    fn a_window_stands_for_a_month() {
        // Two servers, three looks: 40 + 60 messages in 10 s; one was awake in each half, the other in one.
        let servers =
            vec![vec![look(1, 10), look(1, 30), look(1, 50)], vec![look(0, 100), look(0, 160), look(0, 160)]];
        let measured = Measured::of(n(10), &servers);
        assert_eq!((measured.in_messages, measured.out_messages, measured.connections), (100, 200, 1));
        assert_eq!(measured.awake_percent, n(75));
        let workload = measured.lay_over(Profile::Small.workload()).unwrap();
        // 100 in 10 s are 26,280,000 in 2,628,000 s; 20,000 bytes in 10 s are 5.256 GB.
        assert_eq!(workload.messages, n(26_280_000));
        assert_eq!(workload.egress().to_string().parse::<f64>().unwrap(), 5.256);
        assert_eq!((workload.stored_gb, workload.fan_out, workload.message_bytes), (n(10), n(2), n(100)));
        assert_eq!(workload.webhooks, Profile::Small.workload().webhooks);
    }

    use crate::Profile;

    #[test]
    fn a_server_that_started_again_counts_from_nothing() {
        let measured = Measured::of(n(10), &[vec![look(0, 1_000), look(0, 7)]]);
        assert_eq!(measured.in_messages, 7);
        assert!(Measured::of(n(0), &[]).lay_over(Workload::nothing()).is_err());
    }

    #[test]
    fn what_a_vendor_metered_is_billed_as_it_is() {
        let usage = [("cloudflare.containers.vcpu", 876_u64), ("cloudflare.plan.workers-paid", 1)];
        let usage = usage.map(|(id, usage)| (id.to_owned(), n(usage)));
        let metered = Metered { seconds: n(26_280), usage: usage.into() };
        let prices = PriceList::built_in().unwrap();
        let bill = metered.bill(Platform::Cloudflare, &prices, Terms::default()).unwrap();
        // 876 s in a hundredth of a month: (87,600 − 22,500) × 0.00002 = 1.302; and 5 for the plan.
        assert_eq!(bill.total().unwrap().exact(), "6.302");
    }
}
