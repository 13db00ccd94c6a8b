//! `plan`: a plan without changes against `terraform plan`, and making streams against a plain loop over JetStream's API.
//!
//! Windlass and Terraform are run as their users run them, as programs, in turns; each must say that nothing is to be
//! done, else the run fails. The loop has as many requests in flight as the apply has actions.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use clap::Args;
use futures::{StreamExt, TryStreamExt};

use crate::{Result, progress};

/// Streams that are made at once, by both.
const PARALLELISM: usize = 16;

/// What `plan` can be told.
#[derive(Args)]
pub struct Options {
    /// Windlass's program
    #[arg(long, default_value = "target/release/windlass")]
    windlass: PathBuf,
    /// Terraform's program
    #[arg(long, default_value = "terraform")]
    terraform: PathBuf,
    /// Streams, and resources of Terraform
    #[arg(long, default_value_t = 1_000)]
    resources: usize,
    /// Streams of the large fleet
    #[arg(long, default_value_t = 10_000)]
    many: usize,
    /// Turns; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Runs the benchmark and prints its table.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let windlass = std::fs::canonicalize(&options.windlass)
        .map_err(|error| format!("{}: {error}", options.windlass.display()))?;
    let directory = tempfile::Builder::new().prefix("windlass-bench-").tempdir()?;
    let (few, many) = (directory.path().join("few"), directory.path().join("many"));
    let terraform = directory.path().join("terraform");

    progress(&format!("terraform apply of {} resources", options.resources));
    let has_terraform = terraform_apply(&options.terraform, &terraform, options.resources)?;

    let fleet = Fleet { windlass: &windlass, directory: &few };
    fleet.write(0)?;
    fleet.apply()?;
    progress(&format!("a plain loop that makes {} streams", options.resources));
    let loop_time = fleet.plain_loop(options.resources).await?;
    fleet.write(options.resources)?;
    progress(&format!("windlass apply of {} streams", options.resources));
    let apply_time = fleet.apply()?;
    let mut plans = Vec::new();
    let mut without_cost = Vec::new();
    let mut peers = Vec::new();
    for round in 1..=options.rounds {
        progress(&format!("round {round}: plans without changes"));
        plans.push(fleet.plan()?);
        without_cost.push(fleet.run(&["plan", "--detailed-exitcode", "--no-cost"])?.0);
        if has_terraform {
            peers.push(terraform_plan(&options.terraform, &terraform)?);
        }
    }
    fleet.down();

    let large = Fleet { windlass: &windlass, directory: &many };
    large.write(options.many)?;
    progress(&format!("windlass apply of {} streams", options.many));
    large.apply()?;
    let mut large_plans = Vec::new();
    for _ in 0..options.rounds {
        large_plans.push(large.plan()?);
    }
    large.down();
    report(options, [&plans, &without_cost, &peers, &large_plans], loop_time, apply_time);
    Ok(ExitCode::SUCCESS)
}

/// How long a run took, and how much memory it had at the most.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How long.
    pub took: Duration,
    /// How much memory.
    pub peak_kib: u64,
}

struct Fleet<'a> {
    windlass: &'a Path,
    directory: &'a Path,
}

impl Fleet<'_> {
    fn write(&self, streams: usize) -> Result<()> {
        std::fs::create_dir_all(self.directory)?;
        let mut file =
            "[fleet]\nname = \"bench\"\n\n[clusters.hub]\njetstream = { storage = \"100GiB\" }\n\n[cost]\nmachines = \"hetzner\"\n"
                .to_owned();
        for number in 0..streams {
            write!(file, "\n[streams.S{number}]\nsubjects = [\"s{number}.>\"]\n")?;
        }
        Ok(std::fs::write(self.directory.join("windlass.toml"), file)?)
    }

    fn run(&self, arguments: &[&str]) -> Result<(Cost, String)> {
        measured(Command::new(self.windlass).args(arguments).current_dir(self.directory))
    }

    fn apply(&self) -> Result<Duration> {
        Ok(self.run(&["apply", "--yes", "--quiet"])?.0.took)
    }

    fn plan(&self) -> Result<Cost> {
        Ok(self.run(&["plan", "--detailed-exitcode"])?.0)
    }

    fn down(&self) {
        let _ = self.run(&["down", "--quiet"]);
    }

    /// Makes as many streams over the API, and deletes them again.
    async fn plain_loop(&self, streams: usize) -> Result<Duration> {
        let (_, status) = self.run(&["status", "--format", "json"])?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let text = |name: &str| status["nats"][name].as_str().unwrap_or_default().to_owned();
        let connect = async_nats::ConnectOptions::new().credentials_file(text("creds")).await?;
        let context = jetstream::new(connect.connect(text("url")).await?);
        let began = Instant::now();
        futures::stream::iter(0..streams)
            .map(|number| {
                let config = jetstream::stream::Config {
                    name: format!("L{number}"),
                    subjects: vec![format!("l{number}.>")],
                    ..Default::default()
                };
                context.create_stream(config)
            })
            .buffer_unordered(PARALLELISM)
            .try_for_each(|_| futures::future::ready(Ok(())))
            .await?;
        let took = began.elapsed();
        for number in 0..streams {
            context.delete_stream(format!("L{number}")).await?;
        }
        Ok(took)
    }
}

