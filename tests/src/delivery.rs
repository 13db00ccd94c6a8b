//! Deliveries as GitHub makes them, and what the receiver answers.

use bytes::Bytes;
use reqwest::Client;
use serde_json::Value;
use std::sync::Once;
use std::time::{Duration, Instant};
use uuid::Uuid;
use windlass_events::signature::sign;

/// One delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The GUID.
    pub id: String,
    /// The event's name.
    pub event: String,
    /// The content type.
    pub content_type: &'static str,
    /// More headers, such as those that tell the hook.
    pub headers: Vec<(&'static str, String)>,
    /// The exact bytes.
    pub body: Bytes,
}

impl Delivery {
    /// A delivery of these bytes with a GUID of its own.
    pub fn new(event: &str, body: impl Into<Bytes>) -> Self {
        let id = Uuid::new_v4().to_string();
        let (event, body) = (event.to_owned(), body.into());
        Self { id, event, content_type: "application/json", headers: Vec::new(), body }
    }

    /// A delivery of this payload.
    pub fn json(event: &str, payload: &Value) -> Self {
        Self::new(event, payload.to_string())
    }

    /// A small push to `owner/repository`, told apart by a number.
    pub fn push(owner: &str, repository: &str, number: usize) -> Self {
        Self::json(
            "push",
            &serde_json::json!({
                "ref": "refs/heads/main", "number": number, "padding": "x".repeat(500),
                "repository": { "name": repository, "owner": { "login": owner } },
            }),
        )
    }
}

/// What the receiver answered, and how long that took.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null where there was none or it was not JSON.
    pub body: Value,
    /// From the request to the answer.
    pub took: Duration,
}

impl Answer {
    /// Whether GitHub would count the delivery as successful.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error's code.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// An HTTP client.
pub fn http_client() -> Client {
    // It wants to be told, even where nothing is encrypted.
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    // Longer than GitHub waits, so that a late answer is seen as late and not as lost.
    Client::builder().timeout(Duration::from_secs(30)).build().expect("an HTTP client")
}

/// Gets a URL: the status and the body.
///
/// # Panics
/// When there is no answer.
pub async fn get(url: &str) -> (u16, String) {
    let response = http_client().get(url).send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("a whole answer"))
}

/// Gets a URL of something that may not be there right now: the status, or `None` where nobody answered.
pub async fn status(url: &str) -> Option<u16> {
    Some(http_client().get(url).send().await.ok()?.status().as_u16())
}

/// GitHub's side: signs and posts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Github {
    client: Client,
    /// Where to post.
    pub url: String,
    /// What to sign with.
    pub secret: String,
}

impl Github {
    /// A sender to this URL, signing with this secret.
    pub fn new(url: &str, secret: &str) -> Self {
        Self { client: http_client(), url: url.to_owned(), secret: secret.to_owned() }
    }

    /// Posts a delivery; `Err` when the connection broke before an answer.
    pub async fn try_deliver(&self, delivery: &Delivery) -> Result<Answer, (reqwest::Error, Duration)> {
        let begun = Instant::now();
        let mut request = self.client.post(&self.url);
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        let response = request
            .header("content-type", delivery.content_type)
            .header("x-github-event", &delivery.event)
            .header("x-github-delivery", &delivery.id)
            .header("x-hub-signature-256", sign(self.secret.as_bytes(), &delivery.body))
            .body(delivery.body.clone())
            .send()
            .await
            .map_err(|error| (error, begun.elapsed()))?;
        let status = response.status().as_u16();
        let text = response.bytes().await.map_err(|error| (error, begun.elapsed()))?;
        let body = serde_json::from_slice(&text).unwrap_or_default();
        Ok(Answer { status, body, took: begun.elapsed() })
    }

    /// Posts a delivery to a receiver that is expected to answer.
    pub async fn deliver(&self, delivery: &Delivery) -> Answer {
        self.try_deliver(delivery).await.expect("an answer from the receiver")
    }
}
