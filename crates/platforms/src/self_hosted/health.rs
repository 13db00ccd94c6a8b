//! Asking the parts on this machine how they are: the smallest HTTP client that can.
//!
//! Local, plain, one request a connection. Readiness is on the path of every `up`, so nothing here sets up TLS, a
//! connection pool or a resolver.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer: status and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Whether the status is one of success.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.body).ok()
    }
}

/// Answers are read up to this size.
const LIMIT: u64 = 4 * 1024 * 1024;

/// `GET path` from a server on this machine.
pub async fn get(address: SocketAddr, path: &str, within: Duration) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the answer ends with the connection and is never chunked.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(LIMIT).read_to_end(&mut bytes).await?;
        parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer"))
    };
    timeout(within, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The address in a URL of ours (`http://127.0.0.1:8222`, `http://127.0.0.1:8080/github`).
pub fn address(url: &str) -> Option<SocketAddr> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next()?.parse().ok()
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!(answer, Answer { status: 503, body: "{\"a\":1}".into() });
        assert!(!answer.is_ok());
        assert_eq!(answer.json().unwrap()["a"], 1);
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().status, 200);
        assert_eq!(parse(b"nonsense"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn addresses_are_found() {
        assert_eq!(address("http://127.0.0.1:8222"), "127.0.0.1:8222".parse().ok());
        assert_eq!(address("http://[::1]:1/github"), "[::1]:1".parse().ok());
        assert_eq!(address("127.0.0.1:8222"), None);
    }
}
