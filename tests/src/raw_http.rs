//! HTTP by hand, for requests that no client library would send.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends these bytes to `http://host:port/…` and reads the first answer: its status, its head and its body.
///
/// # Panics
/// When no whole answer comes within ten seconds.
pub async fn exchange(url: &str, request: &[u8]) -> (u16, String, String) {
    tokio::time::timeout(Duration::from_secs(10), try_exchange(url, request))
        .await
        .expect("an answer within ten seconds")
        .expect("an answer")
}

async fn try_exchange(url: &str, request: &[u8]) -> std::io::Result<(u16, String, String)> {
    let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let (mut reading, mut writing) = TcpStream::connect(address).await?.into_split();
    // The answer may come before the request is complete; the rest of the request may then find a closed door.
    let request = request.to_vec();
    let sending = tokio::spawn(async move {
        let _ = writing.write_all(&request).await;
        writing
    });
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let (head, length) = loop {
        let count = reading.read(&mut buffer).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            break (head, length.unwrap_or(0_usize));
        }
    };
    let whole = head.len() + 4 + length;
    while answer.len() < whole {
        let count = reading.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..count]);
    }
    drop(sending);
    let status = head.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = String::from_utf8_lossy(answer.get(head.len() + 4..).unwrap_or_default()).into_owned();
    Ok((status, head, body))
}
