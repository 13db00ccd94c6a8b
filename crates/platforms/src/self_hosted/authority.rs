//! Operator, accounts and users: files on this machine, and what the running servers know of them.

use super::stored::Body;
use super::{Options, from_nats};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use windlass_engine::wanted::{ADMIN, PAYLOADS};
use windlass_engine::{Difference, FieldChange, How, Risk, Trouble};
use windlass_nats::authority::{AccountTerms, Authority, ImportFrom, Issued};
use windlass_nats::jwt::{self, Access, AccountLimits, Exchange, Export, JetStreamLimits, Permissions};
use windlass_nats::keys::SYSTEM_ACCOUNT;
use windlass_nats::{async_nats, creds, permissions};

pub(super) fn open(options: &Options) -> Result<Authority, Trouble> {
    Authority::open(&options.directory, options.fleet.name(), jiff::Timestamp::now().as_second())
        .map_err(from_nats)
}

/// Makes the operator, with the system account and its administrator; once made, they stay.
pub(super) fn operator(options: &Options) -> Result<(Issued, Issued), Trouble> {
    let authority = open(options)?;
    let operator = authority.operator().map_err(from_nats)?;
    let system = authority.account(SYSTEM_ACCOUNT, &AccountTerms::default()).map_err(from_nats)?;
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

/// An account's public key, if it has a token; nothing is made.
pub(super) fn known_account(options: &Options, name: &str) -> Option<String> {
    let token = std::fs::read_to_string(account_file(options, name)).ok()?;
    Some(jwt::decode(token.trim()).ok()?.subject)
}

pub(super) fn operator_exists(options: &Options) -> bool {
    token_file(&options.directory, "operator").is_file()
}

/// An account's terms, from its table in the fleet file; one without a table has none.
fn terms(body: &Value) -> AccountTerms {
    let limits = Body(&body["limits"]);
    let exchange = |one: &Value| if one["kind"] == "service" { Exchange::Service } else { Exchange::Stream };
    let all = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    AccountTerms {
        limits: AccountLimits {
            subscriptions: limits.number("subscriptions"),
            payload: limits.bytes("max_payload"),
            connections: limits.number("connections"),
            ..AccountLimits::default()
        },
        jetstream: JetStreamLimits {
            memory: limits.bytes("memory"),
            disk: limits.bytes("storage"),
            streams: limits.number("streams"),
            consumers: limits.number("consumers"),
            ..JetStreamLimits::default()
        },
        exports: all("exports")
            .iter()
            .map(|one| Export { subject: text(&one["subject"]), r#type: exchange(one) })
            .collect(),
        imports: all("imports")
            .iter()
            .map(|one| ImportFrom {
                account: text(&one["account"]),
                subject: text(&one["subject"]),
                to: one["to"].as_str().map(str::to_owned),
                exchange: exchange(one),
            })
            .collect(),
    }
}

/// An account's table in the fleet file, as a body.
fn body_of(options: &Options, name: &str) -> Value {
    options.fleet.accounts.get(name).map(windlass_fleet::Account::to_json).unwrap_or_default()
}

pub(super) fn account(options: &Options, name: &str) -> Result<Issued, Trouble> {
    open(options)?.account(name, &terms(&body_of(options, name))).map_err(from_nats)
}

/// The accounts of the fleet that import from this one.
pub(super) fn importers<'a>(options: &'a Options, name: &str) -> impl Iterator<Item = &'a str> {
    let imports = move |account: &windlass_fleet::Account| {
        account.imports.iter().any(|import| import.account.as_str() == name)
    };
    let accounts = options.fleet.accounts.iter();
    accounts
        .filter(move |(_, account)| imports(account))
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .into_iter()
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

/// What an account's token on disk says, and what it would say if it were issued now.
pub(super) fn found_account(options: &Options, name: &str, body: &Value) -> Option<Value> {
    let text = std::fs::read_to_string(account_file(options, name)).ok()?;
    let token = jwt::decode(text.trim()).ok()?;
    let would_say = open(options).ok()?.account_would_say(name, &terms(body)).ok().flatten();
    Some(json!({ "says": token.claims["nats"], "would_say": would_say }))
}

/// What a token allows.
pub(super) fn says(token: &str) -> Option<Value> {
    Some(jwt::decode(token.trim()).ok()?.claims["nats"].clone())
}

/// Whether an account's token on disk says what it would say if it were issued now; `None` where it has none.
pub(super) fn is_current(options: &Options, name: &str) -> Option<bool> {
    found_account(options, name, &body_of(options, name)).map(|found| found["says"] == found["would_say"])
}

pub(super) fn compare_account(found: &Value) -> Option<Difference> {
    let (says, would_say) = (settings(&found["says"]), settings(&found["would_say"]));
    let names: BTreeSet<&String> = says.keys().chain(would_say.keys()).collect();
    let shown = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(value) if *value == json!(-1) => "no limit".to_owned(),
        Some(value) => value.to_string(),
    };
    let fields: Vec<FieldChange> = names
        .into_iter()
        .filter(|name| says.get(*name) != would_say.get(*name))
        .map(|name| FieldChange::new(name, shown(says.get(name)), shown(would_say.get(name))))
        .collect();
    let why = found["changed_at"].as_str().map(|server| match found["says"].is_null() {
        true => format!("the server {server} does not have it any more (drift)"),
        false => format!("the server {server} has another token of it than Windlass gave it (drift)"),
    });
    (!fields.is_empty()).then_some(Difference { how: How::InPlace, fields, risk: Risk::None, why })
}

/// The claims by name, each limit by itself.
fn settings(claims: &Value) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (name, value) in claims.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) if name == "limits" => {
                all.extend(inner.iter().map(|(limit, value)| (format!("limits.{limit}"), value.clone())));
            }
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
    all
}

