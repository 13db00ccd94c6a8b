//! The test vectors hold for this implementation: for the functions that decide, and for a receiver that runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;
use windlass_events::event::Event;
use windlass_events::headers::{self, Encoding, KEPT};
use windlass_events::payload::Names;
use windlass_events::refusal::Refusal;
use windlass_events::signature::{Keys, Signature, sign};
use windlass_events::{claim_check, subject::subject};
use windlass_tests::vectors::{HeaderCase, SignatureCase, SubjectCase, cases};
use windlass_tests::{Delivery, Fleet, Message, http_client};

fn all_differ<'a>(names: impl IntoIterator<Item = &'a str>, at_least: usize) {
    let mut seen = BTreeSet::new();
    for name in names {
        assert!(seen.insert(name.to_owned()), "two cases are called {name:?}");
    }
    assert!(seen.len() >= at_least, "only {} cases", seen.len());
}

#[test]
fn subjects() {
    let cases: Vec<SubjectCase> = cases("subjects.json");
    all_differ(cases.iter().map(|case| &*case.case), 40);
    for case in cases {
        let body = case.body();
        let result = Names::parse(body.as_bytes()).and_then(|names| subject("github", &case.event, &names));
        let expected = case.subject.ok_or(case.code.unwrap_or_default());
        assert_eq!(result.map_err(|refusal| refusal.code().to_owned()), expected, "{}", case.case);
    }
}

#[test]
fn message_headers() {
    let cases: Vec<HeaderCase> = cases("headers.json");
    all_differ(cases.iter().map(|case| &*case.case), 20);
    for case in cases {
        let request = &case.request;
        let delivery = headers::Delivery {
            id: request.header(headers::DELIVERY).unwrap(),
            event: request.header(headers::EVENT).unwrap(),
            encoding: Encoding::parse(request.header(headers::CONTENT_TYPE).unwrap()).unwrap(),
            kept: KEPT.map(|name| request.header(name)),
        };
        let event = Event::new(
            "github",
            &delivery,
            Bytes::from(request.body.clone()),
            case.received.parse().unwrap(),
        )
        .unwrap();
        let event = match &case.claim_check_bucket {
            Some(bucket) => claim_check::ticket(&event, bucket),
            None => event,
        };
        let count = event.headers.len();
        let found: BTreeMap<String, String> =
            event.headers.into_iter().map(|(name, value)| (name.into_owned(), value)).collect();
        assert_eq!(found, case.headers, "{}", case.case);
        assert_eq!(found.len(), count, "{}: a header is there twice", case.case);
    }
}

#[test]
fn signatures() {
    let cases: Vec<SignatureCase> = cases("signatures.json");
    all_differ(cases.iter().map(|case| &*case.case), 30);
    for case in cases {
        let body = STANDARD.decode(&case.body).unwrap();
        let secrets: Vec<SecretString> = case.secrets.iter().map(|secret| secret.as_str().into()).collect();
        let result = Signature::parse(case.header.as_deref().map(str::as_bytes))
            .and_then(|signature| Keys::new(&secrets).verify(&signature, &body));
        assert_eq!(result.map_err(Refusal::code), case.code.as_deref().map_or(Ok(()), Err), "{}", case.case);
        assert_eq!(case.accept, case.code.is_none(), "{}", case.case);
        if let (true, [secret], Some(header)) = (case.accept, case.secrets.as_slice(), case.header)
            && header == header.to_ascii_lowercase()
        {
            assert_eq!(sign(secret.as_bytes(), &body), header, "{}", case.case);
        }
    }
}

fn by_delivery(messages: &[Message]) -> HashMap<&str, &Message> {
    messages.iter().map(|message| (message.header("X-GitHub-Delivery"), message)).collect()
}

#[tokio::test]
async fn a_receiver_that_runs_gives_these_subjects() {
    let cases: Vec<SubjectCase> = cases("subjects.json");
    let fleet = Fleet::start();
    let github = fleet.github();
    let mut expected = HashMap::new();
    for case in &cases {
        let delivery = Delivery::new(&case.event, case.body());
        let answer = github.deliver(&delivery).await;
        match &case.subject {
            Some(subject) => {
                assert_eq!(answer.status, 200, "{}: {answer:?}", case.case);
                expected.insert(delivery.id, (case, subject));
            }
            None => assert_eq!(Some(answer.code()), case.code.as_deref(), "{}: {answer:?}", case.case),
        }
    }
    let messages = fleet.messages().await;
    assert_eq!(messages.len(), expected.len());
    let found = by_delivery(&messages);
    for (id, (case, subject)) in expected {
        assert_eq!(found[&*id].subject, *subject, "{}", case.case);
        assert_eq!(found[&*id].body, case.body(), "{}", case.case);
    }
}

#[tokio::test]
async fn a_receiver_that_runs_gives_these_headers() {
    let mut cases: Vec<HeaderCase> = cases("headers.json");
    cases.retain(|case| case.claim_check_bucket.is_none());
    let fleet = Fleet::start();
    let secret = fleet.secret();
    let client = http_client();
    let mut expected = HashMap::new();
    for case in &mut cases {
        // The GUIDs of the vectors repeat, and only the first would be stored.
        let (old, id) = (case.headers["ce-id"].clone(), Uuid::new_v4().to_string());
        let mut request = client.post(fleet.url()).body(case.request.body.clone());
        for (name, value) in &case.request.headers {
            request = request.header(name, if *value == old { &id } else { value });
        }
        let signature = sign(secret.as_bytes(), case.request.body.as_bytes());
        let mut request = request.build().unwrap();
        request.headers_mut().insert("x-hub-signature-256", signature.parse().unwrap());
        assert_eq!(client.execute(request).await.unwrap().status(), 200, "{}", case.case);
        for name in ["Nats-Msg-Id", "X-GitHub-Delivery", "ce-id"] {
            case.headers.insert(name.to_owned(), id.clone());
        }
        // When it came is not fixed here.
        case.headers.remove("ce-time");
        expected.insert(id, case);
    }
    let messages = fleet.messages().await;
    let found = by_delivery(&messages);
    for (id, case) in expected {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, values) in found[&*id].headers.iter() {
            assert_eq!(values.len(), 1, "{}: {name}", case.case);
            headers.insert(name.to_string(), values[0].to_string());
        }
        let time = headers.remove("ce-time").unwrap();
        assert!(time.len() == 24 && time.parse::<jiff::Timestamp>().is_ok(), "{}: {time}", case.case);
        assert_eq!(headers, case.headers, "{}", case.case);
    }
}
