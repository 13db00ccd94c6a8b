//! The checks that need nothing but this machine.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use windlass_nats::server::Binary;

use super::Finding;
use crate::failure::Error;
use crate::fleet_file::Source;
use crate::run_directory::{RunDirectory, read_json};
use crate::run_record::{RunRecord, SUPERVISOR};
use crate::{output, secrets};
use windlass_fleet::Fleet;
use windlass_platforms::self_hosted::ports::{Choice, is_free};
use windlass_platforms::self_hosted::wishes;

/// Programs that only some commands use.
const OPTIONAL: [(&str, &str, &str); 2] = [
    ("node", "--version", "only needed for the edge Worker and its tools: https://nodejs.org"),
    (
        "terraform",
        "-version",
        "only needed to work with Terraform state: https://developer.hashicorp.com/terraform",
    ),
];

/// Less room than this cannot hold even a small stream and the spool.
const LITTLE_ROOM: u64 = 1 << 30;
/// With less than this, JetStream cannot start.
const NO_ROOM: u64 = 64 << 20;

/// nats-server, and programs that are good to have.
pub fn tools(findings: &mut Vec<Finding>) {
    findings.push(match Binary::find() {
        Ok(binary) => Finding::ok("nats-server", format!("{} at {}", binary.version, binary.path.display())),
        Err(error) => Finding::fail("nats-server", error.to_string(), error.help()),
    });
    for (program, flag, help) in OPTIONAL {
        findings.push(match version(program, flag) {
            Some(version) => Finding::ok(program, version),
            None => Finding::ok(program, format!("not found; {help}")),
        });
    }
}

fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Whether the fleet file is valid, and what it wants of this machine.
pub fn fleet_file(file: Option<&Path>) -> Result<(Finding, Fleet, Option<PathBuf>), Finding> {
    const CHECK: &str = "fleet file";
    let failed = |error: Error| Finding::fail(CHECK, error.to_string(), error.help());
    let source = Source::find(file).map_err(failed)?;
    let name = source.name();
    let fleet = source.parse(None).map_err(|mistakes| {
        let message = format!("{name} has mistakes: {}", mistakes.len());
        Finding::fail(CHECK, message, format!("`windlass validate {name}` shows each of them"))
    })?;
    let base = source.absolute().map_err(failed)?.as_deref().and_then(Path::parent).map(Path::to_owned);
    Ok((Finding::ok(CHECK, format!("{name} is valid")), fleet, base))
}

/// What runs, and what a killed supervisor left behind.
pub fn run(directory: &RunDirectory, findings: &mut Vec<Finding>) {
    const CHECK: &str = "run";
    let Some(record) = RunRecord::read(directory) else {
        let finding = if directory.run_file().exists() {
            Finding::warn(CHECK, "run.json cannot be read", "`windlass up` writes it anew")
        } else {
            Finding::ok(CHECK, format!("nothing is running in {}", directory.root().display()))
        };
        return findings.push(finding);
    };
    let alive = record.alive();
    let names: Vec<&str> = alive.iter().map(|(part, _)| part.as_str()).collect();
    findings.push(if alive.is_empty() {
        Finding::ok(CHECK, "the last run ended without being stopped (a reboot?); nothing of it is left")
    } else if names.contains(&SUPERVISOR) {
        Finding::ok(CHECK, format!("running since {}: {}", record.since, names.join(", ")))
    } else {
        let message = format!("the supervisor is gone, but there is still {}", names.join(", "));
        Finding::warn(CHECK, message, "`windlass up` stops that and starts anew; `windlass down` stops it")
    });
}

/// Whether the wanted ports are free, or ours.
pub fn ports(fleet: &Fleet, directory: &RunDirectory, findings: &mut Vec<Finding>) {
    const CHECK: &str = "ports";
    let running = RunRecord::read(directory).is_some_and(|record| !record.alive().is_empty());
    let last: Choice = read_json(&directory.ports_file()).unwrap_or_default();
    let ours = |port: u16| running && last.values().any(|chosen| chosen.port == port);
    let busy: Vec<String> = wishes(fleet)
        .into_iter()
        .filter(|(wish, host)| wish.port != 0 && !ours(wish.port) && !is_free(*host, wish.port))
        .map(|(wish, _)| format!("{} ({})", wish.port, wish.part))
        .collect();
    findings.push(if busy.is_empty() {
        Finding::ok(CHECK, "every port of the fleet file is free, or in use by this run")
    } else {
        let message = format!("taken by another program: {}", busy.join(", "));
        Finding::warn(
            CHECK,
            message,
            "`windlass up` takes the next free ones and says so; `ss -ltnp` shows who has them",
        )
    });
}

/// Whether the webhook secret can be had.
pub fn secrets(fleet: &Fleet, base: Option<&Path>, directory: &RunDirectory, findings: &mut Vec<Finding>) {
    const CHECK: &str = "webhook secret";
    let Some(github) = &fleet.github else { return };
    let resolved = secrets::from_variable().and_then(|variable| match variable {
        Some(_) => Ok(format!("from {}", secrets::VARIABLE)),
        None => secrets::from_sources(&github.secret, base).map(|secrets| match secrets.len() {
            0 => format!("generated, kept in {}", directory.secrets().display()),
            1 => "from the fleet file's source".to_owned(),
            count => format!("{count} from the fleet file's sources"),
        }),
    });
    findings.push(match resolved {
        Ok(message) => Finding::ok(CHECK, message),
        Err(error) => Finding::fail(CHECK, error.to_string(), error.help()),
    });
}

