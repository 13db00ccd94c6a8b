//! Which port each part listens on.
//!
//! The wish comes from the fleet file. A port that is taken gives way to the next free one, and the person is told.
//! What the last run had is preferred while it is free and the wish is the same, so that addresses that someone wrote
//! down stay true over `down` and `up`.
//!
//! Choosing and binding are two moments, and the part that binds is another process. Between them a second `up` (in
//! another directory) could choose the same port; so a chosen port is also reserved by a lock on a file that every
//! Windlass of the same user looks at. The reservation lasts as long as the run: a part that is being restarted
//! finds its port still free.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A wish for a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What listens there, such as `hub-0/client`.
    pub part: String,
    /// The port that is wanted; 0 means any.
    pub port: u16,
}

/// What was chosen for one part; also how it is remembered for the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The port that was wanted.
    pub wanted: u16,
    /// The port that it got.
    pub port: u16,
}

/// The choice of a run, by part.
pub type Choice = BTreeMap<String, Chosen>;

/// Where the search for any free port starts: below the range from which systems give ports to outgoing connections.
const ANY: u16 = 20_000;

/// There is no free port from the wanted one up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no free port for {part} from {wanted} up")]
pub struct NoFreePort {
    /// What was to listen there.
    pub part: String,
    /// Where the search began.
    pub wanted: u16,
}

/// Chooses a port for each wish. `take` tries to get a port for the wish of that index, and says whether it could; a
/// port is never asked for again once taken.
pub fn choose(
    wishes: &[Wish],
    last: &Choice,
    mut take: impl FnMut(usize, u16) -> bool,
) -> Result<Choice, NoFreePort> {
    let mut choice = Choice::new();
    for (index, wish) in wishes.iter().enumerate() {
        let start = if wish.port == 0 { ANY } else { wish.port };
        let remembered = last.get(&wish.part).filter(|last| last.wanted == wish.port).map(|last| last.port);
        // Another part's wish is left to it, unless it is this part's own as well.
        let reserved = |port: u16| {
            port != wish.port && wishes.iter().any(|other| other.part != wish.part && other.port == port)
        };
        let used = |port: u16| choice.values().any(|chosen| chosen.port == port);
        let port = remembered
            .into_iter()
            .chain(start..=u16::MAX)
            .find(|&port| !used(port) && !reserved(port) && take(index, port))
            .ok_or_else(|| NoFreePort { part: wish.part.clone(), wanted: start })?;
        choice.insert(wish.part.clone(), Chosen { wanted: wish.port, port });
    }
    Ok(choice)
}

/// What to tell the person about a choice: one sentence for each port that is not the wanted one.
pub fn told(choice: &Choice) -> Vec<String> {
    choice
        .iter()
        .filter(|(_, chosen)| chosen.wanted != 0 && chosen.wanted != chosen.port)
        .map(|(part, Chosen { wanted, port })| format!("{part}: port {wanted} is taken, using {port}"))
        .collect()
}

/// Ports that this process holds against other Windlass processes of the same user.
#[derive(Debug, Default)]
pub struct Reservations {
    held: Vec<File>,
}

impl Reservations {
    /// Takes a port if nobody listens on it and nobody has reserved it.
    pub fn take(&mut self, host: IpAddr, port: u16) -> bool {
        let reservation = match reservation(port) {
            Reserved::Ours(file) => Some(file),
            Reserved::Theirs => return false,
            Reserved::Unknown => None,
        };
        let free = is_free(host, port);
        if free {
            self.held.extend(reservation);
        }
        free
    }
}

/// Whether nobody listens on the port.
pub fn is_free(host: IpAddr, port: u16) -> bool {
    TcpListener::bind((host, port)).is_ok()
}

enum Reserved {
    Ours(File),
    Theirs,
    /// There is nowhere to reserve; binding decides alone.
    Unknown,
}

fn reservation(port: u16) -> Reserved {
    let Some(directory) = reservation_directory() else { return Reserved::Unknown };
    let path = directory.join(port.to_string());
    let Ok(file) = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path) else {
        return Reserved::Unknown;
    };
    match file.try_lock() {
        Ok(()) => Reserved::Ours(file),
        Err(fs::TryLockError::WouldBlock) => Reserved::Theirs,
        Err(fs::TryLockError::Error(_)) => Reserved::Unknown,
    }
}

/// A directory of this user's alone, at a place that each of the user's processes finds.
fn reservation_directory() -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let path = std::env::temp_dir().join(format!("windlass-ports-{user}"));
    let _ = fs::DirBuilder::new().mode(0o700).create(&path);
    let metadata = fs::symlink_metadata(&path).ok()?;
    (metadata.is_dir() && metadata.uid() == user).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(part: &str, port: u16) -> Wish {
        Wish { part: part.to_owned(), port }
    }

    fn wishes() -> [Wish; 3] {
        [wish("nats", 4222), wish("websocket", 4223), wish("receiver", 0)]
    }

    fn ports(wishes: &[Wish], last: &Choice, busy: &[u16]) -> Vec<(String, u16)> {
        let choice = choose(wishes, last, |_, port| !busy.contains(&port)).unwrap();
        choice.into_iter().map(|(part, chosen)| (part, chosen.port)).collect()
    }

    fn expect(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
        pairs.iter().map(|&(part, port)| (part.to_owned(), port)).collect()
    }

    #[test]
    fn free_ports_are_as_wanted() {
        let none = Choice::new();
        let found = ports(&wishes(), &none, &[]);
        assert_eq!(found, expect(&[("nats", 4222), ("receiver", ANY), ("websocket", 4223)]));
        assert!(told(&choose(&wishes(), &none, |_, _| true).unwrap()).is_empty());
    }

    #[test]
    fn a_busy_port_gives_way_without_taking_anothers() {
        let none = Choice::new();
        let found = ports(&wishes(), &none, &[4222, ANY]);
        assert_eq!(found, expect(&[("nats", 4224), ("receiver", ANY + 1), ("websocket", 4223)]));
        let choice = choose(&wishes(), &none, |_, port| port != 4222).unwrap();
        assert_eq!(told(&choice), ["nats: port 4222 is taken, using 4224"]);
    }

    #[test]
    fn the_last_runs_port_is_preferred_while_free_and_wanted_for_the_same_wish() {
        let last = Choice::from([("nats".to_owned(), Chosen { wanted: 4222, port: 4300 })]);
        assert_eq!(ports(&wishes()[..1], &last, &[]), expect(&[("nats", 4300)]));
        assert_eq!(ports(&wishes()[..1], &last, &[4300]), expect(&[("nats", 4222)]));
        let moved = [wish("nats", 5222)];
        assert_eq!(ports(&moved, &last, &[]), expect(&[("nats", 5222)]));
    }

    #[test]
    fn equal_wishes_get_different_ports() {
        let wishes = [wish("a", 9000), wish("b", 9000)];
        assert_eq!(ports(&wishes, &Choice::new(), &[]), expect(&[("a", 9000), ("b", 9001)]));
    }

    #[test]
    fn the_end_of_the_range_is_an_error() {
        let wishes = [wish("nats", 65_534)];
        let error = choose(&wishes, &Choice::new(), |_, _| false).unwrap_err();
        assert_eq!(error.wanted, 65_534);
    }
}
