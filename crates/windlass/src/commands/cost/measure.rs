//! What runs here, asked over a window: each server's monitoring endpoint, ten times or once a second.

use std::time::{Duration, Instant};

use windlass_cost::Decimal;
use windlass_cost::measured::{Look, Measured};
use windlass_fleet::Period;
use windlass_nats::server::Monitor;

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::run_directory::RunDirectory;
use crate::run_record::RunRecord;

/// Looks in a window.
const LOOKS: u32 = 10;
/// They are no further apart than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Measures the servers of the run directory.
pub async fn measure(window: &Period, context: &Context) -> Result<Measured, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let nothing = || Failure::from(Error::NothingMeasured { directory: context.directory.clone() });
    let record = RunRecord::read(&directory).ok_or_else(nothing)?;
    let monitors: Vec<Monitor> = record.servers.values().map(|address| Monitor::new(*address)).collect();
    // Two looks are the least from which anything follows.
    let window = Duration::from_millis(window.as_millis()).max(Duration::from_millis(100));
    let pause = (window / LOOKS).clamp(Duration::from_millis(10), LONGEST_PAUSE);
    let mut looks: Vec<Vec<Look>> = vec![Vec::new(); monitors.len()];
    let began = Instant::now();
    loop {
        let elapsed = began.elapsed();
        let answers = futures::future::join_all(monitors.iter().map(look)).await;
        for (looks, look) in looks.iter_mut().zip(answers) {
            looks.extend(look);
        }
        if elapsed >= window {
            break;
        }
        tokio::time::sleep(pause.min(window - elapsed)).await;
    }
    // Whoever answered once only has said nothing of what it does.
    looks.retain(|looks| looks.len() > 1);
    if looks.is_empty() {
        return Err(nothing());
    }
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Measured::of(Decimal::from(millis) / Decimal::from(1000), &looks))
}

async fn look(monitor: &Monitor) -> Option<Look> {
    let varz = monitor.varz().await.ok()?;
    Some(Look {
        connections: varz.connections,
        leaf_nodes: varz.leafnodes,
        in_messages: varz.in_msgs,
        out_messages: varz.out_msgs,
        in_bytes: varz.in_bytes,
        out_bytes: varz.out_bytes,
        stored_bytes: varz.jetstream.stats.map_or(0, |stats| stats.storage),
    })
}
