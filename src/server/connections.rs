//! All connections that are open: how many there may be, and which one makes room.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::connection::{CloseReason, Connection, Rank};
use crate::config::Limits;
use crate::sys::descriptors;

/// Descriptors that are kept for the daemon itself: its index, its log, a request's extra files.
const OWN_DESCRIPTORS: u64 = 64;

/// So long a new connection waits for the place of one that was told to end.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// The open connections of one listener.
#[derive(Debug)]
pub struct ConnectionRegistry {
    limits: Limits,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    /// A connection left.
    left: Notify,
    accepted: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
}

/// Figures of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open now.
    pub open: usize,
    /// Open now, of those that showed a valid token.
    pub authenticated: usize,
    /// Taken since the start.
    pub accepted: u64,
    /// Closed since the start to make room for others.
    pub evicted: u64,
    /// Closed at once since the start because there was no room.
    pub refused: u64,
}

/// A connection's place in the registry, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Arc<ConnectionRegistry>,
    connection: Arc<Connection>,
}

impl ConnectionRegistry {
    /// An empty registry.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: Mutex::default(),
            left: Notify::new(),
            accepted: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Its figures now.
    pub fn counts(&self) -> ConnectionCounts {
        let open = self.lock();
        ConnectionCounts {
            open: open.len(),
            authenticated: open.values().filter(|c| c.is_authenticated()).count(),
            accepted: self.accepted.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    /// How many connections there may be now: as many as the limits say, or as the process has
    /// descriptors for. A connection takes two, its own and the one of the disk or the manager
    /// that its request opens: clients that only sit there must not take those too.
    pub(super) fn capacity(&self) -> usize {
        let room = descriptors::limit().saturating_sub(OWN_DESCRIPTORS) / 2;
        let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
        self.limits.max_connections.min(room)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place for a new connection; where there is none, another one is closed and its end
    /// awaited, so that the limit holds for descriptors too. `None`: nobody can be closed.
    pub(super) async fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let room = tokio::time::timeout(ROOM_TIMEOUT, self.make_room()).await;
        if room != Ok(true) {
            self.refused.fetch_add(1, Relaxed);
            return None;
        }
        let id = self.accepted.fetch_add(1, Relaxed);
        let connection = Arc::new(Connection::new(id, peer));
        self.lock().insert(id, Arc::clone(&connection));
        Some(Place {
            registry: Arc::clone(self),
            connection,
        })
    }

    /// Returns true when there is a free place. Only the accept loop takes places, one at a
    /// time, so it is still free afterwards.
    async fn make_room(&self) -> bool {
        loop {
            let left = self.left.notified();
            {
                let open = self.lock();
                if open.len() < self.capacity() {
                    return true;
                }
                let closing = open.values().any(|c| c.is_closing());
                if !closing && !self.evict(&open) {
                    return false;
                }
            }
            left.await;
        }
    }

    /// Closes one connection to make room: descriptors have run out.
    pub(super) fn evict_one(&self) -> bool {
        self.evict(&self.lock())
    }

    fn evict(&self, open: &HashMap<u64, Arc<Connection>>) -> bool {
        // A second look where the first choice has just got a request.
        while let Some((rank, connection)) = first_to_go(open) {
            let closed = if matches!(
                rank,
                Rank::UnauthenticatedSlow | Rank::UnauthenticatedWaiting
            ) {
                connection.close(CloseReason::MakeRoom);
                true
            } else {
                connection.close_if_idle(CloseReason::MakeRoom)
            };
            if closed {
                self.evicted.fetch_add(1, Relaxed);
                return true;
            }
        }
        false
    }

    /// Closes what is overdue, again and again; never returns.
    pub(super) async fn sweep(&self) -> std::convert::Infallible {
        let shortest = self.limits.header_timeout.min(self.limits.idle_timeout);
        let pause = (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            for connection in self.lock().values() {
                if let Some(reason) = connection.overdue(&self.limits) {
                    connection.close_if_idle(reason);
                }
            }
        }
    }

    /// Tells every connection to end; returns how many there were.
    pub(super) fn close_all(&self, reason: CloseReason) -> usize {
        let open = self.lock();
        for connection in open.values() {
            connection.close(reason);
        }
        open.len()
    }

    /// Returns when no connection is open.
    pub(super) async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lowest rank first, in it the longest idle.
fn first_to_go(open: &HashMap<u64, Arc<Connection>>) -> Option<(Rank, &Arc<Connection>)> {
    open.values()
        .filter_map(|c| c.evictable().map(|(rank, idle)| (rank, idle, c)))
        .min_by(|(rank, idle, _), (other_rank, other_idle, _)| {
            rank.cmp(other_rank).then(other_idle.cmp(idle))
        })
        .map(|(rank, _, connection)| (rank, connection))
}

impl Place {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.connection.id());
        self.registry.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::{ConnectionHandle, RequestInFlight};
    use super::*;

    fn registry(max_connections: usize) -> Arc<ConnectionRegistry> {
        ConnectionRegistry::new(Limits {
            max_connections,
            ..Limits::default()
        })
    }

    async fn admit(registry: &Arc<ConnectionRegistry>) -> Place {
        let place = registry.admit("192.0.2.1:1".parse().unwrap()).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
        place.unwrap()
    }

    /// Lets go of its place when told to, as a connection's task does.
    fn serve(place: Place) -> tokio::task::JoinHandle<CloseReason> {
        tokio::spawn(async move { place.connection().closed().await })
    }

    #[tokio::test]
    async fn the_longest_idle_unauthenticated_one_makes_room() {
        let registry = registry(3);
        let authenticated = admit(&registry).await;
        ConnectionHandle(Arc::clone(authenticated.connection())).mark_authenticated();
        let oldest = admit(&registry).await;
        let younger = admit(&registry).await;
        let (authenticated, oldest, younger) =
            (serve(authenticated), serve(oldest), serve(younger));
        let _newest = admit(&registry).await;
        assert_eq!(oldest.await.unwrap(), CloseReason::MakeRoom);
        assert!(!authenticated.is_finished());
        assert!(!younger.is_finished());
        let counts = registry.counts();
        assert_eq!((counts.open, counts.evicted, counts.accepted), (3, 1, 4));
    }

    #[tokio::test]
    async fn where_all_have_work_the_new_one_is_refused() {
        let registry = registry(2);
        let places = [admit(&registry).await, admit(&registry).await];
        let requests = places
            .each_ref()
            .map(|p| RequestInFlight::begin(p.connection()).unwrap());
        assert!(
            registry
                .admit("192.0.2.2:1".parse().unwrap())
                .await
                .is_none()
        );
        assert_eq!(registry.counts().refused, 1);
        drop(requests);
        let [first, second] = places.map(serve);
        let _third = admit(&registry).await;
        let reason = tokio::select! {
            reason = first => reason,
            reason = second => reason,
        };
        assert_eq!(reason.unwrap(), CloseReason::MakeRoom);
    }

    #[tokio::test]
    async fn emptied_returns_when_the_last_one_leaves() {
        let registry = registry(2);
        let place = admit(&registry).await;
        let emptied = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!emptied.is_finished());
        drop(place);
        emptied.await.unwrap();
    }
}
