//! Where events are delivered to: over HTTP, or as messages.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, context::GetStreamByNameErrorKind};
use async_nats::{Client, HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use windlass_events::consume::{Names, Payloads, Reader, StoredEvent, resign};
use windlass_events::headers::{DELIVERY, MESSAGE_ID};

use super::super::connection::secret;
use super::super::error::Error;
use super::super::http::Poster;
use super::super::retry::{self, Verdict, judge};
use super::tally::Outcome;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// What the command line says about the target.
#[derive(Debug)]
pub struct Options {
    /// A URL, or the beginning of a subject.
    pub to: String,
    /// Where the secret is.
    pub secret_file: Option<PathBuf>,
    /// Whether deliveries get new GUIDs.
    pub new_delivery: bool,
    /// Whether the original subject stays whole.
    pub keep_subject: bool,
    /// How often to try.
    pub attempts: u32,
    /// How long to wait for an answer.
    pub within: Duration,
}

impl Options {
    fn is_url(&self) -> bool {
        self.to.starts_with("http://") || self.to.starts_with("https://")
    }

    /// Finds out what can never work before anything is connected.
    pub fn check(&self) -> Result<(), Failure> {
        let wrong = |reason: &str| Error::Target { target: self.to.clone(), reason: reason.to_owned() };
        if self.is_url() {
            if self.keep_subject {
                return Err(wrong("--keep-subject is for subjects, and this is a URL").into());
            }
            return Poster::new(&self.to, self.within).map(|_| ());
        }
        check_subject(&self.to).map_err(|reason| wrong(reason).into())
    }
}

fn check_subject(subject: &str) -> Result<(), &'static str> {
    if subject.contains("://") {
        return Err("only http:// and https:// URLs can be posted to");
    }
    if subject.split('.').any(str::is_empty) {
        return Err("a subject has a name before and after every dot");
    }
    if subject.contains(|character: char| {
        character.is_whitespace() || character.is_control() || "*>".contains(character)
    }) {
        return Err("a subject to publish to has no white space, '*' or '>'");
    }
    if subject.starts_with('$') {
        return Err("subjects that begin with '$' are NATS's own");
    }
    Ok(())
}

/// Where events are delivered to.
pub enum Target {
    /// Over HTTP.
    Url(UrlTarget),
    /// As messages.
    Subject(Box<SubjectTarget>),
}

/// A webhook receiver.
pub struct UrlTarget {
    poster: Poster,
    secret: SecretString,
    payloads: Arc<Payloads>,
    new_delivery: bool,
}

/// Subjects with a common beginning.
pub struct SubjectTarget {
    client: Client,
    jetstream: jetstream::Context,
    beginning: String,
    keep_subject: bool,
    new_delivery: bool,
    acknowledged: bool,
    within: Duration,
}

/// What became of one attempt.
enum Attempt {
    Final(Outcome),
    Again { outcome: Outcome, wish: Option<Duration> },
}

impl Target {
    /// Prepares the target.
    pub async fn new(
        options: &Options,
        client: &Client,
        reader: &Reader,
        context: &Context,
    ) -> Result<Self, Failure> {
        if options.is_url() {
            return Ok(Self::Url(UrlTarget {
                poster: Poster::new(&options.to, options.within)?,
                secret: secret(options.secret_file.as_deref(), context)?,
                payloads: reader.payloads().clone(),
                new_delivery: options.new_delivery,
            }));
        }
        let jetstream = jetstream::new(client.clone());
        let subjects = format!("{}.>", options.to);
        let acknowledged = match jetstream.stream_by_subject(subjects.clone()).await {
            Ok(_) => true,
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => false,
            Err(error) => {
                let reason = format!("no answer to which stream takes it: {error}");
                return Err(Error::Target { target: options.to.clone(), reason }.into());
            }
        };
        if !acknowledged && !context.quiet() {
            output::note(&format!("no stream takes {subjects}: the events go to whoever is subscribed now"));
        }
        Ok(Self::Subject(Box::new(SubjectTarget {
            client: client.clone(),
            jetstream,
            beginning: options.to.clone(),
            keep_subject: options.keep_subject,
            new_delivery: options.new_delivery,
            acknowledged,
            within: options.within,
        })))
    }

    /// Delivers an event, trying so often. `stop` ends the trying.
    pub async fn deliver(&self, event: &StoredEvent, attempts: u32, stop: &AtomicBool) -> Outcome {
        let delivery = self.delivery(event);
        let mut attempt = 1;
        loop {
            let result = match self {
                Self::Url(target) => target.attempt(event, &delivery).await,
                Self::Subject(target) => target.attempt(event, &delivery).await,
            };
            match result {
                Attempt::Final(outcome) => return outcome,
                Attempt::Again { outcome, wish } => {
                    if attempt >= attempts || stop.load(Ordering::Relaxed) {
                        return outcome;
                    }
                    sleep(retry::delay(attempt, wish)).await;
                    attempt += 1;
                }
            }
        }
    }

    /// The GUID to deliver with: one for all attempts.
    fn delivery(&self, event: &StoredEvent) -> String {
        let new_delivery = match self {
            Self::Url(target) => target.new_delivery,
            Self::Subject(target) => target.new_delivery,
        };
        if new_delivery { Uuid::new_v4().to_string() } else { event.id() }
    }

