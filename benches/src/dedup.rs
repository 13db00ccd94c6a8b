//! `dedup`: what it costs to recognize a delivery that arrives again within three days.
//!
//! Each way gets a fresh server and the same deliveries. Then some of them arrive again, the server is killed and
//! started again, and they arrive once more: a way that forgets over a crash is no way. The server rebuilds what it
//! remembers when the first message after a restart needs it, so the time that matters is the one until a
//! duplicate is recognized, not the one until the server answers.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock::on_own_thread;
use crate::delivery::{Deliveries, text};
use crate::evict::{disk_size, evict};
use crate::ingest::temporary;
use crate::machine::Machine;
use crate::nats_server::{self, Durability, NatsServer, stream_messages};
use crate::process::usage;
use crate::ways::{Publisher, Way};
use crate::{Format, Result, progress};

/// How many deliveries arrive again.
const AGAIN: u64 = 1_000;

/// What `dedup` can be told.
#[derive(Args)]
pub struct Options {
    /// The server's program (else WINDLASS_NATS_SERVER, PATH, .tools/bin)
    #[arg(long)]
    nats_server: Option<PathBuf>,
    /// The ways to compare
    #[arg(long, value_delimiter = ',', default_values_t = [Way::None, Way::Window, Way::KeyValue, Way::Subject].map(Named))]
    ways: Vec<Named>,
    /// Deliveries
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Bytes of a payload
    #[arg(long, default_value_t = 200)]
    payload: usize,
    /// Publishes that wait for their acknowledgement at the same time
    #[arg(long, default_value_t = 256)]
    in_flight: usize,
    /// Take the stream's files out of the page cache before the restart
    #[arg(long)]
    cold: bool,
    /// Stop the server with SIGTERM instead of SIGKILL: what a planned restart takes
    #[arg(long)]
    graceful: bool,
    /// Where temporary data goes
    #[arg(long)]
    directory: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A way by its name on the command line, which is shorter than its name in the table.
#[derive(Clone, Copy)]
struct Named(Way);

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use clap::ValueEnum;
        f.write_str(self.0.to_possible_value().as_ref().map_or("", clap::builder::PossibleValue::get_name))
    }
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        clap::ValueEnum::from_str(name, false).map(Self)
    }
}

/// What one way has shown.
#[derive(Serialize)]
struct Measured {
    way: Way,
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Resident memory of the server before, after the publishes, at its peak, and after recovery.
    resident_before_mib: f64,
    resident_after_mib: f64,
    resident_peak_mib: f64,
    resident_recovered_mib: f64,
    server_cpu_us: f64,
    disk_mib: f64,
    /// Milliseconds from the restart until the stream answers with all messages.
    answers_ms: f64,
    /// Milliseconds from the restart until the first delivery that arrived again got its answer.
    recognizes_ms: f64,
    /// Deliveries that arrived again and were recognized: of those before the crash and of those after it.
    recognized_before: u64,
    recognized_after: u64,
    /// Messages in the stream in the end, and how many there should be.
    messages: u64,
    expected: u64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    count: u64,
    payload_bytes: usize,
    in_flight: usize,
    cold: bool,
    graceful: bool,
    again: u64,
    ways: Vec<Measured>,
}

