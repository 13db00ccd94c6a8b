//! What a smaller limit would drop, asked of the server where its description of the stream does not say.
//!
//! How many messages are older than a time, and how many a subject has too many, only the server can count. It is asked
//! only when such a limit is to become smaller than it is, so that looking at a fleet that is as wanted costs nothing.

use async_nats::Client;
use async_nats::jetstream::{self, Context};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

use super::decide::{Measured, is_older, limit};
use super::{Spec, request};
use crate::Error;

const NO_MESSAGE: u64 = 10_037;

/// Asks what the smaller limits of `spec` would drop, and writes it into `answer`, the server's description of the
/// stream: then [`decide`](super::decide) knows it exactly. What the server does not say stays unknown, and counts as
/// everything.
pub async fn measure(client: &Client, spec: &Spec, answer: &mut Value) {
    measure_with(&jetstream::new(client.clone()), spec, answer).await;
}

pub(super) async fn measure_with(context: &Context, spec: &Spec, answer: &mut Value) {
    if answer["state"]["messages"].as_u64().unwrap_or(0) == 0 {
        return;
    }
    let (age, of_subject) = spec.unforeseeable();
    let nanoseconds = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    let shrinks = |field: &str, new: Option<u64>| {
        new.filter(|new| *new > 0 && limit(&answer["config"][field]).is_none_or(|old| old > *new))
    };
    let age = shrinks("max_age", age.map(nanoseconds));
    let of_subject = shrinks("max_msgs_per_subject", of_subject);
    let stream = spec.stream_name();
    if let Some(measured) = aged(context, &stream, age, answer).await {
        answer["measured"]["max_age"] = measured.to_json();
    }
    if let Some(measured) = crowded(context, &stream, of_subject).await {
        answer["measured"]["max_msgs_per_subject"] = measured.to_json();
    }
}

/// How many messages are older than the limit: those before the first one that is not.
async fn aged(context: &Context, stream: &str, limit: Option<u64>, answer: &Value) -> Option<Measured> {
    let limit = limit?;
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let state = &answer["state"];
    let (oldest, now) = (time(&state["first_ts"])?, time(&answer["ts"])?);
    if !is_older(oldest, now, limit) {
        return Some(Measured { limit, messages: 0, at_most: false });
    }
    let since = now.checked_sub(SignedDuration::from_nanos(i64::try_from(limit).ok()?)).ok()?;
    let (first, messages) = (state["first_seq"].as_u64()?, state["messages"].as_u64()?);
    let ask = json!({ "start_time": since.to_string() });
    match request(context, "look for a message", format!("STREAM.MSG.GET.{stream}"), &ask).await {
        Ok(found) => {
            let before = found["message"]["seq"].as_u64()?.saturating_sub(first);
            // Of the sequences before it some may be deleted already.
            let at_most = state["num_deleted"].as_u64().unwrap_or(0) > 0 && before > 0;
            Some(Measured { limit, messages: before.min(messages), at_most })
        }
        Err(Error::JetStream { code: Some(NO_MESSAGE), .. }) => {
            Some(Measured { limit, messages, at_most: false })
        }
        Err(_) => None,
    }
}

/// How many messages the subjects have beyond the limit.
async fn crowded(context: &Context, stream: &str, limit: Option<u64>) -> Option<Measured> {
    let limit = limit?;
    let ask = json!({ "subjects_filter": ">" });
    let answer = request(context, "count subjects", format!("STREAM.INFO.{stream}"), &ask).await.ok()?;
    let subjects = answer["state"]["subjects"].as_object()?;
    if answer["total"].as_u64()? > u64::try_from(subjects.len()).ok()? {
        return None;
    }
    let beyond = |count: &Value| count.as_u64().unwrap_or(0).saturating_sub(limit);
    Some(Measured { limit, messages: subjects.values().map(beyond).sum(), at_most: false })
}
