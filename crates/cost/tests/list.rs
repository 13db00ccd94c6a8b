//! The price list: what the built-in one promises, and how one's own is laid over it.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use windlass_cost::bill::{Provenance, Terms};
use windlass_cost::{Error, Platform, PriceList, Profile, storage, workload};

fn own(text: &str) -> Result<PriceList, Error> {
    PriceList::with(text, "own.toml")
}

#[test]
fn every_entry_has_a_source_and_a_date_and_says_what_was_not_confirmed() {
    let list = PriceList::built_in().unwrap();
    assert!(list.prices.len() > 50);
    for price in &list.prices {
        let (id, origin) = (&price.id, &price.origin);
        assert!(origin.source.starts_with("https://") || id.starts_with("own."), "{id}");
        assert!(origin.read.year() >= 2022, "{id}");
        assert!(origin.note.as_ref().is_some_and(|note| note.len() > 20), "{id} says not how it was read");
        assert!(!price.tiers.is_empty(), "{id}");
    }
    assert!(list.prices.iter().any(|price| !price.origin.confirmed));
    assert!(list.own.is_empty());
}

#[test]
fn every_price_of_every_profile_is_in_it() {
    let list = PriceList::built_in().unwrap();
    for profile in windlass_cost::Profile::ALL {
        for platform in Platform::ALL {
            platform.bill(&profile.workload(), &list, Terms::default()).unwrap();
        }
    }
}

#[test]
fn ones_own_is_laid_over_it_key_by_key() {
    let list =
        own("[[price]]\nid = \"cloudflare.r2.storage\"\nprice = \"0.01\"\nread = \"2026-11-01\"\n").unwrap();
    let price = list.price("cloudflare.r2.storage").unwrap();
    assert_eq!((price.first().exact().as_str(), price.unit.as_str()), ("0.01", "GB-month"));
    assert_eq!(price.free.to_string(), "10");
    // It is no longer what the vendor's text says.
    assert!(!price.origin.confirmed && price.origin.note.is_none());
    assert_eq!(price.origin.read.to_string(), "2026-11-01");
    assert!(list.own.contains("cloudflare.r2.storage"));
    let objects = workload::Objects { gb: workload::n(20), ..Default::default() };
    let both = storage::Comparison::of(&objects, &list, Terms::default()).unwrap();
    // (20 − 10) × 0.01.
    assert_eq!(both.r2.total().unwrap().exact(), "0.1");
}

#[test]
fn a_price_replaces_tiers_and_tiers_a_price() {
    let list = own("[[price]]\nid = \"aws.egress\"\nprice = \"0.02\"\nread = \"2026-11-01\"\n").unwrap();
    assert_eq!(list.price("aws.egress").unwrap().tiers.len(), 1);
    let tiers = "tiers = [{ from = \"0\", price = \"2\" }, { from = \"9\", price = \"1\" }]";
    let list = own(&format!("[[price]]\nid = \"aws.ebs.gp3\"\n{tiers}\nread = \"2026-11-01\"\n")).unwrap();
    assert_eq!(list.price("aws.ebs.gp3").unwrap().tiers.len(), 2);
}

#[test]
fn a_rate_of_ones_own_is_taken() {
    let list = own("[[rate]]\nfrom = \"EUR\"\nto = \"USD\"\nvalue = \"2\"\nread = \"2026-11-01\"\n").unwrap();
    let bill = Platform::Hetzner.bill(&Profile::Small.workload(), &list, Terms::default()).unwrap();
    let usd = bill.total_in(windlass_cost::Currency::Usd, &list).unwrap().unwrap();
    assert_eq!(usd.exact(), "8.98");
}

#[test]
fn what_is_wrong_in_it_is_said() {
    let entry = |rest: &str| format!("[[price]]\nid = \"aws.egress\"\nread = \"2026-11-01\"\n{rest}\n");
    let dollar = "currency = \"USD\"\nwhat = \"x\"\nunit = \"y\"";
    for (text, code, words) in [
        ("price = ".to_owned(), "WL0903", "own.toml"),
        ("[prices]\n".to_owned(), "WL0903", "neither"),
        ("[[prices]]\nid = \"x\"\n".to_owned(), "WL0903", "neither"),
        ("[[price]]\nprice = \"1\"\nread = \"2026-11-01\"\n".to_owned(), "WL0903", "not which"),
        ("[[price]]\nid = \"aws.egress\"\nprice = \"1\"\n".to_owned(), "WL0904", "when it was read"),
        (entry("price = 0.09"), "WL0904", "quotes"),
        (entry("price = \"-1\""), "WL0904", "from 0 up"),
        (entry("price = \"1e3\""), "WL0904", "from 0 up"),
        (entry("price = \"1\"\ncosts = \"2\""), "WL0904", "costs"),
        (entry("price = \"1\"\ntiers = []"), "WL0904", "not both"),
        (entry("tiers = [{ from = \"5\", price = \"1\" }]"), "WL0904", "rise from 0"),
        (entry("price = \"1\"\nper = \"0\""), "WL0904", "per"),
        (entry("price = \"1\"\ncurrency = \"GBP\""), "WL0904", "GBP"),
        (entry("price = \"1\"").replace("2026-11-01", "yesterday"), "WL0904", "no date"),
        (format!("{0}{0}", entry("price = \"1\"")), "WL0904", "twice"),
        ("[[price]]\nid = \"mine\"\nprice = \"1\"\nread = \"2026-11-01\"\n".to_owned(), "WL0904", "what"),
        (format!("[[price]]\nid = \"mine\"\nread = \"2026-11-01\"\n{dollar}\n"), "WL0904", "not both"),
    ] {
        let error = own(&text).unwrap_err();
        assert_eq!(error.code(), code, "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!error.help().is_empty());
    }
}

#[test]
fn old_and_unconfirmed_prices_are_named() {
    let list = PriceList::built_in().unwrap();
    let bill =
        Platform::DigitalOcean.bill(&Profile::Organization.workload(), &list, Terms::default()).unwrap();
    let of = |day: &str| {
        Provenance::of_bills(
            std::slice::from_ref(&bill),
            &list,
            windlass_cost::Currency::Usd,
            day.parse().unwrap(),
        )
    };
    assert_eq!(of("2022-07-02").old, [] as [&str; 0]);
    let later = of("2026-11-25");
    assert_eq!(later.old, ["digitalocean.droplet.2vcpu-4gb"]);
    assert_eq!(later.unconfirmed, ["digitalocean.droplet.2vcpu-4gb"]);
    assert!(
        later.sentence().starts_with("Prices read 2022-07-01; 1 of 1 not confirmed"),
        "{}",
        later.sentence()
    );
}