fn terraform_apply(program: &Path, directory: &Path, resources: usize) -> Result<bool> {
    if Command::new(program).arg("version").stdout(Stdio::null()).status().is_err() {
        progress("terraform is not here: its columns stay empty");
        return Ok(false);
    }
    std::fs::create_dir_all(directory)?;
    let file =
        format!("resource \"terraform_data\" \"r\" {{\n  count = {resources}\n  input = count.index\n}}\n");
    std::fs::write(directory.join("main.tf"), file)?;
    for arguments in [&["init", "-input=false"][..], &["apply", "-auto-approve", "-input=false"]] {
        measured(Command::new(program).args(arguments).current_dir(directory))?;
    }
    Ok(true)
}

fn terraform_plan(program: &Path, directory: &Path) -> Result<Cost> {
    let arguments = ["plan", "-detailed-exitcode", "-input=false", "-no-color"];
    Ok(measured(Command::new(program).args(arguments).current_dir(directory))?.0)
}

/// Runs a program that must end with 0, and measures it: its memory is looked at while it runs.
pub fn measured(command: &mut Command) -> Result<(Cost, String)> {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = child.id();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let looks = std::thread::spawn(move || {
        let mut peak = 0;
        loop {
            peak = peak.max(peak_kib(id).unwrap_or(0));
            if stopped.recv_timeout(Duration::from_millis(2))
                != Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                return peak;
            }
        }
    });
    let mut out = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        std::io::Read::read_to_string(stdout, &mut out)?;
    }
    let output = child.wait_with_output()?;
    let took = began.elapsed();
    drop(stop);
    let peak_kib = looks.join().unwrap_or(0);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?} ended with {}: {out}{said}", output.status).into());
    }
    Ok((Cost { took, peak_kib }, out))
}

fn peak_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The one in the middle, by time.
pub fn median(costs: &[Cost]) -> Option<Cost> {
    let mut sorted = costs.to_vec();
    sorted.sort_by_key(|cost| cost.took);
    sorted.get(sorted.len() / 2).copied()
}

fn report(
    options: &Options,
    [plans, without_cost, peers, large]: [&[Cost]; 4],
    loop_time: Duration,
    apply_time: Duration,
) {
    let mut table =
        String::from("| what | resources | ms (median) | peak MiB |\n| --- | ---: | ---: | ---: |\n");
    let mut row = |what: &str, count: usize, cost: Option<Cost>| {
        let Some(cost) = cost else { return };
        let (millis, mib) = (cost.took.as_secs_f64() * 1e3, cost.peak_kib as f64 / 1024.0);
        let _ = writeln!(table, "| {what} | {count} | {millis:.0} | {mib:.0} |");
    };
    let (plan, peer, many) = (median(plans), median(peers), median(large));
    let bare = median(without_cost);
    row("windlass plan, nothing to do", options.resources, plan);
    row("the same without what it costs (--no-cost)", options.resources, bare);
    row("terraform plan, nothing to do", options.resources, peer);
    row("windlass plan, nothing to do", options.many, many);
    let seconds = |time: Duration| time.as_secs_f64();
    let _ =
        writeln!(table, "\n| making {} streams | s | streams/s |\n| --- | ---: | ---: |", options.resources);
    for (what, time) in [("a plain loop", loop_time), ("windlass apply, verified", apply_time)] {
        let rate = options.resources as f64 / seconds(time);
        let _ = writeln!(table, "| {what}, {PARALLELISM} at once | {:.2} | {rate:.0} |", seconds(time));
    }
    let ratio = |one: Option<Cost>, other: Option<Cost>| {
        one.zip(other).map(|(one, other)| seconds(one.took) / seconds(other.took))
    };
    let mut target = |what: &str, found: Option<f64>, met: fn(f64) -> bool| {
        if let Some(found) = found {
            let verdict = if met(found) { "met" } else { "missed" };
            let _ = writeln!(table, "{what}: {found:.2}, {verdict}");
        }
    };
    target("\nTimes faster than terraform plan (at least 10)", ratio(peer, plan), |found| found >= 10.0);
    let added = plan.zip(bare).map(|(plan, bare)| (seconds(plan.took) - seconds(bare.took)) * 1e3);
    target("Milliseconds that costs add to a plan (at most 20)", added, |found| found <= 20.0);
    target("Seconds of a plan (less than 1)", plan.map(|plan| seconds(plan.took)), |found| found < 1.0);
    target("Ten times as many take times as long (at most 12)", ratio(many, plan), |found| found <= 12.0);
    target(
        "MiB of the large plan (less than 100)",
        many.map(|many| many.peak_kib as f64 / 1024.0),
        |found| found < 100.0,
    );
    let rate = seconds(loop_time) / seconds(apply_time);
    target("Of the plain loop's rate (at least 0.5)", Some(rate), |found| found >= 0.5);
    // As with progress: nobody may be reading.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), table.as_bytes());
}
