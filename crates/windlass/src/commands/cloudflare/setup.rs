//! `windlass cloudflare setup`: is the token good, and is there what everything else needs?

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, json};
use windlass_engine::Kind;
use windlass_engine::plan::Wish;
use windlass_engine::store::Store as _;
use windlass_engine::wanted::CLOUDFLARE;
use windlass_fleet::StoreAddress;
use windlass_platforms::cloudflare::client::account::Token;
use windlass_platforms::cloudflare::client::{Client, Error as ClientError, Permission};

use super::error::Error;
use super::{open, refused, show_only, told};
use crate::commands::apply::{self, How};
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_session::Session;
use crate::output::{self, BOLD, GREEN, RED, paint};

const LONG_ABOUT: &str = "\
Check the token, and make what a deployment needs first.

Asks Cloudflare who the token is and tries each permission that the edge needs; one that is missing is named as the \
dashboard shows it. The Worker needs an address: the account's domain below workers.dev, which --subdomain takes where there \
is none. Then it makes the buckets and namespaces of the fleet file, and the bucket of the state, if that is to \
be in R2. Reading is tried, so a permission that only lacks Edit is found out when something is made; the error says so.";

/// Arguments of `windlass cloudflare setup`.
#[derive(Debug, clap::Args)]
#[command(about = "Check the token; make buckets and namespaces", long_about = LONG_ABOUT)]
pub struct Args {
    /// Fleet file [default: windlass.toml here, else the built-in one]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take this domain below workers.dev, for good, if the account has none
    #[arg(long, value_name = "NAME")]
    subdomain: Option<String>,
    /// Check everything, show what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// How
    #[command(flatten)]
    how: How,
}

/// A permission, and whether the token has it.
#[derive(Debug, Serialize)]
struct Check {
    permission: &'static str,
    why: &'static str,
    granted: bool,
}

/// The account's domain below `workers.dev`.
#[derive(Debug, Serialize)]
struct Domain {
    name: Option<String>,
    was_there: bool,
    taken: bool,
}

