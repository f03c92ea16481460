//! HTTPS: the only room that knows axum.
//!
//! Handlers are thin: they read a request, ask [`snapshots`](crate::snapshots) or
//! [`ovm`](crate::ovm) on the blocking pool, and put the answer into the types of
//! [`protocol`](crate::protocol).

pub mod activity;
mod all_snapshots;
mod api;
pub mod body_limit;
pub mod byte_range;
pub mod connection;
mod connection_io;
mod connection_service;
pub mod connections;
mod delta;
mod delta_body;
mod digests;
mod disk_body;
mod disks;
mod error;
mod extract;
mod health;
pub mod lifecycle;
pub mod listener;
mod login;
pub mod login_throttle;
pub mod metrics;
mod node;
mod openapi;
mod pace;
mod present;
pub mod pulse;
mod query;
mod ranges;
mod report;
mod request_id;
mod route;
mod routes;
mod snapshot_list;
mod snapshots;
mod state;
pub mod tls;
pub mod tokens;
mod vms;

pub use api::{metrics_router, openapi_document, router};
pub use login::ManagerSettings;
pub use state::App;
