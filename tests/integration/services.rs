//! The daemon as a service: unit files, readiness, signals, command line.

mod lifetime;
mod systemd;
mod upstart;

use std::path::{Path, PathBuf};

/// Where existing unit files look for the program, and how they call it.
const COMMAND: &str =
    "/usr/local/bin/coriolis-ovm-exporter -config /etc/coriolis-ovm-exporter/config.toml";

/// A file of this repository.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
