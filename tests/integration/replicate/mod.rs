//! Replicas that the library keeps: of the real daemon, on a real file system.
//!
//! The one question: whatever happened on the way, is the replica the snapshot's bytes in the end,
//! and is no snapshot left over?

mod connections;
pub mod hostile;
mod interrupted;
mod kills;
mod nodes;
mod others;
mod proxy;
mod rounds;
mod scene;
mod targets;
mod volumes;
mod workers;