/// Room on the disk, and how long it takes to make something durable.
pub fn disk(directory: &RunDirectory, findings: &mut Vec<Finding>) {
    const CHECK: &str = "disk";
    // The directory may not be there yet: its parent is where it would be.
    let place = directory.root().ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(place) {
        Err(error) => {
            findings.push(Finding::fail(CHECK, format!("{}: {error}", place.display()), "use --directory"));
        }
        Ok(stat) => {
            let room = stat.f_bavail.saturating_mul(stat.f_frsize);
            #[allow(clippy::cast_precision_loss)] // Two digits are shown.
            let message = format!("{:.1} GiB free at {}", room as f64 / (1u64 << 30) as f64, place.display());
            findings.push(match room {
                0..NO_ROOM => Finding::fail(CHECK, message, "free some room, or use --directory"),
                NO_ROOM..LITTLE_ROOM => Finding::warn(CHECK, message, "streams and the spool need more soon"),
                _ => Finding::ok(CHECK, message),
            });
        }
    }
    findings.push(match sync_latency(place) {
        Ok(median) => {
            let message = format!("write and fsync of 4 KiB: {:.2} ms", median.as_secs_f64() * 1_000.0);
            if median > Duration::from_millis(20) {
                Finding::warn(
                    "fsync",
                    message,
                    "an event that has to be spooled waits for this; a local SSD is faster",
                )
            } else {
                Finding::ok("fsync", message)
            }
        }
        Err(error) => Finding::fail(
            "fsync",
            format!("cannot write in {}: {error}", place.display()),
            "make it writable for this user, or use --directory",
        ),
    });
}

/// The median of a few writes with fsync.
fn sync_latency(place: &Path) -> std::io::Result<Duration> {
    const ROUNDS: usize = 9;
    let path = place.join(format!(".windlass-doctor-{}", std::process::id()));
    let measure = || {
        let mut file = File::create_new(&path)?;
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            file.write_all(&[0x57; 4096])?;
            file.sync_all()?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        Ok(times[ROUNDS / 2])
    };
    let result = measure();
    let _ = fs::remove_file(&path);
    result
}

/// Whether secrets, keys and credentials are for the owner alone.
pub fn modes(directory: &RunDirectory, findings: &mut Vec<Finding>) {
    const CHECK: &str = "credentials";
    if !directory.exists() {
        return findings.push(Finding::ok(CHECK, "none yet; `windlass up` makes them"));
    }
    let mut exposed = Vec::new();
    let mut count = 0_u32;
    for name in ["secrets", "keys", "creds", "jwt"] {
        look_at(&directory.root().join(name), &mut |path, mode| {
            count += 1;
            // Tokens in `jwt` are no secrets, but nobody else's business either: only writing by others is wrong.
            let forbidden = if name == "jwt" { 0o022 } else { 0o077 };
            if mode & forbidden != 0 {
                exposed.push(path.to_owned());
            }
        });
    }
    findings.push(if exposed.is_empty() {
        Finding::ok(CHECK, format!("{count} files and directories, all for this user alone"))
    } else {
        let paths: Vec<String> = exposed.iter().map(|path| path.display().to_string()).collect();
        let message = format!("open to other users: {}", paths.join(", "));
        Finding::fail(CHECK, message, format!("chmod -R go-rwx {}", paths.join(" ")))
    });
}

fn look_at(path: &Path, see: &mut impl FnMut(&Path, u32)) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    see(path, metadata.permissions().mode());
    if metadata.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| look_at(&entry.path(), see));
    }
}

/// Whether the clock is sane: events get their time from it, and tokens are valid by it.
pub fn clock(directory: &RunDirectory, findings: &mut Vec<Finding>) {
    const CHECK: &str = "clock";
    const HELP: &str = "set the clock, and let NTP keep it: `timedatectl set-ntp true`";
    let (monotonic, wall) = (Instant::now(), SystemTime::now());
    std::thread::sleep(Duration::from_millis(20));
    let steady = monotonic.elapsed();
    let drift = wall.elapsed().map_or(Duration::MAX, |wall| wall.abs_diff(steady));
    if drift > Duration::from_millis(10) {
        return findings.push(Finding::warn(CHECK, "the clock jumped while it was looked at", HELP));
    }
    // A file that was written in the future says that the clock was set back since.
    let newest = [directory.run_file(), directory.ports_file(), directory.log(SUPERVISOR)]
        .iter()
        .filter_map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        .max();
    let ahead = newest.and_then(|newest| newest.duration_since(SystemTime::now()).ok());
    findings.push(match ahead {
        Some(ahead) if ahead > Duration::from_secs(2) => Finding::warn(
            CHECK,
            format!("the clock is {} behind what the last run wrote", output::duration(ahead)),
            HELP,
        ),
        _ => {
            Finding::ok(CHECK, format!("{} (steady)", jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ")))
        }
    });
}
