//! The load generator: webhooks over keep-alive connections, each waiting for its answer before its next request.
//!
//! It shares the machine's cores with what it measures, so it does as little as it can: one thread, one write a
//! request, and of the answer only the status and the length are read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Result;
use crate::clock::{Clock, Outcome, Plan, Samples, on_own_thread};
use crate::delivery::Deliveries;
use crate::payload::Pool;

/// After the window, the last answers have this long: more than a receiver may take for one.
const LAST_ANSWERS: Duration = Duration::from_secs(15);

/// Sends webhooks to the receiver at `address` as the plan says.
pub async fn run(
    address: SocketAddr,
    plan: Plan,
    pool: Arc<Pool>,
    deliveries: Arc<Deliveries>,
) -> Result<Outcome> {
    on_own_thread("load", async move {
        let clock = Clock::start(&plan);
        let mut connections = JoinSet::new();
        for _ in 0..plan.in_flight {
            connections.spawn(connection(address, clock, Arc::clone(&pool), Arc::clone(&deliveries)));
        }
        let cpu = clock.watch(plan.watched.clone()).await;
        let mut samples = Vec::with_capacity(plan.in_flight);
        let rest = async {
            while let Some(joined) = connections.join_next().await {
                samples.push(joined??);
            }
            Result::Ok(())
        };
        tokio::time::timeout(LAST_ANSWERS, rest)
            .await
            .map_err(|_| format!("an answer took longer than {} s", LAST_ANSWERS.as_secs()))??;
        Outcome::of(&plan, samples, cpu)
    })
    .await
}

async fn connection(
    address: SocketAddr,
    clock: Clock,
    pool: Arc<Pool>,
    deliveries: Arc<Deliveries>,
) -> Result<Samples> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(16 * 1024);
    let mut answer = vec![0; 8 * 1024];
    let mut samples = Samples::default();
    loop {
        let sent = Instant::now();
        if clock.is_over(sent) {
            return Ok(samples);
        }
        let (number, guid) = deliveries.next();
        pool.write_request(&mut request, number, &guid);
        stream.write_all(&request).await?;
        let (status, text) = read_answer(&mut stream, &mut answer).await?;
        if !(200..300).contains(&status) {
            return Err(format!("the receiver answered {status}: {}", String::from_utf8_lossy(text)).into());
        }
        samples.answered(&clock, status, sent, Instant::now());
    }
}

/// Reads one answer; the connection has nothing else in flight, so all bytes that arrive are its own.
async fn read_answer<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> Result<(u16, &'a [u8])> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("the receiver closed a connection, or its answer is longer than 8 KiB".into());
        }
        filled += read;
        if let Some(answer) = parse_answer(&buffer[..filled])?
            && filled >= answer.length
        {
            return Ok((answer.status, &buffer[answer.body..answer.length]));
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: usize,
    length: usize,
}

/// The status and the extent of an answer whose head is complete.
fn parse_answer(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("not an HTTP answer: {head}"))?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or("an answer without Content-Length")?;
    Ok(Some(Answer { status, body: end + 4, length: end + 4 + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_extent() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        let answer = parse_answer(bytes).unwrap().unwrap();
        assert_eq!(answer, Answer { status: 200, body: bytes.len() - 2, length: bytes.len() });
    }

    #[test]
    fn an_answer_in_pieces_is_waited_for() {
        assert_eq!(parse_answer(b"HTTP/1.1 202 Accepted\r\nContent-Le").unwrap(), None);
    }

    #[test]
    fn anything_else_is_a_mistake() {
        assert!(parse_answer(b"hello\r\n\r\n").is_err());
        assert!(parse_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
