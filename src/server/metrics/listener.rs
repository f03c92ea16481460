//! `/metrics` at an address of its own: plain HTTP, for whoever reaches it. Meant for loopback or a
//! network of the node's own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at a time; more wait.
const MOST: usize = 8;
/// A connection lasts no longer, whatever it does.
const LONGEST: Duration = Duration::from_secs(30);
/// Its request is there by then.
const HEADERS: Duration = Duration::from_secs(5);
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket.
#[derive(Debug)]
pub struct MetricsListener {
    socket: TcpListener,
    address: SocketAddr,
}

impl MetricsListener {
    /// Binds `address`.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(address: SocketAddr) -> io::Result<MetricsListener> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(MetricsListener { socket, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves one request a connection, for ever.
    pub async fn serve(self, router: Router) {
        let places = Arc::new(Semaphore::new(MOST));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = self.socket.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let router = router.clone();
            tokio::spawn(async move {
                let _place = place;
                // Who is too slow, or speaks something else, is not answered.
                let _ = tokio::time::timeout(LONGEST, speak(stream, router)).await;
            });
        }
    }
}

async fn speak(stream: TcpStream, router: Router) -> hyper::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}
