//! What an admin runs by hand: check-config, demo.

pub mod demo;
