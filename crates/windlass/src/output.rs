//! Everything that is printed: results on standard output, all else on standard error.
//!
//! Colour is decided once, in [`set_color`], for both streams: `--color`, then `NO_COLOR` and friends, then whether
//! the stream is a terminal. Printing functions write the escape codes always and the stream drops them.

use std::io::{self, Write};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::context::Format;
use crate::failure::Failure;

/// Headings and names.
pub const BOLD: Style = Style::new().bold();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();
/// Good.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Needs a look.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Bad.
pub const RED: Style = AnsiColor::Red.on_default();
/// Commands and code.
pub const CYAN: Style = AnsiColor::Cyan.on_default();

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Decides about colour for the rest of the process.
pub fn set_color(color: Color) {
    match color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Standard output, for results.
pub fn out() -> anstream::AutoStream<io::Stdout> {
    anstream::stdout()
}

/// Standard error, for everything else.
pub fn err() -> anstream::AutoStream<io::Stderr> {
    anstream::stderr()
}

/// `text` in `style`.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Prints one JSON document, indented, on standard output.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = out();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Prints a failure on standard error. That it cannot be printed is nothing that anyone could be told.
pub fn failure(format: Format, code: &str, message: &str, help: &str) {
    let mut err = err();
    let _ = match format {
        Format::Text | Format::Markdown | Format::Csv => {
            let label = paint(AnsiColor::Red.on_default().bold(), format_args!("error[{code}]"));
            writeln!(err, "{label}: {message}").and_then(|()| match help {
                "" => Ok(()),
                help => writeln!(err, "{}: {help}", paint(CYAN.bold(), "help")),
            })
        }
        Format::Json => {
            #[derive(Serialize)]
            struct Object<'a> {
                error: Error<'a>,
            }
            #[derive(Serialize)]
            struct Error<'a> {
                code: &'a str,
                message: &'a str,
                help: &'a str,
            }
            let object = Object { error: Error { code, message, help } };
            writeln!(err, "{}", serde_json::to_string(&object).unwrap_or_default())
        }
    };
}

/// Says something beside the result, on standard error.
pub fn note(text: &str) {
    let _ = writeln!(err(), "{}: {text}", paint(YELLOW.bold(), "note"));
}

/// Lines up `rows` in columns, two spaces apart and indented by two; the last column may be of any length.
pub fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let text = if column == 0 { paint(BOLD, cell) } else { cell.clone() };
            let padding = if column + 1 == N { 0 } else { width - cell.chars().count() };
            line.push_str(&format!(" {text}{:padding$} ", ""));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A duration as people say it: `3.2 s`, `14 min`, `2 d 3 h`.
pub fn duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Waits until nobody reads standard output any more. Without it, `events tail | head -1` would end only with the next
/// event. Where standard output is no pipe, this waits for ever.
pub async fn reader_gone() {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own, which ends with the process: there is nothing else to end it.
    std::thread::spawn(move || {
        let out = io::stdout();
        let mut descriptors = [PollFd::new(&out, PollFlags::empty())];
        loop {
            match poll(&mut descriptors, None) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => break,
                Err(_) => return,
            }
        }
        let _ = tell.send(());
    });
    if told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_table_lines_up() {
        let mut bytes = Vec::new();
        let rows = [["a", "bb", "c"], ["long", "b", "a long end"]].map(|row| row.map(String::from));
        table(&mut bytes, &rows).unwrap();
        let plain = anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string();
        assert_eq!(plain, "  a     bb  c\n  long  b   a long end\n");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(duration(Duration::from_secs(7_500)), "2 h 5 min");
        assert_eq!(duration(Duration::from_secs(200_000)), "2 d 7 h");
    }
}
