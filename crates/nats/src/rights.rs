//! What a user may do, in a few words for people, read from the user's token.

use crate::permissions::{INBOX, MANAGE, READ};
use serde::Serialize;
use serde_json::Value;

/// How many subjects are named before the rest are counted.
const NAMED: usize = 3;

/// What a user's token allows. In NATS's format an empty list of what is allowed allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// Subjects to publish to.
    pub publish: Vec<String>,
    /// Subjects to subscribe to.
    pub subscribe: Vec<String>,
    /// Of those, subjects not to publish to.
    pub deny_publish: Vec<String>,
    /// Of those, subjects not to subscribe to.
    pub deny_subscribe: Vec<String>,
    /// Whether it may answer requests wherever the answer goes to.
    pub responses: bool,
}

impl Rights {
    /// The rights in a user token's claims.
    #[must_use]
    pub fn of(claims: &Value) -> Self {
        let list = |side: &str, which: &str| -> Vec<String> {
            let subjects = claims["nats"][side][which].as_array().into_iter().flatten();
            subjects.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            publish: list("pub", "allow"),
            subscribe: list("sub", "allow"),
            deny_publish: list("pub", "deny"),
            deny_subscribe: list("sub", "deny"),
            responses: claims["nats"]["resp"].is_object(),
        }
    }

    /// In short: `publish orders.>; subscribe github.>; streams: read`.
    #[must_use]
    pub fn in_short(&self) -> String {
        let publish = side(&self.publish, &self.deny_publish);
        let subscribe = side(&self.subscribe, &self.deny_subscribe);
        if (publish.as_deref(), subscribe.as_deref()) == (Some("everything"), Some("everything")) {
            return "everything in the account".to_owned();
        }
        let has = |needed: &[&str]| {
            needed.iter().all(|subject| self.publish.iter().any(|allowed| allowed == subject))
        };
        let streams = if has(&MANAGE) {
            Some("streams: manage".to_owned())
        } else {
            has(&READ).then(|| "streams: read".to_owned())
        };
        let parts = [
            publish.map(|subjects| format!("publish {subjects}")),
            subscribe.map(|subjects| format!("subscribe {subjects}")),
            streams,
            self.responses.then(|| "answer requests".to_owned()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
    }
}

/// `None` where nothing is left to name. Requests to JetStream and inboxes are means to an end, and are left out.
fn side(allow: &[String], deny: &[String]) -> Option<String> {
    if deny.iter().any(|subject| subject == ">") {
        return None;
    }
    let but = if deny.is_empty() { String::new() } else { format!(" but {}", named(deny.iter())) };
    if allow.is_empty() || allow.iter().any(|subject| subject == ">") {
        return Some(format!("everything{but}"));
    }
    let own: Vec<&String> =
        allow.iter().filter(|subject| !subject.starts_with("$JS.") && *subject != INBOX).collect();
    (!own.is_empty()).then(|| named(own.into_iter()) + &but)
}

fn named<'a>(subjects: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<&str> = subjects.map(String::as_str).collect();
    let more = all.len().saturating_sub(NAMED);
    let first = all[..all.len() - more].join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::{Access, Permissions};
    use serde_json::json;

    fn subjects(own: &[&str], more: &[&str]) -> Access {
        let allow = own.iter().chain(more).map(|subject| (*subject).to_owned()).collect();
        Access::Only { allow, except: Vec::new() }
    }

    fn short(permissions: &Permissions) -> String {
        Rights::of(&json!({ "nats": permissions.to_json() })).in_short()
    }

    #[test]
    fn rights_read_well() {
        assert_eq!(short(&Permissions::everything()), "everything in the account");
        let receiver = crate::permissions::receiver("GITHUB", "GITHUB_PAYLOADS");
        assert_eq!(short(&receiver), "publish github.>, $O.GITHUB_PAYLOADS.C.*, $O.GITHUB_PAYLOADS.M.*");
        let reader = Permissions {
            publish: subjects(&[], &READ),
            subscribe: subjects(&["github.>"], &[INBOX]),
            responses: false,
        };
        assert_eq!(short(&reader), "subscribe github.>; streams: read");
        let service = Permissions {
            publish: subjects(&["a", "b", "c", "d", "e"], &MANAGE),
            subscribe: subjects(&[], &[]),
            responses: true,
        };
        assert_eq!(short(&service), "publish a, b, c and 2 more; streams: manage; answer requests");
        let nobody =
            Permissions { publish: subjects(&[], &[]), subscribe: subjects(&[], &[]), responses: false };
        assert_eq!(short(&nobody), "nothing");
        let but = Access::Everything { except: vec!["secret.>".into()] };
        let most = Permissions { publish: but.clone(), subscribe: but, responses: false };
        assert_eq!(short(&most), "publish everything but secret.>; subscribe everything but secret.>");
    }
}
