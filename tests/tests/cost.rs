//! What it costs, on the real program: the reference comparison, a fleet in its environments, a limit in CI, a plan, one's own
//! prices, and usage that was measured on servers that run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;
use windlass_tests::engine::apply_all;
use windlass_tests::furniture::ports;
use windlass_tests::{Fleet, repository};

/// A hub of one's own, servers at Cloudflare, and two environments.
const ACME: &str = r#"
[fleet]
name = "acme"

[clusters.hub]
jetstream = { domain = "hub" }

[clusters.edge]
platform = "cloudflare"
leaf_of = "hub"
jetstream = { domain = "edge" }
regions = { weur = { min = 1, max = 2 } }
instance = "basic"

[streams.GITHUB]
cluster = "hub"
subjects = ["github.>"]

[cost]
machines = "hetzner"
machine = { vcpus = 2, memory = "4GiB" }
awake_percent = 0
connections = 0
messages_per_second = 0
stored = 0
idle_cpu_percent = 0

[environments.development]
clusters.edge.regions = { weur = { min = 0, max = 2 } }

[environments.production]
clusters.hub.servers = 3
"#;

/// What the file allows at the most.
const LIMITS: &str = r#"
[cost]
machines = "own"
messages_per_second = 1_000_000_000
fan_out = 1_000_000
message_size = "64MiB"
"#;

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Fleet::command_in(directory, arguments).output().unwrap()
}

