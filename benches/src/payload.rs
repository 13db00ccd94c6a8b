//! What GitHub would send: a pool of signed push events, and the HTTP requests that carry them.
//!
//! The events are built in GitHub's order of keys, with the many URLs of a real `repository` object, and filled up
//! to exactly the wanted size with commits, so that a receiver that scans the JSON meets what it meets in the
//! field. They are signed once, ahead of time: the signature covers the body and the GUID is a header, so that the
//! same body can be sent as any number of deliveries.

use std::fmt::Write;

use bytes::Bytes;
use ring::hmac;

use crate::delivery::GUID_LENGTH;

/// The webhook secret of every receiver in a run.
pub const SECRET: &str = "a secret for measurements only";
/// How many different bodies go round.
const BODIES: usize = 64;
/// How many repositories, and so subjects, the bodies are about.
const REPOSITORIES: usize = 8;
/// Who owns them.
pub const OWNER: &str = "acme";

/// One body with what belongs to it.
pub struct Signed {
    /// The exact bytes.
    pub body: Bytes,
    /// The name of the repository that the event is about.
    pub repository: String,
    /// The subject that the event has in the stream.
    pub subject: String,
    signature: String,
}

/// The bodies of a run and the request's unchanging parts.
pub struct Pool {
    bodies: Vec<Signed>,
    before_delivery: Vec<u8>,
    before_signature: Vec<u8>,
    after_signature: Vec<u8>,
}

impl Pool {
    /// A pool of bodies of exactly `size` bytes each (or of the least that a push event has, if that is more).
    pub fn new(size: usize) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let bodies: Vec<Signed> = (0..BODIES)
            .map(|number| {
                let repository = format!("repository-{}", number % REPOSITORIES);
                let body = push_event(&repository, number, size);
                let signature = hex::encode(hmac::sign(&key, body.as_bytes()));
                let subject = format!("github.{OWNER}.{repository}.push.-");
                Signed { body: Bytes::from(body), repository, subject, signature }
            })
            .collect();
        let length = bodies.first().map_or(0, |signed| signed.body.len());
        Self {
            bodies,
            before_delivery: b"POST /github HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: GitHub-Hookshot/0000000\r\n\
                Accept: */*\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 12345\r\n\
                X-GitHub-Hook-Installation-Target-ID: 67890\r\n\
                X-GitHub-Hook-Installation-Target-Type: organization\r\nX-GitHub-Delivery: "
                .to_vec(),
            before_signature: b"\r\nX-Hub-Signature-256: sha256=".to_vec(),
            after_signature: format!("\r\nContent-Length: {length}\r\n\r\n").into_bytes(),
        }
    }

    /// The body of the delivery with this number.
    pub fn signed(&self, number: u64) -> &Signed {
        // The pool is never empty, and the remainder is less than its length.
        &self.bodies[usize::try_from(number % BODIES as u64).unwrap_or_default()]
    }

    /// Writes the whole request of one delivery into `request`.
    pub fn write_request(&self, request: &mut Vec<u8>, number: u64, guid: &[u8; GUID_LENGTH]) {
        let signed = self.signed(number);
        request.clear();
        request.extend_from_slice(&self.before_delivery);
        request.extend_from_slice(guid);
        request.extend_from_slice(&self.before_signature);
        request.extend_from_slice(signed.signature.as_bytes());
        request.extend_from_slice(&self.after_signature);
        request.extend_from_slice(&signed.body);
    }
}

