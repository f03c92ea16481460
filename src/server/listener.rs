//! The accept loop: TCP, a place in the registry, TLS, HTTP/1.1.
//!
//! Each connection is a task of its own. It ends by itself, or because the registry closes it
//! (idle, too slow, its place is needed, the daemon stops).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::connection::{CloseReason, Connection};
use super::connection_io::WatchedStream;
use super::connection_service::ConnectionService;
use super::connections::{ConnectionRegistry, Place};
use super::pulse::Pulse;
use super::tls::ServerTls;
use crate::config::Limits;

/// What rustls may hold of encrypted bytes. Its default of 64 KiB cuts a chunk of a disk into
/// eight writes; of all settings this one was measured to matter most.
const TLS_BUFFER: usize = 512 * 1024;

/// Request line and headers, in bytes: more is answered with 431.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// What hyper gathers of an answer before it writes: one chunk of a disk, whatever its size, or many
/// small ones. With more, it would hold several chunks for each client that does not read.
const HTTP_BUFFER: usize = 64 * 1024;

/// Connections the kernel may hold ready for us.
const BACKLOG: u32 = 1024;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one warning about that in this time.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A peer that vanished without a word is noticed after about 60 + 4 × 15 s.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// So long connections that were told to end at the very last may take for it.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error(
        "cannot listen on {address}: {source}; \
         see [api] bind and port, and whether another daemon runs (ss -ltnp)"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were cut off because the time for requests in flight was up.
    pub cut_off: usize,
}

/// A bound socket with its limits; nothing is accepted before [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    registry: Arc<ConnectionRegistry>,
    pulse: Pulse,
}

impl Listener {
    /// Binds `address`. Port 0 lets the system choose; see [`Listener::address`].
    ///
    /// # Errors
    /// [`ListenError::Bind`], with what to look at.
    pub fn bind(address: SocketAddr, limits: Limits) -> Result<Self, ListenError> {
        let bound = || {
            let socket = if address.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            // A restart must not wait for the old connections' TIME_WAIT. No SO_REUSEPORT: a
            // second daemon on the same port has to fail.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) = bound().map_err(|source| ListenError::Bind { address, source })?;
        Ok(Self {
            socket,
            address,
            registry: ConnectionRegistry::new(limits),
            pulse: Pulse::default(),
        })
    }

    /// The address it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections it serves, for figures.
    pub fn registry(&self) -> Arc<ConnectionRegistry> {
        Arc::clone(&self.registry)
    }

    /// Whether it accepts connections.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Serves `router` until `shutdown` is ready; then accepts nothing more, closes what is idle,
    /// lets requests in flight finish within the limit, cuts off the rest, and returns.
    ///
    /// Each request carries a [`ConnectionHandle`](super::connection::ConnectionHandle) as
    /// extension.
    pub async fn serve(
        self,
        tls: Arc<ServerTls>,
        router: Router,
        shutdown: impl Future<Output = ()>,
    ) -> Stopped {
        let registry = Arc::clone(&self.registry);
        let (capacity, wanted) = (registry.capacity(), registry.limits().max_connections);
        if capacity < wanted {
            warn!(
                "the process has descriptors for {capacity} connections, not for the {wanted} of \
                 max_connections; raise LimitNOFILE"
            );
        }
        let served = async {
            let (stopping, stop) = watch::channel(false);
            tokio::select! {
                () = shutdown => {}
                never = self.accept(&tls, &router, &stop) => match never {},
            }
            // The port is free from here on.
            drop(self);
            stopping.send_replace(true);
            drain(&registry).await
        };
        tokio::select! {
            stopped = served => stopped,
            never = registry.sweep() => match never {},
        }
    }

    async fn accept(
        &self,
        tls: &ServerTls,
        router: &Router,
        stop: &watch::Receiver<bool>,
    ) -> std::convert::Infallible {
        let mut warned: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = self.pulse.asked() => {
                    self.pulse.answer();
                    continue;
                }
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_peers_fault(&error) => {
                    debug!(%error, "a connection ended before it was accepted");
                    continue;
                }
                Err(error) => {
                    // An idle connection gives its descriptor to the next one.
                    self.registry.evict_one();
                    if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                        warn!(%error, "cannot accept connections; is LimitNOFILE too low?");
                        warned = Some(Instant::now());
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.registry.admit(peer).await else {
                debug!(%peer, "connection refused: all places are taken by requests in flight");
                continue;
            };
            let router = router.clone();
            tokio::spawn(serve_connection(
                stream,
                place,
                tls.current(),
                router,
                *self.registry.limits(),
                stop.clone(),
            ));
        }
    }
}

/// Waits for the connections to end by themselves, then ends them.
async fn drain(registry: &ConnectionRegistry) -> Stopped {
    let grace = registry.limits().shutdown_grace;
    if tokio::time::timeout(grace, registry.emptied())
        .await
        .is_ok()
    {
        return Stopped { cut_off: 0 };
    }
    let cut_off = registry.close_all(CloseReason::Shutdown);
    warn!(cut_off, ?grace, "requests in flight were cut off");
    if tokio::time::timeout(LAST_CALL, registry.emptied())
        .await
        .is_err()
    {
        warn!("connections are still busy; leaving them");
    }
    Stopped { cut_off }
}

/// Errors of accept(2) that belong to the connection that was to be accepted (accept(2), "Error
/// handling"), not to us.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::ETIMEDOUT
        )
    )
}

