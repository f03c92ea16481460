//! Snapshots and their comparison on real file systems, as a library, without the daemon.
//!
//! The one question behind all of it: whoever has the older snapshot's bytes and applies what a
//! comparison names, does he have the newer snapshot's bytes, all of them? A comparison that
//! cannot promise that has to be refused.

mod differential;
mod encoded;
mod exactness;
mod given_up;
pub mod guest;
pub mod house;
mod mapped;
mod moved;
mod refusals;
mod remount;
mod replaced;
pub mod replica;
mod sealing;
pub mod seed;
mod still;
mod two_repositories;
