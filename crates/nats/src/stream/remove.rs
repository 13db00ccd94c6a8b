//! Deleting a stream: with what is in it, or only if nothing is.
//!
//! JetStream deletes whatever there is, and knows no condition. So where no message may be lost, the stream first gets
//! another subject that nobody publishes to; what was published before that is counted, and what comes after is not
//! acknowledged by it. A stream that turns out to hold something gets its subjects back.

use async_nats::Client;
use async_nats::jetstream::{self, Context};
use serde_json::{Value, json};

use super::{Loss, Permission, STREAM_NOT_FOUND, request};
use crate::Error;

/// Deletes the stream, which a person knows as `resource`. It is no error when it is gone already.
///
/// # Errors
/// When it holds messages and may not lose them, or the server refuses.
pub async fn remove(
    client: &Client,
    stream: &str,
    resource: &str,
    permission: Permission,
) -> Result<(), Error> {
    let context = jetstream::new(client.clone());
    let what = format!("delete {resource}");
    if permission == Permission::KeepMessages {
        close(&context, stream, resource, &what).await?;
    }
    match request(&context, &what, format!("STREAM.DELETE.{stream}"), &json!({})).await {
        Ok(_) | Err(Error::JetStream { code: Some(STREAM_NOT_FOUND), .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sees that nothing is in it, and that nothing more comes in.
async fn close(context: &Context, stream: &str, resource: &str, what: &str) -> Result<(), Error> {
    let Some(before) = info(context, stream, what).await? else { return Ok(()) };
    let holds = |answer: &Value| match answer["state"]["messages"].as_u64().unwrap_or(0) {
        0 => Ok(()),
        messages => {
            let loss = Loss { messages, ..Loss::default() };
            let reason = format!("it would lose {loss}");
            Err(Error::WouldLose { resource: resource.to_owned(), reason })
        }
    };
    holds(&before)?;
    if before["config"]["sealed"] == true {
        return Ok(());
    }
    let update = format!("STREAM.UPDATE.{stream}");
    let mut closed = before["config"].clone();
    closed["subjects"] = json!([format!("_windlass.closed.{stream}")]);
    request(context, what, update.clone(), &closed).await?;
    let Some(after) = info(context, stream, what).await? else { return Ok(()) };
    let result = holds(&after);
    if result.is_err() {
        request(context, what, update, &before["config"]).await?;
    }
    result
}

/// The server's description of the stream; `None` when there is none.
pub(super) async fn info(context: &Context, stream: &str, what: &str) -> Result<Option<Value>, Error> {
    match request(context, what, format!("STREAM.INFO.{stream}"), &json!({})).await {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::JetStream { code: Some(STREAM_NOT_FOUND), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
