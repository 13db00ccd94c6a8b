//! Operator, accounts and users: files on this machine, and what the running servers know of them.

use super::{Options, from_nats, trouble};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use windlass_engine::wanted::{ADMIN, PAYLOADS};
use windlass_engine::{Difference, FieldChange, How, Risk, Trouble};
use windlass_nats::authority::{Authority, Issued};
use windlass_nats::hub::{EVENT_STREAM, receiver};
use windlass_nats::jwt::{self, AccountLimits, JetStreamLimits, Permissions};
use windlass_nats::keys::SYSTEM_ACCOUNT;
use windlass_nats::{async_nats, creds};

pub(super) fn open(options: &Options) -> Result<Authority, Trouble> {
    Authority::open(&options.directory, options.fleet.name(), jiff::Timestamp::now().as_second())
        .map_err(from_nats)
}

/// Makes the operator, with the system account and its administrator; once made, they stay.
pub(super) fn operator(options: &Options) -> Result<(Issued, Issued), Trouble> {
    let authority = open(options)?;
    let operator = authority.operator().map_err(from_nats)?;
    let system = authority.account(SYSTEM_ACCOUNT, AccountLimits::default(), None).map_err(from_nats)?;
    authority.user(SYSTEM_ACCOUNT, ADMIN, &Permissions::everything()).map_err(from_nats)?;
    Ok((operator, system))
}

/// The operator and the system account as they are on disk; nothing is made.
pub(super) fn known_operator(options: &Options) -> Option<(Issued, Issued)> {
    let issued = |path: PathBuf| {
        let token = std::fs::read_to_string(path).ok()?.trim().to_owned();
        let public_key = jwt::decode(&token).ok()?.subject;
        Some(Issued { public_key, token })
    };
    Some((
        issued(token_file(&options.directory, "operator"))?,
        issued(account_file(options, SYSTEM_ACCOUNT))?,
    ))
}

pub(super) fn operator_exists(options: &Options) -> bool {
    token_file(&options.directory, "operator").is_file()
}

pub(super) fn account(options: &Options, name: &str) -> Result<Issued, Trouble> {
    let jetstream = Some(JetStreamLimits::default());
    open(options)?.account(name, AccountLimits::default(), jetstream).map_err(from_nats)
}

fn token_file(directory: &Path, name: &str) -> PathBuf {
    directory.join("jwt").join(format!("{name}.jwt"))
}

pub(super) fn account_file(options: &Options, name: &str) -> PathBuf {
    options.directory.join("jwt").join("accounts").join(format!("{name}.jwt"))
}

pub(super) fn creds_file(options: &Options, account: &str, user: &str) -> PathBuf {
    options.directory.join("creds").join(account).join(format!("{user}.creds"))
}

/// What an account's token on disk says of its limits.
pub(super) fn found_account(options: &Options, name: &str) -> Option<(Value, String)> {
    let text = std::fs::read_to_string(account_file(options, name)).ok()?;
    let token = jwt::decode(text.trim()).ok()?;
    Some((token.claims["nats"]["limits"].clone(), text.trim().to_owned()))
}

/// What its limits are to be.
pub(super) fn wanted_limits() -> Value {
    let mut limits = json!({ "wildcards": true, "disallow_bearer": true });
    let account = serde_json::to_value(AccountLimits::default()).unwrap_or_default();
    let jetstream = serde_json::to_value(JetStreamLimits::default()).unwrap_or_default();
    for part in [account, jetstream] {
        if let (Value::Object(all), Value::Object(part)) = (&mut limits, part) {
            all.extend(part);
        }
    }
    limits
}

/// What a user's credentials on disk allow.
pub(super) fn found_user(options: &Options, account: &str, user: &str) -> Option<Value> {
    let text = std::fs::read_to_string(creds_file(options, account, user)).ok()?;
    let token = jwt::decode(creds::token(&text)?).ok()?;
    let nats = &token.claims["nats"];
    Some(json!({ "pub": nats["pub"], "sub": nats["sub"] }))
}

pub(super) fn user(options: &Options, account: &str, user: &str, may: &str) -> Result<PathBuf, Trouble> {
    open(options)?.user(account, user, &permissions(may)).map_err(from_nats)
}

fn permissions(may: &str) -> Permissions {
    if may == "receiver" { receiver(EVENT_STREAM, PAYLOADS) } else { Permissions::everything() }
}

pub(super) fn compare_user(found: &Value, may: &str) -> Option<Difference> {
    let wanted = permissions(may).to_json();
    let fields: Vec<FieldChange> = [("publish", "pub"), ("subscribe", "sub")]
        .into_iter()
        .filter(|(_, key)| found[key] != wanted[key])
        .map(|(name, key)| FieldChange::new(name, found[key].to_string(), wanted[key].to_string()))
        .collect();
    (!fields.is_empty()).then_some(Difference { how: How::InPlace, fields, risk: Risk::None, why: None })
}

/// Takes an account or a user away. Its files are put aside, not destroyed: what they signed cannot be signed again.
pub(super) fn put_aside(options: &Options, path: &Path) -> Result<(), Trouble> {
    if !path.exists() {
        return Ok(());
    }
    let relative = path.strip_prefix(&options.directory).unwrap_or(path);
    let now = jiff::Timestamp::now().as_second();
    let aside = options.directory.join("removed").join(now.to_string()).join(relative);
    let moved =
        aside.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::rename(path, &aside));
    moved.map_err(|error| trouble("put aside", &error))
}

/// Tells running servers an account's token; every server that the answer reaches has it then.
pub(super) async fn push(system: &async_nats::Client, token: &str) -> Result<(), Trouble> {
    let failed = |reason: String| {
        Trouble::new(
            "WL0602",
            format!("the servers did not take an account's token: {reason}"),
            "see the servers' log",
        )
    };
    let answer = system.request("$SYS.REQ.CLAIMS.UPDATE", token.to_owned().into()).await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))?;
    match answer.get("error") {
        None => Ok(()),
        Some(error) => Err(failed(error["description"].as_str().unwrap_or("refused").to_owned())),
    }
}
