//! The nats-server program: finding it, knowing its version, telling a running one to step aside, asking it how it is.

mod handshake;
mod monitor;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::Error;
pub use handshake::certificate;
pub use monitor::{Health, JetStreamConfig, JetStreamStats, JetStreamVarz, Monitor, Varz};

/// The oldest nats-server that Windlass drives.
pub const MINIMUM: Version = Version { major: 2, minor: 12, patch: 0 };

const VARIABLE: &str = "WINDLASS_NATS_SERVER";
const PROGRAM: &str = "nats-server";

/// A version of nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Incompatible changes.
    pub major: u32,
    /// Features.
    pub minor: u32,
    /// Corrections.
    pub patch: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Reads `2.15.1`, `v2.15.1` and `v2.15.1-RC.1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a version");
        let plain = text.strip_prefix('v').unwrap_or(text);
        let plain = plain.split(['-', '+']).next().unwrap_or(plain);
        let mut parts = plain.split('.').map(|part| part.parse::<u32>().map_err(|_| wrong()));
        let mut next = || parts.next().unwrap_or_else(|| Err(wrong()));
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if parts.next().is_some() { Err(wrong()) } else { Ok(version) }
    }
}

/// A nats-server program that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// What it says its version is.
    pub version: Version,
}

impl Binary {
    /// Finds nats-server of exactly this version: a program that is called `nats-server-2.15.1` in the places where
    /// [`Self::find`] looks, or whatever that finds if it is of this version.
    ///
    /// # Errors
    /// When there is none.
    pub fn find_version(version: &str) -> Result<Self, Error> {
        let is_it = |binary: &Self| binary.version.to_string() == version;
        let named = every_place(&format!("{PROGRAM}-{version}")).into_iter().filter(|path| path.is_file());
        if let Some(binary) = named.filter_map(|path| Self::at(&path).ok()).find(is_it) {
            return Ok(binary);
        }
        let found = Self::find()?;
        if is_it(&found) {
            return Ok(found);
        }
        let detail =
            format!("the fleet file wants {version}, and {} is {}", found.path.display(), found.version);
        Err(Error::BinaryMissing { detail: Some(detail) })
    }

    /// Finds nats-server: the path in `WINDLASS_NATS_SERVER`, else the first one that is new enough in `PATH`, else
    /// in `.tools/bin/` of the current directory, of the executable's directory, or of one above either.
    ///
    /// # Errors
    /// When there is none, or none that is new enough and runs.
    pub fn find() -> Result<Self, Error> {
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            if !path.is_file() {
                let detail = format!("{VARIABLE} is {}, which is not a file", path.display());
                return Err(Error::BinaryMissing { detail: Some(detail) });
            }
            return Self::at(&path);
        }
        let mut first_error = None;
        for path in every_place(PROGRAM).into_iter().filter(|path| path.is_file()) {
            match Self::at(&path) {
                Ok(binary) => return Ok(binary),
                // A newer one may follow, such as the pinned one behind the distribution's.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(Error::BinaryMissing { detail: None }))
    }

    /// The program at `path`, asked for its version.
    ///
    /// # Errors
    /// When it does not run, does not say a version, or is too old.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let broken = |reason: String| Error::BinaryBroken { path: path.to_owned(), reason };
        let output =
            Command::new(path).arg("--version").output().map_err(|error| broken(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version: Version = text
            .trim()
            .strip_prefix("nats-server: ")
            .and_then(|version| version.parse().ok())
            .ok_or_else(|| broken(format!("--version printed {:?}", text.trim())))?;
        if version < MINIMUM {
            let (found, minimum) = (version.to_string(), MINIMUM.to_string());
            return Err(Error::BinaryOld { path: path.to_owned(), found, minimum });
        }
        Ok(Self { path: path.to_owned(), version })
    }
}

fn every_place(program: &str) -> Vec<PathBuf> {
    places(
        program,
        std::env::var_os("PATH").as_deref(),
        std::env::current_dir().ok().as_deref(),
        std::env::current_exe().ok().as_deref(),
    )
}

/// Where nats-server may be, in the order of preference.
fn places(
    program: &str,
    path: Option<&OsStr>,
    current: Option<&Path>,
    executable: Option<&Path>,
) -> Vec<PathBuf> {
    let in_path =
        path.into_iter().flat_map(std::env::split_paths).filter(|directory| directory.is_absolute());
    let mut places: Vec<PathBuf> = in_path.map(|directory| directory.join(program)).collect();
    let above = [current, executable.and_then(Path::parent)];
    let tools = above.into_iter().flatten().flat_map(Path::ancestors);
    places.extend(tools.map(|directory| directory.join(".tools").join("bin").join(program)));
    places
}

/// Starts lame duck mode: the server takes no new clients, sends its own away over the configured time, and ends.
///
/// Give it only the id of a process that you started and still hold: to any other program this signal is the end.
///
/// # Errors
/// When the process is gone or is not ours.
pub fn signal_lame_duck(pid: u32) -> Result<(), Error> {
    let failed = |reason: String| Error::Signal { pid, reason };
    let process = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(rustix::process::Pid::from_raw);
    let process = process.ok_or_else(|| failed("that is not a process id".to_owned()))?;
    rustix::process::kill_process(process, rustix::process::Signal::USR2)
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        let version = |text: &str| text.parse::<Version>();
        assert_eq!(version("v2.15.1").unwrap().to_string(), "2.15.1");
        assert_eq!(version("v2.12.0-RC.3").unwrap(), MINIMUM);
        assert!(version("2.9.25").unwrap() < MINIMUM && version("3.0.0").unwrap() > MINIMUM);
        for bad in ["", "v", "2.15", "2.15.x", "2.1.2.3", "-1.2.3"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_order_of_places() {
        let path = std::env::join_paths(["/usr/bin", "relative", "/opt/bin"]).unwrap();
        let found = places(PROGRAM, Some(&path), Some(Path::new("/w/a")), Some(Path::new("/x/windlass")));
        let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
        let wanted = [
            "/usr/bin/nats-server",
            "/opt/bin/nats-server",
            "/w/a/.tools/bin/nats-server",
            "/w/.tools/bin/nats-server",
            "/.tools/bin/nats-server",
            "/x/.tools/bin/nats-server",
            "/.tools/bin/nats-server",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn only_a_real_process_is_signalled() {
        for pid in [0, 1, u32::MAX] {
            assert_eq!(signal_lame_duck(pid).unwrap_err().code(), "WL0218");
        }
    }
}
