//! Changed-block exporter for Oracle VM nodes.
//!
//! The way of a byte, and so of this crate: a guest's disk is cloned by reflink ([`sys`]) into a
//! sealed snapshot file ([`snapshots`]); the extent maps of two snapshots are compared
//! ([`extents`]); the ranges that differ are read and sent over HTTPS ([`server`]) to a client
//! ([`client`]; [`cli`] is its command line). What the node tells about its virtual machines is read, never written, by
//! [`ovm`]. `ARCHITECTURE.md` has the map of the house.

/// The README's examples compile.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod extents;
pub mod protocol;
pub mod sys;

#[cfg(feature = "client")]
pub mod client;

pub mod causes;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(any(feature = "cli", feature = "server"))]
pub mod manual;

#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod guard;
#[cfg(feature = "server")]
pub mod guest;
#[cfg(feature = "server")]
pub mod operations;
#[cfg(feature = "server")]
pub mod ovm;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod shell_word;
#[cfg(feature = "server")]
pub mod snapshots;
