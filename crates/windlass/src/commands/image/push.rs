//! `windlass image push`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use secrecy::{ExposeSecret as _, SecretString};
use windlass_image::cloudflare::{self, Account};
use windlass_image::push::{self, Credentials, Options, Pushed};
use windlass_image::{Image, Layout};

use super::{Error, LayoutArgs, chosen, failure, megabytes};
use crate::context::Context;
use crate::failure::Failure;
use crate::fleet_file::{self, Source};
use crate::local_edge::LocalEdge;
use crate::output::{self, BOLD, paint};
use crate::run_directory::RunDirectory;
use crate::secrets;

const USERNAME: &str = "WINDLASS_REGISTRY_USERNAME";
const PASSWORD: &str = "WINDLASS_REGISTRY_PASSWORD";
const TOKEN: &str = "WINDLASS_REGISTRY_TOKEN";

const MORE: &str = "\
To registry.cloudflare.com, with CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, or what [platforms.cloudflare] of the \
fleet file names: the push asks Cloudflare for credentials \
that are over after 15 minutes, and puts the account into the name, where it must be. CLOUDFLARE_API_BASE_URL and \
CLOUDFLARE_CONTAINER_REGISTRY are other addresses of the two; with `windlass up --edge`, both are on this machine.

To any other registry, with WINDLASS_REGISTRY_USERNAME and WINDLASS_REGISTRY_PASSWORD, or WINDLASS_REGISTRY_TOKEN, or as \
anybody. A registry on this machine is reached without TLS, every other one with it.

What is there already is not sent again. A push that was stopped goes on with the same command. In the end the registry is \
asked what it has: the digest that is printed is its answer.";

/// Push an image to a registry
#[derive(Debug, clap::Args)]
#[command(after_long_help = MORE)]
pub struct Args {
    /// Where to, such as registry.cloudflare.com/nats:2.15.1
    #[arg(value_name = "REF")]
    reference: String,
    /// Name of the image in the layout [default: REF, if that is there, or the only one]
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    #[command(flatten)]
    layout: LayoutArgs,
}

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let layout = args.layout.open(context)?;
    push::parse(&args.reference).map_err(failure)?;
    let named = args.image.or_else(|| {
        let is_there = layout.names().is_ok_and(|names| names.contains(&args.reference));
        is_there.then(|| args.reference.clone())
    });
    let image = chosen(&layout, named.as_deref())?;
    print(&send(&layout, &image, &args.reference, context).await?, context)?;
    Ok(ExitCode::SUCCESS)
}

/// Pushes an image, as whoever the registry wants to hear.
pub async fn send(
    layout: &Layout,
    image: &Image,
    reference: &str,
    context: &Context,
) -> Result<Pushed, Failure> {
    // The first one installed counts; it does not matter by whom.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = push::parse(reference).map_err(failure)?;
    let To { name, target, credentials } = who(reference, registry.registry(), context).await?;
    let bar = progress_bar(image, context);
    let shown = bar.clone();
    let progress: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(move |position| shown.set_position(position));
    let options = Options { credentials, progress, ..Options::default() };
    let pushed = push::push(layout, image, &target, &options).await;
    bar.finish_and_clear();
    let pushed = pushed.map_err(failure)?;
    // What it is called is what deploys it; where that name led to is nobody's business.
    let pinned = pushed.pinned.rsplit_once('@').map(|(_, digest)| digest.to_owned()).unwrap_or_default();
    let repository = name.rsplit_once(':').map_or(name.as_str(), |(repository, _)| repository);
    Ok(Pushed { pinned: format!("{repository}@{pinned}"), reference: name, ..pushed })
}

fn print(pushed: &Pushed, context: &Context) -> Result<(), Failure> {
    if context.json() {
        return output::json(pushed);
    }
    let mut out = output::out();
    writeln!(out, "{}", paint(BOLD, &pushed.reference))?;
    writeln!(out, "{}", pushed.digest)?;
    if !context.quiet() {
        let sent = if pushed.sent == 0 { "nothing".to_owned() } else { megabytes(pushed.sent) };
        writeln!(out, "{sent} sent, {} blobs were there already", pushed.present)?;
    }
    Ok(())
}

/// Where an image goes.
struct To {
    /// What it is called there.
    name: String,
    /// The same, with the address at which the registry is reached.
    target: String,
    /// As whom.
    credentials: Credentials,
}

/// Under which name, to which address, and as whom.
async fn who(reference: &str, registry: &str, context: &Context) -> Result<To, Failure> {
    let directory = RunDirectory::at(&context.directory);
    let local = LocalEdge::read(&directory).and_then(|edge| edge.account(&directory));
    let address = match &local {
        Some((_, address)) => address.clone(),
        None => set("CLOUDFLARE_CONTAINER_REGISTRY").unwrap_or_else(|| cloudflare::REGISTRY.to_owned()),
    };
    if registry == cloudflare::REGISTRY || registry == address {
        let account = match local {
            Some((account, _)) => account,
            None => account(context)?,
        };
        let credentials = cloudflare::credentials(&account, &address).await.map_err(failure)?;
        let name = cloudflare::with_account(reference, &account.id);
        let target = name.replacen(registry, &address, 1);
        return Ok(To { name, target, credentials });
    }
    let credentials = match (set(USERNAME), set(PASSWORD), set(TOKEN)) {
        (None, None, Some(token)) => Credentials::Token(token.into()),
        (None, None, None) => Credentials::Anonymous,
        (Some(username), Some(password), _) => {
            Credentials::Password { username, password: SecretString::from(password) }
        }
        (Some(_), None, _) => return Err(Error::Credentials { have: "a user name" }.into()),
        (None, Some(_), _) => return Err(Error::Credentials { have: "a password" }.into()),
    };
    Ok(To { name: reference.to_owned(), target: reference.to_owned(), credentials })
}

/// Who asks Cloudflare: the environment says it, else the fleet file says where it is said.
fn account(context: &Context) -> Result<Account, Failure> {
    let (mut id, mut token) =
        (set("CLOUDFLARE_ACCOUNT_ID"), set("CLOUDFLARE_API_TOKEN").map(SecretString::from));
    if id.is_none() || token.is_none() {
        let source = Source::find(None)?;
        let fleet = source.parse(context.environment.as_deref());
        let fleet = fleet.map_err(|mistakes| fleet_file::tell(&mistakes, context.format))?;
        if let Some(cloudflare) = &fleet.platforms.cloudflare {
            let file = source.absolute()?;
            let base = file.as_deref().and_then(Path::parent);
            let read = |source| {
                secrets::from_sources(std::slice::from_ref(source), base).map(|all| all.into_iter().next())
            };
            if id.is_none() {
                id = read(&cloudflare.account_id)?.map(|id| id.expose_secret().to_owned());
            }
            if token.is_none() {
                token = read(&cloudflare.api_token)?;
            }
        }
    }
    let missing = |missing| failure(windlass_image::Error::NoAccount { missing });
    let id = id.ok_or_else(|| missing("the account's id"))?;
    let token = token.ok_or_else(|| missing("an API token"))?;
    let api = set("CLOUDFLARE_API_BASE_URL").unwrap_or_else(|| cloudflare::API.to_owned());
    Ok(Account { id, token, api: api.trim_end_matches('/').to_owned() })
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Shows itself on a terminal alone.
fn progress_bar(image: &Image, context: &Context) -> ProgressBar {
    if context.quiet() || context.json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(image.describe().size);
    match ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
