//! What holds of every bill: nothing is negative, more usage is never cheaper, lines sum to the total, currencies do not mix.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use windlass_cost::bill::{Category, Terms};
use windlass_cost::curve::{Axis, Curves};
use windlass_cost::hub::Hub;
use windlass_cost::workload::{Assumptions, MONTH_SECONDS, Objects, Servers, Size, Zone, n};
use windlass_cost::{Bill, Currency, Decimal, Money, Platform, PriceList, Workload};

const INSTANCES: [&str; 6] = ["lite", "basic", "standard-1", "standard-2", "standard-3", "standard-4"];

prop_compose! {
    fn servers()(count in 0..50_u64, instance in prop::sample::select(&INSTANCES[..]), awake in 0..=100_u64) -> Servers {
        Servers { count: n(count), size: Size::of_instance(instance).unwrap(), awake_percent: n(awake) }
    }
}

prop_compose! {
    fn workload()(
        seconds in 1..=MONTH_SECONDS,
        servers in prop::collection::vec(servers(), 0..3),
        (connections, leaf_nodes) in (0..2_000_u64, 0..20_u64),
        (messages, bytes, fan_out) in (0..100_000_000_u64, 1..100_000_u64, 0..5_u64),
        egress in prop::collection::vec(0..200_000_u64, 3),
        (webhooks, stored) in (0..100_000_000_u64, 0..5_000_u64),
        objects in (0..1_000_000_u64, 0..100_000_000_u64, 0..1_000_000_000_u64, 0..500_000_u64),
        (idle, micros, balancer, nat) in (0..=100_u64, 0..50_u64, any::<bool>(), any::<bool>()),
    ) -> Workload {
        Workload {
            seconds: n(seconds),
            servers,
            connections: n(connections),
            leaf_nodes: n(leaf_nodes),
            messages: n(messages),
            message_bytes: n(bytes),
            fan_out: n(fan_out),
            egress_gb: Zone::ALL.into_iter().zip(egress.into_iter().map(n)).collect::<BTreeMap<_, _>>(),
            webhooks: n(webhooks),
            stored_gb: n(stored),
            objects: Objects { gb: n(objects.0), writes: n(objects.1), reads: n(objects.2), egress_gb: n(objects.3) },
            assumptions: Assumptions {
                idle_cpu_percent: n(idle),
                cpu_micros_per_message: n(micros),
                load_balancer: balancer,
                nat,
                ..Assumptions::default()
            },
        }
    }
}

/// The limits of the fleet file, what a month makes of them, and what is beyond.
fn limit() -> impl Strategy<Value = Decimal> {
    let figures = [
        Decimal::ZERO,
        Decimal::ONE,
        n(20),
        n(1_000_000),
        n(64 << 20),
        n(1_000_000_000),
        n(1_000_000_000) * n(MONTH_SECONDS),
        n(1_000_000_000) * n(MONTH_SECONDS) * n(100),
        n(i64::MAX as u64),
        n(u64::MAX),
        Decimal::from(10_u128.pow(20)),
        Decimal::from(10_u128.pow(24)),
        Decimal::MAX,
    ];
    // Most workloads are to have more than one figure that is large, and not to be refused for the first.
    prop::sample::select(figures.to_vec()).prop_flat_map(|most| prop_oneof![4 => Just(n(3)), 3 => Just(most)])
}

/// A figure of a workload that grows.
type Grow = fn(&mut Workload, Decimal);

const GROWS: [(&str, Grow); 9] = [
    ("connections", |w, by| w.connections += by),
    ("messages", |w, by| w.messages += by),
    ("egress", |w, by| *w.egress_gb.entry(Zone::NaEu).or_default() += by),
    ("webhooks", |w, by| w.webhooks += by),
    ("stored", |w, by| w.stored_gb += by),
    ("objects", |w, by| w.objects.gb += by),
    ("reads", |w, by| w.objects.reads += by),
    ("writes", |w, by| w.objects.writes += by),
    ("servers", |w, by| w.servers.iter_mut().for_each(|servers| servers.count += by)),
];

