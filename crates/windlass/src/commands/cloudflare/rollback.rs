//! `windlass cloudflare rollback`: let an earlier version of the Worker answer again.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_engine::wanted;
use windlass_platforms::cloudflare::client::Client;
use windlass_platforms::cloudflare::client::workers::Deployment;

use super::error::Error;
use super::{open, refused, told};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, GREEN, paint};

const LONG_ABOUT: &str = "\
Let the version before the last deploy answer again, and see that it does.

A version of the Worker is its code and its settings together, so this takes back what the last `deploy` has changed there. \
Run again, it finds that version answering and does nothing; --to goes further back. \
Cloudflare is told, and then the Worker is asked who it is until it says so. Nodes whose configuration that changes are \
replaced by the Worker itself, one after the other, with their clients sent away first.

What Durable Objects hold stays: no event is lost. The fleet file still says what was deployed last, so `windlass plan` \
shows the difference until the file says something else.";

/// How long Cloudflare may take to be everywhere.
const WITHIN: Duration = Duration::from_secs(60);
/// The variable that tells the Worker all that is no secret.
const SETTINGS: &str = "SETTINGS";
const PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `windlass cloudflare rollback`.
#[derive(Debug, clap::Args)]
#[command(about = "Let an earlier version of the Worker answer again", long_about = LONG_ABOUT)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The version [default: the one that answered before the last upload]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Say which version it would be, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let session = open(args.file.as_deref(), context)?;
    let client = session.cloudflare.client().await.map_err(told)?;
    let script = wanted::edge::script(&session.fleet);
    let deployments = client.deployments(&script).await.map_err(refused)?;
    let now = answering(&deployments).unwrap_or_default().to_owned();
    let target = target(client, &script, args.to, &deployments).await?;
    let end = Told { script: &script, from: &now, to: &target };
    let already = now == target;
    if args.dry_run {
        return end.say(if already { "answers already" } else { "would answer again" }, None, context);
    }
    let began = Instant::now();
    if !already {
        client.deploy(&script, &[(target.clone(), 100.0)]).await.map_err(refused)?;
    }
    let worker = session.cloudflare.worker().await.map_err(told)?;
    loop {
        let found = match worker.status().await {
            Ok(status) if status.version.as_ref() == Some(&target) => break,
            Ok(status) => status.version.unwrap_or_else(|| "one that it does not name".to_owned()),
            Err(error) => error.to_string(),
        };
        if began.elapsed() > WITHIN {
            return Err(Error::Unproven { wanted: target, found, seconds: WITHIN.as_secs() }.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
    let (what, took) =
        if already { ("answers already", None) } else { ("answers again", Some(began.elapsed())) };
    end.say(what, took, context)
}

/// The version to go back to: the one that was named, else the last one before the last upload that can answer.
async fn target(
    client: &Client,
    script: &str,
    to: Option<String>,
    deployments: &[Deployment],
) -> Result<String, Failure> {
    let named = to.is_some();
    let candidates = to.map_or_else(|| before(deployments), |version| vec![version]);
    for version in candidates {
        let bindings = client.version_bindings(script, &version).await.map_err(refused)?;
        let missing = bindings.as_deref().map(missing);
        let script = script.to_owned();
        match missing {
            Some(missing) if missing.is_empty() => return Ok(version),
            Some(missing) if named => {
                return Err(Error::Unready { script, version, missing: missing.join(", ") }.into());
            }
            None if named => return Err(Error::NoSuchVersion { script, version }.into()),
            // An upload whose apply was broken off before the secrets were set.
            _ => {}
        }
    }
    Err(Error::NothingBefore { script: script.to_owned() }.into())
}

/// The secrets that a version has not and could not answer without: nobody could ask it anything, not even who it is.
fn missing(bindings: &[Value]) -> Vec<&'static str> {
    let has = |name: &str| {
        bindings.iter().any(|binding| binding["type"] == "secret_text" && binding["name"] == name)
    };
    let settings = bindings.iter().find(|binding| binding["name"] == SETTINGS);
    let receives = settings.is_none_or(|settings| !settings["json"]["github"].is_null());
    let mut needed = vec![wanted::edge::API_TOKEN, wanted::edge::LEAF_CREDS];
    if receives {
        needed.extend([wanted::edge::HUB_CREDS, wanted::edge::WEBHOOK_SECRET]);
    }
    needed.into_iter().filter(|name| !has(name)).collect()
}

/// What is said in the end.
struct Told<'a> {
    script: &'a str,
    from: &'a str,
    to: &'a str,
}

