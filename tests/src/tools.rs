//! Where the programs and the data of the tests are.

use std::env;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
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

/// GitHub's published examples (npm `@octokit/webhooks-examples`): the file with all events and their payloads.
pub fn webhook_examples() -> PathBuf {
    installed(
        "WINDLASS_WEBHOOK_EXAMPLES",
        "test-data/node_modules/@octokit/webhooks-examples/api.github.com/index.json",
    )
}

/// The directory to put on `PYTHONPATH` for the Python client `nats`.
pub fn nats_py() -> PathBuf {
    installed("WINDLASS_NATS_PY", "test-client")
}

fn installed(variable: &str, below_tools: &str) -> PathBuf {
    let path =
        env::var_os(variable).map_or_else(|| repository().join(".tools").join(below_tools), PathBuf::from);
    assert!(path.exists(), "{} is missing: ./taskw test brings it, or set {variable}", path.display());
    path
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
