//! `windlass cloudflare rollback`: let an earlier version of the Worker answer again.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use windlass_engine::wanted;
use windlass_platforms::cloudflare::client::workers::Deployment;

use super::error::Error;
use super::{open, refused, told};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, BOLD, GREEN, paint};

const LONG_ABOUT: &str = "\
Let the version before answer again, and see that it does.

A version of the Worker is its code and its settings together, so this takes back what the last `deploy` has changed there. \
Cloudflare is told, and then the Worker is asked who it is until it says so. Nodes whose configuration that changes are \
replaced by the Worker itself, one after the other, with their clients sent away first.

What Durable Objects hold stays: no event is lost. The fleet file still says what was deployed last, so `windlass plan` \
shows the difference until the file says something else.";

/// How long Cloudflare may take to be everywhere.
const WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `windlass cloudflare rollback`.
#[derive(Debug, clap::Args)]
#[command(about = "Let an earlier version of the Worker answer again", long_about = LONG_ABOUT)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The version [default: the one that was deployed before the one that answers now]
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
    let target = match args.to {
        Some(version) => version,
        None => {
            before(&deployments).ok_or_else(|| Error::NothingBefore { script: script.clone() })?.to_owned()
        }
    };
    if args.dry_run {
        return say("would answer again", &script, &now, &target, None, context);
    }
    let began = Instant::now();
    client.deploy(&script, &[(target.clone(), 100.0)]).await.map_err(refused)?;
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
    say("answers again", &script, &now, &target, Some(began.elapsed()), context)
}

fn say(
    what: &str,
    script: &str,
    from: &str,
    to: &str,
    took: Option<Duration>,
    context: &Context,
) -> Result<ExitCode, Failure> {
    if context.json() {
        let seconds = took.map(|took| took.as_secs_f64());
        output::json(
            &json!({ "worker": script, "from": from, "to": to, "done": took.is_some(), "seconds": seconds }),
        )?;
    } else {
        let took = took.map_or_else(String::new, |took| format!(", after {:.1} s", took.as_secs_f64()));
        let mark = if took.is_empty() { "·".to_owned() } else { paint(GREEN, "✓") };
        writeln!(
            output::out(),
            "{mark} {}: version {to} {what} instead of {from}{took}",
            paint(BOLD, script)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The version that answers most of the traffic.
fn answering(deployments: &[Deployment]) -> Option<&str> {
    let shares = &deployments.first()?.versions;
    shares.iter().max_by(|a, b| a.percentage.total_cmp(&b.percentage)).map(|share| share.version_id.as_str())
}

/// The version that was deployed before the one that answers now.
fn before(deployments: &[Deployment]) -> Option<&str> {
    let now = answering(deployments)?;
    (1..deployments.len()).find_map(|at| answering(&deployments[at..]).filter(|version| *version != now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployments(all: &[&[(&str, f64)]]) -> Vec<Deployment> {
        let one = |versions: &&[(&str, f64)]| {
            let versions: Vec<_> = versions
                .iter()
                .map(|(version, percentage)| json!({ "version_id": version, "percentage": percentage }))
                .collect();
            serde_json::from_value(json!({ "id": "d", "versions": versions })).unwrap()
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn it_goes_back_to_the_version_before_this_one() {
        let all = deployments(&[&[("c", 100.0)], &[("b", 90.0), ("c", 10.0)], &[("a", 100.0)]]);
        assert_eq!((answering(&all), before(&all)), (Some("c"), Some("b")));
        // Deployed again as it was (a secret was set, say): that is no version before.
        let again = deployments(&[&[("b", 100.0)], &[("b", 100.0)], &[("a", 100.0)]]);
        assert_eq!(before(&again), Some("a"));
        assert_eq!(before(&deployments(&[&[("a", 100.0)]])), None);
        assert_eq!(before(&[]), None);
    }
}
