//! A fleet that `windlass up --edge` has started: the Worker, its Outbox, its nodes, and who runs.

use crate::delivery::{Github, http_client};
use crate::fleet::Fleet;
use crate::{asked, tools};
use async_nats::{Client, ConnectOptions};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

impl Fleet {
    /// Where the Worker answers, without a path.
    ///
    /// # Panics
    /// When there is none.
    pub fn worker_url(&self) -> &str {
        self.report["cloudflare"]["worker_url"].as_str().expect("cloudflare.worker_url")
    }

    /// What the Worker's API answers to who knows its token.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn edge_api(&self, method: &str, path: &str) -> Value {
        let token = fs::read_to_string(self.state().join("secrets/edge-api-token")).expect("the token");
        let method = method.parse().expect("a method");
        let url = format!("{}/api/{path}", self.worker_url());
        let client = http_client();
        let ask = client.request(method, url).bearer_auth(token.trim());
        // It may just have been killed.
        let mut last = String::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let answer = ask.try_clone().expect("a request without a body").send().await;
            let answer = answer.expect("an answer");
            let status = answer.status().as_u16();
            last = answer.text().await.expect("a whole answer");
            if status != 502 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        serde_json::from_str(&last).unwrap_or_else(|_| panic!("{path}: {last}"))
    }

    /// A node, as the Worker's API has it.
    pub async fn node(&self, region: &str, number: usize) -> Value {
        self.edge_api("GET", "status").await["regions"][region]["nodes"][number].take()
    }

    /// Waits until nothing is left in the Outbox.
    ///
    /// # Panics
    /// When something is left for too long.
    pub async fn settle_edge(&self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let outbox = self.edge_api("GET", "status").await["outbox"].take();
            if outbox["events"] == 0 && outbox["bytes"] == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "the Outbox did not empty: {outbox}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The webhook secret that the Worker knows, and a sender that signs with it.
    pub fn github_at_the_edge(&self) -> Github {
        Github::new(&format!("{}/github", self.worker_url()), &self.secret())
    }

    /// The runtime that runs the Worker, once it does.
    ///
    /// # Panics
    /// When it does not in time, or twice.
    pub async fn workerd(&self) -> i32 {
        let mut all = Vec::new();
        asked::eventually("the Worker runs", async || {
            all = self.running("workerd serve");
            !all.is_empty()
        })
        .await;
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    /// The servers of the edge.
    pub fn nodes(&self) -> Vec<i32> {
        self.running("/nats-server --config")
            .into_iter()
            .filter(|pid| Some(*pid) != self.pid("nats"))
            .collect()
    }

    fn running(&self, what: &str) -> Vec<i32> {
        let all = tools::processes_of(self.path()).into_iter();
        all.filter(|(_, command)| command.contains(what)).map(|(pid, _)| pid).collect()
    }

    /// A client of the fleet's account, through the Worker, that connects again whenever it has to.
    pub async fn through(&self, region: &str) -> Client {
        let creds = self.report["nats"]["creds"].as_str().expect("nats.creds");
        let url = format!("{}/nats/{region}", self.worker_url().replacen("http", "ws", 1));
        let options = ConnectOptions::with_credentials_file(creds).await.expect("the credentials");
        let options = options
            .max_reconnects(None)
            .reconnect_delay_callback(|_| Duration::from_millis(100))
            .connection_timeout(Duration::from_secs(20))
            .request_timeout(Some(Duration::from_secs(2)));
        options.connect(url).await.expect("a client through the Worker")
    }

    /// Waits until the node runs and its connection to the hub is up.
    pub async fn node_is_up(&self, region: &str, number: usize) {
        asked::eventually("the node is up", async || {
            let node = self.node(region, number).await;
            node["state"] == "running" && node["hub_connected"] == true
        })
        .await;
    }
}
