//! Where workerd is.

use crate::cloudflare::Error;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where the program is named.
pub const VARIABLE: &str = "WINDLASS_WORKERD";

/// Where the repository's own tools are fetched to, below its root.
const TOOLS: &str = ".tools/workerd/node_modules/workerd/bin/workerd";

/// Finds workerd: what `WINDLASS_WORKERD` names, else `workerd` on the path, else the pinned one in `.tools/` of the current
/// directory, of the executable's directory, or of one above either.
///
/// npm's `workerd` is a script that starts the program and waits for it. The program itself is what is needed here,
/// since signals go to it: it is looked for where npm has put it.
///
/// # Errors
/// [`Error::NoWorkerd`] when there is none.
pub fn find() -> Result<PathBuf, Error> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return program(&named).ok_or_else(|| {
            Error::NoWorkerd(format!("{VARIABLE} names {}, which is no program", named.display()))
        });
    }
    let (current, executable) = (env::current_dir().ok(), env::current_exe().ok());
    let places = places(env::var_os("PATH").as_deref(), current.as_deref(), executable.as_deref());
    places.iter().find_map(|place| program(place)).ok_or_else(|| {
        Error::NoWorkerd(format!("{VARIABLE} is not set, and there is no workerd on the path or in .tools/"))
    })
}

/// Where workerd may be, in the order of preference.
fn places(path: Option<&OsStr>, current: Option<&Path>, executable: Option<&Path>) -> Vec<PathBuf> {
    let on_path = path.into_iter().flat_map(env::split_paths).filter(|directory| directory.is_absolute());
    let mut places: Vec<PathBuf> = on_path.map(|directory| directory.join("workerd")).collect();
    let below = [current, executable.and_then(Path::parent)];
    let above = below.into_iter().flatten().flat_map(Path::ancestors);
    places.extend(above.map(|directory| directory.join(TOOLS)));
    places
}

/// The program behind a file: itself, or the one that npm's script would start.
pub fn program(file: &Path) -> Option<PathBuf> {
    let file = fs::canonicalize(file).ok()?;
    let mut start = [0; 2];
    let read = fs::File::open(&file).and_then(|mut opened| opened.read_exact(&mut start));
    read.ok()?;
    if &start != b"#!" {
        return is_program(&file).then_some(file);
    }
    // …/node_modules/workerd/bin/workerd: the platform's package is a sibling, or below.
    let package = file.parent()?.parent()?;
    let beside = package.parent().map(|modules| modules.join("@cloudflare"));
    let below = package.join("node_modules/@cloudflare");
    let platform = platform()?;
    let candidates = beside.into_iter().chain([below]).map(|scope| scope.join(platform).join("bin/workerd"));
    candidates.into_iter().find(|candidate| is_program(candidate))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// npm's name for this platform's package.
fn platform() -> Option<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Some("workerd-linux-64"),
        ("linux", "aarch64") => Some("workerd-linux-arm64"),
        ("macos", "x86_64") => Some("workerd-darwin-64"),
        ("macos", "aarch64") => Some("workerd-darwin-arm64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_places() {
        let path = env::join_paths(["/usr/bin", "relative", "/opt/bin"]).unwrap();
        let found = places(Some(&path), Some(Path::new("/w/a")), Some(Path::new("/x/windlass")));
        let found: Vec<_> = found.iter().map(|place| place.to_str().unwrap()).collect();
        let pinned = |directory: &str| format!("{directory}/{TOOLS}");
        let wanted = [
            "/usr/bin/workerd".to_owned(),
            "/opt/bin/workerd".to_owned(),
            pinned("/w/a"),
            pinned("/w"),
            pinned(""),
            pinned("/x"),
            pinned(""),
        ];
        assert_eq!(found, wanted);
    }
}
