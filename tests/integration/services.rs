//! The daemon as a service: unit files, readiness, signals, command line.

mod lifetime;
mod systemd;
mod upstart;
mod watchdog;

use std::path::{Path, PathBuf};
use std::time::Duration;

use coriolis_ovm_exporter::config::Config;

/// Where existing unit files look for the program, and how they call it.
const COMMAND: &str =
    "/usr/local/bin/coriolis-ovm-exporter -config /etc/coriolis-ovm-exporter/config.toml";

/// What a stop may take at most with default settings: requests, then unfinished operations, each
/// within the grace, and two seconds for the last words on long connections.
fn longest_stop() -> Duration {
    Config::default().api.limits.shutdown_grace * 2 + Duration::from_secs(2)
}

/// A file of this repository.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