fn total(bill: &Bill) -> Money {
    bill.total().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_negative_and_lines_sum_to_the_total(workload in workload(), list_prices in any::<bool>()) {
        let prices = PriceList::built_in().unwrap();
        for platform in Platform::ALL {
            let bill = platform.bill(&workload, &prices, Terms { list_prices }).unwrap();
            let mut sum = Decimal::ZERO;
            for line in &bill.lines {
                prop_assert!(line.amount.amount() >= Decimal::ZERO, "{line:?}");
                prop_assert!(line.free >= Decimal::ZERO && line.free <= line.usage, "{line:?}");
                prop_assert_eq!(line.amount.currency(), bill.currency);
                let parts: Decimal = line.parts.iter().map(|part| part.amount.amount()).sum();
                let units: Decimal = line.parts.iter().map(|part| part.units).sum();
                prop_assert_eq!(parts, line.amount.amount());
                prop_assert_eq!(units, line.usage - line.free);
                sum += line.amount.amount();
            }
            prop_assert_eq!(sum, total(&bill).amount());
            let by_category: Decimal =
                Category::ALL.into_iter().map(|category| bill.total_of(category).unwrap().amount()).sum();
            prop_assert_eq!(by_category, sum);
            prop_assert!(bill.impossible.is_none() || bill.lines.is_empty());
        }
    }

    #[test]
    fn more_usage_is_never_cheaper(workload in workload(), grow in 0..GROWS.len(), by in 1..1_000_000_u64, list_prices in any::<bool>()) {
        let prices = PriceList::built_in().unwrap();
        let (what, grow) = GROWS[grow];
        let by = if what == "servers" { by % 10 + 1 } else { by };
        let mut more = workload.clone();
        grow(&mut more, n(by));
        for platform in Platform::ALL {
            // Another machine brings its own disk and traffic along, which then need not be bought: that may be cheaper.
            if what == "servers" && matches!(platform, Platform::DigitalOcean | Platform::Hetzner) {
                continue;
            }
            let bill = |workload: &Workload| platform.bill(workload, &prices, Terms { list_prices }).unwrap();
            let (less, more) = (bill(&workload), bill(&more));
            if less.impossible.is_none() && more.impossible.is_none() {
                prop_assert!(
                    total(&less).amount() <= total(&more).amount(),
                    "{what} + {by} on {}: {} then {}", platform.name(), total(&less), total(&more)
                );
            }
        }
    }

    #[test]
    fn what_is_free_is_never_dearer(workload in workload()) {
        let prices = PriceList::built_in().unwrap();
        for platform in Platform::ALL {
            let bill = |list_prices| total(&platform.bill(&workload, &prices, Terms { list_prices }).unwrap());
            prop_assert!(bill(false).amount() <= bill(true).amount());
        }
    }

    #[test]
    fn more_time_awake_is_never_cheaper(workload in workload(), one in 0..=100_u64, other in 0..=100_u64) {
        let prices = PriceList::built_in().unwrap();
        let bill = |awake| Platform::Cloudflare.bill(&workload.clone().awake(n(awake)), &prices, Terms::default()).unwrap();
        let (less, more) = (bill(one.min(other)), bill(one.max(other)));
        if less.impossible.is_none() && more.impossible.is_none() {
            prop_assert!(total(&less).amount() <= total(&more).amount());
        }
    }

    #[test]
    fn currencies_do_not_mix(amount in 0..1_000_000_u64, other in 0..1_000_000_u64) {
        let one = Money::new(n(amount), Currency::Usd);
        let two = Money::new(n(other), Currency::Eur);
        prop_assert!(one.plus(two).is_err() && one.minus(two).is_err() && one.compare(two).is_err());
        // A list that has a platform's prices in two currencies gives no bill.
        let own = "[[price]]\nid = \"own.power\"\ncurrency = \"EUR\"\nread = \"2026-11-01\"\n";
        let prices = PriceList::with(own, "own.toml", "2026-11-25".parse().unwrap()).unwrap();
        let servers = vec![Servers { count: n(1), size: Size::new(4, 1024, 4), awake_percent: n(100) }];
        let error = Platform::Own.bill(&Workload { servers, ..Workload::nothing() }, &prices, Terms::default()).unwrap_err();
        prop_assert_eq!(error.code(), "WL0901");
        prop_assert_eq!(error.to_string(), "own.toml: own.power: USD and EUR cannot be added up");
    }

    #[test]
    fn no_text_makes_a_list_panic(text in "[\\[\\]a-z=\"0-9.\\n -]{0,80}") {
        let _ = PriceList::with(&text, "x", "2026-11-25".parse().unwrap());
    }

    #[test]
    fn figures_at_their_limits_are_billed_or_refused(
        figures in prop::collection::vec(limit(), 14),
        (bytes, awake, idle) in (limit(), 0..=100_u64, 0..=100_u64),
        sizes in prop::collection::vec((limit(), limit(), limit(), limit()), 0..3),
        (balancer, nat, list_prices) in any::<(bool, bool, bool)>(),
    ) {
        let servers = sizes.into_iter().map(|(count, vcpu, memory_gib, disk_gb)| Servers {
            count, size: Size { vcpu, memory_gib, disk_gb }, awake_percent: n(awake),
        });
        let workload = Workload {
            seconds: n(MONTH_SECONDS),
            servers: servers.collect(),
            connections: figures[0],
            leaf_nodes: figures[1],
            messages: figures[2],
            message_bytes: bytes,
            fan_out: figures[3],
            egress_gb: BTreeMap::from([(Zone::NaEu, figures[4]), (Zone::Oceania, figures[5])]),
            webhooks: figures[6],
            stored_gb: figures[7],
            objects: Objects { gb: figures[8], writes: figures[9], reads: figures[10], egress_gb: figures[11] },
            assumptions: Assumptions {
                cpu_micros_per_message: figures[12],
                idle_cpu_percent: n(idle),
                worker_ms: figures[13],
                reconnects_a_day: n(1),
                load_balancer: balancer,
                nat,
            },
        };
        let (prices, terms) = (PriceList::built_in().unwrap(), Terms { list_prices });
        let refused = |error: windlass_cost::Error| match error.code() {
            "WL0902" => Ok(()),
            _ => Err(TestCaseError::fail(error.to_string())),
        };
        for platform in Platform::ALL {
            match platform.bill(&workload, &prices, terms).and_then(|bill| bill.total().map(drop)) {
                Ok(()) => {}
                Err(error) => refused(error)?,
            }
        }
        for axis in Axis::ALL {
            if let Err(error) = Curves::of(axis, &workload, &prices, terms) {
                refused(error)?;
            }
        }
        if let Err(error) = Hub::of(&workload, &prices, terms) {
            refused(error)?;
        }
        let _ = (workload.egress_of_messages(), workload.describe());
    }
}

