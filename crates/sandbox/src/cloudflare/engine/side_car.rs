//! A container's network as workerd sees it: the side-car `proxy-everything`, to which it says CONNECT.
//!
//! It listens on a port of 127.0.0.1 and leads to the ports of the container's own address. What goes out of the
//! container needs no side-car here: processes reach the network as they are.

use super::address::Address;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is carried at once, each way.
const BUFFER: usize = 64 * 1024;

/// A container's network: an address of its own, and whether anybody is let in.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) address: Address,
    is_closed: AtomicBool,
}

impl Network {
    pub(super) fn new(address: Address) -> Arc<Self> {
        Arc::new(Self { address, is_closed: AtomicBool::new(false) })
    }

    /// Closes or opens every port of the container.
    pub(super) fn close(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Ordering::Release);
    }

    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let stream = TcpStream::connect((self.address.ip, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A side-car that runs until this is dropped, and its tunnels with it.
#[derive(Debug)]
pub(super) struct SideCar {
    pub(super) port: u16,
    _stop: watch::Sender<()>,
}

impl SideCar {
    pub(super) async fn start(network: Arc<Network>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (stop, stopping) = watch::channel(());
        tokio::spawn(serve(listener, network, stopping));
        Ok(Self { port, _stop: stop })
    }
}

/// If this ended while the side-car lives, workerd could reach the container no more, and would say so.
async fn serve(listener: TcpListener, network: Arc<Network>, stopping: watch::Receiver<()>) {
    let mut stop = stopping.clone();
    loop {
        let stream = tokio::select! {
            _ = stop.changed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection to a container could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let (network, stopping) = (Arc::clone(&network), stopping.clone());
        tokio::spawn(async move {
            let mut stop = stopping.clone();
            let service = hyper::service::service_fn(move |request| {
                let (network, stopping) = (Arc::clone(&network), stopping.clone());
                async move { Ok::<_, std::convert::Infallible>(answer(request, &network, stopping).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // Errors are a client that went away.
            tokio::select! {
                _ = stop.changed() => {}
                _ = connection => {}
            }
        });
    }
}

fn with(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

/// The port that is meant: of `X-Dst-Addr`, else of the request's own target.
fn port_of<B>(request: &Request<B>) -> Option<u16> {
    let header = request.headers().get("x-dst-addr").and_then(|value| value.to_str().ok());
    let of_header = header.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    of_header.or_else(|| request.uri().authority()?.port_u16())
}

async fn answer(
    request: Request<Incoming>,
    network: &Network,
    stopping: watch::Receiver<()>,
) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::CONNECT, _) => {
            let Some(port) = port_of(&request) else {
                return with(StatusCode::BAD_REQUEST, "no port");
            };
            match network.connect(port).await {
                Ok(stream) => {
                    tokio::spawn(tunnel(hyper::upgrade::on(request), stream, stopping));
                    with(StatusCode::OK, "")
                }
                Err(_) => with(StatusCode::BAD_REQUEST, "the port is closed"),
            }
        }
        (&Method::PUT, "/egress") => with(StatusCode::OK, ""),
        (&Method::GET, "/ca") => with(StatusCode::OK, "no certificate: nothing is intercepted\n"),
        _ => with(StatusCode::NOT_FOUND, "not found"),
    }
}

async fn tunnel(upgrade: OnUpgrade, mut there: TcpStream, mut stop: watch::Receiver<()>) {
    let carried = async {
        let Some((mut here, early)) = upgrade.await.ok().and_then(socket_of) else {
            return;
        };
        if there.write_all(&early).await.is_ok() {
            let _ = copy_bidirectional_with_sizes(&mut here, &mut there, BUFFER, BUFFER).await;
        }
    };
    tokio::select! {
        _ = stop.changed() => {}
        () = carried => {}
    }
}

/// The connection itself, without HTTP around it, and what had been read from it already.
fn socket_of(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_is_meant() {
        let request = |header: Option<&str>| {
            let mut builder = Request::builder().method(Method::CONNECT).uri("127.0.0.1:8080");
            if let Some(header) = header {
                builder = builder.header("X-Dst-Addr", header);
            }
            port_of(&builder.body(()).unwrap())
        };
        assert_eq!(request(None), Some(8080));
        assert_eq!(request(Some("10.0.0.1:4222")), Some(4222));
        assert_eq!(request(Some("[::1]:4222")), Some(4222));
        assert_eq!(request(Some("nonsense")), Some(8080));
    }
}
