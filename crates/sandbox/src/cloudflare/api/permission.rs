//! Which permission a request needs, and how Cloudflare refuses a token that lacks it. Pure.

use super::answer::Refusal;
use super::state::{State, Token, hash};
use http::Method;
use std::borrow::Cow;

/// The permissions that there are here, by Cloudflare's names. Each has the forms `… Read` and `… Write`.
pub const GROUPS: &[&str] = &[
    "Account Analytics",
    "Account Settings",
    "API Tokens",
    "Containers",
    "Memberships",
    "User Details",
    "Workers KV Storage",
    "Workers R2 Storage",
    "Workers Routes",
    "Workers Scripts",
    "Zone",
];

/// Which group each path belongs to: the first row that fits decides. `*` is any one segment, and what follows the last
/// one does not matter.
const TABLE: &[(&[&str], Option<&str>)] = &[
    (&["user", "tokens", "verify"], None),
    (&["accounts", "*", "tokens", "verify"], None),
    (&["user", "tokens"], Some("API Tokens")),
    (&["accounts", "*", "tokens"], Some("API Tokens")),
    (&["user"], Some("User Details")),
    (&["memberships"], Some("Memberships")),
    (&["graphql"], Some("Account Analytics")),
    (&["accounts", "*", "r2"], Some("Workers R2 Storage")),
    (&["accounts", "*", "storage", "kv"], Some("Workers KV Storage")),
    (&["accounts", "*", "workers"], Some("Workers Scripts")),
    (&["accounts", "*", "containers"], Some("Containers")),
    (&["accounts"], Some("Account Settings")),
    (&["zones", "*", "workers"], Some("Workers Routes")),
    (&["zones"], Some("Zone")),
];

/// Paths that are asked with POST and change nothing.
const READS: &[&[&str]] =
    &[&["graphql"], &["accounts", "*", "storage", "kv", "namespaces", "*", "bulk", "get"]];

fn fits(pattern: &[&str], segments: &[&str]) -> bool {
    pattern.len() <= segments.len()
        && pattern.iter().zip(segments).all(|(wanted, segment)| *wanted == "*" || wanted == segment)
}

/// The permission that a request needs: `Workers Scripts Write`. `None`: a valid token is enough.
pub fn needed(method: &Method, segments: &[&str]) -> Option<Cow<'static, str>> {
    let group = TABLE.iter().find(|(pattern, _)| fits(pattern, segments)).and_then(|(_, group)| *group)?;
    let reads =
        matches!(*method, Method::GET | Method::HEAD) || READS.iter().any(|path| fits(path, segments));
    Some(format!("{group} {}", if reads { "Read" } else { "Write" }).into())
}

/// Whether a token with these permissions has this one. Who may write may read.
pub fn allows(permissions: &[String], needed: &str) -> bool {
    let written = needed.strip_suffix(" Read").map(|group| format!("{group} Write"));
    permissions.iter().any(|held| held == needed || written.as_ref() == Some(held))
}

/// All permissions that there are.
pub fn all() -> Vec<String> {
    GROUPS.iter().map(|group| format!("{group} Write")).collect()
}

/// The token of a request, and its id.
///
/// # Errors
/// As Cloudflare refuses a request without a token, with a malformed one, and with one that it does not know.
pub fn token_of<'state>(
    state: &'state State,
    authorization: Option<&str>,
    now: u64,
) -> Result<(&'state str, &'state Token), Refusal> {
    let Some(authorization) = authorization else {
        let text = "Missing X-Auth-Key, X-Auth-Email or Authorization headers";
        return Err(Refusal::new(400, 9106, text));
    };
    let malformed = || Refusal {
        chain: Some((6111, "Invalid format for Authorization header")),
        ..Refusal::new(400, 6003, "Invalid request headers")
    };
    let value = authorization.strip_prefix("Bearer ").ok_or_else(malformed)?.trim();
    let legible = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if value.len() < 40 || !value.bytes().all(legible) {
        return Err(malformed());
    }
    // What is compared are hashes, so the time that it takes tells nothing of the value.
    let hash = hash(value.as_bytes());
    let found = state.tokens.iter().find(|(_, token)| token.hash == hash);
    let (id, token) = found.ok_or_else(|| Refusal::new(401, 1000, "Invalid API Token"))?;
    if token.disabled || token.expires.is_some_and(|end| end <= now) {
        return Err(Refusal::new(401, 1000, "Invalid API Token"));
    }
    Ok((id, token))
}

