//! The plots of `docs/cost.md` are what the program draws; `UPDATE_GOLDEN=1 cargo test -p windlass-cost` draws them anew.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::path::Path;
use windlass_cost::bill::{Provenance, Terms};
use windlass_cost::curve::{Axis, Curves};
use windlass_cost::{Currency, Platform, PriceList, Profile, svg, terminal};

const PLOTS: [(Profile, Axis); 4] = [
    (Profile::Small, Axis::Awake),
    (Profile::Organization, Axis::Awake),
    (Profile::Organization, Axis::Egress),
    (Profile::Organization, Axis::Messages),
];

fn golden(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "{} is not what is drawn: UPDATE_GOLDEN=1, and look at it", path.display());
}

#[test]
fn the_plots_are_as_drawn() {
    let prices = PriceList::built_in().unwrap();
    for (profile, axis) in PLOTS {
        let workload = profile.workload();
        let bills: Vec<_> = Platform::ALL
            .into_iter()
            .map(|platform| platform.bill(&workload, &prices, Terms::default()).unwrap())
            .collect();
        let sources =
            Provenance::of_bills(&bills, &prices, Currency::Usd, "2026-11-25".parse().unwrap()).sentence();
        let curves = Curves::of(axis, &workload, &prices, Terms::default()).unwrap();
        let what = format!("Profile {}: {}", profile.as_str(), workload.brief());
        golden(
            &format!("docs/cost-{}-{}.svg", profile.as_str(), axis.as_str()),
            &svg::svg(&curves, &what, &sources),
        );
        golden(
            &format!("crates/cost/tests/golden/{}-{}.txt", profile.as_str(), axis.as_str()),
            &format!("{}\n{}\n", terminal::terminal(&curves, false), curves.sentences().join("\n")),
        );
        let coloured = terminal::terminal(&curves, true);
        assert!(coloured.contains("\x1b[1;33mC\x1b[0m"), "{coloured}");
    }
}

/// The totals of every profile on every platform, as a table of Markdown.
fn totals() -> String {
    let prices = PriceList::built_in().unwrap();
    let total = |platform: Platform, profile: Profile| {
        let bill = platform.bill(&profile.workload(), &prices, Terms::default()).unwrap();
        bill.total_in(Currency::Usd, &prices).unwrap()
    };
    let least = |profile: Profile| {
        Platform::ALL
            .into_iter()
            .filter_map(|platform| total(platform, profile))
            .map(windlass_cost::Money::amount)
            .min()
    };
    let mut table = String::from("| |");
    Profile::ALL.iter().for_each(|profile| table.push_str(&format!(" {} |", profile.as_str())));
    table.push_str("\n| --- | ---: | ---: | ---: |\n");
    for platform in Platform::ALL {
        table.push_str(&format!("| {} |", platform.name()));
        for profile in Profile::ALL {
            let cell = match total(platform, profile) {
                None => "—".to_owned(),
                Some(money) if Some(money.amount()) == least(profile) => format!("★ {}", money.cents()),
                Some(money) => money.cents(),
            };
            table.push_str(&format!(" {cell} |"));
        }
        table.push('\n');
    }
    table
}

#[test]
fn the_pages_table_is_what_is_counted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cost.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- totals -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    golden("docs/cost.md", &format!("{before}<!-- totals -->\n{}<!-- end -->{after}", totals()));
}

#[test]
fn a_plot_is_well_formed_and_carries_no_markup_of_others() {
    let prices = PriceList::built_in().unwrap();
    let curves = Curves::of(Axis::Awake, &Profile::Large.workload(), &prices, Terms::default()).unwrap();
    let text = svg::svg(&curves, "<script>&\"", "x");
    assert!(text.contains("&lt;script&gt;&amp;&quot;") && !text.contains("<script>"));
    assert_eq!(text.matches("<g ").count(), text.matches("</g>").count());
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