/// Runs the benchmark and writes its result to standard output.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let binary = nats_server::find(options.nats_server.as_deref())?;
    let mut ways = Vec::new();
    for Named(way) in &options.ways {
        let directory = temporary(options.directory.as_deref())?;
        ways.push(measure(*way, options, &binary, directory.path()).await?);
    }
    let report = Report {
        machine: Machine::read(&binary, None),
        count: options.count,
        payload_bytes: options.payload,
        in_flight: options.in_flight,
        cold: options.cold,
        graceful: options.graceful,
        again: AGAIN.min(options.count),
        ways,
    };
    let mut out = std::io::stdout().lock();
    match options.format {
        Format::Table => write!(out, "{}", report.markdown())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(way: Way, options: &Options, binary: &Path, directory: &Path) -> Result<Measured> {
    let mib = |kib: u64| kib as f64 / 1024.0;
    let count = options.count;
    let again = AGAIN.min(count);
    let payload = Bytes::from(vec![b'x'; options.payload]);
    let deliveries = Arc::new(Deliveries::seeded(42));

    let mut server = NatsServer::start(binary, &directory.join("nats"), Durability::Standard).await?;
    let context = server.ready().await?;
    Publisher::create(way, &context).await?;
    let before = usage(server.pid());

    progress(&format!("{way}: {count} deliveries of {} bytes", options.payload));
    let published = publish_all(way, options, &server, Arc::clone(&deliveries), payload.clone()).await?;
    let after = usage(server.pid());
    let publisher = Publisher::open(way, context).await?;
    let recognized_before = redeliver(&publisher, &deliveries, count, again, &payload).await?;
    let disk = disk_size(&server.store())?;
    let peak = usage(server.pid()).peak_kib;

    progress(&format!("{way}: {:.0}/s; restart", published.rate));
    if options.graceful {
        server.stop().await?;
    } else {
        server.kill()?;
    }
    if options.cold {
        evict(&server.store())?;
    }
    let started = Instant::now();
    server.restart()?;
    let context = server.ready().await?;
    // What was stored twice before the crash counts too: only the way "none" does that.
    let stored = count + again - recognized_before;
    while stream_messages(&context).await.unwrap_or_default() < stored {
        if started.elapsed() > Duration::from_secs(600) {
            return Err(format!("{way}: messages are missing after the restart").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answers = started.elapsed();
    let publisher = Publisher::open(way, context.clone()).await?;
    let first = publisher.publish(text(&deliveries.guid(0)), payload.clone()).await?;
    let recognizes = started.elapsed();
    let recognized_after = redeliver(&publisher, &deliveries, count, again, &payload).await?;
    if publisher.publish(text(&deliveries.guid(count)), payload.clone()).await? {
        return Err(format!("{way}: a new delivery was called a duplicate").into());
    }
    let messages = stream_messages(&context).await?;
    let recovered = usage(server.pid()).resident_kib;
    server.stop().await?;

    Ok(Measured {
        way,
        rate: published.rate,
        p50_ms: published.latency.value_at_quantile(0.5) as f64 / 1e3,
        p99_ms: published.latency.value_at_quantile(0.99) as f64 / 1e3,
        max_ms: published.latency.max() as f64 / 1e3,
        resident_before_mib: mib(before.resident_kib),
        resident_after_mib: mib(after.resident_kib),
        resident_peak_mib: mib(peak),
        resident_recovered_mib: mib(recovered),
        server_cpu_us: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / count as f64,
        disk_mib: disk as f64 / f64::from(1 << 20),
        answers_ms: answers.as_secs_f64() * 1e3,
        recognizes_ms: recognizes.as_secs_f64() * 1e3,
        recognized_before,
        recognized_after,
        messages,
        expected: stored + u64::from(!first) + (again - recognized_after) + 1,
    })
}

struct Published {
    rate: f64,
    latency: Histogram<u64>,
}

async fn publish_all(
    way: Way,
    options: &Options,
    server: &NatsServer,
    deliveries: Arc<Deliveries>,
    payload: Bytes,
) -> Result<Published> {
    let (count, in_flight, url) = (options.count, options.in_flight, server.url());
    on_own_thread("publish", async move {
        let context = nats_server::context(&url).await?;
        let publisher = Publisher::open(way, context).await?;
        let next = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..in_flight {
            let (publisher, deliveries) = (publisher.clone(), Arc::clone(&deliveries));
            let (next, payload) = (Arc::clone(&next), payload.clone());
            tasks.spawn(async move {
                let mut microseconds: Vec<u32> = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Result::Ok(microseconds);
                    }
                    let sent = Instant::now();
                    if publisher.publish(text(&deliveries.guid(number)), payload.clone()).await? {
                        return Err("a new delivery was called a duplicate".into());
                    }
                    microseconds.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
            });
        }
        let mut latency = Histogram::new(3)?;
        while let Some(joined) = tasks.join_next().await {
            for microseconds in joined?? {
                latency.record(u64::from(microseconds))?;
            }
        }
        Ok(Published { rate: count as f64 / started.elapsed().as_secs_f64(), latency })
    })
    .await
}

/// Sends deliveries from all over the past again, one by one, and counts those that were recognized.
async fn redeliver(
    publisher: &Publisher,
    deliveries: &Deliveries,
    count: u64,
    again: u64,
    payload: &Bytes,
) -> Result<u64> {
    let mut recognized = 0;
    for turn in 0..again {
        let number = turn * count / again;
        let guid = deliveries.guid(number);
        recognized += u64::from(publisher.publish(text(&guid), payload.clone()).await?);
    }
    Ok(recognized)
}

impl Report {
    fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_markdown(&mut out);
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "## Deduplication: a delivery that arrives again\n\n{}.", self.machine.line())?;
        writeln!(
            out,
            "{} deliveries of {} bytes, {} in flight; {} of them again before and after {}; files {} the page cache at \
             the restart.\n",
            self.count,
            self.payload_bytes,
            self.in_flight,
            self.again,
            if self.graceful { "a planned stop" } else { "a kill -9" },
            if self.cold { "out of" } else { "in" },
        )?;
        writeln!(
            out,
            "| way | publishes/s | p50 ms | p99 ms | max ms | server CPU µs each | server MiB before | after | peak | \
             after recovery | disk MiB | stream answers ms | duplicate recognized ms | recognized | messages |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |"
        )?;
        for way in &self.ways {
            writeln!(
                out,
                "| {} | {:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | \
                 {} + {} of {} + {} | {} of {} |",
                way.way,
                way.rate,
                way.p50_ms,
                way.p99_ms,
                way.max_ms,
                way.server_cpu_us,
                way.resident_before_mib,
                way.resident_after_mib,
                way.resident_peak_mib,
                way.resident_recovered_mib,
                way.disk_mib,
                way.answers_ms,
                way.recognizes_ms,
                way.recognized_before,
                way.recognized_after,
                self.again,
                self.again,
                way.messages,
                way.expected,
            )?;
        }
        Ok(())
    }
}