/// Refuses what a token may not do, and what is another account's.
pub fn check(state: &State, token: &Token, method: &Method, segments: &[&str]) -> Result<(), Refusal> {
    if let ["accounts", account, ..] = segments {
        if account.len() != 32 || !account.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Refusal::no_route(&format!("/client/v4/{}", segments.join("/"))));
        }
        if *account != state.account_id {
            return Err(match segments.get(2..) {
                None | Some([]) => Refusal::new(403, 9109, "Unauthorized to access requested resource"),
                Some(_) => Refusal::authentication(),
            });
        }
    }
    match needed(method, segments) {
        Some(needed) if !allows(&token.permissions, &needed) => Err(match segments.first() {
            Some(&("user" | "zones" | "memberships")) => {
                Refusal::new(403, 9109, "Unauthorized to access requested resource")
            }
            _ => Refusal::authentication(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<&str> {
        path.split('/').collect()
    }

    #[test]
    fn what_each_path_needs() {
        for (method, path, wanted) in [
            (Method::GET, "user/tokens/verify", None),
            (Method::GET, "accounts/a/tokens/verify", None),
            (Method::POST, "user/tokens", Some("API Tokens Write")),
            (Method::GET, "accounts/a/r2/buckets", Some("Workers R2 Storage Read")),
            (Method::POST, "accounts/a/r2/temp-access-credentials", Some("Workers R2 Storage Write")),
            (Method::PUT, "accounts/a/workers/scripts/x", Some("Workers Scripts Write")),
            (Method::POST, "accounts/a/storage/kv/namespaces/n/bulk/get", Some("Workers KV Storage Read")),
            (
                Method::POST,
                "accounts/a/storage/kv/namespaces/n/bulk/delete",
                Some("Workers KV Storage Write"),
            ),
            (Method::POST, "graphql", Some("Account Analytics Read")),
            (Method::GET, "zones/z/workers/routes", Some("Workers Routes Read")),
        ] {
            assert_eq!(needed(&method, &segments(path)).as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn who_may_write_may_read() {
        let held = ["Workers Scripts Write".to_owned()];
        assert!(allows(&held, "Workers Scripts Read") && allows(&held, "Workers Scripts Write"));
        assert!(!allows(&["Workers Scripts Read".to_owned()], "Workers Scripts Write"));
        assert!(!allows(&held, "Containers Read"));
    }

    #[test]
    fn refusals() {
        let value = "a".repeat(40);
        let mut state = State { account_id: "0".repeat(32), ..State::default() };
        let token = Token { hash: hash(value.as_bytes()), expires: Some(10), ..Token::default() };
        state.tokens.insert("id".into(), token);
        let code = |authorization: Option<&str>, now| {
            token_of(&state, authorization, now).map_err(|refusal| refusal.code).map(|(id, _)| id)
        };
        assert_eq!(code(None, 0), Err(9106));
        assert_eq!(code(Some("Bearer short"), 0), Err(6003));
        assert_eq!(code(Some(&format!("Bearer {}", "b".repeat(40))), 0), Err(1000));
        assert_eq!(code(Some(&format!("Bearer {value}")), 0), Ok("id"));
        assert_eq!(code(Some(&format!("Bearer {value}")), 10), Err(1000), "it has ended");
        let token = &state.tokens["id"];
        let refused = |path: &str| check(&state, token, &Method::GET, &segments(path)).unwrap_err().code;
        assert_eq!(refused("accounts/nonsense/r2/buckets"), 7003);
        assert_eq!(refused(&format!("accounts/{}/r2/buckets", "1".repeat(32))), 10000);
        assert_eq!(refused(&format!("accounts/{}/r2/buckets", state.account_id)), 10000);
        assert_eq!(refused("zones/z/workers/routes"), 9109);
    }
}
