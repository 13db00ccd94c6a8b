//! How much memory moving a large state needs, as the kernel counts it of a real run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use secrecy::ExposeSecret;
use std::fs;
use std::time::Duration;
use windlass_tests::terraform::{LocalR2, Project};

/// Bytes of the state, about: large enough that the program itself counts for little.
const SIZE: usize = 80_000_000;
/// What scrypt needs by itself for a passphrase, whatever the size of the state: see `keys.rs` of `windlass-state`.
const SCRYPT: u64 = 128 << 20;

/// A state of [`SIZE`] bytes under a serial.
fn state(serial: u64) -> String {
    let resource = format!(
        "{{\"mode\":\"managed\",\"type\":\"terraform_data\",\"name\":\"NAME\",\"instances\":[{{\"attributes\":{{\"input\":\"{}\"}}}}]}}",
        "x".repeat(SIZE / 800)
    );
    let resources: Vec<String> =
        (0..800).map(|n| resource.replace("NAME", &format!("r{n}_{serial}"))).collect();
    format!(
        "{{\"version\":4,\"terraform_version\":\"1.11.4\",\"serial\":{serial},\"lineage\":\"one\",\"resources\":[{}]}}",
        resources.join(",")
    )
}

/// Runs a command to its end and gives the largest memory that it had, in bytes.
fn peak(project: &Project, arguments: &[&str]) -> u64 {
    let mut child = project.windlass_start(arguments);
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    // The kernel keeps the largest, so only what happens after the last look is missed.
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    peak
}

#[test]
#[cfg(target_os = "linux")]
fn moving_a_state_needs_less_than_three_times_its_size() {
    let r2 = LocalR2::new();
    let project = Project::new(0)
        .with(&r2)
        .env("IDENTITY", windlass_state::keys::generate().1.expose_secret())
        .env("PHRASE", "correct horse battery staple");
    let (old, new) = (state(7), state(8));
    let size = new.len() as u64;
    let keys: [(&str, &[&str], u64); 3] = [
        ("plain", &[], 0),
        ("identity", &["--key", "env:IDENTITY"], 0),
        ("passphrase", &["--key", "env:PHRASE"], SCRYPT),
    ];
    for (name, key, apart) in keys {
        let address = format!("r2://states/{name}.tfstate");
        let mut found = Vec::new();
        let mut run = |what, command: &[&str]| {
            let peak = peak(&project, &[command, key].concat());
            assert!(peak > size / 2, "{what} with {name}: it was not looked at ({peak})");
            found.push((what, (peak - apart.min(peak)) as f64 / size as f64));
        };
        let there = ["state", "migrate", "--from", "terraform.tfstate", "--to", &address, "--yes"];
        project.write("terraform.tfstate", &old);
        run("migrate", &there);
        // What is there is read, compared and kept as well.
        project.write("terraform.tfstate", &new);
        run("migrate over an older version", &there);
        // With a passphrase, a restore derives a key four times, one upon the other, and the allocator may still keep the
        // memory of the one before.
        if apart == 0 {
            run("restore", &["state", "restore", &address, "7", "--yes"]);
        }
        run("migrate back", &["state", "migrate", "--from", &address, "--to", "back.tfstate", "--yes"]);
        fs::remove_file(project.file("back.tfstate")).unwrap();
        assert!(found.iter().all(|(_, times)| *times < 3.0), "{name}, of the state's size: {found:.2?}");
        println!("{name}, of the state's size: {found:.2?}");
    }
}
