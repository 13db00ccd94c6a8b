//! `windlass events send`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_events::consume::resign;
use windlass_events::headers::Encoding;

use super::connection::{receiver, secret};
use super::error::Error;
use super::http::{Answer, Poster};
use crate::context::Context;
use crate::failure::{self, FAILED, Failure};
use crate::output::{self, GREEN, RED, paint};

const LONG_ABOUT: &str = "\
Sign a payload and post it, for trying.

The bytes of FILE are posted as they are, with the headers that GitHub sends and a signature made with the secret: \
that of --secret-file, else GITHUB_WEBHOOK_SECRET, else that of the fleet that runs here. The receiver's answer is \
printed: its status, and where the event is in the stream, or the code that says why it was not taken.";

const EXAMPLES: &str = "\
Examples:
  windlass events send push.json --event push
  echo '{\"zen\":\"Speak like a human.\"}' | windlass events send - --event ping
  windlass events send push.json --event push --delivery test-1 --repeat 2     stored once
  windlass events send push.json --event push --to http://127.0.0.1:3000/webhook --secret-file secret

Exit codes: 0 every delivery was answered with 2xx; 1 one was not, or there was no answer.";

/// Arguments of `windlass events send`.
#[derive(Debug, clap::Args)]
#[command(about = "Sign a payload and post it, for trying", long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub struct Args {
    /// The payload; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The event's name, as in X-GitHub-Event (an action is in the payload)
    #[arg(long, short = 'e', value_name = "EVENT", value_parser = event_name)]
    event: String,
    /// The delivery GUID [default: a new one for each]
    #[arg(long, value_name = "GUID", value_parser = delivery_name)]
    delivery: Option<String>,
    /// Where to post to [default: the receiver that runs here]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// File with the secret to sign with; of several lines, the first counts
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Post as GitHub does where a webhook's content type is a form
    #[arg(long)]
    form: bool,
    /// Send it so many times, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// How long to wait for each answer, in seconds (GitHub waits 10)
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let url = match args.to {
        Some(url) => url,
        None => {
            let here = receiver(context)
                .ok_or_else(|| Error::NoReceiver { directory: context.directory.clone() })?;
            here.url
        }
    };
    let poster = Poster::new(&url, Duration::from_secs(args.timeout))?;
    let secret = secret(args.secret_file.as_deref(), context)?;
    let (body, encoding) = if args.form {
        let text = String::from_utf8(read(&args.file)?)
            .map_err(|error| unreadable(&args.file, std::io::Error::other(error.utf8_error())))?;
        (Bytes::from(resign::form(&text)), Encoding::Form)
    } else {
        (Bytes::from(read(&args.file)?), Encoding::Json)
    };
    let mut all_taken = true;
    let mut out = output::out();
    for _ in 0..args.repeat {
        let delivery = args.delivery.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let headers = resign::new_headers(&args.event, &delivery, encoding, &body, &secret);
        let answer = poster
            .post(headers, body.clone())
            .await
            .map_err(|cause| Error::NoAnswer { url: poster.url().to_string(), cause })?;
        all_taken &= (200..300).contains(&answer.status);
        if context.json() {
            writeln!(out, "{}", to_json(&answer, &delivery))?;
        } else {
            writeln!(out, "{}", to_line(&answer, &delivery))?;
        }
    }
    Ok(if all_taken { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let result = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    result.map_err(|cause| unreadable(file, cause).into())
}

fn unreadable(file: &Path, cause: std::io::Error) -> failure::Error {
    failure::Error::Unreadable { path: file.to_owned(), cause }
}

/// `{"status":200,"delivery":"…","answer":{…}}`; an answer that is not JSON is a string.
fn to_json(answer: &Answer, delivery: &str) -> Value {
    let body = match answer.json() {
        Value::Null => Value::from(String::from_utf8_lossy(&answer.body)),
        body => body,
    };
    json!({ "status": answer.status, "delivery": delivery, "answer": body })
}

fn to_line(answer: &Answer, delivery: &str) -> String {
    let body = answer.json();
    let taken = (200..300).contains(&answer.status);
    let status = paint(if taken { GREEN } else { RED }, answer.status);
    let words = match (body["status"].as_str(), body["stream"].as_str(), body["sequence"].as_u64()) {
        (Some(_), Some(stream), Some(sequence)) if body["duplicate"] == true => {
            format!("was there already: {stream} #{sequence}")
        }
        (Some(word), Some(stream), Some(sequence)) => format!("{word}: {stream} #{sequence}"),
        (Some(word), ..) => word.to_owned(),
        _ => answer.message(),
    };
    format!("{status} {words}  (delivery {delivery})")
}

/// What GitHub's event names are made of, and the receiver accepts.
fn event_name(text: &str) -> Result<String, String> {
    let usable = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if usable { Ok(text.to_owned()) } else { Err("use letters, digits, '_' and '-', at most 64".into()) }
}

fn delivery_name(text: &str) -> Result<String, String> {
    let usable = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if usable {
        Ok(text.to_owned())
    } else {
        Err("use at most 128 printable characters without spaces".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_put_in_words() {
        for (status, body, expected) in [
            (
                200,
                r#"{"status":"stored","stream":"GITHUB","sequence":7,"duplicate":false}"#,
                "stored: GITHUB #7",
            ),
            (
                200,
                r#"{"status":"stored","stream":"GITHUB","sequence":7,"duplicate":true}"#,
                "was there already: GITHUB #7",
            ),
            (202, r#"{"status":"spooled","delivery":"d"}"#, "spooled"),
            (401, r#"{"code":"WL0305","message":"no","help":""}"#, "WL0305 no"),
            (200, "ok\n", "ok"),
        ] {
            let answer = Answer { status, body: body.into(), retry_after: None };
            let line = anstream::adapter::strip_str(&to_line(&answer, "d")).to_string();
            assert_eq!(line, format!("{status} {expected}  (delivery d)"));
        }
    }

    #[test]
    fn scripts_get_the_answer_itself() {
        let answer = Answer { status: 202, body: br#"{"status":"spooled"}"#.to_vec(), retry_after: None };
        assert_eq!(
            to_json(&answer, "d").to_string(),
            r#"{"answer":{"status":"spooled"},"delivery":"d","status":202}"#
        );
        let other = Answer { body: b"ok".to_vec(), ..answer };
        assert_eq!(to_json(&other, "d")["answer"], "ok");
    }
}
