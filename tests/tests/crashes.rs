//! `kill -9` of nats-server, of the receiver, and of both, at random moments under load: every delivery that got a 2xx is
//! in the stream exactly once, and every answer comes within ten seconds.
//!
//! Five rounds; fifty with `WINDLASS_LONG=1`. The seed is printed when it fails, and `WINDLASS_SEED` sets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::env;
use std::time::{Duration, Instant};
use windlass_tests::{Fleet, Load, Signal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let rounds = if env::var_os("WINDLASS_LONG").is_some() { 50 } else { 5 };
    let seed = env::var("WINDLASS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("WINDLASS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let fleet = Fleet::start();
    let load = Load::start(&fleet.github(), 16);
    for round in 0..rounds {
        load.wait_for(random.random_range(20..200)).await;
        // Not always right after an answer.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        // Each kind once, and then as it comes.
        let kind = if round < 3 { round } else { random.random_range(0..3) };
        let victims: &[&str] = match kind {
            0 => &["nats"],
            1 => &["receiver"],
            _ if random.random() => &["nats", "receiver"],
            _ => &["receiver", "nats"],
        };
        let before: Vec<_> = victims.iter().map(|part| fleet.pid(part)).collect();
        for part in victims {
            fleet.signal(part, Signal::KILL);
        }
        // The supervisor brings them back; the next round begins when it has.
        let deadline = Instant::now() + Duration::from_secs(30);
        for (part, before) in victims.iter().zip(before) {
            while fleet.pid(part) == before || fleet.pid(part).is_none() {
                assert!(Instant::now() < deadline, "round {round}: {part} did not come back");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    load.wait_for(50).await;
    let taken = load.stop().await;
    fleet.settle().await;

    let mut found: HashMap<String, usize> = HashMap::new();
    for message in fleet.messages().await {
        *found.entry(message.header("X-GitHub-Delivery").to_owned()).or_default() += 1;
    }
    let lost = taken.iter().filter(|taken| !found.contains_key(&taken.delivery.id)).count();
    let doubled = found.values().filter(|&&count| count > 1).count();
    assert_eq!((lost, doubled), (0, 0), "lost and doubled, of {} taken (WINDLASS_SEED={seed})", taken.len());
    // Nothing is there that nobody sent: a delivery without an answer was sent again until it had one.
    assert_eq!(found.len(), taken.len());
    let spooled = taken.iter().filter(|taken| taken.status == 202).count();
    assert!(spooled > 0, "the spool was never used: the kills did not hit");
}
