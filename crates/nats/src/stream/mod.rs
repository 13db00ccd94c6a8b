//! Streams and buckets: made if absent, updated in place if they differ, left alone if they do not. What would drop
//! messages, or cannot be done in place, is done only with [`Permission`].
//!
//! What to do is decided by pure functions over the server's own JSON ([`decide`]). The JSON, and not a typed
//! configuration, because an update must send back every field it does not change, also those of a newer server
//! that no client library knows yet. All decisions are made before the first change, so that a refusal leaves everything
//! as it was, and what the server answers is compared with what was wanted.

mod decide;
mod foresee;
mod remove;
mod spec;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::{self, Context};
use serde_json::Value;

use crate::Error;
pub use decide::{Decision, FieldChange, Found, Loss, Refusal, decide};
pub use foresee::measure;
pub use remove::remove;
pub use spec::{
    Compression, Discard, KvBucketSpec, ObjectBucketSpec, Retention, Spec, Storage, StreamSpec, Wanted,
};

/// The metadata key that names the fleet which manages a stream.
pub const FLEET_TAG: &str = "windlass.fleet";

const STREAM_NOT_FOUND: u64 = 10_059;

/// How often, and after which pauses, a stream is created again when the account's directory was not there.
const DIRECTORY_PAUSES_MILLIS: [u64; 4] = [5, 20, 80, 320];

/// What may become of messages that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// All of them stay: what would drop one is refused.
    KeepMessages,
    /// They may be dropped: somebody was told how many, and wants it.
    LoseMessages,
}

/// Something that [`ensure`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it was done to, such as `stream GITHUB`.
    pub resource: String,
    /// What was done.
    pub action: Action,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Created,
    /// These fields changed.
    Updated(Vec<FieldChange>),
    /// It was deleted and made anew, for the sake of these fields.
    Replaced(Vec<FieldChange>),
}

impl std::fmt::Display for Change {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.action {
            Action::Created => write!(formatter, "{} created", self.resource),
            Action::Updated(fields) => write!(formatter, "{} updated: {}", self.resource, listed(fields)),
            Action::Replaced(fields) => {
                write!(formatter, "{} made anew: {}", self.resource, listed(fields))
            }
        }
    }
}

