//! The socket under TLS, watched: it notes what the registry needs to know, gives up a peer that
//! takes nothing, and closes so that the peer can still read the last answer.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::connection::Connection;
use crate::sys::socket::unacknowledged_bytes;

/// After the last answer of a connection whose peer still sends: so long its bytes are thrown
/// away. A socket closed with unread bytes resets the connection, and the peer may lose the answer.
const LINGER: Duration = Duration::from_secs(1);

/// And so many of them.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// A TCP stream that reports to its [`Connection`].
#[derive(Debug)]
pub(super) struct WatchedStream {
    tcp: TcpStream,
    connection: Arc<Connection>,
    stall_timeout: Duration,
    /// Kept armed once used: a fast stream blocks thousands of times a second, and setting a
    /// timer anew each time would cost.
    stall_timer: Option<Pin<Box<Sleep>>>,
    blocked: Option<Blocked>,
    linger: Option<Linger>,
    closed: bool,
}

/// The socket takes no bytes for now.
#[derive(Debug, Clone, Copy)]
struct Blocked {
    /// Since when the peer took nothing.
    since: Instant,
    /// What it had not yet taken then.
    queued: Option<u64>,
}

#[derive(Debug)]
struct Linger {
    timer: Pin<Box<Sleep>>,
    thrown_away: usize,
}

impl WatchedStream {
    pub(super) fn new(
        tcp: TcpStream,
        connection: Arc<Connection>,
        stall_timeout: Duration,
    ) -> Self {
        Self {
            tcp,
            connection,
            stall_timeout,
            stall_timer: None,
            blocked: None,
            linger: None,
            closed: false,
        }
    }

    fn queued(&self) -> Option<u64> {
        unacknowledged_bytes(self.tcp.as_fd()).ok()
    }

    /// Looks at the outcome of a write: notes whether the socket is blocked, and makes a stall an
    /// error.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.blocked.take().is_some() {
                self.connection.write_unblocked();
            }
            return outcome;
        }
        ready!(self.poll_stall(cx))?;
        Poll::Pending
    }

    /// Ready only with an error: the peer took nothing for the whole time.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut blocked = match self.blocked {
            Some(blocked) => blocked,
            None => {
                self.connection.write_blocked();
                Blocked {
                    since: Instant::now(),
                    queued: self.queued(),
                }
            }
        };
        loop {
            let timer = self
                .stall_timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.stall_timeout)));
            if timer.as_mut().poll(cx).is_pending() {
                self.blocked = Some(blocked);
                return Poll::Pending;
            }
            let now = Instant::now();
            if now.duration_since(blocked.since) >= self.stall_timeout {
                let queued = self.queued();
                if queued.is_some() && queued >= blocked.queued {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("the peer took no byte for {:?}", self.stall_timeout),
                    )));
                }
                blocked = Blocked { since: now, queued };
            }
            if let Some(timer) = &mut self.stall_timer {
                timer.as_mut().reset(blocked.since + self.stall_timeout);
            }
        }
    }

    /// Throws away what the peer still sends, until it ends, or time or patience do.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            timer: Box::pin(tokio::time::sleep(LINGER)),
            thrown_away: 0,
        });
        let mut scratch = [0_u8; 16 * 1024];
        while linger.thrown_away < LINGER_BYTES {
            if linger.timer.as_mut().poll(cx).is_ready() {
                break;
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    linger.thrown_away += buffer.filled().len();
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.bytes_arrived();
        }
        outcome
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.watch(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.watch(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
            self.closed = true;
        }
        if self.connection.has_unread_input() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