    /// Waits until everything is out.
    pub async fn finish(&self) {
        if let Self::Subject(target) = self
            && let Err(error) = target.client.flush().await
        {
            tracing::warn!(%error, "the last messages may not have reached NATS");
        }
    }
}

impl UrlTarget {
    async fn attempt(&self, event: &StoredEvent, delivery: &str) -> Attempt {
        let body = match self.payloads.body(event).await {
            Ok(body) => body,
            Err(error) => {
                return Attempt::Final(Outcome::Failed {
                    reason: format!("{}: {error}", error.code()),
                    target: false,
                });
            }
        };
        let headers = resign::headers(event, &body, &self.secret, Some(delivery));
        let answer = match self.poster.post(headers, body).await {
            Ok(answer) => answer,
            Err(reason) => return again(reason, None),
        };
        match judge(answer.status) {
            Verdict::Taken => {
                Attempt::Final(Outcome::Taken { duplicate: answer.json()["duplicate"] == true })
            }
            Verdict::Refused => {
                Attempt::Final(Outcome::Refused { status: answer.status, message: answer.message() })
            }
            Verdict::Again => again(format!("{} {}", answer.status, answer.message()), answer.retry_after),
        }
    }
}

impl SubjectTarget {
    async fn attempt(&self, event: &StoredEvent, delivery: &str) -> Attempt {
        let subject = subject(&self.beginning, event, self.keep_subject);
        let headers = headers(event, delivery, self.new_delivery);
        let body = event.body.clone();
        if !self.acknowledged {
            return match self.client.publish_with_headers(subject, headers, body).await {
                Ok(()) => Attempt::Final(Outcome::Taken { duplicate: false }),
                Err(error) => again(error.to_string(), None),
            };
        }
        let publishing = async {
            let acknowledgement = self.jetstream.publish_with_headers(subject, headers, body).await?;
            acknowledgement.await
        };
        match timeout(self.within, publishing).await {
            Ok(Ok(stored)) => Attempt::Final(Outcome::Taken { duplicate: stored.duplicate }),
            Ok(Err(error)) => again(error.to_string(), None),
            Err(_) => again("no acknowledgement in time".to_owned(), None),
        }
    }
}

fn again(reason: String, wish: Option<Duration>) -> Attempt {
    Attempt::Again { outcome: Outcome::Failed { reason, target: true }, wish }
}

/// The subject behind a new beginning.
fn subject(beginning: &str, event: &StoredEvent, keep: bool) -> String {
    let names = match Names::parse(&event.subject) {
        Some((prefix, _)) if !keep => &event.subject[prefix.len() + 1..],
        _ => &event.subject,
    };
    format!("{beginning}.{names}")
}

/// The headers as they are stored; a new GUID is put wherever the old one stands.
fn headers(event: &StoredEvent, delivery: &str, new_delivery: bool) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in &event.headers {
        let names_delivery =
            [MESSAGE_ID, DELIVERY, "ce-id"].iter().any(|known| name.eq_ignore_ascii_case(known));
        let value = if new_delivery && names_delivery { delivery } else { value };
        if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_str(value)) {
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::super::super::view::tests::view;
    use super::*;

    fn options(to: &str, keep_subject: bool) -> Options {
        Options {
            to: to.into(),
            secret_file: None,
            new_delivery: false,
            keep_subject,
            attempts: 1,
            within: Duration::from_secs(1),
        }
    }

    #[test]
    fn targets_that_cannot_work_are_told_at_once() {
        for to in ["replayed", "a.b.c", "http://127.0.0.1:1/x", "https://example.com"] {
            assert!(options(to, false).check().is_ok(), "{to}");
        }
        for to in ["", ".", "a.", "a..b", "a.*", ">", "a b", "$JS.API", "ftp://x", "http://"] {
            let failure = options(to, false).check().unwrap_err();
            assert_eq!(failure.parts().map(|(code, .., exit)| (code, exit)), Some(("WL0364", 3)), "{to}");
        }
        assert!(options("http://127.0.0.1:1/x", true).check().is_err());
    }

    #[test]
    fn subjects_get_a_new_beginning() {
        let event = view("github.acme.api%2Ev2.push.-", "application/json", "{}").event;
        assert_eq!(subject("replayed", &event, false), "replayed.acme.api%2Ev2.push.-");
        assert_eq!(subject("a.b", &event, true), "a.b.github.acme.api%2Ev2.push.-");
    }

    #[test]
    fn headers_stay_but_for_a_new_guid() {
        let event = view("github.acme.api.push.-", "application/json", "{}").event;
        let same = headers(&event, "72d3162e", false);
        assert_eq!(same.get("X-GitHub-Delivery").map(HeaderValue::as_str), Some("72d3162e"));
        assert_eq!(same.len(), event.headers.len());
        let new = headers(&event, "other", true);
        for name in ["Nats-Msg-Id", "X-GitHub-Delivery"] {
            assert_eq!(new.get(name).map(HeaderValue::as_str), Some("other"), "{name}");
        }
        assert_eq!(new.get("X-GitHub-Event").map(HeaderValue::as_str), Some("push"));
    }
}
