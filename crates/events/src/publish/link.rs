//! One connection to NATS that only publishes and awaits acknowledgements, and comes back when it breaks.
//!
//! A general client queues a command for each publish, builds a map of headers and looks a subject up for each answer.
//! A publisher can do with less: an event is written straight into the outgoing buffer under a short lock, and its
//! answer finds its waiter by a number. The writer lets whatever else is ready go first, so that one system call
//! carries many events. When the connection breaks, every waiter hears it at once. Decision 5 has the figures.
//!
//! Everything else that talks to NATS (the object bucket, the command line) uses the official client.

use super::wire::{self, Info, Said};
use super::{Answer, Unavailable};
use crate::event::Event;
use bytes::{Bytes, BytesMut};
use nkeys::KeyPair;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A silent server is asked whether it is there, and given up after a second silence of this length.
const SILENCE: Duration = Duration::from_secs(5);
/// The most bytes that wait to be written. Who wants to add to more waits, so that memory is bounded.
const MOST_WAITING: usize = 8 * 1024 * 1024;

/// Who we are to NATS.
#[derive(Debug)]
pub(super) struct Credentials {
    jwt: SecretString,
    seed: SecretString,
}

/// How to come in.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Who we are; nobody, where the server asks nobody.
    pub(super) credentials: Option<Credentials>,
    /// Who signs the server's certificate, if it is not one of the system's authorities.
    pub(super) authority: Option<PathBuf>,
}

impl Credentials {
    /// Reads a credentials file: a JWT and a seed, each between its lines of dashes.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let text = SecretString::from(std::fs::read_to_string(path)?);
        let block = |name: &str| {
            let (_, rest) = text.expose_secret().split_once(name)?;
            let line = rest.lines().skip(1).map(str::trim).find(|line| !line.is_empty())?;
            Some(SecretString::from(line))
        };
        block("BEGIN NATS USER JWT")
            .zip(block("BEGIN USER NKEY SEED"))
            .map(|(jwt, seed)| Self { jwt, seed })
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it holds no user JWT and seed"))
    }
}

/// A server to try.
#[derive(Debug)]
pub(super) struct Server {
    host: String,
    port: u16,
    tls: bool,
    login: Option<(String, SecretString)>,
}

impl Server {
    /// Reads `nats://[user:password@]host[:port]` or `tls://…`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let address: async_nats::ServerAddr = url.parse().ok()?;
        if address.is_websocket() {
            return None;
        }
        let login = address
            .username()
            .map(|user| (user.to_owned(), SecretString::from(address.password().unwrap_or_default())));
        Some(Self {
            host: address.host().to_owned(),
            port: address.port(),
            tls: address.tls_required(),
            login,
        })
    }
}

/// The link. Cheap to share.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is there to be written.
    written_to: Notify,
    /// Room has become free in the outgoing buffer.
    room: Notify,
    connected: watch::Sender<bool>,
    max_payload: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while there is no connection.
    outgoing: Option<Vec<u8>>,
    inbox: String,
    slots: Slots,
}

type Heard = (Option<u16>, Bytes);

/// Who waits for which answer.
///
/// Numbers are used again, lowest first, so that the server sees few reply subjects and finds them in its cache. A
/// number whose waiter has given up is not used again before its answer has come, however late: otherwise that
/// answer would be taken for the next one's.
#[derive(Debug, Default)]
struct Slots {
    waiting: Vec<Option<oneshot::Sender<Heard>>>,
    free: BinaryHeap<Reverse<u32>>,
}

impl Slots {
    fn add(&mut self, sender: oneshot::Sender<Heard>) -> u32 {
        if let Some(Reverse(token)) = self.free.pop() {
            self.waiting[token as usize] = Some(sender);
            return token;
        }
        self.waiting.push(Some(sender));
        (self.waiting.len() - 1) as u32
    }

    fn answered(&mut self, token: u64, heard: Heard) {
        let Some(slot) = usize::try_from(token).ok().and_then(|at| self.waiting.get_mut(at)) else { return };
        // An answer that nobody asked for must not free a number twice.
        let Some(sender) = slot.take() else { return };
        let _ = sender.send(heard);
        self.free.push(Reverse(token as u32));
    }
}

impl Link {
    /// Begins to connect, and goes on for as long as the process lives.
    pub(super) fn start(servers: Vec<Server>, entry: Entry) -> Self {
        let link = Self(Arc::new(Shared {
            state: Mutex::default(),
            written_to: Notify::new(),
            room: Notify::new(),
            connected: watch::Sender::new(false),
            max_payload: AtomicUsize::new(usize::MAX),
        }));
        // If this task ended there would be no connection any more, and everything would go to the spool.
        tokio::spawn(link.clone().run(servers, entry));
        link
    }