/// A push event of exactly `size` bytes.
fn push_event(repository: &str, number: usize, size: usize) -> String {
    let after = digits(number, 40);
    let mut event = String::with_capacity(size);
    // Writing to a string cannot fail.
    let _ = write!(
        event,
        r#"{{"ref":"refs/heads/main","before":"{}","after":"{after}","repository":{},"pusher":{{"name":"mona","email":"mona@example.com"}},"sender":{},"created":false,"deleted":false,"forced":false,"base_ref":null,"compare":"https://github.com/{OWNER}/{repository}/compare/{}...{}","commits":["#,
        digits(number + 1, 40),
        repository_object(repository),
        user("mona"),
        digits(number + 1, 12),
        digits(number, 12),
    );
    let end = |filler: usize| {
        let message = "Explain why the count can never be wrong after a restart. ";
        let message: String = message.chars().cycle().take(filler).collect();
        format!(r#"{}],"head_commit":null}}"#, commit(repository, number, &message))
    };
    let least = end(0).len();
    let mut count = 1;
    loop {
        let next =
            format!("{},", commit(repository, number + count, "Count what arrived, not what was sent"));
        if event.len() + next.len() + least > size {
            break;
        }
        event.push_str(&next);
        count += 1;
    }
    let filler = size.saturating_sub(event.len() + least);
    event.push_str(&end(filler));
    event
}

fn commit(repository: &str, number: usize, message: &str) -> String {
    let id = digits(number, 40);
    format!(
        r#"{{"id":"{id}","tree_id":"{}","distinct":true,"message":"{message}","timestamp":"2026-03-04T05:06:07Z","url":"https://github.com/{OWNER}/{repository}/commit/{id}","author":{{"name":"Mona","email":"mona@example.com","username":"mona"}},"committer":{{"name":"GitHub","email":"noreply@github.com","username":"web-flow"}},"added":["src/count.rs"],"removed":[],"modified":["src/lib.rs","README.md"]}}"#,
        digits(number + 7, 40),
    )
}

fn user(login: &str) -> String {
    let mut object =
        format!(r#"{{"login":"{login}","id":583231,"node_id":"MDQ6VXNlcjU4MzIzMQ==","gravatar_id":"""#);
    for part in
        ["followers", "gists", "starred", "subscriptions", "orgs", "repos", "events", "received_events"]
    {
        let _ = write!(object, r#","{part}_url":"https://api.github.com/users/{login}/{part}""#);
    }
    object.push_str(r#","type":"User","site_admin":false}"#);
    object
}

fn repository_object(name: &str) -> String {
    let parts = [
        "keys",
        "hooks",
        "events",
        "assignees",
        "branches",
        "tags",
        "blobs",
        "git_tags",
        "git_refs",
        "trees",
        "statuses",
        "languages",
        "stargazers",
        "contributors",
        "subscribers",
        "subscription",
        "commits",
        "git_commits",
        "comments",
        "issue_comment",
        "contents",
        "compare",
        "merges",
        "archive",
        "downloads",
        "issues",
        "pulls",
        "milestones",
        "notifications",
        "labels",
        "releases",
        "deployments",
    ];
    let mut object = format!(
        r#"{{"id":1296269,"node_id":"MDEwOlJlcG9zaXRvcnkxMjk2MjY5","name":"{name}","full_name":"{OWNER}/{name}","private":true,"owner":{},"html_url":"https://github.com/{OWNER}/{name}","description":null,"fork":false"#,
        user(OWNER),
    );
    for part in parts {
        let _ =
            write!(object, r#","{part}_url":"https://api.github.com/repos/{OWNER}/{name}/{part}{{/id}}""#);
    }
    object.push_str(r#","created_at":1296068472,"pushed_at":1772600767,"size":108,"stargazers_count":80,"language":"Rust","forks":9,"open_issues":2,"topics":["events","streams"],"visibility":"private","default_branch":"main","master_branch":"main"}"#);
    object
}

/// Hexadecimal digits that look like a commit's hash.
fn digits(number: usize, length: usize) -> String {
    let mut value = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut result = String::new();
    while result.len() < length {
        value = value.wrapping_mul(0xd134_2543_de82_ef95).rotate_left(23).wrapping_add(1);
        let _ = write!(result, "{value:016x}");
    }
    result.truncate(length);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Deliveries;

    #[test]
    fn bodies_are_json_of_the_exact_size() {
        let pool = Pool::new(7_000);
        for number in 0..BODIES as u64 {
            let signed = pool.signed(number);
            assert_eq!(signed.body.len(), 7_000);
            let event: serde_json::Value = serde_json::from_slice(&signed.body).unwrap();
            assert_eq!(event["repository"]["owner"]["login"], OWNER);
            assert_eq!(event["repository"]["name"], *signed.repository);
            assert!(event["commits"].as_array().is_some_and(|commits| !commits.is_empty()));
        }
        assert_ne!(pool.signed(0).body, pool.signed(8).body);
    }

    #[test]
    fn a_request_carries_a_signature_that_verifies() {
        let pool = Pool::new(7_000);
        let (number, guid) = Deliveries::seeded(1).next();
        let mut request = Vec::new();
        pool.write_request(&mut request, number, &guid);
        let text = String::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
        };
        let signature = hex::decode(header("X-Hub-Signature-256: sha256=")).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, body.as_bytes(), &signature).unwrap();
        assert_eq!(header("Content-Length:"), body.len().to_string());
        assert_eq!(header("X-GitHub-Delivery:").as_bytes(), guid);
    }
}