fn json(directory: &Path, arguments: &[&str]) -> Value {
    let output = run(directory, &[&["cost"], arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn acme() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("windlass.toml"), ACME).unwrap();
    directory
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// The code of the error that a command ended with.
fn code(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let at = said.find("error[").unwrap_or_else(|| panic!("no error in {output:?}"));
    said[at + 6..].chars().take(6).collect()
}

#[test]
fn the_reference_comparison_of_stores_to_the_cent() {
    let directory = tempfile::tempdir().unwrap();
    let usage = ["storage", "--gb", "10", "--reads", "1000000", "--egress-gb", "100"];
    let list = json(directory.path(), &[&usage[..], &["--list-prices"]].concat());
    // R2: 0.15 + 0.36 + 0.00; S3: 0.23 + 0.40 + 9.00.
    assert_eq!(list["r2"]["total"], "0.51");
    assert_eq!(list["s3"]["total"], "9.63");
    assert_eq!(list["saving_percent"], 94.7);
    let lines = |store: &str| -> Vec<String> {
        let lines = list[store]["lines"].as_array().unwrap();
        lines.iter().map(|line| line["amount"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lines("r2"), ["0.15", "0.00", "0.36", "0.00"]);
    assert_eq!(lines("s3"), ["0.23", "0.00", "0.40", "9.00"]);
    assert!(list["prices"]["oldest"].is_string());
    let free = json(directory.path(), &usage);
    assert_eq!((&free["r2"]["total"], &free["s3"]["total"]), (&"0.00".into(), &"0.63".into()));
    // Writes are where R2 can be the dearer one: 10 M writes are (10 − 1) × 4.50 against 10,000 × 0.005, and
    // storage of 1,000 GB with 20 M writes is 14.85 + 85.50 against 23 + 100.
    let writes = json(directory.path(), &["storage", "--writes", "10000000", "--reads", "0"]);
    assert_eq!((&writes["r2"]["total"], &writes["s3"]["total"]), (&"40.50".into(), &"50.00".into()));
    let nothing = json(directory.path(), &["storage"]);
    assert_eq!(nothing["saving_percent"], Value::Null);
    for wrong in ["-1", "1e9", "many", "NaN"] {
        let output = run(directory.path(), &["cost", "storage", "--gb", wrong]);
        assert_eq!(output.status.code(), Some(3), "{wrong}: {output:?}");
    }
}

#[test]
fn a_fleet_in_each_of_its_environments() {
    let directory = acme();
    let all = json(directory.path(), &["estimate"]);
    let environments = all["environments"].as_array().unwrap();
    let total = |name: &str| {
        let one = environments.iter().find(|one| one["environment"] == name).unwrap();
        one["total_exact"].as_str().unwrap().to_owned()
    };
    // Hetzner: 3.99 + 0.50 = 4.49 EUR × 1.1637 = 5.225013. Cloudflare, none at least: 5.
    assert_eq!(total("development"), "10.225013");
    // Three of them: 13.47 EUR × 1.1637 = 15.675039. One basic server always on: 12.03044.
    assert_eq!(total("production"), "27.705479");
    let one = json(directory.path(), &["estimate", "--environment", "production"]);
    assert_eq!(one["environments"].as_array().unwrap().len(), 1);
    assert_eq!(one["environments"][0]["total"], "27.71");
    // Lines sum to the total of their bill.
    for bill in one["environments"][0]["bills"].as_array().unwrap() {
        let cents = |value: &Value| -> f64 { value.as_str().unwrap().parse().unwrap() };
        let sum: f64 =
            bill["lines"].as_array().unwrap().iter().map(|line| cents(&line["amount_exact"])).sum();
        assert!((sum - cents(&bill["total_exact"])).abs() < 1e-9, "{bill}");
    }
    let output = run(directory.path(), &["cost", "estimate", "--environment", "nowhere"]);
    assert_eq!((output.status.code(), code(&output).as_str()), (Some(3), "WL0135"));
}

#[test]
fn a_limit_for_ci() {
    let directory = acme();
    let check =
        |max: &str| run(directory.path(), &["cost", "check", "--environment", "production", "--max", max]);
    let above = check("27.70USD");
    assert_eq!(above.status.code(), Some(1), "{above:?}");
    let said = text(&above);
    assert!(said.contains("WL0435") && said.contains("27.71 USD") && said.contains("27.70 USD"), "{said}");
    assert_eq!(check("27.71USD").status.code(), Some(0));
    // The limit is compared exactly, and both sides are then said so.
    let cent = text(&check("27.705478"));
    assert!(cent.contains("27.71 USD (exactly 27.705479)") && cent.contains("(exactly 27.705478)"), "{cent}");
    assert_eq!(check("27.705479").status.code(), Some(0));
    let euros = text(&check("23.81EUR"));
    for words in ["1 EUR = 1.1637 USD", "2026-05-27", "not confirmed"] {
        assert!(euros.contains(words) && text(&check("23.80EUR")).contains(words), "{words}: {euros}");
    }
    // 23.80 EUR are 27.696 USD, 23.81 are 27.708.
    assert_eq!(check("23.80EUR").status.code(), Some(1));
    assert_eq!(check("23.81EUR").status.code(), Some(0));
    for wrong in ["much", "-5USD", "5GBP", ""] {
        assert_eq!(check(wrong).status.code(), Some(3), "{wrong}");
    }
    // What has no price does not pass.
    let file = ACME.replace("[cost]\n", "[cost]\nmessage_cpu_micros = 1000000\n");
    let file = file.replace("messages_per_second = 0", "messages_per_second = 1000");
    fs::write(directory.path().join("windlass.toml"), file).unwrap();
    let output = check("1000000USD");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("WL0438"), "{output:?}");
    // Nor has it a total.
    let estimate = json(directory.path(), &["estimate", "--environment", "production"]);
    let one = &estimate["environments"][0];
    assert!(one["total"].is_null() && one["total_exact"].is_null(), "{one}");
    assert!(one["no_price"][0].as_str().unwrap().contains("too small"), "{one}");
    let said = text(&run(directory.path(), &["cost", "estimate", "--environment", "production"]));
    assert!(
        said.contains("No total: Cloudflare: the servers are too small")
            && !said.contains("0.00 USD a month"),
        "{said}"
    );
}

#[test]
fn each_instance_type_has_a_total_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    // One that is always awake, as `bills.rs` of the crate has them by hand: 5 for the plan, and for 2,628,000 s
    // (GiB × s − 90,000) × 0.0000025 and (GB × s − 720,000) × 0.00000007:
    // 1.4175 + 0.31752; 6.345 + 0.68544; 26.055 + 1.42128; 39.195 + 2.15712.
    for (instance, total) in
        [("lite", "6.73502"), ("basic", "12.03044"), ("standard-1", "32.47628"), ("standard-2", "46.35212")]
    {
        let file = ACME.replace("\"basic\"", &format!("\"{instance}\"")).replace("max = 2", "max = 1");
        let file = file.replace("machines = \"hetzner\"", "machines = \"uncounted\"");
        fs::write(directory.path().join("windlass.toml"), file.split("[environments").next().unwrap())
            .unwrap();
        let estimate = json(directory.path(), &["estimate"]);
        assert_eq!(estimate["environments"][0]["total_exact"], total, "{instance}");
    }
}

#[test]
fn objects_without_a_place_are_named_and_bad_input_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let write = |file: &str| fs::write(directory.path().join("windlass.toml"), file).unwrap();
    write("[fleet]\nname = \"acme\"\n[clusters.hub]\n[cost]\nobjects = { stored = \"100GB\" }\n");
    let said = text(&run(directory.path(), &["cost", "estimate"]));
    assert!(said.contains("not counted: what is kept as objects"), "{said}");
    // In a bucket of R2 they are counted: (100 − 10) × 0.015 = 1.35, and 5 for the plan.
    write(
        "[fleet]\nname = \"acme\"\n[state]\nstore = \"r2://bucket\"\n[cost]\nobjects = { stored = \"100GB\" }\n",
    );
    let estimate = json(directory.path(), &["estimate"]);
    assert_eq!(estimate["environments"][0]["total_exact"], "6.35");
    // The limits of the file are valid, and too large for a bill.
    write(&format!("[fleet]\nname = \"acme\"\n[clusters.hub]\n{LIMITS}"));
    assert!(run(directory.path(), &["validate"]).status.success());
    for arguments in [&["estimate"][..], &["compare"], &["check", "--max", "1USD"], &["explain", "vcpu"]] {
        let output = run(directory.path(), &[&["cost"], arguments].concat());
        assert_eq!((output.status.code(), code(&output).as_str()), (Some(3), "WL0902"), "{output:?}");
    }
    let output = run(directory.path(), &["plan"]);
    assert!(output.status.success() && text(&output).contains("what it costs cannot be said"), "{output:?}");
    // Two currencies on one bill are the list's, and name the entry.
    write("[fleet]\nname = \"acme\"\n[clusters.hub]\n[cost]\nmachines = \"own\"\n");
    let list = |entry: &str| fs::write(directory.path().join("own.toml"), entry).unwrap();
    for (entry, expected, words) in [
        (
            "[[price]]\nid = \"own.power\"\ncurrency = \"EUR\"\nread = \"2026-11-01\"\n",
            "WL0901",
            "own.toml: own.power",
        ),
        (
            "[[price]]\nid = \"own.pwer\"\nprice = \"1\"\nread = \"2026-11-01\"\n",
            "WL0904",
            "own.toml: own.pwer",
        ),
        (
            "[[price]]\nid = \"own.power\"\nprice = \"1\"\nread = \"2999-01-01\"\n",
            "WL0904",
            "own.toml: own.power",
        ),
        (
            "[[rate]]\nfrom = \"EUR\"\nto = \"USD\"\nvalue = \"0\"\nread = \"2026-11-01\"\n",
            "WL0904",
            "EUR USD",
        ),
    ] {
        list(entry);
        let output = run(directory.path(), &["cost", "estimate", "--prices", "own.toml"]);
        assert_eq!((output.status.code(), code(&output).as_str()), (Some(3), expected), "{output:?}");
        assert!(text(&output).contains(words), "{words}: {output:?}");
    }
    for window in ["0", "0s"] {
        let output = run(directory.path(), &["cost", "estimate", "--measured", "--window", window]);
        assert_eq!(output.status.code(), Some(3), "{window}: {output:?}");
    }
}

#[test]
fn a_line_is_explained() {
    let directory = acme();
    let explain =
        |line: &str| run(directory.path(), &["cost", "explain", line, "--environment", "production"]);
    let output = explain("cloudflare.containers.memory");
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    // (2,628,000 − 90,000) × 0.0000025.
    for words in
        ["2,628,000", "90,000", "2,538,000", "0.0000025", "6.345", "1 × 1 GiB", "developers.cloudflare.com"]
    {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(explain("containers.disk").status.success());
    for (asked, named) in
        [("containers", "containers.memory"), ("containers.memroy", "containers.memory"), ("", "hetzner")]
    {
        let output = explain(asked);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("WL0436") && said.contains(named), "{asked}: {said}");
    }
    let profile = json(directory.path(), &["explain", "aws.egress", "--profile", "large"]);
    assert_eq!(profile["lines"].as_array().unwrap().len(), 2);
}

#[test]
fn platforms_side_by_side_and_where_cloudflare_is_not_the_cheaper_one() {
    let directory = tempfile::tempdir().unwrap();
    let small = json(directory.path(), &["compare", "--profile", "small"]);
    let usd = |platform: &str| -> f64 {
        let platforms = small["platforms"].as_array().unwrap();
        let one = platforms.iter().find(|one| one["platform"] == platform).unwrap();
        one["total_usd"].as_str().unwrap().parse().unwrap()
    };
    assert!((25.0..=35.0).contains(&usd("aws-fargate")) && (5.0..=10.0).contains(&usd("cloudflare")));
    assert!((25.0..=35.0).contains(&usd("aws-ec2")));
    // With the hub, which it needs besides, it is above 10.
    assert_eq!(small["hub"]["with_cloudflare_usd"], "11.78");
    assert_eq!((&small["hub"]["platform"], &small["hub"]["total_usd"]), (&"hetzner".into(), &"5.23".into()));
    // It is not the cheapest, and the result says so.
    assert_eq!(small["cheapest"], "hetzner");
    let said = text(&run(directory.path(), &["cost", "compare", "--profile", "small"]));
    assert!(said.contains("Cloudflare is not the cheapest here: Hetzner costs"), "{said}");
    assert!(
        said.contains("Cloudflare is cheaper than DigitalOcean below 17.5 % of the time awake"),
        "{said}"
    );
    assert!(said.contains("Not counted") && said.contains("Prices read "), "{said}");
    assert!(
        said.contains("comes on top of Cloudflare: 5.23 USD on Hetzner (1 server), 11.78 USD in all"),
        "{said}"
    );
    // A fleet that never wakes is not one without prices.
    let asleep = acme();
    let said = text(&run(asleep.path(), &["cost", "compare", "--environment", "development"]));
    assert!(!said.contains("no listed price for this workload"), "{said}");
    let break_even = small["break_even"].as_array().unwrap();
    assert_eq!(
        break_even.iter().map(|one| &one["over"]).collect::<Vec<_>>(),
        ["awake", "egress", "messages"]
    );
    // The fleet without a file is the built-in one.
    assert!(json(directory.path(), &["compare"])["name"].as_str().unwrap().starts_with("Fleet windlass"));
    let large = json(directory.path(), &["compare", "--profile", "large"]);
    let synadia = large["platforms"].as_array().unwrap().last().unwrap();
    assert!(synadia["impossible"].is_string() && synadia["total_usd"].is_null(), "{synadia}");
}

#[test]
fn the_plots_of_the_page_are_drawn_by_the_program() {
    let directory = tempfile::tempdir().unwrap();
    for (profile, over) in [
        ("small", "awake"),
        ("organization", "awake"),
        ("organization", "egress"),
        ("organization", "messages"),
    ] {
        let file = directory.path().join("plot.svg");
        let arguments = [
            "cost",
            "compare",
            "--profile",
            profile,
            "--chart",
            over,
            "--draw",
            "svg",
            "--output",
            "plot.svg",
        ];
        let output = run(directory.path(), &arguments);
        assert!(output.status.success(), "{output:?}");
        let page = repository().join(format!("docs/cost-{profile}-{over}.svg"));
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            fs::read_to_string(&page).unwrap(),
            "{}",
            page.display()
        );
        let page = fs::read_to_string(repository().join("docs/cost.md")).unwrap();
        assert!(
            page.contains(&format!("(cost-{profile}-{over}.svg)")),
            "docs/cost.md shows no {profile}-{over}"
        );
    }
    let chart = run(directory.path(), &["cost", "compare", "--profile", "small", "--chart", "egress"]);
    assert!(text(&chart).contains("egress, in GB a month; ▲ this workload"), "{chart:?}");
}

