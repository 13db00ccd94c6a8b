//! Tells Cargo that the error pages are part of the binary: `windlass explain` embeds them.

use std::io::Write;

fn main() -> std::io::Result<()> {
    writeln!(std::io::stdout(), "cargo:rerun-if-changed=../../docs/errors\ncargo:rerun-if-changed=build.rs")
}
