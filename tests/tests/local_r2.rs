//! The local R2 beside other S3 servers: Cloudflare's own local R2 (wrangler) and SeaweedFS. What each does is found out by
//! asking it, and `docs/r2-differences.md` says what was found: the test fails when the page says otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use futures::future::join_all;
use std::fmt::Write;
use std::fs;
use windlass_tests::s3::cases::{self, Case, Group};
use windlass_tests::s3::race;
use windlass_tests::s3::servers::{self, Server};
use windlass_tests::{http_client, repository};

/// As many takers and rounds as decide that a lock is one.
const TAKERS: usize = 50;
const ROUNDS: usize = 50;

/// SeaweedFS takes seconds for a round of fifty: fifty rounds of it are for the long run alone.
fn rounds_of(server: &Server) -> usize {
    if server.name == "SeaweedFS" && std::env::var_os("WINDLASS_LONG").is_none() { 3 } else { ROUNDS }
}

const LOCK: &str = "Of 50 who create one key at once, one does, and its bytes are there";
const COUNT: &str = "4 who count one key up with If-Match, 10 times each, count to 40";

/// What a server does otherwise, by case; `None`: as R2.
type Column = Vec<Option<String>>;

async fn column(server: &Server, cases: &[Case]) -> Column {
    let client = http_client();
    let mut found = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        found.push(cases::run(&client, server, number, case).await.err());
    }
    let rounds = rounds_of(server);
    let lock = race::lock(server, TAKERS, rounds).await;
    eprintln!("{}: {rounds} rounds: {lock:?}", server.name);
    found.push((lock.clean != rounds).then(|| "**several do**".to_owned()));
    let (stands_at, wanted) = race::count(server, 4, 10).await;
    eprintln!("{}: counted to {stands_at} of {wanted}", server.name);
    found.push((stands_at != wanted).then(|| "**updates are lost**".to_owned()));
    found
}

/// The rows in which a server differs, and for each group how many there are in which none does.
fn table(cases: &[Case], columns: &[(&str, Column)]) -> String {
    let names = cases.iter().map(|case| (case.of, case.name.as_str()));
    let rows: Vec<_> = names.chain([(Group::Terraform, LOCK), (Group::Windlass, COUNT)]).collect();
    let mut text = String::new();
    for (group, title) in [
        (Group::Terraform, "What Terraform relies on"),
        (Group::Windlass, "What Windlass's state relies on"),
        (Group::Clients, "What other clients send"),
        (Group::Refused, "What R2 refuses, or takes and ignores"),
        (Group::Unknown, "What R2's documents leave open"),
    ] {
        writeln!(text, "\n### {title}\n").unwrap();
        let heads: String = columns.iter().map(|(name, _)| format!(" {name} |")).collect();
        writeln!(text, "| what R2 does |{heads}\n| --- |{}", " --- |".repeat(columns.len())).unwrap();
        for (number, (_, name)) in rows.iter().enumerate().filter(|(_, (of, _))| *of == group) {
            let cell = |column: &Column| column[number].as_deref().unwrap_or("✓").to_owned();
            let cells: String = columns.iter().map(|(_, column)| format!(" {} |", cell(column))).collect();
            writeln!(text, "| {} |{cells}", name.replace('|', "\\|")).unwrap();
        }
    }
    text
}

const BEGIN: &str = "<!-- found: begin -->\n";
const END: &str = "\n<!-- found: end -->";

#[tokio::test(flavor = "multi_thread")]
async fn what_each_server_does_is_what_the_page_says() {
    let cases = cases::all();
    let local = servers::sandbox(1, &[]);
    let (Some(wrangler), Some(seaweedfs)) = (servers::wrangler().await, servers::seaweedfs().await) else {
        return;
    };
    let servers = [&local, &wrangler, &seaweedfs];
    let columns = join_all(servers.map(|server| column(server, &cases))).await;
    let columns: Vec<_> = servers.iter().map(|server| server.name).zip(columns).collect();
    let differs: Vec<_> = cases.iter().zip(&columns[0].1).filter(|(_, found)| found.is_some()).collect();
    assert!(differs.is_empty(), "the local R2 does not what R2 does: {differs:?}");

    let path = repository().join("docs/r2-differences.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (said, after) = rest.split_once(END).expect("where the table ends");
    let found = table(&cases, &columns);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", found.trim_end())).unwrap();
        return;
    }
    assert_eq!(
        said.trim(),
        found.trim(),
        "docs/r2-differences.md says otherwise: UPDATE_GOLDEN=1, then look at it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_directory_are_one_r2() {
    let server = servers::sandbox(2, &[]);
    let lock = race::lock(&server, TAKERS, ROUNDS).await;
    assert_eq!((lock.clean, lock.winners, lock.overwritten), (ROUNDS, vec![], 0));
    let (stands_at, wanted) = race::count(&server, 8, 10).await;
    assert_eq!(stands_at, wanted);
}
