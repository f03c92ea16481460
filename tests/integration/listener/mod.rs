//! The listener over real TLS sockets, with a router of its own.

#![allow(clippy::unwrap_used)]

mod bodies;
mod connections;
mod fixture;
mod flood;
mod shutdown;
mod timeouts;
mod tls;
