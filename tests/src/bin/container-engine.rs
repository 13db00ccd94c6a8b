//! A container engine in a process of its own, so that a test can kill it: `container-engine DIRECTORY`. It says `ready`
//! when it answers, and ends its containers at SIGTERM.

#![allow(clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use windlass_tests::edge::start_engine;

#[tokio::main]
async fn main() {
    let directory = PathBuf::from(std::env::args_os().nth(1).expect("a directory"));
    let mut asked = signal(SignalKind::terminate()).expect("signals");
    let engine = start_engine(&directory).await;
    println!("ready");
    asked.recv().await;
    engine.shutdown().await;
}