    pub(super) fn is_connected(&self) -> bool {
        *self.0.connected.borrow()
    }

    pub(super) async fn wait_until_connected(&self) {
        let _ = self.0.connected.subscribe().wait_for(|connected| *connected).await;
    }

    /// The largest message that the server takes; without a limit until it is known.
    pub(super) fn max_payload(&self) -> usize {
        self.0.max_payload.load(Ordering::Relaxed)
    }

    /// Sends an event and waits for the answer. It ends early only when the connection breaks.
    pub(super) async fn request(&self, event: &Event) -> Result<Answer, Unavailable> {
        let answer = loop {
            let room = self.0.room.notified();
            if let Some(answer) = self.begin(event)? {
                break answer;
            }
            room.await;
        };
        match answer.await {
            Ok((Some(503), _)) => Err(Unavailable::NoStream),
            Ok((_, payload)) => Answer::parse(&payload),
            Err(_) => Err(Unavailable::Disconnected),
        }
    }

    /// Puts an event into the outgoing buffer; `None` when that is full.
    fn begin(&self, event: &Event) -> Result<Option<oneshot::Receiver<Heard>>, Unavailable> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.0.state.lock();
        let State { outgoing, inbox, slots } = &mut *state;
        let Some(outgoing) = outgoing else { return Err(Unavailable::Disconnected) };
        if outgoing.len() > MOST_WAITING {
            return Ok(None);
        }
        wire::publish(outgoing, event, inbox, slots.add(sender));
        drop(state);
        self.0.written_to.notify_one();
        Ok(Some(answer))
    }

    async fn run(self, servers: Vec<Server>, entry: Entry) {
        let mut failures: u32 = 0;
        for server in servers.iter().cycle() {
            let connected = timeout(CONNECT_TIMEOUT, connect(server, &entry)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok((stream, buffer, info)) => {
                    failures = 0;
                    tracing::info!(server = %server.host, version = info.version, "connected to NATS");
                    let ended = self.serve(stream, buffer, &info).await;
                    self.disconnected();
                    tracing::warn!(reason = %ended, "the connection to NATS is lost");
                }
                Err(error) => {
                    failures += 1;
                    tracing::debug!(%error, server = %server.host, "NATS cannot be reached");
                }
            }
            sleep(Duration::from_millis(u64::from(failures * 20).min(500))).await;
        }
    }

    /// Keeps one connection until it breaks, and says why it did.
    async fn serve(&self, stream: Stream, buffer: BytesMut, info: &Info) -> io::Error {
        let (reading, writing) = tokio::io::split(stream);
        let inbox = format!("_INBOX.{}", nuid::next());
        {
            let mut state = self.0.state.lock();
            state.outgoing = Some(format!("SUB {inbox}.* 1\r\n").into_bytes());
            state.inbox = inbox;
        }
        self.0.max_payload.store(info.max_payload, Ordering::Relaxed);
        self.0.connected.send_replace(true);
        self.0.written_to.notify_one();
        tokio::select! {
            error = self.write(writing) => error,
            error = self.read(reading, buffer) => error,
        }
    }

    async fn write(&self, mut stream: impl AsyncWrite + Unpin) -> io::Error {
        let mut spare = Vec::new();
        loop {
            self.0.written_to.notified().await;
            // Whoever is ready now adds to the same write.
            tokio::task::yield_now().await;
            if let Some(outgoing) = &mut self.0.state.lock().outgoing {
                std::mem::swap(outgoing, &mut spare);
            }
            self.0.room.notify_waiters();
            if let Err(error) = async {
                stream.write_all(&spare).await?;
                stream.flush().await
            }
            .await
            {
                return error;
            }
            spare.clear();
            // A burst's buffer is not kept for ever.
            spare.shrink_to(1024 * 1024);
        }
    }

    async fn read(&self, mut stream: impl AsyncRead + Unpin, mut buffer: BytesMut) -> io::Error {
        let mut asked = false;
        loop {
            loop {
                match wire::parse(&mut buffer) {
                    Ok(Some(said)) => {
                        if let Err(error) = self.hear(said) {
                            return error;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return error,
                }
            }
            buffer.reserve(16 * 1024);
            match timeout(SILENCE, stream.read_buf(&mut buffer)).await {
                Ok(Ok(0)) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(Ok(_)) => asked = false,
                Ok(Err(error)) => return error,
                Err(_) if asked => return io::ErrorKind::TimedOut.into(),
                Err(_) => {
                    asked = true;
                    self.say(b"PING\r\n");
                }
            }
        }
    }

    fn hear(&self, said: Said) -> io::Result<()> {
        match said {
            Said::Answer { token, status, payload } => {
                self.0.state.lock().slots.answered(token, (status, payload));
            }
            Said::Ping => self.say(b"PONG\r\n"),
            Said::Info(json) => {
                // Sent again when the server's limits change, and before it goes away.
                if let Ok(info) = serde_json::from_slice::<Info>(&json) {
                    self.0.max_payload.store(info.max_payload, Ordering::Relaxed);
                }
            }
            // A refused publish has no answer of its own; the others must not wait for it. The server says the same
            // for a subject we may not use, and only some errors close the connection.
            Said::Error(error) => return Err(io::Error::other(error)),
            Said::Pong | Said::Other => {}
        }
        Ok(())
    }

    fn say(&self, words: &[u8]) {
        if let Some(outgoing) = &mut self.0.state.lock().outgoing {
            outgoing.extend_from_slice(words);
        }
        self.0.written_to.notify_one();
    }

    fn disconnected(&self) {
        self.0.connected.send_replace(false);
        let mut state = self.0.state.lock();
        state.outgoing = None;
        // Their senders are dropped, and everyone who waits hears of it.
        state.slots = Slots::default();
        drop(state);
        self.0.room.notify_waiters();
    }
}

type Stream = Box<dyn ReadWrite>;

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// Connects, greets, and hears that the server accepts us.
async fn connect(server: &Server, entry: &Entry) -> io::Result<(Stream, BytesMut, Info)> {
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    stream.set_nodelay(true)?;
    let mut stream: Stream = Box::new(stream);
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let info: Info = match next(&mut stream, &mut buffer).await? {
        Said::Info(json) => serde_json::from_slice(&json)?,
        said => return Err(io::Error::other(format!("the server began with {said:?}"))),
    };
    if !info.headers {
        return Err(io::Error::other("the server does not support headers"));
    }
    if server.tls || info.tls_required {
        stream = Box::new(super::tls::wrap(stream, &server.host, entry.authority.as_deref()).await?);
    }
    let mut greeting = json!({
        "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1, "echo": false,
        "name": "windlass receiver", "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
        "tls_required": server.tls || info.tls_required,
    });
    if let Some(credentials) = &entry.credentials {
        let pair = KeyPair::from_seed(credentials.seed.expose_secret()).map_err(io::Error::other)?;
        let signature = pair.sign(info.nonce.as_bytes()).map_err(io::Error::other)?;
        greeting["jwt"] = credentials.jwt.expose_secret().into();
        greeting["sig"] = data_encoding::BASE64URL_NOPAD.encode(&signature).into();
    } else if let Some((user, password)) = &server.login {
        greeting["user"] = user.as_str().into();
        greeting["pass"] = password.expose_secret().into();
    }
    stream.write_all(format!("CONNECT {greeting}\r\nPING\r\n").as_bytes()).await?;
    stream.flush().await?;
    loop {
        match next(&mut stream, &mut buffer).await? {
            Said::Pong => return Ok((stream, buffer, info)),
            Said::Error(error) => return Err(io::Error::new(io::ErrorKind::PermissionDenied, error)),
            Said::Ping => stream.write_all(b"PONG\r\n").await?,
            _ => {}
        }
    }
}

async fn next(stream: &mut Stream, buffer: &mut BytesMut) -> io::Result<Said> {
    loop {
        if let Some(said) = wire::parse(buffer)? {
            return Ok(said);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_is_not_taken_for_another() {
        let heard = |text: &'static str| (None, Bytes::from_static(text.as_bytes()));
        let mut slots = Slots::default();
        let (sender, gave_up) = oneshot::channel();
        assert_eq!(slots.add(sender), 0);
        drop(gave_up);
        let (sender, mut waits) = oneshot::channel();
        assert_eq!(slots.add(sender), 1, "0 is not free before its answer has come");
        slots.answered(0, heard("late"));
        assert!(waits.try_recv().is_err());
        slots.answered(1, heard("mine"));
        assert_eq!(waits.try_recv().unwrap(), heard("mine"));
        slots.answered(1, heard("again"));
        slots.answered(77, heard("nobody's"));
        let (first, _one) = oneshot::channel();
        let (second, _two) = oneshot::channel();
        let (third, _three) = oneshot::channel();
        assert_eq!([slots.add(first), slots.add(second), slots.add(third)], [0, 1, 2]);
    }
}
