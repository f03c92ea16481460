//! The daemon's log: what a line looks like, where it goes, and what SIGHUP takes up.

mod files;
mod lines;
mod reload;