#[test]
fn tables_for_pages_and_spreadsheets() {
    let directory = acme();
    let print = |arguments: &[&str], format: &str| {
        let output = run(directory.path(), &[&["cost"], arguments, &["--format", format]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let markdown = print(&["estimate", "--environment", "production"], "markdown");
    assert!(
        markdown.starts_with("| environment | platform |") && markdown.contains("| 27.71 |"),
        "{markdown}"
    );
    let csv = print(&["estimate"], "csv");
    let mut lines = csv.lines();
    assert_eq!(
        lines.next().unwrap(),
        "environment,platform,line,what,usage,arithmetic,price read,confirmed,amount,USD"
    );
    assert!(csv.contains("production,,total,,,,,,,27.71"), "{csv}");
    let all: [&[&str]; 6] = [
        &["estimate"],
        &["compare", "--profile", "small"],
        &["storage", "--gb", "1"],
        &["explain", "r2.storage", "--profile", "small"],
        &["check", "--max", "1000USD"],
        &["prices"],
    ];
    for arguments in all {
        let (csv, markdown) = (print(arguments, "csv"), print(arguments, "markdown"));
        assert!(csv.contains("\r\n") && markdown.starts_with("| "), "{arguments:?}: {csv}");
        // Each of them has the day of its prices, and what is not in it.
        assert!(csv.contains("2026-") && markdown.contains("2026-"), "{arguments:?}: {csv}");
        let is_counted = ["explain", "prices"].contains(&arguments[0]);
        assert!(
            is_counted || (csv.contains("not counted") && csv.contains("Prices read")),
            "{arguments:?}: {csv}"
        );
    }
    let compare = print(&["compare", "--profile", "small"], "csv");
    assert!(compare.contains("11.78 USD in all") && compare.contains("not dated"), "{compare}");
    // Elsewhere there are no such tables, and nobody is given something else in silence.
    let output = run(directory.path(), &["validate", "--format", "csv"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn prices_have_sources_and_can_be_replaced() {
    let directory = acme();
    let list = json(directory.path(), &["prices"]);
    let prices = list["prices"].as_array().unwrap();
    assert!(prices.len() > 50);
    for price in prices {
        assert!(
            price["source"].is_string() && price["read"].is_string() && price["confirmed"].is_boolean(),
            "{price}"
        );
    }
    let said = text(&run(directory.path(), &["cost", "prices", "cloudflare.r2"]));
    assert!(
        said.contains("[1] https://developers.cloudflare.com/r2/pricing/") && said.contains("2026-08-03"),
        "{said}"
    );
    fs::write(
        directory.path().join("own.toml"),
        "[[price]]\nid = \"hetzner.server.cx23\"\nprice = \"5.00\"\nread = \"2026-11-20\"\nsource = \"our invoice\"\n",
    )
    .unwrap();
    let own = json(directory.path(), &["estimate", "--environment", "development", "--prices", "own.toml"]);
    // 5.50 EUR × 1.1637 + 5.
    assert_eq!(own["environments"][0]["total_exact"], "11.40035");
    // The same from the fleet file, relative to it.
    let file = ACME.replace("[cost]\n", "[cost]\nprices = \"own.toml\"\n");
    fs::write(directory.path().join("windlass.toml"), file).unwrap();
    let own = json(directory.path(), &["estimate", "--environment", "development"]);
    assert_eq!(own["environments"][0]["total_exact"], "11.40035");
    // A number that is not exact is refused, and nothing is counted.
    fs::write(
        directory.path().join("own.toml"),
        "[[price]]\nid = \"aws.ebs.gp3\"\nprice = 0.08\nread = \"2026-11-20\"\n",
    )
    .unwrap();
    let output = run(directory.path(), &["cost", "estimate"]);
    assert_eq!((output.status.code(), code(&output).as_str()), (Some(3), "WL0904"), "{output:?}");
    // A plan goes on without its cost, and says why. It looks at what is there, so nothing of it is at Cloudflare here.
    let own = "[fleet]\nname = \"acme\"\n\n[clusters.hub]\n\n[cost]\nprices = \"own.toml\"\n";
    fs::write(directory.path().join("windlass.toml"), own).unwrap();
    let output = run(directory.path(), &["plan"]);
    assert!(output.status.success() && text(&output).contains("what it costs cannot be said"), "{output:?}");
    let output = run(directory.path(), &["cost", "estimate", "--prices", "missing.toml"]);
    assert_eq!((output.status.code(), code(&output).as_str()), (Some(3), "WL0402"));
}

/// The fleet of [`a_plan_says_what_it_adds`].
fn hub(servers: u32, ports: &str) -> String {
    format!(
        "[fleet]\nname = \"billed\"\n\n[clusters.hub]\nservers = {servers}\nports = {ports}\n\n[cost]\nmachines = \"digital-ocean\"\n\
         machine = {{ vcpus = 1, memory = \"1GiB\" }}\nstored = 0\n"
    )
}

#[test]
fn a_plan_says_what_it_adds() {
    let ports = ports(3);
    let fleet = Fleet::of(&hub(1, &ports));
    let plan = |arguments: &[&str]| -> Value {
        let output = fleet.run(&[&["plan", "--format", "json"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    // One Droplet of 1 GiB: 6.
    let first = plan(&[]);
    assert_eq!(
        first["cost"]["monthly"],
        serde_json::json!({ "before": "0.00", "after": "6.00", "change": "+6.00" })
    );
    assert_eq!(first["cost"]["actions"]["server.hub-0"]["change"], "+6.00");
    assert!(plan(&["--no-cost"])["cost"].is_null());
    let said = text(&fleet.run(&["plan"]));
    assert!(
        said.contains("+6.00 USD/month") && said.contains("Costs 6.00 USD a month (+6.00 with this plan)"),
        "{said}"
    );
    // Only what is a target changes the bill.
    let account = plan(&["--target", "account.GITHUB"]);
    assert_eq!(account["cost"]["monthly"]["change"], "0.00");
    apply_all(&fleet, &[]);
    let settled = plan(&[]);
    assert_eq!(
        settled["cost"]["monthly"],
        serde_json::json!({ "before": "6.00", "after": "6.00", "change": "0.00" })
    );
    assert!(settled["cost"]["actions"].as_object().unwrap().is_empty());
    fleet.write(&hub(3, &ports));
    let grown = plan(&[]);
    assert_eq!(
        grown["cost"]["monthly"],
        serde_json::json!({ "before": "6.00", "after": "18.00", "change": "+12.00" })
    );
    assert_eq!(grown["cost"]["actions"].as_object().unwrap().len(), 2);
    // What it adds is on the file as it was read; it changes nothing of the plan itself.
    assert_eq!(grown["world"], plan(&["--no-cost"])["world"]);
}

/// In hundredths, so that sums are exact.
fn cents(value: &Value) -> i64 {
    value.as_str().unwrap().replace(['.', '+'], "").parse().unwrap()
}

#[test]
fn the_column_of_a_plan_adds_up_to_the_total() {
    let ports = ports(3);
    // Three tasks of 1 vCPU and 2 GB, a balancer, streams and egress that they share.
    let file = |servers: u32, stored: &str, extra: &str| {
        format!(
            "[fleet]\nname = \"billed\"\n\n[clusters.hub]\nservers = {servers}\nports = {ports}\n\n[cost]\nmachines = \"aws-fargate\"\n\
             machine = {{ vcpus = 1 }}\nmessages_per_second = 100\nmessage_size = \"1KB\"\nstored = \"{stored}\"\n{extra}"
        )
    };
    let fleet = Fleet::of(&file(3, "50GB", ""));
    let plan = || -> Value {
        let output = fleet.run(&["plan", "--format", "json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let sum = |plan: &Value| -> i64 {
        plan["cost"]["actions"].as_object().unwrap().values().map(|one| cents(&one["change"])).sum()
    };
    let first = plan();
    let change = |plan: &Value| cents(&plan["cost"]["monthly"]["change"]);
    assert!(change(&first) > 10_000, "{first}");
    assert_eq!(first["cost"]["actions"].as_object().unwrap().len(), 3, "{first}");
    assert_eq!(sum(&first), change(&first), "{first}");
    // The second adds itself alone: 730 h × (0.04048 + 2 × 0.004445 + 0.005) = 39.6901, while the first has what all share.
    let of = |plan: &Value, server: &str| cents(&plan["cost"]["actions"][server]["change"]);
    assert!(
        [3_969, 3_970].contains(&of(&first, "server.hub-1")) && of(&first, "server.hub-0") > 5_000,
        "{first}"
    );
    apply_all(&fleet, &[]);
    // Some of them go.
    fleet.write(&file(1, "50GB", ""));
    let less = plan();
    assert!(change(&less) < 0 && sum(&less) == change(&less), "{less}");
    // What cannot be counted keeps nobody from a plan.
    fleet.write(
        &file(3, "50GB", "fan_out = 1_000_000\n")
            .replace("= 100\n", "= 1_000_000_000\n")
            .replace("1KB", "64MiB"),
    );
    let output = fleet.run(&["plan"]);
    assert!(output.status.success() && text(&output).contains("what it costs cannot be said"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_measured() {
    let fleet = Fleet::of(&hub(1, &ports(1)));
    let nothing = fleet.run(&["cost", "estimate", "--measured", "--window", "1s"]);
    assert_eq!((nothing.status.code(), code(&nothing).as_str()), (Some(1), "WL0437"), "{nothing:?}");
    apply_all(&fleet, &[]);
    let status: Value = serde_json::from_slice(&fleet.run(&["status", "--format", "json"]).stdout).unwrap();
    let word = |key: &str| status["nats"][key].as_str().unwrap().to_owned();
    let options = async_nats::ConnectOptions::new().credentials_file(word("creds")).await.unwrap();
    let client = options.connect(word("url")).await.unwrap();
    let beat = tokio::spawn(async move {
        let mut inbox = client.subscribe("cost.>").await.unwrap();
        loop {
            client.publish("cost.beat", vec![0_u8; 1_000].into()).await.unwrap();
            client.flush().await.unwrap();
            futures::StreamExt::next(&mut inbox).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    let command = ["cost", "estimate", "--measured", "--window", "2s", "--format", "json"];
    let output = tokio::task::block_in_place(|| fleet.run(&command));
    beat.abort();
    assert!(output.status.success(), "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let measured = &result["measured"];
    let number = |key: &str| measured[key].as_u64().unwrap();
    assert_eq!(number("servers"), 1);
    assert!(
        number("connections") >= 1 && number("in_messages") > 20 && number("out_messages") > 20,
        "{measured}"
    );
    assert!(number("in_bytes") >= number("in_messages") * 500, "{measured}");
    let awake: f64 = measured["awake_percent"].as_str().unwrap().parse().unwrap();
    assert!(awake > 90.0, "{measured}");
}
