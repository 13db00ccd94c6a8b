//! One TCP connection: HTTP/1.1, kept alive, closed so that the last answer arrives.

use super::http::Answers;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// How long a client may take to send a request's head, also on a connection that is kept alive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves one connection until its client closes it, or until the service stops and its last answer is out.
pub(super) async fn serve(stream: TcpStream, answers: Answers, mut stopping: watch::Receiver<bool>) {
    // Answers are small and complete: waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Lingering::new(stream)), answers);
    tokio::pin!(connection);
    tokio::select! {
        result = &mut connection => return log(result),
        _ = stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
    }
    log(connection.await);
}

fn log(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A TCP stream that is closed without a reset.
///
/// Closing a socket while the peer still sends makes the kernel send a reset, which can destroy the answer on its way
/// (a 413, say, to a body that was not read). So a shutdown first says "no more from here", then reads and
/// throws away what still comes, up to a bound, and only then closes (compare RFC 9112, section 9.6).
struct Lingering {
    stream: TcpStream,
    closing: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

const LINGER: Duration = Duration::from_secs(1);
const MOST_DISCARDED: usize = 32 * 1024 * 1024;

impl Lingering {
    fn new(stream: TcpStream) -> Self {
        Self { stream, closing: None, discarded: 0 }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.closing = Some(Box::pin(sleep(LINGER)));
        }
        let Some(closing) = &mut this.closing else { return Poll::Ready(Ok(())) };
        if closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 16 * 1024];
        while this.discarded < MOST_DISCARDED {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => this.discarded += buffer.filled().len(),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