fn listed(fields: &[FieldChange]) -> String {
    fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Makes the account's streams and buckets what `specs` say, on behalf of `fleet`. Answers what changed: nothing, the
/// second time.
///
/// # Errors
/// When a spec contradicts itself, a change would lose messages or belongs to another fleet, or the server refuses.
pub async fn ensure(
    client: &Client,
    fleet: &str,
    specs: &[Spec],
    permission: Permission,
) -> Result<Vec<Change>, Error> {
    let context = jetstream::new(client.clone());
    let mut steps = Vec::new();
    for spec in specs {
        let wanted = spec.wanted(fleet)?;
        let found = find(&context, spec, &wanted, permission).await?;
        let allowed = |loses: Option<Loss>, fields: &[FieldChange]| match loses {
            Some(loss) if permission == Permission::KeepMessages => {
                let reason = format!("it would lose {loss}: {}", listed(fields));
                Err(Error::WouldLose { resource: wanted.resource.clone(), reason })
            }
            _ => Ok(()),
        };
        match decide(&wanted, found.as_ref()) {
            Decision::Unchanged => {}
            Decision::Create(config) => steps.push((wanted, config, Action::Created)),
            Decision::Update { config, fields, loses } => {
                allowed(loses, &fields)?;
                steps.push((wanted, config, Action::Updated(fields)));
            }
            Decision::Replace { config, fields, loses } => {
                allowed(loses, &fields)?;
                steps.push((wanted, config, Action::Replaced(fields)));
            }
            Decision::Refuse(refusal) => return Err(refusal.into_error(&wanted.resource)),
        }
    }
    let mut changes = Vec::with_capacity(steps.len());
    for (wanted, config, action) in steps {
        let verb = if matches!(action, Action::Updated(_)) { "UPDATE" } else { "CREATE" };
        if let Action::Replaced(_) = action {
            remove(client, &wanted.stream, &wanted.resource, permission).await?;
        }
        apply(&context, &wanted, verb, &config).await?;
        let change = Change { resource: wanted.resource, action };
        tracing::info!(%change, "JetStream changed");
        changes.push(change);
    }
    Ok(changes)
}

/// When JetStream is switched on for an account that is new, the server makes the directory of its streams to see
/// whether it can, and removes it (`EnableJetStream` in nats-server's `jetstream.go`). A stream that is created at that
/// moment fails, in one of two ways depending on which file was to be written, and is created a moment later.
fn is_missing_directory(reason: &str) -> bool {
    reason.contains("no such file or directory") || reason.contains("error creating store for stream")
}

async fn find(
    context: &Context,
    spec: &Spec,
    wanted: &Wanted,
    permission: Permission,
) -> Result<Option<Found>, Error> {
    let what = format!("look at {}", wanted.resource);
    let Some(mut answer) = remove::info(context, &wanted.stream, &what).await? else { return Ok(None) };
    if permission == Permission::KeepMessages {
        foresee::measure_with(context, spec, &mut answer).await;
    }
    let unreadable = |reason| Error::JetStream { what, reason, code: None };
    Found::parse(answer).map(Some).map_err(unreadable)
}

async fn apply(context: &Context, wanted: &Wanted, verb: &str, config: &Value) -> Result<(), Error> {
    let what = format!("{} {}", verb.to_lowercase(), wanted.resource);
    let subject = format!("STREAM.{verb}.{}", wanted.stream);
    let mut pauses = DIRECTORY_PAUSES_MILLIS.into_iter().map(Duration::from_millis);
    let answer = loop {
        match request(context, &what, subject.clone(), config).await {
            Err(Error::JetStream { code, reason, .. }) if is_missing_directory(&reason) => {
                let Some(pause) = pauses.next() else {
                    return Err(Error::JetStream { what, reason, code });
                };
                tracing::debug!(reason, "the account's directory has just been removed; trying again");
                tokio::time::sleep(pause).await;
            }
            answer => break answer?,
        }
    };
    let failed = |reason| Error::JetStream { what: what.clone(), reason, code: None };
    let found = Found::parse(answer).map_err(failed)?;
    match decide(wanted, Some(&found)) {
        Decision::Unchanged => Ok(()),
        Decision::Update { fields, .. } | Decision::Replace { fields, .. } => {
            Err(failed(format!("the server made something else of it: {}", listed(&fields))))
        }
        Decision::Create(_) | Decision::Refuse(_) => {
            Err(failed("the server made something else of it".to_owned()))
        }
    }
}

/// What a server answers about an account that it has just been told of: in a cluster the token reaches one server
/// after the other, and the one that answers may not be the one that was asked.
const NOT_YET: [u64; 2] = [10_039, 10_008];
/// How long that may last: far longer than it takes, and short enough for an account that really has no JetStream.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// While a server takes in an account's new token, what serves JetStream in it is taken away and put back, and a request
/// at that moment finds nobody (`updateAccountClaims` in nats-server's `accounts.go`).
const SERVED_WITHIN: Duration = Duration::from_secs(2);

/// Whether a request of JetStream's API does the same when it is made twice. What deletes does not: the second one finds nothing.
fn is_repeatable(subject: &str) -> bool {
    !subject.contains(".DELETE.") && !subject.contains(".PURGE.")
}

/// Asks JetStream's API, and gives its answer. Below `subject` there is no `$JS.API`.
///
/// # Errors
/// When it refuses, or nobody answers.
pub async fn ask(client: &Client, what: &str, subject: String, body: &Value) -> Result<Value, Error> {
    request(&jetstream::new(client.clone()), what, subject, body).await
}

pub(crate) async fn request(
    context: &Context,
    what: &str,
    subject: String,
    body: &Value,
) -> Result<Value, Error> {
    let began = tokio::time::Instant::now();
    loop {
        let answer: Result<Value, _> = context.request(subject.clone(), body).await;
        let (reason, code, patience) = match answer {
            Ok(answer) => {
                let Some(error) = answer.get("error") else { return Ok(answer) };
                let reason = error["description"].as_str().unwrap_or("refused without a reason").to_owned();
                let code = error["err_code"].as_u64();
                let is_early = code.is_some_and(|code| NOT_YET.contains(&code));
                (reason, code, if is_early { KNOWN_WITHIN } else { Duration::ZERO })
            }
            Err(error) => {
                let patience = match error.kind() {
                    RequestErrorKind::NoResponders => SERVED_WITHIN,
                    // The server was restarted under the request. What can be done twice is asked again, once.
                    RequestErrorKind::TimedOut if is_repeatable(&subject) => KNOWN_WITHIN,
                    _ => Duration::ZERO,
                };
                (error.to_string(), None, patience)
            }
        };
        if began.elapsed() >= patience {
            return Err(Error::JetStream { what: what.to_owned(), reason, code });
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}
