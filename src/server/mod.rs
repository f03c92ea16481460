//! HTTPS: the only room that knows axum.

pub mod body_limit;
pub mod connection;
mod connection_io;
mod connection_service;
pub mod connections;
pub mod limits;
pub mod listener;
pub mod login_throttle;
pub mod tls;
pub mod tokens;
