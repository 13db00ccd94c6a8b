//! Commands beside what runs in a container, as Docker carries them: the connection becomes a stream of frames, each
//! with a head of 8 bytes (which stream, and how many bytes follow).

use super::container::{Container, collect, command};
use super::image::Start;
use super::lifecycle::Condition;
use crate::cloudflare::left::Record;
use crate::cloudflare::process::raw;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustix::process::{Signal, kill_process, kill_process_group};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

/// The standard output's number in a frame's head.
const STDOUT: u8 = 1;
/// The standard error's.
const STDERR: u8 = 2;

/// A command that was made, and what became of it.
pub(super) struct Exec {
    pub(super) id: String,
    pub(super) container: Arc<Container>,
    pub(super) work: Work,
    /// The key by which workerd speaks of it.
    pub(super) key: Option<String>,
    pub(super) with_input: bool,
    pub(super) state: Mutex<ExecState>,
}

/// What a command does.
pub(super) enum Work {
    /// It runs a program, in this directory.
    Program(Start, PathBuf),
    /// It sends a signal to another command.
    Signal(Arc<Exec>, Signal),
}

/// Where a command is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ExecState {
    #[default]
    Created,
    Running(u32),
    Exited(i64),
}

/// A frame's head.
fn head(stream: u8, length: usize) -> [u8; 8] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [stream, 0, 0, 0, a, b, c, d]
}

/// Sends what a pipe gives, in pieces that a frame can say the length of.
async fn carry(
    pipe: impl Into<std::os::fd::OwnedFd>,
    stream: u8,
    frames: mpsc::Sender<(u8, Vec<u8>)>,
) -> io::Result<()> {
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe.into())?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 || frames.send((stream, buffer[..read].to_vec())).await.is_err() {
            return Ok(());
        }
    }
}

async fn write_frames(
    mut to: impl AsyncWrite + Unpin,
    mut frames: mpsc::Receiver<(u8, Vec<u8>)>,
) -> io::Result<()> {
    while let Some((stream, bytes)) = frames.recv().await {
        to.write_all(&head(stream, bytes.len())).await?;
        to.write_all(&bytes).await?;
        to.flush().await?;
    }
    to.shutdown().await
}

impl Exec {
    /// Starts it, and carries its streams over the connection when that has become one (`None`: nobody looks).
    pub(super) fn start(self: Arc<Self>, connection: Option<OnUpgrade>) -> io::Result<()> {
        let mut state = self.state.lock();
        if *state != ExecState::Created {
            return Err(io::Error::other("it has been started already"));
        }
        let (start, root) = match &self.work {
            Work::Program(start, root) => (start, root),
            Work::Signal(to, signal) => {
                *state = ExecState::Exited(if to.signal(*signal) { 0 } else { 1 });
                // There is nothing to carry: the stream begins and ends.
                if let Some(connection) = connection {
                    tokio::spawn(async move {
                        if let Ok(upgraded) = connection.await {
                            let _ = TokioIo::new(upgraded).shutdown().await;
                        }
                    });
                }
                return Ok(());
            }
        };
        let record = Record::before(&self.container.directory)?;
        let mut command = command(start, &record, root);
        if connection.is_some() {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            if self.with_input {
                command.stdin(Stdio::piped());
            }
        } else {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let mut child = command.spawn()?;
        *state = ExecState::Running(child.id());
        drop(state);
        let _ = record.started(child.id());
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (say_ended, ended) = oneshot::channel::<()>();
        let this = Arc::clone(&self);
        std::thread::spawn(move || {
            // Until the status is known it counts as running, without a pid that could be somebody else's.
            let code = collect(child, || *this.state.lock() = ExecState::Running(0));
            *this.state.lock() = ExecState::Exited(code);
            drop(record);
            let _ = say_ended.send(());
        });
        let (this, container) = (Arc::clone(&self), Arc::clone(&self.container));
        tokio::spawn(async move {
            container.wait(Condition::NotRunning).await;
            this.kill();
        });
        let Some(connection) = connection else { return Ok(()) };
        let (frames, to_write) = mpsc::channel(16);
        if let Some(output) = output {
            tokio::spawn(carry(output, STDOUT, frames.clone()));
        }
        if let Some(errors) = errors {
            tokio::spawn(carry(errors, STDERR, frames.clone()));
        }
        // The connection stays open until the status is there to ask for.
        tokio::spawn(async move {
            let _ = ended.await;
            drop(frames);
        });
        tokio::spawn(async move {
            let Ok(upgraded) = connection.await else {
                self.kill();
                return;
            };
            let (mut reader, writer) = tokio::io::split(TokioIo::new(upgraded));
            let fed = tokio::spawn(async move {
                let input = input.map(|input| tokio::net::unix::pipe::Sender::from_owned_fd(input.into()));
                if let Some(Ok(mut input)) = input {
                    let _ = tokio::io::copy(&mut reader, &mut input).await;
                } else {
                    let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
                }
            });
            let _ = write_frames(writer, to_write).await;
            fed.abort();
        });
        Ok(())
    }

    /// Sends a signal to it. False if it does not run.
    fn signal(&self, signal: Signal) -> bool {
        match *self.state.lock() {
            ExecState::Running(pid) => raw(pid).is_some_and(|pid| kill_process(pid, signal).is_ok()),
            _ => false,
        }
    }

    /// Kills it and what it started.
    pub(super) fn kill(&self) {
        if let ExecState::Running(pid) = *self.state.lock() {
            let _ = raw(pid).map(|pid| kill_process_group(pid, Signal::KILL));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_begins_with_its_stream_and_length() {
        assert_eq!(head(STDERR, 0x0102), [2, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(head(STDOUT, 0), [1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
