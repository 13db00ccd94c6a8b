//! Logs: to standard error, with RFC 3339 times, and for a supervisor in the foreground also to its log file.
//!
//! -v and -q are about Windlass's own words. Libraries are heard from `warn` up only: what they trace is of their own
//! interior, and may be what a message holds. `RUST_LOG` decides everything.

use std::fs::File;
use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Starts the log: `RUST_LOG` decides, else the level that `base` is raised or lowered to by -v and -q.
///
/// A `file` gets everything from `info` up, whatever the terminal shows.
pub fn start(base: LevelFilter, verbosity: i8, file: Option<File>) {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::new(directives),
        _ => own(level(base, verbosity)),
    };
    let terminal = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_filter(filter);
    let file = file.map(|file| {
        fmt::layer()
            .with_writer(Arc::new(file))
            .with_target(false)
            .with_ansi(false)
            .with_filter(own(LevelFilter::INFO))
    });
    // A second start (in tests) keeps the first log.
    let _ = tracing_subscriber::registry().with(terminal).with(file).try_init();
}

/// `level` for Windlass, and `warn` at most for everything else.
fn own(level: LevelFilter) -> EnvFilter {
    let others = level.min(LevelFilter::WARN);
    // A target is matched by its beginning, so this is every crate of ours. `s3s` calls each refused request an error.
    EnvFilter::new(format!("{others},s3s=off,windlass={level}"))
}

fn level(base: LevelFilter, verbosity: i8) -> LevelFilter {
    const LEVELS: [LevelFilter; 6] = [
        LevelFilter::OFF,
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
        LevelFilter::TRACE,
    ];
    let position = LEVELS.iter().position(|level| *level == base).unwrap_or(2);
    let wanted = i16::try_from(position).unwrap_or(2) + i16::from(verbosity);
    LEVELS[usize::try_from(wanted).unwrap_or(0).min(LEVELS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_and_q_move_the_level() {
        assert_eq!(level(LevelFilter::WARN, 0), LevelFilter::WARN);
        assert_eq!(level(LevelFilter::WARN, 2), LevelFilter::DEBUG);
        assert_eq!(level(LevelFilter::WARN, 9), LevelFilter::TRACE);
        assert_eq!(level(LevelFilter::WARN, -1), LevelFilter::ERROR);
        assert_eq!(level(LevelFilter::WARN, -9), LevelFilter::OFF);
    }
}