async fn serve_connection(
    stream: TcpStream,
    // Dropped last, so that the place is given back when the descriptor is closed.
    place: Place,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let connection = place.connection();
    let (id, peer) = (connection.id(), connection.peer());
    let served = speak(stream, connection, tls, router, &limits, stop);
    tokio::select! {
        biased;
        reason = connection.closed() => debug!(id, %peer, ?reason, "connection closed"),
        outcome = served => match outcome {
            Ok(()) => debug!(id, %peer, "connection ended"),
            Err(error) => debug!(id, %peer, %error, "connection ended"),
        },
    }
}

/// TLS handshake, then requests until the peer or the daemon has enough.
async fn speak(
    stream: TcpStream,
    connection: &Arc<Connection>,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) -> Result<(), SpeakError> {
    let stopping = async move {
        // An error means the listener is gone: the same.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::pin!(stopping);

    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    let stream = WatchedStream::new(stream, Arc::clone(connection), limits.stall_timeout);
    let handshake = TlsAcceptor::from(tls)
        .accept_with(stream, |session| session.set_buffer_limit(Some(TLS_BUFFER)));
    let stream = tokio::select! {
        () = &mut stopping => return Ok(()),
        outcome = tokio::time::timeout(limits.handshake_timeout, handshake) => {
            outcome.map_err(|_| SpeakError::SlowHandshake)?.map_err(SpeakError::Handshake)?
        }
    };
    connection.handshake_done();

    let service = ConnectionService::new(router, Arc::clone(connection));
    // hyper's header timer runs between two requests as well; ours, in the registry, tells idle
    // from slow. Hyper's stays behind it, should the registry ever miss one.
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(
            limits
                .idle_timeout
                .saturating_add(limits.header_timeout * 2),
        )
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(HTTP_BUFFER)
        .keep_alive(true)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        outcome = serving.as_mut() => return Ok(outcome?),
        () = &mut stopping => serving.as_mut().graceful_shutdown(),
    }
    Ok(serving.await?)
}

/// Why a connection ended, for the log.
#[derive(Debug, thiserror::Error)]
enum SpeakError {
    #[error("the TLS handshake took too long")]
    SlowHandshake,
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    #[error("HTTP: {0}{cause}", cause = cause(.0))]
    Http(#[from] hyper::Error),
}

fn cause(error: &hyper::Error) -> String {
    std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"))
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cut_off {
            0 => f.write_str("all requests finished"),
            n => write!(f, "{n} connections cut off"),
        }
    }
}
