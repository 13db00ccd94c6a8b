//! The price list: what the built-in one promises, and how one's own is laid over it.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use windlass_cost::bill::{Provenance, Terms};
use windlass_cost::{Error, Platform, PriceList, Profile, storage, workload};

fn own(text: &str) -> Result<PriceList, Error> {
    PriceList::with(text, "own.toml", "2026-11-25".parse().unwrap())
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
    let machine = |rest: &str| entry(rest).replace("aws.egress", "hetzner.server.mine");
    let rate = |value: &str| {
        format!("[[rate]]\nfrom = \"EUR\"\nto = \"USD\"\nvalue = \"{value}\"\nread = \"2026-11-01\"\n")
    };
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
        (machine("price = \"1\""), "WL0904", "what"),
        (machine(dollar), "WL0904", "not both"),
        // A misspelt name would be counted nowhere; a day to come was not read; a rate of nothing makes everything free.
        (
            entry("price = \"1\"").replace("aws.egress", "aws.egres"),
            "WL0904",
            "own.toml: aws.egres: the list has no such price",
        ),
        (
            entry("price = \"1\"").replace("2026-11-01", "2026-11-26"),
            "WL0904",
            "own.toml: aws.egress: it was read on a day to come",
        ),
        (rate("0"), "WL0904", "own.toml: EUR USD: value = \"0\""),
        (rate("0.00"), "WL0904", "everything free"),
        (rate("-1"), "WL0904", "from 0 up"),
        (entry("price = \"79228162514264337593543950335\""), "WL0904", "more than any price"),
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

#[test]
fn what_has_no_date_says_so() {
    let list = PriceList::built_in().unwrap();
    for price in &list.prices {
        let note = price.origin.note.clone().unwrap_or_default();
        let undated = note.contains("as of the beginning of 2026");
        assert_eq!(price.origin.dated, !undated, "{}", price.id);
        assert_eq!(price.origin.day() == "not dated", undated, "{}", price.id);
    }
    let of = |ids: &[&str]| {
        let prices: Vec<_> = ids.iter().map(|id| list.price(id).unwrap()).collect();
        let origins = prices.iter().map(|price| (price.id.as_str(), &price.origin));
        Provenance::of(origins, "2026-11-25".parse().unwrap())
    };
    let both = of(&["aws.egress", "aws.s3.reads"]);
    assert_eq!((both.undated.as_slice(), both.oldest), (&["aws.s3.reads".to_owned()][..], both.newest));
    assert_eq!(
        both.sentence(),
        "Prices read 2026-04-27, 1 of 2 not dated; 2 of 2 not confirmed by the vendor's own text."
    );
    let one = of(&["cloudflare.kv.reads"]).sentence();
    assert_eq!(one, "Prices not dated; each confirmed by the vendor's own text.");
    // Whoever reads it again and says when has a date.
    let own = own("[[price]]\nid = \"aws.s3.reads\"\nprice = \"0.0003\"\nread = \"2026-11-01\"\n").unwrap();
    assert_eq!(own.price("aws.s3.reads").unwrap().origin.day(), "2026-11-01");
}

#[test]
fn a_machine_of_ones_own_is_taken_where_it_is_the_cheapest() {
    let text = "[[price]]\nid = \"hetzner.server.mine\"\nwhat = \"x\"\nunit = \"month\"\ncurrency = \"EUR\"\nprice = \"1\"\n\
                read = \"2026-11-01\"\nincludes = { vcpu = \"2\", memory-gib = \"4\", disk-gb = \"40\", traffic-tb = \"20\" }\n";
    let bill =
        Platform::Hetzner.bill(&Profile::Small.workload(), &own(text).unwrap(), Terms::default()).unwrap();
    assert_eq!(bill.total().unwrap().exact(), "1.5");
}