impl Told<'_> {
    fn say(&self, what: &str, took: Option<Duration>, context: &Context) -> Result<ExitCode, Failure> {
        let Self { script, from, to } = self;
        if context.json() {
            let seconds = took.map(|took| took.as_secs_f64());
            output::json(&json!({
                "worker": script, "from": from, "to": to, "done": took.is_some(), "already": from == to,
                "seconds": seconds,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mark = if took.is_some() || from == to { paint(GREEN, "✓") } else { "·".to_owned() };
        let instead = if from == to { String::new() } else { format!(" instead of {from}") };
        let took = took.map_or_else(String::new, |took| format!(", after {:.1} s", took.as_secs_f64()));
        writeln!(output::out(), "{mark} {}: version {to} {what}{instead}{took}", paint(BOLD, script))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The version that answers most of the traffic.
fn answering(deployments: &[Deployment]) -> Option<&str> {
    let shares = &deployments.first()?.versions;
    shares.iter().max_by(|a, b| a.percentage.total_cmp(&b.percentage)).map(|share| share.version_id.as_str())
}

/// An upload, and the secrets that were set on it.
struct Upload<'a> {
    /// Its last version.
    version: &'a str,
    /// The upload that answered before it.
    before: Option<usize>,
}

/// The versions that answered before the last upload, the last one first: where a rollback goes, however often it is asked
/// to. A changed secret makes a version as well, which belongs to the upload that it was set on.
fn before(deployments: &[Deployment]) -> Vec<String> {
    let mut uploads: Vec<Upload<'_>> = Vec::new();
    let mut of_upload: BTreeMap<&str, usize> = BTreeMap::new();
    let mut current = None;
    for at in (0..deployments.len()).rev() {
        let Some(version) = answering(&deployments[at..]) else { continue };
        if let Some(known) = of_upload.get(version) {
            // Gone back to.
            current = Some(*known);
            continue;
        }
        let is_secret = deployments[at].annotations["workers/triggered_by"] == "secret";
        let index = match current.filter(|_| is_secret) {
            Some(index) => {
                uploads[index].version = version;
                index
            }
            None => {
                uploads.push(Upload { version, before: current });
                uploads.len() - 1
            }
        };
        of_upload.insert(version, index);
        current = Some(index);
    }
    let former = |index: &usize| uploads[*index].before;
    let all = uploads.last().and_then(|last| last.before);
    std::iter::successors(all, former).map(|index| uploads[index].version.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deployments of one version each, the oldest first; those with a `+` came by a secret.
    fn deployments(all: &[&str]) -> Vec<Deployment> {
        let one = |version: &&str| {
            let (version, by) = match version.strip_suffix('+') {
                Some(version) => (version, "secret"),
                None => (*version, "upload"),
            };
            serde_json::from_value(json!({
                "id": "d",
                "versions": [{ "version_id": version, "percentage": 100.0 }],
                "annotations": { "workers/triggered_by": by },
            }))
            .unwrap()
        };
        all.iter().rev().map(one).collect()
    }

    #[test]
    fn it_goes_back_to_what_was_before_the_last_upload() {
        let back = |all: &[&str]| before(&deployments(all)).into_iter().next();
        assert_eq!(back(&["a", "b", "c"]).as_deref(), Some("b"));
        // Done twice, it is the same.
        assert_eq!(back(&["a", "b", "c", "b"]).as_deref(), Some("b"));
        // From there on, something else was uploaded.
        assert_eq!(back(&["a", "b", "c", "b", "d"]).as_deref(), Some("b"));
        assert_eq!(before(&deployments(&["a", "b", "c", "b", "d"])), ["b", "a"]);
        // The first one and its secrets are one upload.
        assert_eq!(back(&["a", "b+", "c+"]), None);
        assert_eq!(back(&["a", "b+", "c+", "d", "e+"]).as_deref(), Some("c"));
        // A secret that was set after going back belongs to what was gone back to.
        assert_eq!(back(&["a", "b", "a", "c+"]).as_deref(), Some("c"));
        // Cloudflare tells the last ten alone.
        assert_eq!(back(&["b+", "c+", "d"]).as_deref(), Some("c"));
        assert_eq!(back(&["a"]), None);
        assert_eq!(back(&[]), None);
    }

    #[test]
    fn a_version_without_its_secrets_cannot_answer() {
        let secret = |name: &str| json!({ "type": "secret_text", "name": name });
        let settings =
            |github: Value| json!({ "type": "json", "name": "SETTINGS", "json": { "github": github } });
        let node = [secret("API_TOKEN"), secret("LEAF_CREDS"), settings(Value::Null)];
        assert_eq!(missing(&node), [""; 0]);
        assert_eq!(missing(&node[1..]), ["API_TOKEN"]);
        let receives = [secret("API_TOKEN"), secret("LEAF_CREDS"), settings(json!({ "stream": "GITHUB" }))];
        assert_eq!(missing(&receives), ["HUB_CREDS", "WEBHOOK_SECRET"]);
        assert_eq!(missing(&[]).len(), 4);
    }

    #[test]
    fn what_most_of_the_traffic_gets_answers() {
        let shared = json!([{ "id": "d", "versions": [
            { "version_id": "a", "percentage": 10.0 }, { "version_id": "b", "percentage": 90.0 },
        ] }]);
        let shared: Vec<Deployment> = serde_json::from_value(shared).unwrap();
        assert_eq!(answering(&shared), Some("b"));
        assert_eq!(answering(&[]), None);
    }
}