/// What a user's credentials on disk allow.
pub(super) fn found_user(options: &Options, account: &str, user: &str) -> Option<Value> {
    let text = std::fs::read_to_string(creds_file(options, account, user)).ok()?;
    let token = jwt::decode(creds::token(&text)?).ok()?;
    let nats = &token.claims["nats"];
    Some(json!({ "pub": nats["pub"], "sub": nats["sub"], "resp": nats["resp"] }))
}

pub(super) fn user(options: &Options, body: &Value) -> Result<PathBuf, Trouble> {
    let body_text = |key: &str| body[key].as_str().unwrap_or_default();
    let authority = open(options)?;
    authority.user(body_text("account"), body_text("name"), &permissions(body)).map_err(from_nats)
}

/// What a user may do: what the file allows, and what goes with it.
fn permissions(body: &Value) -> Permissions {
    if body["may"] == "everything" {
        return Permissions::everything();
    }
    let body = Body(body);
    let (mut publish, mut subscribe) = (body.texts("publish"), body.texts("subscribe"));
    let access = body.text("jetstream");
    let needed: &[&str] = match access.as_str() {
        "read" => &permissions::READ,
        "manage" => &permissions::MANAGE,
        _ => &[],
    };
    publish.extend(needed.iter().map(|subject| (*subject).to_owned()));
    if body.0["may"] == "receive"
        && let Access::Only { allow, .. } = permissions::receiver(&body.text("stream"), PAYLOADS).publish
    {
        publish.extend(allow);
    }
    if !publish.is_empty() {
        subscribe.push(permissions::INBOX.to_owned());
    }
    Permissions {
        publish: Access::Only { allow: publish, except: body.texts("deny_publish") },
        subscribe: Access::Only { allow: subscribe, except: body.texts("deny_subscribe") },
        responses: body.0["allow_responses"] == true,
    }
}

pub(super) fn compare_user(found: &Value, body: &Value) -> Option<Difference> {
    let wanted = permissions(body).to_json();
    let fields: Vec<FieldChange> = [("publish", "pub"), ("subscribe", "sub"), ("allow_responses", "resp")]
        .into_iter()
        .filter(|(_, key)| found[key] != wanted[key])
        .map(|(name, key)| FieldChange::new(name, rules(&found[key]), rules(&wanted[key])))
        .collect();
    let why = "it gets new credentials, and the old ones count no more".to_owned();
    (!fields.is_empty()).then_some(Difference {
        how: How::InPlace,
        fields,
        risk: Risk::Interrupts,
        why: Some(why),
    })
}

/// A token's rules for a person.
fn rules(rules: &Value) -> String {
    let list = |key: &str| Body(rules).texts(key).join(", ");
    match (list("allow"), list("deny")) {
        _ if rules.is_null() => "nothing".to_owned(),
        _ if rules.get("max").is_some() => "one answer to each request".to_owned(),
        (allow, deny) if allow.is_empty() && deny.is_empty() => "everything".to_owned(),
        (allow, deny) if allow.is_empty() && deny == ">" => "nothing".to_owned(),
        (allow, deny) if deny.is_empty() => allow,
        (allow, deny) if allow.is_empty() => format!("everything but {deny}"),
        (allow, deny) => format!("{allow} but not {deny}"),
    }
}

/// What tells a user's credentials of now from earlier ones.
pub(super) fn user_version(options: &Options, account: &str, user: &str) -> String {
    open(options)
        .ok()
        .and_then(|authority| authority.user_version(account, user).ok().flatten())
        .unwrap_or_default()
}

/// Takes a user away, and revokes what it was given.
pub(super) fn remove_user(options: &Options, account: &str, user: &str) -> Result<(), Trouble> {
    open(options)?.remove_user(account, user).map_err(from_nats)
}

/// Takes a file away. It is put aside, not destroyed: what it signed cannot be signed again.
pub(super) fn put_aside(options: &Options, path: &Path) -> Result<(), Trouble> {
    if !path.exists() {
        return Ok(());
    }
    open(options)?.put_aside(path).map_err(from_nats)
}

/// How long servers may take to answer that they have a token.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Tells running servers an account's token; every server that the answer reaches has it then. What is inside says that
/// nobody answered, which may be different a moment later.
pub(super) async fn push(system: &async_nats::Client, token: &str) -> Result<Result<(), Trouble>, Trouble> {
    let failed = |reason: String| {
        Trouble::new(
            "WL0602",
            format!("the servers did not take an account's token: {reason}"),
            "see the servers' log",
        )
    };
    let answer = system.request("$SYS.REQ.CLAIMS.UPDATE", token.to_owned().into());
    let answer = match tokio::time::timeout(ANSWERS_WITHIN, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Ok(Err(failed(error.to_string()))),
        Err(_) => return Ok(Err(failed("no answer".to_owned()))),
    };
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))?;
    match answer.get("error") {
        None => Ok(Ok(())),
        Some(error) => Err(failed(error["description"].as_str().unwrap_or("refused").to_owned())),
    }
}
