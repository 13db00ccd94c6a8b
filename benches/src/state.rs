//! `state`: moving a large Terraform state to R2 with Windlass against Terraform's own `init -migrate-state`; and an apply
//! through `windlass state exec` against the same apply straight at the store.
//!
//! Both are run as their users run them, as programs, in turns, into the same local R2, each time into a new key. What
//! Windlass does more (locks on both sides, a copy in the history, reading back) is in its time. The state that arrives must
//! be the one that left, byte by byte for Windlass, else the run fails.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use age::secrecy::ExposeSecret;
use clap::Args;
use serde_json::Value;

use crate::plan::{Cost, measured, median};
use crate::{Result, progress};

/// What `state` can be told.
#[derive(Args)]
pub struct Options {
    /// Windlass's program
    #[arg(long, default_value = "target/release/windlass")]
    windlass: PathBuf,
    /// Terraform's program
    #[arg(long, default_value = "terraform")]
    terraform: PathBuf,
    /// Resources of the state
    #[arg(long, default_value_t = 12_000)]
    resources: usize,
    /// Length of the state in MB
    #[arg(long, default_value_t = 50)]
    megabytes: usize,
    /// Resources of the apply
    #[arg(long, default_value_t = 1_000)]
    applied: usize,
    /// Turns; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// The MB that deriving a key from a passphrase takes by itself, whatever is encrypted with it.
const SCRYPT: f64 = 134.217_728;

/// A local R2, ended when it is dropped.
struct LocalR2 {
    child: Child,
    variables: Vec<(&'static str, String)>,
}

impl Drop for LocalR2 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl LocalR2 {
    fn start(windlass: &Path, directory: &Path) -> Result<Self> {
        let mut child = Command::new(windlass)
            .args(["sandbox", "r2", "--bucket", "states", "--listen", "127.0.0.1:0", "--data-directory"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line)?;
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let variables = vec![
            ("AWS_ENDPOINT_URL_S3", text("endpoint")),
            ("AWS_ACCESS_KEY_ID", text("access_key_id")),
            ("AWS_SECRET_ACCESS_KEY", text("secret_access_key")),
            ("AWS_REGION", "auto".to_owned()),
            ("CHECKPOINT_DISABLE", "1".to_owned()),
            ("BENCH_IDENTITY", age::x25519::Identity::generate().to_string().expose_secret().to_owned()),
            ("BENCH_PASSPHRASE", "correct horse battery staple".to_owned()),
        ];
        Ok(Self { child, variables })
    }

    fn run(&self, program: &Path, arguments: &[&str], directory: &Path) -> Result<(Cost, String)> {
        let mut command = Command::new(program);
        measured(command.args(arguments).current_dir(directory).envs(self.variables.iter().cloned()))
    }
}

/// A state as Terraform writes it.
fn state(resources: usize, bytes: usize) -> Result<Vec<u8>> {
    let padding = "x".repeat((bytes / resources).saturating_sub(620));
    let one = |n: usize| {
        serde_json::json!({
            "mode": "managed", "type": "terraform_data", "name": format!("r{n}"),
            "provider": "provider[\"terraform.io/builtin/terraform\"]",
            "instances": [{ "schema_version": 0, "attributes": {
                "id": format!("00000000-0000-0000-0000-{n:012}"), "input": { "type": "string", "value": padding },
                "output": { "type": "string", "value": "" }, "triggers_replace": null }, "sensitive_attributes": [] }],
        })
    };
    let resources: Vec<Value> = (0..resources).map(one).collect();
    let state = serde_json::json!({ "version": 4, "terraform_version": "1.11.4", "serial": 7,
        "lineage": "6a8b5f2e-0b7a-4d5e-9d0c-1f2e3d4c5b6a", "outputs": {}, "resources": resources,
        "check_results": null });
    Ok(serde_json::to_vec_pretty(&state)?)
}

/// Runs the benchmark and prints its table.
pub fn run(options: &Options) -> Result<ExitCode> {
    let windlass = std::fs::canonicalize(&options.windlass)
        .map_err(|error| format!("{}: {error}", options.windlass.display()))?;
    let directory = tempfile::Builder::new().prefix("windlass-bench-").tempdir()?;
    let r2 = LocalR2::start(&windlass, &directory.path().join("r2"))?;
    let state = state(options.resources, options.megabytes * 1_000_000)?;
    let has_terraform =
        Command::new(&options.terraform).arg("version").stdout(Stdio::null()).status().is_ok();
    if !has_terraform {
        progress("terraform is not here: its columns stay empty");
    }
    let keys: [(&str, &[&str]); 3] = [
        ("", &[]),
        (", age identity", &["--key", "env:BENCH_IDENTITY"]),
        (", passphrase", &["--key", "env:BENCH_PASSPHRASE"]),
    ];
    let (mut ours, mut theirs) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    for round in 1..=options.rounds {
        progress(&format!("round {round}: a state of {} MB", state.len() / 1_000_000));
        for (costs, (name, key)) in ours.iter_mut().zip(keys) {
            let project = directory.path().join(format!("w{round}{name}"));
            std::fs::create_dir_all(&project)?;
            std::fs::write(project.join("terraform.tfstate"), &state)?;
            let address = format!("r2://states/windlass/{round}{}.tfstate", name.replace([',', ' '], "-"));
            let migrate = ["state", "migrate", "--from", "terraform.tfstate", "--to", &address, "--yes"];
            costs.push(r2.run(&windlass, &[&migrate, key].concat(), &project)?.0);
            let show = ["state", "show", &address, "--raw"];
            if r2.run(&windlass, &[&show, key].concat(), &project)?.1.as_bytes() != state {
                return Err("what arrived is not what left".into());
            }
            std::fs::remove_dir_all(&project)?;
        }
        if has_terraform {
            let project = directory.path().join(format!("t{round}"));
            std::fs::create_dir_all(&project)?;
            std::fs::write(project.join("terraform.tfstate"), &state)?;
            let address = format!("r2://states/terraform/{round}.tfstate");
            r2.run(&windlass, &["state", "backend", &address, "--write", "backend.tf"], &project)?;
            let init = ["init", "-input=false", "-migrate-state", "-force-copy"];
            theirs.push(r2.run(&options.terraform, &init, &project)?.0);
            let address = ["state", "show", &address, "--format", "json"];
            let shown: Value = serde_json::from_str(&r2.run(&windlass, &address, &project)?.1)?;
            if shown["summary"]["resources"] != options.resources {
                return Err("Terraform has not moved every resource".into());
            }
        }
    }
    let ours = std::array::from_fn(|at| (keys[at].0, ours[at].as_slice()));
    let fits = report(options, state.len(), &ours, median(&theirs));
    if has_terraform {
        apply(options, &windlass, &r2, directory.path())?;
    }
    // A time depends on the machine and on who else uses it; the memory does not.
    Ok(if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An apply of many resources into a new key, straight at the store and through `state exec`, in turns.
fn apply(options: &Options, windlass: &Path, r2: &LocalR2, directory: &Path) -> Result<()> {
    let resources = format!(
        "resource \"terraform_data\" \"web\" {{\n  count = {}\n  input = \"value ${{count.index}}\"\n}}\n",
        options.applied
    );
    let terraform = options.terraform.display().to_string();
    let (mut straight, mut through) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        progress(&format!("round {round}: an apply of {} resources", options.applied));
        // Whoever comes second finds a warmer machine: they take turns at it.
        for exec in [round % 2 == 0, round % 2 == 1] {
            let name = if exec { "exec" } else { "straight" };
            let address = format!("r2://states/{name}/{round}.tfstate");
            let project = directory.join(format!("{name}{round}"));
            std::fs::create_dir_all(&project)?;
            std::fs::write(project.join("main.tf"), &resources)?;
            r2.run(windlass, &["state", "backend", &address, "--write", "backend.tf"], &project)?;
            let run = |arguments: &[&str]| match exec {
                true => {
                    let front = ["state", "exec", "--store", "r2://states", "--", terraform.as_str()];
                    r2.run(windlass, &[&front, arguments].concat(), &project)
                }
                false => r2.run(&options.terraform, arguments, &project),
            };
            run(&["init", "-input=false"])?;
            let cost = run(&["apply", "-input=false", "-auto-approve", "-no-color"])?.0;
            let shown = r2.run(windlass, &["state", "show", &address, "--format", "json"], &project)?.1;
            if serde_json::from_str::<Value>(&shown)?["summary"]["instances"] != options.applied {
                return Err("not every resource is in the state".into());
            }
            if exec { through.push(cost) } else { straight.push(cost) }
        }
    }
    let Some((straight, through)) = median(&straight).zip(median(&through)) else { return Ok(()) };
    let millis = |cost: Cost| cost.took.as_secs_f64() * 1e3;
    let ratio = millis(through) / millis(straight);
    let verdict = if ratio <= 1.10 { "met" } else { "missed" };
    let table = format!(
        "\nterraform apply of {} resources; the median of {} turns.\n\n| what | ms (median) |\n| --- | ---: |\n\
         | through windlass state exec | {:.0} |\n| straight at the store | {:.0} |\n\n\
         Of the time that it takes straight (at most 1.10): {ratio:.2}, {verdict}\n",
        options.applied,
        options.rounds,
        millis(through),
        millis(straight)
    );
    let _ = std::io::stdout().write_all(table.as_bytes());
    Ok(())
}

/// Prints the table. Whether every peak of memory is below the target.
fn report(options: &Options, bytes: usize, ours: &[(&str, &[Cost]); 3], theirs: Option<Cost>) -> bool {
    let megabytes = bytes as f64 / 1e6;
    let mut table = format!(
        "A state of {megabytes:.0} MB with {} resources, to a local R2; the median of {} turns.\n\n\
         | what | ms (median) | peak MB | of the state's size |\n| --- | ---: | ---: | ---: |\n",
        options.resources, options.rounds
    );
    let row = |table: &mut String, what: &str, cost: Cost, peak: f64| {
        let millis = cost.took.as_secs_f64() * 1e3;
        let _ = writeln!(table, "| {what} | {millis:.0} | {peak:.0} | {:.2} |", peak / megabytes);
    };
    let megabytes_of = |kib: u64| kib as f64 * 1024.0 / 1e6;
    // Of the time the median counts, of the memory the worst.
    let worst = |costs: &[Cost]| megabytes_of(costs.iter().map(|cost| cost.peak_kib).max().unwrap_or(0));
    for (how, costs) in ours {
        let what = format!("windlass state migrate{how}: locked, kept in the history, read back");
        if let Some(cost) = median(costs) {
            row(&mut table, &what, cost, worst(costs));
        }
    }
    if let Some(cost) = theirs {
        row(&mut table, "terraform init -migrate-state", cost, megabytes_of(cost.peak_kib));
    }
    table.push('\n');
    let mut target = |what: &str, found: f64, most: f64| {
        let verdict = if found <= most { "met" } else { "missed" };
        let _ = writeln!(table, "{what}: {found:.2}, {verdict}");
        found <= most
    };
    if let Some((ours, theirs)) = median(ours[0].1).zip(theirs) {
        let ratio = ours.took.as_secs_f64() / theirs.took.as_secs_f64();
        target("Of the time that Terraform takes (at most 1)", ratio, 1.0);
    }
    let mut fits = true;
    for (at, (how, costs)) in ours.iter().enumerate() {
        let (apart, note) = if at == 2 { (SCRYPT, ", without scrypt's own 134 MB") } else { (0.0, "") };
        let what = format!("Memory{how}, of the state's size{note} (at most 3)");
        fits &= target(&what, (worst(costs) - apart) / megabytes, 3.0);
    }
    // As with progress: nobody may be reading.
    let _ = std::io::stdout().write_all(table.as_bytes());
    fits
}
