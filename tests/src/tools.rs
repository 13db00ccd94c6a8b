//! Where the programs and the data of the tests are.

use crate::fleet::signal;
use rustix::process::Signal;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};
use windlass_nats::server::Binary;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// The `windlass` under test: `WINDLASS_BIN`, else the one that was built beside the test.
pub fn windlass() -> PathBuf {
    if let Some(path) = env::var_os("WINDLASS_BIN") {
        return path.into();
    }
    let test = env::current_exe().expect("the test's own path");
    let beside = test.ancestors().nth(2).expect("target/<profile>/deps/").join("windlass");
    assert!(
        beside.exists(),
        "{} is missing: build it (cargo build -p windlass) or set WINDLASS_BIN",
        beside.display()
    );
    beside
}

/// The real nats-server, found as `windlass` finds it.
pub fn nats_server() -> PathBuf {
    Binary::find().expect("the tests need nats-server: ./taskw test brings it").path
}

/// The nats-server before the current one, with its version; `None` where the test is to be skipped.
pub fn former_nats_server() -> Option<Binary> {
    let path = installed("WINDLASS_FORMER_NATS_SERVER", "former/bin/nats-server")?;
    Some(Binary::at(&path).expect("the former nats-server says its version"))
}

/// Says that a test does nothing here because it lacks `what`, which no job can bring. Past the test runner, which shows
/// nothing of a test that passes; and where `CI=true`, the test fails instead.
pub fn skip_without(what: &str) {
    let in_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "{what} is missing, and this test needs it");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what} is missing, and this test needs it");
}

/// GitHub's published examples (npm `@octokit/webhooks-examples`): the file with all events and
/// their payloads; `None` where the test is to be skipped.
pub fn webhook_examples() -> Option<PathBuf> {
    installed(
        "WINDLASS_WEBHOOK_EXAMPLES",
        "test-data/node_modules/@octokit/webhooks-examples/api.github.com/index.json",
    )
}

/// The directory to put on `PYTHONPATH` for the Python client `nats`; `None` where the test is to be skipped.
pub fn nats_py() -> Option<PathBuf> {
    installed("WINDLASS_NATS_PY", "test-client")
}

/// What a test cannot do without. It fails where that is missing, or is skipped where `WINDLASS_ALLOW_SKIP` says that it
/// may be: a skipped test must be somebody's decision.
pub fn installed(variable: &str, below_tools: &str) -> Option<PathBuf> {
    installed_at(variable, &repository().join(".tools").join(below_tools))
}

/// The same, for what is elsewhere in the repository.
pub fn installed_at(variable: &str, default: &Path) -> Option<PathBuf> {
    let path = env::var_os(variable).map_or_else(|| default.to_owned(), PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    let missing = format!("{} is missing: ./taskw test brings it, or set {variable}", path.display());
    assert!(env::var_os("WINDLASS_ALLOW_SKIP").is_some(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

/// A port that was free a moment ago, and that no other test of this process was given.
///
/// It is below the range from which systems give ports to outgoing connections: otherwise a connection of another test
/// could take it while its server is being started again.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u32 = 7_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    // Test processes that run at once begin at different places.
    let start = std::process::id().wrapping_mul(61);
    (0..COUNT)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .map(|offset| FIRST + u16::try_from(offset).expect("below COUNT"))
        .find(is_free)
        .expect("a free port")
}

/// Every process that names this directory on its command line. Where there is no /proc nothing is found.
pub fn processes_of(directory: &Path) -> Vec<(i32, String)> {
    let name = directory.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&*name) {
            found.push((pid, command));
        }
    }
    found
}

/// Ends every process that names this directory on its command line, by its id, and says which there were.
pub fn end_processes_of(directory: &Path) -> Vec<String> {
    let found = processes_of(directory);
    found.iter().for_each(|(pid, _)| signal(*pid, Signal::KILL));
    found.into_iter().map(|(pid, command)| format!("{pid}: {command}")).collect()
}
