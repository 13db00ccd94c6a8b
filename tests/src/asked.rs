//! What the servers themselves say: asked over their monitoring endpoints, over JetStream's API, and by trying.

use crate::{Fleet, get};
use async_nats::{Client, ConnectOptions, Event};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long to wait for what servers tell each other.
const SOON: Duration = Duration::from_secs(30);

/// Waits until it is so.
///
/// # Panics
/// When it is not so in time.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The claims of a token, which is not verified.
///
/// # Panics
/// When it is not a token.
pub fn claims(token: &str) -> Value {
    let payload = token.trim().split('.').nth(1).expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("Base64")).expect("claims are JSON")
}

impl Fleet {
    /// Where a part listens, as its agent says: clients, WebSocket and monitoring of a server.
    ///
    /// # Panics
    /// When it does not run.
    pub fn listens(&self, part: &str) -> Vec<SocketAddr> {
        let status = fs::read(self.state().join("agent/status.json")).expect("an agent");
        let status: Value = serde_json::from_slice(&status).expect("the status is JSON");
        let all = status["parts"][part]["part"]["listens"].as_array().unwrap_or_else(|| panic!("no {part}"));
        all.iter().map(|one| one.as_str().expect("a text").parse().expect("an address")).collect()
    }

    /// What a server answers on a monitoring path, such as `/varz`.
    pub async fn monitor(&self, server: &str, path: &str) -> Value {
        let (status, body) = get(&format!("http://{}{path}", self.listens(server)[2])).await;
        assert_eq!(status, 200, "{server}{path}: {body}");
        serde_json::from_str(&body).expect("monitoring is JSON")
    }

    /// A user's credentials.
    pub fn creds(&self, account: &str, user: &str) -> PathBuf {
        self.state().join(format!("creds/{account}/{user}.creds"))
    }

    /// A client of a user on a server, or why it is refused.
    ///
    /// # Errors
    /// What the server, or the client library, says.
    pub async fn try_connect(&self, server: &str, creds: &PathBuf) -> Result<Client, String> {
        let url = format!("nats://{}", self.listens(server)[0]);
        let options =
            ConnectOptions::with_credentials_file(creds).await.map_err(|error| error.to_string())?;
        options.connect(url).await.map_err(|error| error.to_string())
    }

    /// A client of a user on a server.
    pub async fn client(&self, server: &str, account: &str, user: &str) -> Client {
        let client = self.try_connect(server, &self.creds(account, user)).await;
        client.unwrap_or_else(|error| panic!("{account}/{user}: {error}"))
    }

    /// An account's public key.
    ///
    /// # Panics
    /// When it has no token.
    pub fn account_key(&self, account: &str) -> String {
        let token = fs::read_to_string(self.state().join(format!("jwt/accounts/{account}.jwt")));
        claims(&token.expect("the account's token"))["sub"].as_str().expect("a key").to_owned()
    }

    /// The same text with the accounts' names in place of their keys.
    pub fn named(&self, text: &str) -> String {
        let accounts = fs::read_dir(self.state().join("jwt/accounts")).into_iter().flatten().flatten();
        accounts.fold(text.to_owned(), |text, file| {
            let name = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
            text.replace(&self.account_key(&name), &name)
        })
    }

    /// What a server knows of an account: its claims as they count there, with accounts by their names.
    pub async fn account_at(&self, server: &str, account: &str) -> Value {
        let path = format!("/accountz?acc={}", self.account_key(account));
        let answer = self.monitor(server, &path).await;
        let claims = answer["account_detail"]["decoded_jwt"]["nats"].to_string();
        serde_json::from_str(&self.named(&claims)).expect("claims are JSON")
    }

    /// What JetStream answers an account's administrator.
    pub async fn jetstream(&self, server: &str, account: &str, subject: &str) -> Value {
        let client = self.client(server, account, "admin").await;
        let answer = client.request(format!("$JS.API.{subject}"), "{}".into()).await;
        match answer {
            Ok(answer) => serde_json::from_slice(&answer.payload).expect("JetStream answers JSON"),
            Err(error) => json!({ "error": { "description": error.to_string() } }),
        }
    }

    /// Whether a user may publish to a subject, by trying.
    pub async fn may_publish(&self, server: &str, account: &str, user: &str, subject: &str) -> bool {
        let (client, refused) = self.watched(server, account, user).await;
        client.publish(subject.to_owned(), "".into()).await.expect("the client takes it");
        !was_refused(&client, refused, &format!("publish to \"{subject}\"")).await
    }

    /// Whether a user may subscribe to a subject, by trying.
    pub async fn may_subscribe(&self, server: &str, account: &str, user: &str, subject: &str) -> bool {
        let (client, refused) = self.watched(server, account, user).await;
        let _subscription = client.subscribe(subject.to_owned()).await.expect("the client takes it");
        !was_refused(&client, refused, &format!("subscription to \"{subject}\"")).await
    }

    /// A client, and what the server refuses it.
    async fn watched(
        &self,
        server: &str,
        account: &str,
        user: &str,
    ) -> (Client, mpsc::UnboundedReceiver<String>) {
        let (refusals, refused) = mpsc::unbounded_channel();
        let creds = self.creds(account, user);
        let options = ConnectOptions::with_credentials_file(&creds).await.expect("the user's credentials");
        let options = options.event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = refusals.send(error.to_string());
            }
            async {}
        });
        let client = options.connect(format!("nats://{}", self.listens(server)[0])).await;
        (client.unwrap_or_else(|error| panic!("{account}/{user}: {error}")), refused)
    }
}

/// The server answers in order: what it refused is said before it answers, or refuses, what is asked last.
async fn was_refused(client: &Client, mut refused: mpsc::UnboundedReceiver<String>, what: &str) -> bool {
    const LAST: &str = "windlass.tests.nobody.answers";
    let what = what.to_lowercase();
    let asking = client.request(LAST, "".into());
    tokio::pin!(asking);
    loop {
        let said = tokio::select! {
            biased;
            said = refused.recv() => said.unwrap_or_default().to_lowercase(),
            // Who may ask that may do anything, and is refused nothing.
            _ = &mut asking => return false,
        };
        if said.contains(&what) || said.contains(LAST) {
            return said.contains(&what);
        }
    }
}