/// The bucket of the state.
#[derive(Debug, Serialize)]
struct StateBucket {
    name: String,
    was_there: bool,
    made: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let session = open(args.file.as_deref(), context)?;
    let client = session.cloudflare.client().await.map_err(told)?;
    let token = active(client).await?;
    let checks = checks(client).await?;
    let mut document = Map::new();
    let who = json!({ "status": token.status, "expires_on": token.expires_on });
    document.insert("token".to_owned(), who);
    document.insert("permissions".to_owned(), json!(checks));
    if !context.json() && !context.quiet() {
        show(token.expires_on.as_ref(), &checks)?;
    }
    if let Err(error) = missing(&checks) {
        if context.json() {
            output::json(&document)?;
        }
        return Err(error.into());
    }
    let domain = domain(client, &session, &args).await?;
    document.insert("subdomain".to_owned(), json!(domain));
    if !context.json() && !context.quiet() {
        domain.show()?;
    }
    // The state's bucket has to be there before anything can be locked.
    let store = match &session.fleet.state.store {
        Some(StoreAddress::R2(bucket, _)) => Some(state_bucket(client, bucket, args.dry_run).await?),
        _ => None,
    };
    if let Some(store) = &store {
        document.insert("state_bucket".to_owned(), json!(store));
        if !context.json() && !context.quiet() {
            let (mark, what) = match (store.made, store.was_there) {
                (_, true) => (paint(GREEN, "✓"), "is there"),
                (true, _) => (paint(GREEN, "✓"), "is made"),
                _ => ("·".to_owned(), "would be made"),
            };
            writeln!(output::out(), "{mark} the bucket {} {what}, for the state", paint(BOLD, &store.name))?;
        }
    }
    if store.is_some_and(|store| !store.made && !store.was_there) {
        // What would be made beside it, only the state that would be in there could say.
        if context.json() {
            output::json(&document)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // What is made goes into the state, which goes on where it is.
    let own = session.own_state()?;
    if let Some(other) = session.asked().elsewhere(&own.address)
        && own.store.load().await?.is_none()
    {
        let (from, to) = (other.to_string(), own.address.to_string());
        output::note(&format!(
            "the fleet's own state is still in {from}: `windlass cloudflare migrate-state` moves it to {to}"
        ));
        if context.json() {
            document.insert("state_in".to_owned(), json!(from));
            output::json(&document)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let first = |kind| matches!(kind, Kind::Bucket | Kind::Namespace);
    let of_it = session.wanted.iter().filter(|wanted| wanted.platform == CLOUDFLARE);
    let targets =
        of_it.filter(|wanted| first(wanted.address.kind)).map(|wanted| wanted.address.clone()).collect();
    let wish = Wish { targets, destroy: false };
    if args.dry_run {
        return show_only(document, &session, &wish, context).await;
    }
    apply::carry_out_after(document, &session, &wish, None, &args.how, context).await
}

/// The bucket of the state: made, unless it is there or nothing is to be done.
async fn state_bucket(client: &Client, bucket: &str, dry_run: bool) -> Result<StateBucket, Failure> {
    let was_there = client.bucket(bucket).await.map_err(refused)?.is_some();
    let makes = !was_there && !dry_run;
    if makes {
        client.ensure_bucket(bucket).await.map_err(refused)?;
    }
    Ok(StateBucket { name: bucket.to_owned(), was_there, made: makes })
}

/// Who the token is, if it is good.
async fn active(client: &Client) -> Result<Token, Failure> {
    let token = client.verify().await.map_err(refused)?;
    if token.status == "active" { Ok(token) } else { Err(Error::Token { status: token.status }.into()) }
}

/// Each permission that the edge needs, tried.
async fn checks(client: &Client) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    for (permission, why) in Permission::NEEDED {
        let granted = match ask(client, permission).await {
            Ok(()) => true,
            Err(ClientError::Permission { .. }) => false,
            Err(error) => return Err(refused(error)),
        };
        checks.push(Check { permission: permission.as_str(), why, granted });
    }
    Ok(checks)
}

fn missing(checks: &[Check]) -> Result<(), Error> {
    let missing: Vec<&str> =
        checks.iter().filter(|check| !check.granted).map(|check| check.permission).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Permissions { missing: missing.join(", ") }) }
}

/// Sees that the token may do all that the edge needs, before anything is begun.
pub(super) async fn allowed(client: &Client) -> Result<(), Failure> {
    active(client).await?;
    Ok(missing(&checks(client).await?)?)
}

/// The account's domain below `workers.dev`: the one that it has, else the one that was named, which is taken.
async fn domain(client: &Client, session: &Session, args: &Args) -> Result<Domain, Failure> {
    let there = client.subdomain().await.map_err(refused)?;
    let has_address = session.cloudflare.has_address();
    match (there, &args.subdomain) {
        (Some(name), _) => Ok(Domain { name: Some(name), was_there: true, taken: false }),
        (None, Some(name)) => {
            if !args.dry_run {
                client.choose_subdomain(name).await.map_err(refused)?;
            }
            Ok(Domain { name: Some(name.clone()), was_there: false, taken: !args.dry_run })
        }
        (None, None) if has_address => Ok(Domain { name: None, was_there: false, taken: false }),
        (None, None) => Err(Error::NoSubdomain.into()),
    }
}

impl Domain {
    fn show(&self) -> Result<(), Failure> {
        let Some(name) = &self.name else { return Ok(()) };
        let (mark, what) = match (self.was_there, self.taken) {
            (true, _) => (paint(GREEN, "✓"), "is the account's"),
            (_, true) => (paint(GREEN, "✓"), "is the account's now"),
            _ => ("·".to_owned(), "would be taken for the account"),
        };
        Ok(writeln!(output::out(), "{mark} {} {what}", paint(BOLD, format_args!("{name}.workers.dev")))?)
    }
}

async fn ask(client: &Client, permission: Permission) -> Result<(), ClientError> {
    match permission {
        Permission::Scripts => client.scripts().await.map(drop),
        Permission::Kv => client.namespaces().await.map(drop),
        Permission::R2 => client.buckets().await.map(drop),
        Permission::Containers => client.applications().await.map(drop),
        Permission::Routes | Permission::Analytics | Permission::Account => client.accounts().await.map(drop),
    }
}

fn show(expires: Option<&String>, checks: &[Check]) -> Result<(), Failure> {
    let mut out = output::out();
    let until = expires.map_or_else(|| "without an end".to_owned(), |day| format!("until {day}"));
    writeln!(out, "{} the token is active, {until}", paint(GREEN, "✓"))?;
    for check in checks {
        let mark = if check.granted { paint(GREEN, "✓") } else { paint(RED, "✗") };
        writeln!(out, "{mark} {}  for {}", paint(BOLD, check.permission), check.why)?;
    }
    Ok(())
}
