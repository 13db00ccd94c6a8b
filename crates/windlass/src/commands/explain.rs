//! `windlass explain`: the pages of `docs/errors/`, which are part of the binary.

use std::io::Write;
use std::process::ExitCode;

use include_dir::{Dir, include_dir};

use crate::context::Context;
use crate::failure::{Error, Failure};
use crate::output::{self, BOLD, CYAN, paint};

static PAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../docs/errors");

/// How many codes are offered in place of one that does not exist.
const NEAREST: usize = 3;

const EXAMPLES: &str = "\
Examples:
  windlass explain WL0305
  windlass explain 305      the same
  windlass explain          every code with its title";

/// Arguments of `windlass explain`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The code, such as WL0305; without one, all codes are listed
    code: Option<String>,
}

/// Runs the command.
#[allow(clippy::needless_pass_by_value)] // All commands take their arguments by value.
pub fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let mut out = output::out();
    let Some(asked) = args.code else {
        let rows: Vec<[String; 2]> =
            codes().map(|(code, page)| [code.to_owned(), title(page).to_owned()]).collect();
        if context.json() {
            let list: Vec<_> = rows
                .iter()
                .map(|[code, title]| serde_json::json!({ "code": code, "title": title }))
                .collect();
            output::json(&list)?;
        } else {
            output::table(&mut out, &rows)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let wanted = normalize(&asked);
    let Some((code, page)) = codes().find(|(code, _)| *code == wanted) else {
        return Err(
            Error::UnknownCode { asked, nearest: nearest(&wanted, codes().map(|(code, _)| code)) }.into()
        );
    };
    if context.json() {
        output::json(&serde_json::json!({ "code": code, "title": title(page), "page": page }))?;
    } else {
        write!(out, "{}", render(page))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every code with its page, in order.
fn codes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut pages: Vec<_> = PAGES
        .files()
        .filter_map(|file| Some((file.path().file_stem()?.to_str()?, file.contents_utf8()?)))
        .filter(|(code, _)| code.starts_with("WL"))
        .collect();
    pages.sort_unstable();
    pages.into_iter()
}

/// The title of a page: its first line without the mark and the code.
fn title(page: &str) -> &str {
    let line = page.lines().next().unwrap_or_default().trim_start_matches("# ");
    line.split_once(": ").map_or(line, |(_, title)| title)
}

/// `wl305`, `305` and `WL0305` are the same code.
fn normalize(asked: &str) -> String {
    let upper = asked.trim().to_ascii_uppercase();
    let digits = upper.strip_prefix("WL").unwrap_or(&upper);
    digits.parse::<u32>().map_or_else(|_| upper.clone(), |number| format!("WL{number:04}"))
}

fn nearest<'a>(wanted: &str, codes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let number = |code: &str| code.trim_start_matches("WL").parse::<i64>().ok();
    let mut codes: Vec<_> = codes
        .map(|code| {
            let apart = number(wanted).zip(number(code)).map_or(i64::MAX, |(a, b)| (a - b).abs());
            ((strsim::osa_distance(wanted, code), apart), code.to_owned())
        })
        .collect();
    codes.sort();
    codes.into_iter().take(NEAREST).map(|(_, code)| code).collect()
}

/// Markdown for a terminal: headings bold, code in colour, the marks themselves gone.
fn render(page: &str) -> String {
    let mut text = String::new();
    let mut in_code = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            text.push_str(&format!("    {}\n", paint(CYAN, line)));
        } else if line.starts_with('#') {
            text.push_str(&format!("{}\n", paint(BOLD, line.trim_start_matches('#').trim_start())));
        } else {
            for (position, piece) in line.split('`').enumerate() {
                if position % 2 == 0 { text.push_str(piece) } else { text.push_str(&paint(CYAN, piece)) }
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_understood_in_every_form() {
        for asked in ["WL0305", "wl0305", "305", " WL305 "] {
            assert_eq!(normalize(asked), "WL0305");
        }
        assert_eq!(normalize("what"), "WHAT");
    }

    #[test]
    fn near_codes_are_offered() {
        let codes = ["WL0101", "WL0304", "WL0305", "WL0401"];
        assert_eq!(nearest("WL0306", codes.into_iter())[..2], ["WL0305", "WL0304"]);
    }

    #[test]
    fn pages_lose_their_marks() {
        let plain =
            anstream::adapter::strip_str(&render("# A: b\n\nSet `x`.\n\n```console\nrun\n```\n")).to_string();
        assert_eq!(plain, "A: b\n\nSet x.\n\n    run\n");
        assert_eq!(title("# WL0305: The signature\n"), "The signature");
    }

    #[test]
    fn every_code_of_this_crate_has_its_page() {
        for number in [1, 2, 3, 4, 5, 7, 8, 11].into_iter().chain(14..=16).chain(18..=27).chain(30..=34) {
            let code = format!("WL04{number:02}");
            assert!(codes().any(|(known, page)| known == code && title(page) != page), "{code}");
        }
    }
}
