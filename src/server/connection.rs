//! One connection as the registry sees it: who it is, what it does, since when.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::config::Limits;

/// An authenticated connection is closed to make room only when it has been idle this long:
/// a client between two requests of one job is not.
const AUTHENTICATED_REST: Duration = Duration::from_secs(5);

/// A login takes far less. Whoever takes longer to send one would else outlast all who are new: they
/// have no request yet, and go before one that is in flight.
const SLOW_LOGIN: Duration = Duration::from_secs(2);

/// Why the listener closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// Another one needed its place.
    MakeRoom,
    /// No request for too long.
    Idle,
    /// Request headers that did not come to an end.
    SlowHeaders,
    /// The daemon stops and its time is up.
    Shutdown,
}

/// The order in which connections are closed to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Nobody logged in, and the request in flight has waited for its peer for long.
    UnauthenticatedSlow,
    /// Nobody logged in, and no request in flight.
    Unauthenticated,
    /// Nobody logged in, and the request in flight waits for its peer: a body that trickles in,
    /// an answer that is not read.
    UnauthenticatedWaiting,
    /// Logged in, without a request for a while.
    AuthenticatedIdle,
}

/// The state of one connection. Written by its own task, read by the registry.
///
/// Times are microseconds since `opened`, plus one; 0 stands for "not". Relaxed ordering is
/// enough for them: each is looked at by itself, and a look that comes a moment late does no
/// harm. Only `requests` and `ending` are read together, see [`Connection::close_if_idle`].
#[derive(Debug)]
pub(super) struct Connection {
    id: u64,
    peer: SocketAddr,
    opened: Instant,
    authenticated: AtomicBool,
    /// Requests whose answer is not fully handed to the socket.
    requests: AtomicUsize,
    /// Request bodies still arriving.
    bodies: AtomicUsize,
    /// A request body was dropped before its end: the peer may still be sending it.
    body_abandoned: AtomicBool,
    /// Bytes came of which no request has been made yet.
    input_pending: AtomicBool,
    handshaken: AtomicBool,
    /// Since when there is no request in flight.
    idle_since: AtomicU64,
    /// When the request in flight began.
    request_since: AtomicU64,
    headers_since: AtomicU64,
    write_blocked_since: AtomicU64,
    /// It takes no further request.
    ending: AtomicBool,
    close_reason: OnceLock<CloseReason>,
    close: Notify,
}