/// What the fleet file allows at the most: 10⁹ messages a second of 64 MiB to 10⁶ clients each.
#[test]
fn the_documented_limits_do_not_overflow() {
    let prices = PriceList::built_in().unwrap();
    let servers = vec![Servers { count: n(1), size: Size::new(4, 1024, 4), awake_percent: n(100) }];
    let workload = Workload {
        servers,
        messages: n(1_000_000_000) * n(MONTH_SECONDS),
        message_bytes: n(64 << 20),
        fan_out: n(1_000_000),
        ..Workload::nothing()
    };
    // 2.628 × 10¹⁵ messages × 67,108,864 B ÷ 10⁹ × 10⁶ clients.
    let egress = workload.egress_of_messages().unwrap();
    assert_eq!(egress.normalize().to_string(), "176362094592000000000");
    let workload = Workload { egress_gb: BTreeMap::from([(Zone::NaEu, egress)]), ..workload };
    for platform in Platform::ALL {
        let error = platform.bill(&workload, &prices, Terms::default()).unwrap_err();
        assert_eq!(error, windlass_cost::Error::TooLarge, "{}", platform.name());
    }
    let most = Workload { messages: Decimal::MAX, ..workload };
    assert!(most.egress_of_messages().is_err() && most.clone().leaving(Decimal::MAX).is_err());
    assert!(most.talking(Decimal::MAX).is_err());
}
