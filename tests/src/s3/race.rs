//! Many writers at one key: what a lock and a compare-and-swap stand on.

use super::cases::Answer;
use super::servers::Server;
use super::sigv4::{self, Form};
use crate::http_client;
use futures::future::join_all;
use reqwest::Client;
use std::time::Duration;

/// A request of a race, to the endpoint with this number: the servers of several processes take turns.
async fn send(
    client: &Client,
    server: &Server,
    turn: usize,
    (method, key): (&str, &str),
    headers: &[(String, String)],
    body: &str,
) -> (Answer, bool) {
    let mut again = false;
    let endpoint = &server.endpoints[turn % server.endpoints.len()];
    let path = format!("/{}/{key}", server.bucket);
    loop {
        let signed = sigv4::sign(
            Form::Payload,
            &server.keys,
            endpoint,
            (method, &path),
            &[],
            headers,
            body.as_bytes(),
        );
        // Neither a cut connection nor an overload is an answer to the question: a writer asks again, as SDKs do.
        match Answer::of(client, method, signed).await {
            Some(answer) if answer.status < 500 => return (answer, again),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        again = true;
    }
}

/// What became of a race for a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Rounds with exactly one winner, whose body is what is stored.
    pub clean: usize,
    /// Rounds with another number of winners: that number.
    pub winners: Vec<usize>,
    /// Rounds in which the winner's body is not what is stored.
    pub overwritten: usize,
}

/// In each round, so many takers create one key at once with `If-None-Match: *`.
pub async fn lock(server: &Server, takers: usize, rounds: usize) -> Lock {
    let client = http_client();
    let mut outcome = Lock::default();
    let create = [("if-none-match".to_owned(), "*".to_owned())];
    for round in 0..rounds {
        let key = format!("race/{takers}-{round}.tflock");
        let tries = (0..takers).map(|taker| {
            let (client, key, create) = (&client, &key, &create);
            async move { send(client, server, taker, ("PUT", key), create, &format!("taker {taker}")).await }
        });
        let answers = join_all(tries).await;
        let held = send(&client, server, 0, ("GET", &key), &[], "").await.0.body;
        // Who was told yes; and who was told no when asking again, but wrote the first time.
        let won = |taker: &usize| {
            let (answer, again) = &answers[*taker];
            answer.status == 200 || (*again && held == format!("taker {taker}"))
        };
        let winners: Vec<usize> = (0..takers).filter(won).collect();
        match winners.as_slice() {
            [winner] if held == format!("taker {winner}") => outcome.clean += 1,
            [_] => outcome.overwritten += 1,
            several => outcome.winners.push(several.len()),
        }
    }
    outcome
}

/// So many writers each count one key up so many times with `If-Match`; gives what it stands at, and what it should.
pub async fn count(server: &Server, writers: usize, times: usize) -> (usize, usize) {
    let client = http_client();
    let key = "race/counter";
    send(&client, server, 0, ("PUT", key), &[], "0").await;
    let all = (0..writers).map(|writer| {
        let client = &client;
        async move {
            let mut done = 0;
            while done < times {
                let (read, _) = send(client, server, writer, ("GET", key), &[], "").await;
                let next = read.body.parse::<usize>().expect("a number") + 1;
                let swap = [("if-match".to_owned(), read.headers["etag"].clone())];
                let (written, _) = send(client, server, writer, ("PUT", key), &swap, &next.to_string()).await;
                done += usize::from(written.status == 200);
            }
        }
    });
    join_all(all).await;
    let stands_at = send(&client, server, 0, ("GET", key), &[], "").await.0.body;
    (stands_at.parse().expect("a number"), writers * times)
}
