//! Which subjects a user needs for what it is there for.

use crate::jwt::{Access, Permissions};

/// The subjects of GitHub's events.
pub const EVENT_SUBJECTS: &str = "github.>";

/// Where answers arrive.
pub const INBOX: &str = "_INBOX.>";

/// What a user publishes to who looks at streams and buckets and reads them through consumers: every request of
/// JetStream that neither makes, changes nor deletes a stream, and acknowledgements.
pub const READ: [&str; 13] = [
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.NAMES.*",
    "$JS.API.CONSUMER.LIST.*",
    "$JS.API.CONSUMER.INFO.>",
    "$JS.API.CONSUMER.MSG.NEXT.>",
    "$JS.ACK.>",
    "$JS.FC.>",
];

/// What a user publishes to who may do everything with streams, consumers and buckets.
pub const MANAGE: [&str; 3] = ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>"];

/// The webhook receiver: it adds events and payloads and can look whether a payload is there. It can neither read
/// events, nor change, purge or delete anything, nor see what others do. Because it cannot purge, it cannot replace a
/// payload either: one that is there must be left as it is.
#[must_use]
pub fn receiver(stream: &str, bucket: &str) -> Permissions {
    let chunks = format!("$O.{bucket}.C.*");
    let entries = format!("$O.{bucket}.M.*");
    let bucket = format!("OBJ_{bucket}");
    let publish = Access::only([
        EVENT_SUBJECTS,
        &chunks,
        &entries,
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        &format!("$JS.API.STREAM.INFO.{stream}"),
        &format!("$JS.API.STREAM.INFO.{bucket}"),
        &format!("$JS.API.DIRECT.GET.{bucket}.{entries}"),
    ]);
    Permissions { publish, subscribe: Access::only([INBOX]), responses: false }
}
