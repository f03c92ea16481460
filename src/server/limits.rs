//! How much a peer may ask of the listener.

use std::time::Duration;

/// Limits of the listener, in plain values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, those in a handshake included.
    pub max_connections: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request (of a connection's first request: from the end of the
    /// handshake) to the end of its headers.
    pub header_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// A peer that takes no byte for this long while we have some to send is given up. A slow one
    /// that takes a few now and then is not.
    pub stall_timeout: Duration,
    /// So long may requests in flight go on after the signal to stop.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 512,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}
