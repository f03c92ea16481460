//! Reads below a snapshot's disk: ranges by the page, deltas, digests. From the real daemon, on
//! real file systems.
//!
//! The one question again: whoever has the base's bytes and applies what is said, does he have the
//! snapshot's bytes? And whoever has any bytes and applies all of a disk?

mod answers;
mod cost;
mod digests;
mod hang_up;
mod moved;
mod named;
mod rbd;
mod reload;
mod replicas;
pub mod scene;