impl Connection {
    pub(super) fn new(id: u64, peer: SocketAddr) -> Self {
        Self {
            id,
            peer,
            opened: Instant::now(),
            authenticated: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            body_abandoned: AtomicBool::new(false),
            input_pending: AtomicBool::new(false),
            handshaken: AtomicBool::new(false),
            idle_since: AtomicU64::new(1),
            request_since: AtomicU64::new(0),
            headers_since: AtomicU64::new(0),
            write_blocked_since: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            close_reason: OnceLock::new(),
            close: Notify::new(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).map_or(u64::MAX, |us| us.saturating_add(1))
    }

    fn since(&self, mark: u64) -> Duration {
        Duration::from_micros(self.now().saturating_sub(mark))
    }

    /// The TLS handshake ended. The first request is expected now.
    pub(super) fn handshake_done(&self) {
        self.handshaken.store(true, Relaxed);
        self.headers_since.store(self.now(), Relaxed);
    }

    /// Bytes came in from the peer.
    pub(super) fn bytes_arrived(&self) {
        if self.requests.load(Relaxed) > 0 || !self.handshaken.load(Relaxed) {
            return;
        }
        self.input_pending.store(true, Relaxed);
        if self.headers_since.load(Relaxed) == 0 {
            self.headers_since.store(self.now(), Relaxed);
        }
    }

    /// The socket takes no more bytes for now.
    pub(super) fn write_blocked(&self) {
        if self.write_blocked_since.load(Relaxed) == 0 {
            self.write_blocked_since.store(self.now(), Relaxed);
        }
    }

    /// The socket takes bytes again. The tail of an answer may leave after the request counts as
    /// done, so idleness begins no earlier than here.
    pub(super) fn write_unblocked(&self) {
        if self.write_blocked_since.swap(0, Relaxed) != 0 {
            self.idle_since.store(self.now(), Relaxed);
        }
    }

    /// Returns whether the request may be served: a connection about to be closed starts nothing.
    fn request_begins(&self) -> bool {
        self.request_since.store(self.now(), Relaxed);
        self.requests.fetch_add(1, SeqCst);
        self.headers_since.store(0, Relaxed);
        self.input_pending.store(false, Relaxed);
        !self.ending.load(SeqCst)
    }

    fn request_ends(&self) {
        self.idle_since.store(self.now(), Relaxed);
        self.requests.fetch_sub(1, SeqCst);
    }

    /// Whether the peer may still send bytes of a message that nobody will read.
    pub(super) fn has_unread_input(&self) -> bool {
        self.body_abandoned.load(Relaxed) || self.input_pending.load(Relaxed)
    }

    /// Asks the connection's task to end, whatever it does. The first reason stays.
    pub(super) fn close(&self, reason: CloseReason) {
        self.ending.store(true, SeqCst);
        if self.close_reason.set(reason).is_ok() {
            // Stores a permit when the task is not waiting yet.
            self.close.notify_one();
        }
    }

    /// The same, unless a request came in since the caller looked: then returns false. No request
    /// that was begun is cut off for having come in at the wrong moment. Each side writes its own
    /// value before it reads the other's, so that at least one of them sees both.
    pub(super) fn close_if_idle(&self, reason: CloseReason) -> bool {
        if self.ending.swap(true, SeqCst) {
            return false;
        }
        if self.requests.load(SeqCst) > 0 {
            self.ending.store(false, SeqCst);
            return false;
        }
        self.close(reason);
        true
    }

    pub(super) fn is_closing(&self) -> bool {
        self.close_reason.get().is_some()
    }

    /// Returns when [`Connection::close`] was called.
    pub(super) async fn closed(&self) -> CloseReason {
        loop {
            if let Some(reason) = self.close_reason.get() {
                return *reason;
            }
            self.close.notified().await;
        }
    }

    fn is_idle(&self) -> bool {
        self.requests.load(Relaxed) == 0 && self.write_blocked_since.load(Relaxed) == 0
    }

    /// Why this connection is overdue, if it is.
    pub(super) fn overdue(&self, limits: &Limits) -> Option<CloseReason> {
        // The handshake has its own timer.
        if !self.handshaken.load(Relaxed) || !self.is_idle() {
            return None;
        }
        let headers = self.headers_since.load(Relaxed);
        if headers != 0 {
            return (self.since(headers) >= limits.header_timeout)
                .then_some(CloseReason::SlowHeaders);
        }
        (self.since(self.idle_since.load(Relaxed)) >= limits.idle_timeout)
            .then_some(CloseReason::Idle)
    }

    /// Whether, and in which order, this connection may be closed to make room: the lowest rank
    /// first, in it the longest idle, or the longest at its request.
    pub(super) fn evictable(&self) -> Option<(Rank, Duration)> {
        if self.is_closing() {
            return None;
        }
        let lasts = self.since(self.mark().load(Relaxed));
        let rank = rank(
            self.is_authenticated(),
            self.is_idle(),
            self.waits_for_peer(),
            lasts,
        )?;
        Some((rank, lasts))
    }

    /// When what it does now began: a request, or doing nothing. A connection that was used before is
    /// no older than its request.
    fn mark(&self) -> &AtomicU64 {
        if self.is_idle() {
            &self.idle_since
        } else {
            &self.request_since
        }
    }

    fn waits_for_peer(&self) -> bool {
        self.bodies.load(Relaxed) > 0 || self.write_blocked_since.load(Relaxed) != 0
    }
}

/// `lasts`: since its last request, or since it was opened, where it is idle; else since its request
/// began.
fn rank(authenticated: bool, is_idle: bool, waits: bool, lasts: Duration) -> Option<Rank> {
    match (authenticated, is_idle) {
        (false, true) => Some(Rank::Unauthenticated),
        (false, false) if waits && lasts >= SLOW_LOGIN => Some(Rank::UnauthenticatedSlow),
        (false, false) if waits => Some(Rank::UnauthenticatedWaiting),
        (true, true) if lasts >= AUTHENTICATED_REST => Some(Rank::AuthenticatedIdle),
        _ => None,
    }
}

/// What a handler may know and say of its connection: an extension of each request.
#[derive(Debug, Clone)]
pub struct ConnectionHandle(pub(super) Arc<Connection>);

impl ConnectionHandle {
    /// Number of the connection, unique while the daemon runs.
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer()
    }

    /// A valid token came over this connection: it is among the last to be closed to make room.
    pub fn mark_authenticated(&self) {
        self.0.authenticated.store(true, Relaxed);
    }
}

/// Counts one request in flight until it is dropped.
#[derive(Debug)]
pub(super) struct RequestInFlight(Arc<Connection>);

impl RequestInFlight {
    /// `None`: the connection is about to be closed, and the request must not be begun.
    pub(super) fn begin(connection: &Arc<Connection>) -> Option<Self> {
        let served = connection.request_begins();
        let in_flight = Self(Arc::clone(connection));
        served.then_some(in_flight)
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// Counts one request body on its way in, until it has arrived or is dropped.
#[derive(Debug)]
pub(super) struct BodyArriving {
    connection: Arc<Connection>,
    arrived: bool,
}

impl BodyArriving {
    pub(super) fn begin(connection: &Arc<Connection>) -> Self {
        connection.bodies.fetch_add(1, Relaxed);
        Self {
            connection: Arc::clone(connection),
            arrived: false,
        }
    }

    /// Its last byte is here.
    pub(super) fn arrived(mut self) {
        self.arrived = true;
    }
}

impl Drop for BodyArriving {
    fn drop(&mut self) {
        self.connection.bodies.fetch_sub(1, Relaxed);
        if !self.arrived {
            self.connection.body_abandoned.store(true, Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
